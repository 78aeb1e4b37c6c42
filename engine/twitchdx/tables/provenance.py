"""Where the numbers come from: who measured them, who judged them, and which papers carry them."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from twitchdx.errors import Problem
from twitchdx.tables.check import expert_widths, provenance
from twitchdx.tables.read import Tables
from twitchdx.tables.schema import TABLES, Source

GRADES = ("study", "review", "expert")


@dataclass(frozen=True)
class Provenance:
    """What stands behind a set of tables.

    Attributes
    ----------
    problems : tuple of Problem
        Numbers without the source or the width that their grade asks for; sources that cannot
        be found, are cited nowhere, or stand there twice.
    grades : dict of str to Counter
        Table -> grade -> number of rows.
    cited : dict of str to int
        Source -> number of rows, of any table, that cite it.
    sources : tuple of Source
        Every source, in the order of its key.
    """

    problems: tuple[Problem, ...]
    grades: dict[str, Counter[str]]
    cited: dict[str, int]
    sources: tuple[Source, ...]

    @property
    def total(self) -> Counter[str]:
        """Grade -> number of rows, over all tables."""
        return sum(self.grades.values(), Counter())


def trace(tables: Tables) -> Provenance:
    """Follow every number of the tables to its source.

    Parameters
    ----------
    tables : Tables
        As read; sound or not.
    """
    found = [*tables.problems, *provenance(tables), *expert_widths(tables), *_twins(tables)]
    problems = sorted(
        (dataclasses.replace(problem, level="error") for problem in found),
        key=lambda problem: (problem.file, problem.line or 0),
    )
    grades = {
        name: Counter(row.grade for row in tables.rows[name] if row.grade is not None)
        for name, table in TABLES.items()
        if table.row.number is not None
    }
    cited: Counter[str] = Counter()
    for name, rows in tables.rows.items():
        if name != "sources":
            cited.update(key for row in rows for key in getattr(row, "source", None) or ())
    sources = [row for row in tables.rows["sources"] if row.source is not None]
    return Provenance(
        tuple(problems), grades, dict(cited), tuple(sorted(sources, key=lambda row: row.source))
    )


def _twins(tables: Tables) -> Iterator[Problem]:
    """One paper under two keys."""
    seen: defaultdict[str, list[Any]] = defaultdict(list)
    for row in tables.rows["sources"]:
        address = row.doi_or_pmid or row.url
        if address is not None:
            seen[address.lower().removeprefix("pmid").strip(": ")].append(row)
    for first, *others in seen.values():
        for row in others:
            yield Problem(
                row.where.file,
                row.where.line,
                "doi_or_pmid",
                row.doi_or_pmid or row.url,
                f"is also the address of {first.source}",
                "Keep one of the two keys",
                "meaning",
            )


def address(source: Source) -> str:
    """Where a source can be read.

    Examples
    --------
    >>> from twitchdx.tables.schema import Where
    >>> address(Source(where=Where("", 1), source="a", authors="A", year=2001, title="T",
    ...                doi_or_pmid="10.1234/x"))
    'https://doi.org/10.1234/x'
    """
    key = source.doi_or_pmid
    if key is None:
        return source.url or ""
    if key.startswith("10."):
        return f"https://doi.org/{key}"
    if key.startswith("PMC"):
        return f"https://pmc.ncbi.nlm.nih.gov/articles/{key}/"
    return f"https://pubmed.ncbi.nlm.nih.gov/{key.removeprefix('PMID').strip(': ')}/"


def citation(source: Source) -> str:
    """A source in one line: authors (year). Title. Journal. Address."""
    parts = [f"{source.authors} ({source.year})", source.title, source.journal, address(source)]
    return ". ".join(part.rstrip(".") for part in parts if part)
