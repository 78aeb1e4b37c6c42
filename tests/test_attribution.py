"""Counterfactual attribution against enumeration of the twin network."""

from __future__ import annotations

import numpy as np
import pytest

from twitchdx.explain import counterfactuals
from twitchdx.explain.attribution import one_step_counterfactuals
from twitchdx.inference import infer
from twitchdx.network import NoisyOrNetwork

PRESENT = np.inf


def enumerate_twin(own, weight, ratios, cause, finding, world):
    """P(finding gone / produced in the second world | evidence), over all pairs of states.

    Every node is off (0, 0), on in the observed world only (1, 0), or on in both (1, 1). Nodes
    are in topological order, so that a branch is given up as soon as it is impossible.
    """
    n_causes, n_nodes = weight.shape
    totals = [0.0, 0.0]

    def descend(node, states, probability):
        if node == n_nodes:
            totals[0] += probability
            if states[finding][1] == (0 if world == "disabled" else 1):
                totals[1] += probability
            return
        off_seen = 1 - own[node]
        off_twin = 1 - own[node] if world == "disabled" else 1.0
        for parent in range(min(node, n_causes)):
            seen, twin = states[parent]
            if seen:
                off_seen *= 1 - weight[parent, node]
            if twin:
                off_twin *= 1 - weight[parent, node]
        if node == cause:
            forced = (1, 0) if world == "disabled" else (1, 1)
            likely = {(0, 0): off_seen, forced: 1 - off_seen}
        else:
            likely = {(0, 0): off_seen, (1, 0): off_twin - off_seen, (1, 1): 1 - off_twin}
        for state, chance in likely.items():
            if ratios[node] == 0:
                chance *= 1 - state[0]
            elif ratios[node] == PRESENT:
                chance *= state[0]
            elif state[0]:
                chance *= ratios[node]
            if chance > 0:
                descend(node + 1, [*states, state], probability * chance)

    descend(0, [], 1.0)
    return totals[1] / totals[0]


def random_network(rng, n_causes, n_findings, density=0.5):
    strength = rng.uniform(0.1, 0.95, (n_causes, n_findings))
    strength *= rng.random((n_causes, n_findings)) < density
    links = np.triu(rng.uniform(0.1, 0.9, (n_causes, n_causes)), 1)
    links *= rng.random(links.shape) < density
    return NoisyOrNetwork.from_arrays(
        rng.uniform(0.02, 0.5, n_causes), strength, rng.uniform(0.01, 0.2, n_findings), links
    )


@pytest.mark.parametrize("seed", range(12))
def test_counterfactuals_equal_enumeration(seed):
    rng = np.random.default_rng(seed)
    n_causes, n_findings = 5, 3
    network = random_network(rng, n_causes, n_findings)
    ratios = np.ones(n_causes + n_findings)
    ratios[n_causes:] = rng.choice([PRESENT, PRESENT, 0.0, 2.5], n_findings)
    ratios[n_causes] = PRESENT
    ratios[:n_causes] = rng.choice([1.0, 1.0, 1.0, PRESENT, 0.0, 0.4], n_causes)
    present = np.flatnonzero(ratios == PRESENT)
    findings = present[present >= n_causes]
    disabled, sufficient = counterfactuals((network,), np.ones(1), ratios, findings)
    own = np.concatenate([network.prior, network.leak])
    weight = np.hstack([network.links, network.strength])
    for k, finding in enumerate(findings):
        for cause in range(n_causes):
            wanted = [
                enumerate_twin(own, weight, ratios, cause, finding, world)
                for world in ("disabled", "sufficient")
            ]
            if ratios[cause] == 0:
                wanted = [0.0, 0.0]
            assert disabled[cause, k] == pytest.approx(wanted[0], abs=1e-10)
            assert sufficient[cause, k] == pytest.approx(wanted[1], abs=1e-10)


def test_ten_causes_equal_enumeration():
    rng = np.random.default_rng(77)
    network = random_network(rng, 10, 2, density=0.35)
    ratios = np.ones(12)
    ratios[10:] = PRESENT
    ratios[3] = 0.0
    findings = np.array([10, 11])
    disabled, sufficient = counterfactuals((network,), np.ones(1), ratios, findings)
    own = np.concatenate([network.prior, network.leak])
    weight = np.hstack([network.links, network.strength])
    for cause in (0, 4):
        for k, finding in enumerate(findings):
            gone = enumerate_twin(own, weight, ratios, cause, finding, "disabled")
            made = enumerate_twin(own, weight, ratios, cause, finding, "sufficient")
            assert disabled[cause, k] == pytest.approx(gone, abs=1e-10)
            assert sufficient[cause, k] == pytest.approx(made, abs=1e-10)
    assert disabled.sum(axis=1).max() <= 2
    assert sufficient.sum(axis=1).max() <= 2


def test_a_mediated_effect_goes_with_its_first_cause():
    network = NoisyOrNetwork.from_arrays(
        [0.2, 0.0], [[0.0], [1.0]], [0.0], [[0.0, 1.0], [0.0, 0.0]]
    )
    disabled, sufficient = counterfactuals(
        (network,), np.ones(1), np.array([1.0, 1.0, PRESENT]), np.array([2])
    )
    assert disabled[:, 0] == pytest.approx([1.0, 1.0])
    assert sufficient[:, 0] == pytest.approx([1.0, 1.0])


def test_certain_exposure_that_explains_nothing():
    """A drink that everybody takes and that hardly ever does anything."""
    network = NoisyOrNetwork.from_arrays([0.99, 0.03], [[0.01, 0.95], [0.9, 0.0]], [0.01, 0.02])
    evidence = np.array([1.0, 1.0, PRESENT, PRESENT])
    disabled, _ = counterfactuals((network,), np.ones(1), evidence, np.array([2]))
    assert network.posterior({0: True, 1: True})[0] > 0.99
    assert disabled[0, 0] < 0.3 < disabled[1, 0]


@pytest.mark.parametrize("seed", range(16))
def test_one_step_is_exact_on_short_chains_and_a_lower_bound_on_long_ones(seed):
    rng = np.random.default_rng(500 + seed)
    n_causes, n_findings = 5, 3
    network = random_network(rng, n_causes, n_findings, density=0.6)
    if seed % 2:  # two layers: no path has two intermediate nodes
        links = network.links.copy()
        links[:, :3] = 0
        links[3:] = 0
        network = NoisyOrNetwork.from_arrays(network.prior, network.strength, network.leak, links)
    ratios = np.ones(n_causes + n_findings)
    ratios[n_causes:] = [PRESENT, PRESENT, rng.choice([0.0, 2.5])]
    ratios[:n_causes] = rng.choice([1.0, 1.0, 1.0, 1.0, PRESENT, 0.4], n_causes)
    findings = np.arange(n_causes, n_causes + 2)
    log_evidence = infer(network, ratios).log_evidence
    gone, enough, exact = one_step_counterfactuals(
        (network,), np.ones(1), ratios, findings, log_evidence
    )
    own = np.concatenate([network.prior, network.leak])
    weight = np.hstack([network.links, network.strength])
    if seed % 2:
        assert exact
    for k, finding in enumerate(findings):
        for cause in range(n_causes):
            for found, world in ((gone, "disabled"), (enough, "sufficient")):
                wanted = enumerate_twin(own, weight, ratios, cause, finding, world)
                assert found[cause, k] <= wanted + 1e-10
                if exact:
                    assert found[cause, k] == pytest.approx(wanted, abs=1e-10)
