"""Figures of sensitivity analyses: one function a result, colours that the colour-blind can tell.

Every figure says what was varied over what; every number carries its citation keys.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from twitchdx.odds import log_odds
from twitchdx.sensitivity.flips import changes
from twitchdx.sensitivity.functions import FloatArray

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from twitchdx.sensitivity.bounds import Bounds
    from twitchdx.sensitivity.cohort import CohortProbabilistic, CohortTornado
    from twitchdx.sensitivity.compare import Comparison
    from twitchdx.sensitivity.flips import Flips
    from twitchdx.sensitivity.joint_change import JointChange
    from twitchdx.sensitivity.knobs import Knob
    from twitchdx.sensitivity.one_way import OneWay
    from twitchdx.sensitivity.probabilistic import Probabilistic
    from twitchdx.sensitivity.tornado import Tornado
    from twitchdx.sensitivity.two_way import TwoWay
    from twitchdx.sensitivity.variance import Sobol, WorthKnowing

# Okabe and Ito's palette
BLUE = "#0072B2"
ORANGE = "#E69F00"
VERMILION = "#D55E00"
GREEN = "#009E73"
SKY = "#56B4E9"
PURPLE = "#CC79A7"
GREY = "#777777"
PALE = "#D9D9D9"
SERIES = (BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, "#000000")
MARKERS = "osD^vPX"

NO_SWING = 1e-9
"""A swing below this is none."""
BAR = 0.36
"""Height of a row in inches."""
SMALL = 8.0
"""Smallest font, in points."""
MOST_KEYS = 2
"""Citation keys that are written out; more are counted."""
JUDGEMENT = "expert judgement"


def save(result: Any, path: str | Path, about: str = "") -> None:
    """Draw a result into a file (.png, .svg or .pdf); the same result gives the same bytes.

    Parameters
    ----------
    result : any result of this package
    path : path
    about : str
        The case and population, in a small line below the figure.
    """
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    with mpl.rc_context({"svg.hashsalt": "twitchdx", "svg.fonttype": "none"}):
        axes = result.plot()
        figure = axes.figure
        if about:
            _footer(axes, about)
        kind = Path(path).suffix.lower()
        metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(kind)
        figure.savefig(path, dpi=150, bbox_inches="tight", metadata=metadata)
        plt.close(figure)


def plot_tornado(result: Tornado, axes: Axes | None = None, top: int = 15) -> Axes:
    """See `Tornado.plot`."""
    moving = result.frame[result.frame["swing"] > NO_SWING]
    shown = moving.head(top).iloc[::-1]
    axes = _axes(axes, max(2, len(shown)), width=9.0)
    rows = np.arange(len(shown))
    base = result.posterior
    for side, colour, words in (
        ("low", ORANGE, "number at its low end"),
        ("high", BLUE, "number at its high end"),
    ):
        end = shown[f"posterior_{side}"].to_numpy()
        axes.barh(rows, end - base, left=base, color=colour, height=0.62, label=words)
    for y, row in zip(rows, shown.itertuples(), strict=True):
        left, right = sorted((float(row.posterior_low), float(row.posterior_high)))
        _at(axes, min(left, base), float(y), percent(left), "right", -3)
        _at(axes, max(right, base), float(y), percent(right), "left", 3)
    axes.axvline(base, color="black", linewidth=1)
    _row_labels(axes, [_words(label) for label in shown["label"]])
    _citations(axes, shown)
    _percent_axis(axes, room=0.16)
    axes.set_xlabel(
        f"posterior of {_words(result.target)} (line: {percent(base)} at the tables' numbers)"
    )
    others = [
        f"{count:,} {words}"
        for count, words in (
            (len(moving) - len(shown), "smaller not shown"),
            (len(result.frame) - len(moving), "move nothing"),
        )
        if count
    ]
    _title(axes, f"What moves {_words(result.target)}", "; ".join([result.spread, *others]))
    _legend(axes)
    return axes


def plot_one_way(result: OneWay, axes: Axes | None = None) -> Axes:
    """See `OneWay.plot`."""
    axes = _axes(axes, 10, width=6.5)
    row = result.parameter
    low = max(min(log_odds(row.low), log_odds(row.value)) - 3, -25.0)
    high = min(max(log_odds(row.high), log_odds(row.value)) + 3, 25.0)
    x = 1 / (1 + np.exp(-np.linspace(low, high, 400)))
    axes.plot(x, [result.at(float(p)) for p in x], color=BLUE, linewidth=2)
    axes.axvspan(row.low, row.high, color=PALE, alpha=0.6, label="its 95 % interval", zorder=0)
    axes.plot(
        [row.value],
        [result.posterior],
        "o",
        color=VERMILION,
        zorder=3,
        label=f"now: {percent(row.value)} gives {percent(result.posterior)}",
    )
    for end in (row.low, row.high):
        axes.plot([end], [result.at(end)], "s", color="black", markersize=4, zorder=3)
        axes.annotate(
            percent(result.at(end)),
            (end, result.at(end)),
            xytext=(4, -12),
            textcoords="offset points",
            fontsize=SMALL,
        )
    axes.set_xscale("logit")
    _logit_ticks(axes, "x", float(x[0]), float(x[-1]))
    axes.set_ylim(0, min(1.0, max(0.05, 1.12 * max(result.at(float(p)) for p in x))))
    axes.yaxis.set_major_formatter(_percent_tick)
    axes.set_xlabel(f"{_words(result.knob.label)} (log-odds scale)\n{_graded(result.knob)}")
    axes.set_ylabel(f"posterior of {_words(result.target)}")
    axes.legend(frameon=False, fontsize=SMALL, loc="best")
    _title(
        axes,
        f"{_words(result.target)} as one number moves",
        f"slope {result.derivative:.3g} now; exact",
    )
    return axes


def plot_two_way(result: TwoWay, axes: Axes | None = None) -> Axes:
    """See `TwoWay.plot`."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

    axes = _axes(axes, 14, width=7.0)
    filled = axes.contourf(result.x, result.y, result.posterior, levels=12, cmap="cividis")
    # the colour bar names the lines: labels on them would be cut at the edges
    axes.contour(
        result.x,
        result.y,
        result.posterior,
        levels=np.asarray(filled.levels)[1:-1],
        colors="white",
        linewidths=0.5,
        alpha=0.6,
    )
    handles: list[Any] = []
    if (result.lead < 0).any() and (result.lead >= 0).any():
        axes.contour(
            result.x, result.y, result.lead, levels=[0.0], colors=VERMILION, linewidths=2.5
        )
        rivals = sorted(set(result.rival[result.lead < 0].tolist()))
        handles.append(
            Line2D(
                [],
                [],
                color=VERMILION,
                linewidth=2.5,
                label=f"beyond: {' or '.join(map(_words, rivals[:2]))} leads",
            )
        )
    one, two = result.first.parameters[0], result.second.parameters[0]
    axes.add_patch(
        Rectangle(
            (one.low, two.low),
            one.high - one.low,
            two.high - two.low,
            fill=False,
            edgecolor="black",
            linestyle="--",
            linewidth=1.5,
        )
    )
    handles.append(Line2D([], [], color="black", linestyle="--", label="both 95 % intervals"))
    axes.plot([one.value], [two.value], "o", color="white", markeredgecolor="black")
    handles.append(
        Line2D(
            [],
            [],
            marker="o",
            color="white",
            markeredgecolor="black",
            linestyle="",
            label="the tables' numbers",
        )
    )
    axes.set_xscale("logit")
    axes.set_yscale("logit")
    _logit_ticks(axes, "x", float(result.x[0]), float(result.x[-1]))
    _logit_ticks(axes, "y", float(result.y[0]), float(result.y[-1]))
    axes.set_xlabel(f"{_words(result.first.label)}\n{_graded(result.first)}")
    axes.set_ylabel(f"{_words(result.second.label)}\n{_graded(result.second)}")
    figure = _figure(axes)
    bar = figure.colorbar(
        filled, ax=axes, format=_percent_tick, ticks=np.asarray(filled.levels)[::2]
    )
    bar.set_label(f"posterior of {_words(result.target)}")
    axes.legend(
        handles=handles,
        fontsize=SMALL,
        loc="upper center",
        bbox_to_anchor=(0.5, _below(axes) - 0.03),
        ncols=3,
        frameon=False,
    )
    _title(
        axes,
        f"{_words(result.target)} as two numbers move",
        f"{_words(result.leading)} leads now; log-odds scales",
    )
    return axes


