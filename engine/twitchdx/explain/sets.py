"""Joint hypotheses: which causes are present together."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twitchdx.evidence import ABSENT, PRESENT, UNKNOWN
from twitchdx.inference import infer_evidence

if TYPE_CHECKING:
    import pandas as pd

    from twitchdx.diagnosis import Diagnosis

FloatArray = NDArray[np.float64]

#: causes that joint hypotheses are about, unless named: those that explain the most
DEFAULT_CAUSES = 12
#: expansions of the search before it stops with a bound
MOST_EXPANSIONS = 5_000
#: partial combinations that are split in one call
TOGETHER = 4
#: a cause can explain a finding if it alone makes it at least this many times likelier
EXPLAINS_FROM = 2.0
LARGEST_SET = 4


@dataclass(frozen=True)
class JointHypothesis:
    """One combination of the causes that were asked about.

    Attributes
    ----------
    present : frozenset of str
        Causes present; all others asked about are absent.
    probability : float
        Given all that was observed, summed over every cause not asked about.
    """

    present: frozenset[str]
    probability: float


@dataclass(frozen=True)
class JointHypotheses:
    """The most probable combinations, best first.

    Attributes
    ----------
    causes : tuple of str
        What the hypotheses are about; all other causes are summed over.
    hypotheses : tuple of JointHypothesis
    missed : float
        No combination that is not listed is more probable than this; where the search ran to
        its end, at most the probability of the last one listed.
    exact : bool
        Whether the list is proved to be the most probable ones in order.
    """

    causes: tuple[str, ...]
    hypotheses: tuple[JointHypothesis, ...]
    missed: float
    exact: bool

    def to_frame(self) -> pd.DataFrame:
        """Return one row a hypothesis: `present` (ids joined by ;) and `probability`."""
        import pandas as pd

        return pd.DataFrame(
            {
                "present": [";".join(sorted(h.present)) for h in self.hypotheses],
                "probability": [h.probability for h in self.hypotheses],
            }
        )

    def __iter__(self) -> Iterator[JointHypothesis]:
        return iter(self.hypotheses)

    def __len__(self) -> int:
        return len(self.hypotheses)


def most_probable_sets(
    dx: Diagnosis, k: int = 5, causes: Sequence[str] | None = None
) -> JointHypotheses:
    """Return the k most probable combinations of causes, exactly.

    Best-first search: a partial combination is worth its exact probability, which no completion
    of it can exceed, so the first k complete ones to come up are the k most probable.

    Parameters
    ----------
    dx : Diagnosis
    k : int
    causes : sequence of str, optional
        Which causes the combinations are about; by default the dozen that explain the most. The
        rest are summed over.

    Raises
    ------
    UnknownIdError
        For a cause that no table has.
    """
    from twitchdx.diagnosis import check_cause

    asked = tuple(causes) if causes is not None else leading_explanations(dx)
    asked = tuple(check_cause(dx.engine, cause) for cause in asked)
    places = [dx.engine.reader.index[cause] for cause in asked]
    # Most uncertain first: the search then settles the large masses early.
    doubt = -np.abs(np.array([dx.posterior[cause] for cause in asked]) - 0.5)
    order = [places[i] for i in np.argsort(-doubt, kind="stable")]
    names = dict(zip(places, asked, strict=True))
    found: list[JointHypothesis] = []
    ticket = itertools.count()
    heap: list[tuple[float, int, tuple[bool, ...]]] = [(-1.0, next(ticket), ())]
    expansions = 0
    exact = dx.method == "exact"
    while heap and len(found) < k and expansions < MOST_EXPANSIONS:
        if len(heap[0][2]) == len(order):
            mass, _, states = heapq.heappop(heap)
            present = frozenset(names[place] for place, on in zip(order, states, strict=True) if on)
            found.append(JointHypothesis(present, -mass))
            continue
        split: list[tuple[bool, ...]] = []
        while heap and len(split) < 2 * TOGETHER and len(heap[0][2]) < len(order):
            states = heapq.heappop(heap)[2]
            split += [(*states, True), (*states, False)]
        expansions += len(split) // 2
        shares, sure = _masses(dx, order, split)
        exact &= sure
        for branch, share in zip(split, shares.tolist(), strict=True):
            if share > 0:
                heapq.heappush(heap, (-share, next(ticket), branch))
    missed = -heap[0][0] if heap else 0.0
    return JointHypotheses(asked, tuple(found), missed, exact and (len(found) == k or not heap))


def leading_explanations(dx: Diagnosis, most: int = DEFAULT_CAUSES) -> tuple[str, ...]:
    """Return the causes that explain most of what was observed, best first.

    Causes that are known (observed present or absent) are left out: there is nothing to weigh.
    """
    known = {*dx.case.present, *dx.case.absent}
    ranked = dx.differential("disablement")["cause"]
    return tuple(cause for cause in ranked if cause not in known)[:most]


def smallest_explanations(dx: Diagnosis, most: int = 5) -> tuple[JointHypothesis, ...]:
    """Return the sets of causes, none to spare, that between them can explain all findings.

    A cause can explain a finding if a person with that cause and no other shows it at least
    twice as often as a person with none. Findings that no cause can explain are left out. A set
    counts if every present finding is explained by some cause in it, and no longer would be if
    one cause were left out [1]_; sets of up to `LARGEST_SET` causes are looked at.

    Returns
    -------
    tuple of JointHypothesis
        With the probability that all causes of the set are present (whatever else is), most
        probable first.

    References
    ----------
    .. [1] Reggia JA, Nau DS, Wang PY. Diagnostic expert systems based on a set covering model.
       Int J Man-Mach Stud 1983;19:437-460.
    """
    needed = [frozenset(causes) for causes in explaining_causes(dx).values() if causes]
    covers = irredundant_covers(needed, LARGEST_SET)
    index, posterior = dx.engine.reader.index, dx.posterior
    # No set is more probable than its least probable cause: the rest need not be looked at.
    bound = {cover: min(float(posterior[cause]) for cause in cover) for cover in covers}
    covers.sort(key=lambda cover: -bound[cover])
    found: list[JointHypothesis] = []
    for start in range(0, len(covers), TOGETHER):
        batch = covers[start : start + TOGETHER]
        if len(found) >= most and found[most - 1].probability >= bound[batch[0]]:
            break
        sure = [_probability_of_all(dx, [index[cause] for cause in cover]) for cover in batch]
        ratios = np.array([row for row, _ in sure])
        weights = np.repeat(dx.case.weights[None, :], len(batch), axis=0)
        answer = infer_evidence(dx.engine.networks, weights, ratios, exact_only=True)
        logs = answer.log_evidence - dx.log_evidence
        found += [
            JointHypothesis(cover, float(np.exp(log) * factor))
            for cover, log, (_, factor) in zip(batch, logs.tolist(), sure, strict=True)
        ]
        found.sort(key=lambda hypothesis: -hypothesis.probability)
    return tuple(hypothesis for hypothesis in found[:most] if hypothesis.probability > 0)


def _probability_of_all(dx: Diagnosis, places: Sequence[int]) -> tuple[FloatArray, float]:
    """Return evidence that these causes are present, and the weight of what was seen of them."""
    ratios = dx.case.ratios.copy()
    own = ratios[places]
    ratios[places] = PRESENT
    return ratios, float(np.prod(np.where(own == PRESENT, 1.0, own)))


def irredundant_covers(needed: Sequence[frozenset[str]], largest: int) -> list[frozenset[str]]:
    """Return all sets that meet every needed one, and would not with any member left out.

    Examples
    --------
    >>> both = [frozenset("ab"), frozenset("bc")]
    >>> sorted("".join(sorted(cover)) for cover in irredundant_covers(both, 2))
    ['ac', 'b']
    """
    covers: set[frozenset[str]] = set()
    partial = {frozenset[str]()} if needed else set()
    for _ in range(largest + 1):
        grown: set[frozenset[str]] = set()
        for chosen in partial:
            unmet = [choices for choices in needed if not choices & chosen]
            if not unmet:
                covers.add(chosen)
            else:
                grown.update(chosen | {cause} for cause in min(unmet, key=len))
        # a member that nothing needs is needed by nothing when more members join
        partial = {
            chosen
            for chosen in grown
            if all(any(choices & chosen == {cause} for choices in needed) for cause in chosen)
        }
    return sorted(covers, key=sorted)


def explaining_causes(dx: Diagnosis) -> dict[str, tuple[str, ...]]:
    """Return, for each present finding, the causes that alone make it likelier by far."""
    engine = dx.engine
    index = engine.reader.index
    findings = [n for n in dx.case.present if n in engine.knowledge.findings]
    causes = [c for c in engine.causes if dx.posterior[c] > 0]
    everyone = [index[c] for c in engine.causes]
    rows = np.ones((len(findings) * (len(causes) + 1), len(dx.case.ratios)))
    rows[:, everyone] = ABSENT
    blocks = rows.reshape(len(findings), len(causes) + 1, len(dx.case.ratios))
    for i, finding in enumerate(findings):
        blocks[i, :, index[finding]] = PRESENT
        for j, cause in enumerate(causes):
            blocks[i, j, index[cause]] = PRESENT
            # what the cause leads to may follow
            for child in _children(dx, cause):
                blocks[i, j, index[child]] = UNKNOWN
    bare = rows.copy()
    bare[:, [index[f] for f in findings]] = UNKNOWN
    weights = np.repeat(dx.case.weights[None, :], len(rows), axis=0)
    shown = infer_evidence(engine.networks, weights, rows).log_evidence
    given = infer_evidence(engine.networks, weights, bare).log_evidence
    chance = np.exp(shown - given).reshape(len(findings), len(causes) + 1)
    return {
        finding: tuple(
            cause for j, cause in enumerate(causes) if chance[i, j] >= EXPLAINS_FROM * chance[i, -1]
        )
        for i, finding in enumerate(findings)
    }


def _children(dx: Diagnosis, cause: str) -> tuple[str, ...]:
    from twitchdx.explain.rows import downstream

    reached = downstream(dx.engine.knowledge, cause) - {cause}
    return tuple(child for child in dx.engine.causes if child in reached)


def _masses(
    dx: Diagnosis, places: Sequence[int], partial: Sequence[tuple[bool, ...]]
) -> tuple[FloatArray, bool]:
    """Return P(these causes on or off | observed) of partial combinations; if all are exact."""
    ratios = np.repeat(dx.case.ratios[None, :], len(partial), axis=0)
    certain = np.ones(len(partial))
    for row, states in enumerate(partial):
        for place, on in zip(places, states, strict=False):
            own = dx.case.ratios[place]
            if (on and own == ABSENT) or (not on and own == PRESENT):
                certain[row] = 0.0
            elif on and own != PRESENT:
                certain[row] *= own
            ratios[row, place] = PRESENT if on else ABSENT
    weights = np.repeat(dx.case.weights[None, :], len(partial), axis=0)
    answer = infer_evidence(dx.engine.networks, weights, ratios, exact_only=True)
    masses = np.exp(answer.log_evidence - dx.log_evidence) * certain
    return masses, bool((answer.method == "exact").all())
