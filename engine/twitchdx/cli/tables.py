"""`twitchdx tables`: check the tables, and show what they say."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Literal

import click

from twitchdx.errors import Problem, TableError, TwitchdxError
from twitchdx.tables.check import check
from twitchdx.tables.knowledge import KnowledgeBase, assemble, collect_default, read_tables
from twitchdx.tables.knowledge import default_tables as shipped
from twitchdx.tables.read import Tables, collect
from twitchdx.tables.schema import TABLES, Row

#: reason and repair of a row that the solved network cannot honour in some stratum
UNREACHABLE = (
    "is already reached through the background and other paths in some stratum: the row does "
    "nothing there",
    "Raise it, or keep it as a record",
)
OVERFULL = (
    "is less than what the syndromes alone explain in some stratum",
    "Raise it, or lower the syndromes' prevalence or what they show",
)

DIRECTORY = click.argument(
    "directory", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
TABLES_OPTION = click.option(
    "--tables",
    "directory",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder holding priors/ and evidence_tables/; default: the shipped tables.",
)


@click.group(name="tables", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Check the tables, or show all that they say of one cause or finding."""


def _collect(directory: Path | None) -> Tables:
    if directory is None:
        return collect_default()
    priors, evidence = directory / "priors", directory / "evidence_tables"
    return collect(priors, evidence, (str(priors), str(evidence)))


def _knowledge(directory: Path | None) -> KnowledgeBase:
    if directory is None:
        return shipped()
    return read_tables(directory / "priors", directory / "evidence_tables")


@command.command(name="check")
@DIRECTORY
@click.option("--strict", is_flag=True, help="Treat warnings as errors.")
@click.option("--no-model", is_flag=True, help="Do not build the network of each population.")
@click.option("--json", "as_json", is_flag=True, help="Print the problems as data.")
def check_command(directory: Path | None, strict: bool, no_model: bool, as_json: bool) -> None:
    """List every problem of the tables in DIRECTORY, with its repair.

    DIRECTORY holds priors/ and evidence_tables/; default: the shipped tables. Exit status 1 when
    something must be repaired.

    \b
    Example:
      twitchdx tables check
      twitchdx tables check my_tables --strict
    """
    tables = _collect(directory)
    report = check(tables)
    problems = [*report.errors, *report.warnings]
    if not report.errors and not no_model:
        problems = _merge([*problems, *_model_problems(assemble(tables))])
    errors = [problem for problem in problems if problem.level == "error"]
    warnings = [problem for problem in problems if problem.level == "warning"]
    if as_json:
        data = [dataclasses.asdict(problem) for problem in problems]
        click.echo(json.dumps(data, indent=1, ensure_ascii=False))
    else:
        _print_problems(errors, "error")
        _print_problems(warnings, "warning")
        if not errors:
            for line in summary(assemble(tables)):
                click.echo(line)
        click.echo(_count(len(errors), "error") + ", " + _count(len(warnings), "warning"))
    if errors or (strict and warnings):
        raise click.exceptions.Exit(1)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _print_problems(problems: Iterable[Problem], level: str) -> None:
    for file, group in groupby(problems, key=lambda problem: problem.file):
        click.secho(file, bold=True)
        for problem in group:
            place = "" if problem.line is None else f"line {problem.line}"
            if problem.column is not None:
                place += f"{', ' if place else ''}{problem.column}"
            value = "" if problem.value is None else f" {problem.value!r}"
            mark = click.style(level, fg="red" if level == "error" else "yellow")
            head = f"{place}:" if place else ""
            click.echo(f"  {mark} {head}{value} {problem.reason}. {problem.repair}.")


def _model_problems(knowledge: KnowledgeBase) -> Iterator[Problem]:
    """What only shows when the numbers are put together, such as links above a prevalence."""
    from twitchdx.model import build_model

    for population in knowledge.populations:
        try:
            model = build_model(knowledge, population)
        except TableError as error:
            yield from error.problems
        except TwitchdxError as error:
            repair = "Correct the rows it names"
            file = f"population {population}"
            yield Problem(file, None, None, None, str(error), repair, "meaning")
        else:
            yield from (_idle(row, *UNREACHABLE) for row in model.unreachable)
            yield from (_idle(row, *OVERFULL) for row in model.overfull)


def _idle(row: Row, reason: str, repair: str) -> Problem:
    column = row.number or ""
    value = f"{getattr(row, column):g}"
    return Problem(
        row.where.file, row.where.line, column, value, reason, repair, "meaning", "warning"
    )


def _merge(problems: Iterable[Problem]) -> list[Problem]:
    """Each problem once, and one warning per cell, in the order of file and line."""
    seen: dict[object, Problem] = {}
    for problem in problems:
        cell = (problem.file, problem.line, problem.column)
        seen.setdefault(cell if problem.level == "warning" else problem, problem)
    return sorted(seen.values(), key=lambda problem: (problem.file, problem.line or 0))


