"""The smallest change of all numbers together that changes what the answer says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from twitchdx.odds import log_odds, shift_odds
from twitchdx.sensitivity.flips import Question, flips_of, read_question
from twitchdx.sensitivity.functions import FloatArray
from twitchdx.sensitivity.knobs import Knob, Selection, case_knobs
from twitchdx.sensitivity.moves import Moves, find_moves
from twitchdx.sensitivity.relevance import Relevance
from twitchdx.sensitivity.tornado import describe_rows

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from twitchdx.diagnosis import Diagnosis

RIVALS = 3
"""Rivals that are followed to their flip: those nearest by the slopes at the present numbers."""
ITERATIONS = 60
WHOLE = 8
"""Iterations that take whole steps."""
TOLERANCE = 1e-9
FARTHEST = 12.0
"""Log-odds that one number may move."""


@dataclass(frozen=True, eq=False)
class JointChange:
    """The smallest change of several numbers together that changes the answer.

    Attributes
    ----------
    question : str
        What counts as a change, in words.
    leading, becomes : str
        The leading cause at present (or the cause asked about), and what the answer becomes.
    distance : float
        Euclidean length of the change, in log-odds of the numbers; NaN if none was found.
    proven_below : float
        No change shorter than this changes the answer: by Chan and Darwiche's bound, the log
        ratio of two posteriors (and the log-odds of one) moves no more than the sum of the moves
        of the networks' own parameters, in log-odds.
    angle : float
        Angle in degrees between the change and the direction in which the answer is lost most
        steeply, at the flip: 0 at a (local) minimum.
    gap : float
        ln of the two posteriors' ratio at the flip (with a threshold: log-odds of the posterior,
        from those of the threshold), by running the engine there.
    frame : DataFrame
        One row a number that moves, largest move first: `parameter`, `label`, `kind`, `cause`,
        `other`, `value`, `low`, `high`, `becomes`, `move` (in log-odds), `inside` (its own
        interval), `grade`, `source`, `place`.
    """

    question: str
    leading: str
    becomes: str
    distance: float
    proven_below: float
    angle: float
    gap: float
    frame: pd.DataFrame

    @property
    def certificate(self) -> str:
        """What speaks for its being the smallest, in words."""
        return (
            f"proven: none shorter than {self.proven_below:.3g}; at the flip, angle "
            f"{self.angle:.2g} degrees, log ratio {self.gap:.1e}"
        )

    def plot(self, axes: Axes | None = None, top: int = 15) -> Axes:
        """Draw the largest moves."""
        from twitchdx.sensitivity.plots import plot_joint_change

        return plot_joint_change(self, axes, top)

    def __repr__(self) -> str:
        return (
            f"JointChange({self.question}: {self.becomes or 'nothing found'} at distance "
            f"{self.distance:.3g} in log-odds; {self.certificate})\n{self.frame.head(10)}"
        )


def smallest_joint_change(
    dx: Diagnosis,
    parameters: Selection = "priors",
    *,
    order: tuple[str, str] | None = None,
    threshold: tuple[str, float] | None = None,
    exposures: bool = False,
    bystanders: bool = False,
    together: bool = True,
) -> JointChange:
    """Find the smallest change of all numbers together that changes the answer.

    Numbers are moved in their log-odds; the shortest Euclidean move to the surface on which a
    rival draws level (or the threshold is met) is found by the iteration of Hasofer-Lind and
    Rackwitz-Fiessler [1]_, with exact slopes. It is a local minimum, with the evidence for it:
    `angle`, `gap` and `proven_below`. Where one number alone reaches a flip that is nearer, that
    is the answer.

    Parameters
    ----------
    dx : Diagnosis
    parameters : str, Parameter, or several of them
    order, threshold, exposures, bystanders, together
        What counts as a change, and what is moved as one; see `flips`.

    Raises
    ------
    UnknownIdError
        For a cause or parameter that does not exist.
    EvidenceError
        As `flips` does.
    WidthError
        Where the case is too wide for exact derivatives.

    References
    ----------
    .. [1] Rackwitz R, Fiessler B. Structural reliability under combined random load sequences.
       Comput Struct 1978.
    """
    question = read_question(dx, order, threshold, exposures=exposures, bystanders=bystanders)
    knobs = case_knobs(dx, parameters, together=together)
    moves = find_moves(dx, knobs, question.causes)
    lead = int(np.argmax(moves.posterior))
    rivals = [None] if threshold else [i for i in range(len(question.causes)) if i != lead]
    surfaces = [_Surface(lead, rival, question) for rival in rivals]
    nearest = sorted(surfaces, key=lambda surface: surface.estimate(moves))[:RIVALS]
    found = [_follow(dx, moves, surface) for surface in nearest]
    reached = [flip for flip in found if flip is not None]
    single = _best_single(dx, moves, surfaces, question)
    if single is not None:
        reached.append(single)  # the walk may miss a flip that one number alone reaches
    words = flips_of(moves, question.threshold).question
    proven = _proven(dx, moves, surfaces)
    if not reached:
        frame = _frame(dx, moves, np.zeros(len(knobs))).head(0)
        nan = math.nan
        return JointChange(words, question.causes[lead], "", nan, proven, nan, nan, frame)
    best = min(reached, key=lambda flip: float(np.linalg.norm(flip.step)))
    return JointChange(
        words,
        question.causes[lead],
        best.becomes,
        float(np.linalg.norm(best.step)),
        proven,
        best.angle,
        best.gap,
        _frame(dx, moves, best.step),
    )


class _Flip(NamedTuple):
    """A change of all knobs after which the answer is another one, and what the engine says."""

    step: FloatArray
    angle: float
    gap: float
    becomes: str


@dataclass(frozen=True, eq=False)
class _Surface:
    """Where a rival draws level with the leading cause, or its posterior meets a threshold.

    Attributes
    ----------
    lead : int
        Place among the causes of the question.
    rival : int or None
        None: the threshold.
    question : Question
    """

    lead: int
    rival: int | None
    question: Question

    def becomes(self, moves: Moves) -> str:
        """What the answer is beyond it."""
        if self.rival is None:
            return self.question.beyond(float(moves.posterior[self.lead]))
        return self.question.causes[self.rival]

    def gap(self, moves: Moves) -> float:
        """ln of the leading posterior over the rival's, or its log-odds over the threshold's."""
        with np.errstate(divide="ignore"):
            log = np.log(moves.posterior)
        if self.rival is None:
            return log_odds(float(moves.posterior[self.lead])) - log_odds(self.question.level)
        return float(log[self.lead] - log[self.rival])

    def slope(self, moves: Moves, numbers: FloatArray) -> FloatArray:
        """Slope of the gap by each knob's log-odds, shape (K,)."""
        by = _slopes(moves, numbers)
        if self.rival is None:
            return (by[self.lead] - by[-1]) / (1.0 - moves.posterior[self.lead])
        return by[self.lead] - by[self.rival]

    def estimate(self, moves: Moves) -> float:
        """Its distance, by the slopes at the present numbers; infinite where none leads there."""
        size = float(np.linalg.norm(self.slope(moves, moves.values)))
        gap = abs(self.gap(moves))
        return gap / size if size > 0 and math.isfinite(gap) else math.inf

    def ratio(self, moves: Moves) -> float:
        """How far the log ratio (for a threshold, the log-odds) must move at least."""
        return abs(self.gap(moves))


