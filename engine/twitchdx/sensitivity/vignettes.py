"""The vignettes of a cohort: read as `score` reads them, answered exactly, each other one named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from twitchdx.batch.cells import Cells, Reject, frame_cells, id_of_record, parse_chunk, table_cells
from twitchdx.batch.encode import Encoder, Evidence
from twitchdx.batch.layout import NO_MAPPING, ColumnMapping, Layout, plan_layout
from twitchdx.batch.process import TWICE, fingerprints
from twitchdx.batch.seen import SeenIds
from twitchdx.batch.source import (
    CsvSource,
    ParquetSource,
    check_header,
    open_source,
    parquet_batches,
)
from twitchdx.case import Case
from twitchdx.diagnosis import Diagnosis
from twitchdx.errors import BatchError
from twitchdx.inference import infer_batch
from twitchdx.sensitivity.functions import FloatArray

if TYPE_CHECKING:
    import pandas as pd

    from twitchdx.diagnosis import Engine

ROWS = 5_000
"""Rows that are read at a time."""
SHOWN = 5
"""Left-out vignettes that an error message names."""

IMPOSSIBLE = (
    "these observations have probability zero together",
    "check them; a prior, link or background of exactly 0 or 1 rules them out",
)
TOO_WIDE = (
    "too many coupled findings for exact inference",
    "leave out the findings of least interest",
)


@dataclass(frozen=True)
class Reading:
    """How a file of vignettes is read: the options that `score` has, too.

    Attributes
    ----------
    mapping : ColumnMapping
    ignore_unknown_columns : bool
    encoding : str
        Of a CSV file.
    """

    mapping: ColumnMapping = NO_MAPPING
    ignore_unknown_columns: bool = False
    encoding: str = "utf-8"


AS_USUAL = Reading()


@dataclass(frozen=True, eq=False)
class Cohort:
    """Vignettes that have an exact answer, and why any other one was left out.

    Attributes
    ----------
    engine : Engine
    vignette_id : tuple of str
    line : ndarray of int, shape (V,)
    ratios : ndarray, shape (V, N)
    weights : ndarray, shape (V, strata)
    posterior : ndarray, shape (V, C)
        Of causes and syndromes.
    log_evidence : ndarray, shape (V,)
    width : ndarray of int, shape (V,)
    rejects : tuple of Reject
        At least one for each vignette that was left out.
    total : int
        Vignettes in the file.
    """

    engine: Engine
    vignette_id: tuple[str, ...]
    line: np.ndarray[tuple[int], np.dtype[np.int64]]
    ratios: FloatArray
    weights: FloatArray
    posterior: FloatArray
    log_evidence: FloatArray
    width: np.ndarray[tuple[int], np.dtype[np.int64]]
    rejects: tuple[Reject, ...]
    total: int

    def __len__(self) -> int:
        return len(self.vignette_id)

    def diagnosis(self, vignette: int) -> Diagnosis:
        """Return the diagnosis of one vignette, without inferring it anew."""
        return Diagnosis(
            self.engine,
            Case((), (), self.ratios[vignette], self.weights[vignette], None, None),
            self.posterior[vignette],
            float(self.log_evidence[vignette]),
            int(self.width[vignette]),
            "exact",
        )

    def without(self, reasons: dict[int, tuple[str, str]]) -> Cohort:
        """Leave out some more vignettes: place -> (reason, repair)."""
        if not reasons:
            return self
        kept = np.array([i for i in range(len(self)) if i not in reasons], dtype=np.int64)
        late = [
            Reject(int(self.line[i]), self.vignette_id[i], "", "", *why)
            for i, why in reasons.items()
        ]
        return replace(
            self,
            vignette_id=tuple(self.vignette_id[i] for i in kept),
            line=self.line[kept],
            ratios=self.ratios[kept],
            weights=self.weights[kept],
            posterior=self.posterior[kept],
            log_evidence=self.log_evidence[kept],
            width=self.width[kept],
            rejects=tuple(sorted((*self.rejects, *late), key=lambda reject: reject.line)),
        )

    @property
    def left_out(self) -> LeftOut:
        """The account of the vignettes that have no answer."""
        return LeftOut(self.total, len(self), self.rejects)


@dataclass(frozen=True)
class LeftOut:
    """The account of a cohort: vignettes in = answered + left out, with a reason for each.

    Attributes
    ----------
    total, answered : int
    rejects : tuple of Reject
    """

    total: int
    answered: int
    rejects: tuple[Reject, ...] = field(default=(), repr=False)

    @property
    def count(self) -> int:
        """How many were left out."""
        return self.total - self.answered

    @property
    def frame(self) -> pd.DataFrame:
        """One row a reason: `line`, `vignette_id`, `column`, `value`, `reason`, `repair`."""
        import pandas as pd

        return pd.DataFrame(self.rejects, columns=list(Reject._fields))

    def __str__(self) -> str:
        return (
            f"vignettes in = answered + left out: "
            f"{self.total:,} = {self.answered:,} + {self.count:,}"
        )


def read_cohort(
    engine: Engine, vignettes: str | Path | pd.DataFrame, reading: Reading = AS_USUAL
) -> Cohort:
    """Read a file of vignettes, by the reader of `score`, and answer each exactly.

    Parameters
    ----------
    engine : Engine
    vignettes : path or DataFrame
        A path is a CSV (plain, gzip or zstd) or Parquet file, wide or long.
    reading : Reading

    Raises
    ------
    BatchError
        For a file that cannot be read, columns that mean nothing here, or without a single
        vignette that can be answered.
    """
    parts: list[Evidence] = []
    seen = SeenIds()
    rejects: list[Reject] = []
    for evidence in _evidence(engine, vignettes, reading):
        again = seen.enter(fingerprints(evidence.vignette_id))
        rejects += evidence.rejects
        rejects += [
            Reject(
                int(evidence.line[i]),
                evidence.vignette_id[i],
                "vignette_id",
                evidence.vignette_id[i],
                *TWICE,
            )
            for i in np.flatnonzero(again)
        ]
        parts.append(_take(evidence, ~again))
    if not parts:
        raise BatchError(f"{_name(vignettes)} has a header row, but no vignettes")
    weights = np.concatenate([part.weights for part in parts])
    ratios = np.concatenate([part.ratios for part in parts])
    answer = infer_batch(engine.networks, weights, ratios, exact_only=True)
    cohort = Cohort(
        engine,
        tuple(name for part in parts for name in part.vignette_id),
        np.concatenate([part.line for part in parts]),
        ratios,
        weights,
        answer.posterior,
        answer.log_evidence,
        answer.width,
        tuple(sorted(rejects, key=lambda reject: reject.line)),
        sum(part.vignettes for part in parts),
    )
    why = {"impossible": IMPOSSIBLE, "too_wide": TOO_WIDE}
    cohort = cohort.without(
        {i: why[str(method)] for i, method in enumerate(answer.method) if str(method) in why}
    )
    return some_answered(cohort)


def some_answered(cohort: Cohort) -> Cohort:
    """Return a cohort, or raise BatchError if not a single vignette of it can be answered."""
    if len(cohort):
        return cohort
    told = [
        f"  line {r.line}, vignette {r.vignette_id or '?'}"
        + (f", column {r.column}: {r.value!r}" if r.column else ":")
        + f" {r.reason}; {r.repair}"
        for r in cohort.rejects[:SHOWN]
    ]
    if len(cohort.rejects) > SHOWN:
        told.append(f"  and {len(cohort.rejects) - SHOWN} more")
    raise BatchError("\n".join(["none of the vignettes can be answered:", *told]))


def _name(vignettes: str | Path | pd.DataFrame) -> str:
    return str(vignettes) if isinstance(vignettes, str | Path) else "the frame"


def _take(evidence: Evidence, kept: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Evidence:
    if kept.all():
        return evidence
    return replace(
        evidence,
        vignette_id=[name for name, keep in zip(evidence.vignette_id, kept, strict=True) if keep],
        line=evidence.line[kept],
        ratios=evidence.ratios[kept],
        weights=evidence.weights[kept],
    )


def _evidence(
    engine: Engine, vignettes: str | Path | pd.DataFrame, reading: Reading
) -> Iterator[Evidence]:
    if not isinstance(vignettes, str | Path):
        yield _of_frame(engine, vignettes, reading)
        return
    opened = open_source(str(vignettes), encoding=reading.encoding)
    try:
        layout = _layout(engine, str(vignettes), opened.header, reading)
        encoder = Encoder(engine, layout)
        for cells in _cells(opened, layout):
            yield encoder.encode(cells)
    finally:
        opened.close()


def _layout(engine: Engine, name: str, header: tuple[str, ...], reading: Reading) -> Layout:
    return plan_layout(
        name,
        header,
        engine.reader,
        mapping=reading.mapping,
        ignore_unknown=reading.ignore_unknown_columns,
    )


def _of_frame(engine: Engine, frame: pd.DataFrame, reading: Reading) -> Evidence:
    header = check_header("the frame", [str(column) for column in frame.columns])
    frame = frame.set_axis(list(header), axis=1)
    layout = _layout(engine, "the frame", header, reading)
    if layout.vignette_id is None:
        frame = frame.assign(vignette_id=frame.index.astype(str))
        layout = replace(layout, header=(*header, "vignette_id"), vignette_id="vignette_id")
    return Encoder(engine, layout).encode(frame_cells(frame, layout.wanted))


def _cells(opened: CsvSource | ParquetSource, layout: Layout) -> Iterator[Cells]:
    id_column = layout.vignette_id or ""
    if isinstance(opened, ParquetSource):
        row = 1
        group = layout.vignette_id if layout.long else None
        for table in parquet_batches(opened, ROWS, layout.wanted, group=group):
            yield table_cells(table, layout.wanted, row)
            row += table.num_rows
        return
    group_of = partial(
        id_of_record, header=opened.header, delimiter=opened.delimiter, id_column=id_column
    )
    for chunk in opened.reader.chunks(ROWS, 0, group_of if layout.long else None):
        yield parse_chunk(chunk, layout.header, opened.delimiter, layout.wanted, id_column)
