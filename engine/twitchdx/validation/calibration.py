"""Whether a probability of 0.3 comes true in three of ten: reliability and recalibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: posteriors are mostly small: bins are narrow there
EDGES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97, 1.0)
#: nearest that a probability comes to 0 and 1 when its log-odds are taken
TINY = 1e-9
MOST_STEPS = 60


@dataclass(frozen=True)
class ReliabilityBin:
    """Predictions of about the same probability, and how many came true.

    Attributes
    ----------
    from_, to : float
        Edges of the bin.
    predicted : float
        Mean prediction.
    observed : float
        Share that came true.
    low, high : float
        Interval around `predicted` within which `observed` falls if predictions are calibrated.
    n : int
        Predictions (a case gives one a label).
    """

    from_: float
    to: float
    predicted: float
    observed: float
    low: float
    high: float
    n: int

    @property
    def holds(self) -> bool:
        """Whether the observed share lies within the interval."""
        return self.low <= self.observed <= self.high


def reliability(
    probabilities: FloatArray,
    truth: BoolArray,
    edges: tuple[float, ...] = EDGES,
    level: float = 0.95,
) -> list[ReliabilityBin]:
    """Return predictions in bins, each with how often it came true.

    The interval counts a case as one draw, whatever number of labels it puts into the bin: the
    standard error of the bin's mean error is that of sums by case.

    Parameters
    ----------
    probabilities, truth : arrays, shape (cases, labels)
    edges : tuple of float
        From 0 to 1; a bin includes its lower edge.
    level : float
        Of each bin's interval; for k bins that shall all hold at once use 1 - (1 - level) / k.

    Returns
    -------
    list of ReliabilityBin
        Bins without predictions are left out.
    """
    from scipy.special import ndtri

    z = float(ndtri((1 + level) / 2))
    place = np.clip(np.searchsorted(edges, probabilities, side="right") - 1, 0, len(edges) - 2)
    bins = []
    for number in range(len(edges) - 1):
        inside = place == number
        n = int(inside.sum())
        if n == 0:
            continue
        predicted = float(probabilities[inside].mean())
        by_case = np.where(inside, truth - probabilities, 0.0).sum(axis=1)
        chance = np.where(inside, probabilities * (1 - probabilities), 0.0).sum()
        # seen scatter, and never less than that of independent draws: few events scatter little
        error = float(np.sqrt(max((by_case**2).sum(), chance))) / n
        bins.append(
            ReliabilityBin(
                edges[number],
                edges[number + 1],
                predicted,
                float(truth[inside].mean()),
                max(0.0, predicted - z * error),
                min(1.0, predicted + z * error),
                n,
            )
        )
    return bins


def expected_calibration_error(
    probabilities: FloatArray, truth: BoolArray, weights: FloatArray | None = None
) -> float:
    """Return the mean gap between prediction and outcome over the bins, weighted by size [1]_.

    Parameters
    ----------
    probabilities, truth : arrays, shape (cases, labels)
    weights : array, shape (cases,), optional

    References
    ----------
    .. [1] Naeini MP, Cooper GF, Hauskrecht M. Obtaining well calibrated probabilities using
       Bayesian binning. AAAI 2015.
    """
    w = np.ones(len(probabilities)) if weights is None else weights
    weight = np.broadcast_to(w[:, None], probabilities.shape).ravel()
    place = np.clip(np.searchsorted(EDGES, probabilities.ravel(), side="right") - 1, 0, None)
    place = np.minimum(place, len(EDGES) - 2)
    gap = np.bincount(place, weight * (truth - probabilities).ravel(), len(EDGES) - 1)
    return float(np.abs(gap).sum() / weight.sum())


@dataclass(frozen=True)
class Recalibration:
    """log-odds of the truth = intercept + slope * log-odds of the prediction.

    Attributes
    ----------
    slope : float
        1 is right; below 1, predictions are too extreme.
    intercept : float
        0 is right.
    in_the_large : float
        Intercept with the slope held at 1: above 0, causes are more common than predicted.
    """

    slope: float
    intercept: float
    in_the_large: float


NOT_DEFINED = Recalibration(float("nan"), float("nan"), float("nan"))


def recalibrate(
    probabilities: FloatArray, truth: BoolArray, weights: FloatArray | None = None
) -> Recalibration:
    """Fit the logistic recalibration line by maximum likelihood [1]_ [2]_.

    Parameters
    ----------
    probabilities, truth : arrays, shape (cases, labels)
        All labels in one line.
    weights : array, shape (cases,), optional

    Returns
    -------
    Recalibration
        NaN where there is one outcome only, or no finite fit.

    References
    ----------
    .. [1] Cox DR. Two further applications of a model for binary regression. Biometrika
       1958;45:562-5.
    .. [2] Van Calster B et al. Calibration: the Achilles heel of predictive analytics. BMC Med
       2019;17:230.
    """
    p = np.clip(probabilities.ravel(), TINY, 1 - TINY)
    x = np.log(p) - np.log1p(-p)
    y = truth.ravel().astype(np.float64)
    w = np.ones(len(probabilities)) if weights is None else weights
    w = np.broadcast_to(w[:, None], probabilities.shape).ravel()
    total = w @ y
    if total == 0 or total == w.sum():
        return NOT_DEFINED
    line = _fit(np.column_stack([np.ones_like(x), x]), y, w, np.zeros_like(x), (0.0, 1.0))
    large = _fit(np.ones((len(x), 1)), y, w, x, (0.0,))
    if line is None or large is None:
        return NOT_DEFINED
    return Recalibration(float(line[1]), float(line[0]), float(large[0]))


def slope_error(probabilities: FloatArray, truth: BoolArray, line: Recalibration) -> float:
    """Return the standard error of a recalibration slope, labels of a case being one draw.

    The sandwich estimate of generalised estimating equations with independent working
    correlation [1]_.

    Parameters
    ----------
    probabilities, truth : arrays, shape (cases, labels)
    line : Recalibration
        Fitted to them.

    References
    ----------
    .. [1] Liang KY, Zeger SL. Longitudinal data analysis using generalized linear models.
       Biometrika 1986;73:13-22.
    """
    p = np.clip(probabilities, TINY, 1 - TINY)
    x = np.log(p) - np.log1p(-p)
    fitted = 1 / (1 + np.exp(-(line.intercept + line.slope * x)))
    left = truth - fitted
    scores = np.column_stack([left.sum(axis=1), (left * x).sum(axis=1)])
    v = fitted * (1 - fitted)
    information = np.array([[v.sum(), (v * x).sum()], [(v * x).sum(), (v * x * x).sum()]])
    inverse = np.linalg.inv(information)
    return float(np.sqrt((inverse @ (scores.T @ scores) @ inverse)[1, 1]))


def _fit(
    design: FloatArray,
    y: FloatArray,
    weight: FloatArray,
    offset: FloatArray,
    start: tuple[float, ...],
) -> FloatArray | None:
    """Logistic regression by Newton's method, steps halved until the likelihood rises."""
    beta = np.array(start)

    def likelihood(b: FloatArray) -> float:
        eta = offset + design @ b
        return float(weight @ (y * eta - np.logaddexp(0, eta)))

    at = likelihood(beta)
    for _ in range(MOST_STEPS):
        p = 1 / (1 + np.exp(-np.clip(offset + design @ beta, -700, 700)))
        score = design.T @ (weight * (y - p))
        information = (design * (weight * p * (1 - p))[:, None]).T @ design
        try:
            step = np.linalg.solve(information, score)
        except np.linalg.LinAlgError:
            return None
        size = 1.0
        while (new := likelihood(beta + size * step)) < at - 1e-9 and size > 1e-6:
            size /= 2
        beta, gain, at = beta + size * step, new - at, new
        if abs(gain) < 1e-10 * max(1.0, abs(at)):
            return beta
    return None
