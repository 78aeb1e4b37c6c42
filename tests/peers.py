"""The same networks in pyAgrum and pgmpy, for tests to ask."""

from __future__ import annotations

from typing import Any

import numpy as np

from twitchdx.export import relevant_part
from twitchdx.network import FloatArray, NoisyOrNetwork


def seen(network: NoisyOrNetwork, ratios: FloatArray) -> dict[str, str]:
    """Hard evidence in words."""
    return {
        name: "on" if np.isinf(ratio) else "off"
        for name, ratio in zip(network.names, ratios.tolist(), strict=True)
        if ratio != 1
    }


def to_pyagrum(network: NoisyOrNetwork) -> Any:
    """The network as pyAgrum's, of small tables."""
    import pyagrum as gum

    model = network.to_pgmpy()
    net = gum.BayesNet()
    for cpd in model.get_cpds():
        net.add(gum.LabelizedVariable(cpd.variable, "", ["off", "on"]))
    for parent, child in model.edges():
        net.addArc(parent, child)
    for cpd in model.get_cpds():
        table = net.cpt(cpd.variable)
        for state in np.ndindex(*cpd.values.shape):
            table[dict(zip(cpd.variables, state, strict=True))] = float(cpd.values[state])
    return net


def lazy_propagation(network: NoisyOrNetwork, ratios: FloatArray) -> dict[str, float]:
    """Posterior of each cause that the evidence bears on, by pyAgrum."""
    import pyagrum as gum

    part, evidence = relevant_part(network, ratios)
    engine = gum.LazyPropagation(to_pyagrum(part))
    engine.setEvidence(seen(part, evidence))
    engine.makeInference()
    return {cause: float(engine.posterior(cause)[1]) for cause in part.causes}


def variable_elimination(
    network: NoisyOrNetwork, ratios: FloatArray, most: int
) -> dict[str, float]:
    """Posterior of the first few causes that the evidence bears on, by pgmpy."""
    from pgmpy.inference import VariableElimination

    part, evidence = relevant_part(network, ratios)
    engine = VariableElimination(part.to_pgmpy())
    known = seen(part, evidence)
    return {
        cause: float(
            engine.query([cause], evidence=known, show_progress=False).get_value(**{cause: "on"})
        )
        for cause in part.causes[:most]
    }
