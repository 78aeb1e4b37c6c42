"""One chunk of rows as text cells, whichever format it came from.

Arrow parses the cells of a chunk; a record with a quotation mark out of place is first read the
way Python's `csv` does (the mark is taken literally) and written out anew. Records that cannot be
cells of this header are rejected here: too few or too many cells, a quotation mark never closed,
bytes that are not UTF-8, a NUL byte, a record past `LONGEST_RECORD`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from twitchdx.batch.records import (
    LONE_CR,
    LONGEST_RECORD,
    MOST_LINES,
    NOT_ASCII,
    NUL,
    ODD_QUOTES,
    TOO_LONG,
    UNCLOSED,
    IntArray,
    RawChunk,
)

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


class Reject(NamedTuple):
    """Why one row was not scored, and what to do about it.

    Attributes
    ----------
    line : int
        Line of the file; of a Parquet file or a DataFrame, the row, from 1.
    vignette_id : str
        Blank where it could not be read.
    column : str
        As the file names it; blank where the trouble is with the whole row.
    value : str
    reason : str
    repair : str
    """

    line: int
    vignette_id: str
    column: str
    value: str
    reason: str
    repair: str


@dataclass(frozen=True)
class Cells:
    """Rows of one chunk as text.

    Attributes
    ----------
    columns : mapping of str to pyarrow.DictionaryArray
        Column name -> text of each row, blank where there is none.
    line : array, shape (rows,)
        Line of the file, or row of a file that has no lines, from 1.
    row : array, shape (rows,)
        Number of the row in the file, from 1.
    broken : tuple of Reject
        Records that are no rows of this header, in file order.
    """

    columns: Mapping[str, pa.DictionaryArray]
    line: IntArray
    row: IntArray
    broken: tuple[Reject, ...] = ()

    def __len__(self) -> int:
        return len(self.line)


def parse_chunk(
    chunk: RawChunk, header: Sequence[str], delimiter: str, wanted: Sequence[str], id_column: str
) -> Cells:
    """Cut the records of a CSV chunk into cells.

    Parameters
    ----------
    chunk : RawChunk
    header : sequence of str
        All columns of the file.
    delimiter : str
    wanted : sequence of str
        Columns to keep.
    id_column : str
        Where to look for the id of a record that is rejected.
    """
    width = len(header)
    reasons = _reasons(chunk, width)
    good = np.ones(len(chunk), bool)
    good[list(reasons)] = False
    broken = tuple(
        Reject(
            int(chunk.line[i]),
            id_of_record(_text(chunk, i), header, delimiter, id_column),
            "",
            _shown(_text(chunk, i)),
            *reasons[i],
        )
        for i in sorted(reasons)
    )
    table = _parse(_clean(chunk, good, delimiter), chunk, good, header, delimiter, wanted)
    return Cells(
        columns={name: _one_chunk(table[name]) for name in wanted},
        line=chunk.line[good],
        row=chunk.first_row + np.flatnonzero(good),
        broken=broken,
    )


def table_cells(table: Any, wanted: Sequence[str], first_row: int) -> Cells:
    """Take an Arrow table's columns as text cells; nulls and NaN are blank."""
    rows = first_row + np.arange(table.num_rows, dtype=np.int64)
    return Cells({name: _as_text(table[name]) for name in wanted}, rows, rows)


def frame_cells(frame: pd.DataFrame, wanted: Sequence[str]) -> Cells:
    """Take a DataFrame's columns as text cells; missing values are blank."""
    rows = np.arange(1, len(frame) + 1, dtype=np.int64)
    return Cells({name: _frame_column(frame[name]) for name in wanted}, rows, rows)


def _text(chunk: RawChunk, i: int | np.integer[Any]) -> bytes:
    return chunk.data[chunk.start[i] : chunk.end[i]]


def _shown(text: bytes, most: int = 80) -> str:
    shown = text[: 2 * most].decode("utf-8", errors="replace").replace("\0", "\\0")
    return shown if len(shown) <= most and len(text) <= 2 * most else shown[:most] + "..."