def plot_flips(result: Flips, axes: Axes | None = None, top: int = 15) -> Axes:
    """See `Flips.plot`."""
    shown = result.frame[result.frame["verdict"] != "none"].head(top).iloc[::-1]
    axes = _axes(axes, max(2, len(shown)), width=8.5)
    rows = np.arange(len(shown))
    seen: set[str] = set()
    for y, row in zip(rows, shown.itertuples(), strict=True):
        fragile = row.verdict == "fragile"
        colour, marker = (VERMILION, "X") if fragile else (BLUE, "o")
        words = "flip inside its interval: fragile" if fragile else "flip outside: robust"
        axes.plot(
            [row.low, row.high],
            [y, y],
            color=PALE,
            linewidth=9,
            solid_capstyle="butt",
            zorder=1,
            label=None if "interval" in seen else "its 95 % interval",
        )
        axes.plot(
            [row.value],
            [y],
            "|",
            color="black",
            markersize=13,
            markeredgewidth=1.8,
            zorder=2,
            label=None if "interval" in seen else "the tables' number",
        )
        axes.plot(
            [row.flip_at],
            [y],
            marker,
            color=colour,
            markersize=8,
            linestyle="",
            zorder=3,
            label=None if words in seen else words,
        )
        seen |= {"interval", words}
    labels = [
        f"{_words(row.label)}\n"
        f"{percent(row.value)} to {percent(row.flip_at)}: {_words(row.becomes)}"
        for row in shown.itertuples()
    ]
    if len(shown):
        axes.set_xscale("logit")
        values = shown[["low", "high", "value", "flip_at"]].to_numpy().ravel()
        odds = np.clip([log_odds(float(v)) for v in values], -20, 20)
        low, high = (1 / (1 + np.exp(-(end))) for end in (odds.min() - 0.6, odds.max() + 0.6))
        axes.set_xlim(low, high)
        _logit_ticks(axes, "x", float(low), float(high))
    _row_labels(axes, labels)
    _figure(axes).set_figheight(1.6 + 1.35 * BAR * max(2, len(shown)))
    _citations(axes, shown)
    axes.set_xlabel("the number (log-odds scale)")
    none = int((result.frame["verdict"] == "none").sum())
    later = len(result.frame) - none - len(shown)
    more = f"{later:,} farther not shown; " if later else ""
    _title(
        axes,
        f"Smallest change {_words(changes(result.question))}",
        f"one number at a time; {more}of {none:,} others no value does",
    )
    _legend(axes)
    return axes


