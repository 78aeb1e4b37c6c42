"""`twitchdx sensitivity`: what an answer owes to the numbers; one subcommand a function."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from twitchdx.cli.options import case_options, engine_options, read_diagnosis, read_engine
from twitchdx.errors import EvidenceError

if TYPE_CHECKING:
    import pandas as pd

    from twitchdx.diagnosis import Diagnosis

Command = TypeVar("Command", bound=Callable[..., object])

FIGURES = (".png", ".svg", ".pdf")
TABLES = (".csv", ".json")
SHOWN = 20
"""Rows that are printed in the terminal."""

COLUMNS = {
    "mean_swing": ("label", "mean_swing", "share_fragile", "source"),
    "flip_at": ("label", "value", "flip_at", "becomes", "verdict"),
    "move": ("label", "value", "becomes", "move", "inside"),
    "swing": ("label", "value", "posterior_low", "posterior_high", "source"),
    "variance_share": ("label", "value", "variance_share", "evppi", "source"),
    "total": ("label", "value", "first", "total", "source"),
    "c1": ("parameter", "from", "to", "c1", "c2", "c3", "c4"),
    "outer_low": ("cause", "posterior", "low", "high", "outer_low", "outer_high", "kind"),
    "p_first": ("cause", "posterior", "median", "low", "high", "p_first"),
}
"""What the terminal shows of a table that has a certain column."""

HEADINGS = {"posterior_low": "at low", "posterior_high": "at high", "variance_share": "variance"}

CASE = ("present", "absent", "uncertain", "measure", "age", "sex")
ENGINE = ("population", "tables", "priors")


class HyphenGroup(click.Group):
    """A group whose commands may be written with underscores, like the Python functions."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name.replace("_", "-"))


@click.group("sensitivity", cls=HyphenGroup)
def command() -> None:
    """What an answer owes to the numbers, exactly; every number with its citation.

    \b
    Example:
      twitchdx sensitivity tornado --present urge_to_move,worse_at_rest --age 52 --sex female \\
          --target restless_legs_syndrome -o tornado.png
    """


def _output(command_: Command) -> Command:
    return click.option(
        "--output",
        "-o",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="A table (.csv, .json) or figure (.png, .svg, .pdf) instead of the terminal.",
    )(command_)


def _parameters(default: str) -> Callable[[Command], Command]:
    return click.option(
        "--parameters",
        default=default,
        show_default=True,
        metavar="WHICH",
        help="priors, links, likelihoods, backgrounds, all, or causes and keys, comma-separated.",
    )


_target = click.option(
    "--target", "-t", metavar="CAUSE", help="Left out: the leading cause of the case."
)
_exposures = click.option("--exposures", is_flag=True, help="Let exposures lead, too.")
_apart = click.option(
    "--apart", is_flag=True, help="Move the rows of one prevalence by sex and age one by one."
)
_seed = click.option("--seed", type=int, help="Of the random numbers.")


def _chosen(parameters: str) -> Any:
    names = [name.strip() for name in parameters.split(",") if name.strip()]
    return names[0] if len(names) == 1 else names


def _diagnose(options: dict[str, Any]) -> Diagnosis:
    engine = read_engine(**{key: options.pop(key) for key in ENGINE})
    return read_diagnosis(engine, **{key: options.pop(key) for key in CASE})


def _leading(dx: Diagnosis) -> str:
    from twitchdx.sensitivity import leading_causes

    return max(leading_causes(dx), key=lambda cause: dx.posterior[cause])


def _write(result: Any, output: Path | None, frame: pd.DataFrame | None = None) -> None:
    """Print a result, or write its table or figure."""
    table = result.frame if frame is None else frame
    if output is None:
        _print(result, table)
        return
    suffix = output.suffix.lower()
    if suffix in FIGURES:
        from twitchdx.sensitivity.plots import save

        save(result, output)
    elif suffix == ".csv":
        table.to_csv(output, index=False)
    elif suffix == ".json":
        records = json.loads(table.to_json(orient="records", double_precision=15))
        output.write_text(json.dumps(records, indent=2) + "\n", encoding="utf-8")
    else:
        raise EvidenceError(f"{output} does not end in one of {', '.join((*TABLES, *FIGURES))}")
    click.echo(f"{output}: {len(table)} rows" if suffix in TABLES else str(output))


