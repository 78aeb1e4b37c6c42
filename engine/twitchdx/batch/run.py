"""Score a whole file: read, score in parallel, write in order, account for every row."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from twitchdx.batch import render
from twitchdx.batch.cells import id_of_record
from twitchdx.batch.layout import NO_MAPPING, ColumnMapping, Layout, plan_layout
from twitchdx.batch.process import Piece, Product, process
from twitchdx.batch.records import Position
from twitchdx.batch.scorer import PLAIN, ScoreOptions, Scorer
from twitchdx.batch.seen import SeenIds
from twitchdx.batch.sink import (
    STANDARD_OUTPUT,
    Counts,
    FileSink,
    OutputFiles,
    Sink,
    StreamSink,
    check_files,
    format_of,
    read_manifest,
)
from twitchdx.batch.source import (
    STANDARD_INPUT,
    CsvSource,
    ParquetSource,
    open_source,
    parquet_batches,
)
from twitchdx.errors import BatchError

if TYPE_CHECKING:
    from twitchdx.diagnosis import Engine

#: small enough that every core gets work, and that little is lost where a run is killed; large
#: enough that what a column costs for each chunk does not count
CHUNK_ROWS = 1000
MOST_CHUNK_ROWS = 1_000_000
#: pieces in work at once, for each worker
PIECES_AHEAD = 2
START = Position()


@dataclass(frozen=True)
class RunOptions:
    """How a file is read and written; none of it changes a score.

    Attributes
    ----------
    chunk_rows : int
        Rows that are scored together.
    workers : int or None
        Threads, or processes of a local cluster; by default one for each core.
    cluster : str or None
        "local", or the address of a Dask scheduler; needs the `cluster` extra.
    encoding : str
        Of a CSV input.
    mapping : ColumnMapping
    ignore_unknown_columns : bool
    check_ids : bool
        Reject ids that were used before; costs memory, see `twitchdx.batch.seen`.
    resume : bool
        Go on where an earlier run stopped.
    rejected, manifest : str or None
        Files of their own for these.
    reads : tuple of str
        Files that settings come from (a mapping, prior sets), so that none is written to.
    overrides : mapping
        What was changed in the engine, for the manifest.
    """

    chunk_rows: int = CHUNK_ROWS
    workers: int | None = None
    cluster: str | None = None
    encoding: str = "utf-8"
    mapping: ColumnMapping = NO_MAPPING
    ignore_unknown_columns: bool = False
    check_ids: bool = True
    resume: bool = False
    rejected: str | None = None
    manifest: str | None = None
    reads: tuple[str, ...] = ()
    overrides: dict[str, Any] = field(default_factory=dict)


AS_USUAL = RunOptions()


@dataclass(frozen=True)
class Summary:
    """What a run came to.

    Attributes
    ----------
    counts : Counts
    unit : str
        What was counted: rows of a wide file, vignettes of a long one.
    seconds : float
    rejected : str or None
        File with the rejects, if there are any.
    ignored : tuple of str
        Columns that were not read.
    already : bool
        Whether an earlier run had done it all, and this one nothing.
    """

    counts: Counts
    unit: str
    seconds: float
    rejected: str | None
    ignored: tuple[str, ...]
    already: bool = False

    def __str__(self) -> str:
        counts = self.counts
        text = "complete already; " if self.already else ""
        text += (
            f"{self.unit} in = scored + rejected: "
            f"{counts.vignettes:,} = {counts.scored:,} + {counts.rejected:,}"
        )
        if counts.sampled:
            text += f" ({counts.sampled:,} sampled)"
        if counts.returned:
            text += (
                f"; {counts.returned:,} of them came back in rows further down, and rest on the "
                "earlier rows alone"
            )
        if not counts.clean and self.rejected:
            text += f"; rejects are in {self.rejected}"
        return text


class Interrupted(BatchError):
    """The run was stopped from outside, and can be resumed."""


class Pool(Protocol):
    """Does pieces of work somewhere, and yields the products in order."""

    def __call__(
        self, scorer: Scorer, pieces: Iterable[Piece], text: bool
    ) -> Iterator[Product]: ...


def score_file(
    engine: Engine,
    source: str,
    output: str,
    options: ScoreOptions = PLAIN,
    run: RunOptions = AS_USUAL,
) -> Summary:
    """Score a file of vignettes, in constant memory.

    Parameters
    ----------
    engine : Engine
    source : str
        CSV (plain, gzip or zstd) or Parquet file; ``-`` is standard input.
    output : str
        ``.csv``, ``.csv.gz``, ``.csv.zst`` or ``.parquet`` file; ``-`` is standard output.
    options : ScoreOptions
    run : RunOptions

    Raises
    ------
    BatchError
        If the run cannot start, or cannot go on (a full disk, damaged input).
    Interrupted
        If it was stopped (Ctrl-C). In both cases no file has its final name, and `resume` goes
        on at the last checkpoint.
    """
    started = time.time()
    files = OutputFiles.of(output, run.rejected, run.manifest)
    _check(source, output, run, files)
    opened = open_source(source, encoding=run.encoding)
    try:
        layout = plan_layout(
            source,
            opened.header,
            engine.reader,
            mapping=run.mapping,
            ignore_unknown=run.ignore_unknown_columns,
        )
        scorer = Scorer(engine, layout, options)
        schema = render.schema(engine.causes, options, layout.truth is not None or layout.long)
        invocation = describe(engine, layout, options, run)
        if run.resume and (done := _done_already(files, invocation)) is not None:
            opened.close()
            return _summary(done, layout, files, 0.0, already=True)
        sink = _open_sink(output, files, schema, invocation, run)
    except BaseException:
        opened.close()
        raise
    seen = SeenIds()
    if run.check_ids:
        seen.enter(sink.keys())
    try:
        if sink.start.pieces:
            opened.close()
            opened = open_source(source, encoding=run.encoding, resume_at=sink.start.after)
        pieces = pieces_of(opened, layout, run.chunk_rows, sink.start.pieces, sink.start.after)
        with _pool(run) as pool, _progress(source, opened, sink.start.after) as advance:
            for product in pool(scorer, pieces, format_of(output)[0] == "csv"):
                sink.write(product.less_known(seen, layout.long) if run.check_ids else product)
                advance(product.after, sink.counts)
    except BatchError:
        sink.stop()
        raise
    except KeyboardInterrupt:
        sink.stop()
        again_with = "" if isinstance(sink, StreamSink) else "; --resume goes on from there"
        raise Interrupted(
            f"stopped after {sink.counts.vignettes:,} {_unit(layout)}{again_with}"
        ) from None
    except BaseException:
        sink.stop()
        raise
    finally:
        opened.close()
    seconds = time.time() - started
    sink.finish(
        {
            **invocation,
            "output": output,
            "counts": asdict(sink.counts),
            "seconds": round(seconds, 3),
            "rows_per_second": round(sink.counts.vignettes / max(seconds, 1e-9), 1),
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
            "resumed_at_row": sink.start.after.row,
            "columns": schema.names,
            "columns_ignored": list(layout.ignored),
        }
    )
    return _summary(sink.counts, layout, files, seconds)


def describe(
    engine: Engine, layout: Layout, options: ScoreOptions, run: RunOptions
) -> dict[str, Any]:
    """Return all that an output depends on: two runs that agree in it write the same bytes."""
    path = Path(layout.name)
    found = path.stat() if layout.name != STANDARD_INPUT else None
    packages = ("twitchdx", "numpy", "numba", "pyarrow")
    found_out = {
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in packages},
        },
        "input": {
            "name": layout.name,
            "bytes": found and found.st_size,
            "modified": found and found.st_mtime_ns,
            "form": "long" if layout.long else "wide",
            "encoding": run.encoding,
        },
        "population": engine.population,
        "tables_digest": engine.knowledge.digest,
        "model_digest": model_digest(engine),
        "overrides": run.overrides,
        "options": asdict(options),
        "mapping": asdict(run.mapping),
        "ignore_unknown_columns": run.ignore_unknown_columns,
        "check_ids": run.check_ids,
        "chunk_rows": run.chunk_rows,
    }
    # as it will be read back, to be compared
    as_read: dict[str, Any] = json.loads(json.dumps(found_out))
    return as_read


def model_digest(engine: Engine) -> str:
    """Return a SHA-256 over every number that inference uses."""
    digest = hashlib.sha256()
    for network in engine.networks:
        digest.update("\0".join((*network.causes, *network.findings)).encode())
        for array in (network.prior, network.links, network.leak, network.strength):
            digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(repr([(s.label, s.share) for s in engine.model.strata]).encode())
    return digest.hexdigest()


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(
    submit: Callable[[Piece], Future[Product]], pieces: Iterable[Piece], ahead: int
) -> Iterator[Product]:
    """Yield products in the order of pieces, with at most `ahead` of them in work."""
    waiting: deque[Future[Product]] = deque()
    for piece in pieces:
        waiting.append(submit(piece))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


class ThreadPool:
    """Threads of this process; the kernel lets go of Python's lock."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="score")

    def __call__(self, scorer: Scorer, pieces: Iterable[Piece], text: bool) -> Iterator[Product]:
        return in_order(
            lambda piece: self._executor.submit(process, scorer, piece, text),
            pieces,
            PIECES_AHEAD * self._workers,
        )

    def __enter__(self) -> ThreadPool:
        return self

    def __exit__(self, *exception: object) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)