def plot_joint_change(result: JointChange, axes: Axes | None = None, top: int = 15) -> Axes:
    """See `JointChange.plot`."""
    large = result.frame["move"].abs() > 0.01 * result.frame["move"].abs().max()
    shown = result.frame[large].head(top).iloc[::-1]
    axes = _axes(axes, max(2, len(shown)), width=8.0)
    rows = np.arange(len(shown))
    moves = shown["move"].to_numpy()
    colours = [BLUE if inside else VERMILION for inside in shown["inside"]]
    axes.barh(rows, moves, color=colours, height=0.62)
    for y, row in zip(rows, shown.itertuples(), strict=True):
        side = "left" if row.move >= 0 else "right"
        text = f"{100 * row.value:.4g} to {100 * row.becomes:.4g} %"
        _at(axes, float(row.move), float(y), text, side, 3 if row.move >= 0 else -3)
    axes.axvline(0, color="black", linewidth=1)
    _row_labels(axes, [_words(label) for label in shown["label"]])
    _citations(axes, shown)
    axes.margins(x=0.25)
    axes.set_xlabel("move in log-odds (blue: stays within its own interval, vermilion: leaves it)")
    _title(
        axes,
        f"Smallest joint change {_words(changes(result.question))}: "
        f"{_words(result.becomes) or 'none found'}",
        f"length {result.distance:.3g} in log-odds; {result.certificate}",
    )
    return axes


