"""`twitchdx sensitivity`: what an answer owes to the numbers; one subcommand a function."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from twitchdx.cli.options import (
    case_options,
    engine_options,
    no_such_priors,
    read_diagnosis,
    read_engine,
    warnings_shown,
)
from twitchdx.errors import EvidenceError, OutputError

if TYPE_CHECKING:
    from twitchdx.diagnosis import Diagnosis, Engine
    from twitchdx.sensitivity import Reading

Command = TypeVar("Command", bound=Callable[..., object])

FIGURES = (".png", ".svg", ".pdf")
TABLES = (".csv", ".json")
SHOWN = 20
"""Rows that are printed in the terminal."""
LONGEST = 28
"""Widest word that a column keeps in one piece."""
REASONS = 5
"""Vignettes left out that the terminal names."""

CASE = ("present", "absent", "uncertain", "measure", "age", "sex")
ENGINE = ("population", "tables", "priors")
READING = ("mapping", "ignore_unknown_columns", "encoding")


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


def _checked(suffixes: tuple[str, ...]) -> Callable[..., Path | None]:
    """Refuse a file that could not be written before anything is computed."""

    def check(context: click.Context, option: click.Parameter, file: Path | None) -> Path | None:
        if file is None:
            return None
        if suffixes and file.suffix.lower() not in suffixes:
            raise OutputError(f"{file} does not end in one of {', '.join(suffixes)}")
        if not file.parent.is_dir():
            raise OutputError(f"{file}: there is no folder {file.parent}; make it first")
        return file

    return check


def _output(command_: Command) -> Command:
    return click.option(
        "--output",
        "-o",
        type=click.Path(dir_okay=False, path_type=Path),
        callback=_checked((*TABLES, *FIGURES)),
        metavar="FILE",
        help="A table (.csv, .json) or figure (.png, .svg, .pdf) instead of the terminal.",
    )(command_)


def _vignettes(command_: Command) -> Command:
    for option in reversed(
        (
            click.option(
                "--vignettes",
                type=click.Path(exists=True, dir_okay=False),
                metavar="FILE",
                help="A whole file of vignettes, as `score` reads it, instead of one case.",
            ),
            click.option("--mapping", metavar="FILE", help="Column mapping file of the vignettes."),
            click.option(
                "--ignore-unknown-columns", is_flag=True, help="Leave out columns not known here."
            ),
            click.option("--encoding", metavar="NAME", help="Of a CSV file of vignettes (utf-8)."),
        )
    ):
        command_ = option(command_)
    return command_


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
_bystanders = click.option(
    "--bystanders",
    is_flag=True,
    help="Let causes lead, too, that the evidence does not speak for.",
)
_apart = click.option(
    "--apart", is_flag=True, help="Move the rows of one prevalence by sex and age one by one."
)
_seed = click.option("--seed", type=click.IntRange(0), help="Of the random numbers.")


def _chosen(parameters: str) -> Any:
    names = [name.strip() for name in parameters.split(",") if name.strip()]
    if not names:
        raise click.UsageError("--parameters names nothing; leave it out for the default")
    return names[0] if len(names) == 1 else names


def _given(**options: Any) -> dict[str, Any]:
    """Those options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def _engine(options: dict[str, Any]) -> Engine:
    return read_engine(**{key: options.pop(key) for key in ENGINE})


def _diagnose(options: dict[str, Any]) -> Diagnosis:
    """Return the diagnosis of the one case that the options describe."""
    lost = [_flag(name) for name in READING if options.pop(name, None)]
    if lost:
        raise click.UsageError(f"{', '.join(lost)}: only with --vignettes")
    engine = _engine(options)
    return read_diagnosis(engine, **{key: options.pop(key) for key in CASE})


def _cohort(options: dict[str, Any], **others: object) -> tuple[Engine, Reading]:
    """Return the engine for a file of vignettes, and how to read it; no case goes with it."""
    case = {key: options.pop(key) for key in CASE}
    lost = [_flag(name) for name, value in {**case, **others}.items() if value]
    if lost:
        raise click.UsageError(f"{', '.join(lost)}: not with --vignettes, which holds the cases")
    from twitchdx.batch import read_mapping
    from twitchdx.sensitivity import Reading

    mapping = options.pop("mapping")
    reading = _given(
        mapping=None if mapping is None else read_mapping(mapping),
        ignore_unknown_columns=options.pop("ignore_unknown_columns"),
        encoding=options.pop("encoding"),
    )
    return _engine(options), Reading(**reading)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _leading(dx: Diagnosis) -> str:
    from twitchdx.sensitivity import contenders

    found = contenders(dx)
    if not found:
        raise EvidenceError("the state of every cause is known: name one with --target")
    return found[0]


