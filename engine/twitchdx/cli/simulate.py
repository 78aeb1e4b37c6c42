"""`twitchdx simulate`: vignettes drawn from the network, with their truth."""

from __future__ import annotations

from pathlib import Path

import click

from twitchdx.cli.options import engine_options, read_engine


@click.command("simulate")
@click.option("-n", "count", type=click.IntRange(0), required=True, help="How many vignettes.")
@click.option("-o", "--output", required=True, metavar="OUT", help="Output file, or - .")
@engine_options
@click.option(
    "--observe",
    default="all",
    show_default=True,
    metavar="LIST",
    help="What may get known: findings, kinds (symptom, sign, history, test), causes, or all.",
)
@click.option(
    "--asking-rate",
    type=float,
    metavar="P",
    help="How often each gets known; by default each finding's own rate.",
)
@click.option(
    "--present-at-least",
    type=click.IntRange(0),
    default=0,
    metavar="K",
    help="Keep only people with K findings known to be present.",
)
@click.option("--seed", type=int, default=0, show_default=True)
def command(
    count: int,
    output: str,
    population: str,
    tables: Path | None,
    priors: tuple[str, ...],
    observe: str,
    asking_rate: float | None,
    present_at_least: int,
    seed: int,
) -> None:
    """Draw vignettes from the network, with what each person truly has.

    Every vignette is a person of the population: sex and age, causes, findings. A finding is
    written down only if it was asked about, each at the rate that the tables give it; the rest
    are blank. OUT is .csv, .csv.gz, .csv.zst or .parquet; - is standard output. The same seed
    gives the same vignettes, and a longer run begins with those of a shorter one.

    \b
    Example:
      twitchdx simulate -n 1000 --population neurology_clinic --observe symptom,sign \\
          --present-at-least 1 --seed 7 -o simulated.csv
    """
    from twitchdx.batch.simulate import SimulateOptions, simulate_file
    from twitchdx.batch.sink import STANDARD_OUTPUT

    wanted = tuple(part.strip() for part in observe.split(",") if part.strip())
    options = SimulateOptions(wanted, asking_rate, present_at_least)
    simulate_file(read_engine(population, tables, priors), count, seed, output, options)
    where = "standard output" if output == STANDARD_OUTPUT else output
    click.echo(f"{count:,} vignettes written to {where}", err=output == STANDARD_OUTPUT)
