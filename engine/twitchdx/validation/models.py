"""The model and what it is compared with: each leaves out a part, to show what the part is worth.

All use the same tables and the same evidence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twitchdx.evidence import ABSENT
from twitchdx.inference import infer_batch, infer_evidence
from twitchdx.network import NoisyOrNetwork, topological_order

if TYPE_CHECKING:
    from twitchdx.diagnosis import Engine

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: nearest that naive Bayes lets a table's probability come to 0 and 1
LEAST = 1e-4


@dataclass(frozen=True)
class Answers:
    """What one model says of many cases.

    Attributes
    ----------
    posterior : array, shape (cases, causes)
        Causes without syndromes.
    labels : array, shape (cases, labels)
        The same for labels, of which some may stand for any of several causes.
    sampled : array of bool, shape (cases,)
        Cases too wide for an exact answer.
    """

    posterior: FloatArray
    labels: FloatArray
    sampled: BoolArray


@dataclass(frozen=True)
class Comparator:
    """A model that is run beside the full one.

    Attributes
    ----------
    name, meaning : str
        Short name, and what it leaves out.
    answer : function
        (engine, ratios, weights, labels) -> Answers.
    """

    name: str
    meaning: str
    answer: Callable[[Engine, FloatArray, FloatArray, tuple[str, ...]], Answers]


def full(
    engine: Engine, ratios: FloatArray, weights: FloatArray, labels: tuple[str, ...]
) -> Answers:
    """Answer with the engine as it is."""
    return _exact(engine, engine.networks, ratios, weights, labels)


def prior_only(
    engine: Engine, ratios: FloatArray, weights: FloatArray, labels: tuple[str, ...]
) -> Answers:
    """Answer from age and sex alone."""
    return full(engine, np.ones_like(ratios), weights, labels)


def naive_bayes(
    engine: Engine, ratios: FloatArray, weights: FloatArray, labels: tuple[str, ...]
) -> Answers:
    """Answer with one cause or none: the priors times a product of table probabilities.

    P(finding | cause) is what the network gives to somebody with that cause alone, which is the
    table's number where there is one; P(finding | no cause) is the background. Each stratum is
    solved by itself, and strata are mixed by how well they explain the case.
    """
    n_causes = len(engine.networks[0].causes)
    single = np.array(
        [cause not in engine.knowledge.syndromes for cause in engine.networks[0].causes]
    )
    joint = []
    for network in engine.networks:
        alone, background = single_cause_profiles(network, ~single)
        table = np.vstack([background[None, :], alone[single]])  # "none" first
        table = np.clip(table, LEAST, 1 - LEAST)
        prior = network.prevalence[single]
        prior = np.concatenate([[1.0], prior / (1 - np.minimum(prior, 1 - LEAST))])
        seen = ratios[:, n_causes:]
        hard, off = np.isinf(seen), seen == ABSENT
        soft = ~hard & ~off & (seen != 1)
        log = np.log(prior / prior.sum())[None, :] + hard @ np.log(table).T
        log += off @ np.log1p(-table).T
        for case, finding in np.argwhere(soft):
            log[case] += np.log1p((seen[case, finding] - 1) * table[:, finding])
        on_cause = ratios[:, :n_causes][:, single]
        log[:, 1:][on_cause == ABSENT] = -np.inf
        joint.append(log)
    stacked = np.array(joint) + np.log(np.maximum(weights.T, 1e-300))[:, :, None]
    stacked -= stacked.max(axis=(0, 2), keepdims=True)
    likelihood = np.exp(stacked).sum(axis=0)
    posterior = (likelihood / likelihood.sum(axis=1, keepdims=True))[:, 1:]
    columns = {cause: i for i, cause in enumerate(engine.causes)}
    by_label = [
        posterior[:, [columns[part] for part in engine.knowledge.stands_for(label)]].sum(axis=1)
        for label in labels
    ]
    return Answers(
        posterior,
        np.minimum(1.0, np.column_stack(by_label)) if labels else np.zeros((len(ratios), 0)),
        np.zeros(len(ratios), bool),
    )


def changed(
    change: Callable[[Engine, NoisyOrNetwork], NoisyOrNetwork],
) -> Callable[[Engine, FloatArray, FloatArray, tuple[str, ...]], Answers]:
    """Return a model that answers exactly, with every stratum's network changed."""

    def answer(
        engine: Engine, ratios: FloatArray, weights: FloatArray, labels: tuple[str, ...]
    ) -> Answers:
        networks = tuple(change(engine, network) for network in engine.networks)
        return _exact(engine, networks, ratios, weights, labels)

    return answer


def independent_findings(engine: Engine, network: NoisyOrNetwork) -> NoisyOrNetwork:
    """Cut the syndromes out; what a cause does through them is added to its own strengths.

    A finding keeps its frequency in people with no cause and in people with any one cause;
    findings are independent within each.
    """
    cut = _syndromes(engine, network)
    # with cause c on alone, a syndrome k is on with 1 - (1 - own_k)(1 - link_ck)
    off_without = 1 - network.prior[cut][:, None] * network.strength[cut]  # (K, F)
    base = off_without.prod(axis=0)
    with_cause = np.ones_like(network.strength)
    for row, k in enumerate(np.flatnonzero(cut)):
        on = 1 - (1 - network.prior[k]) * (1 - network.links[:, k])
        with np.errstate(invalid="ignore", divide="ignore"):
            more = (1 - on[:, None] * network.strength[k]) / off_without[row]
        with_cause *= np.where(off_without[row] > 0, more, 1.0)
    strength = 1 - (1 - network.strength) * with_cause
    strength[cut] = 0.0
    links = network.links.copy()
    links[cut], links[:, cut] = 0.0, 0.0
    return replace(
        network,
        strength=np.clip(strength, 0.0, 1.0),
        leak=1 - (1 - network.leak) * base,
        links=links,
        prior=np.where(cut, 0.0, network.prior),
    )


