"""`twitchdx validate`: how good the answers are on vignettes whose truth is known."""

from __future__ import annotations

import csv
from pathlib import Path

import click

from twitchdx.cli.options import read_engine

#: populations that are scored unless others are asked for, where the tables have them
DEFAULT_POPULATIONS = ("neurology_clinic", "general_adult")


@click.command("validate")
@click.argument("vignettes", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where the report goes.",
)
@click.option(
    "--population",
    "populations",
    multiple=True,
    metavar="NAME",
    help="May be repeated; the first is the main one.  "
    f"[default: {', '.join(DEFAULT_POPULATIONS)}]",
)
@click.option(
    "--tables",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="A folder with your own priors/ and evidence_tables/.",
)
@click.option(
    "--priors",
    multiple=True,
    metavar="FILE|CAUSE=P",
    help="A named prior set, or one prevalence; may be repeated.",
)
@click.option(
    "--subsets",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="CSV with vignette_id and columns of yes and no: subsets that are scored apart.  "
    "[default: <stem>_sources.csv beside the vignettes]",
)
@click.option(
    "--simulate",
    "simulated",
    type=click.IntRange(0),
    default=2000,
    show_default=True,
    metavar="N",
    help="Vignettes drawn from the network itself, in each of three ways.",
)
@click.option("--quick", is_flag=True, help="Rank by posterior only; spoil nothing.")
@click.option("--seed", type=int, default=1, show_default=True)
def command(
    vignettes: Path,
    output: Path,
    populations: tuple[str, ...],
    tables: Path | None,
    priors: tuple[str, ...],
    subsets: Path | None,
    simulated: int,
    quick: bool,
    seed: int,
) -> None:
    """Score VIGNETTES that state the truth, and write a report.

    VIGNETTES is a vignette CSV file with a column truth: the causes that the person had,
    separated by semicolons. The report (report.html) has accuracy at three levels of
    information, what each part of the model is worth, calibration, decision curves, robustness,
    a check on simulated vignettes, and the missed cases one by one; every number is in
    numbers.csv. Notes on missed cases are read from <stem>_notes.csv beside the vignettes
    (vignette_id, note), caveats from <stem>_caveats.txt (one a line).

    \b
    Example:
      twitchdx validate validation/vignettes/published.csv -o validation/results
    """
    from twitchdx.validation.cases import read_vignettes
    from twitchdx.validation.evaluate import RANKINGS
    from twitchdx.validation.report import screen, write_report
    from twitchdx.validation.study import Plan, run_study

    file = read_vignettes(vignettes, subsets)
    names = populations or _default_populations(tables)
    engines = [read_engine(name, tables, priors) for name in names]
    plan = Plan(
        rankings=RANKINGS[:2] if quick else RANKINGS,
        simulated=simulated,
        robust=not quick,
        seed=seed,
    )
    study = run_study(
        engines, file, plan, progress=lambda word: click.echo(f"  {word} ...", err=True)
    )
    write_report(study, output, _lines(vignettes, "caveats"), _notes(vignettes))
    click.echo(screen(study, output))


def _default_populations(tables: Path | None) -> tuple[str, ...]:
    from twitchdx.tables import default_tables, read_tables

    knowledge = (
        default_tables()
        if tables is None
        else read_tables(tables / "priors", tables / "evidence_tables")
    )
    have = tuple(name for name in DEFAULT_POPULATIONS if name in knowledge.populations)
    return have or tuple(knowledge.populations)


def _beside(vignettes: Path, kind: str, suffix: str) -> Path:
    return vignettes.with_name(f"{vignettes.stem}_{kind}{suffix}")


def _lines(vignettes: Path, kind: str) -> tuple[str, ...]:
    path = _beside(vignettes, kind, ".txt")
    if not path.exists():
        return ()
    text = path.read_text(encoding="utf-8")
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _notes(vignettes: Path) -> dict[str, str]:
    path = _beside(vignettes, "notes", ".csv")
    if not path.exists():
        return {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        return {row["vignette_id"]: row["note"] for row in csv.DictReader(file)}
