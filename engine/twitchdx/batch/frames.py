"""DataFrames in, DataFrames out, through the same function that scores files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from twitchdx.batch import render
from twitchdx.batch.cells import Reject, frame_cells
from twitchdx.batch.layout import NO_MAPPING, ColumnMapping, plan_layout
from twitchdx.batch.process import TWICE, fingerprints
from twitchdx.batch.scorer import PLAIN, ScoreOptions, Scorer
from twitchdx.batch.seen import SeenIds
from twitchdx.batch.source import check_header
from twitchdx.errors import BatchError

if TYPE_CHECKING:
    import pandas as pd

    from twitchdx.diagnosis import Engine

#: rejects that an error message shows
MOST_SHOWN = 20
#: `method` of a row that `score_dask` could not score
REJECTED = "rejected"


def score_frame(
    engine: Engine,
    frame: pd.DataFrame,
    *,
    options: ScoreOptions = PLAIN,
    mapping: ColumnMapping = NO_MAPPING,
    ignore_unknown_columns: bool = False,
) -> pd.DataFrame:
    """Return the posteriors of a DataFrame's vignettes, on one core.

    Parameters
    ----------
    engine : Engine
    frame : DataFrame
        Wide or long, with the columns of a vignette file; missing values are unknown. Without a
        column `vignette_id`, a wide frame's vignettes go by its index.
    options : ScoreOptions
    mapping : ColumnMapping
    ignore_unknown_columns : bool

    Returns
    -------
    DataFrame
        One row a vignette, in the same order: `vignette_id`, `truth` where it was given, one
        column a cause, `top_cause`, `log_evidence` (natural), `method`, `standard_error` (the
        largest of the row; missing where the answer is exact).

    Raises
    ------
    BatchError
        If any vignette cannot be scored: names each, with column, value, reason and repair; or
        for an unknown column.
    """
    scores, truth = _scores(engine, frame, options, mapping, ignore_unknown_columns)
    again = SeenIds().enter(fingerprints(scores.vignette_id))
    rejects = [
        *scores.rejects,
        *(
            Reject(int(scores.line[i]), scores.vignette_id[i], "", "", *TWICE)
            for i in np.flatnonzero(again)
        ),
    ]
    if rejects:
        raise BatchError(_told(rejects))
    return _to_pandas(render.to_table(scores, options, truth))


def score_dask(
    ddf: Any,
    engine: Engine,
    *,
    options: ScoreOptions = PLAIN,
    mapping: ColumnMapping = NO_MAPPING,
    ignore_unknown_columns: bool = False,
) -> Any:
    """Score a Dask DataFrame, partition by partition, wherever its scheduler runs.

    Parameters
    ----------
    ddf : dask.dataframe.DataFrame
        As `score_frame` takes it. Rows of one vignette of a long frame must be in one partition.
    engine : Engine
    options : ScoreOptions
    mapping : ColumnMapping
    ignore_unknown_columns : bool

    Returns
    -------
    dask.dataframe.DataFrame
        The columns of `score_frame` and, last, `rejected`: blank, or why a vignette could not be
        scored. Such a vignette keeps a row, with `method` "rejected" and no numbers, so that
        nothing is lost. Ids are compared within a partition only.

    Raises
    ------
    BatchError
        For an unknown column, at once.
    """
    whole = _ScorePartition(engine, options, mapping, ignore_unknown_columns)
    return ddf.map_partitions(whole, meta=whole(ddf._meta))


class _ScorePartition:
    """Scores one partition; a class, so that it can be sent to workers."""

    def __init__(
        self, engine: Engine, options: ScoreOptions, mapping: ColumnMapping, ignore_unknown: bool
    ) -> None:
        self._engine = engine
        self._options = options
        self._mapping = mapping
        self._ignore_unknown = ignore_unknown

    def __call__(self, frame: pd.DataFrame) -> pd.DataFrame:
        import pandas as pd

        scores, truth = _scores(
            self._engine, frame, self._options, self._mapping, self._ignore_unknown
        )
        again = SeenIds().enter(fingerprints(scores.vignette_id))
        scored = _to_pandas(render.to_table(scores, self._options, truth))
        per_vignette = render.rows_per_vignette(scores, self._options)
        scored["rejected"] = pd.array([""] * len(scored), dtype="str")
        spoilt = np.repeat(again, per_vignette)
        numbers = scored.select_dtypes("number").columns
        scored.loc[spoilt, numbers] = np.nan if not self._options.tidy else 0
        scored.loc[spoilt, "method"] = REJECTED
        scored.loc[spoilt, "rejected"] = "; ".join(TWICE)
        if not scores.rejects:
            return scored
        lines = np.repeat(scores.line, per_vignette)
        rejected = _rejected_rows(scored, scores.rejects)
        both = pd.concat([scored, rejected]) if len(scored) else rejected
        order = np.argsort(np.concatenate([lines, rejected.index.to_numpy()]), kind="stable")
        return both.iloc[order].reset_index(drop=True)


def _rejected_rows(like: pd.DataFrame, rejects: tuple[Reject, ...]) -> pd.DataFrame:
    """Return one row a rejected vignette, by the line it is on, in the columns of `like`."""
    import pandas as pd

    why: dict[tuple[str, int], list[str]] = {}
    line: dict[tuple[str, int], int] = {}
    for reject in rejects:
        key = (reject.vignette_id, 0 if reject.vignette_id else reject.line)
        place = f"{reject.column} {reject.value!r}: " if reject.column else ""
        why.setdefault(key, []).append(f"{place}{reject.reason}; {reject.repair}")
        line.setdefault(key, reject.line)
    rows = pd.DataFrame(
        {
            "vignette_id": [name for name, _ in why],
            "method": REJECTED,
            "rejected": [" | ".join(reasons) for reasons in why.values()],
        },
        index=list(line.values()),
    ).reindex(columns=like.columns)
    for name, kind in like.dtypes.items():
        if kind.kind in "iu":
            rows[name] = rows[name].fillna(0)
        rows[name] = rows[name].astype(kind)
    return rows


def _scores(
    engine: Engine,
    frame: pd.DataFrame,
    options: ScoreOptions,
    mapping: ColumnMapping,
    ignore_unknown: bool,
) -> tuple[Any, bool]:
    header = check_header("the frame", [str(column) for column in frame.columns])
    frame = frame.set_axis(list(header), axis=1)
    layout = plan_layout(
        "the frame", header, engine.reader, mapping=mapping, ignore_unknown=ignore_unknown
    )
    if layout.vignette_id is None:
        frame = frame.assign(vignette_id=frame.index.astype(str))
        layout = replace(layout, header=(*header, "vignette_id"), vignette_id="vignette_id")
    scores = Scorer(engine, layout, options).score(frame_cells(frame, layout.wanted))
    return scores, layout.truth is not None or layout.long


def _to_pandas(table: Any) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _told(rejects: list[Reject]) -> str:
    lines = [
        f"  row {r.line}, vignette {r.vignette_id}"
        + (f", column {r.column}: {r.value!r}" if r.column else ":")
        + f" {r.reason}; {r.repair}"
        for r in rejects[:MOST_SHOWN]
    ]
    if len(rejects) > MOST_SHOWN:
        lines.append(f"  and {len(rejects) - MOST_SHOWN} more")
    return "\n".join([f"{len(rejects)} problems in the frame; nothing was scored:", *lines])