def _print(result: Any, table: pd.DataFrame) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from twitchdx.sensitivity.plots import cited

    console = Console(highlight=False)
    for line in str(result).splitlines()[:1]:
        console.print(line, markup=False, soft_wrap=True, style="bold")
    shown = table.head(SHOWN)
    chosen = next((c for key, c in COLUMNS.items() if key in shown), tuple(shown.columns))
    columns = [name for name in chosen if name in shown]
    if "source" in columns:
        shown = shown.assign(source=[cited(str(keys), 1) for keys in shown["source"]])
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        number = shown[name].dtype.kind in "fi"
        wide = name in ("label", "cause", "source")
        drawn.add_column(
            HEADINGS.get(str(name), str(name).replace("_", " ")),
            justify="right" if number else "left",
            overflow="fold",
            no_wrap=number,
            ratio=(3 if name == "label" else 2) if wide else None,
        )
    for row in shown[columns].itertuples(index=False):
        drawn.add_row(*(_cell(value) for value in row))
    console.print(drawn)
    if len(table) > SHOWN:
        console.print(
            f"{SHOWN} of {len(table)} rows; -o FILE.csv writes all, with keys, files and lines.",
            style="dim",
        )


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"
    return str(value)


@command.command("one-way")
@case_options
@engine_options
@_target
@click.option("--parameter", required=True, metavar="KEY|CAUSE", help="The number to move.")
@_output
def one_way_command(
    target: str | None, parameter: str, output: Path | None, **options: Any
) -> None:
    """The posterior of a cause as an exact function of one number.

    \b
    Example:
      twitchdx sensitivity one-way --present urge_to_move --age 52 --sex female \\
          --target restless_legs_syndrome --parameter iron_deficiency
    """
    from twitchdx.sensitivity import one_way

    dx = _diagnose(options)
    _write(one_way(dx, target or _leading(dx), parameter), output)


@command.command("tornado")
@case_options
@engine_options
@_target
@_parameters("priors")
@click.option(
    "--odds",
    type=float,
    metavar="X",
    help="Instead of each number's own interval: its odds divided and multiplied by X.",
)
@_apart
@click.option(
    "--vignettes",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="A whole file of vignettes instead of one case.",
)
@_output
def tornado_command(
    target: str | None,
    parameters: str,
    odds: float | None,
    apart: bool,
    vignettes: str | None,
    output: Path | None,
    **options: Any,
) -> None:
    """How far each number, moved over its own interval, moves the posterior of a cause.

    \b
    Example:
      twitchdx sensitivity tornado --present urge_to_move,worse_at_rest --age 52 --sex female \\
          --target restless_legs_syndrome -o tornado.png
    """
    if vignettes is not None:
        from twitchdx.sensitivity import cohort_tornado

        engine = read_engine(**{key: options.pop(key) for key in ENGINE})
        result = cohort_tornado(engine, vignettes, target, _chosen(parameters), odds=odds)
        _write(result, output)
        return
    from twitchdx.sensitivity import tornado

    dx = _diagnose(options)
    _write(
        tornado(dx, target or _leading(dx), _chosen(parameters), odds=odds, together=not apart),
        output,
    )


@command.command("two-way")
@case_options
@engine_options
@_target
@click.option(
    "--parameter",
    "pair",
    multiple=True,
    required=True,
    metavar="KEY|CAUSE",
    help="Given twice: the two numbers to move.",
)
@_output
def two_way_command(
    target: str | None, pair: tuple[str, ...], output: Path | None, **options: Any
) -> None:
    """The posterior of a cause over two numbers, and where the leading cause changes."""
    from twitchdx.sensitivity import two_way

    if len(pair) != 2:
        raise EvidenceError("give --parameter twice")
    dx = _diagnose(options)
    _write(two_way(dx, target or _leading(dx), pair[0], pair[1]), output)


@command.command("flips")
@case_options
@engine_options
@_parameters("priors")
@click.option("--order", metavar="CAUSE,CAUSE", help="Ask about the order of these two.")
@click.option("--threshold", metavar="CAUSE=P", help="Ask when this posterior crosses P.")
@_exposures
@_apart
@click.option(
    "--jointly",
    is_flag=True,
    help="The smallest change of all numbers together, instead of one at a time.",
)
@_output
def flips_command(
    parameters: str,
    order: str | None,
    threshold: str | None,
    exposures: bool,
    apart: bool,
    jointly: bool,
    output: Path | None,
    **options: Any,
) -> None:
    """The smallest change of each number that changes the leading cause."""
    from twitchdx.sensitivity import flips, smallest_joint_change

    dx = _diagnose(options)
    if jointly:
        _write(smallest_joint_change(dx, _chosen(parameters), exposures=exposures), output)
        return
    pair = None if order is None else tuple(part.strip() for part in order.split(","))
    if pair is not None and len(pair) != 2:
        raise EvidenceError("--order takes two causes, separated by a comma")
    crossed = None
    if threshold is not None:
        cause, _, level = threshold.partition("=")
        try:
            crossed = (cause.strip(), float(level))
        except ValueError:
            raise EvidenceError(f"--threshold {threshold!r} is not of the form CAUSE=P") from None
    result = flips(
        dx,
        _chosen(parameters),
        order=pair,
        threshold=crossed,
        exposures=exposures,
        together=not apart,
    )
    _write(result, output)


