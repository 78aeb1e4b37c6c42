"""Measure batch scoring on this machine: rates, memory, formats, cores; and write SCALE.md.

    python validation/benchmark_batch.py                     # a minute or so
    python validation/benchmark_batch.py --rows 1000000 --write

Rows are simulated people of a neurology clinic, of whom a tenth of all findings is known, three or
more of them present. Every run of
a file is a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from twitchdx import Engine
from twitchdx.batch import RunOptions, score_file
from twitchdx.batch import scorer as scorer_module
from twitchdx.batch.cells import table_cells
from twitchdx.batch.encode import Encoder
from twitchdx.batch.layout import plan_layout
from twitchdx.batch.process import Piece, process
from twitchdx.batch.records import Position
from twitchdx.batch.run import cores
from twitchdx.batch.scorer import Scorer
from twitchdx.batch.simulate import BLOCK_ROWS, SimulateOptions, simulate, simulate_file
from twitchdx.inference import infer_batch

POPULATION = "neurology_clinic"
SEED = 20
ASKING_RATE = 0.1
PRESENT_AT_LEAST = 3
MEGABYTE = 1024
SECONDS_PER_HOUR = 3600
PAGE = Path(__file__).parent / "SCALE.md"


def main() -> None:
    """Run all measurements and print them; with --write, put them on the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000, help="rows of the longest file")
    parser.add_argument("--kernel-rows", type=int, default=4_000)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child)
        return
    with tempfile.TemporaryDirectory() as folder:
        text = page(measure(Path(folder), arguments.rows, arguments.kernel_rows))
    print(text)
    if arguments.write:
        PAGE.write_text(text)


def child(source: str, output: str, workers: str) -> None:
    """Score one file; print seconds and peak memory as JSON."""
    engine = Engine.default(POPULATION)
    started = time.perf_counter()
    summary = score_file(engine, source, output, run=RunOptions(workers=int(workers)))
    print(
        json.dumps(
            {
                "rows": summary.counts.vignettes,
                "scored": summary.counts.scored,
                "sampled": summary.counts.sampled,
                "seconds": time.perf_counter() - started,
                "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE,
            }
        )
    )


