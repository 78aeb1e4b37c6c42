"""Speed of exact inference on the shipped network, beside pyAgrum and pgmpy.

    python validation/benchmark.py [--rows 2000] [--agrum 20] [--pgmpy 2]

Vignettes are drawn from the network of one stratum: 8 to 20 findings observed, up to 12 of them
present, each with at least one cause on. Both peers get the same network, divorced so that no
table has more than a few parents; all posteriors of a row are asked of each.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import twitchdx
from twitchdx.inference import infer_batch
from twitchdx.network import FloatArray, NoisyOrNetwork, topological_order


def simulate(network: NoisyOrNetwork, rows: int, seed: int) -> FloatArray:
    """Likelihood ratios of simulated vignettes, shape (rows, C + F)."""
    rng = np.random.default_rng(seed)
    n_causes, n_findings = network.strength.shape
    order = topological_order(network.links)
    ratios = np.ones((rows, n_causes + n_findings))
    for row in ratios:
        on = np.zeros(n_causes)
        on[rng.integers(n_causes)] = 1
        for cause in order:
            off = (1 - network.prior[cause]) * np.prod((1 - network.links[:, cause]) ** on)
            on[cause] = max(on[cause], rng.random() > off)
        off = (1 - network.leak) * np.prod((1 - network.strength) ** on[:, None], axis=0)
        present = rng.random(n_findings) > off
        asked = rng.permutation(n_findings)[: rng.integers(8, 21)]
        # a person comes because of something: half of what is asked is what they have
        shown = rng.permutation(np.flatnonzero(present))[: min(12, len(asked) // 2)]
        row[n_causes + asked] = np.where(present[asked], np.inf, 0.0)
        row[n_causes + shown] = np.inf
        extra = np.flatnonzero(np.isinf(row))[12:]
        row[extra] = 1.0
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--agrum", type=int, default=20, help="rows given to pyAgrum")
    parser.add_argument("--pgmpy", type=int, default=2, help="rows given to pgmpy")
    options = parser.parse_args()
    stratum = max(twitchdx.Engine.default().model.strata, key=lambda stratum: stratum.share)
    network = stratum.network
    print(
        f"{stratum.label}: {len(network.causes)} causes, {len(network.findings)} findings, "
        f"{np.count_nonzero(network.links)} links, "
        f"{np.count_nonzero(network.strength)} strengths"
    )
    rows = simulate(network, options.rows, seed=1)
    weights = np.ones((len(rows), 1))
    infer_batch((network,), weights[:1], rows[:1], threads=1)  # compile, or load from the cache
    start = time.perf_counter()
    result = infer_batch((network,), weights, rows, threads=1)
    mean = (time.perf_counter() - start) / len(rows)
    each = np.empty(len(rows))
    for index in range(len(rows)):
        start = time.perf_counter()
        infer_batch((network,), weights[:1], rows[index : index + 1], threads=1)
        each[index] = time.perf_counter() - start
    print(f"present: median {np.median(np.isinf(rows).sum(axis=1)):.0f}; width: median "
          f"{np.median(result.width):.0f}, greatest {result.width.max()}; "
          f"exact: {np.mean(result.method == 'exact'):.2%}")
    print(f"twitchdx: {1 / mean:,.0f} vignettes per second on one core; per row "
          f"median {np.median(each) * 1e6:,.0f}, mean {mean * 1e6:,.0f} microseconds")
    for name, count, peer in (
        ("pyAgrum", options.agrum, agrum_posteriors),
        ("pgmpy", options.pgmpy, pgmpy_posteriors),
    ):
        chosen = np.flatnonzero(result.method == "exact")[:count]
        if not len(chosen):
            continue
        try:
            seconds, posteriors = peer(network, rows[chosen])
        except Exception as error:
            print(f"{name}, first {len(chosen)} rows: gave up ({error})")
            continue
        gap = np.abs(posteriors - result.posterior[chosen]).max()
        print(f"{name}, first {len(chosen)} rows: median {np.median(seconds) * 1e3:,.1f} ms; "
              f"{np.median(seconds / each[chosen]):,.0f} times the time of twitchdx (median); "
              f"largest posterior difference {gap:.1e}")


def named(network: NoisyOrNetwork, row: FloatArray) -> dict[str, str]:
    return {
        name: "on" if np.isinf(ratio) else "off"
        for name, ratio in zip(network.names, row, strict=True)
        if ratio != 1
    }


def agrum_posteriors(network: NoisyOrNetwork, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Seconds and posteriors of each row by pyAgrum's LazyPropagation."""
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
    seconds, posteriors = [], []
    for row in rows:
        start = time.perf_counter()
        engine = gum.LazyPropagation(net)
        engine.setEvidence(named(network, row))
        engine.makeInference()
        posteriors.append([engine.posterior(cause)[1] for cause in network.causes])
        seconds.append(time.perf_counter() - start)
    return np.array(seconds), np.array(posteriors)


def pgmpy_posteriors(network: NoisyOrNetwork, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Seconds and posteriors of each row by pgmpy's VariableElimination."""
    from pgmpy.inference import VariableElimination

    model = network.to_pgmpy()
    seconds, posteriors = [], []
    for row in rows:
        start = time.perf_counter()
        engine = VariableElimination(model)
        evidence = named(network, row)
        posteriors.append(
            [
                engine.query([cause], evidence=evidence, show_progress=False).get_value(
                    **{cause: "on"}
                )
                for cause in network.causes
            ]
        )
        seconds.append(time.perf_counter() - start)
    return np.array(seconds), np.array(posteriors)


if __name__ == "__main__":
    main()
