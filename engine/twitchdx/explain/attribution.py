"""What each cause explains: expected disablement and expected sufficiency."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twitchdx.errors import WidthError
from twitchdx.evidence import ABSENT, UNKNOWN
from twitchdx.explain.one_step import one_step
from twitchdx.explain.tape import plan_tape
from twitchdx.explain.twin import twin_case
from twitchdx.inference import infer_batch, infer_evidence
from twitchdx.inference.structure import Compiled, compiled_for

if TYPE_CHECKING:
    import pandas as pd

    from twitchdx.diagnosis import Diagnosis
    from twitchdx.network import NoisyOrNetwork

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: numbers that the tables of the twin worlds may take: the first try, and the most (about a second)
LEAST_STATES = 1 << 12
MOST_STATES = 1 << 18
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
    method : {'exact', 'one step'}
        "one step" where the case is too wide: what a cause does by itself and through one other
        cause or syndrome is counted, not through a chain of several, so that the numbers are lower
        bounds.
    """

    disabled: pd.DataFrame
    switched_on: pd.DataFrame
    unexplained: pd.Series[float]
    method: str = "exact"

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

    A case too wide for that gets lower bounds, and its `method` says so.

    Raises
    ------
    WidthError
        For a case whose posteriors had to be sampled.

    References
    ----------
    .. [1] Richens JG, Lee CM, Johri S. Improving the accuracy of medical diagnosis with causal
       machine learning. Nat Commun 2020;11:3923. doi:10.1038/s41467-020-17419-7
    """
    import pandas as pd

    if dx.method == "sampled":
        raise WidthError(f"width {dx.width} is too wide to attribute findings to causes")
    network = dx.engine.networks[0]
    shown = [node for node in dx.case.present if node in dx.engine.knowledge.findings]
    places = np.array([dx.engine.reader.index[node] for node in shown], dtype=np.int64)
    known = (dx.engine.networks, dx.case.weights, dx.case.ratios, places)
    disabled, switched_on, exact = best_counterfactuals(*known, dx.log_evidence)
    alone = unexplained(*known, dx.log_evidence)
    index = pd.Index(network.causes, name="cause")
    columns = pd.Index(shown, name="finding")
    return Attribution(
        disabled=pd.DataFrame(disabled, index, columns),
        switched_on=pd.DataFrame(switched_on, index, columns),
        unexplained=pd.Series(alone, columns, name="unexplained", dtype=np.float64),
        method="exact" if exact else "one step",
    )


def best_counterfactuals(
    networks: tuple[NoisyOrNetwork, ...],
    weights: FloatArray,
    ratios: FloatArray,
    findings: NDArray[np.int64],
    log_evidence: float,
) -> tuple[FloatArray, FloatArray, bool]:
    """Return those of `counterfactuals`, or of `one_step_counterfactuals` where it is too wide."""
    try:
        return *counterfactuals(networks, weights, ratios, findings), True
    except WidthError:
        return one_step_counterfactuals(networks, weights, ratios, findings, log_evidence)


def one_step_counterfactuals(
    networks: tuple[NoisyOrNetwork, ...],
    weights: FloatArray,
    ratios: FloatArray,
    findings: NDArray[np.int64],
    log_evidence: float,
) -> tuple[FloatArray, FloatArray, bool]:
    """Return what each cause explains by its own arrow and through one other node.

    Parameters
    ----------
    networks, weights, ratios, findings, log_evidence
        As for `unexplained`.

    Returns
    -------
    disabled, sufficient : ndarray, shape (C, P)
        Lower bounds of those of `counterfactuals`.
    exact : bool
        Whether they are equal, no path having several intermediate nodes.
    """
    arrays = compiled_for(networks)
    reaches = _reaches(arrays, relevant_parents(arrays, ratios))
    direct = direct_counterfactuals(networks, weights, ratios, findings, log_evidence)
    return one_step(arrays, weights, ratios, findings, reaches, log_evidence, *direct)


def direct_counterfactuals(
    networks: tuple[NoisyOrNetwork, ...],
    weights: FloatArray,
    ratios: FloatArray,
    findings: NDArray[np.int64],
    log_evidence: float,
) -> tuple[FloatArray, FloatArray]:
    """Return what each cause explains of each finding by its own arrow alone.

    Parameters
    ----------
    networks, weights, ratios, findings, log_evidence
        As for `unexplained`.

    Returns
    -------
    disabled, sufficient : ndarray, shape (C, P)
        Lower bounds of those of `counterfactuals`; equal to them without links.
    """
    n_causes = len(networks[0].causes)
    if any(network.strength.max(initial=0.0) == 1 for network in networks):
        networks = tuple(replace(n, strength=np.minimum(n.strength, ALMOST_ONE)) for n in networks)
    strata = np.flatnonzero(weights)
    rows = np.repeat(ratios[None, :], 2 * len(findings), axis=0)
    places = np.arange(len(findings))
    rows[places, findings] = ABSENT
    rows[len(findings) + places, findings] = UNKNOWN
    answer = infer_batch(
        networks,
        np.repeat(np.eye(len(weights))[strata], len(rows), axis=0),
        np.tile(rows, (len(strata), 1)),
    )
    shape = (len(strata), 2, len(findings))
    share = weights[strata, None, None] * np.exp(answer.log_evidence.reshape(shape) - log_evidence)
    joint = np.nan_to_num(answer.posterior.reshape(*shape, n_causes)) * share[..., None]
    strength = np.array([networks[s].strength.T for s in strata])[:, findings - n_causes]
    # Absent: no arrow but this one, nor the leak, would have switched the finding on.
    disabled = (strength / (1 - strength) * joint[:, 0]).sum(axis=0).T
    sufficient = (strength * joint[:, 1]).sum(axis=0).T
    return disabled, sufficient


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
    absent = infer_evidence(
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
        If the tables would need more than `MOST_STATES` numbers.
    """
    twin = _Twin.of(networks, weights, ratios, findings)
    return twin.run(np.ones(len(networks[0].causes), np.bool_))