def plot_bounds(result: Bounds, axes: Axes | None = None, top: int = 12) -> Axes:
    """See `Bounds.plot`."""
    shown = result.frame.head(top).iloc[::-1]
    axes = _axes(axes, len(shown), width=7.5)
    rows = np.arange(len(shown))
    exact = bool((shown["kind"] == "exact").all())
    if not exact:
        axes.hlines(
            rows,
            shown["outer_low"],
            shown["outer_high"],
            color=PALE,
            linewidth=3,
            label="outer: proven, nothing lies beyond",
        )
    axes.hlines(
        rows,
        shown["low"],
        shown["high"],
        color=BLUE,
        linewidth=8,
        label="exact bounds" if exact else "reached, certainly possible (exact where no grey is)",
    )
    axes.plot(
        shown["posterior"],
        rows,
        "|",
        color="black",
        markersize=13,
        markeredgewidth=1.8,
        linestyle="",
        label="at the tables' numbers",
    )
    for y, row in zip(rows, shown.itertuples(), strict=True):
        text = f"{percent(row.low)} to {percent(row.high)}"
        axes.annotate(
            text, (1.01, float(y)), xycoords=("axes fraction", "data"), va="center", fontsize=SMALL
        )
    _row_labels(axes, [_words(cause) for cause in shown["cause"]])
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(_percent_tick)
    axes.set_xlabel("posterior")
    _title(
        axes,
        "Lowest and highest posterior",
        f"{result.parameters} numbers vary jointly, each over its own 95 % interval",
    )
    _legend(axes)
    return axes


def plot_probabilistic(result: Probabilistic, axes: Axes | None = None, top: int = 12) -> Axes:
    """See `Probabilistic.plot`."""
    shown = result.frame.head(top).iloc[::-1]
    axes = _axes(axes, len(shown), width=7.5)
    rows = np.arange(len(shown))
    axes.hlines(rows, shown["low"], shown["high"], color=SKY, linewidth=8, label="95 % interval")
    axes.plot(shown["median"], rows, "o", color=BLUE, linestyle="", label="median")
    axes.plot(
        shown["posterior"],
        rows,
        "|",
        color="black",
        markersize=13,
        markeredgewidth=1.8,
        linestyle="",
        label="at the tables' numbers",
    )
    for y, row in zip(rows, shown.itertuples(), strict=True):
        first = "not ranked" if np.isnan(row.p_first) else f"first in {percent(row.p_first)}"
        axes.annotate(
            f"{percent(row.low)} to {percent(row.high)}; {first}",
            (1.01, float(y)),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=SMALL,
        )
    _row_labels(axes, [_words(cause) for cause in shown["cause"]])
    axes.set_xlim(0, min(1.0, float(shown["high"].max()) * 1.05))
    axes.xaxis.set_major_formatter(_percent_tick)
    axes.set_xlabel("posterior")
    same, error = result.leading_unchanged
    _title(
        axes,
        f"{_words(result.leading)} leads in {percent(same)} of draws",
        f"{result.parameters} numbers drawn from their Beta distributions, {result.draws:,} "
        f"draws, seed {result.seed}; standard error {percent(error)}",
    )
    _legend(axes)
    return axes


