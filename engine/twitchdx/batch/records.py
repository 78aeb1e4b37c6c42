"""Cuts a stream of CSV bytes into chunks of whole records, each with its true line number.

The cutter (compiled) only finds where records begin and end, how many cells they have and what
is odd about them; cells are parsed later, chunk by chunk, by Arrow (`twitchdx.batch.cells`). So
one pass at memory speed settles chunking, line numbers and malformed rows, whatever the block
size of the stream.

Outcomes that are settled here:

- A quoted cell may hold line breaks, up to `MOST_LINES` lines; a quotation mark that is not
  closed by then costs its own line only, and reading goes on at the next line.
- A record longer than `LONGEST_RECORD` bytes is cut there and flagged.
- Lines end with LF, CRLF or a lone CR. Blank lines are no records, but count as lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from twitchdx.inference.compiling import compiled

IntArray = NDArray[np.int64]

#: a quoted cell that spans more lines than this was never meant to be one
MOST_LINES = 100
#: bytes; also bounds what one record can cost in memory
LONGEST_RECORD = 1 << 20
BLOCK = 1 << 20

# what is odd about a record (bits)
HAS_QUOTES = 1
ODD_QUOTES = 2
UNCLOSED = 4
NOT_ASCII = 8
NUL = 16
LONE_CR = 32
TOO_LONG = 64
BLANK = 128


class Stream(Protocol):
    """What is read from: bytes, at most so many; none at the end."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Position:
    """Where a reader stands: bytes, physical lines and records read so far."""

    offset: int = 0
    line: int = 0
    row: int = 0


@dataclass(frozen=True)
class RawChunk:
    """A fixed number of records, not yet cut into cells.

    Attributes
    ----------
    number : int
        Place of the chunk in the file, from 0.
    data : bytes
    start, end : arrays, shape (records,)
        Where each record's text lies in `data`, its line end left out.
    fields : array, shape (records,)
        Number of cells.
    flags : array, shape (records,)
        What is odd about it (the bits named in this module).
    line : array, shape (records,)
        Line of the file that it begins on; the first line is 1.
    first_row : int
        Number of the first record among all records of the file, from 1.
    after : Position
        Where the reader stands behind the chunk.
    """

    number: int
    data: bytes
    start: IntArray
    end: IntArray
    fields: IntArray
    flags: IntArray
    line: IntArray
    first_row: int
    after: Position

    def __len__(self) -> int:
        return len(self.start)


@compiled()
def cut(
    data: NDArray[np.uint8],
    begin: int,
    delimiter: int,
    most: int,
    final: bool,
    longest: int,
    most_lines: int,
    start: IntArray,
    end: IntArray,
    fields: IntArray,
    flags: IntArray,
    lines: IntArray,
) -> tuple[int, int]:
    """Find records from `begin` on; return (records found, where the next one begins).

    Fills the five arrays from their beginning. Blank lines are found as well, flagged BLANK,
    and do not count against `most`. Stops early at a record that `data` holds only in part.
    """
    size = len(data)
    capacity = len(start)
    position = begin
    found = 0
    counted = 0
    while counted < most and found < capacity and position < size:
        first = position
        n_fields = 1
        n_lines = 1
        flag = 0
        only_space = True
        # 0 at the start of a cell, 1 inside one, 2 inside quotes, 3 behind a closing quote
        state = 0
        first_break = -1
        after_break = -1
        stop = -1
        following = -1
        while stop < 0:
            if position >= size:
                if not final:
                    return found, first
                stop = size
                following = size
                break
            if position - first >= longest:
                flag |= 64
                stop = position
                following = position
                break
            byte = data[position]
            if byte == 10 or byte == 13:
                width = 1
                if byte == 13:
                    if position + 1 >= size and not final:
                        return found, first
                    if position + 1 < size and data[position + 1] == 10:
                        width = 2
                if state == 2:
                    if first_break < 0:
                        first_break = position
                        after_break = position + width
                    n_lines += 1
                    if n_lines > most_lines:
                        stop = position
                        following = position
                        break
                    position += width
                    continue
                if byte == 13 and width == 1:
                    flag |= 32
                stop = position
                following = position + width
                break
            if byte >= 128:
                flag |= 8
            elif byte == 0:
                flag |= 16
            if byte != 32:
                only_space = False
            if state == 2:
                if byte == 34:
                    state = 3
            elif byte == 34:
                if state == 0:
                    flag |= 1
                    state = 2
                elif state == 3:
                    state = 2
                else:
                    flag |= 2
                    state = 1
            elif byte == delimiter:
                n_fields += 1
                state = 0
            else:
                if state == 3:
                    flag |= 2
                state = 1
            position += 1
        if state == 2:
            flag |= 4
            n_lines = 1
            if first_break >= 0:
                stop = first_break
                following = after_break
        if only_space and flag & ~32 == 0:
            flag |= 128
        else:
            counted += 1
        start[found] = first
        end[found] = stop
        fields[found] = n_fields
        flags[found] = flag
        lines[found] = n_lines if following > stop or following == size else n_lines - 1
        found += 1
        position = following
    return found, position


