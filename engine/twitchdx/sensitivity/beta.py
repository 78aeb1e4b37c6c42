"""The uncertainty of a table number: the Beta distribution fitted to its value and interval."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from twitchdx.sensitivity.functions import FloatArray

LEVEL = 0.95
"""Share of the distribution inside the interval of a table row."""
TAIL = (1 - LEVEL) / 2

LEAST, MOST = 1e-3, 1e13
"""Range of a + b within which a fit is sought."""

GRID = np.linspace(-6.0, 6.0, 241)
"""Standard normal quantiles at which a Beta's quantiles are tabulated."""


class Beta(NamedTuple):
    """A Beta(a, b) distribution; a number known exactly has a = b = inf, and is `value`."""

    a: float
    b: float
    value: float

    @property
    def mean(self) -> float:
        """Its mean."""
        return self.value if self.a == np.inf else self.a / (self.a + self.b)

    def quantile(self, probability: FloatArray | float) -> FloatArray:
        """Quantiles, by scipy."""
        from scipy.special import betaincinv

        if self.a == np.inf:
            return np.full(np.shape(probability), self.value)
        return np.asarray(betaincinv(self.a, self.b, probability))

    def at_normal(self, z: FloatArray) -> FloatArray:
        """Quantiles at the probabilities Phi(z), interpolated in the log-odds (fast).

        Examples
        --------
        >>> beta = fit_beta(0.1, 0.03, 0.24)
        >>> beta.at_normal(np.array([-1.96, 0.0, 1.96])).round(3)
        array([0.03 , 0.104, 0.239])
        """
        if self.a == np.inf:
            return np.full(np.shape(z), self.value)
        return np.asarray(1.0 / (1.0 + np.exp(-np.interp(z, GRID, _log_odds_grid(self.a, self.b)))))


@lru_cache(maxsize=20_000)
def fit_beta(value: float, low: float, high: float) -> Beta:
    """Fit a Beta distribution to a number and its 95 % interval.

    The number is read as the median. Mean and size (a + b) are found such that the squared
    errors, in log-odds, of the 2.5 % and 97.5 % quantiles and of the median are least; those of
    the two ends count ten times as much, as two parameters cannot always meet three quantiles.
    Quantiles are fitted, not moments of a normal distribution, so that the fit holds near 0
    and 1 [1]_.

    Parameters
    ----------
    value, low, high : float
        The number, and the ends of its 95 % interval; low <= value <= high.

    Returns
    -------
    Beta
        Of no width where low equals high, or where the value is 0 or 1.

    References
    ----------
    .. [1] Briggs A, Sculpher M, Claxton K. Decision modelling for health economic evaluation.
       Oxford 2006 (Beta distributions for probabilities in probabilistic sensitivity analysis).

    Examples
    --------
    >>> beta = fit_beta(0.034, 0.0105, 0.1)
    >>> beta.quantile(np.array([0.025, 0.975])).round(3)
    array([0.01 , 0.099])
    """
    from scipy.optimize import least_squares
    from scipy.special import betaincinv, logit

    if not low < high or value <= 0 or value >= 1:
        return Beta(np.inf, np.inf, value)
    tiny = 1e-12
    wanted = logit(np.clip([low, value, high], tiny, 1 - tiny))
    weight = np.sqrt([10.0, 1.0, 10.0])
    centre = float(wanted[1])
    spread = max(float(wanted[2] - wanted[0]) / 3.92, 1e-6)

    def errors(x: FloatArray) -> FloatArray:
        m, n = 1 / (1 + np.exp(-x[0])), float(np.exp(x[1]))
        at = betaincinv(m * n, (1 - m) * n, [TAIL, 0.5, 1 - TAIL])
        return np.asarray(weight * (logit(np.clip(at, tiny, 1 - tiny)) - wanted))

    size = np.clip(1 / (spread**2 * value * (1 - value)), LEAST, MOST)
    bounds = ([centre - 5, np.log(LEAST)], [centre + 5, np.log(MOST)])
    found = least_squares(errors, [centre, np.log(size)], bounds=bounds, xtol=1e-10, ftol=1e-10)
    mean, size = 1 / (1 + np.exp(-found.x[0])), float(np.exp(found.x[1]))
    return Beta(float(mean * size), float((1 - mean) * size), value)


@lru_cache(maxsize=20_000)
def _log_odds_grid(a: float, b: float) -> FloatArray:
    from scipy.special import betaincinv, ndtr

    # the complement keeps digits in the upper half
    lower = betaincinv(a, b, ndtr(GRID))
    upper = betaincinv(b, a, ndtr(-GRID))
    tiny = 1e-300
    grid = np.log(np.maximum(lower, tiny)) - np.log(np.maximum(upper, tiny))
    grid.flags.writeable = False
    return np.asarray(grid)
