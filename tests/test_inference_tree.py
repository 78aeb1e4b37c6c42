"""The tree of tables against enumeration and against the vector elimination."""

from __future__ import annotations

import numpy as np
import pytest

from noisy_or_examples import enumerate_causes, random_network, random_ratios
from twitchdx.inference import rows as vector_rows
from twitchdx.inference import tree_rows
from twitchdx.inference.kernel import Derivatives
from twitchdx.inference.structure import compiled_for
from twitchdx.network import NoisyOrNetwork

MOST_STATES = 2**24


def derive(
    rows: object, network: NoisyOrNetwork, ratios: np.ndarray
) -> tuple[float, np.ndarray, Derivatives]:
    """Log P(evidence), posteriors and derivatives divided by P(evidence)."""
    arrays = compiled_for((network,))
    out = Derivatives(np.zeros(arrays.n_nodes), np.zeros((arrays.n_causes, arrays.n_nodes)))
    posterior = np.zeros(arrays.n_causes)
    value, log_scale, _, status = rows.derive_row(  # type: ignore[attr-defined]
        ratios,
        arrays.own[0],
        arrays.weight[0],
        arrays.parent_start,
        arrays.parents,
        arrays.order,
        MOST_STATES,
        posterior,
        out,
    )
    assert status == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = Derivatives(out.own / value, out.weight / value)
        return float(np.log(value) + log_scale), posterior, scaled


@pytest.mark.parametrize("seed", range(60))
def test_enumeration_agrees(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng, int(rng.integers(1, 10)), int(rng.integers(0, 8)))
    ratios = random_ratios(rng, network)
    total, on = enumerate_causes(network, ratios)
    log_evidence, posterior, _ = derive(tree_rows, network, ratios)
    if total == 0:
        assert log_evidence == -np.inf
        return
    np.testing.assert_allclose(np.exp(log_evidence), total, rtol=1e-9)
    np.testing.assert_allclose(posterior, on / total, rtol=1e-9)


@pytest.mark.parametrize("seed", range(60))
def test_vector_elimination_agrees(seed: int) -> None:
    rng = np.random.default_rng(500 + seed)
    network = random_network(rng, int(rng.integers(8, 15)), int(rng.integers(4, 14)))
    ratios = random_ratios(rng, network)
    log_evidence, posterior, found = derive(tree_rows, network, ratios)
    expected_log, expected_posterior, expected = derive(vector_rows, network, ratios)
    if expected_log == -np.inf:
        assert log_evidence == -np.inf
        return
    assert log_evidence == pytest.approx(expected_log, rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(posterior, expected_posterior, rtol=1e-9)
    np.testing.assert_allclose(found.own, expected.own, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.weight, expected.weight, rtol=1e-9, atol=1e-12)
