"""What one worker does with one piece of a file; threads and cluster workers run the same."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twitchdx.batch.cells import Reject, parse_chunk, table_cells
from twitchdx.batch.records import Position, RawChunk
from twitchdx.batch.render import rows_per_vignette, to_table, to_text
from twitchdx.batch.scorer import EXACT, Scorer

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Piece:
    """A chunk of input, as read.

    Attributes
    ----------
    number : int
        Place in the file, from 0.
    rows : RawChunk or pyarrow.Table
    delimiter : str
        Of CSV.
    first_row : int
        Number of its first row in the file, from 1.
    after : Position
        Where the reader stands behind it.
    """

    number: int
    rows: RawChunk | pa.Table
    delimiter: str
    first_row: int
    after: Position


@dataclass(frozen=True)
class Product:
    """A piece, done.

    Attributes
    ----------
    number : int
    after : Position
    output : pyarrow.Array of str or pyarrow.Table
        CSV text, one element a vignette; or rows for Parquet.
    per_vignette : int
        Rows of the table for each vignette.
    keys : array of uint64, shape (scored,)
        Fingerprint of each id.
    vignette_id : list of str
    line : array, shape (scored,)
    rejects : tuple of Reject
    vignettes : int
        Scored and rejected together.
    sampled : int
        Scored, but not exactly.
    """

    number: int
    after: Position
    output: pa.Array | pa.Table
    per_vignette: int
    keys: NDArray[np.uint64]
    vignette_id: list[str]
    line: NDArray[np.int64]
    rejects: tuple[Reject, ...]
    vignettes: int
    sampled: int

    def without(self, again: NDArray[np.bool_]) -> Product:
        """Return the product with some scored vignettes rejected, as their ids were used before."""
        import pyarrow as pa

        kept = ~again
        rows = kept if self._is_text else np.repeat(kept, self.per_vignette)
        column = "vignette_id"
        late = [
            Reject(int(self.line[i]), self.vignette_id[i], column, self.vignette_id[i], *TWICE)
            for i in np.flatnonzero(again)
        ]
        return Product(
            number=self.number,
            after=self.after,
            output=self.output.filter(pa.array(rows)),
            per_vignette=self.per_vignette,
            keys=self.keys[kept],
            vignette_id=[self.vignette_id[i] for i in np.flatnonzero(kept)],
            line=self.line[kept],
            rejects=tuple(sorted((*self.rejects, *late), key=lambda reject: reject.line)),
            vignettes=self.vignettes,
            sampled=self.sampled,
        )

    @property
    def _is_text(self) -> bool:
        import pyarrow as pa

        return isinstance(self.output, pa.Array)


TWICE = (
    "this vignette_id was used by an earlier vignette",
    "give every vignette an id of its own; rows of a long file must stand together by vignette",
)


def process(scorer: Scorer, piece: Piece, text: bool) -> Product:
    """Score one piece; as CSV text, or as a table."""
    layout = scorer.layout
    if isinstance(piece.rows, RawChunk):
        cells = parse_chunk(
            piece.rows, layout.header, piece.delimiter, layout.wanted, layout.vignette_id or ""
        )
    else:
        cells = table_cells(piece.rows, layout.wanted, piece.first_row)
    scores = scorer.score(cells)
    per_vignette = rows_per_vignette(scores, scorer.options)
    table = to_table(scores, scorer.options, layout.truth is not None or layout.long)
    return Product(
        number=piece.number,
        after=piece.after,
        output=to_text(table, per_vignette) if text else table,
        per_vignette=per_vignette,
        keys=fingerprints(scores.vignette_id),
        vignette_id=scores.vignette_id,
        line=scores.line,
        rejects=scores.rejects,
        vignettes=scores.vignettes,
        sampled=int((scores.method != EXACT).sum()),
    )


def fingerprints(ids: list[str]) -> NDArray[np.uint64]:
    """Return a 64-bit fingerprint of each id, spaces around it left out; never 0."""
    digests = [hashlib.blake2b(i.strip().encode(), digest_size=8).digest() for i in ids]
    keys: NDArray[Any] = np.frombuffer(b"".join(digests), np.uint64).copy()
    keys[keys == 0] = 1
    return keys
