"""Everything the tables say of one cause or finding, as data and as a page for a terminal.

`describe` collects the rows; `render` prints them. A section is declared once, in `SECTIONS`: which
rows belong to it and what its lines are called.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from twitchdx.errors import UnknownIdError
from twitchdx.tables.knowledge import KnowledgeBase
from twitchdx.tables.provenance import citation
from twitchdx.tables.schema import ANY, Row


@dataclass(frozen=True)
class Section:
    """One part of a description.

    Attributes
    ----------
    name : str
        Key in the JSON form.
    title : str
        Heading for people; `{name}` is the cause's or finding's name.
    rows : callable
        (knowledge, id) -> the rows.
    label : callable
        (knowledge, row) -> what the line is about.
    against : callable or None
        (knowledge, row) -> a number that the row's number is read against, such as a background.
    """

    name: str
    title: str
    rows: Callable[[KnowledgeBase, str], Iterable[Any]]
    label: Callable[[KnowledgeBase, Any], str]
    against: Callable[[KnowledgeBase, Any], float] | None = None


@dataclass(frozen=True)
class Description:
    """What the tables say of one cause or finding.

    Attributes
    ----------
    identifier, kind : str
        The id, and ``cause`` or ``finding``.
    about : Cause or Finding
        Its own row.
    aliases : tuple of str
        Other ids that lead here.
    rows : dict of str to tuple of Row
        Section -> rows.
    sources : tuple of str
        Keys of everything cited, in order of appearance.
    """

    identifier: str
    kind: str
    about: Any
    aliases: tuple[str, ...]
    rows: dict[str, tuple[Any, ...]]
    sources: tuple[str, ...]

    def to_dict(self, knowledge: KnowledgeBase) -> dict[str, Any]:
        """The description as plain data, sources written out, for JSON."""
        return {
            "id": self.identifier,
            "node": self.kind,
            **plain(self.about),
            "aliases": list(self.aliases),
            **{name: [plain(row) for row in rows] for name, rows in self.rows.items()},
            "sources": {key: plain(knowledge.sources[key]) for key in self.sources},
        }


def plain(row: Row) -> dict[str, Any]:
    """A row as plain data, with its place."""
    cells = {
        column: list(cell) if isinstance(cell, tuple) else cell
        for column, cell in row.cells().items()
    }
    extra = {"population": row.population} if hasattr(row, "population") else {}
    return {**extra, **cells, "file": row.where.file, "line": row.where.line}


def describe(knowledge: KnowledgeBase, identifier: str) -> tuple[Description, ...]:
    """Collect all rows about a cause or a finding.

    Parameters
    ----------
    knowledge : KnowledgeBase
        The tables.
    identifier : str
        Id of a cause or finding, or an alias.

    Returns
    -------
    tuple of Description
        One; several for an alias that stands for several.

    Raises
    ------
    UnknownIdError
        With the nearest valid ids.
    """
    try:
        current = knowledge.stands_for(identifier)
    except UnknownIdError:
        if identifier in knowledge.quantities:
            rows = knowledge.quantities[identifier]
            current = tuple(dict.fromkeys(row.finding for row in rows))
        else:
            raise
    return tuple(_describe(knowledge, name) for name in current)


def _describe(knowledge: KnowledgeBase, identifier: str) -> Description:
    kind = "cause" if identifier in knowledge.causes else "finding"
    about: Any = (knowledge.causes if kind == "cause" else knowledge.findings)[identifier]
    rows = {section.name: tuple(section.rows(knowledge, identifier)) for section in SECTIONS[kind]}
    every = [about, *(row for group in rows.values() for row in group)]
    cited = dict.fromkeys(key for row in every for key in getattr(row, "source", ()))
    aliases = tuple(row.alias for row in knowledge.aliases.values() if identifier in row.stands_for)
    return Description(identifier, kind, about, aliases, rows, tuple(cited))


# --- sections -----------------------------------------------------------------------------------


def _priors(knowledge: KnowledgeBase, cause: str) -> Iterator[Any]:
    for rows in knowledge.priors.values():
        yield from (row for row in rows if row.cause == cause)


def _shown_by(knowledge: KnowledgeBase, cause: str) -> list[Any]:
    def lift(row: Any) -> float:
        background = knowledge.findings[row.finding].background
        return float(row.probability / background) if background else float("inf")

    return sorted((r for r in knowledge.likelihoods if r.cause == cause), key=lift, reverse=True)


def _showing(knowledge: KnowledgeBase, finding: str) -> list[Any]:
    rows = (row for row in knowledge.likelihoods if row.finding == finding)
    return sorted(rows, key=lambda row: -row.probability)


def _backgrounds(knowledge: KnowledgeBase, finding: str) -> list[Any]:
    overrides = [row for row in knowledge.backgrounds if row.finding == finding]
    return [knowledge.findings[finding], *overrides]


def _where(column: str, table: str) -> Callable[[KnowledgeBase, str], list[Any]]:
    """Rows of a table whose column holds the id, alone or among others."""

    def rows(knowledge: KnowledgeBase, identifier: str) -> list[Any]:
        def holds(row: Any) -> bool:
            return any(
                identifier == cell or (isinstance(cell, tuple) and identifier in cell)
                for cell in (getattr(row, name, None) for name in column.split())
            )

        return [row for row in knowledge.rows(table) if holds(row)]

    return rows


def _claims(knowledge: KnowledgeBase, identifier: str) -> list[Any]:
    mention = re.compile(rf"(?<![a-z0-9_]){re.escape(identifier)}(?![a-z0-9_])")
    return [
        row
        for row in knowledge.claims.values()
        if any(mention.search(text or "") for text in (row.carried_by, row.expectation, row.reason))
    ]


def _stratum(row: Any) -> str:
    parts = [
        part for part in (getattr(row, "sex", ANY), getattr(row, "age_band", ANY)) if part != ANY
    ]
    return " ".join(parts) or "all"


def _flag(_: KnowledgeBase, row: Any) -> str:
    return f"{row.urgency}: {row.name}. {row.message}{_pattern(row)}"


def _workup(_: KnowledgeBase, row: Any) -> str:
    whom = f" for {row.cause}" if row.cause else ""
    return f"{row.action} {row.test}{whom}: {row.reason}{_pattern(row)}"


def _pattern(row: Any) -> str:
    parts = [
        f"{word} {', '.join(ids)}"
        for word, ids in (
            ("with", row.all_of),
            ("with any of", getattr(row, "any_of", ())),
            ("without", row.none_of),
        )
        if ids
    ]
    return f" [{'; '.join(parts)}]" if parts else ""


def _treatment(_: KnowledgeBase, row: Any) -> str:
    line = f"{row.line} line" if row.line in ("first", "second") else row.line
    return f"{line}: {row.treatment}" + (f" ({row.caveat})" if row.caveat else "")


def _threshold(_: KnowledgeBase, row: Any) -> str:
    whom = "" if row.sex == ANY else f" ({row.sex})"
    return f"present when {row.quantity} {row.comparator} {row.threshold:g} {row.unit}{whom}"


def _claim(_: KnowledgeBase, row: Any) -> str:
    contested = row.contested not in (None, "no")
    return f"{row.claim}: {row.statement}" + (" (contested)" if contested else "")


FLAGS = Section("red_flags", "Red flags", _where("all_of any_of none_of", "red_flags"), _flag)
WORKUP = Section("workup", "Work-up", _where("cause all_of none_of", "workup"), _workup)
CLAIMS = Section("claims", "Claims it carries", _claims, _claim)

SECTIONS: dict[str, tuple[Section, ...]] = {
    "cause": (
        Section(
            "priors",
            "How common it is",
            _priors,
            lambda _, row: f"{row.population}, {_stratum(row)} ({row.basis})",
        ),
        Section(
            "raised_by",
            "What raises it: P({name} | that)",
            _where("cause", "links"),
            lambda _, row: row.given,
        ),
        Section(
            "raises",
            "What it raises: P(that | {name})",
            _where("given", "links"),
            lambda _, row: row.cause,
        ),
        Section(
            "shows",
            "What it shows: P(finding | {name})",
            _shown_by,
            lambda _, row: row.finding,
            lambda knowledge, row: knowledge.findings[row.finding].background,
        ),
        FLAGS,
        WORKUP,
        Section("management", "What guidelines list", _where("cause", "management"), _treatment),
        CLAIMS,
    ),
    "finding": (
        Section(
            "backgrounds",
            "How common it is with none of the causes",
            _backgrounds,
            lambda _, row: _stratum(row),
        ),
        Section(
            "shown_by",
            "Which causes show it: P({name} | cause)",
            _showing,
            lambda _, row: row.cause,
        ),
        Section("measurements", "Measured as", _where("finding", "measurements"), _threshold),
        Section(
            "implies", "Implies", _where("finding", "implications"), lambda _, row: row.implies
        ),
        Section(
            "implied_by",
            "Implied by",
            _where("implies", "implications"),
            lambda _, row: row.finding,
        ),
        FLAGS,
        WORKUP,
        CLAIMS,
    ),
}


# --- the page -----------------------------------------------------------------------------------


def render(knowledge: KnowledgeBase, description: Description, console: Console) -> None:
    """Print a description, wrapped to the console's width.

    Parameters
    ----------
    knowledge : KnowledgeBase
        The tables it was taken from.
    description : Description
        From `describe`.
    console : rich.console.Console
        Where to print.
    """
    number = {key: index for index, key in enumerate(description.sources, 1)}
    about = description.about
    console.print(Text(about.name, "bold"), Text(f"({description.identifier})", "dim"))
    for line in _facts(description, number):
        console.print(line)
    for section in SECTIONS[description.kind]:
        rows = description.rows[section.name]
        if rows:
            console.print()
            console.print(Text(section.title.format(name=about.name), "bold"))
            console.print(_section(knowledge, section, rows, number))
    if number:
        console.print()
        console.print(Text("Sources", "bold"))
        grid = _grid("", "")
        for key, index in number.items():
            grid.add_row(f"[{index}]", Text(citation(knowledge.sources[key])))
        console.print(grid)


def _facts(description: Description, number: dict[str, int]) -> Iterator[Text]:
    about = description.about
    yield Text(f"{about.definition}{_marks(about, number, ' ')}")
    if description.kind == "cause":
        facts = [about.nature, about.group, about.seriousness.replace("_", " ")]
        if about.icd10:
            facts.append(f"ICD-10 {about.icd10}")
        if about.action_threshold is not None:
            facts.append(f"act above {about.action_threshold:.3g}")
    else:
        yield Text(f"Ask: {about.question}")
        facts = [
            about.kind,
            about.theme.replace("_", " "),
            f"burden {about.burden:g}",
            f"known in {about.asking_rate:.0%} of records",
        ]
        if about.code:
            facts.append(about.code)
    yield Text("; ".join(facts), "dim")
    if description.aliases:
        yield Text(f"Also reached as {', '.join(description.aliases)}", "dim")


def _section(
    knowledge: KnowledgeBase, section: Section, rows: tuple[Any, ...], number: dict[str, int]
) -> RenderableType:
    if rows[0].number is None:
        grid = _grid("", "")
        for row in rows:
            note = getattr(row, "note", None)
            text = section.label(knowledge, row) + (f" ({note})" if note else "")
            grid.add_row("-", Text(text + _marks(row, number, " ")))
        return grid
    heads = ["", "value", "95 % interval", *(["background"] if section.against else []), "grade"]
    grid = _grid(*heads)
    notes: dict[str, list[str]] = {}
    for row in rows:
        label = section.label(knowledge, row)
        cells = [label, f"{getattr(row, row.number):.3g}", f"{row.low:.3g}–{row.high:.3g}"]
        if section.against:
            cells.append(f"{section.against(knowledge, row):.3g}")
        grid.add_row(*cells, row.grade + _marks(row, number, " "))
        if row.note:
            notes.setdefault(row.note, []).append(label)
    lines = (Text(f"{'; '.join(labels)}: {note}", "dim") for note, labels in notes.items())
    return Group(grid, *(Padding(line, (0, 0, 0, 2), expand=False) for line in lines))


def _grid(*heads: str) -> Grid:
    grid = Grid(box=None, show_header=any(heads), padding=(0, 1, 0, 0), header_style="dim")
    for index, head in enumerate(heads):
        last = index == len(heads) - 1
        grid.add_column(head, overflow="fold", no_wrap=not (last or index == 0))
    return grid


def _marks(row: Any, number: dict[str, int], before: str) -> str:
    keys = [key for key in getattr(row, "source", ()) if key in number]
    return before + "".join(f"[{number[key]}]" for key in keys) if keys else ""
