"""Tornado: how far each number, moved alone, moves the posterior of one cause."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from twitchdx.errors import EvidenceError
from twitchdx.odds import shift_odds
from twitchdx.sensitivity.functions import FloatArray
from twitchdx.sensitivity.knobs import Selection, case_knobs
from twitchdx.sensitivity.moves import Moves, find_moves, unobserved_causes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from twitchdx.diagnosis import Diagnosis

OWN_INTERVALS: Literal["intervals"] = "intervals"

COLUMNS = (
    "target",
    "parameter",
    "label",
    "kind",
    "cause",
    "other",
    "value",
    "low",
    "high",
    "posterior",
    "posterior_low",
    "posterior_high",
    "swing",
    "rank",
    "rank_low",
    "rank_high",
    "grade",
    "source",
    "place",
)


@dataclass(frozen=True, eq=False)
class Tornado:
    """How far each number moves a posterior, largest swing first.

    Attributes
    ----------
    target : str
    posterior : float
        At the present numbers.
    spread : str
        What each number was moved over, in words.
    frame : DataFrame
        One row a number: `parameter` (key), `label`, `kind`, `cause`, `other`; `value`, `low` and
        `high` (of several rows: their average over the case's strata); `posterior`,
        `posterior_low` and `posterior_high` (at low and high); `swing`; `rank`, `rank_low` and
        `rank_high` of the target among all causes; `grade`, `source`, `place` (file:line).
    """

    target: str
    posterior: float
    spread: str
    frame: pd.DataFrame

    def plot(self, axes: Axes | None = None, top: int = 15) -> Axes:
        """Draw the widest bars, with both end values and citation keys."""
        from twitchdx.sensitivity.plots import plot_tornado

        return plot_tornado(self, axes, top)

    def __repr__(self) -> str:
        return f"Tornado({self.target}, {self.spread})\n{self.frame.head(15)}"


def tornado(
    dx: Diagnosis,
    target: str,
    parameters: Selection = "priors",
    *,
    odds: float | None = None,
    together: bool = True,
) -> Tornado:
    """Move each number alone, over its own 95 % interval, and see what becomes of a posterior.

    A posterior is monotone in one number, so that the two end values are the exact bounds of
    what the number does within its interval.

    Parameters
    ----------
    dx : Diagnosis
    target : str
        Cause.
    parameters : str, Parameter, or several of them
        "priors", "links", "likelihoods", "backgrounds", "all", causes, keys.
    odds : float, optional
        The second mode: multiply and divide the odds of every number by this, instead of using
        its own interval.
    together : bool
        Move the rows of one prevalence (by sex and age) as one, each to the end of its own
        interval; likewise those of one background.

    Returns
    -------
    Tornado

    Raises
    ------
    UnknownIdError
        For a target or parameter that does not exist.
    EvidenceError
        For odds that are no finite number above 1.
    WidthError
        Where the case is too wide for exact derivatives.
    """
    check_odds(odds)
    knobs = case_knobs(dx, parameters, together=together)
    others = unobserved_causes(dx)
    moves = find_moves(dx, knobs, others if target in others else (target, *others))
    low, high = spread_ends(moves, odds)
    return Tornado(
        target,
        float(moves.posterior[moves.targets.index(target)]),
        spread_words(odds),
        _frame(dx, moves, target, low, high),
    )


def check_odds(odds: float | None) -> None:
    """Raise EvidenceError for a factor on the odds that is no finite number above 1."""
    if odds is not None and not (math.isfinite(odds) and odds > 1):
        raise EvidenceError(
            f"the factor on the odds must be finite and greater than 1, not {odds:g}"
        )


def spread_words(odds: float | None) -> str:
    """What the numbers are moved over, in words for a figure."""
    if odds is None:
        return "each number over its own 95 % interval"
    return f"odds of each number divided and multiplied by {odds:g}"


def spread_ends(moves: Moves, odds: float | None) -> tuple[FloatArray, FloatArray]:
    """Lower and upper number of each row, shape (R,)."""
    if odds is None:
        return moves.low, moves.high
    return shift_odds(moves.values, 1 / odds), shift_odds(moves.values, odds)


def rank_of(posteriors: FloatArray, target: int) -> FloatArray:
    """Rank of one target among all, 1 for the most probable; ties count for it.

    Parameters
    ----------
    posteriors : ndarray, shape (T, K)

    Returns
    -------
    ndarray of int, shape (K,)
    """
    return np.asarray(1 + (posteriors > posteriors[target] * (1 + 1e-12)).sum(axis=0))


def describe_rows(dx: Diagnosis, moves: Moves, low: FloatArray, high: FloatArray) -> pd.DataFrame:
    """Return the columns that say what each knob is, one row a knob."""
    import pandas as pd

    index = {id(row): i for i, row in enumerate(moves.rows)}
    records = []
    for knob in moves.knobs:
        places = [index[id(row)] for row in knob.parameters]
        weights = [sum(dx.case.weights[t.stratum] for t in row.targets) for row in knob.parameters]
        records.append(
            {
                "parameter": knob.key,
                "label": knob.label,
                "kind": knob.kind,
                "cause": knob.cause,
                "other": knob.other,
                "value": knob.mean(moves.values[places].tolist(), weights),
                "low": knob.mean(low[places].tolist(), weights),
                "high": knob.mean(high[places].tolist(), weights),
                "grade": knob.grade,
                "source": ";".join(knob.source),
                "place": knob.place,
            }
        )
    return pd.DataFrame(records)


def _frame(
    dx: Diagnosis, moves: Moves, target: str, low: FloatArray, high: FloatArray
) -> pd.DataFrame:
    place = moves.targets.index(target)
    at_low, at_high = moves.posteriors(low), moves.posteriors(high)
    frame = describe_rows(dx, moves, low, high)
    if frame.empty:
        return frame.reindex(columns=list(COLUMNS))
    frame["target"] = target
    frame["posterior"] = moves.posterior[place]
    frame["posterior_low"], frame["posterior_high"] = at_low[place], at_high[place]
    frame["swing"] = np.abs(at_high[place] - at_low[place])
    frame["rank"] = int(rank_of(moves.posterior[:, None], place)[0])
    frame["rank_low"], frame["rank_high"] = rank_of(at_low, place), rank_of(at_high, place)
    return frame[list(COLUMNS)].sort_values(
        "swing", ascending=False, kind="stable", ignore_index=True
    )
