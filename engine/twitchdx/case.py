"""What a person enters about one case, turned into the evidence vector that inference takes.

An entry is a finding, a cause known to be present or absent, or a measured quantity. Each becomes
likelihood ratios on nodes (`observe`); the ratios of a case, or of many cases at once, are then
reduced by what the tables know to follow logically (`reduce_implied`).
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twitchdx.errors import ContradictionError, EvidenceError, UnknownIdError
from twitchdx.evidence import ABSENT, PRESENT, UNKNOWN, state_ratio

if TYPE_CHECKING:
    from twitchdx.model import Model
    from twitchdx.tables.knowledge import KnowledgeBase

FloatArray = NDArray[np.float64]

#: what a person may enter for one id
Value = object

OLDEST = 120.0

SEXES = {
    "female": "female",
    "f": "female",
    "woman": "female",
    "w": "female",
    "male": "male",
    "m": "male",
    "man": "male",
}

COMPARATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

_MEASURED = re.compile(r"^\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*$")


@dataclass(frozen=True)
class Observation:
    """One node, what was observed of it, and the entry that this came from."""

    node: str
    ratio: float
    entered: str


@dataclass(frozen=True)
class Threshold:
    """One comparison that a measured value must pass for a finding to be present."""

    comparator: str
    value: float
    sex: str | None

    def holds(self, measured: float) -> bool:
        return COMPARATORS[self.comparator](measured, self.value)


@dataclass(frozen=True)
class Quantity:
    """A measurable quantity: its unit, plausible range, and the findings it settles.

    Attributes
    ----------
    name, unit : str
        The quantity and the unit that thresholds are in.
    plausible : tuple of float
        Values outside are refused, as likely typed in another unit.
    conversions : mapping
        Other unit, in lower case, to (factor, offset): value * factor + offset is in `unit`.
    thresholds : mapping
        Finding to the comparisons that must all hold.
    """

    name: str
    unit: str
    plausible: tuple[float, float]
    conversions: Mapping[str, tuple[float, float]]
    thresholds: Mapping[str, tuple[Threshold, ...]]

    def read(self, value: object) -> float | None:
        """Return the value in `unit`; None if nothing was measured.

        Raises
        ------
        EvidenceError
            If it is no number, in an unknown unit, or outside the plausible range.
        """
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        if isinstance(value, bool | np.bool_):
            raise EvidenceError(f"{self.name} is measured; give a number in {self.unit}")
        if isinstance(value, int | float | np.integer | np.floating):
            number, unit = float(value), ""
        else:
            match = _MEASURED.match(str(value))
            if match is None:
                raise EvidenceError(
                    f"{self.name} {value!r} is not a number; give one in {self.unit}, "
                    f"such as {self.name}={self.example:g}"
                )
            number, unit = float(match[1]), match[2].lower()
            if unit.startswith(","):
                raise EvidenceError(
                    f"{self.name} {value!r} has a decimal comma; write a point, "
                    f"as in {str(value).strip().replace(',', '.', 1)}"
                )
        if math.isnan(number):
            return None
        if unit and unit != self.unit.lower():
            if unit not in self.conversions:
                known = ", ".join([self.unit, *self.conversions])
                raise EvidenceError(
                    f"{self.name} {value!r}: unknown unit {unit!r}; known units are {known}"
                )
            factor, offset = self.conversions[unit]
            number = number * factor + offset
        low, high = self.plausible
        if not low <= number <= high:
            raise EvidenceError(
                f"{self.name} {value!r} lies outside {low:g} to {high:g} {self.unit}; "
                "check the number and its unit"
            )
        return number

    @property
    def example(self) -> float:
        """A value to show in messages: where a finding begins, or else amid what is plausible."""
        first = next(iter(self.thresholds.values()), ())
        return first[0].value if first else sum(self.plausible) / 2

    def findings(self, measured: float, sex: str | None) -> dict[str, float]:
        """Return the ratio of each finding that a value settles, in `unit`.

        Where thresholds differ by sex and the sex is not known, a finding is settled only if
        every sex would settle it alike.
        """
        settled: dict[str, float] = {}
        for finding, thresholds in self.thresholds.items():
            sexes = {t.sex for t in thresholds if t.sex} if sex is None else {sex}
            states = {
                all(t.holds(measured) for t in thresholds if t.sex in (None, one))
                for one in (sexes or (None,))
            }
            if len(states) == 1:
                settled[finding] = PRESENT if states.pop() else ABSENT
        return settled


@dataclass(frozen=True)
class EvidenceReader:
    """Reads entries against one set of tables; built once per engine.

    Attributes
    ----------
    nodes : tuple of str
        Causes (syndromes among them), then findings, in the order of the network.
    quantities : mapping of str to Quantity
    implications : tuple of (str, str)
        Pairs (a, b) where a present means b present, closed under transitivity.
    aliases : mapping of str to str
        An older finding id and the one it stands for.
    """

    nodes: tuple[str, ...]
    quantities: Mapping[str, Quantity]
    implications: tuple[tuple[str, str], ...]
    aliases: Mapping[str, str]

    @cached_property
    def index(self) -> dict[str, int]:
        """Node id -> its place in an evidence vector."""
        return {node: place for place, node in enumerate(self.nodes)}

    @cached_property
    def entries(self) -> tuple[str, ...]:
        """Every id that may be entered."""
        return (*self.nodes, *self.quantities, *self.aliases)

    def check_id(self, key: str) -> None:
        """Raise UnknownIdError, with the nearest ids, for a key that cannot be entered."""
        if key not in self.index and key not in self.quantities and key not in self.aliases:
            raise UnknownIdError(key, self.entries, kind="finding, cause or measurement")

    def observe(self, key: str, value: Value, sex: str | None = None) -> tuple[Observation, ...]:
        """Return what one entry says of each node it speaks of; nothing for an unknown state.

        Raises
        ------
        UnknownIdError
            If the key names no finding, cause or quantity.
        EvidenceError
            If the value cannot be what was observed.
        """
        self.check_id(key)
        if key in self.quantities:
            measured = self.quantities[key].read(value)
            if measured is None:
                return ()
            return tuple(
                Observation(finding, ratio, f"{key}={measured:g}")
                for finding, ratio in self.quantities[key].findings(measured, sex).items()
            )
        try:
            ratio = state_ratio(value)
        except EvidenceError as error:
            raise EvidenceError(f"{key}: {error}") from None
        if ratio == UNKNOWN:
            return ()
        return (Observation(self.aliases.get(key, key), ratio, key),)

    def conflicts(self, ratios: FloatArray) -> list[tuple[int, str, str]]:
        """Return (row, implying node, implied node) wherever present meets an absent implication.

        Parameters
        ----------
        ratios : array, shape (rows, nodes)
        """
        found = []
        for node, implied in self.implications:
            clash = (ratios[:, self.index[node]] == PRESENT) & (
                ratios[:, self.index[implied]] == ABSENT
            )
            found += [(int(row), node, implied) for row in np.flatnonzero(clash)]
        return found

    def reduce_implied(self, ratios: FloatArray) -> FloatArray:
        """Drop observations that follow from other observations of the same row.

        A ferritin below 15 is also below 50: to count both would count one measurement twice.

        Parameters
        ----------
        ratios : array, shape (rows, nodes)

        Returns
        -------
        array, shape (rows, nodes)
            A copy, with 1 (unknown) at every observation that another one implies.
        """
        reduced = ratios.copy()
        for node, implied in self.implications:
            a, b = self.index[node], self.index[implied]
            reduced[ratios[:, a] == PRESENT, b] = UNKNOWN
            reduced[ratios[:, b] == ABSENT, a] = UNKNOWN
        return reduced


@dataclass(frozen=True)
class Case:
    """One case, ready for inference.

    Attributes
    ----------
    observations : tuple of Observation
        All that was observed, one per node, in the order entered; implied ones left out.
    implied : tuple of Observation
        Observations that follow from others and so are not counted again.
    ratios : array, shape (nodes,)
    weights : array, shape (strata,)
        Share of each stratum of the population, given age and sex as far as they are known.
    age : float or None
        In years.
    sex : {'female', 'male'} or None
    """

    observations: tuple[Observation, ...]
    implied: tuple[Observation, ...]
    ratios: FloatArray
    weights: FloatArray
    age: float | None
    sex: str | None

    @property
    def present(self) -> tuple[str, ...]:
        """Nodes seen present."""
        return tuple(o.node for o in self.observations if o.ratio == PRESENT)

    @property
    def absent(self) -> tuple[str, ...]:
        """Nodes seen absent."""
        return tuple(o.node for o in self.observations if o.ratio == ABSENT)


def read_case(
    reader: EvidenceReader,
    model: Model,
    entries: Mapping[str, Value],
    age: object = None,
    sex: object = None,
) -> Case:
    """Turn what was entered into a case.

    Raises
    ------
    UnknownIdError
        For an id that the tables do not know.
    EvidenceError
        For a value, age or sex that cannot be.
    ContradictionError
        For two entries that cannot both be true.
    """
    years, gender = read_age(age), read_sex(sex)
    by_node: dict[str, Observation] = {}
    for key, value in entries.items():
        for seen in reader.observe(key, value, gender):
            by_node[seen.node] = _merge(by_node.get(seen.node), seen)
    ratios = np.ones((1, len(reader.nodes)))
    for node, seen in by_node.items():
        ratios[0, reader.index[node]] = seen.ratio
    for _, node, implied in reader.conflicts(ratios):
        raise ContradictionError(
            f"{_named(by_node[node])} is present, which means that {implied} is present too, "
            f"but {_named(by_node[implied])} is absent; correct one of them"
        )
    reduced = reader.reduce_implied(ratios)[0]
    kept = {node: reduced[reader.index[node]] == seen.ratio for node, seen in by_node.items()}
    return Case(
        observations=tuple(seen for node, seen in by_node.items() if kept[node]),
        implied=tuple(seen for node, seen in by_node.items() if not kept[node]),
        ratios=reduced,
        weights=strata_weights(model, years, gender),
        age=years,
        sex=gender,
    )


def read_age(age: object) -> float | None:
    """Return an age in years, or None where it is not known.

    Raises
    ------
    EvidenceError
        If it is no number from 0 to 120.
    """
    if age is None or (isinstance(age, str) and not age.strip()):
        return None
    try:
        years = float(age)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise EvidenceError(f"age {age!r} is not a number of years") from None
    if math.isnan(years):
        return None
    if not 0 <= years <= OLDEST:
        raise EvidenceError(f"age {age!r} is not between 0 and {OLDEST:g} years")
    return years


def read_sex(sex: object) -> str | None:
    """Return 'female' or 'male', or None where it is not known.

    Raises
    ------
    EvidenceError
        If it is neither.
    """
    if sex is None or (isinstance(sex, float) and math.isnan(sex)):
        return None
    text = str(sex).strip().lower()
    if text in ("", "unknown", "any"):
        return None
    if text not in SEXES:
        raise EvidenceError(
            f"sex {sex!r} is not female or male; leave it out where it is not known"
        )
    return SEXES[text]


def strata_weights(model: Model, age: float | None, sex: str | None) -> FloatArray:
    """Return the share of each stratum among people of this age and sex.

    Strata that the population borrows for ages it has no band for have a share of zero in it,
    and count only where the age falls in their band.

    Returns
    -------
    array, shape (strata,)
        Adds up to 1.

    Raises
    ------
    EvidenceError
        If the population has nobody of that age and sex.
    """
    strata = model.strata
    shares = np.array(
        [
            (stratum.share if age is None else stratum.band_share)
            * (sex is None or stratum.sex == sex)
            * (age is None or stratum.covers(age))
            for stratum in strata
        ],
        dtype=np.float64,
    )
    if shares.sum() == 0:
        who = " ".join(
            part
            for part in (sex or "person", f"of {age:g} years" if age is not None else "")
            if part
        )
        raise EvidenceError(
            f"population {model.population} has no stratum for a {who}; "
            f"its strata are {', '.join(stratum.label for stratum in strata)}"
        )
    return np.asarray(shares / shares.sum())


def build_reader(knowledge: KnowledgeBase, nodes: Sequence[str]) -> EvidenceReader:
    """Collect from the tables what is needed to read entries for a network with these nodes."""
    present = set(nodes)
    return EvidenceReader(
        nodes=tuple(nodes),
        quantities=_quantities(knowledge),
        implications=_closure(
            [(row.finding, row.implies) for row in knowledge.implications], present
        ),
        aliases={
            row.alias: row.stands_for[0]
            for row in knowledge.aliases.values()
            if row.alias not in present and len(row.stands_for) == 1
        },
    )


def _quantities(knowledge: KnowledgeBase) -> dict[str, Quantity]:
    rows = knowledge.measurements
    quantities = {}
    for name in dict.fromkeys(row.quantity for row in rows):
        own = [row for row in rows if row.quantity == name]
        thresholds: dict[str, tuple[Threshold, ...]] = {}
        for row in own:
            sex = None if row.sex in (None, "any") else row.sex
            new = Threshold(row.comparator, row.threshold, sex)
            thresholds[row.finding] = (*thresholds.get(row.finding, ()), new)
        quantities[name] = Quantity(
            name=name,
            unit=own[0].unit,
            plausible=(own[0].plausible_low, own[0].plausible_high),
            conversions={
                row.unit.lower(): (row.factor, row.offset)
                for row in knowledge.units
                if row.quantity == name
            },
            thresholds=thresholds,
        )
    return quantities


def _closure(pairs: Sequence[tuple[str, str]], present: set[str]) -> tuple[tuple[str, str], ...]:
    implied: dict[str, set[str]] = {}
    for node, other in pairs:
        implied.setdefault(node, set()).add(other)

    def reached(node: str) -> set[str]:
        direct = implied.get(node, set())
        return direct.union(*(reached(other) for other in direct))

    return tuple(
        (node, other)
        for node in implied
        for other in sorted(reached(node))
        if node in present and other in present
    )


def _merge(old: Observation | None, new: Observation) -> Observation:
    if old is None:
        return new
    if {old.ratio, new.ratio} == {PRESENT, ABSENT}:
        raise ContradictionError(
            f"{new.node} is both present and absent: {_named(old)} says one, {_named(new)} "
            "the other; correct one of them"
        )
    certain = [seen for seen in (old, new) if seen.ratio in (PRESENT, ABSENT)]
    if certain:
        return certain[0]
    return Observation(new.node, old.ratio * new.ratio, f"{old.entered}, {new.entered}")


def _named(seen: Observation) -> str:
    return seen.node if seen.entered == seen.node else f"{seen.node} (from {seen.entered})"
