"""What each column of a vignette file means, settled once from its header.

A mapping file lets other people's data stay as they are. It is TOML; every part is optional::

    ignore = ["ward", "comment"]        # their columns that say nothing to us

    [columns]                           # their name = our id (or vignette_id, age, sex, truth)
    "Patient no." = "vignette_id"
    "RLS: urge" = "urge_to_move"

    [recode."RLS: urge"]                # their value = our cell, one table per column
    often = "present"
    never = "absent"

    [recode."*"]                        # for every column without a table of its own
    9 = "unknown"

    [units]                             # unit of a column's bare numbers
    "S-Ferritin" = "ug/L"

    [convert."Age in months"]           # number * factor + offset, where no unit of ours fits
    factor = 0.08333333333333333

In a long file the names in the `finding` column go by the same mapping. Spaces around a value,
and its case, do not matter.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from twitchdx.case import EvidenceReader, Quantity, read_age, read_sex
from twitchdx.errors import BatchError, TwitchdxError, nearest

VIGNETTE_ID, AGE, SEX, TRUTH = "vignette_id", "age", "sex", "truth"
FINDING, STATE = "finding", "state"
EVERY_COLUMN = "*"


@dataclass(frozen=True)
class Conversion:
    """A number in other people's unit, times `factor`, plus `offset`."""

    factor: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class ColumnMapping:
    """A column mapping file, read; see the module's text.

    Attributes
    ----------
    columns : mapping of str to str
        Their column -> our id.
    recode : mapping of str to mapping of str to str
        Their column -> their value, lower case -> our cell.
    units : mapping of str to str
    convert : mapping of str to Conversion
    ignore : tuple of str
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    recode: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    convert: Mapping[str, Conversion] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()

    def ours(self, name: str) -> str:
        """Return our id for one of their columns."""
        return self.columns.get(name, name)

    def cell(self, name: str, text: str) -> str:
        """Return our cell for what one of their columns holds.

        Examples
        --------
        >>> mapping = ColumnMapping(recode={"urge": {"often": "present"}}, units={"fer": "ug/L"})
        >>> mapping.cell("urge", " Often"), mapping.cell("urge", "no"), mapping.cell("fer", "12")
        ('present', 'no', '12 ug/L')
        """
        table = self.recode.get(name, self.recode.get(EVERY_COLUMN, {}))
        stripped = text.strip()
        if stripped.lower() in table:
            return table[stripped.lower()]
        if not stripped or (name not in self.convert and name not in self.units):
            return text
        try:
            number = float(stripped)
        except ValueError:
            return text
        if name in self.convert and math.isfinite(number):
            conversion = self.convert[name]
            stripped = repr(number * conversion.factor + conversion.offset)
        return f"{stripped} {self.units[name]}" if name in self.units else stripped


NO_MAPPING = ColumnMapping()
CONVERSION = tuple(each.name for each in fields(Conversion))


@dataclass(frozen=True)
class Column:
    """A column of the file, and the id of ours that it fills."""

    name: str
    key: str


@dataclass(frozen=True)
class Layout:
    """The role of every column of a file.

    Attributes
    ----------
    name : str
        Of the file.
    header : tuple of str
    long : bool
        One row a finding instead of one row a vignette.
    vignette_id, age, sex, truth : str or None
        Their columns for these, where there are any.
    finding, state : str
        Their columns for these, in a long file.
    evidence : tuple of Column
        Columns of a wide file that hold evidence, in the order of their keys, so that the order
        of columns in the file changes nothing.
    ignored : tuple of str
        Columns that are not read.
    mapping : ColumnMapping
    """

    name: str
    header: tuple[str, ...]
    long: bool
    vignette_id: str | None
    age: str | None
    sex: str | None
    truth: str | None
    finding: str
    state: str
    evidence: tuple[Column, ...]
    ignored: tuple[str, ...]
    mapping: ColumnMapping

    @property
    def wanted(self) -> tuple[str, ...]:
        """Columns to read."""
        special = [self.vignette_id, self.age, self.sex, self.truth]
        if self.long:
            special += [self.finding, self.state]
        return tuple([c for c in special if c is not None] + [c.name for c in self.evidence])


def plan_layout(
    name: str,
    header: Sequence[str],
    reader: EvidenceReader,
    *,
    mapping: ColumnMapping = NO_MAPPING,
    ignore_unknown: bool = False,
) -> Layout:
    """Settle what every column means.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    header : sequence of str
    reader : EvidenceReader
        Knows every id that can be entered.
    mapping : ColumnMapping
    ignore_unknown : bool
        Leave out columns that mean nothing here, instead of refusing the file.

    Raises
    ------
    BatchError
        For unknown columns (all of them, each with the nearest valid ids), two columns of one
        meaning, a mapping that names a column that is not there, or a unit or value that cannot
        be read, a long file without ids, or a file without any column to score.
    """
    _check_mapping(name, header, reader, mapping)
    by_key: dict[str, str] = {}
    for column in header:
        key = mapping.ours(column)
        if column and column not in mapping.ignore:
            if key in by_key:
                raise BatchError(
                    f"{name}: columns {by_key[key]!r} and {column!r} both mean {key!r}; "
                    "remove or ignore one"
                )
            by_key[key] = column
    long = FINDING in by_key and STATE in by_key
    special = {VIGNETTE_ID, AGE, SEX, TRUTH} | ({FINDING, STATE} if long else set())
    accepted = special if long else special | set(reader.entries)
    unknown = [column for key, column in by_key.items() if key not in accepted]
    unknown += [column for column in header if not column and column not in mapping.ignore]
    if unknown and not ignore_unknown:
        raise BatchError(_unknown_columns(name, header, unknown, reader, long, special))
    if long and VIGNETTE_ID not in by_key:
        raise BatchError(f"{name} has one row a finding, but no column vignette_id to join them by")
    evidence = sorted(
        (Column(column, key) for key, column in by_key.items() if key in accepted - special),
        key=lambda column: column.key,
    )
    if not long and not evidence and by_key.keys().isdisjoint(special):
        raise BatchError(f"{name} has no column that is known here; its columns are {list(header)}")
    return Layout(
        name=name,
        header=tuple(header),
        long=long,
        vignette_id=by_key.get(VIGNETTE_ID),
        age=by_key.get(AGE),
        sex=by_key.get(SEX),
        truth=by_key.get(TRUTH),
        finding=by_key.get(FINDING, ""),
        state=by_key.get(STATE, ""),
        evidence=tuple(evidence) if not long else (),
        ignored=(*unknown, *(column for column in header if column and column in mapping.ignore)),
        mapping=mapping,
    )


def read_mapping(path: str | Path) -> ColumnMapping:
    """Read a column mapping file.

    Raises
    ------
    BatchError
        If it cannot be read, is no TOML, or has a part that means nothing.
    """
    try:
        with Path(path).open("rb") as file:
            parts = tomllib.load(file)
    except OSError as error:
        raise BatchError(f"mapping {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BatchError(f"mapping {path} is not valid TOML: {error}") from None
    known = ("columns", "recode", "units", "convert", "ignore")
    for part in parts:
        if part not in known:
            hint = " or ".join(nearest(part, known)) or ", ".join(known)
            raise BatchError(f"mapping {path}: unknown part {part!r}; did you mean {hint}?")
    try:
        return ColumnMapping(
            columns=_texts(parts.get("columns", {})),
            recode={
                column: {key.strip().lower(): cell for key, cell in _texts(table).items()}
                for column, table in _table(parts.get("recode", {})).items()
            },
            units=_texts(parts.get("units", {})),
            convert={
                column: _conversion(column, table)
                for column, table in _table(parts.get("convert", {})).items()
            },
            ignore=_names(parts.get("ignore", [])),
        )
    except TypeError as error:
        raise BatchError(
            f"mapping {path}: {error}; see the example in `twitchdx score --help`"
        ) from None


def _table(part: object) -> dict[str, object]:
    if not isinstance(part, dict):
        raise TypeError(f"{part!r} should be a table")
    return part


def _conversion(column: str, part: object) -> Conversion:
    numbers: dict[str, float] = {}
    for name, value in _table(part).items():
        if name not in CONVERSION:
            hint = nearest(name, CONVERSION) or CONVERSION
            raise TypeError(f"convert {column!r}: unknown {name!r}; did you mean {hint[0]}?")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"convert {column!r}: {name} = {value!r} should be a number")
        numbers[name] = float(value)
    return Conversion(**numbers)


def _names(part: object) -> tuple[str, ...]:
    if not isinstance(part, list) or not all(isinstance(name, str) for name in part):
        raise TypeError(f'ignore = {part!r} should be a list of names, as in ignore = ["ward"]')
    return tuple(part)


def _texts(part: object) -> dict[str, str]:
    table = _table(part)
    for key, value in table.items():
        if not isinstance(value, str):
            raise TypeError(f"{key} = {value!r} should be text in quotation marks")
    return {key: str(value) for key, value in table.items()}


def _check_mapping(
    name: str, header: Sequence[str], reader: EvidenceReader, mapping: ColumnMapping
) -> None:
    special = (VIGNETTE_ID, AGE, SEX, TRUTH, FINDING, STATE)
    for column, key in mapping.columns.items():
        if key not in special and key not in reader.entries:
            hint = " or ".join(nearest(key, (*special, *reader.entries)))
            raise BatchError(
                f"the mapping sends {column!r} to {key!r}, which is no id"
                + (f"; did you mean {hint}?" if hint else "")
            )
    long = any(mapping.ours(column) == FINDING for column in header)
    named = [*mapping.columns, *mapping.recode, *mapping.units, *mapping.convert]
    for column in dict.fromkeys(named):
        if column not in header and column != EVERY_COLUMN and not long:
            hint = " or ".join(nearest(column, header))
            raise BatchError(
                f"the mapping names column {column!r}, which {name} does not have"
                + (f"; did you mean {hint}?" if hint else "")
            )
    for column, unit in mapping.units.items():
        _check_unit(column, unit, reader.quantities.get(mapping.ours(column)))
    for column, table in mapping.recode.items():
        keys = map(mapping.ours, header) if column == EVERY_COLUMN else [mapping.ours(column)]
        readable = [key for key in keys if key in reader.entries or key in (AGE, SEX)]
        for value, cell in table.items():
            _check_recode(column, value, cell, readable, reader)


def _check_unit(column: str, unit: str, quantity: Quantity | None) -> None:
    if quantity is None:
        raise BatchError(
            f"the mapping gives {column!r} the unit {unit!r}, but it is no quantity; only measured "
            "quantities have units, other numbers can be converted by factor and offset"
        )
    known = (quantity.unit, *quantity.conversions)
    if unit.strip().lower() not in {one.lower() for one in known}:
        raise BatchError(
            f"the mapping gives {column!r} the unit {unit!r}, in which {quantity.name} is not "
            f"known; known units are {', '.join(known)}; for others, convert by factor and offset"
        )


def _check_recode(
    column: str, value: str, cell: str, keys: Sequence[str], reader: EvidenceReader
) -> None:
    """Check that a cell can be read in one of the columns that it is meant for."""
    troubles = []
    for key in keys:
        try:
            if key == AGE:
                read_age(cell)
            elif key == SEX:
                read_sex(cell)
            else:
                reader.observe(key, cell)
        except TwitchdxError as error:
            troubles.append(str(error))
    if keys and len(troubles) == len(keys):
        raise BatchError(f"the mapping turns {value!r} of {column!r} into {cell!r}: {troubles[0]}")


def _unknown_columns(
    name: str,
    header: Sequence[str],
    unknown: Sequence[str],
    reader: EvidenceReader,
    long: bool,
    special: set[str],
) -> str:
    choices = sorted(special) if long else (*sorted(special), *reader.entries)
    lines = []
    for column in unknown:
        if not column:
            lines.append(f"column {list(header).index('') + 1} has no name")
            continue
        hint = " or ".join(nearest(column, choices))
        lines.append(f"{column!r}" + (f": did you mean {hint}?" if hint else ""))
    heading = f"{name} has {len(lines)} unknown column{'' if len(lines) == 1 else 's'}"
    return "\n".join(
        [
            f"{heading} (rename them, map them with --mapping, or pass --ignore-unknown-columns):",
            *(f"  {line}" for line in lines),
        ]
    )