def _write(result: Any, output: Path | None, engine: Engine, dx: Diagnosis | None) -> None:
    """Print a result, or write its table, figure, or all of it as JSON."""
    if output is None:
        _print(result)
    else:
        try:
            _write_file(result, output, engine, dx)
        except OSError as error:
            raise OutputError(f"{output} cannot be written: {error.strerror or error}") from None
    if hasattr(result, "left_out") and not isinstance(result.left_out, int):
        click.echo(str(result.left_out))
        rejects = result.left_out.rejects
        for reject in rejects[:REASONS]:
            cell = f", column {reject.column}: {reject.value!r}" if reject.column else ":"
            click.echo(
                f"  line {reject.line}, vignette {reject.vignette_id}{cell} {reject.reason}; "
                f"{reject.repair}",
                err=True,
            )
        if len(rejects) > REASONS:
            click.echo(f"  and {len(rejects) - REASONS} more; -o FILE.json lists all", err=True)


def _write_file(result: Any, output: Path, engine: Engine, dx: Diagnosis | None) -> None:
    from twitchdx.sensitivity.present import about_case, case_record, record

    suffix = output.suffix.lower()
    if suffix in FIGURES:
        from twitchdx.sensitivity.plots import save

        about = engine.population.replace("_", " ") if dx is None else about_case(dx)
        save(result, output, about)
        click.echo(str(output))
        return
    frame = result.frame
    if suffix == ".csv":
        frame.to_csv(output, index=False)
    else:
        context = click.get_current_context()
        made = {
            "command": f"sensitivity {context.command.name}",
            "case": None if dx is None else case_record(dx),
            "vignettes_file": context.params.get("vignettes"),
            "population": engine.population,
            "tables": engine.knowledge.digest,
            **record(result),
        }
        output.write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    click.echo(f"{output}: {len(frame)} rows")