def plot_sobol(result: Sobol, axes: Axes | None = None) -> Axes:
    """See `Sobol.plot`."""
    shown = result.frame.iloc[::-1]
    axes = _axes(axes, int(1.4 * len(shown)) + 1, width=8.0)
    rows = np.arange(len(shown))
    for name, shift, colour, words in (
        ("first", 0.2, BLUE, "first order (alone)"),
        ("total", -0.2, ORANGE, "total (with interactions)"),
    ):
        value = shown[name].to_numpy()
        error = np.clip(
            [value - shown[f"{name}_low"].to_numpy(), shown[f"{name}_high"].to_numpy() - value],
            0,
            None,
        )
        axes.barh(rows + shift, value, height=0.36, color=colour, label=words)
        axes.errorbar(
            value, rows + shift, xerr=error, fmt="none", ecolor="black", elinewidth=1, capsize=2
        )
    _row_labels(axes, [_words(label) for label in shown["label"]])
    _citations(axes, shown)
    axes.set_xlim(left=min(0.0, float(shown["first_low"].min())))
    axes.set_xlabel(f"share of the variance of {_words(result.target)} (whiskers: 95 % bootstrap)")
    _title(
        axes,
        f"Where the uncertainty of {_words(result.target)} comes from",
        f"Sobol indices; {len(shown)} numbers drawn from their Beta distributions, "
        f"n = {result.draws}, {result.left_out} others fixed",
    )
    _legend(axes)
    return axes


def plot_worth_knowing(result: WorthKnowing, axes: Axes | None = None, top: int = 15) -> Axes:
    """See `WorthKnowing.plot`."""
    shown = result.frame.head(top).iloc[::-1]
    axes = _axes(axes, len(shown), width=8.0)
    rows = np.arange(len(shown))
    value = shown["variance_share"].to_numpy()
    axes.barh(
        rows,
        value,
        xerr=1.96 * shown["se_variance_share"].to_numpy(),
        color=GREEN,
        height=0.62,
        error_kw={"elinewidth": 1, "capsize": 2},
    )
    for y, row in zip(rows, shown.itertuples(), strict=True):
        reach = float(row.variance_share + 1.96 * row.se_variance_share)
        text = f"{percent(row.variance_share)}; gain {percent(row.evppi)}"
        _at(axes, reach, float(y), text, "left", 4)
    _row_labels(axes, [_words(label) for label in shown["label"]])
    _citations(axes, shown)
    axes.margins(x=0.3)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(_percent_tick)
    axes.set_xlabel(
        "share of the variance that would go if the number were known\n"
        "(gain: in the probability that the cause named first is present)"
    )
    _title(
        axes,
        f"Which study would settle {_words(result.leading)}",
        f"standard deviation of its posterior {result.sd:.2g}; {result.draws:,} draws, "
        f"seed {result.seed}",
    )
    return axes


def plot_comparison(result: Comparison, axes: Axes | None = None, top: int = 10) -> Axes:
    """See `Comparison.plot`."""
    table = result.table()
    order = table.max(axis=1).sort_values(ascending=False).index[:top]
    shown = table.loc[order].iloc[::-1]
    axes = _axes(axes, len(shown) + 1, width=7.5)
    rows = np.arange(len(shown))
    axes.hlines(rows, shown.min(axis=1), shown.max(axis=1), color=PALE, linewidth=3, zorder=1)
    for i, name in enumerate(shown.columns):
        axes.plot(
            shown[name],
            rows,
            MARKERS[i % len(MARKERS)],
            linestyle="",
            markersize=7,
            color=SERIES[i % len(SERIES)],
            label=_words(str(name)),
            zorder=2,
            clip_on=False,  # a marker at 0 or 100 % is whole
        )
    _row_labels(axes, [_words(cause) for cause in shown.index])
    axes.set_xlim(0, min(1.0, float(shown.to_numpy().max()) * 1.08))
    axes.xaxis.set_major_formatter(_percent_tick)
    axes.set_xlabel("posterior")
    _title(axes, "The same case under different priors", "")
    _legend(axes)
    return axes


