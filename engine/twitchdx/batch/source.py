"""Opens what is to be scored: a file or standard input, packed or not, CSV or Parquet.

What a file is, its first bytes say, not its name. Outcomes settled here, all `BatchError` with a
repair: a file that is not there, is empty, is UTF-16, is a damaged archive, or has no usable
header row. A UTF-8 byte-order mark is dropped.
"""

from __future__ import annotations

import codecs
import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from twitchdx.batch.records import (
    BLANK,
    BLOCK,
    NUL,
    TOO_LONG,
    UNCLOSED,
    Position,
    RecordReader,
    Stream,
)
from twitchdx.errors import BatchError

if TYPE_CHECKING:
    import pyarrow.parquet as pq

STANDARD_INPUT = "-"
DELIMITERS = ",\t;"
#: enough to recognise every format that is
_MAGIC_BYTES = 8
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
#: bytes looked at for the delimiter
_LONGEST_HEADER = 1 << 16
_BLANK = codecs.BOM_UTF8 + b"\r\n "
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class _Head:
    """A stream whose first bytes were looked at already."""

    def __init__(self, head: bytes, rest: Stream) -> None:
        self._head = head
        self._rest = rest
        self.closed = False

    def read(self, size: int = -1, /) -> bytes:
        if self._head:
            taken, self._head = self._head[:size], self._head[size:]
            return taken
        return self._rest.read(size)

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        # Arrow closes what it reads from; the file below is closed by who opened it
        self.closed = True


class _Unpacked:
    """A packed stream, unpacked; damage is a BatchError."""

    def __init__(self, stream: _Head, packing: str, name: str) -> None:
        import pyarrow as pa

        self._stream = pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), packing)
        self._packing = packing
        self._name = name

    def read(self, size: int = -1, /) -> bytes:
        try:
            return bytes(self._stream.read(size))
        except (OSError, ValueError) as error:
            raise BatchError(
                f"{self._name}: damaged or cut short {self._packing} data ({error}); "
                "copy the file anew"
            ) from None


class _Recoded:
    """A stream in another encoding, as UTF-8; what cannot be decoded stays invalid UTF-8."""

    def __init__(self, stream: Stream, encoding: str) -> None:
        self._stream = stream
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="surrogateescape")
        self._ended = False

    def read(self, size: int = -1, /) -> bytes:
        while not self._ended:
            block = self._stream.read(size)
            self._ended = not block
            try:
                text = self._decoder.decode(block, final=self._ended)
            except UnicodeError as error:
                raise BatchError(f"the input is not in {self._encoding}: {error}") from None
            if text:
                return text.encode("utf-8", errors="surrogateescape")
        return b""


@dataclass(frozen=True)
class CsvSource:
    """An open CSV file, its header read.

    Attributes
    ----------
    name : str
        As the user gave it.
    header : tuple of str
        Column names, in the order of the file, spaces around them dropped.
    delimiter : str
    plain : bool
        Whether the reader's offsets are those of the file.
    reader : RecordReader
        Stands behind the header.
    raw : binary file
        What is read from.
    """

    name: str
    header: tuple[str, ...]
    delimiter: str
    plain: bool
    reader: RecordReader
    raw: IO[bytes] = field(repr=False)

    def close(self) -> None:
        """Close the file."""
        _close(self.raw)


@dataclass(frozen=True)
class ParquetSource:
    """An open Parquet file.

    Attributes
    ----------
    name : str
    header : tuple of str
    file : pyarrow.parquet.ParquetFile
    """

    name: str
    header: tuple[str, ...]
    file: pq.ParquetFile

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def open_source(
    name: str,
    *,
    encoding: str = "utf-8",
    resume_at: Position | None = None,
    block: int | None = None,
) -> CsvSource | ParquetSource:
    """Open a file, or standard input for ``-``, and read its header.

    Parameters
    ----------
    name : str
    encoding : str
        Of a CSV file.
    resume_at : Position, optional
        Where to stand instead of right behind the header.
    block : int, optional
        Bytes read at a time.

    Raises
    ------
    BatchError
        If it cannot be read as either format.
    """
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise BatchError(f"unknown encoding {encoding!r}; try utf-8, cp1252 or latin-1") from None
    raw = _open(name)
    try:
        return _open_by_content(name, raw, encoding, resume_at, block)
    except BaseException:
        _close(raw)
        raise


def _open_by_content(
    name: str, raw: IO[bytes], encoding: str, resume_at: Position | None, block: int | None
) -> CsvSource | ParquetSource:
    head = raw.read(_MAGIC_BYTES)
    if not head:
        raise BatchError(f"{name} is empty; it needs a header row and one row for each vignette")
    if head.startswith(b"PAR1"):
        opened = _open_parquet(name, _Head(head, raw))
        _close(raw)
        return opened
    stream: Stream = _Head(head, raw)
    for magic, packing in _PACKED.items():
        if head.startswith(magic):
            stream = _Unpacked(_Head(head, raw), packing, name)
    if codecs.lookup(encoding).name == "utf-8":
        if head.startswith(_UTF16):
            raise BatchError(f"{name} is in UTF-16; save it as UTF-8, or pass --encoding utf-16")
    else:
        stream = _Recoded(stream, encoding)
    return _open_csv(name, stream, isinstance(stream, _Head), resume_at, block, raw)


