"""Vignettes drawn from the network, with their truth: people, what they have, what gets asked.

Forward sampling: a stratum by its share, an age within its band, causes in topological order,
findings. A finding is then written down only if it was asked about: each has an asking rate of its
own (`findings.csv`), so that unknown is common, as in records.

Draws come in blocks of `BLOCK_ROWS` vignettes, each with a random stream of its own (Philox, keyed
by seed and block), so that the same seed gives the same vignettes, and the first ten of a million
are those of a run of ten.

Findings are independent given the causes in a noisy-OR network, yet some follow from others by
logic (a ferritin below 15 is below 50). Where a known finding is present, known findings that it
implies are written as present.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twitchdx.batch.render import csv_header, text_bytes, to_text
from twitchdx.batch.run import model_digest
from twitchdx.batch.sink import STANDARD_OUTPUT, format_of, stem_of
from twitchdx.errors import BatchError, UnknownIdError

if TYPE_CHECKING:
    from twitchdx.diagnosis import Engine
    from twitchdx.network import NoisyOrNetwork

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]

BLOCK_ROWS = 4096
EVERYTHING = "all"
#: draws for each vignette wanted before a condition counts as impossible to meet
MOST_DRAWS = 20_000
#: years; people in the open last band are drawn up to this age
OLDEST_DRAWN = 90
KINDS = ("symptom", "sign", "history", "test")


@dataclass(frozen=True)
class SimulateOptions:
    """Who is drawn, and what gets known of them.

    Attributes
    ----------
    observe : tuple of str
        Findings, kinds of finding (symptom, sign, history, test) or "all" that may get known;
        also causes, whose state is then known.
    asking_rate : float or None
        Probability that each of them gets known; by default each finding's own rate, and 1 for
        a cause.
    present_at_least : int
        Keep only people with that many findings known to be present. Prevalences among them
        differ from the population's.
    """

    observe: tuple[str, ...] = (EVERYTHING,)
    asking_rate: float | None = None
    present_at_least: int = 0


DEFAULT = SimulateOptions()


@dataclass(frozen=True)
class _Plan:
    """What every block needs: the nodes that may get known, how often, and what they imply."""

    nodes: tuple[str, ...]
    places: NDArray[np.int64]
    is_finding: BoolArray
    rates: FloatArray
    implied: tuple[tuple[int, int], ...]
    shares: FloatArray
    causes: tuple[str, ...]
    cause_places: NDArray[np.int64]


def simulate(
    engine: Engine, count: int, seed: int, options: SimulateOptions = DEFAULT
) -> Iterator[Any]:
    """Yield Arrow tables of vignettes, all columns text.

    Parameters
    ----------
    engine : Engine
    count : int
        Vignettes in all.
    seed : int
    options : SimulateOptions

    Yields
    ------
    pyarrow.Table
        Columns vignette_id, age, sex, one a finding (present, absent or blank), truth
        (`;`-separated causes, syndromes left out).

    Raises
    ------
    UnknownIdError
        For something to observe that is no finding, kind or cause.
    BatchError
        For a rate outside [0, 1], or a condition that (nearly) nobody meets.
    """
    plan = _plan(engine, options)
    for block in range(-(-count // BLOCK_ROWS)):
        table = _block(engine, plan, seed, block, options.present_at_least)
        yield table.slice(0, min(BLOCK_ROWS, count - block * BLOCK_ROWS))


def simulate_file(
    engine: Engine, count: int, seed: int, output: str, options: SimulateOptions = DEFAULT
) -> None:
    """Write simulated vignettes to a file, which appears under its name when complete.

    Parameters
    ----------
    engine : Engine
    count, seed : int
    output : str
        As `score_file` takes it. A manifest with seed, population and digests is put beside it.
    options : SimulateOptions

    Raises
    ------
    BatchError
        If it cannot be written, and as `simulate`.
    """
    if count < 0:
        raise BatchError(f"the number of vignettes is at least 0, not {count}")
    format_of(output)
    plan = _plan(engine, options)
    names = ("vignette_id", "age", "sex", *plan.nodes, "truth")
    try:
        with _writer(output, names) as write:
            from tqdm import tqdm

            with tqdm(total=count, unit="row", unit_scale=True, disable=None) as bar:
                for table in simulate(engine, count, seed, options):
                    write(table)
                    bar.update(len(table))
        if output != STANDARD_OUTPUT:
            _write_manifest(engine, count, seed, output, options)
    except OSError as error:
        raise BatchError(f"{output} cannot be written: {error.strerror}") from None


def _plan(engine: Engine, options: SimulateOptions) -> _Plan:
    rate = options.asking_rate
    if rate is not None and not 0 <= rate <= 1:
        raise BatchError(f"an asking rate lies between 0 and 1, not at {rate}")
    findings = engine.knowledge.findings
    chosen: list[str] = []
    for wanted in options.observe:
        if wanted == EVERYTHING:
            chosen += findings
        elif wanted in KINDS:
            chosen += [f for f, row in findings.items() if row.kind == wanted]
        elif wanted in findings or wanted in engine.causes:
            chosen.append(wanted)
        else:
            raise UnknownIdError(
                wanted, (EVERYTHING, *KINDS, *findings, *engine.causes), kind="finding or kind"
            )
    nodes = tuple(dict.fromkeys(chosen))
    index = engine.reader.index
    rates = [
        rate if rate is not None else findings[n].asking_rate if n in findings else 1.0
        for n in nodes
    ]
    place = {node: i for i, node in enumerate(nodes)}
    shares = np.array([stratum.share for stratum in engine.model.strata])
    return _Plan(
        nodes=nodes,
        places=np.array([index[node] for node in nodes], np.int64),
        is_finding=np.array([node in findings for node in nodes]),
        rates=np.array(rates, np.float64),
        implied=tuple(
            (place[a], place[b]) for a, b in engine.reader.implications if {a, b} <= place.keys()
        ),
        shares=shares / shares.sum(),
        causes=engine.causes,
        cause_places=np.array([index[cause] for cause in engine.causes], np.int64),
    )


def _block(engine: Engine, plan: _Plan, seed: int, block: int, at_least: int) -> Any:
    """Draw one block of vignettes."""
    random = np.random.Generator(np.random.Philox(key=[seed % 2**64, block]))
    strata = engine.model.strata
    parts: list[tuple[Any, ...]] = []
    kept = drawn = 0
    while kept < BLOCK_ROWS:
        if drawn >= MOST_DRAWS * BLOCK_ROWS or (drawn >= 100 * BLOCK_ROWS and not kept):
            raise BatchError(
                f"hardly anybody has {at_least} findings known to be present: of {drawn:,} "
                f"people drawn, {kept} had; ask for fewer, or raise the asking rate"
            )
        stratum = random.choice(len(strata), BLOCK_ROWS, p=plan.shares)
        age = _ages(strata, stratum, random.random(BLOCK_ROWS))
        on = _states(engine.networks, stratum, random)
        known = random.random((BLOCK_ROWS, len(plan.nodes))) < plan.rates
        state = on[:, plan.places]
        for a, b in plan.implied:
            state[:, b] |= known[:, a] & state[:, a]
        seen = (known & state)[:, plan.is_finding].sum(axis=1)
        keep = np.flatnonzero(seen >= at_least)
        parts.append((stratum[keep], age[keep], on[keep], known[keep], state[keep]))
        kept += len(keep)
        drawn += BLOCK_ROWS
    stratum, age, on, known, state = (
        np.concatenate([part[i] for part in parts])[:BLOCK_ROWS] for i in range(5)
    )
    return _table(engine, plan, block, stratum, age, on, known, state)


def _ages(strata: Sequence[Any], stratum: NDArray[np.int64], uniform: FloatArray) -> Any:
    low = np.array([one.age_low for one in strata])
    last = [OLDEST_DRAWN if one.age_high is None else one.age_high for one in strata]
    years = np.array(last) - low + 1
    return low[stratum] + np.floor(uniform * years[stratum]).astype(np.int64)


def _states(
    networks: Sequence[NoisyOrNetwork], stratum: NDArray[np.int64], random: np.random.Generator
) -> BoolArray:
    """Draw every node of every person."""
    n_nodes = len(networks[0].causes) + len(networks[0].findings)
    uniform = random.random((len(stratum), n_nodes))
    on = np.zeros(uniform.shape, bool)
    for number, network in enumerate(networks):
        rows = np.flatnonzero(stratum == number)
        if len(rows):
            on[rows] = network.states(uniform[rows])
    return on


def _table(
    engine: Engine,
    plan: _Plan,
    block: int,
    stratum: NDArray[np.int64],
    age: NDArray[np.int64],
    on: BoolArray,
    known: BoolArray,
    state: BoolArray,
) -> Any:
    import pyarrow as pa

    words = pa.array(["", "absent", "present"])
    first = block * BLOCK_ROWS + 1
    columns: dict[str, Any] = {
        "vignette_id": pa.array([f"s{row}" for row in range(first, first + len(age))]),
        "age": pa.array(age).cast(pa.string()),
        "sex": pa.array([s.sex for s in engine.model.strata]).take(pa.array(stratum)),
    }
    codes = np.where(known, 1 + state, 0)
    for i, node in enumerate(plan.nodes):
        columns[node] = words.take(pa.array(codes[:, i]))
    truths = on[:, plan.cause_places]
    names = np.array(plan.causes, dtype=object)
    columns["truth"] = pa.array([";".join(names[row]) for row in truths], pa.string())
    return pa.table(columns)


@contextmanager
def _writer(output: str, names: Sequence[str]) -> Iterator[Any]:
    """Give a function that writes tables; rename the file when all went well."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kind, packing = format_of(output)
    if output == STANDARD_OUTPUT:
        stream = sys.stdout.buffer
        stream.write(csv_header(tuple(names)))

        def send(table: Any) -> None:
            stream.write(text_bytes(to_text(table, 1)))
            stream.flush()

        yield send
        return
    partial = f"{output}.partial"
    with ExitStack() as stack:
        if kind == "parquet":
            schema = pa.schema([(name, pa.string()) for name in names])
            yield stack.enter_context(pq.ParquetWriter(partial, schema)).write_table
        else:
            file = stack.enter_context(Path(partial).open("wb"))
            target: Any = file
            if packing:
                target = stack.enter_context(pa.CompressedOutputStream(file, packing))
            target.write(csv_header(tuple(names)))
            yield lambda table: target.write(text_bytes(to_text(table, 1)))
    with Path(partial).open("rb+") as written:
        os.fsync(written.fileno())
    os.replace(partial, output)


def _write_manifest(
    engine: Engine, count: int, seed: int, output: str, options: SimulateOptions
) -> None:
    manifest = {
        "versions": {name: version(name) for name in ("twitchdx", "numpy")},
        "output": output,
        "vignettes": count,
        "seed": seed,
        "population": engine.population,
        "tables_digest": engine.knowledge.digest,
        "model_digest": model_digest(engine),
        "observe": list(options.observe),
        "asking_rate": options.asking_rate,
        "present_at_least": options.present_at_least,
    }
    Path(f"{stem_of(output)}.manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
