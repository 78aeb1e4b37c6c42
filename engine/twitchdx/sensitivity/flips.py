"""Flips: the smallest change of one number that changes what the answer says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from twitchdx.errors import EvidenceError, UnknownIdError
from twitchdx.explain.leading import contenders
from twitchdx.odds import shift_odds
from twitchdx.sensitivity.functions import FloatArray, first_roots
from twitchdx.sensitivity.knobs import Selection, case_knobs
from twitchdx.sensitivity.moves import Moves, find_moves
from twitchdx.sensitivity.tornado import describe_rows

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from twitchdx.diagnosis import Diagnosis

Verdict: TypeAlias = Literal["fragile", "robust", "none"]

STEPS = np.concatenate([-np.geomspace(1e-3, 25.0, 160)[::-1], [0.0], np.geomspace(1e-3, 25, 160)])
"""Steps in log-odds at which rows that move together are looked at before a flip is refined."""

COLUMNS = (
    "parameter",
    "label",
    "kind",
    "cause",
    "other",
    "value",
    "low",
    "high",
    "flip_at",
    "log_odds_distance",
    "becomes",
    "verdict",
    "grade",
    "source",
    "place",
)


@dataclass(frozen=True, eq=False)
class Flips:
    """For each number, the smallest change that changes the answer, easiest first.

    Attributes
    ----------
    question : str
        What counts as a change, in words.
    leading : str
        The leading cause at present (or the cause that was asked about).
    frame : DataFrame
        One row a number: `parameter`, `label`, `kind`, `cause`, `other`, `value`, `low`, `high`;
        `flip_at` (the number at the flip; of several rows their average; missing if no value of
        the number changes the answer); `log_odds_distance` (how far that is); `becomes` (what the
        answer becomes there); `verdict`: "fragile" (the flip lies within the number's own 95 %
        interval), "robust" (outside), "none"; `grade`, `source`, `place`.
    """

    question: str
    leading: str
    frame: pd.DataFrame

    @property
    def fragile(self) -> pd.DataFrame:
        """The numbers whose own uncertainty is enough to change the answer."""
        return self.frame[self.frame["verdict"] == "fragile"]

    def plot(self, axes: Axes | None = None, top: int = 15) -> Axes:
        """Draw the easiest flips against each number's interval."""
        from twitchdx.sensitivity.plots import plot_flips

        return plot_flips(self, axes, top)

    def __repr__(self) -> str:
        return f"Flips({self.question}; {len(self.fragile)} fragile)\n{self.frame.head(15)}"


def flips(
    dx: Diagnosis,
    parameters: Selection = "priors",
    *,
    order: tuple[str, str] | None = None,
    threshold: tuple[str, float] | None = None,
    exposures: bool = False,
    bystanders: bool = False,
    together: bool = True,
) -> Flips:
    """Find, for each number, the smallest change that alters the answer.

    By default the answer is the leading cause: the most probable one of those that the evidence
    speaks for (`explain.contenders`): not observed itself, no exposure, no bystander. Two
    posteriors share their denominator, so that they change places where two piecewise linear
    functions cross: one division, no search. Rows that move together (``together``, where age or
    sex is not known) take the same step in log-odds, and the crossing is found by bisection.

    Parameters
    ----------
    dx : Diagnosis
    parameters : str, Parameter, or several of them
        See `tornado`.
    order : (str, str), optional
        Ask about the order of these two causes instead.
    threshold : (str, float), optional
        Ask whether the posterior of this cause crosses this probability instead.
    exposures : bool
        Let exposures lead, too.
    bystanders : bool
        Let causes lead, too, that the evidence does not speak for.
    together : bool

    Returns
    -------
    Flips
        Distances are in log-odds of the number [1]_.

    Raises
    ------
    UnknownIdError
        For a cause or parameter that does not exist.
    EvidenceError
        For `order` and `threshold` at once, one cause twice or one that was observed, a threshold
        outside (0, 1), or no two causes that could change places.

    References
    ----------
    .. [1] Chan H, Darwiche A. When do numbers really matter? J Artif Intell Res 2002.
    """
    question = read_question(dx, order, threshold, exposures=exposures, bystanders=bystanders)
    knobs = case_knobs(dx, parameters, together=together)
    return flips_of(find_moves(dx, knobs, question.causes), threshold)


