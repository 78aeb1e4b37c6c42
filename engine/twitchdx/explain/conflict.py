"""Whether a case looks like anything that the tables know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twitchdx.evidence import ABSENT, PRESENT
from twitchdx.inference import infer_evidence

if TYPE_CHECKING:
    from twitchdx.diagnosis import Diagnosis

FloatArray = NDArray[np.float64]

#: simulated cases that the log evidence is compared with
SIMULATED = 2_000
SEED = 19980524
#: a case less probable than all but this share of simulated ones is called unlike the tables
UNUSUAL = 0.01


@dataclass(frozen=True)
class Conflict:
    """How far the observations of a case disagree under the network.

    Attributes
    ----------
    measure : float
        Hugin's conflict: log of the product of the observations' own probabilities over their
        joint probability, in nats. Above zero they speak against each other (or point to
        something rare); below zero they go together.
    percentile : float
        Share of simulated people of the same population, asked the same findings, whose answers
        are at most as probable as these.
    most_conflicting : str or None
        The observation that raises the measure most; None with fewer than two observations.
    contributions : dict of str to float
        What each observation adds to the measure, given the rest.
    """

    measure: float
    percentile: float
    most_conflicting: str | None
    contributions: dict[str, float]

    @property
    def unusual(self) -> bool:
        """Whether the case is unlike nearly all that the network would produce."""
        return self.percentile < UNUSUAL

    def __str__(self) -> str:
        if not self.unusual:
            return f"conflict {self.measure:+.1f} nats; {self.percentile:.0%} of cases are as odd"
        culprit = f"; {self.most_conflicting} fits least" if self.most_conflicting else ""
        return (
            f"this case looks unlike what these tables know: fewer than {UNUSUAL:.0%} of "
            f"simulated cases are as improbable{culprit}"
        )


def conflict(dx: Diagnosis) -> Conflict:
    """Return the conflict measure of a case and the place of its probability among simulated ones.

    References
    ----------
    .. [1] Jensen FV, Chamberlain B, Nordahl T, Jensen F. Analysis in HUGIN of data conflict.
       UAI 1990.
    """
    observations = dx.case.observations
    index = dx.engine.reader.index
    n = len(observations)
    ratios = np.ones((2 * n, len(dx.case.ratios)))
    for k, seen in enumerate(observations):
        place = index[seen.node]
        ratios[k, place] = seen.ratio
        ratios[n + k] = dx.case.ratios
        ratios[n + k, place] = 1.0
    if n == 0:
        return Conflict(0.0, 1.0, None, {})
    logs = _log_evidence(dx, ratios)
    alone, without = logs[:n], logs[n:]
    measure = float(alone.sum() - dx.log_evidence)
    # conf(all) - conf(all but one) = log P(one) + log P(rest) - log P(all)
    added = alone + without - dx.log_evidence
    contributions = {o.node: float(a) for o, a in zip(observations, added, strict=True)}
    worst = max(contributions, key=lambda node: contributions[node]) if n > 1 else None
    return Conflict(measure, _percentile(dx), worst, contributions)


def _percentile(dx: Diagnosis) -> float:
    """Share of simulated people whose answers to the same questions are at most as probable."""
    asked = [o for o in dx.case.observations if o.ratio in (PRESENT, ABSENT)]
    if not asked:
        return 1.0
    places = np.array([dx.engine.reader.index[o.node] for o in asked])
    states = simulate_nodes(dx, SIMULATED, np.random.default_rng(SEED))
    for node, implied in dx.engine.reader.implications:
        index = dx.engine.reader.index
        states[:, index[implied]] |= states[:, index[node]]
    patterns, counts = np.unique(states[:, places], axis=0, return_counts=True)
    ratios = np.ones((len(patterns) + 1, len(dx.case.ratios)))
    ratios[:-1, places] = np.where(patterns, PRESENT, ABSENT)
    ratios[-1, places] = [o.ratio for o in asked]
    logs = _log_evidence(dx, dx.engine.reader.reduce_implied(ratios))
    as_odd = counts[logs[:-1] <= logs[-1] + 1e-9].sum()
    return float((as_odd + 1) / (counts.sum() + 1))


def simulate_nodes(dx: Diagnosis, people: int, random: np.random.Generator) -> NDArray[np.bool_]:
    """Draw people of the case's age and sex from the network, before any observation.

    Returns
    -------
    ndarray of bool, shape (people, nodes)
    """
    networks = dx.engine.networks
    strata = random.choice(len(networks), size=people, p=dx.case.weights)
    drawn = [
        networks[s].sample(int(count), random)
        for s, count in zip(*np.unique(strata, return_counts=True), strict=True)
    ]
    return np.concatenate(drawn)


def _log_evidence(dx: Diagnosis, ratios: FloatArray) -> FloatArray:
    weights = np.repeat(dx.case.weights[None, :], len(ratios), axis=0)
    return infer_evidence(dx.engine.networks, weights, ratios, exact_only=True).log_evidence
