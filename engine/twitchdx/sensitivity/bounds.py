"""Bounds: lowest and highest posteriors as all numbers vary jointly within their intervals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from twitchdx.sensitivity.draws import CasePlan, plan_case
from twitchdx.sensitivity.functions import FloatArray, log_odds
from twitchdx.sensitivity.knobs import Knob, Selection, case_knobs
from twitchdx.sensitivity.moves import Moves, find_moves, reach_of, unobserved_causes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from twitchdx.diagnosis import Diagnosis

Kind: TypeAlias = Literal["exact", "inner and outer"]

MOST_CORNERS = 4096
"""Corners of the box up to which all are visited."""
ROUNDS = 30
"""Rounds of ascent from corner to corner."""
GAIN = 1e-12


@dataclass(frozen=True, eq=False)
class Bounds:
    """Lowest and highest posterior of each cause.

    Attributes
    ----------
    parameters : int
        Numbers that vary.
    frame : DataFrame
        One row a cause, most probable first: `cause`, `posterior`; `low`, `high` (reached: at
        these corners of the box the posterior is exactly this); `outer_low`, `outer_high` (proven:
        nothing in the box lies beyond); `kind`: "exact" where the two agree, else
        "inner and outer".
    corners : mapping of (cause, "low" or "high") to dict
        The numbers (key -> value) at which `low` and `high` are reached.
    """

    parameters: int
    frame: pd.DataFrame
    corners: dict[tuple[str, str], dict[str, float]]

    def plot(self, axes: Axes | None = None, top: int = 12) -> Axes:
        """Draw the bounds of the most probable causes."""
        from twitchdx.sensitivity.plots import plot_bounds

        return plot_bounds(self, axes, top)

    def __repr__(self) -> str:
        kinds = ", ".join(sorted(set(self.frame["kind"])))
        return f"Bounds({self.parameters} numbers; {kinds})\n{self.frame.head(12)}"


def bounds(
    dx: Diagnosis,
    parameters: Selection = "priors",
    *,
    targets: Sequence[str] | None = None,
    most_corners: int = MOST_CORNERS,
) -> Bounds:
    """Find the lowest and highest posteriors as numbers vary jointly within their intervals.

    The answer of a credal network: every number may be anywhere in its interval, with all others.
    P(evidence) and P(evidence, cause) are linear in each number, so that a posterior takes its
    extremes at corners of the box (or where a number stops to matter, if that is inside). Up to
    `most_corners` corners are all visited: exact. Beyond that, ascent from corner to corner
    reaches posteriors that are certainly possible, an inner bound; and an outer bound is proven
    by Chan and Darwiche [1]_: a network parameter moves the log-odds of any posterior by no more
    than its own. The outer bound of many numbers together is often wide.

    Parameters
    ----------
    dx : Diagnosis
    parameters : str, Parameter, or several of them
        Each row of the tables varies by itself.
    targets : sequence of str, optional
        Causes; by default all that were not observed.
    most_corners : int

    Raises
    ------
    UnknownIdError
        For a cause or parameter that does not exist.
    WidthError
        Where the case is too wide for exact inference.

    References
    ----------
    .. [1] Chan H, Darwiche A. When do numbers really matter? J Artif Intell Res 2002; and A
       distance measure for bounding probabilistic belief change. Int J Approx Reason 2005.
    """
    knobs = case_knobs(dx, parameters, together=False)
    knobs = tuple(k for k in knobs if k.parameters[0].low < k.parameters[0].high)
    causes = tuple(targets) if targets is not None else unobserved_causes(dx)
    moves = find_moves(dx, knobs, causes)
    touching = (moves.d_evidence != 0) | (moves.d_joint != 0).any(axis=0)
    alive = set(moves.knob[touching].tolist())
    knobs = tuple(knob for i, knob in enumerate(knobs) if i in alive)
    moves = _only(moves, knobs, alive)
    nodes = corner_nodes(moves)
    corners = math.prod(len(n) for n in nodes)
    plan = plan_case(dx, moves.rows)
    place = {cause: i for i, cause in enumerate(dx.engine.networks[0].causes)}
    columns = [place[cause] for cause in causes]
    if corners <= most_corners:
        low, high, at_low, at_high = _visit_all(plan, nodes, columns)
        outer_low, outer_high = low, high
        kind = "exact"
    else:
        low, at_low = _climb(dx, moves, plan, nodes, columns, -1.0)
        high, at_high = _climb(dx, moves, plan, nodes, columns, 1.0)
        outer_low, outer_high = _outer(moves, low, high)
        kind = "inner and outer"
    import pandas as pd

    frame = pd.DataFrame(
        {
            "cause": causes,
            "posterior": moves.posterior,
            "low": low,
            "high": high,
            "outer_low": outer_low,
            "outer_high": outer_high,
            "kind": kind,
        }
    ).sort_values("posterior", ascending=False, kind="stable", ignore_index=True)
    keys = [row.key for row in moves.rows]
    reached = {
        (cause, side): dict(zip(keys, numbers[i].tolist(), strict=True))
        for side, numbers in (("low", at_low), ("high", at_high))
        for i, cause in enumerate(causes)
    }
    return Bounds(len(knobs), frame, reached)


def corner_nodes(moves: Moves) -> list[FloatArray]:
    """Positions of each number at which an extreme can lie: its ends, and kinks in between."""
    return [
        np.array([row.low, *(x for x in kinks if row.low < x < row.high), row.high])
        for row, kinks in zip(moves.rows, moves.kinks(), strict=True)
    ]


def _only(moves: Moves, knobs: tuple[Knob, ...], alive: set[int]) -> Moves:
    """Keep some knobs, without sweeping again."""
    new = {old: i for i, old in enumerate(sorted(alive))}
    kept = np.array([k in alive for k in moves.knob.tolist()], dtype=bool)
    rows = tuple(row for i, row in enumerate(moves.rows) if i in alive)
    return Moves(
        moves.dx,
        knobs,
        moves.targets,
        rows,
        np.arange(len(rows)),
        np.array([new[r] for r in moves.row[kept].tolist()], dtype=np.int64),
        moves.slope[kept],
        moves.intercept[kept],
        moves.floor[kept],
        moves.now[kept],
        moves.d_evidence[kept],
        moves.d_joint[:, kept],
        moves.posterior,
    )


def _visit_all(
    plan: CasePlan, nodes: list[FloatArray], columns: list[int]
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    numbers = np.array(list(itertools.product(*nodes)), dtype=np.float64)
    numbers = numbers.reshape(-1, len(nodes))
    posterior = plan.posteriors(numbers).posterior[:, columns]
    possible = np.isfinite(posterior).all(axis=1)
    numbers, posterior = numbers[possible], posterior[possible]
    first, last = posterior.argmin(axis=0), posterior.argmax(axis=0)
    return posterior.min(axis=0), posterior.max(axis=0), numbers[first], numbers[last]


def _climb(
    dx: Diagnosis,
    moves: Moves,
    plan: CasePlan,
    nodes: list[FloatArray],
    columns: list[int],
    sign: float,
) -> tuple[FloatArray, FloatArray]:
    """Go from corner to corner as long as the posterior rises (sign 1) or falls (-1)."""
    start = np.repeat(moves.values[None], len(columns), axis=0)
    numbers = _best_each(moves, nodes, start, range(len(columns)), sign)
    best = plan.posteriors(numbers).posterior[np.arange(len(columns)), columns]
    base = {row.key: row for row in moves.rows}
    for target, column in enumerate(columns):
        for _ in range(ROUNDS):
            engine = dx.engine.with_parameters(
                {row.key: float(x) for row, x in zip(moves.rows, numbers[target], strict=True)}
            )
            here = engine.diagnose_case(dx.case)
            rows = {row.key: row for row in engine.model.parameters if row.key in base}
            now = [Knob(k.key, (rows[k.key],)) for k in moves.knobs]
            local = find_moves(here, now, [moves.targets[target]])
            wanted = _best_each(local, nodes, numbers[target][None], [0], sign)[0]
            changed = np.flatnonzero(wanted != numbers[target])
            if not len(changed):
                break
            trial = np.repeat(numbers[target][None], len(changed) + 1, axis=0)
            trial[0] = wanted
            trial[np.arange(1, len(changed) + 1), changed] = wanted[changed]
            if len(changed) == 1:
                trial = trial[:1]
            values = plan.posteriors(trial).posterior[:, column]
            top = int(np.argmax(sign * values))
            if sign * (values[top] - best[target]) <= GAIN:
                break
            numbers[target], best[target] = trial[top], values[top]
    return best, numbers


def _best_each(
    moves: Moves, nodes: list[FloatArray], numbers: FloatArray, targets: Sequence[int], sign: float
) -> FloatArray:
    """Where each number alone would be best, for each target, shape (targets, R)."""
    most = max((len(n) for n in nodes), default=0)
    choice = numbers.copy()
    value = np.full(numbers.shape, -np.inf)
    for k in range(most):
        x = np.array([n[min(k, len(n) - 1)] for n in nodes])
        evidence, joint = moves.evaluate(x)
        with np.errstate(divide="ignore", invalid="ignore"):
            posterior = sign * joint[list(targets)] / evidence
        better = posterior > value + GAIN
        value = np.where(better, posterior, value)
        choice = np.where(better, x, choice)
    return np.asarray(choice)


def _outer(moves: Moves, low: FloatArray, high: FloatArray) -> tuple[FloatArray, FloatArray]:
    """What the log-odds of all network parameters together can do, at most."""
    reach = float(reach_of(moves, moves.low, moves.high).sum())
    base = np.array([log_odds(p) for p in moves.posterior])
    down, up = 1 / (1 + np.exp(-(base - reach))), 1 / (1 + np.exp(-(base + reach)))
    return np.minimum(down, low), np.maximum(up, high)