@command.command("bounds")
@case_options
@engine_options
@_parameters("priors")
@click.option("--cause", "causes", multiple=True, metavar="CAUSE", help="Left out: every cause.")
@_output
def bounds_command(
    parameters: str, causes: tuple[str, ...], output: Path | None, **options: Any
) -> None:
    """Lowest and highest posterior as all numbers vary jointly in their intervals."""
    from twitchdx.sensitivity import bounds

    dx = _diagnose(options)
    _write(bounds(dx, _chosen(parameters), targets=causes or None), output)


@command.command("probabilistic")
@case_options
@engine_options
@_parameters("all")
@click.option("--draws", type=int, metavar="N", help="Sets of numbers to draw (10000).")
@_seed
@_exposures
@click.option(
    "--vignettes",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="A whole file of vignettes instead of one case.",
)
@_output
def probabilistic_command(
    parameters: str,
    draws: int | None,
    seed: int | None,
    exposures: bool,
    vignettes: str | None,
    output: Path | None,
    **options: Any,
) -> None:
    """The distribution of every posterior as all numbers vary, each by its own."""
    chosen: dict[str, Any] = {"exposures": exposures}
    if draws is not None:
        chosen["draws"] = draws
    if seed is not None:
        chosen["seed"] = seed
    if vignettes is not None:
        from twitchdx.sensitivity import cohort_probabilistic

        engine = read_engine(**{key: options.pop(key) for key in ENGINE})
        _write(cohort_probabilistic(engine, vignettes, _chosen(parameters), **chosen), output)
        return
    from twitchdx.sensitivity import probabilistic

    _write(probabilistic(_diagnose(options), _chosen(parameters), **chosen), output)


@command.command("sobol")
@case_options
@engine_options
@_target
@_parameters("priors")
@click.option("--draws", type=int, metavar="N", help="Base sample size, a power of two.")
@_seed
@_output
def sobol_command(
    target: str | None,
    parameters: str,
    draws: int | None,
    seed: int | None,
    output: Path | None,
    **options: Any,
) -> None:
    """Which numbers the variance of a posterior comes from: first-order and total indices."""
    from twitchdx.sensitivity import sobol

    chosen: dict[str, Any] = {}
    if draws is not None:
        chosen["draws"] = draws
    if seed is not None:
        chosen["seed"] = seed
    dx = _diagnose(options)
    _write(sobol(dx, target or _leading(dx), _chosen(parameters), **chosen), output)


@command.command("worth-knowing")
@case_options
@engine_options
@_parameters("all")
@click.option("--draws", type=int, metavar="N", help="Sets of numbers to draw.")
@_seed
@_output
def worth_knowing_command(
    parameters: str, draws: int | None, seed: int | None, output: Path | None, **options: Any
) -> None:
    """For which number a better study would most reduce the uncertainty of the answer."""
    from twitchdx.sensitivity import worth_knowing

    chosen: dict[str, Any] = {}
    if draws is not None:
        chosen["draws"] = draws
    if seed is not None:
        chosen["seed"] = seed
    _write(worth_knowing(_diagnose(options), _chosen(parameters), **chosen), output)


@command.command("compare")
@case_options
@engine_options
@click.option(
    "--with",
    "others",
    multiple=True,
    required=True,
    metavar="POPULATION|FILE|CAUSE=P",
    help="Other priors for the same case; may be repeated.",
)
@_output
def compare_command(others: tuple[str, ...], output: Path | None, **options: Any) -> None:
    """The same case under other populations, prior sets or prevalences, side by side."""
    from twitchdx.sensitivity import compare

    dx = _diagnose(options)
    result = compare(dx, *(_alternative(other) for other in others))
    if output is None:
        _write(result, None, result.table().reset_index())
    else:
        _write(result, output)


def _alternative(text: str) -> Any:
    if "=" not in text or Path(text).exists():
        return text
    cause, _, value = text.partition("=")
    try:
        return {cause.strip(): float(value)}
    except ValueError:
        raise EvidenceError(f"--with {text!r}: {value!r} is no number") from None


@command.command("new-priors")
@engine_options
@click.argument("causes", nargs=-1, required=True)
@click.option("--name", default="my_priors", show_default=True)
@_output
def new_priors_command(
    causes: tuple[str, ...], name: str, output: Path | None, **options: Any
) -> None:
    """Print a prior set to edit: the numbers in force for some causes.

    \b
    Example:
      twitchdx sensitivity new-priors iron_deficiency pregnancy -o my_priors.toml
      twitchdx diagnose --present urge_to_move --priors my_priors.toml
    """
    from twitchdx.sensitivity import new_prior_set

    text = new_prior_set(read_engine(**options), causes, name).to_toml()
    if output is None:
        click.echo(text, nl=False)
    elif output.exists():
        raise EvidenceError(f"{output} exists; name another file")
    else:
        output.write_text(text, encoding="utf-8")
        click.echo(str(output))
