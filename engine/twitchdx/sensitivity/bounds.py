"""Bounds: lowest and highest posteriors as all numbers vary jointly within their intervals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from twitchdx.diagnosis import check_cause
from twitchdx.sensitivity.draws import CasePlan, plan_case
from twitchdx.sensitivity.functions import FloatArray
from twitchdx.sensitivity.knobs import Selection, case_knobs
from twitchdx.sensitivity.moves import unobserved_causes
from twitchdx.sensitivity.relevance import Relevance

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from twitchdx.diagnosis import Diagnosis
    from twitchdx.model import Parameter

Kind: TypeAlias = Literal["exact", "inner and outer"]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

MOST_CORNERS = 4096
"""Corners of a cause's box up to which all are visited."""
OUTER_CORNERS = 2048
"""Corners of the numbers that matter most that an outer bound goes through."""
ENUMERATIONS = 4
"""Times `most_corners` that the causes on which the same evidence bears may take together."""
WORK = 2**24
"""States that visiting all corners may go through: a wide case gets fewer corners."""
ROUNDS = 30
"""Rounds of ascent from corner to corner."""
GAIN = 1e-12
"""Bounds closer than this are the same."""


@dataclass(frozen=True, eq=False)
class Bounds:
    """Lowest and highest posterior of each cause.

    Attributes
    ----------
    parameters : int
        Numbers that vary and matter to some cause.
    frame : DataFrame
        One row a cause, most probable first: `cause`, `posterior`; `low`, `high` (reached: at
        these corners of the box the posterior is exactly this); `outer_low`, `outer_high` (proven:
        nothing in the box lies beyond); `kind`: "exact" where the two agree, else
        "inner and outer"; `numbers`, that the cause's posterior can depend on.
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
    outer_corners: int = OUTER_CORNERS,
) -> Bounds:
    """Find the lowest and highest posteriors as numbers vary jointly within their intervals.

    The answer of a credal network: every number may be anywhere in its interval, with all others.
    P(evidence) and P(evidence, cause) are linear in each number, so that a posterior takes its
    extremes at corners of the box (or where a number stops to matter, if that is inside).

    Each cause has a box of its own: the numbers that its posterior can depend on by the structure
    of the network (`twitchdx.sensitivity.relevance`). What sets the cause's own node (its
    prevalence, links to it) raises its posterior wherever all others stand, and so goes to its
    end. If no observation bears on the cause, all numbers do; that is exact. If the other numbers
    have at most `most_corners` corners, all are visited: exact. Otherwise ascent from corner to
    corner reaches posteriors that are certainly possible, an inner bound, and an outer bound is
    proven as follows.

    The odds of a cause are J1 / J0, with J1 = P(evidence, cause on) and J0 = P(evidence, off). A
    network parameter x mixes two worlds, J = (1 - x) A + x B: in the second a node (or arrow) is
    on that is not in the first. That helps all that is observed present, and costs what it may
    switch on of all that is observed absent, at most a factor a: B >= a A (see `_kept`). So J
    from the low to the high end of x falls to no less than m = (1 - x1 + a x1) / (1 - x0 + a x0)
    of itself, and all numbers together give J1 <= J1(all high) / prod m and
    J0 >= J0(all low) * prod m. The numbers that move P(evidence) most are not bounded so, but put
    to each of their corners (up to `outer_corners`), and the worst counts.

    Parameters
    ----------
    dx : Diagnosis
    parameters : str, Parameter, or several of them
        Each row of the tables varies by itself.
    targets : sequence of str, optional
        Causes; by default all that were not observed.
    most_corners, outer_corners : int
        Fewer in a wide case (see `WORK`).

    Raises
    ------
    UnknownIdError
        For a cause or parameter that does not exist.
    WidthError
        Where the case is too wide for exact inference.
    """
    knobs = case_knobs(dx, parameters, together=False)
    rows = tuple(k.parameters[0] for k in knobs if k.parameters[0].low < k.parameters[0].high)
    causes = tuple(targets) if targets is not None else unobserved_causes(dx)
    for cause in causes:
        check_cause(dx.engine, cause)
    affordable = max(1, WORK // (int((dx.case.weights > 0).sum()) << dx.width))
    most_corners = min(most_corners, affordable)
    outer_corners = min(outer_corners, affordable // ENUMERATIONS)
    relevance = Relevance.of(dx, rows)
    place = dx.engine.reader.index
    matters = {cause: relevance.numbers(place[cause]) for cause in causes}
    found: dict[str, _Range] = {}
    groups: dict[bytes, list[str]] = {}
    for cause in causes:
        groups.setdefault(relevance.evidence(place[cause]).tobytes(), []).append(cause)
    for members in groups.values():
        used = np.any([matters[cause] for cause in members], axis=0)
        inside = tuple(row for row, one in zip(rows, used, strict=True) if one)
        plan = plan_case(dx, inside, relevance.evidence(place[members[0]]))
        box = _Box(plan, [_nodes(row) for row in inside], dx.log_evidence)
        asked = [_Asked(place[cause], matters[cause][used]) for cause in members]
        free = [relevance.untouched(one.node) for one in asked]
        ranges = _ranges(box, asked, free, most_corners, outer_corners)
        found.update(zip(members, ranges, strict=True))
    return _assemble(dx, causes, rows, matters, found)


class _Asked(NamedTuple):
    """A cause: its node, and which rows of its box matter to it."""

    node: int
    matters: BoolArray


class _Range(NamedTuple):
    """What is known of one posterior, and the numbers at which its ends are reached."""

    low: float
    high: float
    outer_low: float
    outer_high: float
    at_low: dict[str, float]
    at_high: dict[str, float]


@dataclass(frozen=True, eq=False)
class _Box:
    """The numbers that vary together, and the evidence that binds them.

    Attributes
    ----------
    plan : CasePlan
    nodes : list of ndarray
        Positions of each number at which an extreme can lie: its ends, and kinks in between.
    log_evidence : float
        Of the whole case, as a unit.
    """

    plan: CasePlan
    nodes: list[FloatArray]
    log_evidence: float

    @property
    def values(self) -> FloatArray:
        """Present numbers, shape (R,)."""
        return np.array([row.value for row in self.plan.rows], dtype=np.float64)

    @property
    def ends(self) -> FloatArray:
        """Low and high ends, shape (2, R)."""
        ends = [(nodes[0], nodes[-1]) for nodes in self.nodes]
        return np.array(ends, dtype=np.float64).reshape(-1, 2).T

    def own(self, node: int) -> BoolArray:
        """Rows that set nothing but parameters of one node, shape (R,)."""
        other = self.plan.move_node != node
        return np.bincount(self.plan.move_row[other], minlength=len(self.nodes)) == 0

    def corners(self, free: BoolArray) -> int:
        """How many corners some rows have."""
        return math.prod(len(self.nodes[r]) for r in np.flatnonzero(free).tolist())

    def grid(self, free: BoolArray, base: FloatArray) -> FloatArray:
        """All corners of some rows, the others at `base`; shape (corners, R)."""
        rows = np.flatnonzero(free)
        numbers = np.repeat(base[None], self.corners(free), axis=0)
        corners = itertools.product(*(self.nodes[r] for r in rows.tolist()))
        numbers[:, rows] = np.array(list(corners), dtype=np.float64).reshape(len(numbers), -1)
        return numbers

    def told(self, numbers: FloatArray, matters: BoolArray) -> dict[str, float]:
        """Numbers that matter, by key."""
        return {
            row.key: float(x)
            for row, x, one in zip(self.plan.rows, numbers, matters, strict=True)
            if one
        }


def _nodes(row: Parameter) -> FloatArray:
    kinks = {kink for target in row.targets for kink in target.kinks}
    return np.array([row.low, *sorted(x for x in kinks if row.low < x < row.high), row.high])


def _ranges(
    box: _Box,
    asked: Sequence[_Asked],
    untouched: Sequence[bool],
    most_corners: int,
    outer_corners: int,
) -> list[_Range]:
    """Bounds of some causes on which the same evidence bears."""
    free = [
        np.zeros_like(one.matters) if alone else one.matters & ~box.own(one.node)
        for one, alone in zip(asked, untouched, strict=True)
    ]
    together = np.any(free, axis=0)
    if box.corners(together) <= most_corners and not any(untouched):
        free = [together] * len(asked)  # a number that does not matter may stand anywhere
    visited: dict[bytes, tuple[Visited, Visited]] = {}
    found: dict[int, _Range] = {}
    left = ENUMERATIONS * most_corners
    for i in sorted(range(len(asked)), key=lambda i: box.corners(free[i])):
        key, corners = free[i].tobytes(), box.corners(free[i])
        if key not in visited:
            if corners > most_corners or corners > left:
                continue
            left -= corners
            visited[key] = _both(box, free[i])
        found[i] = _visited(box, asked[i], visited[key])
    hard = [i for i in range(len(asked)) if i not in found]
    if hard:
        results = _hard(box, [asked[i] for i in hard], outer_corners)
        found.update(zip(hard, results, strict=True))
    return [found[i] for i in range(len(asked))]


Visited: TypeAlias = "tuple[FloatArray, FloatArray]"


def _both(box: _Box, free: BoolArray) -> tuple[Visited, Visited]:
    """All corners of some numbers, with all others at their low and at their high ends.

    The others only raise the posterior that is asked about, or do not matter to it.
    """
    sides = []
    for end in box.ends:
        numbers = box.grid(free, end)
        sides.append((numbers, box.plan.posteriors(numbers).posterior))
    return sides[0], sides[1]


def _visited(box: _Box, one: _Asked, sides: tuple[Visited, Visited]) -> _Range:
    (low_at, lows), (high_at, highs) = sides
    first = int(np.nanargmin(lows[:, one.node]))
    last = int(np.nanargmax(highs[:, one.node]))
    low, high = float(lows[first, one.node]), float(highs[last, one.node])
    at_low, at_high = box.told(low_at[first], one.matters), box.told(high_at[last], one.matters)
    return _Range(low, high, low, high, at_low, at_high)


def _hard(box: _Box, asked: Sequence[_Asked], outer_corners: int) -> list[_Range]:
    """Inner bounds by ascent, and outer ones by what monotonicity proves."""
    chosen = _most_moving(box, outer_corners)
    at_ends = [box.grid(chosen, end) for end in box.ends]
    answers = [box.plan.posteriors(numbers) for numbers in at_ends]
    found = []
    for one in asked:
        slack = _slack(box, one, ~chosen)
        logs = []
        for answer in answers:
            with np.errstate(divide="ignore"):
                posterior = answer.posterior[:, one.node]
                on = np.nan_to_num(np.log(posterior), nan=-np.inf, neginf=-np.inf)
                off = np.nan_to_num(np.log1p(-posterior), nan=-np.inf, neginf=-np.inf)
                logs.append((answer.log_evidence + on, answer.log_evidence + off))
        (on_low, off_low), (on_high, off_high) = logs
        with np.errstate(invalid="ignore"):
            most = np.max(np.nan_to_num(on_high - off_low, nan=np.inf)) + slack
            least = np.min(np.nan_to_num(on_low - off_high, nan=-np.inf)) - slack
        ends = []
        for sign in (-1.0, 1.0):
            starts = [
                numbers[_best(answer.posterior[:, one.node], sign)]
                for numbers, answer in zip(at_ends, answers, strict=True)
            ]
            ends.append(_climb(box, one, [box.values, *starts], sign))
        (low, at_low), (high, at_high) = ends
        outer_low, outer_high = min(_expit(least), low), max(_expit(most), high)
        found.append(
            _Range(
                low,
                high,
                low if low - outer_low <= GAIN else outer_low,
                high if outer_high - high <= GAIN else outer_high,
                box.told(at_low, one.matters),
                box.told(at_high, one.matters),
            )
        )
    return found


def _best(values: FloatArray, sign: float) -> int:
    return int(np.nanargmax(sign * values))


def _expit(log_odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-log_odds)) if log_odds > -700 else 0.0


def _most_moving(box: _Box, most: int) -> BoolArray:
    """The rows that move P(evidence) most, as many as have no more than `most` corners."""
    low, high = box.ends
    rows = len(box.nodes)
    singles = np.repeat(box.values[None], 2 * rows, axis=0)
    singles[np.arange(rows), np.arange(rows)] = low
    singles[rows + np.arange(rows), np.arange(rows)] = high
    log_evidence = box.plan.posteriors(singles).log_evidence
    with np.errstate(invalid="ignore"):
        move = np.abs(log_evidence[rows:] - log_evidence[:rows])
    move = np.nan_to_num(move, nan=np.inf)
    chosen = np.zeros(rows, dtype=np.bool_)
    for row in np.argsort(-move, kind="stable").tolist():
        chosen[row] = True
        if box.corners(chosen) > most:
            chosen[row] = False
            break
    return chosen


def _slack(box: _Box, one: _Asked, bounded: BoolArray) -> float:
    """-ln prod m of both J1 and J0, over the rows that are bounded; see `bounds`."""
    plan = box.plan
    low, high = plan.settings(box.ends)
    networks = plan.networks(box.ends[1:])
    used = (one.matters & bounded)[plan.move_row]
    total = np.zeros((2, len(plan.strata)))
    for stratum in range(len(plan.strata)):
        mine = used & (plan.move_stratum == stratum)
        for state, off in enumerate((None, one.node)):
            kept = _kept(networks.weight[stratum], networks.order, plan.ratios, off)
            kept = kept[plan.move_node[mine]]
            with np.errstate(divide="ignore", invalid="ignore"):
                after = 1 - high[mine] * (1 - kept)
                before = 1 - low[mine] * (1 - kept)
                total[state, stratum] = np.nan_to_num(-np.log(after / before), nan=np.inf).sum()
    return float(total.max(axis=1).sum())


def _kept(weight: FloatArray, order: IntArray, ratios: FloatArray, off: int | None) -> FloatArray:
    """Least factor on the probability of what is observed when a node comes on.

    Where the node was on already, nothing changes. Where it was off, its arrows are free of all
    that was observed: each switches its head on with its own probability, and that costs what the
    head costs. Heads that several arrows lead to are counted for each, which can only lower the
    factor (what they cost are decreasing functions of the same arrows, and so are not negatively
    correlated: Harris' inequality).

    Parameters
    ----------
    weight : ndarray, shape (C, N)
    order : ndarray of int, shape (C,)
        The causes, parents first.
    ratios : ndarray, shape (N,)
    off : int or None
        A cause that is off.

    Returns
    -------
    ndarray, shape (N,)
    """
    kept = np.minimum(ratios, 1.0)
    if off is not None:
        kept[off] = 0.0
    for cause in order[::-1].tolist():
        kept[cause] *= np.prod(1.0 - weight[cause] * (1.0 - kept))
    return np.asarray(kept)


def _climb(
    box: _Box, one: _Asked, starts: Sequence[FloatArray], sign: float
) -> tuple[float, FloatArray]:
    """Go from corner to corner as long as the posterior rises (sign 1) or falls (-1)."""
    numbers = np.stack(starts)
    values = box.plan.posteriors(numbers).posterior[:, one.node]
    top = _best(values, sign)
    here, best = numbers[top], float(values[top])
    for _ in range(ROUNDS):
        wanted = _best_each(box, one, here, sign)
        changed = np.flatnonzero(wanted != here)
        if not len(changed):
            break
        trial = np.repeat(here[None], len(changed) + 1, axis=0)
        trial[0] = wanted
        trial[np.arange(1, len(changed) + 1), changed] = wanted[changed]
        if len(changed) > 1:
            together = box.plan.posteriors(trial[:1]).posterior[0, one.node]
            trial = trial[:1] if sign * (together - best) > GAIN else trial[1:]
        values = box.plan.posteriors(trial).posterior[:, one.node]
        top = _best(values, sign)
        if sign * (values[top] - best) <= GAIN:
            break
        here, best = trial[top], float(values[top])
    return best, here


def _best_each(box: _Box, one: _Asked, numbers: FloatArray, sign: float) -> FloatArray:
    """Where each number alone would be best, all others staying; from two reverse sweeps."""
    plan, unit = box.plan, -box.log_evidence
    evidence, by_evidence = plan.derive(numbers, None, unit)
    joint, by_joint = plan.derive(numbers, one.node, unit)
    now = plan.settings(numbers[None])[0]
    count = len(box.nodes)
    choice = numbers.copy()
    value = np.full(count, sign * joint / evidence)
    for k in range(max(len(nodes) for nodes in box.nodes)):
        x = np.array([nodes[min(k, len(nodes) - 1)] for nodes in box.nodes])
        change = plan.settings(x[None])[0] - now
        top = joint + np.bincount(plan.move_row, by_joint * change, count)
        bottom = evidence + np.bincount(plan.move_row, by_evidence * change, count)
        with np.errstate(divide="ignore", invalid="ignore"):
            posterior = sign * np.clip(top, 0.0, None) / bottom
        better = one.matters & (posterior > value + GAIN)
        value = np.where(better, posterior, value)
        choice = np.where(better, x, choice)
    return np.asarray(choice)


def _assemble(
    dx: Diagnosis,
    causes: Sequence[str],
    rows: Sequence[Parameter],
    matters: dict[str, BoolArray],
    found: dict[str, _Range],
) -> Bounds:
    import pandas as pd

    ranges = [found[cause] for cause in causes]
    exact = [r.low == r.outer_low and r.high == r.outer_high for r in ranges]
    frame = pd.DataFrame(
        {
            "cause": list(causes),
            "posterior": dx.posterior[list(causes)].to_numpy(),
            "low": [r.low for r in ranges],
            "high": [r.high for r in ranges],
            "outer_low": [r.outer_low for r in ranges],
            "outer_high": [r.outer_high for r in ranges],
            "kind": np.where(exact, "exact", "inner and outer"),
            "numbers": [int(matters[cause].sum()) for cause in causes],
        }
    ).sort_values("posterior", ascending=False, kind="stable", ignore_index=True)
    reached = {
        (cause, side): numbers
        for cause, r in zip(causes, ranges, strict=True)
        for side, numbers in (("low", r.at_low), ("high", r.at_high))
    }
    varying = np.any(list(matters.values()), axis=0) if matters else np.zeros(len(rows))
    return Bounds(int(varying.sum()), frame, reached)
