"""The exported networks are the same distribution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from twitchdx.export import MOST_PARENTS
from twitchdx.network import NoisyOrNetwork

EVIDENCE = {0: True, 2: False}


@pytest.fixture
def network() -> NoisyOrNetwork:
    rng = np.random.default_rng(1)
    links = np.triu(rng.random((9, 9)) * (rng.random((9, 9)) < 0.2), 1)
    return NoisyOrNetwork.from_arrays(
        rng.uniform(0.01, 0.3, 9), rng.random((9, 3)), [0.0, 0.1, 0.2], links
    )


def posteriors(model: object, network: NoisyOrNetwork) -> np.ndarray:
    from pgmpy.inference import VariableElimination

    seen = {f"finding_{index}": "on" if on else "off" for index, on in EVIDENCE.items()}
    engine = VariableElimination(model)
    return np.array(
        [
            engine.query([cause], evidence=seen, show_progress=False).get_value(**{cause: "on"})
            for cause in network.causes
        ]
    )


def test_pgmpy_gives_the_same_posteriors(network: NoisyOrNetwork) -> None:
    model = network.to_pgmpy()
    assert model.check_model()
    assert max(len(model.get_parents(node)) for node in model.nodes()) <= MOST_PARENTS
    np.testing.assert_allclose(posteriors(model, network), network.posterior(EVIDENCE), rtol=1e-9)


@pytest.mark.parametrize("kind", ["bif", "xmlbif"])
def test_files_round_trip(network: NoisyOrNetwork, tmp_path: Path, kind: str) -> None:
    from pgmpy.readwrite import BIFReader, XMLBIFReader

    path = tmp_path / f"network.{kind}"
    if kind == "bif":
        network.write_bif(path)
        model = BIFReader(str(path)).get_model()
    else:
        network.write_xmlbif(path)
        model = XMLBIFReader(str(path)).get_model()
    np.testing.assert_allclose(posteriors(model, network), network.posterior(EVIDENCE), rtol=1e-6)
