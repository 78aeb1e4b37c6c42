"""Every exception that twitchdx raises on purpose.

A person's mistake (a typo in an id, a number out of range, a table that does not add up) always
arrives as a subclass of `TwitchdxError`, and says what is wrong, where, and how to repair it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Problem:
    """One thing wrong in one place of an input file, and its repair.

    Attributes
    ----------
    file : str
        The file as the user named it.
    line : int or None
        Line of the file as an editor shows it (the header is line 1).
    column : str or None
        Column name, where the problem sits in one cell.
    value : str or None
        The offending text.
    reason : str
        What is wrong with it.
    repair : str
        What to do about it.
    kind : {"shape", "meaning"}
        Whether the text cannot be read, or can be but contradicts the rest.
    level : {"error", "warning"}
        Whether it must be repaired before the file can be used.
    """

    file: str
    line: int | None
    column: str | None
    value: str | None
    reason: str
    repair: str
    kind: Literal["shape", "meaning"] = "shape"
    level: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        place = self.file
        if self.line is not None:
            place += f", line {self.line}"
        if self.column is not None:
            place += f", column {self.column}"
        shown = "" if self.value is None else f" {self.value!r}"
        return f"{place}:{shown} {self.reason}. {self.repair}".replace("..", ".")


class TwitchdxError(Exception):
    """Base of all errors that a user can cause and repair."""


class TableError(TwitchdxError):
    """Tables that cannot be used; carries every problem found, not just the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        heading = f"{count} problem{'' if count == 1 else 's'} in the tables"
        super().__init__("\n".join([heading, *(f"  {problem}" for problem in self.problems)]))


class TableShapeError(TableError):
    """Tables with files, columns or cells that cannot be read as what they should be."""


class TableMeaningError(TableError):
    """Tables that can be read, but contradict themselves."""


class ModelError(TwitchdxError):
    """Well-formed numbers that mean something impossible (a cycle, a strength above one)."""


class UnknownIdError(TwitchdxError):
    """An id that no table knows.

    Parameters
    ----------
    identifier : str
        What was asked for.
    choices : iterable of str
        All ids that would have been accepted.
    kind : str
        What the id should have named, for the message.
    """

    def __init__(self, identifier: str, choices: Iterable[str], kind: str = "finding") -> None:
        self.identifier = identifier
        self.nearest = nearest(identifier, choices)
        hint = f"; did you mean {' or '.join(self.nearest)}?" if self.nearest else ""
        super().__init__(f"unknown {kind} {identifier!r}{hint}")


class EvidenceError(TwitchdxError):
    """A value that cannot be an observation (a state, a measurement, an age, a sex)."""


class ContradictionError(EvidenceError):
    """Two observations of one case that cannot both be true."""


class ImpossibleEvidenceError(EvidenceError):
    """Observations that the network gives probability zero."""


class WidthError(TwitchdxError):
    """A case too wide for exact inference, where only an exact answer was allowed."""


class PriorSetError(TwitchdxError):
    """A named prior set that cannot be read or applied."""


class OutputError(TwitchdxError):
    """A result that cannot be written where it should go."""


class BatchError(TwitchdxError):
    """A batch run that cannot start or cannot finish."""


def nearest(identifier: str, choices: Iterable[str], most: int = 3) -> tuple[str, ...]:
    """Return the valid ids most like a mistyped one, best first.

    Examples
    --------
    >>> nearest("urge_to_mov", ["urge_to_move", "weakness"])
    ('urge_to_move',)
    """
    lowered = {choice.lower(): choice for choice in choices}
    matches = difflib.get_close_matches(identifier.strip().lower(), lowered, n=most, cutoff=0.6)
    return tuple(lowered[match] for match in matches)