def changes(question: str) -> str:
    """Say of a change what it does to the answer.

    Examples
    --------
    >>> changes("leading cause (rust)"), changes("rust crosses 0.5")
    ('that alters the leading cause (rust)', 'after which rust crosses 0.5')
    """
    return f"after which {question}" if " crosses " in question else f"that alters the {question}"


@dataclass(frozen=True)
class Question:
    """What counts as another answer.

    Attributes
    ----------
    causes : tuple of str
        Those whose order is asked about; or the one whose posterior crosses a threshold.
    threshold : (str, float) or None
    """

    causes: tuple[str, ...]
    threshold: tuple[str, float] | None = None

    @property
    def level(self) -> float:
        """The threshold's probability."""
        assert self.threshold is not None
        return self.threshold[1]

    def beyond(self, posterior: float) -> str:
        """What the answer is on the other side of the threshold."""
        side = "below" if posterior >= self.level else "above"
        return f"{self.causes[0]} {side} {self.level:g}"


def read_question(
    dx: Diagnosis,
    order: tuple[str, str] | None,
    threshold: tuple[str, float] | None,
    *,
    exposures: bool = False,
    bystanders: bool = False,
) -> Question:
    """Check what is asked; see `flips`.

    Raises
    ------
    UnknownIdError
        For a cause that does not exist.
    EvidenceError
        For a question without a meaning: an order and a threshold at once, one cause twice, a
        cause whose state was observed, a threshold outside (0, 1), fewer than two open causes.
    """
    if order is not None and threshold is not None:
        raise EvidenceError("ask about an order or about a threshold, not about both")
    asked = order or (threshold[:1] if threshold else ())
    index = dx.engine.reader.index
    for cause in asked:
        if cause not in dx.engine.networks[0].causes:
            raise UnknownIdError(cause, dx.engine.causes, "cause")
        if dx.case.ratios[index[cause]] in (0.0, np.inf):
            raise EvidenceError(
                f"{cause} was observed, so that its probability is settled; ask about causes whose "
                "state is not known"
            )
    if order is not None and order[0] == order[1]:
        raise EvidenceError(f"the order of {order[0]} and itself is no question; name two causes")
    if threshold is not None and not 0 < threshold[1] < 1:
        raise EvidenceError(f"a threshold lies between 0 and 1, not at {threshold[1]:g}")
    causes = asked or contenders(dx, exposures=exposures, bystanders=bystanders)
    if threshold is None and len(causes) < 2:
        raise EvidenceError("fewer than two causes are left to change places")
    return Question(tuple(causes), threshold)


def flips_of(moves: Moves, threshold: tuple[str, float] | None = None) -> Flips:
    """Return the flips among all targets of `moves` (or of the one against a threshold)."""
    if threshold is None:
        if len(moves.targets) < 2:
            raise EvidenceError("fewer than two causes are left to change places")
        lead = int(np.argmax(moves.posterior))
        leading = moves.targets[lead]
        rivals = [i for i in range(len(moves.targets)) if i != lead]
        names: Sequence[str] = [moves.targets[i] for i in rivals]
        question = (
            f"order of {leading} and {names[0]}"
            if len(rivals) == 1
            else f"leading cause ({leading})"
        )
        level = 0.0
    else:
        leading, level = threshold
        lead, rivals = 0, []
        names = [Question(moves.targets, threshold).beyond(float(moves.posterior[0]))]
        question = f"{leading} crosses {level:g}"

    def lead_over(numbers: FloatArray) -> FloatArray:
        """How far the leading cause leads each rival, shape (rivals, K); linear in numbers."""
        evidence, joint = moves.evaluate(numbers)
        if threshold is not None:
            return joint[:1] - level * evidence
        return joint[lead] - joint[rivals]

    single = np.array([len(knob.parameters) == 1 for knob in moves.knobs], dtype=bool)
    step, flip, rival = _single_flips(moves, lead_over)
    for knob in np.flatnonzero(~single).tolist():
        mine = np.flatnonzero(moves.knob_of_row == knob)
        step[knob], flip[mine], rival[knob] = _joint_flip(moves, knob, mine, lead_over)
    frame = _frame(moves, step, flip, rival, names)
    return Flips(question, leading, frame)


