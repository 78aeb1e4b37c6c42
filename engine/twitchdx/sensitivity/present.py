"""What the terminal and JSON show of each kind of result."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from twitchdx.sensitivity.bounds import Bounds
from twitchdx.sensitivity.cohort import CohortProbabilistic, CohortTornado
from twitchdx.sensitivity.compare import Comparison
from twitchdx.sensitivity.flips import Flips, changes
from twitchdx.sensitivity.joint_change import JointChange
from twitchdx.sensitivity.one_way import OneWay
from twitchdx.sensitivity.probabilistic import Probabilistic
from twitchdx.sensitivity.tornado import Tornado
from twitchdx.sensitivity.two_way import TwoWay
from twitchdx.sensitivity.variance import Sobol, WorthKnowing

if TYPE_CHECKING:
    import pandas as pd

    from twitchdx.diagnosis import Diagnosis

SCALARS = (str, int, float, bool)
GRID = 5
"""Values of either number that the terminal shows of a two-way table."""


@dataclass(frozen=True)
class View:
    """How a result is told in 80 columns.

    Attributes
    ----------
    title : str
    columns : mapping of str to str
        Column of `table` -> heading.
    table : DataFrame
    notes : tuple of str
        Lines below the table.
    """

    title: str
    columns: dict[str, str]
    table: pd.DataFrame
    notes: tuple[str, ...] = ()


def view(result: Any) -> View:
    """Return what the terminal shows of a result."""
    made: View = _VIEWS[type(result)](result)
    return made


def record(result: Any) -> dict[str, object]:
    """Return all that a result holds, for JSON: its scalars, further tables, and its rows."""
    scalars = {
        part.name: getattr(result, part.name)
        for part in fields(result)
        if isinstance(getattr(result, part.name), SCALARS)
    }
    more = _MORE.get(type(result), _nothing)(result)
    made: dict[str, object] = _plain({**scalars, **more})
    return {**made, "rows": _rows(result.frame)}


def case_record(dx: Diagnosis) -> dict[str, object]:
    """Return the case that was asked about, for JSON."""
    return {
        "age": dx.case.age,
        "sex": dx.case.sex,
        "observed": [
            {"node": seen.node, "likelihood_ratio": _plain(seen.ratio), "entered": seen.entered}
            for seen in dx.case.observations
        ],
    }


def about_case(dx: Diagnosis) -> str:
    """Say which case a figure is about, in one line."""
    case = dx.case
    who = [dx.engine.population, case.sex or "either sex"]
    who.append("any age" if case.age is None else f"{case.age:g} years")
    soft = [o.node for o in case.observations if o.node not in (*case.present, *case.absent)]
    parts = [
        f"{word} {', '.join(nodes)}"
        for word, nodes in (("present", case.present), ("absent", case.absent), ("uncertain", soft))
        if nodes
    ]
    return "; ".join([", ".join(who), *parts]).replace("_", " ")


def _plain(value: Any) -> Any:
    """Numbers that JSON has: no NaN, no infinity."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float | np.floating):
        number = float(value)
        if np.isnan(number):
            return None
        return number if np.isfinite(number) else ("infinity" if number > 0 else "-infinity")
    return value


def _rows(frame: pd.DataFrame) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(frame.to_json(orient="records", double_precision=15))
    return rows


def _nothing(_: Any) -> dict[str, object]:
    return {}


def _more_one_way(result: OneWay) -> dict[str, object]:
    row = result.parameter
    return {"parameter": row.key, "value": row.value, "low": row.low, "high": row.high}


def _more_two_way(result: TwoWay) -> dict[str, object]:
    forms = result.coefficients
    terms = ("constant", "x", "y", "xy")
    return {
        "x": result.first.key,
        "y": result.second.key,
        "coefficients": None
        if forms is None
        else {
            name: dict(zip(terms, row, strict=True))
            for name, row in zip(("joint", "evidence"), forms.tolist(), strict=True)
        },
    }


def _more_bounds(result: Bounds) -> dict[str, object]:
    return {
        "corners": [
            {"cause": cause, "end": end, "numbers": numbers}
            for (cause, end), numbers in result.corners.items()
        ]
    }


