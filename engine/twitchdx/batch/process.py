"""What one worker does with one piece of a file; threads and cluster workers run the same."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twitchdx.batch.cells import Reject, parse_chunk, table_cells
from twitchdx.batch.records import Position, RawChunk
from twitchdx.batch.render import rows_per_vignette, to_table, to_text
from twitchdx.batch.scorer import EXACT, Scorer
from twitchdx.batch.seen import SeenIds

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
    keys_left_out : array of uint64, shape (left out,)
        Likewise, of vignettes of a long file that were not scored.
    vignette_id : list of str
    line, line_left_out : arrays, shape (scored,), (left out,)
    rejects : tuple of Reject
    vignettes : int
        Scored and rejected together.
    sampled : int
        Scored, but not exactly.
    returned : int
        Vignettes of a long file that were met before, and so are none of `vignettes`.
    """

    number: int
    after: Position
    output: pa.Array | pa.Table
    per_vignette: int
    keys: NDArray[np.uint64]
    keys_left_out: NDArray[np.uint64]
    vignette_id: list[str]
    line: NDArray[np.int64]
    line_left_out: NDArray[np.int64]
    rejects: tuple[Reject, ...]
    vignettes: int
    sampled: int
    returned: int = 0

    def less_known(self, seen: SeenIds, long: bool) -> Product:
        """Return the product without the vignettes whose ids were met before, and note the others.

        Rows of a long file that come back to a vignette are none of their own, only rejected.
        """
        in_order = np.argsort(np.concatenate([self.line, self.line_left_out]), kind="stable")
        again = np.empty(len(in_order), np.bool_)
        again[in_order] = seen.enter(np.concatenate([self.keys, self.keys_left_out])[in_order])
        scored = again[: len(self.keys)]
        product = self.without(scored, APART if long else TWICE) if scored.any() else self
        if not long:
            return product
        returned = int(again.sum())
        return replace(product, vignettes=self.vignettes - returned, returned=returned)

    def without(self, again: NDArray[np.bool_], why: tuple[str, str]) -> Product:
        """Return the product with some scored vignettes rejected."""
        import pyarrow as pa

        kept = ~again
        rows = kept if self._is_text else np.repeat(kept, self.per_vignette)
        column = "vignette_id"
        late = [
            Reject(int(self.line[i]), self.vignette_id[i], column, self.vignette_id[i], *why)
            for i in np.flatnonzero(again)
        ]
        return replace(
            self,
            output=self.output.filter(pa.array(rows)),
            keys=self.keys[kept],
            vignette_id=[self.vignette_id[i] for i in np.flatnonzero(kept)],
            line=self.line[kept],
            rejects=tuple(sorted((*self.rejects, *late), key=lambda reject: reject.line)),
        )

    @property
    def _is_text(self) -> bool:
        import pyarrow as pa

        return isinstance(self.output, pa.Array)


TWICE = (
    "this vignette_id was used by an earlier vignette",
    "give every vignette an id of its own; rows of a long file must stand together by vignette",
)
APART = (
    "rows of this vignette stand apart: the earlier ones were scored, or rejected, without these",
    "sort the file by vignette_id and score it anew; until then the earlier score rests on a part "
    "of the rows",
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
    # in a long file its rows may come back; in a wide one the id is free for another vignette
    left_out = scores.left_out if layout.long else {}
    per_vignette = rows_per_vignette(scores, scorer.options)
    table = to_table(scores, scorer.options, layout.truth is not None or layout.long)
    return Product(
        number=piece.number,
        after=piece.after,
        output=to_text(table, per_vignette) if text else table,
        per_vignette=per_vignette,
        keys=fingerprints(scores.vignette_id),
        keys_left_out=fingerprints(list(left_out.values())),
        vignette_id=scores.vignette_id,
        line=scores.line,
        line_left_out=np.array(list(left_out), np.int64),
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
