"""Vignettes with truth, at each level of information, as evidence for an engine."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twitchdx.errors import BatchError, UnknownIdError
from twitchdx.evidence import ABSENT, PRESENT

if TYPE_CHECKING:
    import pandas as pd

    from twitchdx.diagnosis import Engine
    from twitchdx.tables.knowledge import KnowledgeBase

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

LEVELS: Mapping[str, tuple[str, ...]] = {
    "history": ("symptom", "history"),
    "history and signs": ("symptom", "history", "sign"),
    "all": ("symptom", "history", "sign", "test"),
}
"""Level of information -> kinds of finding that it knows. Known causes count as history."""

EVERY = "all cases"
"""The subset that is no subset."""


@dataclass(frozen=True, eq=False)
class Cases:
    """Vignettes of one level of information, read for one engine.

    Attributes
    ----------
    ids : tuple of str
    truths : tuple of tuple of str
        True causes of each case, as the file names them (older ids too), those left out whose
        state the case states as known.
    causes : tuple of str
        Causes that can be ranked.
    ratios : array, shape (cases, nodes)
    weights : array, shape (cases, strata)
    known : array of bool, shape (cases, causes)
        Causes whose state was observed.
    subsets : mapping of str to array of bool, shape (cases,)
    rejected : tuple of str
        Why any other vignette was left out.
    """

    ids: tuple[str, ...]
    truths: tuple[tuple[str, ...], ...]
    causes: tuple[str, ...]
    ratios: FloatArray
    weights: FloatArray
    known: BoolArray
    subsets: Mapping[str, BoolArray]
    rejected: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def present(self) -> NDArray[np.int64]:
        """Findings known to be present in each case, shape (cases,)."""
        return np.asarray((self.ratios == PRESENT).sum(axis=1))

    def take(self, rows: NDArray[np.int64]) -> Cases:
        """Return some of the cases, in that order."""
        return replace(
            self,
            ids=tuple(self.ids[i] for i in rows),
            truths=tuple(self.truths[i] for i in rows),
            ratios=self.ratios[rows],
            weights=self.weights[rows],
            known=self.known[rows],
            subsets={name: flags[rows] for name, flags in self.subsets.items()},
        )


@dataclass(frozen=True, eq=False)
class VignetteFile:
    """A file of vignettes with truth.

    Attributes
    ----------
    name : str
    frame : DataFrame
        All text.
    subsets : mapping of str to set of str
        Name -> ids of its vignettes.
    """

    name: str
    frame: pd.DataFrame
    subsets: Mapping[str, frozenset[str]]


def read_vignettes(path: str | Path, subsets: str | Path | None = None) -> VignetteFile:
    """Read a CSV file of vignettes with a column `truth`, wide or long.

    Parameters
    ----------
    path : path
    subsets : path, optional
        A CSV file with a column `vignette_id` and any columns of yes and no: each is a subset
        that is scored apart. By default ``<stem>_sources.csv`` beside the vignettes, if there is
        one.

    Raises
    ------
    BatchError
        If there is no column `truth`, or a file cannot be read.
    """
    import pandas as pd

    source = Path(path)
    try:
        frame = pd.read_csv(source, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise BatchError(f"{path} cannot be read: {error}") from None
    if "truth" not in frame.columns:
        raise BatchError(f"{path} has no column truth: nothing to compare the answers with")
    beside = source.with_name(f"{source.stem}_sources.csv")
    if subsets is None and beside.exists():
        subsets = beside
    return VignetteFile(source.name, frame, {} if subsets is None else _subsets(Path(subsets)))


def _subsets(path: Path) -> dict[str, frozenset[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise BatchError(f"{path} cannot be read: {error.strerror}") from None
    if not rows or "vignette_id" not in rows[0]:
        raise BatchError(f"{path} has no column vignette_id")
    flags = [
        name for name in rows[0] if {(row[name] or "").lower() for row in rows} == {"yes", "no"}
    ]
    return {
        name: frozenset(r["vignette_id"] for r in rows if r[name].lower() == "yes")
        for name in flags
    }


def read_cases(engine: Engine, file: VignetteFile, level: str = "all") -> Cases:
    """Read the vignettes of a file as evidence, with the findings of one level only.

    Vignettes that cannot be read, or whose true causes no table knows, are left out, and said.

    Parameters
    ----------
    engine : Engine
    file : VignetteFile
    level : str
        Of `LEVELS`.
    """
    from twitchdx.batch.cells import frame_cells
    from twitchdx.batch.encode import Encoder
    from twitchdx.batch.layout import plan_layout

    frame = _at_level(engine.knowledge, file.frame, level)
    layout = plan_layout(file.name, tuple(frame.columns), engine.reader)
    evidence = Encoder(engine, layout).encode(frame_cells(frame, layout.wanted))
    rejected = [
        f"{r.vignette_id}: {r.column} {r.value!r} {r.reason}; {r.repair}" for r in evidence.rejects
    ]
    kept: list[int] = []
    truths: list[tuple[str, ...]] = []
    place = [engine.reader.index[cause] for cause in engine.causes]
    known = evidence.ratios[:, place]
    known_flags = (known == PRESENT) | (known == ABSENT)
    position = {cause: i for i, cause in enumerate(engine.causes)}
    for i, text in enumerate(evidence.truth):
        names = [part.strip() for part in text.split(";") if part.strip()]
        try:
            parts = {name: truth_parts(engine, name) for name in dict.fromkeys(names)}
        except UnknownIdError as error:
            rejected.append(f"{evidence.vignette_id[i]}: truth {error}")
            continue
        kept.append(i)
        truths.append(
            tuple(
                name
                for name, ids in parts.items()
                if not any(known_flags[i, position[one]] for one in ids)
            )
        )
    rows = np.array(kept, dtype=np.int64)
    ids = tuple(evidence.vignette_id[i] for i in kept)
    return Cases(
        ids=ids,
        truths=tuple(truths),
        causes=engine.causes,
        ratios=evidence.ratios[rows],
        weights=evidence.weights[rows],
        known=known_flags[rows],
        subsets={
            EVERY: np.ones(len(ids), bool),
            **{
                name: np.array([one in members for one in ids], dtype=bool)
                for name, members in file.subsets.items()
            },
        },
        rejected=tuple(rejected),
    )


def truth_parts(engine: Engine, name: str) -> tuple[str, ...]:
    """Return the causes that a true cause may be: itself, or any part of an older id.

    Raises
    ------
    UnknownIdError
        If it is no cause, or a syndrome, which is never a truth.
    """
    parts = engine.knowledge.stands_for(name)
    for part in parts:
        if part not in engine.causes:
            raise UnknownIdError(name, (*engine.causes, *engine.knowledge.aliases), "cause")
    return parts


def _at_level(knowledge: KnowledgeBase, frame: pd.DataFrame, level: str) -> pd.DataFrame:
    """Leave out the columns (of a long frame: the rows) of findings that a level does not know."""
    kinds = LEVELS[level]

    def knows(name: str) -> bool:
        if name in knowledge.quantities:
            return all(knows(row.finding) for row in knowledge.quantities[name])
        if name in knowledge.aliases and knowledge.aliases[name].kind == "finding":
            return all(knows(part) for part in knowledge.aliases[name].stands_for)
        return name not in knowledge.findings or knowledge.findings[name].kind in kinds

    if {"finding", "state"} <= set(frame.columns):
        # a vignette of which nothing is known keeps a row, blank
        hidden = ~frame["finding"].map(knows)
        return frame.assign(state=frame["state"].where(~hidden, ""))
    return frame[[column for column in frame.columns if knows(column)]]
