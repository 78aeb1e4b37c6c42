"""Named prior sets: small files that change some numbers, with a reason and a reference.

A set is a TOML file::

    name = "anemia_clinic"
    reason = "Referred for anemia; ferritin below 15 in two of three."
    reference = "Our audit of 2024, n = 312"
    tables = "3f0c..."          # digest of the tables it was made for (`new_prior_set` writes it)

    [[change]]
    cause = "iron_deficiency"   # its prevalence, in every stratum
    prevalence = 0.65
    low = 0.60
    high = 0.70

    [[change]]
    cause = "restless_legs_syndrome"
    sex = "female"              # of one sex, one age band, or both
    age_band = "40-64"
    prevalence = 0.06

    [[change]]                  # a link: P(cause | given)
    cause = "restless_legs_syndrome"
    given = "iron_deficiency"
    probability = 0.2

    [[change]]                  # a likelihood: P(finding | cause)
    cause = "restless_legs_syndrome"
    finding = "urge_to_move"
    probability = 0.97

    [[change]]                  # a background: P(finding | none of the causes)
    finding = "urge_to_move"
    background = 0.05

or a CSV file with the columns cause, given, finding, sex, age_band, value, low, high (those that
are used), above which lines such as ``# name: anemia_clinic`` carry the rest.
"""

from __future__ import annotations

import csv
import json
import tomllib
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twitchdx.errors import ModelError, PriorSetError, TwitchdxError, UnknownIdError, nearest
from twitchdx.model import Model, Parameter, with_prevalence

if TYPE_CHECKING:
    from twitchdx.diagnosis import Engine

ANY = "any"
NUMBERS = ("prevalence", "probability", "background", "value")
WORDS = ("cause", "given", "finding", "sex", "age_band")
HEADER = ("name", "reason", "reference", "tables")
GRADE = "prior set"


class PriorSetWarning(UserWarning):
    """A prior set was made for other tables than those it is applied to."""


@dataclass(frozen=True)
class Change:
    """One number that a prior set changes.

    Attributes
    ----------
    value : float
    cause, given, finding : str
        A cause alone: its prevalence. Cause and given: a link. Cause and finding: a likelihood.
        A finding alone: its background.
    sex, age_band : str
        Of a prevalence or background; "any" for all.
    low, high : float or None
        95 % interval; None: the number counts as known exactly.
    """

    value: float
    cause: str = ""
    given: str = ""
    finding: str = ""
    sex: str = ANY
    age_band: str = ANY
    low: float | None = None
    high: float | None = None

    @property
    def is_prior(self) -> bool:
        """Whether it changes a prevalence."""
        return bool(self.cause) and not self.given and not self.finding

    @property
    def label(self) -> str:
        """What is changed, in words."""
        words = [self.cause or self.finding]
        if self.given:
            words.append(f"given {self.given}")
        elif self.cause and self.finding:
            words = [self.finding, f"given {self.cause}"]
        words += [word for word in (self.sex, self.age_band) if word != ANY]
        return " ".join(words)

    def check(self) -> None:
        """Raise PriorSetError for a change that names nothing, or numbers out of order."""
        if not self.cause and not self.finding:
            raise PriorSetError("a change names neither a cause nor a finding")
        if self.given and (self.finding or not self.cause):
            raise PriorSetError(f"{self.label}: `given` goes with a cause, and not with a finding")
        if (self.sex, self.age_band) != (ANY, ANY) and self.cause and (self.given or self.finding):
            raise PriorSetError(
                f"{self.label}: only prevalences and backgrounds vary by sex or age"
            )
        low = self.value if self.low is None else self.low
        high = self.value if self.high is None else self.high
        if not 0 <= low <= self.value <= high <= 1:
            raise PriorSetError(
                f"{self.label}: 0 <= low <= value <= high <= 1 does not hold for "
                f"{low:g}, {self.value:g}, {high:g}"
            )


