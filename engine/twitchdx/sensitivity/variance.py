"""Where the uncertainty of an answer comes from: Sobol indices, and what is worth knowing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from twitchdx.errors import EvidenceError
from twitchdx.explain.leading import contenders
from twitchdx.sensitivity.beta import fit_beta
from twitchdx.sensitivity.draws import (
    BATCHES,
    draw_numbers,
    normal_stream,
    plan_case,
    uncertain_rows,
)
from twitchdx.sensitivity.functions import ROUNDING, FloatArray
from twitchdx.sensitivity.knobs import Knob, Selection, case_knobs, identity
from twitchdx.sensitivity.moves import find_moves
from twitchdx.sensitivity.probabilistic import SEED
from twitchdx.sensitivity.tornado import describe_rows, tornado

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from twitchdx.diagnosis import Diagnosis

SOBOL_DRAWS = 256
SOBOL_TOP = 10
WORTH_DRAWS = 2_000
DEGREE = 3
"""Degree of the polynomial in a number's normal score by which posteriors are regressed on it."""


@dataclass(frozen=True, eq=False)
class Sobol:
    """How the variance of a posterior divides among the numbers that vary.

    Attributes
    ----------
    target : str
    draws : int
        Base sample size n; n * (numbers + 2) networks were answered.
    seed : int
    variance : float
        Of the posterior, as the chosen numbers vary.
    left_out : int
        Numbers that were asked for but held fixed, as their swing alone is smaller.
    frame : DataFrame
        One row a number, largest total index first: `parameter`, `label`, ..., `first`,
        `first_low`, `first_high`, `total`, `total_low`, `total_high` (95 % bootstrap intervals).
    """

    target: str
    draws: int
    seed: int
    variance: float
    left_out: int
    frame: pd.DataFrame

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw first-order and total indices with their intervals."""
        from twitchdx.sensitivity.plots import plot_sobol

        return plot_sobol(self, axes)

    def __repr__(self) -> str:
        return (
            f"Sobol({self.target}, n = {self.draws}, {len(self.frame)} numbers, "
            f"{self.left_out} held fixed)\n{self.frame}"
        )


def sobol(
    dx: Diagnosis,
    target: str,
    parameters: Selection = "priors",
    *,
    draws: int = SOBOL_DRAWS,
    seed: int = SEED,
    top: int = SOBOL_TOP,
) -> Sobol:
    """Divide the variance of a posterior among the numbers: first-order and total indices.

    Sobol's indices [1]_ by Saltelli's design, as scipy computes them. Rows of one prevalence vary
    together.

    Parameters
    ----------
    dx : Diagnosis
    target : str
        Cause.
    parameters : str, Parameter, or several of them
    draws : int
        Base sample size, a power of two.
    seed : int
    top : int
        At most this many numbers vary: those with the largest swings in a tornado.

    Raises
    ------
    UnknownIdError
        For a target or parameter that does not exist.
    EvidenceError
        Where `draws` is no power of two, or nothing varies.
    WidthError
        Where the case is too wide for exact inference.

    References
    ----------
    .. [1] Saltelli A, Annoni P, Azzini I, et al. Variance based sensitivity analysis of model
       output. Comput Phys Commun 2010.
    """
    if draws < 2 or draws & (draws - 1):
        raise EvidenceError(f"the base sample size must be a power of two, not {draws}")
    swings = tornado(dx, target, parameters).frame
    swings = swings[(swings["swing"] > 0) & (swings["low"] < swings["high"])]
    chosen = set(swings["parameter"].head(top))
    knobs = [knob for knob in case_knobs(dx, parameters) if knob.key in chosen]
    if not knobs:
        raise EvidenceError(f"none of the numbers moves {target}")
    rows = [row for knob in knobs for row in knob.parameters]
    knob_of_row = np.repeat(np.arange(len(knobs)), [len(knob.parameters) for knob in knobs])
    plan = plan_case(dx, rows)
    place = dx.engine.networks[0].causes.index(target)
    betas = [fit_beta(row.value, row.low, row.high) for row in rows]

    def posterior(uniform: FloatArray) -> FloatArray:
        from scipy.special import ndtri

        normal = ndtri(np.clip(uniform, 1e-9, 1 - 1e-9))
        flat = normal.reshape(len(knobs), -1)
        numbers = np.stack(
            [beta.at_normal(flat[k]) for beta, k in zip(betas, knob_of_row, strict=True)], axis=1
        )
        return plan.posteriors(numbers).posterior[:, place].reshape(uniform.shape[1:])

    indices = sobol_of(posterior, len(knobs), draws, seed)
    moves = find_moves(dx, knobs, [target])
    frame = describe_rows(dx, moves, moves.low, moves.high)
    for name, values in indices.items():
        if name != "variance":
            frame[name] = values
    frame = frame.sort_values("total", ascending=False, kind="stable", ignore_index=True)
    return Sobol(target, draws, seed, float(indices["variance"]), len(swings) - len(knobs), frame)


def sobol_of(
    function: Callable[[FloatArray], FloatArray], count: int, draws: int, seed: int
) -> dict[str, Any]:
    """First-order and total indices of a function of independent uniform numbers.

    Parameters
    ----------
    function : callable
        From an array of shape (count, n) to one of shape (n,) or (outputs, n).
    count, draws, seed : int

    Returns
    -------
    dict
        "first", "total" and their bootstrap limits "first_low" ..., each of shape (count,), and
        "variance".
    """
    from scipy import stats

    spread: list[float] = []

    def watched(x: FloatArray) -> FloatArray:
        values = function(x)
        spread.append(float(np.var(values)))
        return values

    result = stats.sobol_indices(
        func=watched,
        n=draws,
        dists=[stats.uniform()] * count,
        rng=np.random.default_rng(seed),
    )
    limits = result.bootstrap(confidence_level=0.95, n_resamples=500)
    return {
        "first": result.first_order,
        "first_low": limits.first_order.confidence_interval.low,
        "first_high": limits.first_order.confidence_interval.high,
        "total": result.total_order,
        "total_low": limits.total_order.confidence_interval.low,
        "total_high": limits.total_order.confidence_interval.high,
        "variance": spread[0],
    }


@dataclass(frozen=True, eq=False)
class WorthKnowing:
    """For which number a better study would most reduce the uncertainty of the answer.

    Attributes
    ----------
    leading : str
        The leading cause on average over all draws.
    sd : float
        Standard deviation of its posterior as all numbers vary.
    draws, seed : int
    frame : DataFrame
        One row a number, most worth knowing first: `parameter`, `label`, ..., `variance_share`
        (of the leading posterior's variance, that would go if the number were known), `sd_after`
        (what would be left on average), `evppi` (expected gain in the probability that the cause
        named as leading is present, if the number were known before naming it), and their Monte
        Carlo standard errors `se_variance_share`, `se_evppi`.
    """

    leading: str
    sd: float
    draws: int
    seed: int
    frame: pd.DataFrame

    def plot(self, axes: Axes | None = None, top: int = 15) -> Axes:
        """Draw the numbers most worth knowing."""
        from twitchdx.sensitivity.plots import plot_worth_knowing

        return plot_worth_knowing(self, axes, top)

    def __repr__(self) -> str:
        return (
            f"WorthKnowing({self.leading}: standard deviation {self.sd:.3g}, {self.draws:,} draws)"
            f"\n{self.frame.head(15)}"
        )


def worth_knowing(
    dx: Diagnosis,
    parameters: Selection = "all",
    *,
    draws: int = WORTH_DRAWS,
    seed: int = SEED,
    exposures: bool = False,
    bystanders: bool = False,
) -> WorthKnowing:
    """Rank the numbers by what knowing each exactly would do for the answer.

    All chosen numbers vary at once. The expected posteriors given one number come from regressing
    the drawn posteriors on a cubic polynomial in that number's normal score [1]_ (posteriors are
    monotone and smooth in one number). Two values are read from them: the share of the leading
    posterior's variance that the number explains, and the expected value of partial perfect
    information, for the decision which cause to name, in probability of naming a cause that is
    present.

    Parameters
    ----------
    dx : Diagnosis
    parameters : str, Parameter, or several of them
    draws : int
        A multiple of 10, at least 200.
    seed : int
    exposures : bool
        Let exposures lead, too.
    bystanders : bool
        Likewise causes that the evidence does not speak for.

    Raises
    ------
    UnknownIdError
        For a parameter that does not exist.
    EvidenceError
        For a number of draws that cannot be divided into batches.
    WidthError
        Where the case is too wide for exact inference.

    References
    ----------
    .. [1] Strong M, Oakley JE, Brennan A. Estimating multiparameter partial expected value of
       perfect information from a probabilistic sensitivity analysis sample: a nonparametric
       regression approach. Med Decis Making 2014.
    """
    if draws < 20 * BATCHES:
        raise EvidenceError(f"at least {20 * BATCHES} draws are needed for the regressions")
    rows = uncertain_rows(dx, parameters)
    used = set(rows)
    knobs = [
        Knob(knob.key, knob.parameters)
        for knob in case_knobs(dx, parameters)
        if any(row in used for row in knob.parameters)
    ]
    answers = plan_case(dx, rows).posteriors(draw_numbers(rows, draws, seed))
    place = {cause: i for i, cause in enumerate(dx.engine.networks[0].causes)}
    candidates = contenders(dx, exposures=exposures, bystanders=bystanders)
    possible = np.isfinite(answers.log_evidence)
    samples = answers.posterior[possible][:, [place[cause] for cause in candidates]]
    scores = np.stack(
        [normal_stream(identity(knob.parameters[0]), draws, seed)[possible] for knob in knobs],
        axis=1,
    )
    values = worth_of(scores, samples)
    parts = [
        worth_of(s, p)
        for s, p in zip(
            np.array_split(scores, BATCHES), np.array_split(samples, BATCHES), strict=True
        )
    ]
    lead = int(np.argmax(samples.mean(axis=0)))
    sd = float(samples[:, lead].std())
    moves = find_moves(dx, knobs, ())
    frame = describe_rows(dx, moves, moves.low, moves.high)
    frame["variance_share"], frame["evppi"] = values
    frame["sd_after"] = sd * np.sqrt(1 - np.clip(values[0], 0, 1))
    frame["se_variance_share"] = _scatter([part[0] for part in parts])
    frame["se_evppi"] = _scatter([part[1] for part in parts])
    frame = frame.sort_values(["variance_share"], ascending=False, kind="stable", ignore_index=True)
    return WorthKnowing(candidates[lead], sd, draws, seed, frame)


def worth_of(scores: FloatArray, samples: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Explained share of variance, and value of information, of each input.

    Parameters
    ----------
    scores : ndarray, shape (draws, K)
        Normal score of each input in each draw.
    samples : ndarray, shape (draws, options)
        Value of each option in each draw.

    Returns
    -------
    share : ndarray, shape (K,)
        Of the variance of the best option's value, that each input explains alone (corrected for
        the degrees of freedom of the regression).
    evppi : ndarray, shape (K,)
        Expected gain of choosing the best option knowing that input.
    """
    draws = len(samples)
    best = int(np.argmax(samples.mean(axis=0)))
    centred = samples - samples.mean(axis=0)
    total = float(centred[:, best] @ centred[:, best])
    share, evppi = np.zeros(scores.shape[1]), np.zeros(scores.shape[1])
    for k in range(scores.shape[1]):
        design = np.polynomial.hermite_e.hermevander(scores[:, k], DEGREE)[:, 1:]
        base, _ = np.linalg.qr(design - design.mean(axis=0))
        fitted = base @ (base.T @ centred)
        explained = float(fitted[:, best] @ fitted[:, best]) / total if total > 0 else 0.0
        free = (draws - 1) / (draws - 1 - DEGREE)
        share[k] = max(0.0, 1 - (1 - explained) * free)
        expected = samples.mean(axis=0) + fitted
        gain = float(expected.max(axis=1).mean() - samples[:, best].mean())
        evppi[k] = gain if gain > ROUNDING else 0.0
    return share, evppi


def _scatter(parts: Sequence[FloatArray]) -> FloatArray:
    return np.asarray(np.stack(parts).std(axis=0, ddof=1) / np.sqrt(len(parts)))
