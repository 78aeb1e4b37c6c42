"""Scoring of many vignettes: files of any size, DataFrames, clusters; and their simulation."""

from __future__ import annotations

from twitchdx.batch.frames import score_dask, score_frame
from twitchdx.batch.layout import ColumnMapping, read_mapping
from twitchdx.batch.run import RunOptions, Summary, score_file
from twitchdx.batch.scorer import ScoreOptions

__all__ = [
    "ColumnMapping",
    "RunOptions",
    "ScoreOptions",
    "Summary",
    "read_mapping",
    "score_dask",
    "score_file",
    "score_frame",
]
