"""`twitchdx report`: everything there is to say of one case, as a page, Markdown or JSON."""

from __future__ import annotations

from pathlib import Path

import click

from twitchdx.cli.options import case_options, engine_options, read_diagnosis, read_engine


@click.command("report")
@case_options
@engine_options
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to: .html, .md or .json, by its name. Left out: Markdown, to the terminal.",
)
@click.option(
    "--rank-by",
    type=click.Choice(["tempered", "posterior", "disablement", "sufficiency"]),
    help="What sorts the causes; tempered unless asked otherwise.",
)
@click.option("--no-intervals", is_flag=True, help="Leave out the 95 % intervals (faster).")
def command(
    population: str,
    tables: Path | None,
    priors: tuple[str, ...],
    output: Path | None,
    rank_by: str | None,
    no_intervals: bool,
    **case: object,
) -> None:
    """Report on one case: differential, reasons, flips, next questions, work-up, sources.

    The page is one file without outside parts: it can be mailed, archived and printed.

    \b
    Example:
      twitchdx report --present urge_to_move,worse_at_rest --absent weakness \\
          --age 52 --sex female --measure ferritin=18 -o case.html
    """
    from twitchdx.report.render import SUFFIXES, case_report, render

    suffix = ".md" if output is None else output.suffix.lower()
    if suffix not in SUFFIXES:
        raise click.BadParameter(f"{output}: name it {', '.join(SUFFIXES)}", param_hint="-o")
    engine = read_engine(population, tables, priors)
    dx = read_diagnosis(engine, **case)  # type: ignore[arg-type]
    report = case_report(dx, rank_by=rank_by, intervals=not no_intervals)  # type: ignore[arg-type]
    text = render(report, suffix)
    if output is None:
        click.echo(text, nl=False)
        return
    write(output, text)
    click.echo(f"{output}: {report.in_short[0]}", err=True)


def write(output: Path, text: str) -> None:
    """Write a report, or say in a sentence why that cannot be done."""
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error.strerror}") from None