def _pool(run: RunOptions) -> AbstractContextManager[Pool]:
    workers = run.workers or cores()
    if run.cluster is None:
        return ThreadPool(workers)
    from twitchdx.batch.cluster import ClusterPool

    return ClusterPool(run.cluster, workers)


def _check(source: str, output: str, run: RunOptions, files: OutputFiles) -> None:
    if not 1 <= run.chunk_rows <= MOST_CHUNK_ROWS:
        raise BatchError(f"a chunk has 1 to {MOST_CHUNK_ROWS:,} rows, not {run.chunk_rows}")
    if run.workers is not None and run.workers < 1:
        raise BatchError(f"at least one worker is needed, not {run.workers}")
    if Path(output).is_dir():
        raise BatchError(f"{output} is a folder; name a file in it")
    if files.output is not None:
        format_of(output)
    inputs = [("the input", source)] if source != STANDARD_INPUT else []
    check_files(files, [*inputs, *(("a file that settings come from", path) for path in run.reads)])
    if run.resume and (source == STANDARD_INPUT or output == STANDARD_OUTPUT):
        raise BatchError("only a run from a file to a file can be resumed")


def _done_already(files: OutputFiles, invocation: dict[str, Any]) -> Counts | None:
    """Return the counts of an earlier run that finished this very output; None if none did."""
    if files.output is None or files.manifest is None:
        return None
    if files.journal.exists() or not files.output.exists():
        return None
    manifest = read_manifest(files.manifest)
    if any(manifest.get(key) != value for key, value in invocation.items()):
        return None
    return Counts(**manifest["counts"])