def _reasons(chunk: RawChunk, width: int) -> dict[int, tuple[str, str]]:
    """Return (reason, repair) for each record that is no row of this header."""
    flags = chunk.flags
    found: dict[int, tuple[str, str]] = {}
    for i in np.flatnonzero((chunk.fields != width) & (flags & (UNCLOSED | TOO_LONG) == 0)):
        n = int(chunk.fields[i])
        found[int(i)] = (
            f"{n} cells where the header has {width}",
            "give every row one cell for each column, and put cells that hold the delimiter in "
            "quotation marks",
        )
    for i in np.flatnonzero(flags & UNCLOSED):
        found[int(i)] = (
            f"a quotation mark is opened and not closed within {MOST_LINES} lines",
            "close it, or double a quotation mark that belongs to the text",
        )
    for i in np.flatnonzero(flags & TOO_LONG):
        found[int(i)] = (
            f"longer than {LONGEST_RECORD} bytes",
            "check that the file is a CSV file with line ends",
        )
    for i in np.flatnonzero(flags & NUL):
        found[int(i)] = ("holds a NUL byte", "write the file anew; it was damaged")
    if (flags & NOT_ASCII).any() and not _is_utf8(chunk.data):
        for i in np.flatnonzero(flags & NOT_ASCII):
            if not _is_utf8(_text(chunk, i)):
                found[int(i)] = (
                    "is not valid UTF-8",
                    "save the file as UTF-8, or name its encoding, as in --encoding cp1252",
                )
    return found


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _clean(chunk: RawChunk, good: np.ndarray[Any, Any], delimiter: str) -> bytes:
    """Return the good records as bytes that every CSV parser reads alike."""
    odd = chunk.flags & ODD_QUOTES
    # between records lies one line end and nothing else, in particular no blank line
    ends = chunk.end[:-1]
    crlf = np.frombuffer(chunk.data, np.uint8)[ends] == ord("\r")
    contiguous = chunk.start[0] == 0 and (chunk.start[1:] - ends == 1 + crlf).all()
    if good.all() and contiguous and not (chunk.flags & (ODD_QUOTES | LONE_CR)).any():
        return chunk.data[: chunk.end[-1]] + b"\n"
    parts = [_text(chunk, i) for i in np.flatnonzero(good)]
    for place, i in enumerate(np.flatnonzero(good)):
        if odd[i]:
            parts[place] = _rewritten(parts[place], delimiter)
    return b"\n".join(parts) + b"\n"


def _rewritten(text: bytes, delimiter: str) -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="").writerow(
        _split(text.decode("utf-8"), delimiter)
    )
    return out.getvalue().encode("utf-8")


def _split(text: str, delimiter: str) -> list[str]:
    limit = csv.field_size_limit()
    if len(text) > limit:
        csv.field_size_limit(max(limit, LONGEST_RECORD + 1))
    return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])


def _parse(
    data: bytes,
    chunk: RawChunk,
    good: np.ndarray[Any, Any],
    header: Sequence[str],
    delimiter: str,
    wanted: Sequence[str],
) -> Any:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    text = pa.dictionary(pa.int32(), pa.string())
    rows = int(good.sum())
    if not rows or not wanted:
        return {name: pa.array([""] * rows, pa.string()).dictionary_encode() for name in wanted}
    # columns go by their place, as names may be blank
    places = {name: str(header.index(name)) for name in wanted}
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(data),
            read_options=arrow_csv.ReadOptions(
                column_names=[str(i) for i in range(len(header))],
                use_threads=False,
                block_size=len(data) + 1,
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, ignore_empty_lines=False
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(places.values(), text),
                include_columns=list(places.values()),
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid:
        table = None
    if table is None or table.num_rows != rows:
        table = _parse_plainly(chunk, good, delimiter, list(places.values()))
    return {name: table[place] for name, place in places.items()}


def _parse_plainly(
    chunk: RawChunk, good: np.ndarray[Any, Any], delimiter: str, places: Sequence[str]
) -> Any:
    """Parse record by record in Python, should Arrow see other rows than the cutter did."""
    import pyarrow as pa

    rows = [_split(_text(chunk, i).decode("utf-8"), delimiter) for i in np.flatnonzero(good)]
    return pa.table(
        {
            place: pa.array([row[int(place)] for row in rows], pa.string()).dictionary_encode()
            for place in places
        }
    )


def _one_chunk(column: Any) -> Any:
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        column = column.unify_dictionaries().combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = column.chunk(0) if column.num_chunks else pa.array([], column.type)
    return column


def _as_text(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
    if pa.types.is_list(kind) or pa.types.is_struct(kind) or pa.types.is_binary(kind):
        column = pa.chunked_array([pa.array([str(v) for v in column.to_pylist()], pa.string())])
    text = pc.fill_null(column.cast(pa.string()), "")
    return _one_chunk(pc.dictionary_encode(text))


def _frame_column(series: pd.Series[Any]) -> Any:
    import pyarrow as pa

    values = series.array
    try:
        column = pa.chunked_array([pa.array(values, from_pandas=True)])
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError):
        # cells of several types: True beside "absent", 0.0 beside "lr=3"
        missing = series.isna()
        texts = ["" if gone else str(value) for value, gone in zip(values, missing, strict=True)]
        column = pa.chunked_array([pa.array(texts, pa.string())])
    return _as_text(column)


def id_of_record(text: bytes, header: Sequence[str], delimiter: str, id_column: str) -> str:
    """Return the vignette id of a record that may be no proper row; blank if it shows none."""
    if id_column not in header:
        return ""
    place = header.index(id_column)
    if b'"' not in text:
        cells = text.split(delimiter.encode(), place + 1)
        found = cells[place] if place < len(cells) else b""
        return found.decode("utf-8", errors="replace").strip()
    try:
        row = _split(text.decode("utf-8", errors="replace"), delimiter)
    except csv.Error:
        return ""
    return row[place].strip() if place < len(row) else ""