class RecordReader:
    """Reads a stream chunk by chunk; every chunk but the last has the same number of records.

    Parameters
    ----------
    stream : Stream
    delimiter : str
        One ASCII character.
    position : Position
        Where the stream stands already.
    block : int
        Bytes read at a time; the chunks do not depend on it.

    Examples
    --------
    >>> import io
    >>> reader = RecordReader(io.BytesIO(b"a,b\\n1,2\\n\\n3\\n"), ",")
    >>> [(c.line.tolist(), c.fields.tolist()) for c in reader.chunks(2)]
    [([1, 2], [2, 2]), ([4], [1])]
    """

    def __init__(
        self,
        stream: Stream,
        delimiter: str,
        position: Position = Position(),
        block: int = BLOCK,
    ) -> None:
        self._stream = stream
        self._delimiter = ord(delimiter)
        self._buffer = b""
        self._ended = False
        self._block = block
        self.position = position
        self._number = 0

    def chunks(
        self, rows: int, first_number: int = 0, group: Callable[[bytes], str] | None = None
    ) -> Iterator[RawChunk]:
        """Yield the rest of the stream in chunks of `rows` records.

        With `group`, a function of a record's text, a chunk goes on past `rows` for as long as
        records are of the same group, or of none (blank), so that no group is split.
        """
        self._number = first_number
        while (chunk := self._next(rows, group)) is not None:
            yield chunk

    def skip(self, to: Position) -> bool:
        """Read on, without looking, to where an earlier run stopped; False if it ends before."""
        missing = to.offset - self.position.offset
        while missing > len(self._buffer):
            missing -= len(self._buffer)
            self._buffer = b""
            self._fill()
            if self._ended:
                return False
        self._buffer = self._buffer[missing:]
        self.position = to
        return True

    def _next(self, rows: int, group: Callable[[bytes], str] | None = None) -> RawChunk | None:
        found: list[tuple[IntArray, ...]] = []
        done = counted = 0
        while counted < rows:
            got, done = self._cut(done, rows - counted)
            if len(got[0]):
                found.append(got)
                counted += int(np.count_nonzero(got[3] & BLANK == 0))
            elif self._ended:
                break
            else:
                self._fill()
        if group is not None and counted >= rows:
            done = self._rest_of_group(found, done, group)
        if not found:
            return None
        start, end, fields, flags, lines = (
            np.concatenate([part[i] for part in found]) for i in range(5)
        )
        line = self.position.line + 1 + np.concatenate(([0], np.cumsum(lines)[:-1]))
        data, self._buffer = self._buffer[:done], self._buffer[done:]
        kept = flags & BLANK == 0
        before = self.position
        self.position = Position(
            before.offset + done, before.line + int(lines.sum()), before.row + int(kept.sum())
        )
        if not kept.any():
            return None
        chunk = RawChunk(
            number=self._number,
            data=data,
            start=start[kept],
            end=end[kept],
            fields=fields[kept],
            flags=flags[kept],
            line=line[kept],
            first_row=before.row + 1,
            after=self.position,
        )
        self._number += 1
        return chunk

    def _rest_of_group(
        self, found: list[tuple[IntArray, ...]], done: int, group: Callable[[bytes], str]
    ) -> int:
        """Add the records that belong with the last one; those of no group belong to any."""
        current = ""
        for start, end, _, flags, _ in reversed(found):
            for i in range(len(start) - 1, -1, -1):
                if not current and not flags[i] & BLANK:
                    current = group(self._buffer[start[i] : end[i]])
        while True:
            got, after = self._cut(done, 1)
            if not len(got[0]):
                if self._ended:
                    return done
                self._fill()
                continue
            start, end, _, flags, _ = got
            name = "" if flags[-1] & BLANK else group(self._buffer[start[-1] : end[-1]])
            if name and name != current:
                return done
            found.append(got)
            done = after

    def _cut(self, begin: int, most: int) -> tuple[tuple[IntArray, ...], int]:
        capacity = min(most + 64, 4096) if most > 1 else 64
        arrays = tuple(np.empty(capacity, np.int64) for _ in range(5))
        found, done = cut(
            np.frombuffer(self._buffer, np.uint8),
            begin,
            self._delimiter,
            most,
            self._ended,
            LONGEST_RECORD,
            MOST_LINES,
            *arrays,
        )
        return tuple(array[:found] for array in arrays), int(done)

    def _fill(self) -> None:
        block = self._stream.read(self._block)
        if block:
            self._buffer += block
        else:
            self._ended = True
