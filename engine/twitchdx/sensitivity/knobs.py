"""What a sensitivity analysis moves: a number of the tables, or all rows of one quantity."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from twitchdx.errors import EvidenceError, ModelError, UnknownIdError
from twitchdx.sensitivity.functions import FloatArray

if TYPE_CHECKING:
    from twitchdx.diagnosis import Diagnosis
    from twitchdx.model import Model, Parameter

Selection: TypeAlias = "str | Parameter | Iterable[str | Parameter]"

KIND_OF = {
    "priors": "prior",
    "links": "link",
    "likelihoods": "likelihood",
    "backgrounds": "background",
}
"""Name of a group of parameters -> kind of its members."""


@dataclass(frozen=True, eq=False)
class Knob:
    """One number of the tables, or several rows of one quantity that are moved together.

    A cause has a prevalence row for each stratum that differs, and a finding a background row.
    Where age or sex of a case is not known, several of them matter; they come from the same
    studies, and are moved together: by the same step in log-odds, or each to the end of its own
    interval.

    Attributes
    ----------
    key : str
        The key of the parameter; of several rows, what they have in common.
    parameters : tuple of Parameter
    """

    key: str
    parameters: tuple[Parameter, ...]

    @property
    def kind(self) -> str:
        """prior, link, likelihood or background."""
        return self.parameters[0].kind

    @property
    def cause(self) -> str:
        """The cause that the number is about, "" for a background."""
        return self.parameters[0].cause

    @property
    def other(self) -> str:
        """The finding, or of a link the parent; "" for a prior."""
        return self.parameters[0].other

    @property
    def label(self) -> str:
        """The number in words."""
        first = self.parameters[0]
        if first.kind == "link":
            return f"P({first.cause} | {first.other})"
        if first.kind == "likelihood":
            return f"P({first.other} | {first.cause})"
        subject = first.cause if first.kind == "prior" else f"{first.other} | none"
        who = [part for part in (first.sex, first.age_band) if part != "any"]
        if len(self.parameters) > 1:
            who = [f"{len(self.parameters)} rows"]
        return f"P({subject})" + (f", {' '.join(who)}" if who else "")

    @property
    def grade(self) -> str:
        """Grades of the rows, best first."""
        return ";".join(dict.fromkeys(p.grade for p in self.parameters))

    @property
    def source(self) -> tuple[str, ...]:
        """Citation keys of the rows."""
        return tuple(dict.fromkeys(key for p in self.parameters for key in p.source))

    @property
    def place(self) -> str:
        """File and lines of the rows, such as ``general_adult.csv:12``."""
        lines: dict[str, list[str]] = {}
        for parameter in self.parameters:
            if parameter.row is not None:
                where = parameter.row.where
                lines.setdefault(where.file, []).append(str(where.line))
        return "; ".join(f"{file}:{','.join(numbers)}" for file, numbers in lines.items())

    def mean(self, numbers: Sequence[float], weights: Sequence[float]) -> float:
        """Average of one number a row, by how much of the case's population each row covers."""
        return float(np.average(numbers, weights=weights)) if len(numbers) > 1 else numbers[0]


def every_knob(
    model: Model,
    weights: FloatArray,
    parameters: Selection = "priors",
    *,
    together: bool = True,
) -> tuple[Knob, ...]:
    """Return what may be moved for cases with these strata.

    Parameters
    ----------
    model : Model
    weights : ndarray, shape (strata,)
        A parameter that touches no stratum of weight above 0 is left out.
    parameters : str, Parameter, or several of them
        "priors", "links", "likelihoods", "backgrounds" or "all"; a cause (its prevalence); the
        key of a parameter; a Parameter.
    together : bool
        Move all rows of one prevalence, and all rows of one background, as one.

    Raises
    ------
    UnknownIdError
        For a name that is none of these.
    EvidenceError
        For a named parameter that does not touch any of the strata.
    """
    alone = isinstance(parameters, str) or hasattr(parameters, "key")
    wanted: Any = [parameters] if alone else parameters
    wanted = list(wanted)
    if not wanted:
        raise EvidenceError("no parameter is named")
    knobs: dict[str, Knob] = {}
    for item in wanted:
        name: str = item if isinstance(item, str) else item.key
        found = _find(model, name, together)
        used = [
            (key, tuple(p for p in rows if any(weights[t.stratum] > 0 for t in p.targets)))
            for key, rows in found.items()
        ]
        alive = {key: rows for key, rows in used if rows}
        if not alive and name not in KIND_OF and name != "all":
            raise EvidenceError(f"{name} touches no stratum of this case's age and sex")
        for key, rows in alive.items():
            knobs[key] = Knob(rows[0].key if len(rows) == 1 else key, rows)
    return tuple(knobs.values())


def case_knobs(
    dx: Diagnosis, parameters: Selection = "priors", *, together: bool = True
) -> tuple[Knob, ...]:
    """Return what may be moved for one case; see `every_knob`."""
    return every_knob(dx.engine.model, dx.case.weights, parameters, together=together)


def single_parameter(dx: Diagnosis, parameter: str | Parameter) -> Parameter:
    """Return the one table row that a name means for this case.

    Raises
    ------
    UnknownIdError
        For a name of nothing.
    EvidenceError
        Where several rows are meant (a cause's prevalence, age or sex not known), or none
        touches the case.
    """
    rows = [row for knob in case_knobs(dx, parameter) for row in knob.parameters]
    if len(rows) > 1:
        raise EvidenceError(
            f"{parameter} means {len(rows)} rows, as age or sex is not known; name one of "
            + ", ".join(row.key for row in rows)
        )
    return rows[0]


def identity(parameter: Parameter, *, together: bool = True) -> str:
    """Name of what is uncertain: the same for all rows of one prevalence, in any population."""
    parts = [parameter.kind, parameter.cause, parameter.other]
    if not together and parameter.kind in ("prior", "background"):
        parts += [parameter.sex, parameter.age_band]
    return ":".join(part for part in parts if part)


def _find(model: Model, name: str, together: bool) -> dict[str, tuple[Parameter, ...]]:
    if name == "all" or name in KIND_OF:
        chosen = [p for p in model.parameters if name == "all" or p.kind == KIND_OF[name]]
    else:
        chosen = [p for p in model.parameters if p.kind == "prior" and p.cause == name]
        chosen = chosen or [p for p in model.parameters if p.key == name]
        chosen = chosen or [p for p in model.parameters if identity(p) == name]
    if not chosen and name not in KIND_OF:
        choices = [p.key for p in model.parameters] + [p.cause for p in model.parameters]
        raise UnknownIdError(name, (*KIND_OF, "all", *choices), "parameter")
    groups: dict[str, list[Parameter]] = {}
    for parameter in chosen:
        if len({target.stratum for target in parameter.targets}) < len(parameter.targets):
            raise ModelError(f"{parameter.key} sets two numbers of one stratum")
        key = identity(parameter) if together else parameter.key
        groups.setdefault(key, []).append(parameter)
    return {key: tuple(rows) for key, rows in groups.items()}