def _close(raw: IO[bytes]) -> None:
    if raw is not sys.stdin.buffer:
        raw.close()


def _open(name: str) -> IO[bytes]:
    if name == STANDARD_INPUT:
        return sys.stdin.buffer
    try:
        return Path(name).open("rb")
    except FileNotFoundError:
        raise BatchError(f"there is no file {name}") from None
    except IsADirectoryError:
        raise BatchError(f"{name} is a folder, not a file") from None
    except OSError as error:
        raise BatchError(f"{name} cannot be read: {error.strerror}") from None


def _open_csv(
    name: str,
    stream: Stream,
    plain: bool,
    resume_at: Position | None,
    block: int | None,
    raw: IO[bytes],
) -> CsvSource:
    head = b""
    while len(_first_line(head)) == len(head.lstrip(_BLANK)) and len(head) < _LONGEST_HEADER:
        more = stream.read(BLOCK)
        if not more:
            break
        head += more
    first = _first_line(head)
    delimiter = max(DELIMITERS, key=lambda d: (first.count(d.encode()), d == ","))
    reader = RecordReader(_Head(head, stream), delimiter, block=block or BLOCK)
    chunk = next(reader.chunks(1), None)
    if chunk is None:
        raise BatchError(f"{name} is blank; it needs a header row and a row for each vignette")
    text = chunk.data[chunk.start[0] : chunk.end[0]]
    header = _read_header(name, text, int(chunk.flags[0]), delimiter)
    if resume_at is not None:
        _skip(reader, resume_at, name)
    else:
        # records are counted without the header
        reader.position = Position(reader.position.offset, reader.position.line, 0)
    return CsvSource(name, header, delimiter, plain, reader, raw)


def _first_line(head: bytes) -> bytes:
    return head.lstrip(_BLANK).replace(b"\r", b"\n").split(b"\n", 1)[0]


def _skip(reader: RecordReader, to: Position, name: str) -> None:
    if not reader.skip(to):
        raise BatchError(f"{name} is shorter than what was already scored; start without --resume")


def _read_header(name: str, text: bytes, flags: int, delimiter: str) -> tuple[str, ...]:
    text = text.removeprefix(codecs.BOM_UTF8)
    if flags & (NUL | TOO_LONG | UNCLOSED | BLANK):
        raise BatchError(f"{name} does not begin with a header row; it may not be a CSV file")
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError:
        raise BatchError(
            f"the header of {name} is not UTF-8; save the file as UTF-8, "
            "or name its encoding, as in --encoding cp1252"
        ) from None
    # a header is one record, however its lines end
    cells = next(csv.reader([decoded], delimiter=delimiter))
    return check_header(name, cells)


def check_header(name: str, cells: list[str]) -> tuple[str, ...]:
    """Return column names without the spaces around them.

    Raises
    ------
    BatchError
        If two columns have the same name.
    """
    header = tuple(cell.strip() for cell in cells)
    twice = [cell for i, cell in enumerate(header) if cell and cell in header[:i]]
    if twice:
        raise BatchError(f"{name} has two columns named {twice[0]!r}; rename or remove one")
    return header


def _open_parquet(name: str, stream: _Head) -> ParquetSource:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if name == STANDARD_INPUT:
            # Parquet is read from its end, so a pipe must be held in memory
            whole = b"".join(iter(lambda: stream.read(BLOCK), b""))
            file = pq.ParquetFile(pa.BufferReader(whole))
        else:
            file = pq.ParquetFile(name)
    except (OSError, ValueError) as error:
        raise BatchError(f"{name} is a damaged Parquet file: {error}") from None
    return ParquetSource(name, check_header(name, list(file.schema_arrow.names)), file)


def parquet_batches(
    source: ParquetSource,
    rows: int,
    columns: Sequence[str],
    skip: int = 0,
    group: str | None = None,
) -> Iterator[Any]:
    """Yield Arrow tables of `rows` rows (the last one fewer), the first `skip` rows left out.

    With `group`, tables are cut between different values of that column only, and so may have
    more or fewer rows.

    Raises
    ------
    BatchError
        If the file is damaged.
    """
    import pyarrow as pa

    waiting: list[Any] = []
    held = 0
    try:
        for batch in source.file.iter_batches(
            batch_size=rows, columns=list(columns), use_threads=False
        ):
            if skip >= len(batch):
                skip -= len(batch)
                continue
            waiting.append(batch.slice(skip))
            held += len(batch) - skip
            skip = 0
            if held < rows:
                continue
            table = pa.Table.from_batches(waiting)
            size = rows if group is None else _last_change(table[group])
            while 0 < size <= held:
                yield table.slice(0, size)
                table = table.slice(size)
                held -= size
                size = rows if group is None else 0
            waiting = table.to_batches()
    except (OSError, ValueError) as error:
        raise BatchError(f"{source.name} is a damaged Parquet file: {error}") from None
    if held:
        yield pa.Table.from_batches(waiting)


def _last_change(column: Any) -> int:
    """Return where the last run of equal values begins."""
    values = column.to_pylist()
    place = len(values) - 1
    while place > 0 and values[place - 1] == values[-1]:
        place -= 1
    return place
