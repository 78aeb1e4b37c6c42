"""What each cause explains: expected disablement and expected sufficiency."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twitchdx.errors import WidthError
from twitchdx.evidence import ABSENT, PRESENT
from twitchdx.explain.twin import CERTAIN, twin_case
from twitchdx.inference import infer_batch
from twitchdx.inference.plan import make_plan, new_plan
from twitchdx.inference.structure import Compiled, compiled_for

if TYPE_CHECKING:
    import pandas as pd

    from twitchdx.diagnosis import Diagnosis
    from twitchdx.network import NoisyOrNetwork

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: bits that the second world may need beyond those of the evidence
EXTRA_BITS = 6
#: most bits of a counterfactual sweep: 4 vectors of 2**22 numbers are 128 MB
MOST_BITS = 22
#: a leak of 1 is taken as this where its complement is divided by
ALMOST_ONE = 1 - 1e-12


@dataclass(frozen=True)
class Attribution:
    """How much of what was observed each cause accounts for.

    Attributes
    ----------
    disabled : DataFrame, causes by present findings
        P(the finding would be gone, had the cause been absent | all that was observed).
    switched_on : DataFrame, causes by present findings
        P(the cause, through any chain of consequences, switched the finding on | observed); it
        would have produced the finding alone.
    unexplained : Series, present finding -> probability
        P(no cause or syndrome switched the finding on, only its background | observed).
    """

    disabled: pd.DataFrame
    switched_on: pd.DataFrame
    unexplained: pd.Series[float]

    @property
    def disablement(self) -> pd.Series[float]:
        """Expected number of present findings that would go without each cause."""
        return self.disabled.sum(axis=1).rename("disablement")

    @property
    def sufficiency(self) -> pd.Series[float]:
        """Expected number of present findings that each cause alone would have produced."""
        return self.switched_on.sum(axis=1).rename("sufficiency")


def attribution(dx: Diagnosis) -> Attribution:
    """Return what each cause explains of one case, exactly, through mediating causes too.

    Removing iron deficiency removes the restless legs that it switched on, and with them the
    urge to move. All that happened by itself in the observed world happens in the other one as
    well (Richens, Lee & Johri 2020).

    Raises
    ------
    WidthError
        If the case is too wide for exact inference.

    References
    ----------
    .. [1] Richens JG, Lee CM, Johri S. Improving the accuracy of medical diagnosis with causal
       machine learning. Nat Commun 2020;11:3923. doi:10.1038/s41467-020-17419-7
    """
    import pandas as pd

    network = dx.engine.networks[0]
    shown = [node for node in dx.case.present if node in dx.engine.knowledge.findings]
    places = np.array([dx.engine.reader.index[node] for node in shown], dtype=np.int64)
    disabled, switched_on = counterfactuals(
        dx.engine.networks, dx.case.weights, dx.case.ratios, places
    )
    alone = unexplained(
        dx.engine.networks, dx.case.weights, dx.case.ratios, places, dx.log_evidence
    )
    index = pd.Index(network.causes, name="cause")
    columns = pd.Index(shown, name="finding")
    return Attribution(
        disabled=pd.DataFrame(disabled, index, columns),
        switched_on=pd.DataFrame(switched_on, index, columns),
        unexplained=pd.Series(alone, columns, name="unexplained", dtype=np.float64),
    )


def unexplained(
    networks: tuple[NoisyOrNetwork, ...],
    weights: FloatArray,
    ratios: FloatArray,
    findings: NDArray[np.int64],
    log_evidence: float,
) -> FloatArray:
    """Return the probability that each present finding comes from its background alone.

    Parameters
    ----------
    networks, weights, ratios, findings
        As for `counterfactuals`.
    log_evidence : float
        Natural logarithm of the probability of all that was observed.

    Returns
    -------
    ndarray, shape (P,)
        P(nothing but the leak switched the finding on | evidence).
    """
    if any(network.leak.max(initial=0.0) == 1 for network in networks):
        networks = tuple(replace(n, leak=np.minimum(n.leak, ALMOST_ONE)) for n in networks)
    strata = np.flatnonzero(weights)
    rows = np.repeat(ratios[None, :], len(findings), axis=0)
    rows[np.arange(len(findings)), findings] = ABSENT
    absent = infer_batch(
        networks,
        np.repeat(np.eye(len(weights))[strata], len(findings), axis=0),
        np.tile(rows, (len(strata), 1)),
    ).log_evidence.reshape(len(strata), len(findings))
    leak = np.array([networks[s].leak for s in strata])[:, findings - len(networks[0].causes)]
    # absent means that neither a cause nor the leak switched it on
    by_leak_alone = weights[strata, None] * leak / (1 - leak) * np.exp(absent - log_evidence)
    return np.asarray(np.minimum(by_leak_alone.sum(axis=0), 1.0))


def counterfactuals(
    networks: tuple[NoisyOrNetwork, ...],
    weights: FloatArray,
    ratios: FloatArray,
    findings: NDArray[np.int64],
) -> tuple[FloatArray, FloatArray]:
    """Return the probability that each finding goes without each cause, and comes from it alone.

    Parameters
    ----------
    networks : tuple of NoisyOrNetwork, length S
    weights : ndarray, shape (S,)
        Share of each stratum.
    ratios : ndarray, shape (N,)
        Evidence on every node.
    findings : ndarray of int, shape (P,)
        Nodes of findings observed present.

    Returns
    -------
    disabled, sufficient : ndarray, shape (C, P)

    Raises
    ------
    WidthError
        If the sweep would need more than `MOST_BITS` open bits.
    """
    arrays = compiled_for(networks)
    certain = ratios.copy()
    certain[: arrays.n_causes][ratios[: arrays.n_causes] == PRESENT] = CERTAIN
    plan = new_plan(arrays.n_causes, arrays.n_nodes, len(arrays.parents))
    make_plan(certain, arrays.parent_start, arrays.parents, arrays.order, False, plan)
    bits = int(plan.counts[2]) + EXTRA_BITS
    while True:
        _, disabled, sufficient = twin_case(
            arrays.own,
            arrays.weight,
            weights,
            certain,
            _reaches(arrays),
            findings,
            plan.kind,
            plan.n_parents,
            plan.steps,
            int(plan.counts[0]),
            plan.touch_start,
            plan.touch,
            1 << min(bits, MOST_BITS),
        )
        if not np.isnan(disabled.sum() + sufficient.sum()):
            return disabled, sufficient
        if bits >= MOST_BITS:
            raise WidthError(
                f"what each cause explains would need more than {MOST_BITS} open bits; "
                "leave out some findings"
            )
        bits += EXTRA_BITS


@lru_cache(maxsize=16)
def _reaches(arrays: Compiled) -> BoolArray:
    """Whether a directed path leads from each cause to each node, shape (C, N)."""
    arrows = (arrays.weight > 0).any(axis=0)
    reached: BoolArray = arrows.copy()
    for cause in arrays.order[::-1]:
        for child in np.flatnonzero(arrows[cause, : arrays.n_causes]):
            reached[cause] |= reached[child]
    return reached