@dataclass(frozen=True)
class PriorSet:
    """Numbers to be used instead of the tables', with a name, a reason and a reference.

    Attributes
    ----------
    name, reason, reference : str
    changes : tuple of Change
    tables : str
        Digest of the tables that it was made for; "" if it does not say.
    """

    name: str
    reason: str
    reference: str
    changes: tuple[Change, ...]
    tables: str = ""

    def to_toml(self) -> str:
        """Return the set as the text of a TOML file.

        Examples
        --------
        >>> print(PriorSet("a", "why", "who", (Change(0.2, cause="rust"),)).to_toml())
        name = "a"
        reason = "why"
        reference = "who"
        <BLANKLINE>
        [[change]]
        cause = "rust"
        prevalence = 0.2
        <BLANKLINE>
        """
        lines = [
            f"{key} = {json.dumps(getattr(self, key), ensure_ascii=False)}"
            for key in HEADER
            if key != "tables" or self.tables
        ]
        for change in self.changes:
            lines += ["", "[[change]]"]
            lines += [
                f"{key} = {json.dumps(getattr(change, key))}"
                for key in WORDS
                if getattr(change, key) not in ("", ANY)
            ]
            number = (
                "prevalence" if change.is_prior else "probability" if change.cause else "background"
            )
            lines.append(f"{number} = {change.value!r}")
            lines += [
                f"{key} = {value!r}"
                for key, value in (("low", change.low), ("high", change.high))
                if value is not None
            ]
        return "\n".join(lines) + "\n"


