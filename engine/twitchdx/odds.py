"""Odds, and their logarithm."""

from __future__ import annotations

import math

import numpy as np

from twitchdx.network import FloatArray


def log_odds(probability: float) -> float:
    """Return ln(p / (1 - p)); minus or plus infinity at 0 and 1.

    Examples
    --------
    >>> log_odds(0.5)
    0.0
    """
    if probability <= 0:
        return -math.inf
    return math.inf if probability >= 1 else math.log(probability) - math.log1p(-probability)


def shift_odds(probability: FloatArray | float, factor: float | FloatArray) -> FloatArray:
    """Return the probabilities whose odds are `factor` times those of `probability`.

    Examples
    --------
    >>> shift_odds(np.array([0.5, 0.0, 1.0]), 3).round(4)
    array([0.75, 0.  , 1.  ])
    """
    on = probability * factor
    return np.asarray(on / (on + (1.0 - probability)))
