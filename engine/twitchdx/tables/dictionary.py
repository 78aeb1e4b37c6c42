"""The data dictionary: what every table and column holds, written from the row models."""

from __future__ import annotations

from collections.abc import Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from twitchdx.tables.schema import (
    FOREIGN_KEYS,
    TABLES,
    NumberIn,
    Table,
    parse_identifier,
    read_band,
    read_citable,
    read_one_band,
    read_url,
)

INTRODUCTION = {
    "priors": "What was believed before the patient spoke: populations, their make-up, how common "
    "each cause is in them, and which causes raise which.",
    "evidence_tables": "What each cause shows: causes, findings, how often one shows the other, "
    "and what follows from a pattern of findings.",
}
COMMON = """\
UTF-8, commas, one header row; columns may come in any order, and blank lines are ignored. Numbers
are digits with a decimal point (`0.05`, `2e-5`); ids are lower case, digits and `_`. A cell that
holds a comma stands between double quotes. `twitchdx tables check` reports every departure with
its place and repair.

This page is written by `twitchdx tables dictionary`; change the row models, not the page."""


def data_dictionary(folder: Literal["priors", "evidence_tables"]) -> str:
    """Describe the tables of one folder in Markdown.

    Parameters
    ----------
    folder : {"priors", "evidence_tables"}
        Which of the two folders.

    Returns
    -------
    str
        A page with a section per table and a line per column.
    """
    tables = [table for table in TABLES.values() if table.folder == folder]
    parts = [f"# Data dictionary: {folder}", INTRODUCTION[folder], COMMON]
    return "\n\n".join([*parts, *(_section(table) for table in tables)]) + "\n"


def _section(table: Table) -> str:
    own = [name for name in table.key if name in table.row.model_fields]
    head = [
        f"## {table.files}",
        f"{table.purpose} One row for each {', '.join(own)}."
        + ("" if table.required else " The file may be left out."),
        "| column | value | blank | meaning |\n| --- | --- | --- | --- |\n"
        + "\n".join(_line(table, column) for column in table.row.columns()),
    ]
    return "\n\n".join(head)


def _line(table: Table, column: str) -> str:
    info = table.row.model_fields[column]
    targets = [
        TABLES[target].files
        for key in FOREIGN_KEYS
        if (key.table, key.column) == (table.name, column)
        for target in key.targets
    ]
    value = _value(info.annotation, info.metadata)
    if targets:
        homes = " or ".join(dict.fromkeys(f"`{name}`" for name in targets))
        plural, _, rest = value.partition(",")
        value = f"{plural} of {homes}" + (f",{rest}" if rest else "")
    blank = "no" if info.is_required() else "yes"
    return f"| `{column}` | {value} | {blank} | {_escape(info.description or '')} |"


#: reader of a cell -> how to write one
READERS: dict[Any, str] = {
    parse_identifier: "id",
    read_band: "age band or `any`",
    read_one_band: "age band",
    read_url: "address",
    read_citable: "DOI or PMID",
}


def _value(annotation: Any, metadata: Sequence[Any]) -> str:
    """How a cell of this type is written."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in arguments)
    if origin is UnionType or origin is Union:
        return _value(arguments[0], metadata)
    if origin is Annotated:
        return _value(arguments[0], [*metadata, *arguments[1:]])
    if origin is tuple:
        return _value(arguments[0], []) + "s, `;` between"
    for item in metadata:
        reader = getattr(item, "func", None)
        if isinstance(reader, NumberIn):
            noun = "whole number" if annotation is int else "number"
            return noun if reader == NumberIn() else f"{noun}, {reader.low:g} to {reader.high:g}"
        if reader in READERS:
            return READERS[reader]
    return "text"


def _escape(text: str) -> str:
    return text.replace("|", "\\|")
