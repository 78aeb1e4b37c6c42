"""A study written down: HTML with figures, CSV of all numbers, Markdown, and a screen of text."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from twitchdx.explain import DEFAULT_RANKING, RANKING_MEANINGS
from twitchdx.report.text import percent
from twitchdx.validation.cases import EVERY, LEVELS
from twitchdx.validation.evaluate import ALL_WITHIN, ANY_WITHIN, COVERAGE, RANKINGS, Number
from twitchdx.validation.models import COMPARATORS

if TYPE_CHECKING:
    from twitchdx.validation.study import Study

FULL = COMPARATORS[0].name

ANCHORS = (
    ("General practitioners, in the first three", "82.1 %", "200 primary-care vignettes"),
    ("Ada (the best of eight apps), in the first three", "70.5 %", "the same 200 vignettes"),
    ("Generators of differentials, correct diagnosis retrieved", "70 % (63 to 77)", "36 studies"),
    ("23 symptom checkers, in first place", "34 % (31 to 37)", "45 vignettes each"),
)
ANCHOR_SOURCES = (
    "Gilbert S et al. BMJ Open 2020;10:e040269 (PMC7745523)",
    "Gilbert S et al. BMJ Open 2020;10:e040269 (PMC7745523)",
    "Riches N et al. PLoS One 2016;11:e0148991",
    "Semigran HL et al. BMJ 2015;351:h3480 (PMC4496786)",
)
"""Published figures, quoted as context: other vignettes, other questions, other people."""

CAVEATS = (
    "A finding that is not listed is unknown, not absent: what was not written down cannot help.",
    "A cause that a case does not name counts as absent, although nobody may have looked for it: "
    "posteriors look too high for what cases leave out (calibration against named causes only).",
    "With this many cases the intervals are wide; a difference between two rows that is smaller "
    "than they are is not shown.",
)


@dataclass(frozen=True)
class Table:
    """A table of a report."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """A part of a report: a question, an answer, a figure and tables."""

    title: str
    text: str
    figure: str = ""
    caption: str = ""
    tables: tuple[Table, ...] = ()


def interval(n: Number, *, share: bool = True) -> str:
    """Write a number with its interval.

    Examples
    --------
    >>> row = Number("p", "all", "all cases", "m", "r", "x", "1", 0.75, 0.64, 0.85, 66)
    >>> interval(row), interval(row, share=False)
    ('75 % (64 to 85)', '0.75 (0.64 to 0.85)')
    """
    if np.isnan(n.value):
        return "-"
    if share:
        text = f"{100 * n.value:.0f} %"
        return text if np.isnan(n.low) else f"{text} ({100 * n.low:.0f} to {100 * n.high:.0f})"
    text = f"{n.value:.3g}"
    return text if np.isnan(n.low) else f"{text} ({n.low:.3g} to {n.high:.3g})"


def accuracy_statement(study: Study) -> str:
    """Return the sentences on accuracy that a README may quote, with n, intervals and caveats."""
    parts = []
    for population in study.populations:
        first, third = (
            study.number(
                population=population,
                level=study.levels[-1],
                subset=EVERY,
                model=FULL,
                ranking=RANKINGS[0],
                metric=ANY_WITHIN,
                about=k,
            )
            for k in ("1", "3")
        )
        more = ""
        if explained := [
            interval(n)
            for k in ("1", "3")
            for n in study.find(
                population=population,
                level=study.levels[-1],
                subset=EVERY,
                model=FULL,
                ranking=DEFAULT_RANKING,
                metric=ANY_WITHIN,
                about=k,
            )
        ]:
            more = f" (in the order of the differential: {explained[0]} and {explained[1]})"
        parts.append(
            f"under `{population}` a true cause ranked first by posterior in {interval(first)} "
            f"and in the first three in {interval(third)}{more}"
        )
    n = len(study.main.task.cases)
    history = study.number(
        population=study.populations[0],
        level=study.levels[0],
        subset=EVERY,
        model=FULL,
        ranking=RANKINGS[0],
        metric=ANY_WITHIN,
        about="3",
    )
    return (
        f"On {n} vignettes with a diagnosis, all that is stated known: {'; '.join(parts)} "
        f"(95 % bootstrap intervals). From history alone, in the first three in "
        f"{interval(history)}."
    )


def sections_of(study: Study) -> list[Section]:
    """Return the parts of the report."""
    sections = [
        _accuracy(study),
        _comparison(study),
        _rank_curve(study),
        _calibration(study),
        _decisions(study),
        _causes(study),
    ]
    if study.find(model="priors halved or doubled"):
        sections.append(_robustness(study))
    if study.simulated:
        sections.append(_simulated(study))
    return [*sections, _misses(study), _context()]


def _accuracy(study: Study) -> Section:
    rows = []
    for population in study.populations:
        for level in study.levels:
            for subset in study.main.task.cases.subsets:
                if subset != EVERY and level != study.levels[-1]:
                    continue
                cells = [population, level if subset == EVERY else f"{level}, {subset} only"]
                n = 0
                for metric, k in (
                    (ANY_WITHIN, "1"),
                    (ANY_WITHIN, "3"),
                    (ANY_WITHIN, "5"),
                    (ALL_WITHIN, "3"),
                    (ALL_WITHIN, "5"),
                ):
                    number = study.number(
                        population=population,
                        level=level,
                        subset=subset,
                        model=FULL,
                        ranking=RANKINGS[0],
                        metric=metric,
                        about=k,
                    )
                    n = number.n
                    cells.append(interval(number))
                mean = study.number(
                    population=population,
                    level=level,
                    subset=subset,
                    model=FULL,
                    ranking=RANKINGS[0],
                    metric="mean reciprocal rank",
                    about="",
                )
                rows.append((*cells, interval(mean, share=False), str(n)))
    kinds = "; ".join(f"{name}: {', '.join(kinds)}" for name, kinds in LEVELS.items())
    return Section(
        "Is a true cause on top?",
        f"Ranked by posterior, three levels of information apart ({kinds}). A test may define "
        "its cause, so the last level is easy where one is given. Known conditions that a case "
        "states are neither ranked nor looked for; exposures are ranked like any cause; a truth "
        "that an older id names is found if any of its parts is.",
        "levels",
        "Share of cases with a true cause in first place (filled) and in the first three (open).",
        (
            Table(
                "",
                (
                    "population",
                    "known",
                    "first",
                    "in 3",
                    "in 5",
                    "all true causes in 3",
                    "all in 5",
                    "mean reciprocal rank",
                    "n",
                ),
                tuple(rows),
            ),
        ),
    )


def _comparison(study: Study) -> Section:
    population, level = study.populations[0], study.levels[-1]
    rows = []
    for comparator in COMPARATORS:
        cells = [comparator.name, comparator.meaning]
        for metric, about, share in (
            (ANY_WITHIN, "1", True),
            (ANY_WITHIN, "3", True),
            ("mean reciprocal rank", "", False),
            ("log score (nats)", "", False),
            ("Brier score", "", False),
            ("capability score", "3", False),
        ):
            found = study.find(
                population=population,
                level=level,
                subset=EVERY,
                model=comparator.name,
                metric=metric,
                about=about,
            )
            found = [n for n in found if n.ranking in ("", RANKINGS[0])]
            cells.append(interval(found[0], share=share) if found else "-")
        rows.append(tuple(cells))
    ranks = []
    for setting in study.populations:
        for ranking in RANKINGS:
            asked = {"population": setting, "level": level, "subset": EVERY, "model": FULL}
            found = study.find(**asked, ranking=ranking, metric=ANY_WITHIN)
            if found:
                mean = study.number(**asked, ranking=ranking, metric="mean reciprocal rank")
                ranks.append(
                    (
                        setting,
                        ranking,
                        *(interval(n) for n in found),
                        interval(mean, share=False),
                        str(found[0].n),
                    )
                )
    return Section(
        "What is each part of the model worth?",
        "The same cases and tables; each row leaves one part out, or sorts by something else. "
        "The log score and the Brier score are summed over the causes of a case; lower is better. "
        "The capability score counts cases that few rows solve for more; 50 is a row like the "
        "others. Disablement and sufficiency are what a cause explains: the expected number of "
        "findings that would go without it, or that it alone would have produced; tempered, the "
        "order of a differential, is the disablement that a prior half-way to one in ten would "
        "give.",
        "comparators",
        "Share of cases with a true cause in first place (filled) and in the first three (open).",
        (
            Table(
                f"Models ({population}, everything known, ranked by posterior)",
                (
                    "model",
                    "what it is",
                    "first",
                    "in 3",
                    "mean reciprocal rank",
                    "log score",
                    "Brier score",
                    "capability",
                ),
                tuple(rows),
            ),
            Table(
                "Rankings of the full model",
                (
                    "population",
                    "ranked by",
                    "first",
                    "in 3",
                    "in 5",
                    "mean reciprocal rank",
                    "n",
                ),
                tuple(ranks),
            ),
        ),
    )


def _rank_curve(study: Study) -> Section:
    return Section(
        "How far down does one have to look?",
        "Share of cases with a true cause among the first so many.",
        "cumulative",
        "By what sorts the causes; in brackets, the cases behind each line.",
    )


def _calibration(study: Study) -> Section:
    population, level = study.populations[0], study.levels[-1]

    def of(metric: str, about: str = "") -> Number:
        return study.number(
            population=population,
            level=level,
            subset=EVERY,
            model=FULL,
            metric=metric,
            about=about,
        )

    rows = [
        (metric, interval(of(metric), share=False))
        for metric in (
            "calibration slope",
            "calibration intercept",
            "calibration in the large",
            "expected calibration error",
            "Brier score",
            "log score (nats)",
        )
    ]
    cover = [
        (
            f"{100 * t:g} %",
            interval(of("true causes at or above", f"{t:g}")),
            interval(of("causes at or above", f"{t:g}"), share=False),
        )
        for t in COVERAGE
    ]
    return Section(
        "Do probabilities mean what they say?",
        "Each (case, cause) pair is one prediction. Slope 1 and intercept 0 are right; a slope "
        "below 1 means too sure; calibration in the large below 0 means that fewer causes are "
        "named than predicted. Cases name the cause of the complaint and not all else that the "
        "person has, so predictions are expected to lie too high here; the simulation below has "
        "the whole truth. Exposures are left out: a case does not say who smokes.",
        "reliability",
        "Numbers are predictions in the bin; cases count as one draw each.",
        (
            Table(f"{population}, everything known", ("", "value"), tuple(rows)),
            Table(
                "What a differential cut at a posterior holds",
                ("posterior at or above", "true causes on it", "causes on it"),
                tuple(cover),
            ),
        ),
    )


def _decisions(study: Study) -> Section:
    population, level = study.populations[0], study.levels[-1]
    rows = []
    for n in study.find(population=population, level=level, metric="net benefit, serious causes"):
        cells = [f"{100 * float(n.about):g} %", interval(n, share=False)]
        for metric in (
            "net benefit, serious causes, acting on all",
            "sensitivity, serious causes",
            "specificity, serious causes",
        ):
            found = study.find(population=population, level=level, metric=metric, about=n.about)
            share = metric.startswith(("sens", "spec"))
            cells.append(interval(found[0], share=share) if found else "-")
        rows.append(tuple(cells))
    own: dict[str, list[str]] = {}
    for metric in ("sensitivity", "specificity", "net benefit"):
        for n in study.find(
            population=population, level=level, metric=f"{metric} at its action threshold"
        ):
            own.setdefault(n.about, [str(n.n)]).append(interval(n, share=metric != "net benefit"))
    return Section(
        "Would acting on it do more good than harm?",
        "For the causes that must not be missed, pooled, each (case, cause) being a decision. "
        "Net benefit is true positives a decision, less false positives weighted by the odds of "
        "the threshold; acting on nobody is 0.",
        "decisions",
        "The threshold says how many false alarms one real case is worth.",
        (
            Table(
                "At each threshold",
                ("threshold", "net benefit", "acting on all", "sensitivity", "specificity"),
                tuple(rows),
                folded=True,
            ),
            Table(
                "Each cause at the action threshold of causes.csv",
                ("cause", "cases with it", "sensitivity", "specificity", "net benefit"),
                tuple((about, *cells) for about, cells in own.items()),
                folded=True,
            ),
        ),
    )


def _causes(study: Study) -> Section:
    population, level = study.populations[0], study.levels[-1]
    precision = {
        n.about: n
        for n in study.find(population=population, level=level, metric="average precision")
    }
    rows = [
        (n.about, str(n.n), interval(n, share=False), interval(precision[n.about], share=False))
        for n in study.find(population=population, level=level, metric="AUROC")
    ]
    return Section(
        "Which causes are told apart?",
        "Causes that at least two cases have. No interval where more than one resample in ten has "
        "no case with the cause.",
        tables=(
            Table(
                "By cause",
                ("cause", "cases with it", "AUROC", "average precision"),
                tuple(rows),
                folded=True,
            ),
        ),
    )


def _robustness(study: Study) -> Section:
    population, level = study.populations[0], study.levels[-1]
    models = [FULL] + [
        m
        for m in dict.fromkeys(n.model for n in study.numbers)
        if m not in {c.name for c in COMPARATORS}
    ]
    rows = []
    for model in models:
        cells = ["as it is" if model == FULL else model]
        for metric, about, share in (
            (ANY_WITHIN, "1", True),
            (ANY_WITHIN, "3", True),
            ("log score (nats)", "", False),
            ("calibration slope", "", False),
        ):
            found = study.find(
                population=population,
                level=level,
                subset=EVERY,
                model=model,
                metric=metric,
                about=about,
            )
            found = [n for n in found if n.ranking in ("", RANKINGS[0])]
            cells.append(interval(found[0], share=share) if found else "-")
        rows.append(tuple(cells))
    return Section(
        "What if the input is wrong?",
        "Known findings flipped (present for absent) or dropped at a rate; the odds of every prior "
        "halved or doubled, each by the toss of a coin; the same cases under other populations "
        "(cases whose age or sex a population does not have are left out of its row).",
        "robustness",
        "Filled: in first place; open: in the first three.",
        (Table("", ("spoiled", "first", "in 3", "log score", "calibration slope"), tuple(rows)),),
    )


def _simulated(study: Study) -> Section:
    rows = tuple(
        (
            check.name,
            f"{check.count:,}",
            f"{check.slope:.3f} ± {1.96 * check.slope_error:.3f}",
            f"{check.intercept:.3f}",
            f"{check.bins_that_hold} of {len(check.bins)}",
            f"{check.ece:.4f}",
            f"{check.log_score:.3f}",
            f"{100 * check.first:.0f} %",
        )
        for check in study.simulated
    )
    return Section(
        "And where the truth is known?",
        "Vignettes drawn from the network itself, with every cause that the person has. The first "
        "row must be calibrated: slope 1, every bin within its interval (all at once, 95 %). The "
        "others say what is lost when table numbers are off by as much as their intervals allow, "
        "and when what is present is asked about more than what is absent.",
        "simulated",
        "Grey: where calibrated predictions fall (first row).",
        (
            Table(
                "",
                (
                    "drawn",
                    "vignettes",
                    "slope",
                    "intercept",
                    "bins that hold",
                    "calibration error",
                    "log score",
                    "present cause first",
                ),
                rows,
            ),
        ),
    )


def _misses(study: Study) -> Section:
    rows = tuple(
        (
            miss.vignette_id,
            "; ".join(miss.truth),
            str(miss.rank),
            percent(miss.posterior),
            ", ".join(f"{name} {percent(p)}" for name, p in miss.above[:3]),
            miss.why,
        )
        for miss in study.misses
    )
    return Section(
        "Which cases are missed, and why?",
        f"{len(study.misses)} cases have no true cause in first place (sorted by "
        f"{RANKING_MEANINGS[study.sorted_by]}; {study.populations[0]}, everything known).",
        tables=(
            Table(
                "Missed cases",
                (
                    "case",
                    "true causes",
                    "rank",
                    "posterior",
                    "ranked above",
                    "what the numbers say",
                ),
                rows,
                folded=True,
            ),
        ),
    )


def _context() -> Section:
    rows = tuple(
        (what, value, on, source)
        for (what, value, on), source in zip(ANCHORS, ANCHOR_SOURCES, strict=True)
    )
    return Section(
        "What others report",
        "Context only: other vignettes, of other complaints, scored by other rules.",
        tables=(Table("", ("who and what", "figure", "on", "source"), rows),),
    )


def write_report(
    study: Study, folder: Path, caveats: Sequence[str] = (), notes: dict[str, str] | None = None
) -> list[Path]:
    """Write report.html, figures as SVG, numbers.csv, misses.csv, MISSES.md and SUMMARY.md.

    Parameters
    ----------
    study : Study
    folder : path
        Made if need be.
    caveats : sequence of str
        Of these vignettes, beside those of every study.
    notes : mapping of str to str, optional
        Vignette -> what somebody who read the case says of the miss.

    Returns
    -------
    list of path
        What was written.
    """
    import jinja2

    from twitchdx.validation.figures import draw_figures

    folder.mkdir(parents=True, exist_ok=True)
    figures = draw_figures(study)
    sections = sections_of(study)
    every_caveat = (*caveats, *CAVEATS)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("twitchdx.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("validation.html.j2").render(
        study=study,
        figures=figures,
        sections=sections,
        caveats=every_caveat,
        statement=accuracy_statement(study),
        n_cases=len(study.main.task.cases),
    )
    texts = {
        "report.html": html,
        "SUMMARY.md": markdown(study, sections, every_caveat),
        "MISSES.md": misses_markdown(study, notes or {}),
        **{f"{name}.svg": svg for name, svg in figures.items()},
    }
    written = []
    for name, text in texts.items():
        (folder / name).write_text(text if text.endswith("\n") else f"{text}\n", encoding="utf-8")
        written.append(folder / name)
    _write_csv(
        folder / "numbers.csv", [f.name for f in fields(Number)], (asdict(n) for n in study.numbers)
    )
    _write_csv(
        folder / "misses.csv",
        [
            "vignette_id",
            "truth",
            "rank",
            "best",
            "prior",
            "posterior",
            "above",
            "accounted",
            "not_accounted",
            "missing",
            "why",
        ],
        (
            {
                **asdict(miss),
                "truth": ";".join(miss.truth),
                "above": ";".join(f"{name}={p:.3g}" for name, p in miss.above),
                "accounted": ";".join(miss.accounted),
                "not_accounted": ";".join(miss.not_accounted),
                "missing": ";".join(miss.missing),
                "why": miss.why,
            }
            for miss in study.misses
        ),
    )
    return [*written, folder / "numbers.csv", folder / "misses.csv"]


def markdown(study: Study, sections: Iterable[Section], caveats: Iterable[str]) -> str:
    """Return the report as Markdown, without figures."""
    lines = [
        f"# Validation on {study.vignettes}",
        "",
        accuracy_statement(study),
        "",
        "What this does not show:",
        "",
        *(f"- {caveat}" for caveat in caveats),
        "",
    ]
    for section in sections:
        lines += [f"## {section.title}", "", section.text, ""]
        if section.figure:
            lines += [f"![{section.caption}]({section.figure}.svg)", ""]
        for table in section.tables:
            if table.title:
                lines += [f"{table.title}:", ""]
            lines += _markdown_table(table.header, table.rows)
    lines += [
        "; ".join(f"{key} {value}" for key, value in study.manifest.items()) + ".",
    ]
    return "\n".join(lines) + "\n"


def misses_markdown(study: Study, notes: dict[str, str]) -> str:
    """Return the missed cases as Markdown, each with what was found on reading it."""
    lines = [
        "# The missed cases",
        "",
        f"Cases of {study.vignettes} with no true cause in first place under "
        f"`{study.populations[0]}`, everything known: {len(study.misses)} of "
        f"{len(study.main.task.cases)}. Sorted by {RANKING_MEANINGS[study.sorted_by]}. Written by "
        "`twitchdx validate`; the verdicts come from the notes file beside the vignettes. No "
        "number is ever changed for the sake of a case.",
        "",
    ]
    for miss in study.misses:
        lines += [
            f"## {miss.vignette_id}: {', '.join(miss.truth)} (rank {miss.rank})",
            "",
            f"- best ranked true cause: {miss.best}, {percent(miss.prior)} before, "
            f"{percent(miss.posterior)} after",
            "- above it: " + ", ".join(f"{name} {percent(p)}" for name, p in miss.above),
            f"- present, and tied to it: {', '.join(miss.accounted) or 'nothing'}",
            f"- present, and not tied to it: {', '.join(miss.not_accounted) or 'nothing'}",
            f"- usual with it, but stated absent: {', '.join(miss.missing) or 'nothing'}",
            f"- what the numbers say: {miss.why}",
            f"- **verdict**: {notes.get(miss.vignette_id) or 'not yet read'}",
            "",
        ]
    return "\n".join(lines)


def screen(study: Study, folder: Path) -> str:
    """Return the summary that ends a run: one screen, to be understood without the manual."""
    population, level = study.populations[0], study.levels[-1]

    def row(label: str, **where: str) -> str:
        cells = []
        for k in ("1", "3"):
            found = study.find(
                **{
                    "level": level,
                    "population": population,
                    "subset": EVERY,
                    "model": FULL,
                    "ranking": RANKINGS[0],
                    "metric": ANY_WITHIN,
                    "about": k,
                    **where,
                }
            )
            cells.append(interval(found[0]) if found else "-")
        return f"  {label:<42}{cells[0]:<20}{cells[1]}"

    lines = [
        f"{len(study.main.task.cases)} vignettes of {study.vignettes}: is a true cause on top?",
        f"  {'':<42}{'in first place':<20}in the first three",
        *(
            row(f"{p}, {one}", population=p, level=one)
            for p in study.populations
            for one in study.levels
        ),
        *(
            row(f"{population}, {name} cases only", subset=name)
            for name in study.main.task.cases.subsets
            if name != EVERY
        ),
        "",
        f"What each part is worth ({population}, {level} known):",
        *(row(comparator.name, model=comparator.name) for comparator in COMPARATORS),
        *(
            row(f"ranked by {ranking}", ranking=ranking)
            for ranking in RANKINGS[1:]
            if study.find(population=population, level=level, ranking=ranking)
        ),
        "",
    ]
    if study.simulated:
        check = study.simulated[0]
        lines.append(
            f"{check.count:,} vignettes drawn from the network: calibration slope "
            f"{check.slope:.2f} ± {1.96 * check.slope_error:.2f} (1 is right), "
            f"{check.bins_that_hold} of {len(check.bins)} bins hold"
        )
    lines += [
        f"{len(study.misses)} cases without a true cause in first place: {folder / 'MISSES.md'}",
        f"Report: {folder / 'report.html'}",
    ]
    if study.rejected:
        lines.append(f"{len(study.rejected)} vignettes left out; the report says why")
    return "\n".join(lines)


def _markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(header), line(["---"] * len(header)), *(line(row) for row in rows), ""]


def _write_csv(path: Path, names: Sequence[str], rows: Iterable[dict[str, object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
