"""The shipped network against pyAgrum and pgmpy, and properties of any exact answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noisy_or_examples import enumerate_causes, random_network, random_ratios
from peers import lazy_propagation, variable_elimination
from twitchdx import Engine
from twitchdx.errors import ImpossibleEvidenceError
from twitchdx.export import relevant_part
from twitchdx.inference import infer, infer_batch
from twitchdx.network import FloatArray, NoisyOrNetwork

SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def strata() -> tuple[NoisyOrNetwork, ...]:
    return Engine.default().model.networks


def vignette(network: NoisyOrNetwork, seed: int, present: int, absent: int) -> FloatArray:
    """Evidence of a person who has at least one cause, some findings of it among those seen."""
    rng = np.random.default_rng(seed)
    start = len(network.causes)
    cause = int(rng.choice(np.flatnonzero(network.strength.any(axis=1))))
    shown = rng.permutation(np.flatnonzero(network.strength[cause]))[:present]
    others = rng.permutation(np.setdiff1d(np.arange(len(network.findings)), shown))
    ratios = np.ones(len(network.names))
    ratios[start + shown] = np.inf
    ratios[start + others[: present - len(shown)]] = np.inf
    ratios[start + others[present - len(shown) :][:absent]] = 0.0
    return ratios


@pytest.mark.parametrize("seed", range(8))
def test_random_vignettes_against_pyagrum(strata: tuple[NoisyOrNetwork, ...], seed: int) -> None:
    pytest.importorskip("pyagrum")
    network = strata[seed % len(strata)]
    ratios = vignette(network, seed, 1 + seed % 4, 4 + seed)
    answer = infer(network, ratios, exact_only=True).posterior
    for cause, expected in lazy_propagation(network, ratios).items():
        assert answer[network.causes.index(cause)] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(2))
def test_random_vignettes_against_pgmpy(strata: tuple[NoisyOrNetwork, ...], seed: int) -> None:
    network = strata[3 * seed]
    ratios = vignette(network, 100 + seed, 2, 6)
    answer = infer(network, ratios, exact_only=True).posterior
    for cause, expected in variable_elimination(network, ratios, 2).items():
        assert answer[network.causes.index(cause)] == pytest.approx(expected, rel=1e-9)


def test_a_known_cause_against_pyagrum(strata: tuple[NoisyOrNetwork, ...]) -> None:
    pytest.importorskip("pyagrum")
    network = strata[0]
    ratios = vignette(network, 5, 2, 5)
    child = int(np.flatnonzero(network.links.any(axis=0))[0])
    ratios[child] = np.inf
    ratios[(child + 3) % len(network.causes)] = 0.0
    answer = infer(network, ratios).posterior
    for cause, expected in lazy_propagation(network, ratios).items():
        assert answer[network.causes.index(cause)] == pytest.approx(expected, rel=1e-9)


def test_same_bits_on_any_threads_and_in_any_chunks(
    strata: tuple[NoisyOrNetwork, ...],
) -> None:
    rows = np.stack([vignette(strata[0], seed, seed % 7, 8) for seed in range(40)])
    weights = np.random.default_rng(1).dirichlet(np.ones(len(strata)), len(rows))
    one = infer_batch(strata, weights, rows, threads=1)
    two = infer_batch(strata, weights, rows, threads=2)
    np.testing.assert_array_equal(one.posterior, two.posterior)
    np.testing.assert_array_equal(one.log_evidence, two.log_evidence)
    for size in (1, 7):
        parts = [
            infer_batch(strata, weights[i : i + size], rows[i : i + size])
            for i in range(0, len(rows), size)
        ]
        np.testing.assert_array_equal(one.posterior, np.vstack([p.posterior for p in parts]))
        np.testing.assert_array_equal(
            one.log_evidence, np.concatenate([p.log_evidence for p in parts])
        )


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_the_relevant_part_says_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng, 6, 6)
    ratios = random_ratios(rng, network)
    part, evidence = relevant_part(network, ratios)
    total, on = enumerate_causes(network, ratios)
    again, on_again = enumerate_causes(part, evidence)
    assert again == pytest.approx(total, rel=1e-9)
    kept = [network.causes.index(cause) for cause in part.causes]
    np.testing.assert_allclose(on_again, on[kept], rtol=1e-9, atol=1e-300)


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_order_of_evidence_and_of_nodes_is_irrelevant(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng, 6, 6)
    ratios = random_ratios(rng, network)
    causes, findings = rng.permutation(6), rng.permutation(6)
    shuffled = NoisyOrNetwork.from_arrays(
        network.prior[causes],
        network.strength[np.ix_(causes, findings)],
        network.leak[findings],
        network.links[np.ix_(causes, causes)],
    )
    try:
        before = infer(network, ratios)
    except ImpossibleEvidenceError:
        return
    after = infer(shuffled, np.concatenate([ratios[:6][causes], ratios[6:][findings]]))
    np.testing.assert_allclose(after.posterior, before.posterior[causes], rtol=1e-9, atol=1e-300)
    assert after.log_evidence == pytest.approx(before.log_evidence, rel=1e-9, abs=1e-9)
    seen = [
        (name, ratio)
        for name, ratio in zip(network.names, ratios, strict=True)
        if ratio in (0, np.inf)
    ]
    said = {name: ratio > 0 for name, ratio in seen}
    backwards = {name: ratio > 0 for name, ratio in reversed(seen)}
    np.testing.assert_array_equal(network.ratios(said), network.ratios(backwards))


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_an_unknown_finding_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng, 6, 6)
    ratios = random_ratios(rng, network)
    ratios[-1] = 1.0
    without = NoisyOrNetwork.from_arrays(
        network.prior, network.strength[:, :-1], network.leak[:-1], network.links
    )
    try:
        before = infer(without, ratios[:-1])
    except ImpossibleEvidenceError:
        return
    after = infer(network, ratios)
    np.testing.assert_allclose(after.posterior, before.posterior, rtol=1e-12, atol=1e-300)
    assert after.log_evidence == pytest.approx(before.log_evidence, rel=1e-12, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_a_cause_without_arrows_keeps_its_prior(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng, 6, 6)
    ratios = random_ratios(rng, network)
    ratios[2] = 1.0
    strength, links = network.strength.copy(), network.links.copy()
    strength[2] = links[2] = links[:, 2] = 0.0
    alone = NoisyOrNetwork.from_arrays(network.prior, strength, network.leak, links)
    try:
        answer = infer(alone, ratios)
    except ImpossibleEvidenceError:
        return
    assert answer.posterior[2] == pytest.approx(alone.prior[2], rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_evidence_rarer_than_any_float_of_a_product(seed: int) -> None:
    """P(evidence) below 1e-200, against rationals in mpmath's precision."""
    mpmath = pytest.importorskip("mpmath")
    rng = np.random.default_rng(seed)
    n_causes = present = 8
    prior = 10.0 ** rng.uniform(-58, -52, n_causes)
    near = np.eye(8) + np.roll(np.eye(8), 1, axis=1)  # a ring: each finding has two causes
    strength = near * 10.0 ** rng.uniform(-3, 0, near.shape)
    network = NoisyOrNetwork.from_arrays(prior, strength, [0.0] * present)
    ratios = np.array([1.0] * n_causes + [np.inf] * present)
    with mpmath.workdps(400):
        total, on = mpmath.mpf(0), [mpmath.mpf(0)] * n_causes
        for code in range(2**n_causes):
            chosen = [i for i in range(n_causes) if code >> i & 1]
            term = mpmath.mpf(1)
            for i in range(n_causes):
                p = mpmath.mpf(float(prior[i]))
                term *= p if i in chosen else 1 - p
            for f in range(present):
                off = mpmath.mpf(1)
                for i in chosen:
                    off *= 1 - mpmath.mpf(float(strength[i, f]))
                term *= 1 - off
            total += term
            for i in chosen:
                on[i] += term
        log_total = float(mpmath.log(total))
        expected = [float(part / total) for part in on]
    answer = infer(network, ratios)
    assert log_total < -200 * np.log(10)
    assert answer.log_evidence == pytest.approx(log_total, rel=1e-9)
    np.testing.assert_allclose(answer.posterior, expected, rtol=1e-9, atol=1e-300)