def _more_probabilistic(result: Probabilistic) -> dict[str, object]:
    same, error = result.leading_unchanged
    return {
        "leading": result.leading,
        "leading_unchanged": same,
        "se_leading_unchanged": error,
        "ranks": {
            cause: dict(zip(map(str, result.ranks.columns), row, strict=True))
            for cause, row in zip(result.ranks.index, result.ranks.to_numpy().tolist(), strict=True)
        },
        "convergence": _rows(result.convergence),
    }


def _more_comparison(result: Comparison) -> dict[str, object]:
    return {"priors": list(result.diagnoses)}


def _more_cohort(result: CohortTornado | CohortProbabilistic) -> dict[str, object]:
    return {
        "vignettes_in": result.left_out.total,
        "vignettes": result.vignettes,
        "skipped": result.skipped,
        "left_out": _rows(result.left_out.frame),
    }


_MORE: dict[type, Callable[[Any], dict[str, object]]] = {
    OneWay: _more_one_way,
    TwoWay: _more_two_way,
    Bounds: _more_bounds,
    Probabilistic: _more_probabilistic,
    Comparison: _more_comparison,
    CohortTornado: _more_cohort,
    CohortProbabilistic: _more_cohort,
}


def _view_one_way(result: OneWay) -> View:
    row = result.parameter
    return View(
        f"{result.target} by {result.knob.label}: {result.posterior:.4g} at {row.value:.4g}",
        {name: name for name in ("from", "to", "c1", "c2", "c3", "c4")},
        result.frame[["from", "to", "c1", "c2", "c3", "c4"]].map("{:.6g}".format),
        (
            "posterior = (c1 x + c2) / (c3 x + c4)",
            f"{result.at(row.low):.4g} to {result.at(row.high):.4g} over its interval, "
            f"{row.low:.4g} to {row.high:.4g}; slope {result.derivative:.4g}",
        ),
    )


def _view_tornado(result: Tornado) -> View:
    frame = result.frame
    ranks = [
        f"{now} ({low} to {high})"
        for now, low, high in zip(frame["rank"], frame["rank_low"], frame["rank_high"], strict=True)
    ]
    return View(
        f"What moves {result.target} ({result.posterior:.4g}): {result.spread}",
        {
            "label": "number",
            "posterior_low": "at low",
            "posterior_high": "at high",
            "ranks": "rank (ends)",
            "source": "source",
        },
        frame.assign(ranks=ranks),
    )


def _view_two_way(result: TwoWay) -> View:
    import pandas as pd

    def places(values: Any) -> list[int]:
        return sorted({round(i) for i in np.linspace(0, len(values) - 1, GRID).tolist()})

    columns, rows = places(result.x), places(result.y)
    table = pd.DataFrame({"y": [f"{result.y[i]:.3g}" for i in rows]})
    headings = {"y": "y \\ x"}
    for j in columns:
        table[f"x{j}"] = [
            f"{result.posterior[i, j]:.3g}{'' if result.lead[i, j] >= 0 else ' *'}" for i in rows
        ]
        headings[f"x{j}"] = f"{result.x[j]:.3g}"
    notes = [f"x: {result.first.label}", f"y: {result.second.label}"]
    beyond = sorted(set(result.rival[result.lead < 0].tolist()))
    notes.append(
        f"* {' or '.join(beyond)} leads, not {result.leading}"
        if beyond
        else f"{result.leading} leads everywhere"
    )
    return View(f"{result.target} over two numbers", headings, table, tuple(notes))


def _view_flips(result: Flips) -> View:
    return View(
        f"Smallest change of each number {changes(result.question)}",
        {
            "label": "number",
            "value": "value",
            "flip_at": "flips at",
            "verdict": "verdict",
            "becomes": "becomes",
        },
        result.frame,
        (f"{len(result.fragile)} of {len(result.frame)} fragile: flip inside their own interval",),
    )


def _view_joint(result: JointChange) -> View:
    return View(
        f"Smallest joint change {changes(result.question)}: {result.becomes or 'none found'}",
        {
            "label": "number",
            "value": "value",
            "becomes": "becomes",
            "move": "move",
            "inside": "inside",
        },
        result.frame,
        (f"length {result.distance:.3g} in log-odds; {result.certificate}",),
    )