def _open_sink(
    output: str, files: OutputFiles, schema: Any, invocation: dict[str, Any], run: RunOptions
) -> Sink:
    if output == STANDARD_OUTPUT:
        return StreamSink(sys.stdout.buffer, schema, files)
    if files.output is None:
        try:
            device = Path(output).open("wb", buffering=0)  # noqa: SIM115 (open till the end)
        except OSError as error:
            raise BatchError(f"{output} cannot be written: {error.strerror}") from None
        return StreamSink(device, schema, files)
    return FileSink(files, schema, invocation, resume=run.resume)


def _summary(
    counts: Counts, layout: Layout, files: OutputFiles, seconds: float, *, already: bool = False
) -> Summary:
    rejected = None if files.rejected is None else str(files.rejected)
    return Summary(counts, _unit(layout), seconds, rejected, layout.ignored, already)


def _unit(layout: Layout) -> str:
    return "vignettes" if layout.long else "rows"


def pieces_of(
    opened: CsvSource | ParquetSource,
    layout: Layout,
    rows: int,
    done: int = 0,
    after: Position = START,
) -> Iterator[Piece]:
    """Yield a source in pieces of so many rows, from behind the first `done` pieces on."""
    if isinstance(opened, CsvSource):
        group_of = None
        if layout.long:
            group_of = partial(
                id_of_record,
                header=opened.header,
                delimiter=opened.delimiter,
                id_column=layout.vignette_id or "",
            )
        for chunk in opened.reader.chunks(rows, done, group_of):
            yield Piece(chunk.number, chunk, opened.delimiter, chunk.first_row, chunk.after)
        return
    group = layout.vignette_id if layout.long else None
    tables = parquet_batches(opened, rows, layout.wanted, after.row, group)
    row = after.row
    for number, table in enumerate(tables, done):
        first = row + 1
        row += table.num_rows
        yield Piece(number, table, "", first, Position(0, 0, row))


@contextmanager
def _progress(
    source: str, opened: CsvSource | ParquetSource, start: Position
) -> Iterator[Callable[[Position, Counts], None]]:
    """Show how far the run is, on a terminal only."""
    from tqdm import tqdm

    if isinstance(opened, ParquetSource):
        total, unit, at = opened.file.metadata.num_rows, "row", "row"
    else:
        packed = source == STANDARD_INPUT or not opened.plain
        total, unit, at = (None if packed else Path(source).stat().st_size), "B", "offset"
    with tqdm(
        total=total, unit=unit, unit_scale=True, disable=None, initial=getattr(start, at)
    ) as bar:

        def advance(position: Position, counts: Counts) -> None:
            bar.update(getattr(position, at) - bar.n)
            bar.set_postfix_str(f"{counts.scored:,} scored, {counts.rejected:,} rejected")

        yield advance
