"""Cases whose true cause does not lead: what ranked above it, and what speaks for or against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twitchdx.evidence import ABSENT, PRESENT
from twitchdx.validation.models import single_cause_profiles

if TYPE_CHECKING:
    from twitchdx.validation.evaluate import Scored

LIKELY = 0.5
"""A finding that is absent although the cause shows it at least this often speaks against it."""
RAISES = 1.5
"""A cause accounts for a finding that it makes at least this many times as frequent."""


@dataclass(frozen=True)
class Miss:
    """A case with no true cause in first place.

    Attributes
    ----------
    vignette_id : str
    truth : tuple of str
    rank : int
        Of the best ranked true cause.
    best : str
        That true cause.
    prior, posterior : float
        Of that true cause.
    above : tuple of (str, float)
        Causes ranked above it, at most five, with their posteriors.
    accounted : tuple of str
        Present findings that the true cause makes more frequent.
    not_accounted : tuple of str
        Present findings that it does not.
    missing : tuple of str
        Findings stated absent that it usually shows.
    """

    vignette_id: str
    truth: tuple[str, ...]
    rank: int
    best: str
    prior: float
    posterior: float
    above: tuple[tuple[str, float], ...]
    accounted: tuple[str, ...]
    not_accounted: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def why(self) -> str:
        """What the numbers say about it, in a sentence."""
        reasons = []
        if self.prior < 0.001:
            reasons.append(f"rare here (prior {self.prior:.2g})")
        if not self.accounted:
            reasons.append("no present finding is tied to it")
        elif len(self.not_accounted) > len(self.accounted):
            reasons.append("most present findings are not tied to it")
        if self.missing:
            reasons.append(f"{', '.join(self.missing)} stated absent")
        if self.posterior > 0.3:
            reasons.append("held probable, but something else more so")
        return "; ".join(reasons) or "other causes account for the findings better"


def list_misses(scored: Scored, ranking: str = "posterior") -> tuple[Miss, ...]:
    """Return the cases whose first-ranked cause is not true, worst first.

    Parameters
    ----------
    scored : Scored
    ranking : str
        Of those in ``scored.by``.
    """
    task = scored.task
    engine, cases = task.engine, task.cases
    network = engine.networks[0]
    n_causes = len(network.causes)
    syndrome = np.array([c in engine.knowledge.syndromes for c in network.causes])
    profiles = [single_cause_profiles(one, syndrome) for one in engine.networks]
    prior = np.array([one.prevalence for one in engine.networks])
    misses = []
    for i, found in enumerate(scored.found[ranking]):
        if not found or min(found) == 1:
            continue
        which = int(np.argmin(found))
        posterior = np.where(cases.known[i], 0.0, scored.answers.posterior[i])
        parts = task.truths[i][which]
        by = np.where(cases.known[i], -1.0, scored.by[ranking][i])
        best = max(parts, key=lambda part: (by[part], posterior[part]))
        node = engine.reader.index[engine.causes[best]]
        weights = cases.weights[i]
        shown = sum(w * alone[node] for w, (alone, _) in zip(weights, profiles, strict=True))
        usual = sum(w * base for w, (_, base) in zip(weights, profiles, strict=True))
        seen = cases.ratios[i, n_causes:]
        raised = np.asarray(shown) >= RAISES * np.asarray(usual)
        order = np.lexsort((-posterior, -by)).tolist()
        above = order[: min(found) - 1][:5]
        misses.append(
            Miss(
                vignette_id=cases.ids[i],
                truth=cases.truths[i],
                rank=min(found),
                best=engine.causes[best],
                prior=float(weights @ prior[:, node]),
                posterior=float(posterior[best]),
                above=tuple((engine.causes[j], float(posterior[j])) for j in above),
                accounted=_names(network.findings, (seen == PRESENT) & raised),
                not_accounted=_names(network.findings, (seen == PRESENT) & ~raised),
                missing=_names(network.findings, (seen == ABSENT) & (np.asarray(shown) >= LIKELY)),
            )
        )
    return tuple(sorted(misses, key=lambda miss: (-miss.rank, miss.vignette_id)))


def _names(
    findings: tuple[str, ...], flags: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> tuple[str, ...]:
    return tuple(findings[j] for j in np.flatnonzero(flags))
