"""The figures of a validation report, as SVG text that is the same for the same numbers."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from twitchdx.validation import calibration
from twitchdx.validation.cases import EVERY
from twitchdx.validation.evaluate import ANY_WITHIN, RANKINGS
from twitchdx.validation.models import COMPARATORS

if TYPE_CHECKING:
    from twitchdx.validation.evaluate import Number
    from twitchdx.validation.simulated import SimulatedCheck
    from twitchdx.validation.study import Study

COLOURS = ("#1b6ca8", "#d1495b", "#3a7d44", "#8f6aa8", "#c98a1b", "#555555")
"""Told apart in grey and by most colour-blind people."""
FULL = COMPARATORS[0].name
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "twitchdx",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "legend.frameon": False,
}


def draw_figures(study: Study) -> dict[str, str]:
    """Return each figure's name and SVG text."""
    makers: dict[str, Callable[[Study, Any], None]] = {
        "levels": _levels,
        "comparators": _comparators,
        "cumulative": _cumulative,
        "reliability": _reliability,
        "decisions": _decisions,
    }
    if study.find(model="priors halved or doubled"):
        makers["robustness"] = _robustness
    figures: dict[str, str] = {}
    for name, maker in makers.items():
        with _canvas(figures, name) as axes:
            maker(study, axes)
    if study.simulated:
        with _canvas(figures, "simulated", (6.4, 3.9)) as axes:
            _simulated(study.simulated, axes)
    return figures


@contextmanager
def _canvas(
    into: dict[str, str], name: str, size: tuple[float, float] = (6.4, 3.6)
) -> Iterator[Any]:
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        yield figure.subplots()
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    into[name] = svg[svg.index("<svg") :]


def _whiskers(axes: Any, places: Any, numbers: Sequence[Number], **how: Any) -> None:
    values = np.array([n.value for n in numbers])
    low = values - np.array([n.low for n in numbers])
    high = np.array([n.high for n in numbers]) - values
    spread = np.nan_to_num(np.clip([low, high], 0, None))
    axes.errorbar(places, values, spread, fmt="o", capsize=2, markersize=5, lw=1.2, **how)


def _share_axis(axes: Any) -> None:
    axes.set_ylim(0, 1)
    axes.set_yticks(np.linspace(0, 1, 6), [f"{100 * x:.0f} %" for x in np.linspace(0, 1, 6)])
    axes.grid(axis="y", lw=0.4, color="#dddddd")
    axes.set_axisbelow(True)


def _levels(study: Study, axes: Any) -> None:
    wide = [(k, population) for population in study.populations for k in ("1", "3")]
    for i, (k, population) in enumerate(wide):
        numbers = [
            study.number(
                population=population,
                level=level,
                subset=EVERY,
                model=FULL,
                ranking=RANKINGS[0],
                metric=ANY_WITHIN,
                about=k,
            )
            for level in study.levels
        ]
        places = np.arange(len(study.levels)) + (i - (len(wide) - 1) / 2) * 0.12
        colour = COLOURS[study.populations.index(population) % len(COLOURS)]
        words = "in first place" if k == "1" else f"in the first {k}"
        _whiskers(
            axes,
            places,
            numbers,
            color=colour,
            label=f"{population}, {words}",
            markerfacecolor="white" if k == "3" else colour,
        )
    axes.set_xticks(np.arange(len(study.levels)), [_level_words(x) for x in study.levels])
    _share_axis(axes)
    axes.set_ylabel("cases with a true cause")
    axes.legend(loc="lower right", fontsize=8)


def _level_words(level: str) -> str:
    return "all, tests included" if level == "all" else level


def _comparators(study: Study, axes: Any) -> None:
    population, level = study.populations[0], study.levels[-1]
    rows: list[tuple[str, str, str]] = [(c.name, c.name, RANKINGS[0]) for c in COMPARATORS]
    rows += [
        (f"ranked by {ranking}", FULL, ranking)
        for ranking in RANKINGS[1:]
        if study.find(population=population, level=level, model=FULL, ranking=ranking)
    ]
    for offset, k, face in ((0.14, "1", COLOURS[0]), (-0.14, "3", "white")):
        for place, (_, model, ranking) in enumerate(rows):
            n = study.number(
                population=population,
                level=level,
                subset=EVERY,
                model=model,
                ranking=ranking,
                metric=ANY_WITHIN,
                about=k,
            )
            axes.errorbar(
                n.value,
                len(rows) - place + offset,
                xerr=np.nan_to_num([[n.value - n.low], [n.high - n.value]]),
                fmt="o",
                capsize=2,
                lw=1.2,
                markersize=5,
                color=COLOURS[0],
                markerfacecolor=face,
                label=("in first place" if k == "1" else "in the first 3") if place == 0 else None,
            )
    axes.set_yticks(range(len(rows), 0, -1), [f"{name}" for name, *_ in rows])
    axes.set_xlim(0, 1)
    axes.set_xticks(np.linspace(0, 1, 6), [f"{100 * x:.0f} %" for x in np.linspace(0, 1, 6)])
    axes.grid(axis="x", lw=0.4, color="#dddddd")
    axes.set_xlabel("cases with a true cause")
    axes.legend(loc="upper left", fontsize=8)


