"""The knowledge base: every row of every table, plain, immutable and joined by id.

`read_tables` reads any two folders with the tables of `twitchdx.tables.schema`; `default_tables`
reads the ones that ship with the package. Both check everything and raise with all problems.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from twitchdx.errors import TableMeaningError, TableShapeError, UnknownIdError, nearest
from twitchdx.tables.read import Tables, collect
from twitchdx.tables.schema import (
    ANY,
    TABLES,
    Alias,
    Background,
    Cause,
    Claim,
    Demographic,
    Finding,
    Implication,
    Likelihood,
    Link,
    Management,
    Measurement,
    Population,
    Prior,
    RedFlag,
    Row,
    Source,
    Unit,
    Workup,
)

RowT = TypeVar("RowT", Prior, Background)


@dataclass(frozen=True, eq=False)
class KnowledgeBase:
    """Everything the tables say.

    Tables with an id are mappings from id to row, in file order; the others are tuples of rows.
    A row has the columns as attributes, and `where` (file, line). Columns with several ids
    (`source`, `all_of`, `stands_for` ...) are tuples, empty when the cell is blank; any other
    blank cell is None.

    Attributes
    ----------
    causes, findings, populations, red_flags, workup, claims, aliases, sources : mapping
        Id -> row.
    priors : mapping of str to tuple of Prior
        Population -> the rows of its own file (an overlay lists only what differs).
    demographics, links, likelihoods, backgrounds, measurements, units, implications, management
        Tuples of rows.
    """

    causes: Mapping[str, Cause]
    findings: Mapping[str, Finding]
    likelihoods: tuple[Likelihood, ...]
    links: tuple[Link, ...]
    populations: Mapping[str, Population]
    demographics: tuple[Demographic, ...]
    priors: Mapping[str, tuple[Prior, ...]]
    backgrounds: tuple[Background, ...]
    measurements: tuple[Measurement, ...]
    units: tuple[Unit, ...]
    implications: tuple[Implication, ...]
    red_flags: Mapping[str, RedFlag]
    workup: Mapping[str, Workup]
    management: tuple[Management, ...]
    claims: Mapping[str, Claim]
    aliases: Mapping[str, Alias]
    sources: Mapping[str, Source]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the content of all tables.

        Row order, column order, line ends, and which file or line a row sits in make no
        difference; any changed cell does.
        """
        digest = hashlib.sha256()
        for name in sorted(TABLES):
            columns = sorted({*TABLES[name].row.columns(), *TABLES[name].key})
            lines = sorted(
                json.dumps([getattr(item, column) for column in columns])
                for item in self.rows(name)
            )
            digest.update(json.dumps([name, columns, lines]).encode())
        return digest.hexdigest()

    @cached_property
    def syndromes(self) -> frozenset[str]:
        """Ids of the nodes that stand between causes and findings."""
        return frozenset(c.cause for c in self.causes.values() if c.nature == "syndrome")

    @cached_property
    def quantities(self) -> Mapping[str, tuple[Measurement, ...]]:
        """Measured quantity -> its thresholds."""
        return _group(self.measurements, "quantity")

    def rows(self, table: str) -> tuple[Row, ...]:
        """All rows of a table, by the table's name."""
        return tuple(_rows(getattr(self, table)))

    def nearest(self, identifier: str) -> tuple[str, ...]:
        """Ids (causes, findings, quantities, aliases) most like a mistyped one, best first."""
        return nearest(identifier, [*self.causes, *self.findings, *self.quantities, *self.aliases])

    def stands_for(self, identifier: str) -> tuple[str, ...]:
        """Current ids behind an id: itself, or what its alias stands for (any of them).

        Raises
        ------
        UnknownIdError
            With the nearest valid ids.
        """
        if identifier in self.causes or identifier in self.findings:
            return (identifier,)
        if identifier in self.aliases:
            return self.aliases[identifier].stands_for
        choices = [*self.causes, *self.findings, *self.aliases]
        raise UnknownIdError(identifier, choices, "cause or finding")

    def base_chain(self, population: str) -> tuple[str, ...]:
        """The population and those it overlays, root last.

        Raises
        ------
        UnknownIdError
            For a population that no table declares.
        """
        if population not in self.populations:
            raise UnknownIdError(population, self.populations, "population")
        chain = [population]
        while (base := self.populations[chain[-1]].base) is not None:
            chain.append(base)
        return tuple(chain)

    def strata(self, population: str) -> tuple[Demographic, ...]:
        """Make-up of a population by sex and age band: its own, else its base's."""
        for name in self.base_chain(population):
            own = tuple(row for row in self.demographics if row.population == name)
            if own:
                return own
        return ()

    def prior_row(self, population: str, cause: str, sex: str, age_band: str) -> Prior | None:
        """The row that gives a cause's prevalence in one stratum.

        An overlay's own rows come before its base's. Within a population the most specific row
        wins: sex and age, then age, then sex, then neither.

        Returns
        -------
        Prior or None
            None when no row fits.
        """
        for name in self.base_chain(population):
            row = most_specific(self._priors_of(name).get(cause, ()), sex, age_band)
            if row is not None:
                return row
        return None

    def background_row(self, finding: str, sex: str, age_band: str) -> Background | Finding:
        """The row that gives a finding's background in one stratum, most specific first."""
        row = most_specific(self._backgrounds.get(finding, ()), sex, age_band)
        return row if row is not None else self.findings[finding]

    @cached_property
    def _backgrounds(self) -> Mapping[str, tuple[Background, ...]]:
        return _group(self.backgrounds, "finding")

    @cached_property
    def _prior_index(self) -> dict[str, Mapping[str, tuple[Prior, ...]]]:
        return {name: _group(rows, "cause") for name, rows in self.priors.items()}

    def _priors_of(self, population: str) -> Mapping[str, tuple[Prior, ...]]:
        return self._prior_index.get(population, {})


