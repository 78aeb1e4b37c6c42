"""`twitchdx diagnose`: one case, in the terminal or as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from twitchdx.cli.options import (
    DISCLAIMER,
    case_options,
    engine_options,
    read_diagnosis,
    read_engine,
)

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from twitchdx.diagnosis import Diagnosis
    from twitchdx.explain import Explanation


@click.command("diagnose")
@case_options
@engine_options
@click.option("--top", default=10, show_default=True, help="How many causes to list.")
@click.option(
    "--rank-by",
    type=click.Choice(["tempered", "posterior", "disablement", "sufficiency"]),
    help="What sorts the causes; tempered unless asked otherwise.",
)
@click.option("--intervals", is_flag=True, help="Add the 95 % interval that the tables leave.")
@click.option(
    "--explain",
    "explained",
    multiple=True,
    metavar="CAUSE",
    help="Give the reasons for and against a cause; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs: every cause, full precision.")
def command(
    population: str,
    tables: Path | None,
    priors: tuple[str, ...],
    top: int,
    rank_by: str | None,
    intervals: bool,
    explained: tuple[str, ...],
    as_json: bool,
    **case: object,
) -> None:
    """Posterior probability of every cause for one case.

    Findings, causes and measurements go by their ids; `twitchdx tables show ID` explains one.
    A finding that is not named counts as not known.

    \b
    Example:
      twitchdx diagnose --present urge_to_move,worse_at_rest --absent weakness \\
          --age 52 --sex female --measure ferritin=18
    """
    from twitchdx.explain import DEFAULT_RANKING

    engine = read_engine(population, tables, priors)
    dx = read_diagnosis(engine, **case)  # type: ignore[arg-type]
    frame = dx.differential(rank_by, intervals=intervals)  # type: ignore[arg-type]
    reasons = [dx.explain(cause) for cause in explained]
    if as_json:
        click.echo(json.dumps(_as_json(dx, frame, reasons), indent=2))
    else:
        _print(dx, frame.head(top), len(frame), reasons, rank_by or DEFAULT_RANKING)


def _as_json(dx: Diagnosis, frame: pd.DataFrame, reasons: list[Explanation]) -> dict[str, object]:
    case = dx.case
    return {
        "population": dx.engine.population,
        "age": case.age,
        "sex": case.sex,
        "observed": [
            {"node": o.node, "likelihood_ratio": _finite(o.ratio), "entered": o.entered}
            for o in case.observations
        ],
        "implied": [o.node for o in case.implied],
        "differential": json.loads(frame.to_json(orient="records", double_precision=15)),
        "syndromes": dx.syndromes.to_dict(),
        "red_flags": [
            {"flag": row.flag, "urgency": row.urgency, "message": row.message}
            for row in dx.red_flags.patterns
        ],
        "serious_causes": [asdict(one) for one in dx.red_flags.serious],
        "reasons": {
            one.cause: json.loads(one.frame.to_json(orient="records", double_precision=15))
            for one in reasons
        },
        "log_evidence": dx.log_evidence,
        "method": dx.method,
        "tables": dx.engine.knowledge.digest,
        "note": DISCLAIMER,
    }


def _finite(ratio: float) -> float | str:
    return "infinity" if ratio == float("inf") else ratio


def _print(
    dx: Diagnosis, rows: pd.DataFrame, causes: int, reasons: list[Explanation], ranking: str
) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from twitchdx.explain import RANKING_MEANINGS
    from twitchdx.inference import most_states
    from twitchdx.report.text import percent, signed, times

    console = Console(highlight=False)
    who = ", ".join(
        part
        for part in (
            dx.engine.population,
            dx.case.sex or "either sex",
            f"{dx.case.age:g} years" if dx.case.age is not None else "any age",
        )
    )
    console.print(f"[bold]Differential[/bold] ({who})")
    for label, nodes in (("present", dx.case.present), ("absent", dx.case.absent)):
        if nodes:
            console.print(f"  {label}: {', '.join(nodes)}", soft_wrap=True)
    for seen in dx.case.implied:
        console.print(f"  {seen.node} follows from the rest and is not counted twice")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Cause", overflow="fold")
    for heading in ("Prior", "Posterior"):
        table.add_column(heading, justify="right", no_wrap=True)
    if "low" in rows:
        table.add_column("95 % interval", justify="right", no_wrap=True)
    for heading in ("Odds x", "Explains"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows.itertuples():
        cells = [percent(row.prior), percent(row.posterior)]
        if "low" in rows:
            known = row.low == row.low
            cells.append(f"{percent(row.low)} to {percent(row.high)}" if known else "")
        cells += [times(row.bayes_factor), f"{row.disablement:.2f}"]
        style = "bold red" if row.seriousness == "cannot_miss" and row.posterior > 0.01 else None
        table.add_row(row.name, *cells, style=style)
    console.print(table)
    _print_warnings(console, dx)
    for one in reasons:
        name = dx.engine.knowledge.causes[one.cause].name
        console.print(f"[bold]{name}[/bold]: {one.total:+.1f} decibans in all")
        for weight, sentence in zip(one.frame["weight"], one.frame["sentence"], strict=True):
            console.print(f"  {signed(weight):>6}  {sentence}", soft_wrap=True)
    if len(rows) < causes:
        console.print(f"{len(rows)} of {causes} causes; --top {causes} lists all.", style="dim")
    console.print(
        "Explains: expected number of the findings present that would go if the cause were "
        "removed. "
        f"Sorted by {RANKING_MEANINGS[ranking]}.",
        style="dim",
        soft_wrap=True,
    )
    if dx.method != "exact":
        console.print(f"Answer by {dx.method}: too wide for exact inference.", style="yellow")
    if "low" in rows and rows["low"].isna().all():
        console.print(
            f"No intervals: width {dx.width} is too wide to answer the case exactly under many "
            f"sets of numbers (more than {most_states:,} states); leave out some of the findings "
            "that are present.",
            style="yellow",
            soft_wrap=True,
        )
    console.print(DISCLAIMER, style="dim")


def _print_warnings(console: Console, dx: Diagnosis) -> None:
    """The warning patterns that are met, and serious causes past their action thresholds."""
    from twitchdx.report.text import percent

    for row in dx.red_flags.patterns:
        console.print(
            f"[bold red]{row.urgency.capitalize()}[/bold red]: {row.name}. {row.message}",
            soft_wrap=True,
        )
    for one in dx.red_flags.serious:
        console.print(
            f"[bold red]Not to be missed[/bold red]: {one.name}, {percent(one.posterior)}, "
            f"past the {percent(one.action_threshold)} above which one would act",
            soft_wrap=True,
        )
    if dx.red_flags:
        console.print()
