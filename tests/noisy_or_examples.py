"""Random noisy-OR networks, and their posteriors by enumeration of all causes."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from twitchdx.network import NoisyOrNetwork

Array = NDArray[np.float64]


def random_network(rng: np.random.Generator, n_causes: int, n_findings: int) -> NoisyOrNetwork:
    """A random DAG; some strengths are 0 or 1, some leaks 0."""
    shape = (n_causes, n_findings)
    prior = rng.random(n_causes) * rng.choice([0.05, 1.0], n_causes)
    leak = rng.random(n_findings) * rng.choice([0.0, 0.1, 1.0], n_findings)
    strength = rng.random(shape) * (rng.random(shape) < 0.6)
    strength[rng.random(shape) < 0.1] = 1.0
    links = np.triu(rng.random((n_causes, n_causes)), 1)
    links *= rng.random((n_causes, n_causes)) < 0.45
    links[(links > 0) & (rng.random((n_causes, n_causes)) < 0.1)] = 1.0
    mixed = rng.permutation(n_causes)
    return NoisyOrNetwork.from_arrays(prior, strength, leak, links[np.ix_(mixed, mixed)])


def random_ratios(rng: np.random.Generator, network: NoisyOrNetwork) -> Array:
    """Evidence of every kind; on causes less often."""
    n_causes = len(network.causes)
    ratios = rng.choice([1.0, 1.0, np.inf, 0.0, 0.3, 4.0], len(network.names))
    ratios[:n_causes][rng.random(n_causes) < 0.6] = 1.0
    return np.asarray(ratios, dtype=np.float64)


def enumerate_causes(
    network: NoisyOrNetwork,
    ratios: Array,
    own: Array | None = None,
    weight: Array | None = None,
) -> tuple[float, Array]:
    """P(evidence) and P(evidence, cause on), summed over all states of all causes."""
    n_causes = len(network.causes)
    own = np.concatenate([network.prior, network.leak]) if own is None else own
    weight = np.hstack([network.links, network.strength]) if weight is None else weight
    total, joint = 0.0, np.zeros(n_causes)
    for state in itertools.product([0, 1], repeat=n_causes):
        x = np.array(state)
        off = (1 - own) * np.prod((1 - weight) ** x[:, None], axis=0)
        hard = np.isinf(ratios)
        weight_on = np.where(hard, 1.0, ratios)
        weight_off = np.where(hard, 0.0, 1.0)
        on_term, off_term = weight_on * (1 - off), weight_off * off
        terms = on_term + off_term
        terms[:n_causes] = np.where(x == 1, on_term[:n_causes], off_term[:n_causes])
        probability = float(np.prod(terms))
        total += probability
        joint += probability * x
    return total, joint
