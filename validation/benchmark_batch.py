"""Measure batch scoring on this machine: rates, memory, formats, cores; and write SCALE.md.

    python validation/benchmark_batch.py                     # some minutes
    python validation/benchmark_batch.py --rows 1000000 --write

Two kinds of rows, both simulated people of a neurology clinic: *short* ones, of whom a tenth of
all findings is known and three or more of them are present, and *full* ones, of whom a quarter is
known and six or more are present. Every run of a file is a process of its own, so that its peak
memory is its own. A run that takes longer than `--limit` is killed, and its figures are those of
the rows that it had put on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from twitchdx import Engine
from twitchdx.batch import RunOptions, ScoreOptions, score_file
from twitchdx.batch import scorer as scorer_module
from twitchdx.batch.cells import Cells, table_cells
from twitchdx.batch.encode import Encoder, Evidence
from twitchdx.batch.layout import plan_layout
from twitchdx.batch.process import process
from twitchdx.batch.run import CHUNK_ROWS, cores, pieces_of
from twitchdx.batch.scorer import Scorer
from twitchdx.batch.simulate import BLOCK_ROWS, SimulateOptions, simulate, simulate_file
from twitchdx.batch.source import open_source
from twitchdx.inference import BatchInference, infer_batch

#: files of full rows are this much shorter, as each row takes longer
SHORTER = {"short": 1, "full": 10}
POPULATION = "neurology_clinic"
SEED = 20
KINDS = {
    "short": SimulateOptions(asking_rate=0.1, present_at_least=3),
    "full": SimulateOptions(asking_rate=0.18, present_at_least=7),
}
MEGABYTE = 1024
SECONDS_PER_HOUR = 3600
#: rows that the kernel gets at a time, so that its limit is kept
BLOCK = 100
NAIVE_ROWS = 20_000
HUGE_PEOPLE = 2_000
PAGE = Path(__file__).parent / "SCALE.md"

Found = dict[str, Any]


def main() -> None:
    """Run all measurements and print them; with --write, put them on the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000, help="rows of the longest file")
    parser.add_argument("--kernel-rows", type=int, default=4_000)
    parser.add_argument("--ranked-rows", type=int, default=400)
    parser.add_argument("--gigabytes", type=float, default=0.0, help="size of one huge file, too")
    parser.add_argument("--limit", type=int, default=900, help="seconds for each run of a file")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child)
        return
    with tempfile.TemporaryDirectory() as folder:
        found = measure(
            Path(folder),
            arguments.rows,
            arguments.kernel_rows,
            arguments.ranked_rows,
            arguments.limit,
            arguments.gigabytes,
        )
    text = page(found)
    print(text)
    if arguments.write:
        PAGE.write_text(text)


def child(source: str, output: str, workers: str) -> None:
    """Score one file, once the memory taken before the first row is printed."""
    engine = Engine.default(POPULATION)
    print(peak_memory(os.getpid()), flush=True)
    options = RunOptions(workers=int(workers), ignore_unknown_columns=True)
    score_file(engine, source, output, run=options)