def _view_bounds(result: Bounds) -> View:
    frame = result.frame
    outer = [
        "exact" if kind == "exact" else f"{low:.3g}-{high:.3g}"
        for kind, low, high in zip(
            frame["kind"], frame["outer_low"], frame["outer_high"], strict=True
        )
    ]
    return View(
        f"Lowest and highest posterior as {result.parameters} numbers vary jointly",
        {
            "cause": "cause",
            "posterior": "posterior",
            "low": "low",
            "high": "high",
            "outer": "nothing beyond",
        },
        frame.assign(outer=outer),
    )


def _view_probabilistic(result: Probabilistic) -> View:
    same, error = result.leading_unchanged
    return View(
        f"{result.leading} leads in {same:.1%} (standard error {error:.1%}) of {result.draws:,} "
        f"draws of {result.parameters} numbers",
        {
            "cause": "cause",
            "posterior": "posterior",
            "median": "median",
            "low": "2.5 %",
            "high": "97.5 %",
            "p_first": "first",
        },
        result.frame,
        ("first: share of draws in which it leads; - for a cause that does not compete",),
    )


def _view_sobol(result: Sobol) -> View:
    return View(
        f"Where the variance of {result.target} comes from (n = {result.draws}; "
        f"{result.left_out} numbers held fixed)",
        {
            "label": "number",
            "value": "value",
            "first": "alone",
            "total": "total",
            "source": "source",
        },
        result.frame,
    )


def _view_worth_knowing(result: WorthKnowing) -> View:
    return View(
        f"Worth knowing for {result.leading} (standard deviation {result.sd:.3g})",
        {
            "label": "number",
            "value": "value",
            "variance_share": "variance",
            "evppi": "gain",
            "source": "source",
        },
        result.frame,
        ("variance: share that would go were it known; gain: in naming a cause that is present",),
    )


def _view_comparison(result: Comparison) -> View:
    table = result.table()
    leading = result.table("leading").loc[table.index]
    shown = table.copy().astype(object)
    for name in table.columns:
        shown[name] = [
            f"{value:.4g}{' *' if leads else ''}"
            for value, leads in zip(table[name], leading[name], strict=True)
        ]
    return View(
        "The same case under different priors",
        {"cause": "cause", **{str(name): str(name) for name in table.columns}},
        shown.reset_index(),
        ("* the leading cause under these priors",),
    )


def _view_cohort(result: CohortTornado) -> View:
    subject = result.target or "each vignette's leading cause"
    return View(
        f"Which numbers matter in {result.vignettes:,} vignettes ({result.skipped:,} left out): "
        f"{result.spread}",
        {
            "label": "number",
            "mean_swing": "mean swing",
            "max_swing": "largest",
            "share_fragile": "fragile",
            "source": "source",
        },
        result.frame,
        (
            f"swing of the posterior of {subject}; leading cause fragile to some number in "
            f"{result.fragile:.1%}",
        ),
    )


def _view_cohort_probabilistic(result: CohortProbabilistic) -> View:
    return View(
        f"{result.vignettes:,} vignettes ({result.skipped:,} left out), {result.draws} draws each: "
        f"leading cause unchanged in {result.unchanged:.1%}",
        {
            "vignette_id": "vignette",
            "leading": "leading",
            "posterior": "posterior",
            "low": "2.5 %",
            "high": "97.5 %",
            "p_unchanged": "unchanged",
        },
        result.frame,
    )


_VIEWS: dict[type, Callable[[Any], View]] = {
    OneWay: _view_one_way,
    Tornado: _view_tornado,
    TwoWay: _view_two_way,
    Flips: _view_flips,
    JointChange: _view_joint,
    Bounds: _view_bounds,
    Probabilistic: _view_probabilistic,
    Sobol: _view_sobol,
    WorthKnowing: _view_worth_knowing,
    Comparison: _view_comparison,
    CohortTornado: _view_cohort,
    CohortProbabilistic: _view_cohort_probabilistic,
}