def _cumulative(study: Study, axes: Any) -> None:
    lengths = np.arange(1, 16)
    for i, (ranking, found) in enumerate(study.main.found.items()):
        best = np.array([min(r) for r in found if r])
        if len(best):
            share = [(best <= k).mean() for k in lengths]
            axes.plot(
                lengths,
                share,
                "-o",
                ms=3,
                lw=1.2,
                color=COLOURS[i],
                label=f"{ranking} ({len(best)})",
            )
    _share_axis(axes)
    axes.set_xlabel("causes looked at, from the top")
    axes.set_ylabel("cases with a true cause among them")
    axes.set_xticks((1, 3, 5, 10, 15))
    axes.legend(loc="lower right", fontsize=8, title="ranked by (cases)", title_fontsize=8)


def _reliability(study: Study, axes: Any) -> None:
    task = study.main.task
    p = np.where(task.counted, study.main.answers.labels, 0.0)
    bins = calibration.reliability(p, task.truth)
    _reliability_axes(axes)
    for one in bins:
        axes.plot([one.predicted] * 2, [one.low, one.high], color="#bbbbbb", lw=5, zorder=1)
    axes.plot(
        [b.predicted for b in bins],
        [b.observed for b in bins],
        "o",
        color=COLOURS[0],
        ms=5,
        label="observed",
        zorder=3,
    )
    axes.plot([], [], color="#bbbbbb", lw=5, label="where calibrated ones fall, 95 %")
    for one in bins:
        axes.annotate(
            f"{one.n}",
            (one.predicted, one.observed),
            xytext=(4, 4),
            fontsize=6,
            textcoords="offset points",
            color="#555555",
        )
    axes.legend(loc="upper left", fontsize=8)


def _reliability_axes(axes: Any) -> None:
    axes.plot([0, 1], [0, 1], color="#888888", lw=0.8, ls="--", zorder=0)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("posterior (mean of the bin)")
    axes.set_ylabel("share that came true")


def _decisions(study: Study, axes: Any) -> None:
    population, level = study.populations[0], study.levels[-1]
    for i, (metric, label) in enumerate(
        (
            ("net benefit, serious causes", "act at or above the threshold"),
            ("net benefit, serious causes, acting on all", "act on everybody"),
        )
    ):
        numbers = study.find(population=population, level=level, metric=metric)
        if not numbers:
            continue
        at = [float(n.about) for n in numbers]
        axes.plot(at, [n.value for n in numbers], "-o", ms=3, lw=1.2, color=COLOURS[i], label=label)
        if i == 0:
            axes.fill_between(
                at,
                [n.low for n in numbers],
                [n.high for n in numbers],
                color=COLOURS[0],
                alpha=0.15,
                lw=0,
                label="95 % interval",
            )
            highest = max(n.high for n in numbers)
            axes.set_ylim(-0.6 * highest, 1.1 * highest)
    axes.axhline(0, color="#888888", lw=0.8, ls="--", label="act on nobody")
    axes.set_xscale("log")
    ticks = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
    axes.set_xticks(ticks, [f"{100 * t:g} %" for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel("posterior from which one acts (threshold)")
    axes.set_ylabel("net benefit a decision")
    axes.legend(loc="lower left", fontsize=8)


def _robustness(study: Study, axes: Any) -> None:
    population, level = study.populations[0], study.levels[-1]
    spoiled = list(
        dict.fromkeys(
            n.model
            for n in study.numbers
            if n.model not in {c.name for c in COMPARATORS} and n.metric == ANY_WITHIN
        )
    )
    names = [FULL, *spoiled]
    for offset, k, face in ((0.14, "1", COLOURS[0]), (-0.14, "3", "white")):
        for place, model in enumerate(names):
            n = study.number(
                population=population,
                level=level,
                subset=EVERY,
                model=model,
                ranking=RANKINGS[0],
                metric=ANY_WITHIN,
                about=k,
            )
            axes.errorbar(
                n.value,
                len(names) - place + offset,
                xerr=np.nan_to_num([[n.value - n.low], [n.high - n.value]]),
                fmt="o",
                capsize=2,
                lw=1.2,
                markersize=4,
                color=COLOURS[0],
                markerfacecolor=face,
                label=("in first place" if k == "1" else "in the first 3") if place == 0 else None,
            )
    labels = ["as it is", *spoiled]
    axes.set_yticks(range(len(names), 0, -1), labels)
    axes.set_xlim(0, 1)
    axes.set_xticks(np.linspace(0, 1, 6), [f"{100 * x:.0f} %" for x in np.linspace(0, 1, 6)])
    axes.grid(axis="x", lw=0.4, color="#dddddd")
    axes.set_xlabel("cases with a true cause")
    axes.legend(loc="upper left", fontsize=8)


def _simulated(checks: Sequence[SimulatedCheck], axes: Any) -> None:
    _reliability_axes(axes)
    for i, check in enumerate(checks):
        if i == 0:
            for one in check.bins:
                axes.plot([one.predicted] * 2, [one.low, one.high], color="#bbbbbb", lw=5, zorder=1)
        axes.plot(
            [b.predicted for b in check.bins],
            [b.observed for b in check.bins],
            "o-",
            ms=4,
            lw=0.8,
            color=COLOURS[i],
            label=check.name,
            zorder=3,
        )
    axes.legend(loc="upper left", fontsize=8)
