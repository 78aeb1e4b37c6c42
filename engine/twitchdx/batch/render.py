"""Scores -> output rows: Arrow tables, or CSV text with one element a vignette.

Numbers are written with as many digits as bring back the same double. Text is put in quotation
marks only where it holds a comma, a quotation mark or a line break.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twitchdx.batch.scorer import ScoreOptions, Scores

if TYPE_CHECKING:
    import pyarrow as pa

#: optional columns of one text a vignette
EXTRAS = ("reasons", "red_flags")
SPECIAL = '[",\r\n]'


def columns(causes: tuple[str, ...], options: ScoreOptions, truth: bool) -> tuple[str, ...]:
    """Return the names of the output columns.

    Examples
    --------
    >>> columns(("a", "b"), ScoreOptions(), truth=True)
    ('vignette_id', 'truth', 'a', 'b', 'top_cause', 'log_evidence', 'method', 'standard_error')
    >>> columns(("a", "b"), ScoreOptions(top=1), truth=False)
    ('vignette_id', 'rank', 'cause', 'posterior', 'log_evidence', 'method', 'standard_error')
    """
    first = ("vignette_id", *(("truth",) if truth else ()))
    interval = options.intervals
    extra = (*(("reasons",) if options.explain else ()), *(("red_flags",) * options.red_flags))
    last = ("log_evidence", "method", "standard_error", *extra)
    if options.tidy:
        tidy_bounds = ("low", "high") if interval else ()
        return (*first, "rank", "cause", "posterior", *tidy_bounds, *last)
    bounds = tuple(f"{cause}_{end}" for cause in causes for end in ("low", "high") if interval)
    return (*first, *causes, *bounds, "top_cause", *last)


def to_table(scores: Scores, options: ScoreOptions, truth: bool) -> pa.Table:
    """Return the output rows as an Arrow table; a vignette's rows stand together."""
    import pyarrow as pa

    made = _tidy(scores, options) if options.tidy else _wide(scores, options)
    if not truth:
        del made["truth"]
    names = columns(scores.causes, options, truth)
    return pa.table({name: made[name] for name in names})


def schema(causes: tuple[str, ...], options: ScoreOptions, truth: bool) -> pa.Schema:
    """Return the names and types of the output columns."""
    none = np.zeros((0, len(causes)))
    empty = Scores(
        causes=causes,
        vignette_id=[],
        truth=[],
        line=np.zeros(0, np.int64),
        row=np.zeros(0, np.int64),
        posterior=none,
        standard_error=none,
        log_evidence=np.zeros(0),
        method=np.zeros(0, "<U10"),
        order=np.zeros((0, options.ranks(len(causes))), np.int64),
        rejects=(),
        vignettes=0,
        left_out={},
        extra={name: [] for name in EXTRAS if name in columns(causes, options, truth)},
        low=none if options.intervals else None,
        high=none if options.intervals else None,
    )
    return to_table(empty, options, truth).schema


def rows_per_vignette(scores: Scores, options: ScoreOptions) -> int:
    """Return how many output rows one vignette has."""
    return options.ranks(len(scores.causes)) if options.tidy else 1


def to_text(table: pa.Table, per_vignette: int) -> pa.Array:
    """Return CSV text, line ends included, one element a vignette."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = [_csv_text(column) for column in table.itercolumns()]
    texts[-1] = pc.binary_join_element_wise(texts[-1], pa.scalar("\n"), "")
    lines = pc.binary_join_element_wise(*texts, ",")
    if per_vignette == 1 or not len(lines):
        return lines
    starts = np.arange(0, len(lines) + 1, per_vignette, dtype=np.int32)
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(starts), lines), "")


def csv_header(names: tuple[str, ...]) -> bytes:
    """Return the header line."""
    return (",".join(names) + "\n").encode()


def text_bytes(texts: pa.Array) -> bytes:
    """Return the elements' bytes, one behind the other.

    Examples
    --------
    >>> import pyarrow as pa
    >>> text_bytes(pa.array(["a", "bc", "d"]).slice(1))
    b'bcd'
    """
    if not len(texts):
        return b""
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return bytes(data[int(ends[0]) : int(ends[-1])])


def _wide(scores: Scores, options: ScoreOptions) -> dict[str, Any]:
    import pyarrow as pa

    made: dict[str, Any] = {
        "vignette_id": pa.array(scores.vignette_id, pa.string()),
        "truth": pa.array(scores.truth, pa.string()),
        "top_cause": _names(scores.causes, scores.order[:, 0]),
        "log_evidence": pa.array(scores.log_evidence),
        "method": pa.array(scores.method.tolist(), pa.string()),
        "standard_error": _or_null(_largest(scores.standard_error)),
    }
    for i, cause in enumerate(scores.causes):
        made[cause] = pa.array(np.ascontiguousarray(scores.posterior[:, i]))
        for end, bound in (("low", scores.low), ("high", scores.high)):
            if bound is not None:
                made[f"{cause}_{end}"] = _or_null(bound[:, i])
    for name, texts in scores.extra.items():
        made[name] = pa.array(texts, pa.string())
    return made


def _tidy(scores: Scores, options: ScoreOptions) -> dict[str, Any]:
    import pyarrow as pa

    count = rows_per_vignette(scores, options)
    order = scores.order

    def of_cause(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.take_along_axis(values, order, axis=1).ravel()

    wide = _wide(replace(scores, low=None, high=None), options)
    again = pa.array(np.repeat(np.arange(len(scores)), count))
    per_vignette = ("vignette_id", "truth", "log_evidence", "method", *scores.extra)
    made = {name: wide[name].take(again) for name in per_vignette}
    made["rank"] = pa.array(np.tile(np.arange(1, count + 1), len(scores)))
    made["cause"] = _names(scores.causes, order.ravel())
    made["posterior"] = pa.array(of_cause(scores.posterior))
    made["standard_error"] = _or_null(of_cause(scores.standard_error))
    for end, bound in (("low", scores.low), ("high", scores.high)):
        if bound is not None:
            made[end] = _or_null(of_cause(bound))
    return made


def _names(names: tuple[str, ...], places: NDArray[np.int64]) -> Any:
    import pyarrow as pa

    return pa.array(names, pa.string()).take(pa.array(places))


def _largest(values: NDArray[np.float64]) -> NDArray[np.float64]:
    if not values.size:
        return np.full(len(values), np.nan)
    filled = np.where(np.isnan(values), -1.0, values).max(axis=1)
    return np.where(filled < 0, np.nan, filled)


def _or_null(values: NDArray[np.float64]) -> Any:
    import pyarrow as pa

    return pa.array(np.ascontiguousarray(values), from_pandas=True)


def _csv_text(column: pa.ChunkedArray) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], array.type)
    text = array.cast(pa.string())
    if text.null_count:
        text = pc.fill_null(text, "")
    if pa.types.is_string(array.type):
        special = pc.match_substring_regex(text, SPECIAL)
        if pc.any(special).as_py():
            doubled = pc.replace_substring(text, '"', '""')
            quoted = pc.binary_join_element_wise(pa.scalar('"'), doubled, pa.scalar('"'), "")
            text = pc.if_else(special, quoted, text)
    return text