def summary(knowledge: KnowledgeBase) -> Iterator[str]:
    """What a clean set of tables holds, one line per fact."""
    causes = len(knowledge.causes) - len(knowledge.syndromes)
    counts = (
        (causes, "cause"),
        (len(knowledge.syndromes), "syndrome"),
        (len(knowledge.findings), "finding"),
        (len(knowledge.likelihoods), "likelihood row"),
        (len(knowledge.links), "link"),
        (len(knowledge.populations), "population"),
        (len(knowledge.sources), "source"),
    )
    yield "The tables hold " + ", ".join(_count(*count) for count in counts) + "."
    for table in ("priors", "links", "findings", "backgrounds", "likelihoods"):
        grades = Counter(getattr(row, "grade", "") for row in knowledge.rows(table))
        if total := grades.total():
            shares = ", ".join(
                f"{grade} {grades[grade] / total:.0%}" for grade in ("study", "review", "expert")
            )
            yield f"  {table:<12}{total:>5} rows: {shares}"


@command.command(name="digest")
@DIRECTORY
def digest_command(directory: Path | None) -> None:
    """Print the SHA-256 of the tables' content, whatever their row order or line ends.

    \b
    Example:
      twitchdx tables digest
    """
    click.echo(_knowledge(directory).digest)


@command.command(name="provenance")
@DIRECTORY
@click.option("--bibliography", is_flag=True, help="List every source and how often it is cited.")
def provenance_command(directory: Path | None, bibliography: bool) -> None:
    """Say where the numbers come from; exit status 1 where that cannot be told.

    \b
    Example:
      twitchdx tables provenance --bibliography
    """
    from twitchdx.tables.provenance import GRADES, citation, trace

    traced = trace(_collect(directory))
    _print_problems(traced.problems, "error")
    if bibliography:
        for source in traced.sources:
            click.echo(f"{traced.cited.get(source.source, 0):>5}  {citation(source)}")
    click.echo(f"{'rows of':<14}{'rows':>6}" + "".join(f"{grade:>16}" for grade in GRADES))
    for table, grades in {**traced.grades, "all": traced.total}.items():
        if total := grades.total():
            cells = "".join(
                f"{grades[grade]:>9} ({grades[grade] / total:>4.0%})" for grade in GRADES
            )
            click.echo(f"{table:<14}{total:>6}{cells}")
    click.echo(_count(len(traced.sources), "source") + ".")
    if traced.problems:
        click.echo(_count(len(traced.problems), "problem") + " above.")
        raise click.exceptions.Exit(1)


@command.command(name="dictionary")
@click.argument("folder", type=click.Choice(["priors", "evidence_tables"]))
def dictionary_command(folder: Literal["priors", "evidence_tables"]) -> None:
    """Print the data dictionary of FOLDER in Markdown.

    \b
    Example:
      twitchdx tables dictionary priors > priors/DATA_DICTIONARY.md
    """
    from twitchdx.tables.dictionary import data_dictionary

    click.echo(data_dictionary(folder), nl=False)


@command.command(name="show")
@click.argument("identifier", metavar="CAUSE|FINDING")
@TABLES_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print data instead of a page.")
@click.option("--priors", multiple=True, hidden=True, help="Refused, with the reason.")
def show_command(
    identifier: str, directory: Path | None, as_json: bool, priors: tuple[str, ...]
) -> None:
    """Show all that the tables say of one cause or finding, with sources.

    \b
    Example:
      twitchdx tables show restless_legs_syndrome
      twitchdx tables show urge_to_move --json
    """
    if priors:
        raise click.UsageError(
            "--priors: a prior set changes no table, and this shows the tables; "
            "`twitchdx sensitivity new-priors CAUSE --priors FILE` prints the numbers in force"
        )
    from twitchdx.tables.show import describe

    knowledge = _knowledge(directory)
    descriptions = describe(knowledge, identifier)
    if as_json:
        data = [description.to_dict(knowledge) for description in descriptions]
        click.echo(json.dumps(data[0] if len(data) == 1 else data, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    from twitchdx.tables.show import render

    console = Console(highlight=False, markup=False)
    if identifier in knowledge.aliases:
        alias = knowledge.aliases[identifier]
        console.print(f"{identifier} stands for {', '.join(alias.stands_for)}: {alias.meaning}\n")
    for index, description in enumerate(descriptions):
        if index:
            console.rule()
        render(knowledge, description, console)


@command.command(name="export")
@DIRECTORY
def export_command(directory: Path | None) -> None:
    """Print all tables as one JSON document.

    \b
    Example:
      twitchdx tables export > tables.json
    """
    from twitchdx.tables.show import plain

    knowledge = _knowledge(directory)
    content = {name: [plain(row) for row in knowledge.rows(name)] for name in TABLES}
    click.echo(json.dumps({"digest": knowledge.digest, **content}, indent=1, ensure_ascii=False))
