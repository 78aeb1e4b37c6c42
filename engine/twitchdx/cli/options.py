"""Options that several commands share, and the engine that they ask for."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from twitchdx.errors import EvidenceError, nearest

if TYPE_CHECKING:
    from twitchdx.diagnosis import Diagnosis, Engine
    from twitchdx.sensitivity.prior_sets import PriorSet

Command = TypeVar("Command", bound=Callable[..., object])

DISCLAIMER = "For research and teaching, not for care."


def engine_options(command: Command) -> Command:
    """Add --population, --tables and --priors: which numbers the answers start from."""
    for option in reversed(
        (
            click.option(
                "--population",
                default="general_adult",
                show_default=True,
                metavar="NAME",
                help="Whose prevalences to start from: a population of populations.csv.",
            ),
            click.option(
                "--tables",
                type=click.Path(exists=True, file_okay=False, path_type=Path),
                metavar="DIR",
                help="A folder with your own priors/ and evidence_tables/.",
            ),
            click.option(
                "--priors",
                multiple=True,
                metavar="FILE|CAUSE=P",
                help="A named prior set, or one prevalence such as iron_deficiency=0.3; "
                "may be repeated.",
            ),
        )
    ):
        command = option(command)
    return command


def case_options(command: Command) -> Command:
    """Add --present, --absent, --uncertain, --measure, --age and --sex: what was observed."""
    for option in reversed(
        (
            click.option(
                "--present",
                "-p",
                multiple=True,
                metavar="IDS",
                help="Findings (or known causes) seen present, separated by commas.",
            ),
            click.option(
                "--absent",
                "-a",
                multiple=True,
                metavar="IDS",
                help="Findings (or causes) looked for and not there.",
            ),
            click.option(
                "--uncertain",
                multiple=True,
                metavar="ID=lr=R|ID=p=P",
                help="An uncertain observation: its likelihood ratio, or the probability that "
                "it is right.",
            ),
            click.option(
                "--measure",
                "-m",
                multiple=True,
                metavar="QUANTITY=VALUE",
                help='A measurement, in the tables\' unit or another: ferritin="18 ug/L".',
            ),
            click.option("--age", metavar="YEARS", help="Left out: the population's mixture."),
            click.option("--sex", metavar="SEX", help="female or male."),
        )
    ):
        command = option(command)
    return command


def read_engine(population: str, tables: Path | None, priors: Iterable[str]) -> Engine:
    """Return the engine that --population, --tables and --priors ask for."""
    from twitchdx.diagnosis import Engine

    engine = (
        Engine.default(population)
        if tables is None
        else Engine.from_tables(tables / "priors", tables / "evidence_tables", population)
    )
    sets: list[PriorSet] = []
    single: dict[str, float] = {}
    for entry in priors:
        if "=" in entry and not Path(entry).exists():
            cause, value = _split(entry, "--priors")
            _once(cause, single, sets)
            single[cause] = _number(value, entry)
        else:
            sets.append(_read_set(engine, entry, single, sets))
    with warnings_shown():
        for one in sets:
            engine = engine.with_priors(one)
    return engine.with_priors(single) if single else engine


def _read_set(
    engine: Engine, entry: str, single: Iterable[str], others: Iterable[PriorSet]
) -> PriorSet:
    from twitchdx.sensitivity.prior_sets import read_prior_set

    if not Path(entry).exists():
        raise no_such_priors(engine, "--priors", entry)
    read = read_prior_set(entry)
    for cause in dict.fromkeys(change.cause for change in read.changes if change.is_prior):
        _once(cause, single, others)
    return read


def _once(cause: str, single: Iterable[str], sets: Iterable[PriorSet]) -> None:
    """Refuse a second prevalence of one cause: which of them holds?"""
    changed = {c.cause for one in sets for c in one.changes if c.is_prior}
    if cause in {*single, *changed}:
        raise EvidenceError(f"--priors sets the prevalence of {cause} more than once; keep one")


def no_such_priors(
    engine: Engine, option: str, entry: str, *, populations: bool = False
) -> EvidenceError:
    """Say what an entry that is no file might have meant."""
    if entry in engine.knowledge.causes:
        hint = f"to set its prevalence, write {entry}=P"
    else:
        known = engine.knowledge.populations if populations else ()
        close = nearest(entry, known) or nearest(entry, engine.knowledge.causes)
        hint = f"did you mean {' or '.join(close)}?" if close else "check the path"
        if close and close[0] in engine.knowledge.causes:
            hint = f"did you mean {close[0]}=P?"
    kinds = "a population, the file of a prior set, or CAUSE=P"
    kinds = kinds if populations else kinds.removeprefix("a population, ")
    return EvidenceError(f"{option} {entry!r} is not {kinds}; {hint}")


@contextmanager
def warnings_shown() -> Iterator[None]:
    """Show what a prior set warns of as a message, without the place in our code."""
    from twitchdx.sensitivity.prior_sets import PriorSetWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PriorSetWarning)
        yield
    for warning in caught:
        if issubclass(warning.category, PriorSetWarning):
            click.echo(f"Warning: {warning.message}", err=True)
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )


def read_diagnosis(
    engine: Engine,
    *,
    present: Iterable[str],
    absent: Iterable[str],
    uncertain: Iterable[str],
    measure: Iterable[str],
    age: str | None,
    sex: str | None,
) -> Diagnosis:
    """Return the diagnosis of the case that the case options describe."""
    return engine.diagnose(read_entries(present, absent, uncertain, measure), age, sex)


def read_entries(
    present: Iterable[str], absent: Iterable[str], uncertain: Iterable[str], measure: Iterable[str]
) -> dict[str, object]:
    """Return what the case options say was observed, as `Engine.diagnose` takes it."""
    entries: dict[str, object] = {}
    for state, options in ((True, present), (False, absent)):
        for key in _ids(options):
            if entries.get(key, state) is not state:
                raise EvidenceError(f"{key} is given as present and as absent; drop one of them")
            entries[key] = state
    for option in uncertain:
        key, value = _split(option, "--uncertain")
        entries[key] = value
    for option in measure:
        key, value = _split(option, "--measure")
        entries[key] = value
    return entries


def _ids(options: Iterable[str]) -> list[str]:
    return [part.strip() for option in options for part in option.split(",") if part.strip()]


def _split(entry: str, option: str) -> tuple[str, str]:
    key, separator, value = entry.partition("=")
    if not separator or not key.strip() or not value.strip():
        raise EvidenceError(f"{option} {entry!r} is not of the form NAME=VALUE")
    return key.strip(), value.strip()


def _number(text: str, entry: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise EvidenceError(
            f"--priors {entry!r}: {text!r} is neither a number nor a file"
        ) from None
