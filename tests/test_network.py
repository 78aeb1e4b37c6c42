"""Building a network: what is refused, and how it is said."""

from __future__ import annotations

import numpy as np
import pytest

from twitchdx.errors import EvidenceError, ModelError, UnknownIdError
from twitchdx.network import NoisyOrNetwork, find_cycle, topological_order


def test_number_outside_names_index_and_value() -> None:
    with pytest.raises(ModelError, match=r"strength\[0, 1\] is 1.2"):
        NoisyOrNetwork.from_arrays([0.1], [[0.5, 1.2]], [0.0, 0.0])
    with pytest.raises(ModelError, match=r"prior\[1\] is nan"):
        NoisyOrNetwork.from_arrays([0.1, np.nan], [[0.5], [0.5]], [0.0])


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ModelError, match=r"strength must have shape \(2, 1\)"):
        NoisyOrNetwork.from_arrays([0.1, 0.2], [[0.5, 0.5]], [0.0])
    with pytest.raises(ModelError, match="not an array of numbers"):
        NoisyOrNetwork.from_arrays([0.1], [["high"]], [0.0])


def test_cycle_is_named() -> None:
    links = np.zeros((3, 3))
    links[0, 1] = links[1, 2] = links[2, 0] = 0.1
    with pytest.raises(ModelError, match="a -> b -> c -> a"):
        NoisyOrNetwork.from_arrays(
            [0.1] * 3, np.zeros((3, 1)), [0.1], links, causes=["a", "b", "c"]
        )
    assert find_cycle(np.diag([0.5])) == (0, 0)


def test_names_are_unique() -> None:
    with pytest.raises(ModelError, match="'x' is used for two"):
        NoisyOrNetwork.from_arrays([0.1], [[0.5]], [0.0], causes=["x"], findings=["x"])
    with pytest.raises(ModelError, match="1 cause names for 2 causes"):
        NoisyOrNetwork.from_arrays([0.1, 0.1], [[0.5], [0.5]], [0.0], causes=["x"])


def test_parents_come_first() -> None:
    links = np.zeros((4, 4))
    links[3, 0] = links[0, 2] = 0.5
    assert topological_order(links).tolist() == [1, 3, 0, 2]


def test_evidence_keys() -> None:
    network = NoisyOrNetwork.from_arrays([0.1], [[0.5, 0.2]], [0.0, 0.1])
    assert network.ratios({0: True, "finding_1": False, "cause_0": True}).tolist() == [
        np.inf,
        np.inf,
        0.0,
    ]
    with pytest.raises(UnknownIdError, match="finding_1"):
        network.ratios({"finding1": True})
    with pytest.raises(UnknownIdError):
        network.ratios({2: True})
    with pytest.raises(EvidenceError):
        network.ratios({0: "perhaps"})  # type: ignore[dict-item]