def plot_cohort(result: CohortTornado, axes: Axes | None = None, top: int = 15) -> Axes:
    """See `CohortTornado.plot`."""
    shown = result.frame.head(top).iloc[::-1]
    axes = _axes(axes, len(shown), width=8.0)
    rows = np.arange(len(shown))
    axes.barh(rows, shown["mean_swing"], color=BLUE, height=0.62)
    for y, row in zip(rows, shown.itertuples(), strict=True):
        text = f"fragile in {percent(row.share_fragile)}"
        _at(axes, float(row.mean_swing), float(y), text, "left", 3)
    _row_labels(axes, [_words(label) for label in shown["label"]])
    _citations(axes, shown)
    axes.margins(x=0.25)
    axes.xaxis.set_major_formatter(_percent_tick)
    subject = _words(result.target) if result.target else "each vignette's leading cause"
    axes.set_xlabel(f"mean swing of the posterior of {subject}")
    _title(
        axes,
        f"Which numbers matter in {result.vignettes:,} vignettes ({result.skipped:,} left out)",
        f"{result.spread}; leading cause fragile to some number in {percent(result.fragile)}",
    )
    return axes


def plot_cohort_probabilistic(result: CohortProbabilistic, axes: Axes | None = None) -> Axes:
    """See `CohortProbabilistic.plot`."""
    axes = _axes(axes, 9, width=6.5)
    axes.hist(
        result.frame["p_unchanged"],
        bins=np.linspace(0, 1, 21).tolist(),
        color=BLUE,
        edgecolor="white",
    )
    axes.axvline(
        result.unchanged, color=VERMILION, linewidth=2, label=f"mean {percent(result.unchanged)}"
    )
    axes.xaxis.set_major_formatter(_percent_tick)
    axes.set_xlabel("probability that the leading cause stays the leading one")
    axes.set_ylabel("vignettes")
    axes.legend(frameon=False, fontsize=SMALL)
    _title(
        axes,
        f"How sure {result.vignettes:,} answers are of themselves ({result.skipped:,} left out)",
        f"numbers drawn from their Beta distributions, {result.draws} draws a vignette, "
        f"seed {result.seed}",
    )
    return axes


def percent(probability: float) -> str:
    """Return a probability as a percentage with two or three significant digits.

    Examples
    --------
    >>> percent(0.0000123), percent(0.1234), percent(0.9996), percent(0.5)
    ('0.0012 %', '12.3 %', '99.96 %', '50 %')
    """
    value = 100 * float(probability)
    near = min(value, 100 - value)
    if near <= 0:
        return f"{value:.0f} %"
    digits = 1 if near >= 10 else max(1, 1 - int(np.floor(np.log10(near))))
    text = f"{value:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.')} %"


def cited(source: Sequence[str] | str, most: int = MOST_KEYS) -> str:
    """Return citation keys for a figure: the first few, and how many more.

    Examples
    --------
    >>> cited("a2001x;b2002y;c2003z"), cited("")
    ('a2001x, b2002y +1', 'expert judgement')
    """
    keys = [key for key in source.split(";") if key] if isinstance(source, str) else list(source)
    if not keys:
        return JUDGEMENT
    more = f" +{len(keys) - most}" if len(keys) > most else ""
    return ", ".join(keys[:most]) + more


def _graded(knob: Knob) -> str:
    """Citation keys and grade of a number."""
    text = cited(knob.source)
    return text if text == JUDGEMENT else f"{text} ({knob.grade})"


def _words(identifier: str) -> str:
    return identifier.replace("_", " ")


def _axes(axes: Axes | None, rows: int, width: float) -> Axes:
    if axes is not None:
        return axes
    from matplotlib import pyplot as plt

    _, new = plt.subplots(figsize=(width, 1.6 + BAR * rows))
    new.spines[["top", "right"]].set_visible(False)
    return new


