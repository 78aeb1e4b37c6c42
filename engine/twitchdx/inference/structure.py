"""The arrays that the kernels run on: one structure, the numbers of one or more strata."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from twitchdx.errors import ModelError
from twitchdx.network import NoisyOrNetwork, topological_order

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Compiled:
    """Networks over the same nodes, stacked: S strata, C causes, N = C + F nodes.

    Attributes
    ----------
    own : ndarray, shape (S, N)
        Prior of each cause, leak of each finding.
    weight : ndarray, shape (S, C, N)
        Strength of each cause on each node.
    parent_start, parents : ndarray
        ``parents[parent_start[n]:parent_start[n + 1]]`` are the causes that point to node n in
        at least one stratum.
    order : ndarray, shape (C,)
        The causes, parents before children.
    """

    own: FloatArray
    weight: FloatArray
    parent_start: IntArray
    parents: IntArray
    order: IntArray

    @property
    def n_causes(self) -> int:
        return self.weight.shape[1]

    @property
    def n_nodes(self) -> int:
        return self.weight.shape[2]


def compile_networks(networks: tuple[NoisyOrNetwork, ...]) -> Compiled:
    """Stack the strata of a model.

    Raises
    ------
    ModelError
        No network at all, networks over different nodes, or links that form a cycle when the
        arrows of all strata are put together.
    """
    if not networks:
        raise ModelError("a model needs at least one network")
    first = networks[0]
    for other in networks[1:]:
        if other.causes != first.causes or other.findings != first.findings:
            raise ModelError("the strata of a model must have the same causes and findings")
    own = np.stack([np.concatenate([net.prior, net.leak]) for net in networks])
    weight = np.stack([np.hstack([net.links, net.strength]) for net in networks])
    arrows: NDArray[np.bool_] = np.any(weight > 0, axis=0)
    return Compiled(np.ascontiguousarray(own), np.ascontiguousarray(weight), *index_arrows(arrows))


def index_arrows(arrows: NDArray[np.bool_]) -> tuple[IntArray, IntArray, IntArray]:
    """List the parents of each node, and the causes in an order with parents first.

    Parameters
    ----------
    arrows : ndarray of bool, shape (C, N)
        Whether each cause points to each node.

    Returns
    -------
    parent_start, parents, order
        See `Compiled`.
    """
    start = np.concatenate([[0], np.cumsum(arrows.sum(axis=0))]).astype(np.int64)
    parents = np.nonzero(arrows.T)[1].astype(np.int64)
    order = topological_order(arrows[:, : len(arrows)].astype(np.float64))
    return start, parents, order


@lru_cache(maxsize=16)
def _stacked(networks: tuple[NoisyOrNetwork, ...]) -> Compiled:
    return compile_networks(networks)


def compiled_for(networks: tuple[NoisyOrNetwork, ...]) -> Compiled:
    """Return the stacked arrays of these networks, built once for the same objects."""
    return networks[0].compiled if len(networks) == 1 else _stacked(networks)
