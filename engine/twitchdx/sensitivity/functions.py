"""Closed forms of sensitivity analysis, over the linear coefficients of P(e) and P(e, target).

In any Bayesian network, P(evidence) and P(evidence, target) are linear in one parameter x, so a
posterior is ``(c1 x + c2) / (c3 x + c4)`` [1]_ [2]_. Nothing here knows where the coefficients
come from.

References
----------
.. [1] Castillo E, Gutiérrez JM, Hadi AS. Sensitivity analysis in discrete Bayesian networks. IEEE
   Trans Syst Man Cybern A 1997.
.. [2] Coupé VMH, van der Gaag LC. Properties of sensitivity analysis of Bayesian belief networks.
   Ann Math Artif Intell 2002.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from twitchdx.odds import log_odds

FloatArray = NDArray[np.float64]
ROUNDING = 1e-13
"""A posterior that changes by less than this over the domain does not depend on the number."""

Number = TypeVar("Number", float, FloatArray)


def distance(first: float, second: float) -> float:
    """Distance between two values of a parameter: the absolute difference of their log-odds.

    A posterior moves no further than this in its own log-odds [1]_.

    References
    ----------
    .. [1] Chan H, Darwiche A. When do numbers really matter? J Artif Intell Res 2002.

    Examples
    --------
    >>> round(distance(0.02, 0.0364), 3)
    0.616
    """
    return 0.0 if first == second else abs(log_odds(first) - log_odds(second))


@dataclass(frozen=True)
class LinearFractional:
    """A posterior as a function of one parameter: ``(c1 x + c2) / (c3 x + c4)`` on [low, high].

    Attributes
    ----------
    c1, c2 : float
        Of P(evidence, target), in any unit.
    c3, c4 : float
        Of P(evidence), in the same unit.
    low, high : float
        Domain.
    """

    c1: float
    c2: float
    c3: float
    c4: float
    low: float = 0.0
    high: float = 1.0

    @classmethod
    def through(
        cls,
        first: tuple[float, float, float],
        second: tuple[float, float, float],
        low: float = 0.0,
        high: float = 1.0,
    ) -> LinearFractional:
        """Return the function through two evaluations of a network.

        Parameters
        ----------
        first, second : tuple of float
            x, P(evidence, target) at x, P(evidence) at x.

        Examples
        --------
        A root cause of prior x that shows a finding in 0.9 of those who have it, else in 0.1:

        >>> f = LinearFractional.through((0.0, 0.0, 0.1), (1.0, 0.9, 0.9))
        >>> round(f.at(0.2), 4), round(f.solve(0.9), 4)
        (0.6923, 0.5)
        """
        (x, joint_x, evidence_x), (y, joint_y, evidence_y) = first, second
        c1 = (joint_y - joint_x) / (y - x)
        c3 = (evidence_y - evidence_x) / (y - x)
        # the intercept comes from the nearer point, which loses the fewest digits
        x0, joint, evidence = first if abs(x) <= abs(y) else second
        return cls(c1, joint - c1 * x0, c3, evidence - c3 * x0, low, high)

    def at(self, x: Number) -> Number:
        """Return the posterior where the parameter is x."""
        return (self.c1 * x + self.c2) / (self.c3 * x + self.c4)

    def derivative(self, x: Number) -> Number:
        """Return the slope of the posterior at x."""
        return (self.c1 * self.c4 - self.c2 * self.c3) / (self.c3 * x + self.c4) ** 2

    @property
    def vertex(self) -> float:
        """Where the branch of the hyperbola has slope 1 or -1; NaN where it has no such point.

        Left or right of it (of the side towards the asymptote) the posterior reacts strongly.
        """
        if self.c3 == 0:
            return math.nan
        asymptote = -self.c4 / self.c3
        reach = math.sqrt(abs(self.c2 * self.c3 - self.c1 * self.c4)) / abs(self.c3)
        middle = (self.low + self.high) / 2
        return asymptote + reach if asymptote < middle else asymptote - reach

    def vertex_proximity(self, x: float) -> float:
        """Return the distance of x to the vertex: small means that small changes may matter."""
        return abs(x - self.vertex)

    def solve(self, probability: float) -> float:
        """Return the x in [low, high] at which the posterior has this value; NaN if there is none.

        NaN too where the posterior does not depend on x.
        """
        size = (abs(self.c1) + abs(self.c2)) * (abs(self.c3) + abs(self.c4))
        if abs(self.c1 * self.c4 - self.c2 * self.c3) <= ROUNDING * size:
            return math.nan
        slope = self.c1 - probability * self.c3
        x = (probability * self.c4 - self.c2) / slope if slope else math.nan
        return x if self.low <= x <= self.high else math.nan


@dataclass(frozen=True)
class PiecewiseFractional:
    """A posterior as a function of one table number: one or more adjoining pieces.

    A number may stop to matter below some value (a likelihood that says less than background and
    other paths already give): the function is constant there, in each stratum from its own value
    on.
    """

    pieces: tuple[LinearFractional, ...]

    @property
    def low(self) -> float:
        """Lower end of the domain."""
        return self.pieces[0].low

    @property
    def high(self) -> float:
        """Upper end of the domain."""
        return self.pieces[-1].high

    def piece(self, x: float) -> LinearFractional:
        """Return the piece that holds at x."""
        return next((piece for piece in self.pieces if x <= piece.high), self.pieces[-1])

    def at(self, x: float) -> float:
        """Return the posterior where the number is x."""
        return self.piece(x).at(x)

    def solve(self, probability: float, near: float) -> float:
        """Return the x nearest to `near` at which the posterior has this value; else NaN."""
        found = [piece.solve(probability) for piece in self.pieces]
        real = [x for x in found if not math.isnan(x)]
        return min(real, key=lambda x: abs(log_odds(x) - log_odds(near)), default=math.nan)


def crossing(first: LinearFractional, second: LinearFractional) -> float:
    """Return the x at which two posteriors of one network are equal; NaN if nowhere in the domain.

    They share their denominator, so that only their numerators need be compared.

    Examples
    --------
    >>> rising = LinearFractional(0.8, 0.1, 0.5, 0.5)
    >>> falling = LinearFractional(-0.2, 0.3, 0.5, 0.5)
    >>> round(crossing(rising, falling), 12)
    0.2
    """
    slope = first.c1 - second.c1
    x = (second.c2 - first.c2) / slope if slope else math.nan
    inside = max(first.low, second.low) <= x <= min(first.high, second.high)
    return x if inside else math.nan


def first_roots(
    positions: FloatArray, values: FloatArray, start: Sequence[int] | NDArray[np.int64]
) -> tuple[FloatArray, FloatArray]:
    """Find the nearest sign change on either side of a start, of piecewise linear functions.

    Parameters
    ----------
    positions : ndarray, shape (..., nodes)
        Ascending; functions are linear in between.
    values : ndarray, shape (..., nodes)
    start : ndarray of int, shape (...)
        Node to start from.

    Returns
    -------
    below, above : ndarray, shape (...)
        Positions of the nearest zeros; NaN where there is none.

    Examples
    --------
    >>> below, above = first_roots(np.array([0.0, 0.4, 1.0]), np.array([1.0, 1.0, -1.0]), 1)
    >>> float(below), float(above)
    (nan, 0.7)
    """
    values = np.asarray(values, dtype=np.float64)
    positions = np.broadcast_to(positions, values.shape)
    start_ = np.broadcast_to(np.asarray(start, dtype=np.int64), values.shape[:-1])
    sign = np.sign(np.take_along_axis(values, start_[..., None], -1)[..., 0])
    zero = ROUNDING * np.abs(values).max(axis=-1, initial=0.0)  # a value this small has no sign
    below = np.full(values.shape[:-1], np.nan)
    above = below.copy()
    last = values.shape[-1] - 1
    for step in range(1, last + 1):
        for found, direction in ((below, -1), (above, 1)):
            here = start_ + direction * step
            inside = (here >= 0) & (here <= last) & np.isnan(found)
            if not inside.any():
                continue
            node = np.clip(here, 0, last)[..., None]
            before = np.clip(here - direction, 0, last)[..., None]
            value = np.take_along_axis(values, node, -1)[..., 0]
            previous = np.take_along_axis(values, before, -1)[..., 0]
            hit = inside & (np.sign(value) != sign) & (np.abs(value) > zero)
            x = np.take_along_axis(positions, node, -1)[..., 0]
            y = np.take_along_axis(positions, before, -1)[..., 0]
            with np.errstate(divide="ignore", invalid="ignore"):
                root = y + (x - y) * (previous / (previous - value))
            found[hit] = root[hit]
    return below, above
