"""The data dictionary: what every table and column holds, written from the row models."""

from __future__ import annotations

from typing import Any, Literal

from pydantic_core import PydanticUndefined

from twitchdx.tables.schema import FOREIGN_KEYS, TABLES, Table

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
        value = f"{value} of {' or '.join(f'`{name}`' for name in targets)}"
    blank = "no" if info.default is PydanticUndefined else "yes"
    return f"| `{column}` | {value} | {blank} | {_escape(info.description or '')} |"


def _value(annotation: Any, metadata: list[Any]) -> str:
    text = f"{annotation} {metadata}"
    choices = getattr(annotation, "__args__", ())
    if "Literal" in text:
        return _escape(", ".join(f"`{choice}`" for choice in choices))
    if "tuple" in text:
        return "ids, `;` between" if "parse_identifier" in text else "texts, `;` between"
    for mark, meaning in (
        ("parse_identifier", "id"),
        ("_check_one_band", "age band"),
        ("_check_band", "age band or `any`"),
        ("_check_url", "address"),
        ("_check_citable", "DOI or PMID"),
        ("int", "whole number"),
    ):
        if mark in text:
            return meaning
    if "float" in text:
        return "number"
    return "text"


def _escape(text: str) -> str:
    return text.replace("|", "\\|")
