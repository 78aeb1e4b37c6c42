"""A case report as a page, as Markdown, and as JSON; all from one summary."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from twitchdx.errors import EvidenceError
from twitchdx.report.summary import CaseReport, brief_report, case_report
from twitchdx.report.text import percent, signed, times

if TYPE_CHECKING:
    from jinja2 import Environment

    from twitchdx.diagnosis import Diagnosis

#: ending of a file's name -> the function that writes it
SUFFIXES = (".html", ".md", ".json")

SERIOUSNESS = {
    "cannot_miss": "must not be missed",
    "significant": "significant",
    "benign": "benign",
}
LINES = {
    "first": "First line",
    "second": "Second line",
    "advice": "Advice",
    "avoid": "Avoid",
}


def render(report: CaseReport, suffix: str) -> str:
    """Write a report in the format that a file ending asks for.

    Parameters
    ----------
    report : CaseReport
    suffix : {'.html', '.md', '.json'}

    Raises
    ------
    EvidenceError
        For another ending.
    """
    if suffix not in SUFFIXES:
        raise EvidenceError(f"a report is written as {', '.join(SUFFIXES)}, not as {suffix!r}")
    if suffix == ".json":
        return json.dumps(report.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return _fill(f"report{suffix}.j2", report=report)


def short_html(dx: Diagnosis) -> str:
    """Return the short form that a notebook shows."""
    return _fill("short.html.j2", report=brief_report(dx))


def _fill(template: str, **values: Any) -> str:
    text: str = _environment().get_template(template).render(**values)
    return text


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined, select_autoescape

    folder = files("twitchdx.report")
    environment = Environment(
        loader=FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, signed=signed, times=times, cell=_cell)
    environment.globals.update(SERIOUSNESS=SERIOUSNESS, LINES=LINES)
    return environment


def _cell(text: object) -> str:
    """Keep text within one cell of a Markdown table."""
    return str(text).replace("|", "\\|").replace("\n", " ")


__all__ = ["CaseReport", "case_report", "render", "short_html"]