def most_specific(rows: Iterable[RowT], sex: str, age_band: str) -> RowT | None:
    """The row that fits a stratum best: sex and age > age > sex > any.

    Parameters
    ----------
    rows : iterable of Prior or Background
        Rows of one cause or finding.
    sex, age_band : str
        The stratum.
    """
    fitting = [row for row in rows if row.sex in (sex, ANY) and row.age_band in (age_band, ANY)]
    return max(fitting, key=lambda row: (row.age_band != ANY, row.sex != ANY), default=None)


def _rows(table: Any) -> Iterable[Row]:
    if isinstance(table, Mapping):
        for value in table.values():
            yield from value if isinstance(value, tuple) else (value,)
    else:
        yield from table


def _group(rows: Iterable[Any], column: str) -> dict[str, tuple[Any, ...]]:
    groups: defaultdict[str, list[Any]] = defaultdict(list)
    for row in rows:
        groups[getattr(row, column)].append(row)
    return {key: tuple(group) for key, group in groups.items()}


def assemble(tables: Tables) -> KnowledgeBase:
    """Join rows that were found free of errors into a knowledge base."""
    rows = tables.rows
    parts: dict[str, Any] = {
        name: {getattr(row, key): row for row in rows[name]}
        for name, key in (
            ("causes", "cause"),
            ("findings", "finding"),
            ("populations", "population"),
            ("red_flags", "flag"),
            ("workup", "rule"),
            ("claims", "claim"),
            ("aliases", "alias"),
            ("sources", "source"),
        )
    }
    priors = _group(rows["priors"], "population")
    parts["priors"] = {name: priors.get(name, ()) for name in parts["populations"]}
    return KnowledgeBase(**{name: tuple(table) for name, table in rows.items()} | parts)


def read_tables(priors: str | Path, evidence: str | Path) -> KnowledgeBase:
    """Read and check the tables of two folders.

    Parameters
    ----------
    priors : path
        Folder with populations.csv and what belongs to it.
    evidence : path
        Folder with causes.csv, findings.csv and what belongs to them.

    Returns
    -------
    KnowledgeBase

    Raises
    ------
    TableShapeError
        When a file, column or cell cannot be read; carries all problems of either kind.
    TableMeaningError
        When all can be read, but the tables contradict themselves.
    """
    return _checked(collect(Path(priors), Path(evidence), (str(priors), str(evidence))))


@cache
def default_tables() -> KnowledgeBase:
    """The tables that ship with the package.

    Raises
    ------
    TableShapeError, TableMeaningError
        As for `read_tables`.
    """
    return _checked(collect_default())


def collect_default() -> Tables:
    """Read the tables that ship with the package, without judging them."""
    return collect(
        files("twitchdx.priors"), files("twitchdx.evidence_tables"), ("priors", "evidence_tables")
    )


def _checked(tables: Tables) -> KnowledgeBase:
    from twitchdx.tables.check import check

    errors = check(tables).errors
    if any(problem.kind == "shape" for problem in errors):
        raise TableShapeError(errors)
    if errors:
        raise TableMeaningError(errors)
    return assemble(tables)