def measure(
    folder: Path, rows: int, kernel_rows: int, ranked_rows: int, limit: int, gigabytes: float
) -> Found:
    """Return every figure of the page."""
    engine = Engine.default(POPULATION)
    started = time.perf_counter()
    simulate_file(engine, 3 * BLOCK_ROWS, SEED, str(folder / "plain.csv"))
    simulated = 3 * BLOCK_ROWS / (time.perf_counter() - started)
    run(folder / "plain.csv", folder / "plain.out.csv", 1, limit)  # so that all is compiled
    most = {kind: max(10, rows // SHORTER[kind]) for kind in KINDS}
    runs: dict[str, Found] = {}
    for kind, options in KINDS.items():
        rows, few = most[kind], most[kind] // 10
        for count in (few, rows):
            simulate_file(engine, count, SEED, str(folder / f"{kind}{count}.csv"), options)
        simulate_file(engine, few, SEED, str(folder / f"{kind}.parquet"), options)
        for source, output, workers in (
            (f"{kind}{few}.csv", "one.csv", 1),
            (f"{kind}{few}.csv", "all.csv", cores()),
            (f"{kind}{few}.csv", "out.parquet", cores()),
            (f"{kind}.parquet", "again.parquet", cores()),
            (f"{kind}{rows}.csv", "long.csv", cores()),
        ):
            formats = f"{_format(source)} to {_format(output)}"
            name = f"{kind}, {formats}" + (", 1 worker" if workers == 1 else "")
            asked = few if f"{few}.csv" in source or "parquet" in source else rows
            target = folder / f"{kind}.{output}"
            runs[f"{name}, {asked:,} rows"] = {
                "asked": asked,
                "kind": kind,
                **run(folder / source, target, workers, limit),
            }
    long = {kind: runs[f"{kind}, CSV to CSV, {most[kind]:,} rows"] for kind in KINDS}
    return {
        "simulated": simulated,
        "limit": limit,
        "runs": runs,
        "long": long,
        "bytes_in": {k: (folder / f"{k}{n}.csv").stat().st_size / n for k, n in most.items()},
        "same": all(_same(folder / f"{k}.one.csv", folder / f"{k}.all.csv") for k in KINDS),
        "kernel": {
            kind: kernel(engine, kernel_rows, options, limit) for kind, options in KINDS.items()
        },
        "around": everything_else(engine, folder / f"short{most['short'] // 10}.csv"),
        "ranking": ranking(engine, ranked_rows, limit),
        "huge": huge(folder, folder / f"short{most['short'] // 10}.csv", gigabytes, limit),
    }


def huge(folder: Path, source: Path, gigabytes: float, limit: int) -> Found | None:
    """Score a file of that size: some of the short people, each with a long narrative, recurring.

    What it measures is the file: inference is done once for what recurs within a chunk.
    """
    if gigabytes == 0:
        return None
    header, *people = source.read_text().splitlines()[: HUGE_PEOPLE + 1]
    narrative = "the legs will not keep still, " * 600
    path = folder / "huge.csv"
    size, written = gigabytes * 1e9, 0
    with path.open("w") as file:
        file.write(f"narrative,{header}\n")
        while file.tell() < size:
            cells = (person.split(",", 1)[1] for person in people)
            lines = [f'"{narrative}",{written + i},{rest}\n' for i, rest in enumerate(cells)]
            file.writelines(lines)
            written += len(lines)
    found = run(path, folder / "huge.out.csv", cores(), limit)
    return {**found, "gigabytes": path.stat().st_size / 1e9, "asked": written}


def _format(name: str) -> str:
    return "Parquet" if name.endswith(".parquet") else "CSV"


def _same(one: Path, other: Path) -> bool:
    """Whether two outputs are alike, as far as both go."""
    paths = [path if path.exists() else Path(f"{path}.partial") for path in (one, other)]
    texts = [path.read_bytes() if path.exists() else b"" for path in paths]
    length = min(map(len, texts))
    return texts[0][:length] == texts[1][:length]


def run(source: Path, output: Path, workers: int, limit: int) -> Found:
    """Score a file in a process of its own; past the limit, kill it and count what is on disk."""
    command = [sys.executable, __file__, "--child", str(source), str(output), str(workers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        before = float(process.stdout.readline())
        started = time.perf_counter()
        timer = threading.Timer(limit, process.kill)
        timer.start()
        megabytes = before
        while process.poll() is None:
            megabytes = max(megabytes, peak_memory(process.pid))
            time.sleep(0.1)
        seconds = time.perf_counter() - started
        timer.cancel()
    if process.returncode == 0:
        manifest = output.with_suffix(".manifest.json")
        counts, size = json.loads(manifest.read_text())["counts"], output.stat().st_size
    elif seconds >= limit:
        journal = Path(f"{output}.journal")
        last = json.loads(journal.read_text().splitlines()[-1]) if journal.exists() else {}
        counts = last.get("counts", {"vignettes": 0, "sampled": 0})
        size = last.get("sizes", {"output": 0})["output"]
    else:
        raise RuntimeError(f"scoring {source} failed")
    return {
        "rows": counts["vignettes"],
        "sampled": counts["sampled"],
        "bytes": size,
        "seconds": seconds,
        "before": before,
        "megabytes": megabytes,
    }


def peak_memory(process: int) -> float:
    """Return the most memory that a process has had, in MB; 0 if it has ended, or is not Linux's.

    `resource.getrusage` would not do: it counts what the parent had when it started the process.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return float(found[0]) / MEGABYTE if found else 0.0


def cells_of(engine: Engine, rows: int, options: SimulateOptions) -> tuple[Scorer, Cells]:
    """Return simulated rows in memory, and what scores them."""
    tables = list(simulate(engine, rows, SEED, options))
    table = tables[0] if len(tables) == 1 else _joined(tables)
    layout = plan_layout("simulated", tuple(table.column_names), engine.reader)
    return Scorer(engine, layout), table_cells(table, layout.wanted, 1)


def _joined(tables: list[Any]) -> Any:
    import pyarrow as pa

    return pa.concat_tables(tables).combine_chunks()


def kernel(engine: Engine, rows: int, options: SimulateOptions, limit: int) -> Found:
    """Measure inference alone, and naive Bayes, on the same rows in memory."""
    scorer, cells = cells_of(engine, rows, options)
    evidence = Encoder(engine, scorer.layout).encode(cells)
    for threads in (1, cores()):  # compile, or load what is compiled
        timed(engine, evidence, threads, 32 * threads, 1, most=64)
    rates = {}
    for threads in (1, cores()):
        answers, rates[threads] = timed(engine, evidence, threads, BLOCK * threads, limit)
    count = sum(len(answer.width) for answer in answers)
    one_by_one = timed(engine, evidence, 1, 1, limit // 10, most=1000, each=True)[1]
    ratios = evidence.ratios[:count]
    many = np.tile(ratios, (-(-NAIVE_ROWS // count), 1))
    width = np.concatenate([answer.width for answer in answers])
    findings = ratios[:, len(engine.networks[0].causes) :]
    return {
        "rows": count,
        "present": _percentiles(np.isposinf(findings).sum(axis=1), (50, 90, 100)),
        "observed": int(np.median((ratios != 1).sum(axis=1))),
        "width": _percentiles(width, (50, 90, 99, 100)),
        "sampled": int(sum((answer.method != "exact").sum() for answer in answers)),
        "one": rates[1],
        "all": rates[cores()],
        "row": (np.percentile(one_by_one, (50, 90, 99)) * 1e6).tolist(),
        "naive_bayes": naive_bayes(engine, many),
        "copy": copying(many),
    }


def _percentiles(values: np.ndarray[Any, Any], at: tuple[int, ...]) -> list[int]:
    found: list[int] = np.percentile(values, at).astype(int).tolist()
    return found


def timed(
    engine: Engine,
    evidence: Evidence,
    threads: int,
    block: int,
    limit: int,
    *,
    most: int | None = None,
    each: bool = False,
) -> tuple[list[BatchInference], Any]:
    """Infer block by block until all is done or the time is up.

    Returns
    -------
    list of BatchInference
    float, or list of float
        Rows a second; with `each`, the seconds of each block.
    """
    answers, seconds = [], []
    for first in range(0, min(most or len(evidence.ratios), len(evidence.ratios)), block):
        part = slice(first, first + block)
        started = time.perf_counter()
        answers.append(
            infer_batch(
                engine.networks,
                evidence.weights[part],
                evidence.ratios[part],
                threads=threads,
                wanted=engine.reported,
            )
        )
        seconds.append(time.perf_counter() - started)
        if sum(seconds) > limit:
            break
    return answers, seconds if each else sum(len(a.width) for a in answers) / sum(seconds)


def everything_else(engine: Engine, source: Path) -> float:
    """Return the microseconds that a row of a CSV file takes with inference left out."""
    opened = open_source(str(source))
    layout = plan_layout(str(source), opened.header, engine.reader)
    scorer = Scorer(engine, layout)
    started = time.perf_counter()
    piece = next(iter(pieces_of(opened, layout, CHUNK_ROWS)))
    reading = time.perf_counter() - started
    answers: list[Any] = []
    real = scorer_module.infer_distinct

    def remembered(*arguments: Any) -> Any:
        if not answers:
            answers.append(real(*arguments))
        return answers[0]

    scorer_module.infer_distinct = remembered
    best = np.inf
    try:
        process(scorer, piece, text=True)
        for _ in range(5):
            started = time.perf_counter()
            process(scorer, piece, text=True)
            best = min(best, time.perf_counter() - started)
    finally:
        scorer_module.infer_distinct = real
        opened.close()
    return (reading + best) / len(piece.rows) * 1e6


def ranking(engine: Engine, rows: int, limit: int) -> Found:
    """Compare what each way of ranking puts first, and what it costs to ask what causes explain."""
    scorer, cells = cells_of(engine, rows, KINDS["short"])
    scorer.score(cells)
    first, seconds = {}, {}
    for by in ("rise", "posterior", "tempered"):
        asked = Scorer(engine, scorer.layout, ScoreOptions(rank_by=by))
        started = time.perf_counter()
        first[by] = asked.score(cells).order[:, 0]
        seconds[by] = time.perf_counter() - started
    truth = first["tempered"]
    return {
        "rows": len(truth),
        "rise": float((first["rise"] == truth).mean()),
        "posterior": float((first["posterior"] == truth).mean()),
        "milliseconds": (seconds["tempered"] - seconds["rise"]) / len(truth) * 1e3,
    }


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


def page(found: Found) -> str:
    """Return the page, in Markdown."""
    runs = "\n".join(
        f"| {name} | {_done(r)} | {r['rows'] / r['seconds']:,.0f} | {r['megabytes']:.0f} | "
        f"{r['before']:.0f} | {r['sampled']:,} |"
        for name, r in found["runs"].items()
    )
    short, full = (found["kernel"][kind] for kind in KINDS)
    in_memory = "\n".join(
        f"| {what} | {value(short)} | {value(full)} |"
        for what, value in (
            ("Rows measured", lambda k: f"{k['rows']:,}"),
            ("Findings and causes observed, median", lambda k: f"{k['observed']}"),
            ("Findings present, percentile 50 / 90 / 100", lambda k: _listed(k["present"])),
            ("Width, percentile 50 / 90 / 99 / 100", lambda k: _listed(k["width"])),
            ("Too wide, sampled", lambda k: f"{k['sampled']:,}"),
            ("One core, rows a second", lambda k: f"{k['one']:,.0f}"),
            (f"{cores()} cores, rows a second", lambda k: f"{k['all']:,.0f}"),
            ("A row alone, microseconds, percentile 50 / 90 / 99", lambda k: _listed(k["row"])),
            (
                "Naive Bayes (two matrix products), rows a second",
                lambda k: f"{k['naive_bayes']:,.0f}",
            ),
            ("Copying the evidence in memory, rows a second", lambda k: f"{k['copy']:,.0f}"),
        )
    )
    cost = "\n".join(
        f"| {kind} | {count:,} | {count / rate / SECONDS_PER_HOUR:,.1f} | "
        f"{count / rate / SECONDS_PER_HOUR / 64:,.2f} | "
        f"{count * found['bytes_in'][kind] / 1e9:,.0f} | "
        f"{count * long['bytes'] / long['rows'] / 1e9:,.0f} |"
        for kind, long in found["long"].items()
        if long["rows"]
        for rate in [long["rows"] / long["seconds"] / cores()]
        for count in (1_000_000, 100_000_000, 1_000_000_000)
    )
    ends = "; ".join(
        f"{long['rows'] / long['seconds'] / found['kernel'][kind]['all']:.0%} for {kind} rows"
        for kind, long in found["long"].items()
    )
    big = found["huge"]
    of_size = (
        big
        and f"""
A file of {big["gigabytes"]:.0f} GB ({big["asked"]:,} rows with a long narrative each, a column that
is ignored; {HUGE_PEOPLE:,} people who recur): {_done(big)} rows in {big["seconds"]:,.0f} seconds,
{big["gigabytes"] * 1e3 * big["rows"] / big["asked"] / big["seconds"]:,.0f} MB a second, peak memory
{big["megabytes"]:.0f} MB, of which the ids seen take their part.
"""
    )
    sizes = {
        kind: sorted({r["asked"] for r in found["runs"].values() if r["kind"] == kind})
        for kind in KINDS
    }
    flat = "; ".join(
        f"{_peak(found, kind, few):.0f} MB at {few:,} {kind} rows and "
        f"{_peak(found, kind, most):.0f} MB at {most:,}"
        for kind, (few, *_, most) in sizes.items()
    )
    rank = found["ranking"]
    drawn = "; ".join(
        f"*{kind}* rows: each finding known with probability {options.asking_rate}, people kept "
        f"if {options.present_at_least} or more known ones are present, which makes "
        f"{found['kernel'][kind]['present'][0]} at the median"
        for kind, options in KINDS.items()
    )
    return f"""# What batch scoring costs

Measured by `python validation/benchmark_batch.py --write --rows {sizes["short"][-1]}` on
{cores()} cores ({platform.machine()}, Python {platform.python_version()});
load average {os.getloadavg()[0]:.1f} (with other work beside it, every rate is that much lower).
Rows are simulated people of `{POPULATION}` (seed {SEED}).
{drawn}.

## Files

| Run | Rows done | Rows a second | Peak memory, MB | of it before the first row | Sampled |
|---|---|---|---|---|---|
{runs}

A run was stopped after {found["limit"]:,} seconds, and its rate is that of the rows done by then.
Start-up (Python, tables, solving the network) is left out of the rates. The output of one worker
and of {cores()} was {"the same to the byte" if found["same"] else "NOT THE SAME"}. End to end, the
longest file ran at this part of the rate of inference alone on as many cores: {ends}. Simulating
wrote {found["simulated"]:,.0f} rows a second on one core.

Peak memory from CSV to CSV on {cores()} workers: {flat}. What is there before the first row is
Python, its libraries and the compiled kernel; the rest is, for each worker, one chunk and the
tables of its widest row so far, which `twitchdx.inference.most_states` bounds.
{of_size or ""}
## Inference alone, on rows in memory

| | short | full |
|---|---|---|
{in_memory}

All the rest (reading, cells, evidence, text out) takes {found["around"]:,.0f} microseconds a row.

## Which cause is first

Of {rank["rows"]:,} short rows, `--rank-by rise`, the default, puts the same cause first as a
differential (`--rank-by tempered`) in {rank["rise"]:.0%}, the plain posterior in
{rank["posterior"]:.0%}. To ask what the causes explain takes
{rank["milliseconds"]:,.1f} milliseconds a row more.

## A hundred million, and a billion

At the longest file's rate for each core, if the other cores of a cluster are like these:

| Rows | Vignettes | Core hours | Hours on 64 cores | GB in (CSV) | GB out (CSV) |
|---|---|---|---|---|---|
{cost}

With `--cluster`, one process reads, checks ids, writes and hands out chunks; its part is a few
microseconds a row. To go further, score the parts of a file in runs of their own, or use
`twitchdx.batch.score_dask`, which reads and writes on the workers. The ids seen take 17 to 34 MB
of memory for a million vignettes; `--ids-unchecked` spares it.
"""


def _done(found: Found) -> str:
    stopped = "" if found["rows"] == found["asked"] else " (stopped)"
    return f"{found['rows']:,}{stopped}"


def _listed(values: list[float]) -> str:
    return " / ".join(f"{value:,.0f}" for value in values)


def _peak(found: Found, kind: str, rows: int) -> float:
    peak: float = found["runs"][f"{kind}, CSV to CSV, {rows:,} rows"]["megabytes"]
    return peak


if __name__ == "__main__":
    main()
