"""Read table files into rows that know their place, and collect everything wrong with their shape.

A spreadsheet's habits are met here: byte order marks, Windows line ends, blank lines, line breaks
inside quoted cells, ragged rows, columns in another order. Nothing is guessed: what cannot be read
becomes a `Problem`, and reading goes on, so that one report lists them all.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.resources.abc import Traversable
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from twitchdx.errors import Problem, nearest
from twitchdx.tables.schema import TABLES, Row, Table, Where


@dataclass
class Tables:
    """The rows of every table as far as they can be read, and what is wrong with their shape.

    Attributes
    ----------
    rows : dict of str to list of Row
        By table name. A row with an unreadable cell is kept, with None there, so that its other
        cells are checked too.
    problems : list of Problem
        Shape problems.
    unread : set of str
        Tables that could not be read: ids that point to them are not judged.
    files : dict of str to list of str
        Table name -> its files, as named to the user.
    """

    rows: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in TABLES})
    problems: list[Problem] = field(default_factory=list)
    unread: set[str] = field(default_factory=set)
    files: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in TABLES})


def read_rows(content: bytes, file: str, row: type[Row]) -> tuple[list[Row], list[Problem]]:
    """Read one CSV file.

    Parameters
    ----------
    content : bytes
        UTF-8, with or without a byte order mark, any line ends.
    file : str
        The file's name for `Row.where` and for problems.
    row : type of Row
        The row model.

    Returns
    -------
    rows : list of Row
        Unreadable cells are None.
    problems : list of Problem

    Examples
    --------
    >>> from twitchdx.tables.schema import Implication
    >>> rows, problems = read_rows(b"finding,implies,note\\n\\na,b,\\n", "i.csv", Implication)
    >>> rows[0].implies, str(rows[0].where), problems
    ('b', 'i.csv:3', [])
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        value = content[error.start : error.start + 1].hex()
        return [], [
            Problem(file, line, None, f"byte {value}", "is not UTF-8", "Save the file as UTF-8")
        ]
    problems: list[Problem] = []
    records = _records(text, file, problems)
    header = next(records, None)
    if header is None:
        if not problems:
            wanted = ",".join(row.columns())
            problems.append(
                Problem(file, 1, None, None, "the file is empty", f"Begin it with {wanted}")
            )
        return [], problems
    head_line, names = header
    columns = [name.strip() for name in names]
    problems += _header_problems(file, head_line, columns, row)
    absent = set(row.columns()).difference(columns)
    if absent.issuperset(row.columns()):
        return [], problems
    rows: list[Row] = []
    for line, cells in records:
        where = Where(file, line)
        values = {
            name: value
            for name, cell in zip(columns, cells, strict=False)
            if (value := cell.strip()) and name in row.model_fields
        }
        if len(cells) != len(columns):
            problems.append(_ragged(where, len(cells), len(columns)))
            rows.append(_partial(row, where, dict(list(values.items())[:1])))
            continue
        try:
            rows.append(row.model_validate({"where": where, **values}))
        except ValidationError as error:
            faults = error.errors(include_url=False)
            problems += [
                _cell_problem(where, values, fault)
                for fault in faults
                if fault["loc"][0] not in absent
            ]
            rows.append(_partial(row, where, values))
    return rows, problems


