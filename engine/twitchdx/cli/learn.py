"""`twitchdx learn`: table numbers updated by vignettes with truth, as a named prior set."""

from __future__ import annotations

from pathlib import Path

import click

from twitchdx.cli.options import engine_options, read_engine

KINDS = ("prior", "link", "likelihood", "background")


@click.command("learn")
@click.argument("scored", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="SET.toml",
    help="The prior set that is written.",
)
@engine_options
@click.option(
    "--partial",
    is_flag=True,
    help="Causes that a vignette does not name are unknown; by default they are absent.",
)
@click.option(
    "--only", multiple=True, type=click.Choice(KINDS), help="Numbers that may change; repeatable."
)
@click.option(
    "--hold-out",
    type=click.FloatRange(0, 0.9),
    default=0.3,
    show_default=True,
    metavar="SHARE",
    help="Vignettes that the gain is measured on; the set itself learns from all.",
)
@click.option("--name", default=None, help="Of the set; by default the file's.")
@click.option("--seed", type=int, default=1, show_default=True)
def command(
    scored: Path,
    output: Path,
    population: str,
    tables: Path | None,
    priors: tuple[str, ...],
    partial: bool,
    only: tuple[str, ...],
    hold_out: float,
    name: str | None,
    seed: int,
) -> None:
    """Learn from the vignettes of SCORED, which state their truth.

    The tables are never changed: what was learned is a named prior set, to be given to --priors.
    Each table number counts for as many people as its interval says, so that a measured one
    moves less than a guessed one. Vignettes come from somewhere: prevalences learned from a
    clinic are those of that clinic.

    \b
    Example:
      twitchdx simulate -n 500 --seed 3 -o drawn.csv
      twitchdx learn drawn.csv -o learned.toml
      twitchdx diagnose --present urge_to_move --priors learned.toml
    """
    from twitchdx.validation.cases import read_cases, read_vignettes
    from twitchdx.validation.learn import held_out_gain, learn, to_prior_set, with_truth

    engine = read_engine(population, tables, priors)
    cases = read_cases(engine, read_vignettes(scored))
    for reason in cases.rejected[:5]:
        click.echo(f"left out {reason}", err=True)
    kinds = only or KINDS
    if hold_out > 0:
        gain = held_out_gain(engine, cases, hold_out, seed, kinds=kinds, partial=partial)
        click.echo(
            f"Learned from {gain.learned_from}, tried on {gain.held_out} others: "
            f"log P(findings and truth) {gain.before:.3f} before, {gain.after:.3f} after "
            f"(gain {gain.gain:+.3f} ± {1.96 * gain.standard_error:.3f} a vignette); "
            f"log P(truth | findings) {gain.truth_before:.3f} before, {gain.truth_after:.3f} after"
        )
        if gain.gain <= 0:
            click.echo("No gain: the tables fit the held-out vignettes as well without it.")
    learning = learn(engine, with_truth(engine, cases, partial), cases.weights, kinds)
    found = to_prior_set(
        learning,
        engine,
        name or output.stem,
        f"Learned from the {learning.vignettes} vignettes of {scored.name} under "
        f"{engine.population}.",
        f"{scored.name}; tables {engine.knowledge.digest[:12]}",
    )
    output.write_text(found.to_toml(), encoding="utf-8")
    click.echo(f"{len(found.changes)} numbers in {output}; most data:")
    for one in learning.learned[:10]:
        click.echo(
            f"  {one.parameter.key}: {one.parameter.value:.3g} -> {one.value:.3g} "
            f"({one.low:.3g} to {one.high:.3g}), {one.prior_size:.0f} people before, "
            f"{one.added:.0f} more"
        )
