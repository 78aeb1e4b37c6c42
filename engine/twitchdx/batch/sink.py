"""Where scored and rejected vignettes go, so that nothing unfinished ever bears the final name.

A run writes beside its output: ``OUT.partial`` (rows), ``OUT.rejected.csv.partial``,
``OUT.ids.partial`` (fingerprints of the ids scored) and ``OUT.journal`` (what is safely on disk so
far, a line a checkpoint). When all is done and on disk, rejects and manifest get their names, the
output last, and the journal goes. A run that stops earlier, for whatever reason, leaves the
``.partial`` files and the journal, and an older output untouched; `--resume` cuts the files back
to the last checkpoint and goes on from there.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from twitchdx.batch.cells import Reject
from twitchdx.batch.process import Product
from twitchdx.batch.records import Position
from twitchdx.batch.render import csv_header, text_bytes
from twitchdx.errors import BatchError

if TYPE_CHECKING:
    import pyarrow as pa

STANDARD_OUTPUT = "-"
#: seconds between checkpoints, unless every chunk takes longer
CHECKPOINT_SECONDS = 1.0
#: rows of a Parquet row group
ROW_GROUP = 50_000
PACKINGS = {".gz": "gzip", ".zst": "zstd"}
PARQUET = (".parquet", ".pq")
ACCEPTED = ".csv, .csv.gz, .csv.zst, .parquet"


@dataclass(frozen=True)
class Counts:
    """How many vignettes came in, and what became of them; the first is the sum of two others.

    Attributes
    ----------
    vignettes, scored, rejected : int
    sampled : int
        Scored, but not exactly.
    returned : int
        How often rows of a long file came back to a vignette that had been scored, or rejected,
        without them; they were rejected.
    """

    vignettes: int = 0
    scored: int = 0
    rejected: int = 0
    sampled: int = 0
    returned: int = 0

    @property
    def clean(self) -> bool:
        """Whether nothing was rejected."""
        return not (self.rejected or self.returned)

    def plus(self, product: Product) -> Counts:
        """Return the counts with one more piece."""
        scored = len(product.keys)
        return Counts(
            self.vignettes + product.vignettes,
            self.scored + scored,
            self.rejected + product.vignettes - scored,
            self.sampled + product.sampled,
            self.returned + product.returned,
        )


@dataclass(frozen=True)
class Checkpoint:
    """What is safely on disk: pieces done, where the reader stood, and file sizes."""

    pieces: int
    after: Position
    counts: Counts
    sizes: dict[str, int]

    @staticmethod
    def from_json(record: dict[str, Any]) -> Checkpoint:
        """Read a line of the journal."""
        return Checkpoint(
            record["pieces"],
            Position(**record["after"]),
            Counts(**record["counts"]),
            dict(record["sizes"]),
        )


def format_of(output: str) -> tuple[str, str | None]:
    """Return (csv or parquet, packing) that an output name asks for; CSV if it has no ending.

    Raises
    ------
    BatchError
        For an ending that means another format.

    Examples
    --------
    >>> format_of("a.csv"), format_of("a.csv.gz"), format_of("b.parquet"), format_of("-")
    (('csv', None), ('csv', 'gzip'), ('parquet', None), ('csv', None))
    """
    path = Path(output)
    suffix = path.suffix.lower()
    if suffix in PARQUET:
        return "parquet", None
    packing = PACKINGS.get(suffix)
    inner = path.with_suffix("").suffix.lower() if packing else suffix
    if inner not in ("", ".csv"):
        raise BatchError(
            f"{output}: {''.join(dict.fromkeys([inner, suffix]))} is no format that can be "
            f"written; let the name end in one of {ACCEPTED}"
        )
    return "csv", packing


def stem_of(output: str) -> str:
    """Return an output name without its format, for the files beside it.

    Examples
    --------
    >>> stem_of("out/scored.csv.gz"), stem_of("scored.parquet"), stem_of("scores")
    ('out/scored', 'scored', 'scores')
    """
    path = Path(output)
    if path.suffix.lower() in PACKINGS:
        path = path.with_suffix("")
    if path.suffix.lower() in (".csv", *PARQUET):
        path = path.with_suffix("")
    return str(path)


@dataclass(frozen=True)
class OutputFiles:
    """Every file that a run writes to.

    Attributes
    ----------
    output : Path or None
        None for a stream.
    rejected, manifest : Path or None
        Under their final names; None where they are not wanted.
    """

    output: Path | None
    rejected: Path | None
    manifest: Path | None

    @classmethod
    def of(cls, output: str, rejected: str | None, manifest: str | None) -> OutputFiles:
        """Name the files of a run; what is not named otherwise goes beside the output.

        Parameters
        ----------
        output : str
        rejected, manifest : str or None
        """
        if is_stream(output):
            return cls(None, _path(rejected), _path(manifest))
        # a link stays one: what it leads to is replaced
        path = os.path.realpath(output) if Path(output).is_symlink() else output
        stem = stem_of(path)
        return cls(
            Path(path),
            Path(rejected or f"{stem}.rejected.csv"),
            Path(manifest or f"{stem}.manifest.json"),
        )

    @property
    def journal(self) -> Path:
        """What is safely on disk."""
        return Path(f"{self.output}.journal")

    @property
    def ids(self) -> Path:
        """Fingerprints of the ids scored."""
        return Path(f"{self.output}.ids")

    def named(self) -> dict[str, Path]:
        """Return each file, by what it is."""
        found = {
            "the output": self.output,
            "the rejects": self.rejected,
            "the manifest": self.manifest,
        }
        every = {name: path for name, path in found.items() if path is not None}
        if self.output is not None:
            scratch = (self.journal, partial(self.ids), partial(Path(f"{self.output}.parquet")))
            every |= {f"the run's own {path.name}": path for path in scratch}
        unfinished = [partial(path) for path in found.values() if path is not None]
        return every | {f"the run's own {path.name}": path for path in unfinished}


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name)


def partial(path: Path) -> Path:
    """Return what a file is called until it is complete."""
    return Path(f"{path}.partial")


def is_stream(output: str) -> bool:
    """Whether an output cannot be renamed to: standard output, a device or a pipe."""
    path = Path(output)
    return output == STANDARD_OUTPUT or (path.exists() and not path.is_file())


def check_files(files: OutputFiles, inputs: Sequence[tuple[str, str]]) -> None:
    """Check that a run destroys nothing: neither what it reads nor what is not its own.

    Parameters
    ----------
    files : OutputFiles
    inputs : sequence of (str, str)
        What each file that is read is, and its path.

    Raises
    ------
    BatchError
        If two of the files are one, or rejects or manifest would replace a file that is
        something else.
    """
    taken = [(what, Path(path)) for what, path in inputs]
    for what, path in files.named().items():
        for before, other in taken:
            if same_file(path, other):
                raise BatchError(f"{what} {path} is {before} as well; give it another name")
        taken.append((what, path))
    if files.rejected is not None and not _begins_as_rejects(files.rejected):
        raise BatchError(
            f"{files.rejected} holds something else than rejects; move it away, or name another "
            "file for the rejects with --rejects"
        )
    if files.manifest is not None and not _is_manifest(files.manifest):
        raise BatchError(
            f"{files.manifest} is not the manifest of a scored file; move it away, or name "
            "another file for the manifest with --manifest"
        )


def same_file(path: Path, other: Path) -> bool:
    """Whether two paths lead to one file, through links of any kind; devices do not count."""
    if path.exists() and other.exists():
        return path.is_file() and path.samefile(other)
    return os.path.realpath(path) == os.path.realpath(other)


def _begins_as_rejects(path: Path) -> bool:
    """Whether a file may be overwritten with rejects: it has some, is empty, or is not there."""
    if not path.is_file():
        return True
    header = csv_header(Reject._fields)
    with path.open("rb") as file:
        return file.read(len(header)) in (header, b"")


def _is_manifest(path: Path) -> bool:
    """Whether a file may be overwritten with a manifest."""
    return not path.is_file() or path.stat().st_size == 0 or bool(read_manifest(path))


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of a scored file; an empty one if it is none."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    ours = isinstance(found, dict) and {"versions", "input", "counts"} <= found.keys()
    return found if ours else {}


class _PartialFile:
    """An append-only file that can be cut back to a checkpoint."""

    def __init__(self, path: Path, size: int | None) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_CREAT | (os.O_TRUNC if size is None else 0)
        self._descriptor = os.open(path, flags, 0o666)
        self.size = size or 0
        held = os.fstat(self._descriptor).st_size
        if held < self.size:
            self.close()
            raise BatchError(f"{path} is shorter than its journal says; start without --resume")
        os.ftruncate(self._descriptor, self.size)
        os.lseek(self._descriptor, self.size, os.SEEK_SET)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while len(view):
            written = os.write(self._descriptor, view)
            view = view[written:]
            self.size += written

    def sync(self) -> None:
        os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


class FileSink:
    """Writes a run's files; see the module's text.

    Parameters
    ----------
    files : OutputFiles
        With an output, whose ending settles the format.
    schema : pyarrow.Schema
        Output columns.
    fingerprint : dict
        All that the output depends on; a run resumes only one with the same.
    resume : bool

    Raises
    ------
    BatchError
        If the files cannot be written, another run is writing them, or there is nothing that
        can be resumed with these settings.
    """

    def __init__(
        self,
        files: OutputFiles,
        schema: pa.Schema,
        fingerprint: dict[str, Any],
        *,
        resume: bool = False,
    ) -> None:
        if files.output is None or files.rejected is None or files.manifest is None:
            raise ValueError("a file sink needs names for its files")
        self.output, self.rejected, self.manifest = files.output, files.rejected, files.manifest
        self._journal_path, self._ids_path = files.journal, files.ids
        self.format, self.packing = format_of(str(files.output))
        self._schema = schema
        self._files: dict[str, _PartialFile] = {}
        self._journal = -1
        try:
            self._lock()
            start = self._last_checkpoint(fingerprint) if resume else None
            self._open(start, fingerprint)
        except OSError as error:
            self.close()
            raise BatchError(_cannot_write(self.output, error)) from None
        except BatchError:
            self.close()
            raise
        self.start = start or Checkpoint(0, Position(), Counts(), {})
        self._last = self.start
        self._saved_at = time.monotonic()

    def _lock(self) -> None:
        self._journal = os.open(self._journal_path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            import fcntl
        except ImportError:  # not on this platform: two runs at once are the user's to avoid
            return
        try:
            fcntl.flock(self._journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BatchError(f"another run is writing {self.output}; wait for it to end") from None

    def _last_checkpoint(self, fingerprint: dict[str, Any]) -> Checkpoint | None:
        """Return the last checkpoint of an earlier run; None if there was no earlier run."""
        text = self._journal_path.read_bytes()
        # a line that was being written when the run was killed has no end
        os.ftruncate(self._journal, text.rfind(b"\n") + 1)
        records = [json.loads(line) for line in text.split(b"\n")[:-1]]
        if not records:
            return None
        wrong = [key for key in fingerprint if records[0].get(key) != fingerprint[key]]
        if wrong:
            raise BatchError(
                f"the run to be resumed was another one: {', '.join(wrong)} changed; "
                "start without --resume, or with the same settings and input"
            )
        last = records[-1]
        return Checkpoint.from_json(last) if last.get("pieces") else None

    def _open(self, start: Checkpoint | None, fingerprint: dict[str, Any]) -> None:
        sizes = start.sizes if start else {}
        for name, path in (
            ("output", self.output),
            ("rejected", self.rejected),
            ("ids", self._ids_path),
        ):
            self._files[name] = _PartialFile(partial(path), sizes.get(name))
        if start is None:
            os.ftruncate(self._journal, 0)
            self._note(fingerprint)
            if self.format == "csv":
                self._write_output(csv_header(tuple(self._schema.names)))
            else:
                self._files["output"].write(self._schema.serialize().to_pybytes())
            self._files["rejected"].write(csv_header(Reject._fields))

    def keys(self) -> Any:
        """Return the fingerprints of all ids that an earlier run had scored."""
        return np.fromfile(partial(self._ids_path), np.uint64)

    def write(self, product: Product) -> None:
        """Add one piece, and make a checkpoint if it is time.

        Raises
        ------
        BatchError
            If the disk is full or fails; what was checkpointed stays good.
        """
        try:
            if self.format == "csv":
                self._write_output(text_bytes(product.output))
            else:
                self._write_table(product.output)
            self._files["rejected"].write(rejects_text(product.rejects))
            self._files["ids"].write(product.keys.tobytes() + product.keys_left_out.tobytes())
            self._last = Checkpoint(
                product.number + 1,
                product.after,
                self._last.counts.plus(product),
                {name: file.size for name, file in self._files.items()},
            )
            if time.monotonic() - self._saved_at >= CHECKPOINT_SECONDS:
                self.checkpoint()
        except OSError as error:
            raise BatchError(_cannot_write(self.output, error)) from None

    @property
    def counts(self) -> Counts:
        """Vignettes so far, earlier runs included."""
        return self._last.counts

    def checkpoint(self) -> None:
        """Put all on disk, and note it in the journal."""
        for file in self._files.values():
            file.sync()
        self._note(asdict(self._last))
        self._saved_at = time.monotonic()

    def stop(self) -> None:
        """Leave everything so that the run can be resumed."""
        with suppress(OSError):
            self.checkpoint()
        self.close()

    def close(self) -> None:
        """Close the files, as they are."""
        for file in self._files.values():
            file.close()
        self._files = {}
        if self._journal >= 0:
            os.close(self._journal)
            self._journal = -1

    def finish(self, manifest: dict[str, Any]) -> None:
        """Give everything its final name.

        Raises
        ------
        BatchError
            If the disk is full or fails.
        """
        try:
            self.checkpoint()
            done = self._files["output"].path
            if self.format == "parquet":
                done = self._to_parquet(done)
            if not self._last.counts.clean:
                os.replace(self._files["rejected"].path, self.rejected)
            else:
                self.rejected.unlink(missing_ok=True)
            _write_durably(self.manifest, json.dumps(manifest, indent=2) + "\n")
            os.replace(done, self.output)
            _sync_folder(self.output.parent)
            for path in (
                self._files["output"].path,
                self._files["rejected"].path,
                self._files["ids"].path,
                self._journal_path,
            ):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise BatchError(_cannot_write(self.output, error)) from None
        finally:
            self.close()

    def _write_output(self, data: bytes) -> None:
        if self.packing and data:
            data = _packed(data, self.packing)
        self._files["output"].write(data)

    def _write_table(self, table: pa.Table) -> None:
        import pyarrow as pa

        file = self._files["output"]
        for batch in table.combine_chunks().to_batches():
            file.write(pa.RecordBatch.serialize(batch).to_pybytes())

    def _to_parquet(self, stream: Path) -> Path:
        """Copy the stream of tables into a Parquet file with even row groups."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        target = partial(Path(f"{self.output}.parquet"))
        with pa.OSFile(str(stream)) as file:
            reader = pa.ipc.open_stream(file)
            with pq.ParquetWriter(target, reader.schema, compression="zstd") as writer:
                held: list[Any] = []
                for batch in reader:
                    held.append(batch)
                    if sum(map(len, held)) >= ROW_GROUP:
                        table = pa.Table.from_batches(held)
                        while len(table) >= ROW_GROUP:
                            writer.write_table(table.slice(0, ROW_GROUP).combine_chunks())
                            table = table.slice(ROW_GROUP)
                        held = table.to_batches()
                if held:
                    writer.write_table(pa.Table.from_batches(held).combine_chunks())
        with target.open("rb+") as written:
            os.fsync(written.fileno())
        return target

    def _note(self, record: dict[str, Any]) -> None:
        os.write(self._journal, (json.dumps(record) + "\n").encode())
        os.fsync(self._journal)


