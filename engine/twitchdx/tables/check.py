"""Everything the tables must say to be usable, checked in one pass over all of them."""

from __future__ import annotations

from dataclasses import dataclass

from twitchdx.errors import Problem
from twitchdx.tables.read import Tables


@dataclass(frozen=True)
class Report:
    """All problems of a set of tables: errors must be repaired, warnings should be looked at."""

    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def check(tables: Tables) -> Report:
    """Check tables against themselves; shape problems found in reading are included."""
    return Report(tuple(tables.problems), ())