def read_prior_set(path: str | Path) -> PriorSet:
    """Read a prior set from a TOML or CSV file.

    Raises
    ------
    PriorSetError
        For a file that is missing or cannot be read as one.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise PriorSetError(f"there is no prior set file {file}") from None
    except OSError as error:
        raise PriorSetError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PriorSetError(f"{file} is not UTF-8; save it as UTF-8") from None
    try:
        return (_from_csv if file.suffix.lower() == ".csv" else _from_toml)(text)
    except PriorSetError as error:
        raise PriorSetError(f"{file}: {error}") from None


def new_prior_set(engine: Engine, causes: Iterable[str], name: str = "my_priors") -> PriorSet:
    """Return a prior set to start from: the numbers in force for these causes, and the digest.

    Parameters
    ----------
    engine : Engine
    causes : iterable of str
    name : str

    Raises
    ------
    UnknownIdError
        For a cause that does not exist.
    """
    changes = []
    for cause in causes:
        if cause not in engine.knowledge.causes:
            raise UnknownIdError(cause, engine.knowledge.causes, "cause")
        own = [
            row
            for row in engine.model.parameters
            if row.kind == "prior"
            and row.cause == cause
            and any(engine.model.shares[t.stratum] > 0 for t in row.targets)
        ]
        changes += [
            Change(row.value, cause, sex=row.sex, age_band=row.age_band, low=row.low, high=row.high)
            for row in own
        ]
    return PriorSet(
        name,
        "Say why these numbers.",
        "Say where they come from.",
        tuple(changes),
        engine.knowledge.digest,
    )


def apply_prior_set(engine: Engine, priors: object) -> Engine:
    """Return an engine with the numbers of a prior set.

    Links, likelihoods and backgrounds are changed first, alone. Then each changed prevalence is
    met by solving that cause's own prior anew, all else kept (as `Engine.with_priors` does), in
    each stratum by the most specific change that fits it.

    Parameters
    ----------
    engine : Engine
    priors : PriorSet or path

    Warns
    -----
    PriorSetWarning
        If it was made for other tables.

    Raises
    ------
    PriorSetError
        For a set that cannot be read, or does not fit the tables.
    """
    if not isinstance(priors, PriorSet):
        if not isinstance(priors, str | Path):
            raise PriorSetError(
                f"priors are a mapping, a PriorSet or the path of one, not {type(priors).__name__}"
            )
        priors = read_prior_set(priors)
    if priors.tables and priors.tables != engine.knowledge.digest:
        warnings.warn(
            f"prior set {priors.name} was made for other tables (digest {priors.tables[:12]}, "
            f"not {engine.knowledge.digest[:12]}); check that its numbers still mean the same",
            PriorSetWarning,
            stacklevel=3,
        )
    try:
        for change in priors.changes:
            change.check()
        model = _with_rows(engine.model, [c for c in priors.changes if not c.is_prior])
        model = _with_prevalences(engine, model, [c for c in priors.changes if c.is_prior])
    except TwitchdxError as error:
        raise PriorSetError(f"prior set {priors.name}: {error}") from error
    return replace(engine, model=model)


def _with_rows(model: Model, changes: Iterable[Change]) -> Model:
    """Change links, likelihoods and backgrounds, and their intervals."""
    for change in changes:
        kind = "link" if change.given else "likelihood" if change.cause else "background"
        rows = [
            row
            for row in model.parameters
            if row.kind == kind
            and row.cause == change.cause
            and row.other == (change.given or change.finding)
            and change.sex in (ANY, row.sex)
            and change.age_band in (ANY, row.age_band)
        ]
        if not rows:
            known = {p.cause for p in model.parameters} | {p.other for p in model.parameters}
            for word in (change.cause, change.given, change.finding):
                if word and word not in known:
                    raise UnknownIdError(word, known, "cause or finding")
            raise ModelError(f"the tables have no {kind} {change.label} to change")
        model = model.with_parameters({row.key: change.value for row in rows})
        model = _with_intervals(model, {row.key: change for row in rows})
    return model


def _with_intervals(model: Model, changes: Mapping[str, Change]) -> Model:
    def changed(row: Parameter) -> Parameter:
        change = changes.get(row.key)
        return row if change is None else replace(row, **_interval(change))

    return replace(model, parameters=tuple(changed(row) for row in model.parameters))


def _interval(change: Change) -> dict[str, Any]:
    return {
        "low": change.value if change.low is None else change.low,
        "high": change.value if change.high is None else change.high,
        "grade": GRADE,
        "source": (),
    }


def _with_prevalences(engine: Engine, model: Model, changes: Iterable[Change]) -> Model:
    """Meet prevalences by stratum: strata with the same changes are solved together."""
    bands = {
        (row.sex, row.age_band)
        for name in engine.knowledge.populations
        for row in engine.knowledge.strata(name)
    }
    names = {_band_key(sex, band): (sex, band) for sex, band in bands}
    wanted: list[dict[str, Change]] = []
    unused = list(changes)
    for stratum in model.strata:
        sex, band = names[(stratum.sex, stratum.age_low, stratum.age_high)]
        best: dict[str, Change] = {}
        for change in changes:
            if change.sex in (ANY, sex) and change.age_band in (ANY, band):
                if change in unused:
                    unused.remove(change)
                kept = best.get(change.cause)
                if kept is None or _specificity(change) >= _specificity(kept):
                    best[change.cause] = change
        wanted.append(best)
    if unused:
        raise ModelError(
            f"{unused[0].label}: no stratum of {model.population} is of that sex and age"
        )
    groups: dict[tuple[Change, ...], list[int]] = {}
    for index, best in enumerate(wanted):
        if best:
            groups.setdefault(tuple(best.values()), []).append(index)
    for group, indices in groups.items():
        model = _solve_group(model, group, indices)
    return model


def _solve_group(model: Model, group: tuple[Change, ...], indices: list[int]) -> Model:
    part = replace(model, strata=tuple(model.strata[i] for i in indices), parameters=())
    solved = with_prevalence(part, {change.cause: change.value for change in group})
    strata = list(model.strata)
    for index, stratum in zip(indices, solved.strata, strict=True):
        strata[index] = stratum
    causes = {change.cause: change for change in group}
    inside = set(indices)
    kept = []
    for row in model.parameters:
        if row.kind == "prior" and row.cause in causes:
            left = tuple(t for t in row.targets if t.stratum not in inside)
            if not left:
                continue
            row = replace(row, targets=left)
        kept.append(row)
    by_hand = []
    for row in solved.parameters:
        change = causes[row.cause]
        targets = tuple(t._replace(stratum=indices[t.stratum]) for t in row.targets)
        same = [
            k
            for k in kept
            if k.kind == "prior"
            and k.cause == row.cause
            and k.row is None
            and (k.sex, k.age_band) == (change.sex, change.age_band)
        ]
        if same:  # the same change, met in strata that differ in other changes
            kept = [k for k in kept if k is not same[0]]
            targets = (*same[0].targets, *targets)
        by_hand.append(
            replace(
                row, sex=change.sex, age_band=change.age_band, targets=targets, **_interval(change)
            )
        )
    return replace(model, strata=tuple(strata), parameters=(*kept, *by_hand))


def _band_key(sex: str, band: str) -> tuple[str, int, int | None]:
    from twitchdx.tables.schema import age_range

    return (sex, *age_range(band))


def _specificity(change: Change) -> tuple[bool, bool]:
    return change.age_band != ANY, change.sex != ANY


def _from_toml(text: str) -> PriorSet:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PriorSetError(f"no valid TOML: {error}") from None
    changes = document.pop("change", [])
    if not isinstance(changes, list) or not all(isinstance(c, dict) for c in changes):
        raise PriorSetError("changes are written as [[change]] blocks")
    return _assemble(document, changes)


def _from_csv(text: str) -> PriorSet:
    header: dict[str, Any] = {}
    rows: list[tuple[int, list[str]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#"):
            key, _, value = line[1:].partition(":")
            header[key.strip()] = value.strip()
        elif line.strip():
            rows.append((number, [cell.strip() for cell in next(csv.reader([line]))]))
    if not rows:
        raise PriorSetError("has no header row; its columns are cause, given, finding, ... value")
    (first, columns), *rest = rows
    known = (*WORDS, *NUMBERS, "low", "high")
    for column in columns:
        if column not in known:
            hint = " or ".join(nearest(column, known)) or ", ".join(known)
            raise PriorSetError(f"line {first}: unknown column {column!r}; did you mean {hint}?")
        if columns.count(column) > 1:
            raise PriorSetError(f"line {first}: two columns are named {column!r}; remove one")
    changes = []
    for number, cells in rest:
        if len(cells) != len(columns):
            raise PriorSetError(
                f"line {number}: {len(cells)} cells where the header has {len(columns)}; give "
                "every row one cell for each column"
            )
        entry: dict[str, Any] = {}
        for column, cell in zip(columns, cells, strict=True):
            if cell:
                entry[column] = _cell(number, column, cell)
        try:
            _change(entry)
        except PriorSetError as error:
            raise PriorSetError(f"line {number}: {error}") from None
        changes.append(entry)
    return _assemble(header, changes)


def _cell(line: int, column: str, cell: str) -> str | float:
    if column in WORDS:
        return cell
    try:
        return float(cell)
    except ValueError:
        raise PriorSetError(
            f"line {line}, column {column}: {cell!r} is no number; write one from 0 to 1"
        ) from None


def _assemble(header: Mapping[str, Any], changes: Iterable[Mapping[str, Any]]) -> PriorSet:
    unknown = [key for key in header if key not in HEADER]
    if unknown:
        raise PriorSetError(f"unknown entry {unknown[0]!r}; known are {', '.join(HEADER)}, change")
    missing = [key for key in HEADER[:3] if not str(header.get(key, "")).strip()]
    if missing:
        raise PriorSetError(f"has no {missing[0]}; a prior set says its name, reason and reference")
    made = tuple(_change(change) for change in changes)
    if not made:
        raise PriorSetError("changes nothing")
    seen = set()
    for change in made:
        key = (change.cause, change.given, change.finding, change.sex, change.age_band)
        if key in seen:
            raise PriorSetError(f"{change.label} is changed twice")
        seen.add(key)
    name, reason, reference = (str(header[key]) for key in HEADER[:3])
    return PriorSet(name, reason, reference, made, str(header.get("tables", "")))


def _change(entry: Mapping[str, Any]) -> Change:
    unknown = [key for key in entry if key not in (*WORDS, *NUMBERS, "low", "high")]
    if unknown:
        raise PriorSetError(
            f"unknown entry {unknown[0]!r} of a change; known are "
            + ", ".join((*WORDS, *NUMBERS, "low", "high"))
        )
    given = [key for key in NUMBERS if key in entry]
    if len(given) != 1:
        raise PriorSetError(f"a change has one number ({', '.join(NUMBERS)}), not {len(given)}")
    for key in (*given, "low", "high"):
        if key in entry and (
            isinstance(entry[key], bool) or not isinstance(entry[key], int | float)
        ):
            raise PriorSetError(f"{key} {entry[key]!r} is no number")
    words = {key: str(entry[key]) for key in WORDS if key in entry}
    change = Change(
        float(entry[given[0]]),
        low=float(entry["low"]) if "low" in entry else None,
        high=float(entry["high"]) if "high" in entry else None,
        **words,
    )
    change.check()
    kind = "prevalence" if change.is_prior else "probability" if change.cause else "background"
    if given[0] not in (kind, "value"):
        raise PriorSetError(f"{change.label}: the number is its {kind}, not its {given[0]}")
    return change