def _single_flips(
    moves: Moves, lead_over: object
) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
    """Nearest flip of each knob, as if all had one row (others are overwritten)."""
    nodes, start = moves.breakpoints()
    values = np.stack(
        [lead_over(nodes[moves.knob_of_row, k]) for k in range(nodes.shape[1])],  # type: ignore[operator]
        axis=-1,
    )
    below, above = first_roots(nodes, values, start)
    present = np.take_along_axis(nodes, start[:, None], 1)[:, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        odds = np.log(present) - np.log1p(-present)
        steps = np.stack([_logit(below) - odds, _logit(above) - odds])  # (2, rivals, K)
    size = np.where(np.isnan(steps), np.inf, np.abs(steps))
    flat = size.reshape(-1, size.shape[-1])
    best = np.argmin(flat, axis=0)
    knobs = np.arange(size.shape[-1])
    none = np.isinf(flat[best, knobs])  # at 0 or 1 itself nothing changes places
    step = np.where(none, np.nan, steps.reshape(flat.shape)[best, knobs])
    at = np.stack([below, above]).reshape(flat.shape)[best, knobs]
    at = np.where(none, np.nan, at)
    rival = np.where(none, -1, best % size.shape[1])
    return step, at[moves.knob_of_row], rival


def _joint_flip(
    moves: Moves, knob: int, mine: NDArray[np.int64], lead_over: object
) -> tuple[float, FloatArray, int]:
    """Smallest common step in log-odds of several rows that changes the answer."""

    def at(step: float) -> FloatArray:
        numbers = moves.values.copy()
        numbers[mine] = shift_odds(moves.values[mine], np.exp(step))
        return np.asarray(lead_over(numbers))[:, knob]  # type: ignore[operator]

    middle = len(STEPS) // 2
    sign = np.sign(at(0.0))
    best: tuple[float, int] | None = None
    for direction in (-1, 1):
        previous = 0.0
        for index in range(1, middle + 1):
            here = float(STEPS[middle + direction * index])
            if best is not None and abs(here) > abs(best[0]) and direction == 1:
                break
            values = at(here)
            crossed = np.flatnonzero(np.sign(values) != sign)
            if len(crossed):
                found = [(_bisect(at, previous, here, int(r), sign[r]), int(r)) for r in crossed]
                nearest = min(found, key=lambda pair: abs(pair[0]))
                if best is None or abs(nearest[0]) < abs(best[0]):
                    best = nearest
                break
            previous = here
    if best is None:
        return np.nan, np.full(len(mine), np.nan), -1
    return best[0], shift_odds(moves.values[mine], np.exp(best[0])), best[1]


def _bisect(at: object, same: float, other: float, rival: int, sign: float) -> float:
    for _ in range(60):
        middle = (same + other) / 2
        if np.sign(at(middle)[rival]) == sign:  # type: ignore[operator]
            same = middle
        else:
            other = middle
    return other


def _logit(probability: FloatArray) -> FloatArray:
    return np.asarray(np.log(probability) - np.log1p(-probability))


def _frame(
    moves: Moves,
    step: FloatArray,
    flip: FloatArray,
    rival: NDArray[np.int64],
    names: Sequence[str],
) -> pd.DataFrame:
    frame = describe_rows(moves.dx, moves, moves.low, moves.high)
    if frame.empty:
        return frame.reindex(columns=list(COLUMNS))
    inside = (moves.low <= flip) & (flip <= moves.high)
    # rows that a knob moves together are all inside, or the flip is not
    fragile = np.bincount(moves.knob_of_row, ~inside, len(moves.knobs)) == 0
    weights = np.array(
        [sum(moves.dx.case.weights[t.stratum] for t in row.targets) for row in moves.rows]
    )
    total = np.bincount(moves.knob_of_row, weights, len(moves.knobs))
    frame["flip_at"] = np.bincount(moves.knob_of_row, weights * flip, len(moves.knobs)) / total
    frame["log_odds_distance"] = np.abs(step)
    frame["becomes"] = [names[r] if r >= 0 else "" for r in rival]
    frame["verdict"] = np.where(rival < 0, "none", np.where(fragile, "fragile", "robust"))
    return frame[list(COLUMNS)].sort_values(
        "log_odds_distance", kind="stable", ignore_index=True, na_position="last"
    )
