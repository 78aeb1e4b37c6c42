"""The smallest change of all numbers together that changes the leading cause."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twitchdx.errors import EvidenceError
from twitchdx.sensitivity.flips import flips_of, leading_causes
from twitchdx.sensitivity.functions import FloatArray
from twitchdx.sensitivity.knobs import Knob, Selection, case_knobs
from twitchdx.sensitivity.moves import Moves, find_moves
from twitchdx.sensitivity.tornado import describe_rows, shift_odds

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from twitchdx.diagnosis import Diagnosis

RIVALS = 3
"""Rivals that are followed to their flip: those nearest by the slopes at the present numbers."""
ITERATIONS = 40
TOLERANCE = 1e-9
FARTHEST = 12.0
"""Log-odds that one number may move."""


@dataclass(frozen=True, eq=False)
class JointChange:
    """The smallest change of several numbers together that changes the leading cause.

    Attributes
    ----------
    leading, becomes : str
        The leading cause at present, and after the change.
    distance : float
        Euclidean length of the change, in log-odds of the numbers; NaN if none was found.
    proven_below : float
        No change shorter than this changes the lead: by Chan and Darwiche's bound, the log ratio
        of two posteriors moves no more than the sum of the moves of the networks' own
        parameters, in log-odds.
    angle : float
        Angle in degrees between the change and the direction in which the lead is lost most
        steeply, at the flip: 0 at a (local) minimum.
    gap : float
        ln of the two posteriors' ratio at the flip, by running the engine there.
    frame : DataFrame
        One row a number that moves, largest move first: `parameter`, `label`, `kind`, `cause`,
        `other`, `value`, `low`, `high`, `becomes`, `move` (in log-odds), `inside` (its own
        interval), `grade`, `source`, `place`.
    """

    leading: str
    becomes: str
    distance: float
    proven_below: float
    angle: float
    gap: float
    frame: pd.DataFrame

    def plot(self, axes: Axes | None = None, top: int = 15) -> Axes:
        """Draw the largest moves."""
        from twitchdx.sensitivity.plots import plot_joint_change

        return plot_joint_change(self, axes, top)

    def __repr__(self) -> str:
        return (
            f"JointChange({self.leading} gives way to {self.becomes or 'nothing'} at distance "
            f"{self.distance:.3g} in log-odds; none below {self.proven_below:.3g})"
            f"\n{self.frame.head(10)}"
        )


def smallest_joint_change(
    dx: Diagnosis, parameters: Selection = "priors", *, exposures: bool = False
) -> JointChange:
    """Find the smallest change of all numbers together that changes the leading cause.

    Numbers are moved in their log-odds; the shortest Euclidean move to the surface on which a
    rival draws level is found by the iteration of Hasofer-Lind and Rackwitz-Fiessler [1]_, with
    exact slopes. It is a local minimum, with the evidence for it: `angle`, `gap` and
    `proven_below`.

    Parameters
    ----------
    dx : Diagnosis
    parameters : str, Parameter, or several of them
    exposures : bool
        Let exposures lead, too.

    Raises
    ------
    UnknownIdError
        For a parameter that does not exist.
    EvidenceError
        Where fewer than two causes can lead.
    WidthError
        Where the case is too wide for exact derivatives.

    References
    ----------
    .. [1] Rackwitz R, Fiessler B. Structural reliability under combined random load sequences.
       Comput Struct 1978.
    """
    candidates = leading_causes(dx, exposures=exposures)
    if len(candidates) < 2:
        raise EvidenceError("fewer than two causes are left to change places")
    knobs = case_knobs(dx, parameters)
    moves = find_moves(dx, knobs, candidates)
    lead = int(np.argmax(moves.posterior))
    with np.errstate(divide="ignore"):
        ratio = np.log(moves.posterior[lead]) - np.log(moves.posterior)
    slopes = _slopes(moves, moves.values)
    steepness = np.linalg.norm(slopes[lead] - slopes, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate = np.where(steepness > 0, ratio / steepness, np.inf)
    estimate[lead] = np.inf
    order = [int(i) for i in np.argsort(estimate)[:RIVALS] if np.isfinite(estimate[i])]
    found = [_follow(dx, knobs, moves, candidates[lead], candidates[rival]) for rival in order]
    reached = [f for f in found if f is not None]
    single = _best_single(moves, candidates)
    shortest = min((float(np.linalg.norm(f[0])) for f in reached), default=math.inf)
    if single is not None and float(np.linalg.norm(single[0])) < shortest:
        reached.append(single)  # the walk missed a flip that one number alone reaches
    smallest_ratio = float(np.min(np.delete(ratio, lead)))
    proven = _proven(moves, smallest_ratio)
    if not reached:
        frame = _frame(dx, moves, np.zeros(len(knobs))).head(0)
        return JointChange(candidates[lead], "", math.nan, proven, math.nan, math.nan, frame)
    step, angle, gap, becomes = min(reached, key=lambda f: float(np.linalg.norm(f[0])))
    return JointChange(
        candidates[lead],
        becomes,
        float(np.linalg.norm(step)),
        proven,
        angle,
        gap,
        _frame(dx, moves, step),
    )


def _follow(
    dx: Diagnosis, knobs: Sequence[Knob], moves: Moves, leading: str, rival: str
) -> tuple[FloatArray, float, float, str] | None:
    """Walk to the nearest point at which a rival draws level."""
    step = np.zeros(len(knobs))
    for _ in range(ITERATIONS):
        numbers = shift_odds(moves.values, np.exp(step)[moves.knob_of_row])
        engine = dx.engine.with_parameters(
            {row.key: float(x) for row, x in zip(moves.rows, numbers, strict=True)}
        )
        here = engine.diagnose_case(dx.case)
        key = {row.key: row for row in engine.model.parameters}
        now = [Knob(k.key, tuple(key[row.key] for row in k.parameters)) for k in knobs]
        local = find_moves(here, now, (leading, rival))
        slopes = _slopes(local, numbers)
        slope = slopes[0] - slopes[1]
        gap = float(np.log(local.posterior[0]) - np.log(local.posterior[1]))
        size = float(slope @ slope)
        if size == 0.0:
            return None
        new = np.clip((slope @ step - gap) / size * slope, -FARTHEST, FARTHEST)
        if np.linalg.norm(new - step) < TOLERANCE * max(1.0, float(np.linalg.norm(step))):
            length = float(np.linalg.norm(step) * np.sqrt(size))
            cosine = min(1.0, abs(float(slope @ step)) / length) if length else 1.0
            return step, math.degrees(math.acos(cosine)), gap, rival
        step = new if np.linalg.norm(new - step) < 4.0 else step + 0.5 * (new - step)
    return None


def _best_single(
    moves: Moves, candidates: Sequence[str]
) -> tuple[FloatArray, float, float, str] | None:
    """The shortest flip by one number alone, as a change of all."""
    best = flips_of(moves).frame.iloc[0]
    if best["verdict"] == "none":
        return None
    index = [knob.key for knob in moves.knobs].index(best["parameter"])
    step = np.zeros(len(moves.knobs))
    step[index] = best["log_odds_distance"] * (1 if best["flip_at"] > best["value"] else -1)
    return step, math.nan, 0.0, str(best["becomes"])


def _slopes(moves: Moves, numbers: FloatArray) -> FloatArray:
    """Slope of ln P(evidence, target) by each knob's log-odds, shape (T, K)."""
    by_number = moves.slope * (moves.now > moves.floor)
    x = numbers[moves.row]
    change = moves.d_joint * (by_number * x * (1 - x))
    count = len(moves.knobs)
    total = np.zeros((len(moves.targets), count))
    for target in range(len(moves.targets)):
        total[target] = np.bincount(moves.knob, change[target], count)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(total / moves.posterior[:, None])


def _proven(moves: Moves, ratio: float) -> float:
    """Largest radius within which all moves of network parameters add up to less than `ratio`."""

    def most(radius: float) -> float:
        total = np.zeros(len(moves.knobs))
        for factor in (math.exp(-radius), math.exp(radius)):
            set_to = moves.now + moves.changes(shift_odds(moves.values, factor))
            with np.errstate(divide="ignore", invalid="ignore"):
                gap = np.abs(_logit(set_to) - _logit(moves.now))
            gap = np.nan_to_num(gap, nan=0.0, posinf=np.inf)
            worst = np.zeros(len(moves.knobs))
            np.maximum.at(worst, moves.knob, gap)
            total = np.maximum(total, worst)
        return float(total.sum())

    low, high = 0.0, max(ratio, 1e-9)
    if most(high) <= ratio:
        return high
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if most(middle) <= ratio else (low, middle)
    return low


def _logit(probability: FloatArray) -> FloatArray:
    return np.asarray(np.log(probability) - np.log1p(-probability))


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