def _local(dx: Diagnosis, moves: Moves, step: FloatArray) -> tuple[Moves, FloatArray]:
    """Run the engine after a step: its derivatives there, and the numbers."""
    numbers = shift_odds(moves.values, np.exp(step)[moves.knob_of_row])
    engine = dx.engine.with_parameters(
        {row.key: float(x) for row, x in zip(moves.rows, numbers, strict=True)}
    )
    here = engine.diagnose_case(dx.case)
    key = {row.key: row for row in engine.model.parameters}
    now = [Knob(k.key, tuple(key[row.key] for row in k.parameters)) for k in moves.knobs]
    return find_moves(here, now, moves.targets), numbers


def _follow(dx: Diagnosis, moves: Moves, surface: _Surface) -> _Flip | None:
    """Walk to the nearest point of a surface."""
    if not math.isfinite(surface.estimate(moves)):
        return None
    both = [surface.lead] if surface.rival is None else [surface.lead, surface.rival]
    few = find_moves(dx, moves.knobs, [moves.targets[i] for i in both])
    across = _Surface(0, None if surface.rival is None else 1, surface.question)
    step = np.zeros(len(moves.knobs))
    for iteration in range(ITERATIONS):
        local, numbers = _local(dx, few, step)
        slope, gap = across.slope(local, numbers), across.gap(local)
        size = float(slope @ slope)
        if size == 0.0 or not math.isfinite(gap):
            return None
        new = np.clip((slope @ step - gap) / size * slope, -FARTHEST, FARTHEST)
        if np.linalg.norm(new - step) < TOLERANCE * max(1.0, float(np.linalg.norm(step))):
            return _Flip(step, _angle(slope, step), gap, surface.becomes(moves))
        # half steps where a whole one would be long, or go to and fro for ever
        whole = iteration < WHOLE and np.linalg.norm(new - step) < 4.0
        step = new if whole else step + 0.5 * (new - step)
    return None