def measure(folder: Path, rows: int, kernel_rows: int) -> dict[str, Any]:
    """Return every figure of the page."""
    engine = Engine.default(POPULATION)
    options = SimulateOptions(asking_rate=ASKING_RATE, present_at_least=PRESENT_AT_LEAST)
    started = time.perf_counter()
    simulate_file(engine, 3 * BLOCK_ROWS, SEED, str(folder / "plain.csv"))
    simulated = 3 * BLOCK_ROWS / (time.perf_counter() - started)
    simulate_file(engine, rows, SEED, str(folder / "long.csv"), options)
    short = max(1, rows // 2)
    simulate_file(engine, short, SEED, str(folder / "short.csv"), options)
    simulate_file(engine, short, SEED, str(folder / "short.parquet"), options)
    runs = {
        "short, CSV to CSV, 1 worker": run(folder, "short.csv", "a.csv", 1),
        "short, CSV to CSV": run(folder, "short.csv", "b.csv", cores()),
        "short, CSV to Parquet": run(folder, "short.csv", "b.parquet", cores()),
        "short, Parquet to Parquet": run(folder, "short.parquet", "c.parquet", cores()),
        "long, CSV to CSV": run(folder, "long.csv", "d.csv", cores()),
    }
    same = (folder / "a.csv").read_bytes() == (folder / "b.csv").read_bytes()
    return {
        "simulated": simulated,
        "bytes_in": (folder / "long.csv").stat().st_size / rows,
        "bytes_out": (folder / "d.csv").stat().st_size / rows,
        "runs": runs,
        "same": same,
        **kernel(engine, kernel_rows, options),
    }


def run(folder: Path, source: str, output: str, workers: int) -> dict[str, float]:
    """Score a file in a process of its own."""
    arguments = [str(folder / source), str(folder / output), str(workers)]
    done = subprocess.run(
        [sys.executable, __file__, "--child", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def kernel(engine: Engine, rows: int, options: SimulateOptions) -> dict[str, Any]:
    """Measure inference alone, all else alone, and naive Bayes, on the same rows in memory."""
    table = next(simulate(engine, rows, SEED, options))
    layout = plan_layout("simulated", tuple(table.column_names), engine.reader)
    scorer = Scorer(engine, layout)
    evidence = Encoder(engine, layout).encode(table_cells(table, layout.wanted, 1))
    present = np.isposinf(evidence.ratios)
    observed = evidence.ratios != 1
    infer_batch(engine.networks, evidence.weights[:64], evidence.ratios[:64])
    seconds = {}
    for threads in (1, cores()):
        started = time.perf_counter()
        answer = infer_batch(engine.networks, evidence.weights, evidence.ratios, threads=threads)
        seconds[threads] = time.perf_counter() - started
    one_by_one = []
    for row in range(min(len(evidence.ratios), 1000)):
        started = time.perf_counter()
        infer_batch(
            engine.networks,
            evidence.weights[row : row + 1],
            evidence.ratios[row : row + 1],
            threads=1,
        )
        one_by_one.append(time.perf_counter() - started)
    around = everything_else(scorer, table, answer)
    count = len(evidence.ratios)
    many = np.tile(evidence.ratios, (-(-20_000 // count), 1))
    return {
        "kernel_rows": count,
        "present": np.percentile(present.sum(axis=1), (50, 90, 100)).astype(int).tolist(),
        "observed": int(np.median(observed.sum(axis=1))),
        "width": np.percentile(answer.width, (50, 90, 99, 100)).astype(int).tolist(),
        "sampled": int((answer.method != "exact").sum()),
        "kernel_1": count / seconds[1],
        "kernel_all": count / seconds[cores()],
        "row_microseconds": (np.percentile(one_by_one, (50, 90, 99)) * 1e6).round().tolist(),
        "around_microseconds": around / count * 1e6,
        "naive_bayes": naive_bayes(engine, many),
        "copy": copying(many),
    }


def everything_else(scorer: Scorer, table: Any, answer: Any) -> float:
    """Return the seconds that a piece takes with inference left out."""
    piece = Piece(0, table, "", 1, Position())
    real = scorer_module.infer_distinct
    scorer_module.infer_distinct = lambda *_: answer
    best = np.inf
    try:
        for _ in range(5):
            started = time.perf_counter()
            process(scorer, piece, text=True)
            best = min(best, time.perf_counter() - started)
    finally:
        scorer_module.infer_distinct = real
    return best


def naive_bayes(engine: Engine, ratios: np.ndarray[Any, Any]) -> float:
    """Return rows a second of a scorer that takes causes one by one and findings as independent.

    It is two matrix products, as fast as scoring can be, and the limit of memory.
    """
    network = engine.networks[0]
    on = 1 - (1 - network.leak) * (1 - np.clip(network.strength, 0, 1 - 1e-9))
    off = np.maximum(network.leak, 1e-9)
    present_weight = np.log(np.maximum(on, 1e-9) / off).T.copy()
    absent_weight = np.log(np.maximum(1 - on, 1e-9) / (1 - off)).T.copy()
    prior = np.log(np.maximum(network.prior, 1e-12))
    findings = ratios[:, len(network.causes) :]
    present = np.isposinf(findings).astype(np.float64)
    absent = (findings == 0).astype(np.float64)
    best = np.inf
    for _ in range(5):
        started = time.perf_counter()
        odds = prior + present @ present_weight + absent @ absent_weight
        1 / (1 + np.exp(-odds))
        best = min(best, time.perf_counter() - started)
    return len(ratios) / best


def copying(ratios: np.ndarray[Any, Any]) -> float:
    """Return rows a second of merely copying the evidence in memory."""
    best = np.inf
    for _ in range(5):
        started = time.perf_counter()
        ratios.copy()
        best = min(best, time.perf_counter() - started)
    return len(ratios) / best


def page(found: dict[str, Any]) -> str:
    """Return the page, in Markdown."""
    rows = "\n".join(
        f"| {name} | {r['rows']:,} | {r['rows'] / r['seconds']:,.0f} | {r['megabytes']:.0f} | "
        f"{r['sampled']:,} |"
        for name, r in found["runs"].items()
    )
    long = found["runs"]["long, CSV to CSV"]
    per_core = long["rows"] / long["seconds"] / cores()
    cost = "\n".join(
        f"| {count:,} | {count / per_core / SECONDS_PER_HOUR:,.1f} | "
        f"{count / per_core / SECONDS_PER_HOUR / 64:,.2f} | "
        f"{count * found['bytes_in'] / 1e9:,.0f} | {count * found['bytes_out'] / 1e9:,.0f} |"
        for count in (1_000_000, 100_000_000, 1_000_000_000)
    )
    p50, p90, p99 = found["row_microseconds"]
    share = long["rows"] / long["seconds"] / found["kernel_all"]
    return f"""# What batch scoring costs

Measured by `python validation/benchmark_batch.py --write` on {cores()} cores ({platform.machine()},
Python {platform.python_version()}); load average {os.getloadavg()[0]:.1f} (with other work beside
it, every rate is that much lower).
Rows: simulated people of `{POPULATION}`, each finding known with probability
{ASKING_RATE}, kept if {PRESENT_AT_LEAST} or more known ones are present (seed {SEED}):
{found["observed"]} observed at the median, present
{found["present"][0]} at the median, {found["present"][1]} at the 90th percentile,
{found["present"][2]} at most.

## Files

| Run | Rows | Rows a second | Peak memory, MB | Sampled |
|---|---|---|---|---|
{rows}

Start-up (Python, tables, solving the network) is left out. The output of one worker and of
{cores()} was {"the same to the byte" if found["same"] else "NOT THE SAME"}. A CSV row took
{found["bytes_in"]:,.0f} bytes in and {found["bytes_out"]:,.0f} out. End to end, the long file ran
at {share:.0%} of the rate of inference alone on as many cores. Simulating wrote
{found["simulated"]:,.0f} rows a second on one core.

## Inference alone ({found["kernel_rows"]:,} rows in memory)

| | |
|---|---|
| One core | {found["kernel_1"]:,.0f} rows a second |
| {cores()} cores | {found["kernel_all"]:,.0f} rows a second |
| A row by itself (call included) | {p50:,.0f} / {p90:,.0f} / {p99:,.0f} microseconds at the \
50th / 90th / 99th percentile |
| Width | {" / ".join(map(str, found["width"]))} at the 50th / 90th / 99th / 100th percentile |
| Too wide, sampled | {found["sampled"]:,} |
| All the rest (reading cells, evidence, text out) | {found["around_microseconds"]:,.0f} \
microseconds a row |
| Naive Bayes, two matrix products in numpy | {found["naive_bayes"]:,.0f} rows a second |
| Copying the evidence in memory | {found["copy"]:,.0f} rows a second |

## A hundred million, and a billion

At the long file's rate for each core, if the other cores of a cluster are like these:

| Vignettes | Core hours | Hours on 64 cores | GB in (CSV) | GB out (CSV) |
|---|---|---|---|---|
{cost}

With `--cluster`, one process reads, checks ids, writes and hands out chunks; its part is a few
microseconds a row. To go further, score the parts of a file in runs of their own, or use
`twitchdx.batch.score_dask`, which reads and writes on the workers. The ids seen take 17 to 34 MB
of memory for a million vignettes; `--ids-unchecked` spares it.
"""


if __name__ == "__main__":
    main()
