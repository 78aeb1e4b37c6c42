"""What to find out next: the expected information of everything not yet known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from twitchdx.errors import EvidenceError
from twitchdx.evidence import ABSENT, PRESENT, UNKNOWN
from twitchdx.explain.leading import LEADING, leading_causes, open_causes
from twitchdx.inference import infer_batch

if TYPE_CHECKING:
    import pandas as pd

    from twitchdx.diagnosis import Diagnosis

FloatArray = NDArray[np.float64]
About = Literal["leading", "serious"]
Kind = Literal["question", "examination", "test"]

#: kind of step -> the kinds of findings.csv that it finds out
KINDS: dict[str, tuple[str, ...]] = {
    "question": ("symptom", "history"),
    "examination": ("sign",),
    "test": ("test",),
}
#: bits that one unit of burden is worth, GeNIe's alpha
ALPHA = 0.1
#: an answer less probable than this is no reason to go on asking
UNLIKELY = 0.02
#: findings less probable than this are inferred by themselves, not as a complement
DIGITS_LOST = 1e-3


@dataclass(frozen=True)
class NextQuestions:
    """What each unknown finding is expected to tell.

    Attributes
    ----------
    about : tuple of str
        The causes that the information is about.
    frame : DataFrame
        One row a finding, worthiest first: `finding`, `question`, `kind`, `probability` (of
        finding it present), `information` (bits), `burden`, `worth` (information less alpha
        times burden), `if_present` and `if_absent` (the leading cause then: the one that the
        case raises most above its prior, exposures and known causes left out).
    leading : str
        The leading cause as things stand, in the same sense.
    may_stop : bool
        No single answer that is at all likely (`UNLIKELY`), to anything not yet known, would
        change the leading cause.
    alpha : float
    """

    about: tuple[str, ...]
    frame: pd.DataFrame
    leading: str
    may_stop: bool
    alpha: float

    def _repr_html_(self) -> str:
        table: str = self.frame.to_html(index=False, float_format="{:.3g}".format)
        return table


def next_questions(
    dx: Diagnosis,
    about: About | Sequence[str] = "leading",
    *,
    kinds: Sequence[Kind] = ("question", "examination", "test"),
    alpha: float = ALPHA,
    top: int | None = None,
) -> NextQuestions:
    """Return the expected information of each finding that is not yet known.

    The information of a finding about one cause is their mutual information given all that is
    known, in bits; about several causes it is the sum over them. The worth of finding out is
    that information less `alpha` times the finding's burden, as in GeNIe's diagnosis window.

    Parameters
    ----------
    dx : Diagnosis
    about : 'leading', 'serious', or causes
        The first few of the differential (exposures and known causes left out; all of them
        while no finding is present), all that must not be missed, or the ones named.
    kinds : sequence of {'question', 'examination', 'test'}
    alpha : float
        Bits that a burden of one is worth.
    top : int, optional
        Keep only so many rows.

    Raises
    ------
    UnknownIdError
        For a cause that no table has.
    EvidenceError
        For an unknown kind.
    """
    import pandas as pd

    rows = dx.engine.knowledge.findings
    targets = target_causes(dx, about)
    wanted = {kind for name in kinds for kind in _finding_kinds(name)}
    asked = [f for f in unknown_findings(dx) if rows[f].kind in wanted]
    present, given_present, given_absent = _answers(dx, asked)
    places = [dx.engine.reader.index[cause] for cause in targets]
    now = dx.probabilities[places]
    left = present[:, None] * entropy(given_present[:, places]) + (1 - present)[:, None] * entropy(
        given_absent[:, places]
    )
    information = np.maximum((entropy(now)[None, :] - left).sum(axis=1), 0.0)
    burden = np.array([rows[f].burden for f in asked], dtype=np.float64)
    leader = [_leader(dx, row) for row in (given_present, given_absent)]
    frame = pd.DataFrame(
        {
            "finding": asked,
            "question": [rows[f].question for f in asked],
            "kind": [rows[f].kind for f in asked],
            "probability": present,
            "information": information,
            "burden": burden,
            "worth": information - alpha * burden,
            "if_present": leader[0],
            "if_absent": leader[1],
        }
    ).sort_values("worth", ascending=False, kind="stable", ignore_index=True)
    current = _leader(dx, dx.probabilities[None, :])[0]
    likely = frame["probability"]
    changes = (frame["if_present"] != current) & (likely >= UNLIKELY)
    changes |= (frame["if_absent"] != current) & (likely <= 1 - UNLIKELY)
    shown = frame if top is None else frame.head(top)
    return NextQuestions(targets, shown, current, not changes.any(), alpha)


def question_plan(
    dx: Diagnosis,
    steps: int = 3,
    about: About | Sequence[str] = "leading",
    *,
    kinds: Sequence[Kind] = ("question", "examination", "test"),
    alpha: float = ALPHA,
) -> pd.DataFrame:
    """Return several findings to ask together, chosen greedily by their joint information.

    Each step adds the finding with the most expected information given every possible answer to
    the ones before it, less its burden.

    Returns
    -------
    DataFrame
        One row a step: `step`, `finding`, `question`, `information` (bits added), `burden`.
    """
    import pandas as pd

    rows = dx.engine.knowledge.findings
    targets = target_causes(dx, about)
    wanted = {kind for name in kinds for kind in _finding_kinds(name)}
    places = [dx.engine.reader.index[cause] for cause in targets]
    branches = [(1.0, dx.case.ratios)]
    left = [f for f in unknown_findings(dx) if rows[f].kind in wanted]
    records = []
    for step in range(min(steps, len(left))):
        gain = np.zeros(len(left))
        for share, ratios in branches:
            now = _posteriors(dx, ratios[None, :])[0][0]
            present, given_present, given_absent = _answers(dx, left, ratios)
            after = present[:, None] * entropy(given_present[:, places])
            after += (1 - present)[:, None] * entropy(given_absent[:, places])
            gain += share * (entropy(now[places])[None, :] - after).sum(axis=1)
        worth = gain - alpha * np.array([rows[f].burden for f in left])
        best = left.pop(int(np.argmax(worth)))
        index = dx.engine.reader.index[best]
        records.append(
            {
                "step": step + 1,
                "finding": best,
                "question": rows[best].question,
                "information": float(gain[np.argmax(worth)]),
                "burden": rows[best].burden,
            }
        )
        split = []
        for share, ratios in branches:
            chance = _answers(dx, [best], ratios)[0][0]
            for probability, answer in ((chance, PRESENT), (1 - chance, ABSENT)):
                if probability > 0:
                    known = ratios.copy()
                    known[index] = answer
                    split.append((share * probability, known))
        branches = split
    return pd.DataFrame(records)


def target_causes(dx: Diagnosis, about: About | Sequence[str]) -> tuple[str, ...]:
    """Return the causes that information is wanted about.

    Raises
    ------
    UnknownIdError
        For a cause that no table has.
    """
    from twitchdx.diagnosis import check_cause

    causes = dx.engine.knowledge.causes
    known = {*dx.case.present, *dx.case.absent}
    if about == "serious":
        return tuple(
            c for c in dx.engine.causes if causes[c].seriousness == "cannot_miss" and c not in known
        )
    if about == "leading":
        return leading_causes(dx, LEADING if dx.case.present else None)
    return tuple(check_cause(dx.engine, cause) for cause in about)


def unknown_findings(dx: Diagnosis) -> list[str]:
    """Return the findings that are neither known nor settled by what is known."""
    settled = {o.node for o in (*dx.case.observations, *dx.case.implied)}
    present, absent = set(dx.case.present), set(dx.case.absent)
    for node, implied in dx.engine.reader.implications:
        if node in present:
            settled.add(implied)
        if implied in absent:
            settled.add(node)
    return [f for f in dx.engine.findings if f not in settled]


def entropy(probability: FloatArray) -> FloatArray:
    """Entropy of yes/no variables in bits; zero at 0 and 1.

    Examples
    --------
    >>> entropy(np.array([0.5, 0.0, 1.0]))
    array([1., 0., 0.])
    """
    p = np.clip(probability, 0.0, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = -np.where(p > 0, p * np.log2(p), 0.0) - np.where(
            p < 1, (1 - p) * np.log2(1 - p), 0.0
        )
    return np.asarray(bits + 0.0)


def _answers(
    dx: Diagnosis, findings: Sequence[str], ratios: FloatArray | None = None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return P(finding present | known), and all posteriors given it present and absent.

    Absent findings are cheap, so only those are inferred; what holds given present follows from
    the law of total probability. Where that would lose digits, or where present makes a known
    finding redundant, present is inferred too.
    """
    base = dx.case.ratios if ratios is None else ratios
    index = dx.engine.reader.index
    without = np.repeat(base[None, :], len(findings) + 1, axis=0)
    shown = without[:-1].copy()
    for k, finding in enumerate(findings):
        without[k, index[finding]] = ABSENT
        shown[k, index[finding]] = PRESENT
        for node, implied in dx.engine.reader.implications:
            # What an answer settles must not be counted beside it.
            if node == finding:
                shown[k, index[implied]] = UNKNOWN
            if implied == finding:
                without[k, index[node]] = UNKNOWN
    given_absent, logs = _posteriors(dx, without)
    now, log_now = given_absent[-1], logs[-1]
    given_absent = np.nan_to_num(given_absent[:-1])
    absent = np.minimum(np.exp(logs[:-1] - log_now), 1.0)
    present = -np.expm1(np.minimum(logs[:-1] - log_now, 0.0))
    plain = ((shown == base) | (base == UNKNOWN)).all(axis=1)
    plain &= ((without[:-1] == base) | (base == UNKNOWN)).all(axis=1)
    direct = np.flatnonzero(~plain | (present < DIGITS_LOST))
    with np.errstate(divide="ignore", invalid="ignore"):
        given_present = (now - absent[:, None] * given_absent) / present[:, None]
    if len(direct):
        given_present[direct], log_present = _posteriors(dx, shown[direct])
        odds = np.clip(logs[direct] - log_present, -700, 700)
        present[direct] = 1 / (1 + np.exp(odds))
    return present, np.clip(np.nan_to_num(given_present), 0.0, 1.0), given_absent


def _posteriors(dx: Diagnosis, ratios: FloatArray) -> tuple[FloatArray, FloatArray]:
    weights = np.repeat(dx.case.weights[None, :], len(ratios), axis=0)
    answer = infer_batch(
        dx.engine.networks, weights, ratios, exact_only=True, wanted=dx.engine.reported
    )
    return answer.posterior, answer.log_evidence


def _leader(dx: Diagnosis, posterior: FloatArray) -> list[str]:
    """Return the cause that each row raises most above its prior; no exposure, none known."""
    names = list(open_causes(dx, dx.engine.causes))
    if not names:
        return [""] * len(posterior)
    places = [dx.engine.reader.index[c] for c in names]
    rise = posterior[:, places] - dx.prior[names].to_numpy()
    return [names[k] for k in np.argmax(rise, axis=1)]


def _finding_kinds(name: str) -> tuple[str, ...]:
    if name not in KINDS:
        raise EvidenceError(f"kind {name!r} is none of {', '.join(KINDS)}")
    return KINDS[name]