def _records(text: str, file: str, problems: list[Problem]) -> Iterator[tuple[int, list[str]]]:
    """Records that are not blank, each with the line it begins on."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cell and not cell.isspace() for cell in cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        reason = f"the file cannot be read on from here ({error})"
        repair = 'Close the quoted cell; write a double quote within one as ""'
        problems.append(Problem(file, line, None, None, reason, repair))


def _ragged(where: Where, found: int, wanted: int) -> Problem:
    reason = f"the row has {found} cells where the header has {wanted}"
    if found > wanted:
        repair = 'Put a cell that holds a comma between double quotes ("a, b")'
    else:
        repair = "Add the missing commas: a blank cell still needs one"
    return Problem(where.file, where.line, None, None, reason, repair)


def _header_problems(file: str, line: int, columns: list[str], row: type[Row]) -> list[Problem]:
    known = row.columns()
    if len(columns) == 1 and (mark := re.search(r"[;\t]", columns[0])):
        shown = "tabs" if mark[0] == "\t" else "semicolons"
        reason = f"the cells are separated by {shown}"
        return [Problem(file, line, None, None, reason, "Save the file with commas instead")]
    missing = [name for name in known if name not in columns]
    problems = []
    seen: set[str] = set()
    for column in columns:
        if column in seen:
            problems.append(
                Problem(file, line, column, None, "the column appears twice", "Remove one of them")
            )
        elif column not in known:
            hint = nearest(column, missing)
            if hint:
                missing.remove(hint[0])
            repair = f"Write {hint[0]}" if hint else f"Remove it; columns are {', '.join(known)}"
            problems.append(Problem(file, line, column or None, column, "no such column", repair))
        seen.add(column)
    problems += [
        Problem(
            file,
            line,
            column,
            None,
            "the column is missing",
            f"Add it (cells may be blank only where a blank has a meaning): {field_.description}",
        )
        for column, field_ in row.model_fields.items()
        if column in missing
    ]
    return problems


def _cell_problem(where: Where, values: dict[str, str], fault: Any) -> Problem:
    column = str(fault["loc"][0])
    value = values.get(column)
    if len(fault["loc"]) > 1 and isinstance(fault["input"], str):
        value = fault["input"]
    context = fault.get("ctx", {})
    match fault["type"]:
        case "missing":
            reason, repair = "the cell is blank", "Fill it in"
        case "cell":
            reason, repair = context["reason"], context["repair"]
        case "literal_error":
            choices = re.findall(r"'([^']*)'", context["expected"])
            reason = f"is not one of {', '.join(choices)}"
            hint = nearest(str(value), choices)
            repair = f"Write {hint[0] if hint else ' or '.join(choices)}"
        case "int_from_float":
            reason, repair = "is not a whole number", "Write it without decimals"
        case _:
            reason, repair = str(fault["msg"]), "Correct the cell"
    return Problem(where.file, where.line, column, value, reason, repair)


@cache
def _adapter(row: type[Row], column: str) -> TypeAdapter[Any]:
    """The validator of one column on its own."""
    info = row.model_fields[column]
    kind: Any = info.annotation
    for item in info.metadata:
        kind = Annotated[kind, item]
    return TypeAdapter(kind)


def _partial(row: type[Row], where: Where, values: dict[str, str]) -> Row:
    """The row with None in place of every cell that cannot be read."""
    cells: dict[str, Any] = {"where": where}
    for column in row.columns():
        field_ = row.model_fields[column]
        cells[column] = None if field_.is_required() else field_.default
        if column in values:
            try:
                cells[column] = _adapter(row, column).validate_python(values[column])
            except ValidationError:
                cells[column] = None
    return row.model_construct(**cells)


def collect(priors: Traversable, evidence: Traversable, labels: tuple[str, str]) -> Tables:
    """Read every table of two folders.

    Parameters
    ----------
    priors, evidence : path-like of a folder
        A `pathlib.Path`, or a folder of an installed package.
    labels : tuple of str
        What to call the two folders in messages.

    Returns
    -------
    Tables
        Whatever could be read, with every shape problem.
    """
    tables = Tables()
    folders = {"priors": (priors, labels[0]), "evidence_tables": (evidence, labels[1])}
    for folder, label in folders.values():
        if not folder.is_dir():
            tables.problems.append(
                Problem(
                    label,
                    None,
                    None,
                    None,
                    "no such folder",
                    "Name the folder that holds the tables",
                )
            )
    taken: set[str] = set()
    for table in TABLES.values():
        folder, label = folders[table.folder]
        if folder.is_dir():
            taken |= _collect_table(tables, table, folder, label)
        else:
            tables.unread.add(table.name)
    for folder, label in folders.values():
        tables.problems += _strays(folder, label, taken)
    return tables


def _collect_table(tables: Tables, table: Table, folder: Traversable, label: str) -> set[str]:
    wanted = _file_names(table, folder, tables.rows["populations"])
    if not wanted and table.required:
        tables.unread.add(table.name)
        if "populations" not in tables.unread or table.name != "priors":
            tables.problems.append(_no_file(f"{label}/{table.files}", table))
    for name in wanted:
        path, file = folder.joinpath(name), f"{label}/{name}"
        tables.files[table.name].append(file)
        if not path.is_file():
            if table.required:
                tables.unread.add(table.name)
                tables.problems.append(_no_file(file, table))
            continue
        try:
            content = path.read_bytes()
        except OSError as error:
            reason = f"cannot be opened ({error.strerror})"
            tables.problems.append(Problem(file, None, None, None, reason, "Make it readable"))
            tables.unread.add(table.name)
            continue
        rows, problems = read_rows(content, file, table.row)
        tables.rows[table.name] += rows
        tables.problems += problems
        if problems and not rows:
            tables.unread.add(table.name)
    return {f"{label}/{name}" for name in wanted}


def _no_file(file: str, table: Table) -> Problem:
    repair = f"Add it, with the columns {','.join(table.row.columns())}"
    return Problem(file, None, None, None, "no such file", repair)


def _file_names(table: Table, folder: Traversable, populations: list[Any]) -> list[str]:
    if table.files == "<population>.csv":
        return [f"{row.population}.csv" for row in populations if row.population]
    if "/" not in table.files:
        return [table.files]
    inner = table.files.split("/")[0]
    place = folder.joinpath(inner)
    names = [path.name for path in place.iterdir()] if place.is_dir() else []
    return sorted(f"{inner}/{name}" for name in names if name.endswith(".csv"))


def _strays(folder: Traversable, label: str, taken: set[str]) -> Iterator[Problem]:
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        file = f"{label}/{path.name}"
        if path.name.endswith(".csv") and file not in taken:
            known = [name.rsplit("/", 1)[1] for name in taken]
            hint = nearest(path.name, known)
            repair = "Remove it, or declare its population in populations.csv"
            if hint:
                repair += f", or call it {' or '.join(hint)}"
            yield Problem(file, None, None, None, "no table has this name", repair)