def _print(result: Any) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from twitchdx.sensitivity.plots import cited
    from twitchdx.sensitivity.present import view

    console = Console(highlight=False)
    seen = view(result)
    console.print(seen.title, markup=False, soft_wrap=True, style="bold")
    shown = seen.table.head(SHOWN)
    if "source" in seen.columns:
        shown = shown.assign(source=[cited(str(keys), 1) for keys in shown["source"]])
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, heading in seen.columns.items():
        number = shown[name].dtype.kind in "fi"
        words = [len(word) for text in shown[name] for word in str(text).split()]
        whole = name == "label"
        drawn.add_column(
            heading,
            justify="right" if number else "left",
            overflow="fold",
            no_wrap=number or name == "cause",
            # identifiers are not broken, as far as the terminal is wide enough
            min_width=min(LONGEST, max(words, default=0)) if whole else None,
            ratio={"label": 3, "becomes": 2, "source": 2}.get(name),
        )
    for row in shown[list(seen.columns)].itertuples(index=False):
        drawn.add_row(*(_cell(value) for value in row))
    console.print(drawn)
    for note in seen.notes:
        console.print(note, markup=False, soft_wrap=True)
    if len(seen.table) > SHOWN:
        console.print(
            f"{SHOWN} of {len(seen.table)} rows; -o FILE.csv writes all, with keys, files and "
            "lines.",
            style="dim",
            soft_wrap=True,
        )


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "-" if value != value else f"{value:.3g}"
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
    _write(one_way(dx, target or _leading(dx), parameter), output, dx.engine, dx)


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
@_exposures
@_bystanders
@_vignettes
@_output
def tornado_command(
    target: str | None,
    parameters: str,
    odds: float | None,
    apart: bool,
    exposures: bool,
    bystanders: bool,
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
    chosen = _chosen(parameters)
    if vignettes is not None:
        from twitchdx.sensitivity import cohort_tornado

        engine, reading = _cohort(options, apart=apart)
        result = cohort_tornado(
            engine,
            vignettes,
            target,
            chosen,
            odds=odds,
            exposures=exposures,
            bystanders=bystanders,
            reading=reading,
        )
        _write(result, output, engine, None)
        return
    from twitchdx.sensitivity import tornado

    if exposures or bystanders:
        raise click.UsageError("--exposures and --bystanders go with --vignettes here")
    dx = _diagnose(options)
    _write(
        tornado(dx, target or _leading(dx), chosen, odds=odds, together=not apart),
        output,
        dx.engine,
        dx,
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
    _write(two_way(dx, target or _leading(dx), pair[0], pair[1]), output, dx.engine, dx)


@command.command("flips")
@case_options
@engine_options
@_parameters("priors")
@click.option("--order", metavar="CAUSE,CAUSE", help="Ask about the order of these two.")
@click.option("--threshold", metavar="CAUSE=P", help="Ask when this posterior crosses P.")
@_exposures
@_bystanders
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
    bystanders: bool,
    apart: bool,
    jointly: bool,
    output: Path | None,
    **options: Any,
) -> None:
    """The smallest change of each number that changes the leading cause."""
    from twitchdx.sensitivity import flips, smallest_joint_change

    pair = None if order is None else tuple(part.strip() for part in order.split(","))
    if pair is not None and len(pair) != 2:
        raise EvidenceError("--order takes two causes, separated by a comma")
    ask = smallest_joint_change if jointly else flips
    dx = _diagnose(options)
    result = ask(
        dx,
        _chosen(parameters),
        order=pair,
        threshold=None if threshold is None else _level(threshold),
        exposures=exposures,
        bystanders=bystanders,
        together=not apart,
    )
    _write(result, output, dx.engine, dx)


def _level(threshold: str) -> tuple[str, float]:
    cause, _, level = threshold.partition("=")
    try:
        return cause.strip(), float(level)
    except ValueError:
        raise EvidenceError(f"--threshold {threshold!r} is not of the form CAUSE=P") from None


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
    _write(bounds(dx, _chosen(parameters), targets=causes or None), output, dx.engine, dx)


@command.command("probabilistic")
@case_options
@engine_options
@_parameters("all")
@click.option("--draws", type=int, metavar="N", help="Sets of numbers to draw (10000).")
@_seed
@_exposures
@_bystanders
@_vignettes
@_output
def probabilistic_command(
    parameters: str,
    draws: int | None,
    seed: int | None,
    exposures: bool,
    bystanders: bool,
    vignettes: str | None,
    output: Path | None,
    **options: Any,
) -> None:
    """The distribution of every posterior as all numbers vary, each by its own."""
    chosen = _given(draws=draws, seed=seed, exposures=exposures, bystanders=bystanders)
    if vignettes is not None:
        from twitchdx.sensitivity import cohort_probabilistic

        engine, reading = _cohort(options)
        cohort = cohort_probabilistic(
            engine, vignettes, _chosen(parameters), reading=reading, **chosen
        )
        _write(cohort, output, engine, None)
        return
    from twitchdx.sensitivity import probabilistic

    dx = _diagnose(options)
    _write(probabilistic(dx, _chosen(parameters), **chosen), output, dx.engine, dx)


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

    chosen = _given(draws=draws, seed=seed)
    dx = _diagnose(options)
    result = sobol(dx, target or _leading(dx), _chosen(parameters), **chosen)
    _write(result, output, dx.engine, dx)


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

    chosen = _given(draws=draws, seed=seed)
    dx = _diagnose(options)
    _write(worth_knowing(dx, _chosen(parameters), **chosen), output, dx.engine, dx)


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
    with warnings_shown():
        result = compare(dx, *(_alternative(dx.engine, other) for other in others))
    _write(result, output, dx.engine, dx)


def _alternative(engine: Engine, text: str) -> Any:
    """Read what --with names: a population, a file, or one prevalence."""
    if text in engine.knowledge.populations or Path(text).exists():
        return text
    cause, equals, value = text.partition("=")
    if not equals:
        raise no_such_priors(engine, "--with", text, populations=True)
    try:
        return {cause.strip(): float(value)}
    except ValueError:
        raise EvidenceError(f"--with {text!r}: {value!r} is no number") from None


@command.command("new-priors")
@engine_options
@click.argument("causes", nargs=-1, required=True)
@click.option("--name", default="my_priors", show_default=True)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_checked(()),
    metavar="FILE",
    help="A new file instead of the terminal.",
)
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
        raise OutputError(f"{output} exists; name another file")
    else:
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{output} cannot be written: {error.strerror}") from None
        click.echo(str(output))
