"""Exact inference against enumeration, exact rationals, pgmpy and pyAgrum."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noisy_or_examples import enumerate_causes, random_network, random_ratios
from twitchdx.errors import EvidenceError, ImpossibleEvidenceError
from twitchdx.inference import compiling, explain_plan, gradients, infer, infer_batch, joint, width
from twitchdx.network import NoisyOrNetwork

SEEDS = st.integers(0, 2**32 - 1)


def close(found: object, expected: object, relative: float = 1e-9) -> None:
    np.testing.assert_allclose(found, expected, rtol=relative, atol=0)


@pytest.mark.parametrize("seed", range(60))
def test_enumeration_agrees(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng, int(rng.integers(1, 8)), int(rng.integers(0, 7)))
    ratios = random_ratios(rng, network)
    total, on = enumerate_causes(network, ratios)
    if total == 0:
        with pytest.raises(ImpossibleEvidenceError):
            infer(network, ratios)
        return
    result = infer(network, ratios)
    close(np.exp(result.log_evidence), total)
    close(result.posterior, on / total)
    assert result.method == "exact"


@pytest.mark.parametrize("seed", range(25))
def test_derivatives_are_the_linear_coefficients(seed: int) -> None:
    rng = np.random.default_rng(1000 + seed)
    network = random_network(rng, int(rng.integers(1, 6)), int(rng.integers(1, 5)))
    ratios = random_ratios(rng, network)
    total, _ = enumerate_causes(network, ratios)
    if total == 0:
        return
    n_causes = len(network.causes)
    cause, on = int(rng.integers(n_causes)), bool(rng.integers(2))
    clamped = ratios.copy()
    clamped[cause] = np.inf if on else 0.0
    seen = ratios[cause]
    factor = (1.0 if np.isinf(seen) else seen) if on else float(not np.isinf(seen))
    base = gradients(network, ratios)
    both = joint(network, ratios, {cause: on})
    own = np.concatenate([network.prior, network.leak])
    weight = np.hstack([network.links, network.strength])

    def totals(own: np.ndarray, weight: np.ndarray) -> np.ndarray:
        return np.array(
            [
                enumerate_causes(network, ratios, own, weight)[0],
                factor * enumerate_causes(network, clamped, own, weight)[0],
            ]
        )

    assert both.ratio == pytest.approx(totals(own, weight)[1] / total, rel=1e-9, abs=1e-15)
    found_own = np.array([np.concatenate([g.d_prior, g.d_leak]) for g in (base, both)])
    found_weight = np.array([np.hstack([g.d_links, g.d_strength]) for g in (base, both)])
    for node in range(len(own)):
        high, low = own.copy(), own.copy()
        high[node], low[node] = 1.0, 0.0
        slope = (totals(high, weight) - totals(low, weight)) / total
        np.testing.assert_allclose(found_own[:, node], slope, rtol=1e-8, atol=1e-12)
    for parent, node in np.argwhere(weight > 0):
        up, down = weight.copy(), weight.copy()
        up[parent, node], down[parent, node] = 1.0, 0.0
        slope = (totals(own, up) - totals(own, down)) / total
        np.testing.assert_allclose(found_weight[:, parent, node], slope, rtol=1e-8, atol=1e-12)


def test_rare_evidence_against_exact_rationals() -> None:
    """Ten findings without leak, each with two causes of prior 1e-22: about 1e-210."""
    count = 10
    prior = Fraction(1, 10**22)
    strengths = [Fraction(index + 3, 20) for index in range(count)]
    # cause i switches on findings i and i + 1, so that all findings hang together
    on = [[Fraction(0)] * count for _ in range(count)]
    for index in range(count):
        on[index][index] = strengths[index]
        on[index][(index + 1) % count] = strengths[index] / 2
    total, joint_on = Fraction(0), [Fraction(0)] * count
    for code in range(2**count):
        chosen = [index for index in range(count) if code >> index & 1]
        term = prior ** len(chosen) * (1 - prior) ** (count - len(chosen))
        for finding in range(count):
            off = Fraction(1)
            for index in chosen:
                off *= 1 - on[index][finding]
            term *= 1 - off
        total += term
        for index in chosen:
            joint_on[index] += term
    network = NoisyOrNetwork.from_arrays(
        [1e-22] * count, np.array(on, dtype=np.float64), [0.0] * count
    )
    result = infer(network, np.array([1.0] * count + [np.inf] * count))
    # 1e-22 and the halved strengths are rounded to floats: allow for that only
    expected = float(np.log(float(total * 10**150)) - 150 * np.log(10))
    close(result.log_evidence, expected, 1e-12)
    assert result.log_evidence < -100
    close(result.posterior, [float(part / total) for part in joint_on])


def test_larger_networks_against_pgmpy_and_pyagrum() -> None:
    gum = pytest.importorskip("pyagrum")
    from pgmpy.inference import VariableElimination

    rng = np.random.default_rng(5)
    n_causes, n_findings = 18, 30
    strength = rng.beta(1, 2, (n_causes, n_findings)) * (rng.random((n_causes, n_findings)) < 0.15)
    links = np.triu(rng.beta(1, 3, (n_causes, n_causes)), 1)
    links *= rng.random((n_causes, n_causes)) < 0.08
    network = NoisyOrNetwork.from_arrays(
        rng.uniform(0.001, 0.2, n_causes), strength, rng.uniform(0.001, 0.1, n_findings), links
    )
    model = network.to_pgmpy()
    eliminate = VariableElimination(model)
    bayes_net = gum.BayesNet()
    for cpd in model.get_cpds():
        bayes_net.add(gum.LabelizedVariable(cpd.variable, "", ["off", "on"]))
    for parent, child in model.edges():
        bayes_net.addArc(parent, child)
    for cpd in model.get_cpds():
        table = bayes_net.cpt(cpd.variable)
        for state in np.ndindex(*cpd.values.shape):
            names = dict(zip(cpd.variables, state, strict=True))
            table[names] = float(cpd.values[state])
    for _ in range(3):
        observed = rng.choice(n_findings, 10, replace=False)
        present = dict(zip(observed.tolist(), (rng.random(10) < 0.5).tolist(), strict=True))
        posterior = network.posterior(present)
        evidence = {f"finding_{i}": "on" if on else "off" for i, on in present.items()}
        lazy = gum.LazyPropagation(bayes_net)
        lazy.setEvidence(evidence)
        lazy.makeInference()
        close(posterior, [lazy.posterior(name)[1] for name in network.causes])
        for index in (0, 7):
            cause = network.causes[index]
            answer = eliminate.query([cause], evidence=evidence, show_progress=False)
            close(posterior[index], answer.get_value(**{cause: "on"}))


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_total_probability_over_an_unknown_finding(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng, 5, 5)
    ratios = random_ratios(rng, network)
    ratios[7] = 1.0
    if enumerate_causes(network, ratios)[0] == 0:
        return
    base = infer(network, ratios)
    parts = np.zeros(5)
    weights = 0.0
    for ratio in (0.0, np.inf):
        seen = ratios.copy()
        seen[7] = ratio
        try:
            part = infer(network, seen)
        except ImpossibleEvidenceError:
            continue
        weight = np.exp(part.log_evidence - base.log_evidence)
        weights += weight
        parts += weight * part.posterior
    assert weights == pytest.approx(1, rel=1e-9)
    np.testing.assert_allclose(parts, base.posterior, rtol=1e-9, atol=1e-15)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.floats(0.01, 1.0))
def test_raising_a_prior_never_lowers_its_posterior(seed: int, step: float) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng, 5, 5)
    ratios = random_ratios(rng, network)
    cause = int(rng.integers(5))
    raised = network.prior.copy()
    raised[cause] += step * (1 - raised[cause])
    higher = NoisyOrNetwork.from_arrays(raised, network.strength, network.leak, network.links)
    try:
        before, after = infer(network, ratios), infer(higher, ratios)
    except ImpossibleEvidenceError:
        return
    assert after.posterior[cause] >= before.posterior[cause] * (1 - 1e-12)


def test_cause_without_strength_keeps_its_prior() -> None:
    rng = np.random.default_rng(0)
    strength = rng.random((3, 4))
    strength[1] = 0
    network = NoisyOrNetwork.from_arrays([0.1, 0.037, 0.2], strength, [0.01] * 4)
    assert network.posterior({0: True, 1: True, 2: False})[1] == 0.037


def test_nothing_observed_is_the_prevalence() -> None:
    rng = np.random.default_rng(3)
    network = random_network(rng, 7, 3)
    total, on = enumerate_causes(network, np.ones(10))
    assert total == pytest.approx(1)
    close(network.prevalence, on)


def test_batch_is_the_same_to_the_last_bit() -> None:
    rng = np.random.default_rng(2)
    network = random_network(rng, 8, 8)
    other = NoisyOrNetwork.from_arrays(
        network.prior / 2, network.strength, network.leak, network.links
    )
    rows = np.array([random_ratios(rng, network) for _ in range(200)])
    weights = rng.dirichlet([1, 1], 200)
    one = infer_batch((network, other), weights, rows, threads=1)
    two = infer_batch((network, other), weights, rows, threads=2)
    parts = [
        infer_batch((network, other), weights[i : i + 7], rows[i : i + 7]) for i in range(0, 200, 7)
    ]
    np.testing.assert_array_equal(one.posterior, two.posterior)
    np.testing.assert_array_equal(one.posterior, np.vstack([p.posterior for p in parts]))
    np.testing.assert_array_equal(one.log_evidence, two.log_evidence)
    backwards = infer_batch((network, other), weights[::-1], rows[::-1])
    np.testing.assert_array_equal(one.posterior, backwards.posterior[::-1])


def test_mixture_of_strata() -> None:
    rng = np.random.default_rng(8)
    first, second = random_network(rng, 4, 4), random_network(rng, 4, 4)
    ratios = np.array([1, 1, 1, 1, np.inf, 1, np.inf, 1.0])
    # an order of causes that suits both is needed: drop the links of the second
    second = NoisyOrNetwork.from_arrays(second.prior, second.strength, second.leak)
    mixed = infer_batch((first, second), [[0.3, 0.7]], ratios[None, :])
    totals = [enumerate_causes(network, ratios) for network in (first, second)]
    total = 0.3 * totals[0][0] + 0.7 * totals[1][0]
    close(np.exp(mixed.log_evidence[0]), total)
    close(mixed.posterior[0], (0.3 * totals[0][1] + 0.7 * totals[1][1]) / total)


def test_impossible_evidence_names_what_was_seen() -> None:
    network = NoisyOrNetwork.from_arrays([0.1], [[0.0]], [0.0], findings=["tremor"])
    with pytest.raises(ImpossibleEvidenceError, match="tremor present"):
        network.posterior({"tremor": True})
    batch = infer_batch((network,), [[1.0]], [[1.0, np.inf]])
    assert batch.method[0] == "impossible"
    assert np.isnan(batch.posterior[0]).all()


def test_bad_ratios() -> None:
    network = NoisyOrNetwork.from_arrays([0.1], [[0.5]], [0.0])
    with pytest.raises(EvidenceError, match="shape"):
        infer(network, [1.0])
    with pytest.raises(EvidenceError, match="at least 0"):
        infer(network, [1.0, np.nan])


def test_hundreds_of_causes() -> None:
    rng = np.random.default_rng(4)
    strength = rng.random((400, 200)) * (rng.random((400, 200)) < 0.02)
    network = NoisyOrNetwork.from_arrays(rng.uniform(1e-4, 0.01, 400), strength, [0.01] * 200)
    posterior = network.posterior({0: True, 70: True, 150: True, 199: False, 3: False})
    assert ((posterior > 0) & (posterior < 1)).all()


def test_plan_says_what_it_costs() -> None:
    network = NoisyOrNetwork.from_arrays([0.1, 0.2], [[0.9, 0.4], [0.5, 0.3]], [0.01, 0.02])
    ratios = np.array([1, 1, np.inf, np.inf])
    plan = explain_plan(network, ratios)
    assert 2 <= plan.width == width(network, ratios) <= 3
    assert f"width {plan.width}" in repr(plan)
    assert sorted(plan.order) == [
        "cause_0",
        "cause_1",
        "no arrow to finding_0",
        "no arrow to finding_1",
    ]
    assert plan.states == sum(2 ** (left + 1) for left in plan.axes)


def test_compiled_code_expires_with_what_other_packages_of_ours_change():
    """Code in `explain` contains what it calls in `inference`, at any depth of imports."""
    watched = {name for name, _, _ in compiling._stamp(compiling.ROOT / "explain" / "one_step.py")}
    assert {"one_step.py", "certified.py", "balls.py"} <= watched