def leading_disablement(
    networks: tuple[NoisyOrNetwork, ...],
    weights: FloatArray,
    ratios: FloatArray,
    findings: NDArray[np.int64],
    posterior: FloatArray,
    candidates: BoolArray,
    most: int,
    factor: FloatArray | float = 1.0,
) -> FloatArray:
    """Return the expected disablement of the candidates that can be among the first `most`.

    No cause can account for more than its posterior of each finding that it reaches; so causes are
    taken in the order of that bound, until the bound of the next is below what `most` of them have.

    Parameters
    ----------
    networks, weights, ratios, findings
        As for `counterfactuals`.
    posterior : ndarray, shape (C,)
    candidates : ndarray of bool, shape (C,)
        Causes to choose from.
    most : int
    factor : ndarray, shape (C,), or float
        Disablement times this is what ranks.

    Returns
    -------
    ndarray, shape (C,)
        Disablement times factor; NaN for a cause that is no candidate, or surely not among the
        first.

    Raises
    ------
    WidthError
        If the tables would need more than `MOST_STATES` numbers.
    """
    twin = _Twin.of(networks, weights, ratios, findings)
    factors = np.broadcast_to(factor, posterior.shape)
    bound = factors * posterior * twin.reaches[:, findings].sum(axis=1) * twin.relevant
    found = np.full(len(posterior), np.nan)
    found[candidates & (bound == 0)] = 0.0
    open_ = np.flatnonzero(candidates & (bound > 0))
    best: list[float] = []
    for cause in open_[np.argsort(-bound[open_], kind="stable")]:
        if len(best) >= most and bound[cause] < best[most - 1]:
            break
        asked = np.zeros(len(posterior), np.bool_)
        asked[cause] = True
        found[cause] = factors[cause] * twin.run(asked, both=False)[0][cause].sum()
        best = sorted([*best, found[cause]], reverse=True)
    return found


