"""Text cells of many vignettes -> evidence matrices, each distinct cell text read only once.

What a cell means is settled by the engine's own `EvidenceReader`, exactly as for one case; this
module only applies that to columns: a text's ratios are looked up once, then spread over its
rows. A vignette with any cell that cannot be read is rejected whole, with one reject a cell.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twitchdx.batch.cells import Cells, Reject
from twitchdx.batch.layout import AGE, SEX, TRUTH, Layout
from twitchdx.batch.records import IntArray
from twitchdx.case import read_age, read_sex, strata_weights
from twitchdx.errors import TwitchdxError
from twitchdx.evidence import ABSENT, PRESENT, UNKNOWN

if TYPE_CHECKING:
    from twitchdx.diagnosis import Engine

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: distinct cells remembered; more are read anew
MOST_REMEMBERED = 100_000

#: sexes a quantity's thresholds may differ by; the place of each is its code
_GENDERS = (None, "female", "male")


@dataclass(frozen=True)
class Evidence:
    """Vignettes ready for inference, in file order.

    Attributes
    ----------
    vignette_id, truth : list of str
    line, row : arrays, shape (vignettes,)
        Of each vignette's first row.
    entered : array, shape (vignettes, nodes)
        Likelihood ratios as entered.
    ratios : array, shape (vignettes, nodes)
        The same, without those that others imply.
    weights : array, shape (vignettes, strata)
    rejects : tuple of Reject
        Of vignettes that are left out, and of records that are no rows.
    vignettes : int
        Vignettes met: read and rejected ones together.
    left_out : dict of int to str
        Line -> id of each vignette that could not be read, as far as it has one.
    """

    vignette_id: list[str]
    truth: list[str]
    line: IntArray
    row: IntArray
    entered: FloatArray
    ratios: FloatArray
    weights: FloatArray
    rejects: tuple[Reject, ...]
    vignettes: int
    left_out: dict[int, str]


@dataclass(frozen=True)
class _Reading:
    """What a text says: ratios on nodes, or why it says nothing."""

    nodes: tuple[int, ...] = ()
    ratios: tuple[float, ...] = ()
    error: tuple[str, str] | None = None


class Encoder:
    """Reads cells for one engine, remembering those it has read.

    Parameters
    ----------
    engine : Engine
    layout : Layout
    """

    def __init__(self, engine: Engine, layout: Layout) -> None:
        self._reader = engine.reader
        self._model = engine.model
        self._layout = layout
        self._remembered: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = Lock()
        self._n_nodes = len(engine.reader.nodes)

    def encode(self, cells: Cells) -> Evidence:
        """Turn a chunk's cells into evidence and rejects."""
        return _Long(self, cells).encode() if self._layout.long else _Wide(self, cells).encode()

    # readings, remembered ---------------------------------------------------------------------

    def reading(self, name: str, key: str, text: str, gender: int) -> _Reading:
        """Return what `text` in their column `name`, our id `key`, says."""
        sexed = gender if key in self._reader.quantities else 0
        reading: _Reading = self._remember(
            ("cell", name, text, sexed), self._read, name, key, text, sexed
        )
        return reading

    def gender(self, text: str) -> tuple[int, tuple[str, str] | None]:
        """Return the code of a sex, and the trouble with it."""
        code: tuple[int, tuple[str, str] | None] = self._remember(
            (SEX, text), self._read_gender, text
        )
        return code

    def weights(self, age: str, gender: int) -> tuple[Any, tuple[str, str] | None]:
        """Return the share of each stratum, and the trouble with the age."""
        shares: tuple[Any, tuple[str, str] | None] = self._remember(
            (AGE, age, gender), self._read_weights, age, gender
        )
        return shares

    def _remember(self, key: Hashable, read: Any, *arguments: Any) -> Any:
        try:
            return self._remembered[key]
        except KeyError:
            pass
        value = read(*arguments)
        with self._lock:
            self._remembered[key] = value
            if len(self._remembered) > MOST_REMEMBERED:
                self._remembered.popitem(last=False)
        return value

    def _read(self, name: str, key: str, text: str, gender: int) -> _Reading:
        cell = self._layout.mapping.cell(name, text)
        try:
            seen = self._reader.observe(key, cell, _GENDERS[gender])
        except TwitchdxError as error:
            return _Reading(error=_split_message(error))
        places = [self._reader.index[one.node] for one in seen]
        return _Reading(tuple(places), tuple(one.ratio for one in seen))

    def _read_gender(self, text: str) -> tuple[int, tuple[str, str] | None]:
        try:
            sex = read_sex(self._layout.mapping.cell(self._layout.sex or SEX, text))
        except TwitchdxError as error:
            return 0, _split_message(error)
        return _GENDERS.index(sex), None

    def _read_weights(self, age: str, gender: int) -> tuple[Any, tuple[str, str] | None]:
        try:
            years = read_age(self._layout.mapping.cell(self._layout.age or AGE, age))
            return strata_weights(self._model, years, _GENDERS[gender]), None
        except TwitchdxError as error:
            return np.full(len(self._model.strata), np.nan), _split_message(error)


