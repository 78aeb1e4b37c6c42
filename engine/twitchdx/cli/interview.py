"""`twitchdx interview`: ask the next best question until no likely answer changes anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from twitchdx.cli.options import case_options, engine_options, read_engine, read_entries
from twitchdx.errors import ContradictionError, ImpossibleEvidenceError

if TYPE_CHECKING:
    from twitchdx.diagnosis import Diagnosis
    from twitchdx.explain import NextQuestions

#: what a person may answer -> what it means
ANSWERS = {
    "y": "present", "yes": "present", "n": "absent", "no": "absent",
    "u": "unknown", "unknown": "unknown", "?": "unknown", "": "unknown",
    "b": "back", "back": "back", "q": "quit", "quit": "quit",
}  # fmt: skip
KINDS = {"questions": ["question"], "examination": ["question", "examination"]}
ALL_KINDS = ["question", "examination", "test"]
SHOWN = 3


@click.command("interview")
@case_options
@engine_options
@click.option(
    "--kinds",
    type=click.Choice([*KINDS, "all"]),
    default="questions",
    show_default=True,
    help="How far to go: questions only, examination too, or tests as well.",
)
@click.option(
    "--most",
    type=click.IntRange(0),
    default=25,
    show_default=True,
    metavar="N",
    help="Ask at most so many questions.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the report there (.html, .md, .json) instead of to the terminal.",
)
def command(
    population: str,
    tables: Path | None,
    priors: tuple[str, ...],
    kinds: str,
    most: int,
    output: Path | None,
    age: str | None,
    sex: str | None,
    **entered: tuple[str, ...],
) -> None:
    """Ask the next best question until no likely answer would change the leading cause.

    Answer y or n; u (or nothing) where it is not known; b to take the last answer back; q to end
    now. It ends with the report.

    \b
    Example:
      twitchdx interview --present leg_twitching --age 34 --sex male -o case.html
    """
    from twitchdx.report.render import SUFFIXES, case_report, render

    suffix = ".md" if output is None else output.suffix.lower()
    if suffix not in SUFFIXES:
        raise click.BadParameter(f"{output}: name it {', '.join(SUFFIXES)}", param_hint="-o")
    engine = read_engine(population, tables, priors)
    start = read_entries(**entered)
    answers: dict[str, str] = {}
    dx = engine.diagnose(start, age, sex)
    while len(answers) < most:
        asked = dx.next_questions(kinds=KINDS.get(kinds, ALL_KINDS))
        question = _best(asked, answers)
        if question is None:
            break
        finding, text = question
        click.echo()
        click.echo(click.style(_state(dx), dim=True))
        answer = _ask(text)
        if answer == "quit":
            break
        if answer == "back":
            if answers:
                click.echo(f"Taken back: {answers.popitem()[0]}")
            else:
                click.echo("Nothing to take back.")
        else:
            answers[finding] = answer
        try:
            dx = engine.diagnose(start | answers, age, sex)
        except (ContradictionError, ImpossibleEvidenceError) as error:
            answers.pop(finding, None)
            answers[finding] = "unknown"
            click.echo(f"That cannot be, so it counts as not known: {error}")
    click.echo()
    click.echo(_why_stopped(dx, answers, most, kinds))
    text = render(case_report(dx), suffix)
    if output is None:
        click.echo(text, nl=False)
    else:
        from twitchdx.cli.report import write

        write(output, text)
        click.echo(f"{output} written.")


def _best(asked: NextQuestions, answers: dict[str, str]) -> tuple[str, str] | None:
    """Return the worthiest finding that was not asked yet, unless one may stop."""
    if asked.may_stop:
        return None
    frame = asked.frame[(asked.frame["worth"] > 0) & ~asked.frame["finding"].isin(list(answers))]
    if frame.empty:
        return None
    return str(frame["finding"].iloc[0]), str(frame["question"].iloc[0])


def _ask(text: str) -> str:
    while True:
        try:
            typed = click.prompt(f"{text} [y/n/u/b/q]", default="", show_default=False)
        except click.Abort:
            return "quit"
        answer = ANSWERS.get(typed.strip().lower())
        if answer is not None:
            return answer
        click.echo("y yes, n no, u not known, b back, q quit")


def _state(dx: Diagnosis) -> str:
    """The leading causes in one line."""
    from twitchdx.explain import leading_causes
    from twitchdx.report.text import percent

    names = dx.engine.knowledge.causes
    return "; ".join(
        f"{names[cause].name} {percent(dx.posterior[cause])}" for cause in leading_causes(dx, SHOWN)
    )


def _why_stopped(dx: Diagnosis, answers: dict[str, str], most: int, kinds: str) -> str:
    known = sum(answer != "unknown" for answer in answers.values())
    asked = f"{len(answers)} asked, {known} answered. "
    if len(answers) >= most:
        return asked + "Stopped at the most questions that were allowed."
    if dx.next_questions(kinds=KINDS.get(kinds, ALL_KINDS)).may_stop:
        return asked + "No single likely answer would change the leading cause any more."
    return asked + "Stopped."
