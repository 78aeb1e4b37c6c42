"""The network as a pgmpy model, and as BIF and XMLBIF files.

A table over many parents grows as 2 ** parents. A node with more than `MOST_PARENTS` parents is
therefore divorced: the "or" of a few parents at a time is a node of its own, in a chain that ends
in the node itself. The original nodes keep their names, and their joint distribution is the same.

pgmpy is imported when a function is called: its import takes seconds.
"""

from __future__ import annotations

from os import PathLike, fspath
from typing import Any

import numpy as np

from twitchdx.network import FloatArray, NoisyOrNetwork, topological_order

MOST_PARENTS = 4
"""No table of an exported network has more parents than this."""

STATES = ["off", "on"]


def to_pgmpy(network: NoisyOrNetwork) -> Any:
    """Return an equivalent ``pgmpy.models.DiscreteBayesianNetwork``.

    Every node has the states "off" and "on", in this order. Auxiliary nodes are named
    ``<node>__or_1``, ``<node>__or_2`` ...

    References
    ----------
    Olesen KG et al. A MUNIN network for the median nerve: a case study on loops. Applied
    Artificial Intelligence 1989;3:385-403 (parent divorcing).
    """
    from pgmpy.factors.discrete import TabularCPD
    from pgmpy.models import DiscreteBayesianNetwork

    model = DiscreteBayesianNetwork()
    model.add_nodes_from(network.names)
    own = np.concatenate([network.prior, network.leak])
    weight = np.hstack([network.links, network.strength])
    tables = []
    for index, name in enumerate(network.names):
        for node, leak, parents, strengths in _divorce(network, index, own, weight):
            if node != name:
                model.add_node(node)
            off = _off_column(leak, strengths)
            model.add_edges_from((parent, node) for parent in parents)
            tables.append(
                TabularCPD(
                    node,
                    2,
                    np.vstack([off, 1 - off]),
                    evidence=parents or None,
                    evidence_card=[2] * len(parents) or None,
                    state_names=dict.fromkeys((node, *parents), STATES),
                )
            )
    model.add_cpds(*tables)
    return model


def relevant_part(network: NoisyOrNetwork, ratios: FloatArray) -> tuple[NoisyOrNetwork, FloatArray]:
    """Return the part of a network that one row of evidence bears on, and the evidence on it.

    Causes without observed descendants are left out, and findings that are unknown. A finding
    observed absent says of each of its causes, apart from the others, that it did not switch the
    finding on; so it becomes one finding ``<finding>__by_<cause>`` for each, observed absent.
    P(evidence) and the posteriors of the causes that remain are the same. For other programs,
    whose tables know nothing of noisy-or, this is much less to do.

    Parameters
    ----------
    network : NoisyOrNetwork
    ratios : ndarray, shape (C + F,)
        See `twitchdx.inference.infer`.

    Returns
    -------
    NoisyOrNetwork, ndarray
    """
    n_causes = len(network.causes)
    seen = ratios[n_causes:] != 1
    kept = (ratios[:n_causes] != 1) | (network.strength[:, seen] > 0).any(axis=1)
    for cause in topological_order(network.links)[::-1]:
        if kept[cause]:
            kept |= network.links[:, cause] > 0
    causes = np.flatnonzero(kept)
    names: list[str] = []
    leaks: list[float] = []
    columns: list[FloatArray] = []
    findings: list[float] = []
    for finding in np.flatnonzero(seen):
        name, ratio = network.findings[finding], float(ratios[n_causes + finding])
        column = network.strength[causes, finding]
        parents = np.flatnonzero(column)
        leak = float(network.leak[finding])
        if ratio != 0 or len(parents) < 2:
            names.append(name)
            leaks.append(leak)
            columns.append(column)
            findings.append(ratio)
            continue
        for parent in parents:
            names.append(f"{name}__by_{network.causes[causes[parent]]}")
            leaks.append(leak)
            columns.append(np.where(np.arange(len(causes)) == parent, column, 0.0))
            findings.append(ratio)
            leak = 0.0
    part = NoisyOrNetwork.from_arrays(
        network.prior[causes],
        np.array(columns).T.reshape(len(causes), len(names)),
        leaks,
        network.links[np.ix_(causes, causes)],
        causes=[network.causes[cause] for cause in causes],
        findings=names,
    )
    return part, np.concatenate([ratios[causes], findings])


def write_bif(network: NoisyOrNetwork, path: str | PathLike[str]) -> None:
    """Write the equivalent network of small tables as a BIF file, by pgmpy's writer."""
    from pgmpy.readwrite import BIFWriter

    BIFWriter(to_pgmpy(network), round_values=None).write(fspath(path))


def write_xmlbif(network: NoisyOrNetwork, path: str | PathLike[str]) -> None:
    """Write the equivalent network of small tables as an XMLBIF file, by pgmpy's writer."""
    from pgmpy.readwrite import XMLBIFWriter

    XMLBIFWriter(to_pgmpy(network)).write(fspath(path))


def _divorce(
    network: NoisyOrNetwork, index: int, own: FloatArray, weight: FloatArray
) -> list[tuple[str, float, list[str], list[float]]]:
    """Tables that together are one noisy-OR node: (name, leak, parents, strengths) of each."""
    parents = np.flatnonzero(weight[:, index])
    names = [network.causes[parent] for parent in parents]
    strengths = weight[parents, index].tolist()
    tables: list[tuple[str, float, list[str], list[float]]] = []
    name = network.names[index]
    before: list[str] = []
    while len(before) + len(names) > MOST_PARENTS:
        taken = MOST_PARENTS - len(before)
        part = f"{name}__or_{len(tables) + 1}"
        tables.append(
            (part, 0.0, [*before, *names[:taken]], [1.0] * len(before) + strengths[:taken])
        )
        before, names, strengths = [part], names[taken:], strengths[taken:]
    tables.append((name, float(own[index]), [*before, *names], [1.0] * len(before) + strengths))
    return tables


def _off_column(leak: float, strengths: list[float]) -> FloatArray:
    """P(off) for every combination of the parents, the last parent changing fastest."""
    off = np.array([1.0 - leak])
    for strength in strengths:
        off = np.outer(off, [1.0, 1.0 - strength]).ravel()
    return off