class _Builder:
    """What wide and long files share: an evidence matrix that is filled column by column."""

    def __init__(self, encoder: Encoder, cells: Cells, vignettes: int) -> None:
        self.encoder = encoder
        self.layout = encoder._layout
        self.cells = cells
        self.count = vignettes
        self.ratios = np.ones((vignettes, encoder._n_nodes))
        #: nodes that a column has spoken of
        self.entered: set[int] = set()
        self.weights = np.ones((vignettes, len(encoder._model.strata)))
        self.gender = np.zeros(vignettes, np.int64)
        self.bad = np.zeros(vignettes, bool)
        self.rejects: list[tuple[int, int, Reject]] = []
        self.ids: list[str] = []
        self.line = np.zeros(vignettes, np.int64)

    def reject(self, vignette: int, column: str, value: str, why: tuple[str, str], line: int = -1):  # type: ignore[no-untyped-def]
        """Note that a vignette is left out."""
        self.bad[vignette] = True
        at = int(self.line[vignette]) if line < 0 else line
        order = len(self.rejects)
        self.rejects.append((at, order, Reject(at, self.ids[vignette], column, value, *why)))

    def texts(self, column: str) -> tuple[list[str], IntArray]:
        """Return the distinct texts of a column, and each row's code."""
        array = self.cells.columns[column]
        return array.dictionary.to_pylist(), np.asarray(array.indices, np.int64)

    def observe(
        self, vignettes: IntArray, name: str, key: str, texts: list[str], codes: IntArray
    ) -> Iterator[tuple[int, str, tuple[str, str]]]:
        """Enter one column's texts; yield (place in `vignettes`, text, why) for each bad one.

        Parameters
        ----------
        vignettes : array, shape (rows,)
            Which vignette each row belongs to, none twice.
        codes : array, shape (rows,)
            Which text.
        """
        sexed = key in self.encoder._reader.quantities
        genders = len(_GENDERS) if sexed else 1
        which = codes * genders + self.gender[vignettes] if sexed else codes
        used = range(len(texts) * genders)
        if sexed:
            places, which = np.unique(which, return_inverse=True)
            used = places.tolist()
        readings = [
            self.encoder.reading(name, key, texts[code // genders], code % genders) for code in used
        ]
        for i, reading in enumerate(readings):
            if reading.error is not None:
                for place in np.flatnonzero(which == i):
                    yield int(place), texts[int(codes[place])], reading.error
        for node in sorted({node for reading in readings for node in reading.nodes}):
            said = [dict(zip(r.nodes, r.ratios, strict=True)).get(node, UNKNOWN) for r in readings]
            new = np.array(said)[which]
            if node not in self.entered:
                self.entered.add(node)
                self.ratios[vignettes, node] = new
                continue
            old = self.ratios[vignettes, node]
            clash = ((old == PRESENT) & (new == ABSENT)) | ((old == ABSENT) & (new == PRESENT))
            for place in np.flatnonzero(clash):
                yield (
                    int(place),
                    texts[int(codes[place])],
                    (
                        f"{self.encoder._reader.nodes[node]} is both present and absent: this "
                        "says one, another observation of the vignette says the other",
                        "correct one of them",
                    ),
                )
            certain = (old == PRESENT) | (old == ABSENT)
            with np.errstate(invalid="ignore"):
                merged = np.where(certain, old, old * new)
            self.ratios[vignettes, node] = merged

    def person(self, ages: list[str], sexes: list[str]) -> None:
        """Settle each vignette's sex and strata."""
        for vignette, text in enumerate(sexes):
            code, why = self.encoder.gender(text)
            self.gender[vignette] = code
            if why:
                self.reject(vignette, self.layout.sex or SEX, text, why)
        for vignette, text in enumerate(ages):
            shares, why = self.encoder.weights(text, int(self.gender[vignette]))
            self.weights[vignette] = shares
            if why:
                self.reject(vignette, self.layout.age or AGE, text, why)

    def finish(self, truth: list[str], row: IntArray, others: int) -> Evidence:
        """Check what findings imply, and leave the bad vignettes out."""
        reader = self.encoder._reader
        for vignette, node, implied in reader.conflicts(self.ratios):
            if not self.bad[vignette]:
                why = (
                    f"{node} is present, which means that {implied} is present too, but "
                    f"{implied} is absent",
                    "correct one of them",
                )
                self.reject(vignette, "", "", why)
        kept = np.flatnonzero(~self.bad)
        entered = self.ratios if len(kept) == self.count else self.ratios[kept]
        broken = [(r.line, -1, r) for r in self.cells.broken]
        return Evidence(
            vignette_id=[self.ids[i] for i in kept],
            truth=[truth[i] for i in kept],
            line=self.line[kept],
            row=row[kept],
            entered=entered,
            ratios=reader.reduce_implied(entered),
            weights=self.weights[kept],
            rejects=tuple(r for *_, r in sorted(broken + self.rejects, key=lambda r: r[:2])),
            vignettes=self.count + others,
            left_out={
                int(self.line[i]): self.ids[i]
                for i in np.flatnonzero(self.bad)
                if self.ids[i].strip()
            },
        )


class _Wide:
    """One row a vignette."""

    def __init__(self, encoder: Encoder, cells: Cells) -> None:
        self.cells = cells
        self.layout = encoder._layout
        self.builder = _Builder(encoder, cells, len(cells))

    def encode(self) -> Evidence:
        builder, layout = self.builder, self.layout
        builder.line = self.cells.line
        builder.ids = self._texts(layout.vignette_id) or [str(row) for row in self.cells.row]
        for i, text in enumerate(builder.ids):
            if not text.strip():
                builder.reject(i, layout.vignette_id or "", text, _NO_ID)
        n = len(self.cells)
        builder.person(self._texts(layout.age) or [""] * n, self._texts(layout.sex) or [""] * n)
        every = np.arange(n)
        for column in layout.evidence:
            texts, codes = builder.texts(column.name)
            for i, text, why in builder.observe(every, column.name, column.key, texts, codes):
                builder.reject(i, column.name, text, why)
        truth = self._texts(layout.truth) or [""] * n
        return builder.finish(truth, self.cells.row, len(self.cells.broken))

    def _texts(self, column: str | None) -> list[str]:
        if column is None:
            return []
        array = self.cells.columns[column]
        return array.dictionary_decode().to_pylist()


class _Long:
    """One row a finding; rows of a vignette stand together."""

    def __init__(self, encoder: Encoder, cells: Cells) -> None:
        self.encoder = encoder
        self.cells = cells
        self.layout = encoder._layout

    def encode(self) -> Evidence:
        layout = self.layout
        ids = self._texts(layout.vignette_id or "")
        lines = self.cells.line
        # a broken record belongs to the vignette it names, or else to the one it stands in
        broken = {reject.line: reject.vignette_id for reject in self.cells.broken}
        order = np.sort(np.concatenate([lines, np.fromiter(broken, np.int64, len(broken))]))
        by_line = dict(zip(lines.tolist(), ids, strict=True))
        names: list[str] = []
        first: list[int] = []
        spoilt: list[bool] = []
        vignette_of: dict[int, int] = {}
        for line in order.tolist():
            name = by_line.get(line, broken.get(line, "")).strip()
            damaged = line in broken
            if not names or (name != names[-1] and not (damaged and not name)):
                names.append(name)
                first.append(line)
                spoilt.append(False)
            spoilt[-1] |= damaged
            vignette_of[line] = len(names) - 1
        owner = np.array([vignette_of[line] for line in lines.tolist()], np.int64)
        builder = _Builder(self.encoder, self.cells, len(names))
        builder.ids = names
        builder.line = np.array(first, np.int64)
        builder.bad |= np.array(spoilt, bool)
        for i, name in enumerate(names):
            if not name and not spoilt[i]:
                builder.reject(i, layout.vignette_id or "", "", _NO_ID)
        findings = self._texts(layout.finding)
        states = self._texts(layout.state)
        keys = [layout.mapping.ours(text.strip()) for text in findings]
        person = {
            role: self._person(builder, role, column, keys, states, owner)
            for role, column in ((AGE, layout.age), (SEX, layout.sex), (TRUTH, layout.truth))
        }
        builder.person(person[AGE], person[SEX])
        self._observe(builder, findings, keys, states, owner)
        row = np.zeros(len(names), np.int64)
        row[owner[::-1]] = self.cells.row[::-1]
        return builder.finish(person[TRUTH], row, 0)

    def _person(  # type: ignore[no-untyped-def]
        self, builder, role: str, column: str | None, keys, states, owner
    ) -> list[str]:
        """Return one text a vignette for age, sex or truth: from a column, or from rows."""
        found = [""] * builder.count
        texts = self._texts(column) if column else [""] * len(keys)
        for i, (key, state, text) in enumerate(zip(keys, states, texts, strict=True)):
            value = (state if key == role else text).strip()
            vignette = int(owner[i])
            if value and found[vignette] and found[vignette] != value:
                why = (f"{role} was {found[vignette]!r} before", "correct one of them")
                builder.reject(vignette, column or role, value, why, int(self.cells.line[i]))
            elif value:
                found[vignette] = value
        return found

    def _observe(self, builder: _Builder, findings, keys, states, owner) -> None:  # type: ignore[no-untyped-def]
        reader = self.encoder._reader
        rows_of: dict[str, list[int]] = {}
        seen: dict[tuple[int, str], str] = {}
        for i, key in enumerate(keys):
            if key in (AGE, SEX, TRUTH) or findings[i].strip() in self.layout.mapping.ignore:
                continue
            vignette, line = int(owner[i]), int(self.cells.line[i])
            try:
                reader.check_id(key)
            except TwitchdxError as error:
                why = _split_message(error)
                builder.reject(vignette, self.layout.finding, findings[i], why, line)
                continue
            state = states[i].strip()
            before = seen.setdefault((vignette, key), state)
            if before != state:
                why = (f"{key} was {before!r} before", "keep one row for each finding")
                builder.reject(vignette, self.layout.state, states[i], why, line)
            else:
                rows_of.setdefault(key, []).append(i)
        for key in sorted(rows_of):
            rows = np.array(rows_of[key], np.int64)
            once = np.unique(owner[rows], return_index=True)[1]
            rows = rows[np.sort(once)]
            texts = sorted({states[i] for i in rows})
            place = {text: code for code, text in enumerate(texts)}
            codes = np.array([place[states[i]] for i in rows], np.int64)
            name = findings[rows[0]].strip()
            for i, text, why in builder.observe(owner[rows], name, key, texts, codes):
                line = int(self.cells.line[rows[i]])
                builder.reject(int(owner[rows[i]]), self.layout.state, text, why, line)

    def _texts(self, column: str) -> list[str]:
        return self.cells.columns[column].dictionary_decode().to_pylist()


_NO_ID = ("no vignette_id", "give every vignette an id of its own")


def _split_message(error: TwitchdxError) -> tuple[str, str]:
    """Return an error's (reason, repair)."""
    reason, _, repair = str(error).partition("; ")
    return reason, repair or "correct it, or leave the cell blank"