def _best_single(
    dx: Diagnosis, moves: Moves, surfaces: Sequence[_Surface], question: Question
) -> _Flip | None:
    """The shortest flip by one number alone, as a change of all; the engine is run there."""
    frame = flips_of(moves, question.threshold).frame
    if frame.empty or frame.iloc[0]["verdict"] == "none":
        return None
    best = frame.iloc[0]
    becomes = str(best["becomes"])
    surface = next(one for one in surfaces if one.becomes(moves) == becomes)
    index = [knob.key for knob in moves.knobs].index(best["parameter"])
    step = np.zeros(len(moves.knobs))
    step[index] = best["log_odds_distance"] * (1 if best["flip_at"] > best["value"] else -1)
    local, numbers = _local(dx, moves, step)
    return _Flip(step, _angle(surface.slope(local, numbers), step), surface.gap(local), becomes)


def _angle(slope: FloatArray, step: FloatArray) -> float:
    """Angle between a step and the steepest line, in degrees."""
    length = float(np.linalg.norm(step) * np.linalg.norm(slope))
    return math.degrees(math.acos(min(1.0, abs(float(slope @ step)) / length))) if length else 0.0


def _slopes(moves: Moves, numbers: FloatArray) -> FloatArray:
    """Slope of ln P(evidence, target), and last of ln P(evidence), by each knob's log-odds.

    Returns
    -------
    ndarray, shape (T + 1, K)
    """
    by_number = moves.slope * (moves.now > moves.floor)
    x = numbers[moves.row]
    change = np.vstack([moves.d_joint, moves.d_evidence]) * (by_number * x * (1 - x))
    total = np.stack([np.bincount(moves.knob, row, len(moves.knobs)) for row in change])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(total / np.append(moves.posterior, 1.0)[:, None])


def _proven(dx: Diagnosis, moves: Moves, surfaces: Sequence[_Surface]) -> float:
    """Largest radius within which no change of all numbers reaches any surface."""
    relevance = Relevance.of(dx, moves.rows)
    place = dx.engine.reader.index
    matters = np.any([relevance.numbers(place[target]) for target in moves.targets], axis=0)
    ratio = min(surface.ratio(moves) for surface in surfaces)

    def most(radius: float) -> float:
        """What a change of this length does to the log ratio, at most (Cauchy and Schwarz)."""
        return radius * float(np.linalg.norm(_rates(moves, matters, radius)))

    low, high = 0.0, max(ratio, 1e-9)
    while most(high) <= ratio and high < FARTHEST:
        low, high = high, 2 * high
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if most(middle) <= ratio else (low, middle)
    return low


def _rates(moves: Moves, matters: FloatArray, radius: float) -> FloatArray:
    """Distance in probability (Chan and Darwiche's) that a knob covers for each step of its own.

    A number x with ``1 - parameter = slope * (1 - x)`` moves the parameter's log-odds by
    ``x / parameter`` for each step in its own; the largest within the radius counts. Of a knob in
    several strata, the world that gains most and the one that loses most may lie in two of them.
    """
    ends = [
        moves.now + moves.changes(shift_odds(moves.values, math.exp(sign * radius)))
        for sign in (-1, 1)
    ]
    x = shift_odds(moves.values, math.exp(-radius))[moves.row]
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(ends[0] == ends[1], 0.0, np.where(ends[0] > 0, x / ends[0], np.inf))
        up, down = rate * (1 - ends[0]), rate * ends[1]
    most = np.zeros((2, len(moves.knobs)))
    used = matters[moves.row]
    np.maximum.at(most[0], moves.knob[used], np.nan_to_num(up[used], nan=0.0, posinf=np.inf))
    np.maximum.at(most[1], moves.knob[used], np.nan_to_num(down[used], nan=0.0, posinf=np.inf))
    return np.asarray(most.sum(axis=0))


def _frame(dx: Diagnosis, moves: Moves, step: FloatArray) -> pd.DataFrame:
    numbers = shift_odds(moves.values, np.exp(step)[moves.knob_of_row])
    frame = describe_rows(dx, moves, moves.low, moves.high)
    after = describe_rows(dx, moves, numbers, numbers)
    outside = (numbers < moves.low) | (numbers > moves.high)
    frame.insert(8, "becomes", after["low"])
    frame.insert(9, "move", step)
    frame.insert(10, "inside", np.bincount(moves.knob_of_row, outside, len(moves.knobs)) == 0)
    order = np.argsort(-np.abs(step), kind="stable")
    return frame.iloc[order].reset_index(drop=True)