def without_links(engine: Engine, network: NoisyOrNetwork) -> NoisyOrNetwork:
    """Cut the links between causes; each keeps its prevalence, and what it did through others.

    What a cause did through the causes it leads to is added to its own strengths, so that
    findings are as frequent in people with one cause; but causes no longer come together.
    """
    syndrome = _syndromes(engine, network)
    table = np.array([name in engine.knowledge.findings for name in network.findings])
    links, strength = network.links.copy(), network.strength.copy()
    for cause in topological_order(network.links)[::-1]:
        if syndrome[cause]:
            continue
        for child in np.flatnonzero((network.links[cause] > 0) & ~syndrome):
            link = network.links[cause, child]
            strength[cause, table] = 1 - (1 - strength[cause, table]) * (
                1 - link * strength[child, table]
            )
            links[cause, syndrome] = 1 - (1 - links[cause, syndrome]) * (
                1 - link * links[child, syndrome]
            )
    links[:, ~syndrome] = 0.0
    prior = np.where(syndrome, network.prior, network.prevalence)
    return replace(network, links=links, strength=strength, prior=prior)


def flat_priors(engine: Engine, network: NoisyOrNetwork) -> NoisyOrNetwork:
    """Give every cause the same own prior: the mean, so that people have as many causes."""
    syndrome = _syndromes(engine, network)
    mean = network.prior[~syndrome].mean()
    return replace(network, prior=np.where(syndrome, network.prior, mean))


COMPARATORS = (
    Comparator("full model", "the network as it is", full),
    Comparator("independent findings", "no syndrome nodes", changed(independent_findings)),
    Comparator("without links", "no links between causes", changed(without_links)),
    Comparator("flat priors", "every cause equally common", changed(flat_priors)),
    Comparator("naive Bayes", "one cause or none, findings independent", naive_bayes),
    Comparator("prior only", "age and sex, no findings", prior_only),
)
"""The model and its comparators, in the order of reports."""


def single_cause_profiles(
    network: NoisyOrNetwork, syndrome: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """Return P(finding | one cause alone) and P(finding | no cause).

    What a cause switches on through links is on with its exact probability, and counted as
    independent for one finding (exact where the links form a tree).

    Parameters
    ----------
    network : NoisyOrNetwork
    syndrome : array of bool, shape (C,)
        Nodes that may also be on by themselves.

    Returns
    -------
    alone : array, shape (C, F)
    background : array, shape (F,)
    """
    order = topological_order(network.links)
    own = np.where(syndrome, network.prior, 0.0)
    on = np.zeros((len(order) + 1, len(order)))  # the last row: no cause at all
    for node in order:
        off = (1 - on * network.links[:, node]).prod(axis=1) * (1 - own[node])
        on[:, node] = 1 - off
        on[node, node] = 1.0
    off_findings = (1 - network.leak) * np.exp(
        np.log(np.maximum(1 - on[:, :, None] * network.strength[None], 1e-300)).sum(axis=1)
    )
    profile = 1 - off_findings
    return profile[:-1], profile[-1]


def labels_of(
    engine: Engine,
    networks: tuple[NoisyOrNetwork, ...],
    ratios: FloatArray,
    weights: FloatArray,
    posterior: FloatArray,
    log_evidence: FloatArray,
    labels: tuple[str, ...],
) -> FloatArray:
    """Return the probability of each label: a cause, or any part of an older id, exactly."""
    columns = {cause: i for i, cause in enumerate(engine.causes)}
    out = np.zeros((len(ratios), len(labels)))
    for number, label in enumerate(labels):
        if label in columns:
            out[:, number] = posterior[:, columns[label]]
            continue
        parts = engine.knowledge.stands_for(label)
        if len(parts) == 1:
            out[:, number] = posterior[:, columns[parts[0]]]
            continue
        without = ratios.copy()
        without[:, engine.reader.index[label]] = ABSENT
        none = infer_evidence(networks, weights, without)
        out[:, number] = -np.expm1(np.minimum(0.0, none.log_evidence - log_evidence))
    return out


def _exact(
    engine: Engine,
    networks: tuple[NoisyOrNetwork, ...],
    ratios: FloatArray,
    weights: FloatArray,
    labels: tuple[str, ...],
) -> Answers:
    answer = infer_batch(networks, weights, ratios, wanted=engine.reported)
    place = [engine.reader.index[cause] for cause in engine.causes]
    posterior = answer.posterior[:, place]
    by_label = labels_of(engine, networks, ratios, weights, posterior, answer.log_evidence, labels)
    return Answers(posterior, by_label, answer.method == "sampled")


def _syndromes(engine: Engine, network: NoisyOrNetwork) -> BoolArray:
    return np.array([cause in engine.knowledge.syndromes for cause in network.causes])
