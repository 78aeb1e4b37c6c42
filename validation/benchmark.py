"""Speed of exact inference on the shipped network, beside pyAgrum and pgmpy.

    python validation/benchmark.py [--rows 2000] [--agrum 30] [--pgmpy 6] [--seconds 45]

Vignettes are drawn from the network of the largest stratum: 8 to 20 findings observed, up to 12
of them present, each with at least one cause on. The peers get rows of the same file, in the same
run, drawn by lot. A noisy-or of ten parents is a table of a thousand entries to them, so each
row's network is first cut to what the evidence bears on, what is absent is split over its causes,
and nodes of many parents are divorced (`twitchdx.export`); that is not counted as their time.
twitchdx answers for all causes but the syndromes, which it does not report. pyAgrum answers for all
causes of the row; pgmpy, which answers one at a time, is asked for three,
and its time is scaled to all. A row that a peer does not answer within the time or memory allowed
is counted as such, and left out of the ratios.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import resource
import time
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

import twitchdx
from twitchdx.export import relevant_part
from twitchdx.inference import infer_batch
from twitchdx.network import FloatArray, NoisyOrNetwork, topological_order

ASKED_OF_PGMPY = 3
MEMORY = 3 * 2**30  # bytes that a peer may use

#: seconds for all causes of the row, and the posteriors asked for
Answer = tuple[float, dict[str, float]]
Peer = Callable[[NoisyOrNetwork, FloatArray], Answer]


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
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--agrum", type=int, default=30, help="rows given to pyAgrum")
    parser.add_argument("--pgmpy", type=int, default=6, help="rows given to pgmpy")
    parser.add_argument("--seconds", type=float, default=45, help="time of a peer, all rows")
    options = parser.parse_args()
    engine = twitchdx.Engine.default()
    stratum = max(engine.model.strata, key=lambda stratum: stratum.share)
    network, wanted = stratum.network, engine.reported
    print(
        f"{stratum.label}: {len(network.causes)} causes, {len(network.findings)} findings, "
        f"{np.count_nonzero(network.links)} links, "
        f"{np.count_nonzero(network.strength)} strengths"
    )
    rows = simulate(network, options.rows, seed=1)
    weights = np.ones((len(rows), 1))
    infer_batch(
        (network,), weights[:1], rows[:1], threads=1, wanted=wanted
    )  # compile, or load from the cache
    start = time.perf_counter()
    result = infer_batch((network,), weights, rows, threads=1, exact_only=True, wanted=wanted)
    mean = (time.perf_counter() - start) / len(rows)
    each = np.empty(len(rows))
    for index in range(len(rows)):
        start = time.perf_counter()
        one = rows[index : index + 1]
        infer_batch((network,), weights[:1], one, threads=1, exact_only=True, wanted=wanted)
        each[index] = time.perf_counter() - start
    present = np.isinf(rows).sum(axis=1)
    print(
        f"observed: median {np.median((rows != 1).sum(axis=1)):.0f}; present: median "
        f"{np.median(present):.0f}, greatest {present.max()}; width: median "
        f"{np.median(result.width):.0f}, greatest {result.width.max()}; "
        f"exact: {np.mean(result.method == 'exact'):.2%}"
    )
    print(
        f"twitchdx: {1 / mean:,.0f} vignettes per second on one core; a row takes "
        f"{np.median(each) * 1e6:,.0f} microseconds (median), {mean * 1e6:,.0f} (mean)",
        flush=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        for module in ("pyagrum", "pgmpy.models", "pgmpy.inference"):
            importlib.import_module(module)  # so that no peer's time is spent on it
    lot = np.random.default_rng(2).permutation(np.flatnonzero(result.method == "exact"))
    peers: tuple[tuple[str, int, Peer], ...] = (
        ("pyAgrum LazyPropagation", options.agrum, ask_pyagrum),
        ("pgmpy VariableElimination", options.pgmpy, ask_pgmpy),
    )
    for name, count, peer in peers:
        compare(name, peer, network, rows, result.posterior, each, lot[:count], options.seconds)


def compare(
    name: str,
    peer: Peer,
    network: NoisyOrNetwork,
    rows: FloatArray,
    posterior: FloatArray,
    each: FloatArray,
    chosen: np.ndarray[Any, np.dtype[np.int64]],
    seconds: float,
) -> None:
    """Ask a peer for the chosen rows, one process a row, and print how it compares."""
    patience = seconds / max(1, len(chosen)) * 3
    deadline = time.perf_counter() + seconds
    ratios, times, gap, failed, left = [], [], 0.0, [], 0
    for row in chosen.tolist():
        if time.perf_counter() > deadline:
            left += 1
            continue
        answer = bounded(peer, network, rows[row], patience)
        if isinstance(answer, str):
            failed.append(f"{answer} at {np.isinf(rows[row]).sum()} present")
            continue
        times.append(answer[0])
        ratios.append(answer[0] / each[row])
        for cause, value in answer[1].items():
            gap = np.fmax(gap, abs(value - posterior[row, network.causes.index(cause)]))
    print(f"{name}: {len(times)} of {len(chosen)} rows answered, {left} not tried for time", end="")
    print(f", {len(failed)} failed ({'; '.join(failed)})" if failed else "")
    if times:
        print(
            f"  median {np.median(times) * 1e3:,.1f} ms; {np.median(ratios):,.0f} times the time "
            f"of twitchdx (median of the rows answered); largest posterior difference {gap:.1e}",
            flush=True,
        )


def bounded(
    peer: Peer, network: NoisyOrNetwork, ratios: FloatArray, seconds: float
) -> Answer | str:
    """Ask in a process of its own, of limited memory and time; or say what went wrong."""
    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(
        target=_send, args=(there, peer, network, ratios)
    )
    process.start()
    there.close()
    try:
        if not here.poll(seconds):
            process.terminate()
            return f"no answer in {seconds:.0f} s"
        return here.recv()
    except EOFError:
        return "crash"
    finally:
        process.join()


def _send(there: Connection, peer: Peer, network: NoisyOrNetwork, ratios: FloatArray) -> None:
    limit = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, limit[1]))
    try:
        there.send(peer(network, ratios))
    except Exception as error:
        there.send(type(error).__name__)


def named(network: NoisyOrNetwork, row: FloatArray) -> dict[str, str]:
    """Evidence in words."""
    return {
        name: "on" if np.isinf(ratio) else "off"
        for name, ratio in zip(network.names, row.tolist(), strict=True)
        if ratio != 1
    }


def ask_pyagrum(network: NoisyOrNetwork, row: FloatArray) -> Answer:
    """All posteriors by LazyPropagation."""
    import pyagrum as gum

    part, evidence = relevant_part(network, row)
    model = part.to_pgmpy()
    net = gum.BayesNet()
    for cpd in model.get_cpds():
        net.add(gum.LabelizedVariable(cpd.variable, "", ["off", "on"]))
    for parent, child in model.edges():
        net.addArc(parent, child)
    for cpd in model.get_cpds():
        table = net.cpt(cpd.variable)
        for state in np.ndindex(*cpd.values.shape):
            table[dict(zip(cpd.variables, state, strict=True))] = float(cpd.values[state])
    known = named(part, evidence)
    start = time.perf_counter()
    engine = gum.LazyPropagation(net)
    engine.setNumberOfThreads(1)
    engine.setEvidence(known)
    engine.makeInference()
    found = {cause: float(engine.posterior(cause)[1]) for cause in part.causes}
    return time.perf_counter() - start, found


def ask_pgmpy(network: NoisyOrNetwork, row: FloatArray) -> Answer:
    """The posteriors of a few causes by VariableElimination; the time scaled to all causes."""
    from pgmpy.inference import VariableElimination

    part, evidence = relevant_part(network, row)
    model = part.to_pgmpy()
    known = named(part, evidence)
    asked = part.causes[:ASKED_OF_PGMPY]
    start = time.perf_counter()
    engine = VariableElimination(model)
    found = {
        cause: float(
            engine.query([cause], evidence=known, show_progress=False).get_value(**{cause: "on"})
        )
        for cause in asked
    }
    return (time.perf_counter() - start) * len(part.causes) / len(asked), found


if __name__ == "__main__":
    main()