class StreamSink:
    """Writes to standard output, or to a device; nothing can be resumed.

    Parameters
    ----------
    stream : binary file
    schema : pyarrow.Schema
    files : OutputFiles
        Without an output; rejects that have no file go to standard error, as CSV lines.
    """

    def __init__(
        self,
        stream: BinaryIO,
        schema: pa.Schema,
        files: OutputFiles,
    ) -> None:
        self._stream = stream
        self._manifest = files.manifest
        self._rejected = files.rejected
        self._rejects: BinaryIO | None = None
        self._counts = Counts()
        self.start = Checkpoint(0, Position(), Counts(), {})
        self._send(csv_header(tuple(schema.names)))

    @property
    def counts(self) -> Counts:
        """Vignettes so far."""
        return self._counts

    def keys(self) -> Any:
        """Return no fingerprints: there was no earlier run."""
        return np.zeros(0, np.uint64)

    def write(self, product: Product) -> None:
        """Add one piece.

        Raises
        ------
        BatchError
            If the stream cannot be written to.
        """
        self._send(text_bytes(product.output))
        if product.rejects:
            self._send_rejects(rejects_text(product.rejects))
        self._counts = self._counts.plus(product)

    def stop(self) -> None:
        """Close what can be closed."""
        if self._rejects is not None:
            self._rejects.close()
        if self._stream is not sys.stdout.buffer:
            self._stream.close()

    def finish(self, manifest: dict[str, Any]) -> None:
        """Write the manifest, if one was asked for."""
        self.stop()
        if self._manifest:
            try:
                _write_durably(self._manifest, json.dumps(manifest, indent=2) + "\n")
            except OSError as error:
                raise BatchError(_cannot_write(self._manifest, error)) from None

    def _send(self, data: bytes) -> None:
        try:
            self._stream.write(data)
            self._stream.flush()
        except OSError as error:
            with suppress(OSError):
                self.stop()
            raise BatchError(f"the output cannot be written: {error.strerror}") from None

    def _send_rejects(self, text: bytes) -> None:
        if self._rejected is None:
            if self._counts.clean:
                text = csv_header(Reject._fields) + text
            sys.stderr.write(text.decode())
            return
        try:
            if self._rejects is None:
                self._rejects = self._rejected.open("wb")
                self._rejects.write(csv_header(Reject._fields))
            self._rejects.write(text)
        except OSError as error:
            raise BatchError(_cannot_write(self._rejected, error)) from None


Sink = FileSink | StreamSink


def rejects_text(rejects: Sequence[Reject]) -> bytes:
    """Return rejects as CSV lines.

    Examples
    --------
    >>> rejects_text([Reject(7, "v5", "weakness", "presnt", "no state", "write present")])
    b'7,v5,weakness,presnt,no state,write present\\n'
    """
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rejects)
    return out.getvalue().encode("utf-8", errors="replace")


def _packed(data: bytes, packing: str) -> bytes:
    import pyarrow as pa

    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, packing) as stream:
        stream.write(data)
    return bytes(out.getvalue().to_pybytes())


def _write_durably(path: Path, text: str) -> None:
    unfinished = partial(path)
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot_write(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk is full: {path} could not be finished; free some space and run the same "
            "command with --resume"
        )
    return f"{path} cannot be written: {error.strerror}"


__all__ = [
    "Checkpoint",
    "Counts",
    "FileSink",
    "OutputFiles",
    "Sink",
    "StreamSink",
    "check_files",
    "format_of",
    "is_stream",
    "read_manifest",
    "stem_of",
]