def _figure(axes: Axes) -> Figure:
    figure = axes.figure
    return figure.figure if hasattr(figure, "figure") else figure  # type: ignore[return-value]


def _row_labels(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels, fontsize=SMALL + 0.5)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.7, max(1, len(labels)) - 0.3)


def _citations(axes: Axes, shown: pd.DataFrame) -> None:
    """Write citation keys and grades beside the rows, right of the axes."""
    for y, row in enumerate(shown.itertuples()):
        text = cited(str(row.source))
        if text != JUDGEMENT:
            text += f" ({str(row.grade).replace(';', ', ')})"
        axes.annotate(
            text,
            (1.015, y),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=SMALL,
            color="#333333",
        )


def _title(axes: Axes, title: str, subtitle: str) -> None:
    axes.set_title(f"{title}\n" if subtitle else title, loc="left", fontsize=11, fontweight="bold")
    if subtitle:
        axes.annotate(
            subtitle,
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, 6),
            textcoords="offset points",
            fontsize=SMALL + 0.5,
            color="#333333",
        )


def _footer(axes: Axes, about: str) -> None:
    """Write a line or two below everything else that is drawn."""
    figure = _figure(axes)
    figure.canvas.draw()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    most = max(40, int(box.width * 15))
    figure.text(
        box.x0 / width,
        (box.y0 - 0.12) / height,
        textwrap.fill(about, most),
        fontsize=SMALL - 1,
        color=GREY,
        va="top",
    )


def _legend(axes: Axes) -> None:
    axes.legend(
        fontsize=SMALL,
        loc="upper center",
        bbox_to_anchor=(0.5, _below(axes)),
        ncols=3,
        frameon=False,
    )


def _below(axes: Axes) -> float:
    """Where a legend goes: half an inch below the axes, in units of their height."""
    height = _figure(axes).get_figheight() * 0.77
    return -0.52 / height


def _at(axes: Axes, x: float, y: float, text: str, side: str, shift: float) -> None:
    axes.annotate(
        text,
        (x, y),
        xytext=(shift, 0),
        textcoords="offset points",
        ha=side,
        va="center",
        fontsize=SMALL,
    )


def _percent_axis(axes: Axes, room: float) -> None:
    """Leave room for the end values, and write percentages."""
    low, high = axes.get_xlim()
    axes.set_xlim(low - room * (high - low), high + room * (high - low))
    low, high = axes.get_xlim()
    axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= 1 and low <= tick <= high])
    axes.xaxis.set_major_formatter(_percent_tick)


def _percent_tick(value: float, _: Any = None) -> str:
    return percent(float(np.clip(value, 0, 1))) if abs(value) > 1e-9 else "0 %"


LADDER = (
    1e-9,
    1e-8,
    1e-7,
    1e-6,
    1e-5,
    1e-4,
    1e-3,
    3e-3,
    0.01,
    0.03,
    0.1,
    0.3,
    0.5,
    0.7,
    0.9,
    0.97,
    0.99,
    0.999,
    0.9999,
)


def _logit_ticks(axes: Axes, which: str, low: float, high: float) -> None:
    """Round probabilities as ticks of a log-odds axis; not too many."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    inside = [p for p in LADDER if low <= p <= high]
    if len(inside) < 3:
        inside = _between(low, high)
    while len(inside) > 8:
        inside = inside[::2]
    axis.set_ticks(inside, [percent(p) for p in inside], fontsize=SMALL)
    axis.set_ticks([], minor=True)
    (axes.set_xlim if which == "x" else axes.set_ylim)(low, high)


def _between(low: float, high: float) -> list[float]:
    odds: FloatArray = np.linspace(log_odds(low), log_odds(high), 6)[1:-1]
    return [float(f"{p:.2g}") for p in 1 / (1 + np.exp(-odds))]
