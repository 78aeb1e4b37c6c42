"""What acting on a probability is worth: net benefit, sensitivity and specificity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

THRESHOLDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
"""Probabilities at which somebody might act on a cause that must not be missed."""


@dataclass(frozen=True)
class Operating:
    """Acting on every case at or above one probability.

    Attributes
    ----------
    threshold : float
    sensitivity, specificity : float
        NaN where no case has (or all have) the cause.
    positives : int
        Cases with the cause.
    net_benefit : float
        True positives a case, less false positives at the threshold's odds.
    treat_all : float
        The same, acting on everybody; acting on nobody is 0.
    """

    threshold: float
    sensitivity: float
    specificity: float
    positives: int
    net_benefit: float
    treat_all: float


def net_benefit(
    probability: FloatArray, truth: BoolArray, threshold: float, weights: FloatArray | None = None
) -> float:
    """Return TP/n - FP/n * t/(1 - t) of acting at or above a threshold [1]_.

    Parameters
    ----------
    probability, truth : arrays, shape (cases,)
    threshold : float
        Below 1.
    weights : array, shape (cases,), optional

    References
    ----------
    .. [1] Vickers AJ, Elkin EB. Decision curve analysis: a novel method for evaluating
       prediction models. Med Decis Making 2006;26:565-74.

    Examples
    --------
    >>> net_benefit(np.array([0.9, 0.4, 0.1]), np.array([True, False, False]), 0.2)
    0.25
    """
    w = np.ones(len(truth)) if weights is None else weights
    acted = probability >= threshold
    odds = threshold / (1 - threshold)
    return float((w @ (acted & truth) - odds * (w @ (acted & ~truth))) / w.sum())


def operate(probability: FloatArray, truth: BoolArray, threshold: float) -> Operating:
    """Return what acting at or above one threshold comes to.

    Parameters
    ----------
    probability, truth : arrays, shape (cases,)
    """
    acted = probability >= threshold
    return Operating(
        threshold,
        float(acted[truth].mean()) if truth.any() else float("nan"),
        float((~acted[~truth]).mean()) if (~truth).any() else float("nan"),
        int(truth.sum()),
        net_benefit(probability, truth, threshold),
        net_benefit(np.ones(len(truth)), truth, threshold),
    )
