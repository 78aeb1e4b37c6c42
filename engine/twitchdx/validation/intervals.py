"""Bootstrap intervals by case: a case's findings and causes are resampled together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

LEVEL = 0.95
"""Coverage of every interval."""
MEAN_DRAWS = 2000
"""Resamples behind the interval of a mean over cases."""
DRAWS = 200
"""Resamples behind the interval of any other statistic."""
SEED = 20_261_121


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval.

    Attributes
    ----------
    value, low, high : float
        NaN where it is not defined.
    n : int
        Cases behind it.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "not defined"
        if np.isnan(self.low):
            return f"{self.value:.3g}"
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"


def case_weights(n_cases: int, draws: int, seed: int = SEED) -> FloatArray:
    """Return how often each case is drawn in each resample, shape (draws, cases).

    The same seed gives the same resamples, so that two models scored on the same cases are
    compared on the same resamples.
    """
    random = np.random.default_rng([seed, n_cases])
    if n_cases == 0:
        return np.zeros((draws, 0))
    return random.multinomial(n_cases, np.full(n_cases, 1 / n_cases), size=draws).astype(float)


def mean_interval(values: FloatArray, draws: int = MEAN_DRAWS, seed: int = SEED) -> Estimate:
    """Return the mean of one value a case, with its percentile bootstrap interval [1]_.

    Parameters
    ----------
    values : array, shape (cases,)
        NaN where the case has none; it is left out.

    References
    ----------
    .. [1] Efron B, Tibshirani RJ. An Introduction to the Bootstrap. Chapman & Hall 1993.

    Examples
    --------
    >>> print(mean_interval(np.array([0.0, 1.0, 1.0, 1.0])))
    0.75 (0.25 to 1)
    """
    known = values[~np.isnan(values)].astype(np.float64)
    if len(known) == 0:
        return Estimate(np.nan, np.nan, np.nan, 0)
    means = case_weights(len(known), draws, seed) @ known / len(known)
    low, high = np.quantile(means, _tails())
    return Estimate(float(known.mean()), float(low), float(high), len(known))


def weighted_interval(
    statistic: Callable[[FloatArray], float],
    n_cases: int,
    draws: int = DRAWS,
    seed: int = SEED,
) -> Estimate:
    """Return a statistic of weighted cases, with its percentile bootstrap interval.

    Parameters
    ----------
    statistic : function
        Weights of the cases, shape (cases,) -> the statistic; NaN where it is not defined.
    n_cases : int

    Returns
    -------
    Estimate
        Resamples in which the statistic is not defined are left out; with more than one in ten
        of those there is no interval.
    """
    value = statistic(np.ones(n_cases)) if n_cases else np.nan
    if np.isnan(value):
        return Estimate(np.nan, np.nan, np.nan, n_cases)
    drawn = np.array([statistic(w) for w in case_weights(n_cases, draws, seed)])
    drawn = drawn[~np.isnan(drawn)]
    if len(drawn) < 0.9 * draws:
        return Estimate(float(value), np.nan, np.nan, n_cases)
    low, high = np.quantile(drawn, _tails())
    return Estimate(float(value), float(low), float(high), n_cases)


def _tails() -> tuple[float, float]:
    return (1 - LEVEL) / 2, (1 + LEVEL) / 2