@dataclass(frozen=True, eq=False)
class _Twin:
    """A case laid out for its second worlds."""

    arrays: Compiled
    weights: FloatArray
    evidence: tuple[FloatArray, FloatArray, FloatArray]
    reaches: BoolArray
    relevant: BoolArray
    findings: NDArray[np.int64]
    tape: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        networks: tuple[NoisyOrNetwork, ...],
        weights: FloatArray,
        ratios: FloatArray,
        findings: NDArray[np.int64],
    ) -> _Twin:
        arrays = compiled_for(networks)
        parents = relevant_parents(arrays, ratios)
        causes = [n for n in parents if n < arrays.n_causes]
        relevant = np.zeros(arrays.n_causes, dtype=np.bool_)
        relevant[causes] = True
        return cls(
            arrays=arrays,
            weights=weights,
            evidence=evidence_weights(arrays, ratios, parents),
            reaches=_reaches(arrays, parents),
            relevant=relevant,
            findings=findings,
            tape=plan_tape(parents, frozenset(causes)),
        )

    def run(self, asked: BoolArray, *, both: bool = True) -> tuple[FloatArray, FloatArray]:
        """Return disabled and, with `both`, sufficient; 0 for causes not asked about."""
        states = LEAST_STATES
        while states <= MOST_STATES:
            _, disabled, sufficient = twin_case(
                self.arrays.own,
                self.arrays.weight,
                self.weights,
                *self.evidence,
                self.reaches,
                self.relevant,
                asked,
                both,
                self.findings,
                self.tape,
                states,
            )
            if not np.isnan(disabled.sum() + sufficient.sum()):
                return disabled, sufficient
            states <<= 3
        raise WidthError(
            f"what each cause explains would need more than {MOST_STATES:,} numbers at once; "
            "leave out some findings"
        )


def relevant_parents(arrays: Compiled, ratios: FloatArray) -> dict[int, set[int]]:
    """Return the nodes that evidence makes relevant, each with its relevant parents.

    Causes that are observed absent are left out: they switch nothing on.
    """
    seen = [int(n) for n in np.flatnonzero(ratios != 1)]
    relevant: set[int] = set()
    fresh = seen
    while fresh:
        relevant.update(fresh)
        fresh = [
            parent
            for node in fresh
            for parent in _parents(arrays, node)
            if parent not in relevant and ratios[parent] != 0
        ]
    summed = {n for n in relevant if ratios[n] != 0}
    parents = {n: {p for p in _parents(arrays, n) if p in summed} for n in summed}
    return {n: own for n, own in parents.items() if own or n < arrays.n_causes}


def evidence_weights(
    arrays: Compiled, ratios: FloatArray, parents: dict[int, set[int]]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return what the evidence weighs in each stratum.

    Returns
    -------
    constant : ndarray, shape (S,)
        Log probability of the evidence on nodes that no relevant cause reaches.
    on_weight, off_weight : ndarray, shape (S, N)
        Weight where a node is on, with all that it fails to show, and where it is off.
    """
    strata, n_nodes = arrays.own.shape
    absent = ratios == 0
    certain = np.isinf(ratios)
    on_weight = np.tile(np.where(certain, 1.0, ratios), (strata, 1))
    off_weight = np.tile(np.where(certain, 0.0, 1.0), (strata, 1))
    shown = np.prod(1 - arrays.weight[:, :, absent], axis=2)
    on_weight[:, : arrays.n_causes] *= shown
    alone = [n for n in range(arrays.n_causes, n_nodes) if ratios[n] not in (0, 1)]
    alone = [n for n in alone if n not in parents]
    with np.errstate(divide="ignore"):
        constant = np.log(1 - arrays.own[:, absent]).sum(axis=1)
        own = arrays.own[:, alone]
        constant += np.log(own * on_weight[:, alone] + (1 - own) * off_weight[:, alone]).sum(axis=1)
    return constant, on_weight, off_weight


def _parents(arrays: Compiled, node: int) -> list[int]:
    begin, end = arrays.parent_start[node], arrays.parent_start[node + 1]
    return [int(parent) for parent in arrays.parents[begin:end]]


def _reaches(arrays: Compiled, parents: dict[int, set[int]]) -> BoolArray:
    """Whether a path through relevant nodes leads from each cause to each node, shape (C, N)."""
    reached = np.zeros((arrays.n_causes, arrays.n_nodes), dtype=np.bool_)
    findings = [node for node in parents if node >= arrays.n_causes]
    for node in [*(int(c) for c in arrays.order if int(c) in parents), *findings]:
        for parent in parents[node]:
            reached[:, node] |= reached[:, parent]
            reached[parent, node] = True
    return reached
