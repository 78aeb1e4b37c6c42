"""Everything the tables must say to be usable, checked in one pass over all of them.

Each check is a generator of problems; `CHECKS` lists them. A check never stops at its first
finding, and never stumbles over a cell that could not be read (None): that cell has its own
problem already.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context
from itertools import combinations, pairwise
from math import inf, isclose
from typing import Any, Literal

from twitchdx.errors import Problem, nearest
from twitchdx.tables.knowledge import most_specific
from twitchdx.tables.read import Tables
from twitchdx.tables.schema import ANY, FOREIGN_KEYS, TABLES, Row, age_range

#: an `expert` interval reaches at least this factor in the odds to either side
EXPERT_ODDS_FACTOR = 3.0
#: how far from 1 the shares of a population may sum
SHARE_TOLERANCE = 1e-6
#: floating-point slack of a comparison
ROUNDING = 1e-9


@dataclass(frozen=True)
class Report:
    """All problems of a set of tables.

    Attributes
    ----------
    errors : tuple of Problem
        Must be repaired before the tables can be used.
    warnings : tuple of Problem
        Probably not what the author meant.
    """

    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def check(tables: Tables) -> Report:
    """Check tables against themselves; shape problems found in reading are included.

    Parameters
    ----------
    tables : Tables
        From `twitchdx.tables.read.collect`.

    Returns
    -------
    Report
        Problems in the order of file and line.
    """
    problems = [*tables.problems, *(problem for test in CHECKS for problem in test(tables))]
    problems.sort(key=lambda problem: (problem.file, problem.line or 0))
    return Report(
        tuple(problem for problem in problems if problem.level == "error"),
        tuple(problem for problem in problems if problem.level == "warning"),
    )


def odds(probability: float) -> float:
    """Odds of a probability; infinite for 1."""
    return inf if probability >= 1 else probability / (1 - probability)


def expert_bounds(value: float) -> tuple[float, float]:
    """The narrowest interval that a judgement of this value may claim.

    Examples
    --------
    >>> [round(bound, 3) for bound in expert_bounds(0.5)]
    [0.25, 0.75]
    """
    low, high = odds(value) / EXPERT_ODDS_FACTOR, odds(value) * EXPERT_ODDS_FACTOR
    return low / (1 + low) if low < inf else 1.0, high / (1 + high) if high < inf else 1.0


def cycles(edges: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, ...]]:
    """Every cycle that a depth-first walk closes; none: the graph is acyclic.

    Examples
    --------
    >>> list(cycles({"a": ["b"], "b": ["c"], "c": ["a"]}))
    [('a', 'b', 'c', 'a')]
    """
    done: set[str] = set()

    def walk(node: str, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if node in path:
            yield (*path[path.index(node) :], node)
        elif node not in done:
            for child in edges.get(node, ()):
                yield from walk(child, (*path, node))
            done.add(node)

    for start in edges:
        yield from walk(start, ())


def reachable(edges: Mapping[str, Iterable[str]], start: str) -> set[str]:
    """Every node that can be reached from one, itself included."""
    found, todo = {start}, [start]
    while todo:
        fresh = set(edges.get(todo.pop(), ())) - found
        found |= fresh
        todo += fresh
    return found


def _at(
    row: Row,
    column: str,
    reason: str,
    repair: str,
    *,
    value: object = None,
    level: Literal["error", "warning"] = "error",
) -> Problem:
    """A problem in one cell of a row; the cell's own content unless another value is given."""
    cell = getattr(row, column, None) if value is None else value
    if isinstance(cell, tuple):
        cell = ";".join(cell) or None
    if isinstance(cell, float):
        cell = f"{cell:.6g}"
    text = None if cell is None else str(cell)
    return Problem(row.where.file, row.where.line, column, text, reason, repair, "meaning", level)


def _ids(tables: Tables, name: str) -> dict[str, Any]:
    """Id -> row of a table, by the first column of its key."""
    key = TABLES[name].key[0]
    return {value: row for row in tables.rows[name] if (value := getattr(row, key)) is not None}


def _numbers(tables: Tables) -> Iterator[tuple[Any, str]]:
    """Every row that carries a number with an interval, and the column that holds it."""
    for name, table in TABLES.items():
        if table.row.number is not None:
            for row in tables.rows[name]:
                yield row, table.row.number


def foreign_keys(tables: Tables) -> Iterator[Problem]:
    """Every id that points to another table is there."""
    aliases = _ids(tables, "aliases")
    for key in FOREIGN_KEYS:
        if tables.unread.intersection(key.targets):
            continue
        known = [identifier for target in key.targets for identifier in _ids(tables, target)]
        accepted = set(known)
        repairs: dict[str, str] = {}
        homes = " or ".join(TABLES[target].files for target in key.targets)
        for row in tables.rows[key.table]:
            if key.when is not None and getattr(row, key.when[0]) != key.when[1]:
                continue
            cell = getattr(row, key.column)
            for identifier in cell if isinstance(cell, tuple) else (cell,):
                if identifier is None or identifier in accepted:
                    continue
                if identifier not in repairs:
                    repairs[identifier] = _replacement(identifier, known, aliases, homes)
                yield _at(
                    row, key.column, f"is not in {homes}", repairs[identifier], value=identifier
                )


def _replacement(identifier: str, known: list[str], aliases: Mapping[str, Any], homes: str) -> str:
    if identifier in aliases and aliases[identifier].stands_for:
        return f"It is an alias: write {' or '.join(aliases[identifier].stands_for)}"
    if hint := nearest(identifier, known):
        return f"Write {' or '.join(hint)}, or add a row to {homes}"
    return f"Add a row to {homes}"


def unique_keys(tables: Tables) -> Iterator[Problem]:
    """No two rows of a table speak of the same thing."""
    for name, table in TABLES.items():
        first: dict[tuple[Any, ...], Row] = {}
        for row in tables.rows[name]:
            key = tuple(getattr(row, column) for column in table.key)
            if None in key:
                continue
            if key in first:
                place = first[key].where
                where = f"line {place.line}"
                if place.file != row.where.file:
                    where += f" of {place.file}"
                columns = [column for column in table.key if column in table.row.model_fields]
                shown = ", ".join(str(getattr(row, column)) for column in columns)
                yield _at(
                    row,
                    columns[0],
                    f"repeats {where}",
                    f"Keep one row for each {', '.join(columns)}",
                    value=shown,
                )
            first.setdefault(key, row)


def separate_names(tables: Tables) -> Iterator[Problem]:
    """An id means one thing: a cause, a finding, a quantity, a population or an alias."""
    owner: dict[str, Row] = {}
    for name in ("causes", "findings", "measurements", "aliases"):
        for identifier, row in _ids(tables, name).items():
            if identifier in owner:
                yield _at(
                    row,
                    TABLES[name].key[0],
                    f"is already an id at {owner[identifier].where}",
                    "Give one of them another id",
                )
            owner.setdefault(identifier, row)


def intervals(tables: Tables) -> Iterator[Problem]:
    """low <= value <= high, and some width between."""
    for row, column in _numbers(tables):
        low, value, high = row.low, getattr(row, column), row.high
        if None in (low, value, high):
            continue
        if low > high:
            repair = f"Write low {high:g} and high {low:g}, or correct them"
            yield _at(row, "low", f"is above high ({high:g})", repair)
        elif not low <= value <= high:
            end, word = ("low", "above") if value < low else ("high", "below")
            yield _at(
                row,
                end,
                f"is {word} the {column} ({value:g})",
                f"Widen the interval to hold {value:g}, or correct the {column}",
            )
        elif low == high and 0 < value < 1:
            yield _at(
                row,
                "low",
                f"is the same as high: the {column} would be certain",
                "Write the 95 % interval",
            )


def expert_widths(tables: Tables) -> Iterator[Problem]:
    """A judgement has a wide interval, unless it is certain by definition (0 or 1, no width)."""
    reason = f"is less than a factor {EXPERT_ODDS_FACTOR:g} in the odds"
    for row, column in _numbers(tables):
        low, value, high = row.low, getattr(row, column), row.high
        if row.grade != "expert" or None in (low, value, high) or not low <= value <= high:
            continue
        if low == high:
            continue
        need_low, need_high = expert_bounds(value)
        if low > need_low * (1 + ROUNDING):
            write = f"Write at most {_round_down(need_low):g}"
            yield _at(row, "low", f"{reason} below an expert's {column}", write)
        if 1 - high > (1 - need_high) * (1 + ROUNDING):
            write = f"Write at least {1 - _round_down(1 - need_high):.6g}"
            yield _at(row, "high", f"{reason} above an expert's {column}", write)


def _round_down(value: float) -> float:
    """Three significant digits, never more than the value."""
    return float(Context(prec=3, rounding=ROUND_FLOOR).create_decimal(value))


def provenance(tables: Tables) -> Iterator[Problem]:
    """Numbers from studies cite them, judgements say what they are, sources can be found."""
    for row, _ in _numbers(tables):
        if row.grade in ("study", "review") and row.source == ():
            yield _at(
                row,
                "source",
                f"a {row.grade} number has no source",
                "Add its key from sources.csv, or grade it expert with a wide interval",
            )
        if row.grade == "expert" and row.note is None:
            yield _at(
                row,
                "note",
                "an expert's number has no note",
                "Say that it is a judgement, and from what",
                level="warning",
            )
    used: set[str] = set()
    for name, rows in tables.rows.items():
        if name != "sources":
            used.update(key for row in rows for key in getattr(row, "source", None) or ())
    for identifier, row in _ids(tables, "sources").items():
        if row.doi_or_pmid is None and row.url is None:
            yield _at(
                row,
                "doi_or_pmid",
                "the source cannot be found",
                "Add a DOI or PMID, or an address under url",
            )
        if identifier not in used:
            yield _at(
                row,
                "source",
                "is cited nowhere",
                "Cite it where it is used, or remove it",
                level="warning",
            )


def coverage(tables: Tables) -> Iterator[Problem]:
    """Every cause shows in some finding, every finding has some cause, both in its own file."""
    if tables.unread & {"causes", "findings", "likelihoods", "links"}:
        return
    children = defaultdict(set)
    for row in tables.rows["links"]:
        children[row.given].add(row.cause)
    shown = {row.cause for row in tables.rows["likelihoods"]}
    explained = {row.finding for row in tables.rows["likelihoods"]}
    for cause, row in _ids(tables, "causes").items():
        if not shown & reachable(children, cause):
            yield _at(
                row,
                "cause",
                "shows in no finding, directly or through what it causes",
                "Add a likelihood row, or a link to a cause or syndrome that has one",
            )
        if row.seriousness == "cannot_miss" and row.action_threshold is None:
            yield _at(
                row,
                "action_threshold",
                "a cause that cannot be missed has no threshold",
                "Write the probability above which one would act",
            )
    for finding, row in _ids(tables, "findings").items():
        if finding not in explained:
            yield _at(row, "finding", "has no cause", "Add a likelihood row for it, or remove it")


def themes(tables: Tables) -> Iterator[Problem]:
    """A finding's rows sit in the file of its theme."""
    findings = _ids(tables, "findings")
    for row in tables.rows["likelihoods"]:
        stem = row.where.file.rsplit("/", 1)[-1].removesuffix(".csv")
        theme = findings[row.finding].theme if row.finding in findings else None
        if theme is not None and theme != stem:
            yield _at(
                row,
                "finding",
                f"belongs to the theme {theme}",
                f"Move the row to {theme}.csv, or change the finding's theme",
                level="warning",
            )


def links(tables: Tables) -> Iterator[Problem]:
    """Links and implications run one way, and syndromes only point to findings."""
    causes = _ids(tables, "causes")
    yield from _acyclic(tables, "links", "given", "cause")
    yield from _acyclic(tables, "implications", "finding", "implies")
    yield from _acyclic(tables, "populations", "population", "base")
    for row in tables.rows["links"]:
        given = causes.get(row.given)
        if given is not None and given.nature == "syndrome":
            yield _at(
                row,
                "given",
                "is a syndrome, and syndromes only point to findings",
                "Link the causes of the syndrome to this cause instead",
            )


def _acyclic(tables: Tables, name: str, source: str, target: str) -> Iterator[Problem]:
    rows = {(getattr(row, source), getattr(row, target)): row for row in tables.rows[name]}
    edges: defaultdict[str, list[str]] = defaultdict(list)
    for start, end in rows:
        if start is not None and end is not None:
            edges[start].append(end)
    for cycle in cycles(dict(edges)):
        row = rows[cycle[-2], cycle[-1]]
        yield _at(row, target, f"closes a cycle: {' -> '.join(cycle)}", "Remove one of these steps")


def populations(tables: Tables) -> Iterator[Problem]:
    """Each population has its strata, and each stratum of a root a prevalence of every cause."""
    if tables.unread & {"populations", "demographics"}:
        return
    declared = _ids(tables, "populations")
    own: defaultdict[str, list[Any]] = defaultdict(list)
    for row in tables.rows["demographics"]:
        own[row.population].append(row)
    strata: dict[str, set[tuple[str, str]]] = {}
    for name in declared:
        chain = _base_chain(declared, name)
        rows = next((own[link] for link in chain if own[link]), [])
        strata[name] = {(row.sex, row.age_band) for row in rows if row.sex and row.age_band}
    for name, population in declared.items():
        if not strata[name]:
            yield _at(
                population,
                "population",
                "has no strata",
                "Add its sexes, age bands and shares to demographics.csv",
            )
        yield from _strata(population, own[name], strata)
    if "priors" not in tables.unread:
        yield from _prevalences(tables, declared, strata)


def _base_chain(declared: Mapping[str, Any], name: str) -> list[str]:
    chain = [name]
    while (base := declared[chain[-1]].base) in declared and base not in chain:
        chain.append(base)
    return chain


def _strata(
    population: Any, rows: list[Any], strata: dict[str, set[tuple[str, str]]]
) -> Iterator[Problem]:
    """One population's own demographics."""
    shares = [row.share for row in rows]
    if shares and None not in shares and not isclose(sum(shares), 1, abs_tol=SHARE_TOLERANCE):
        yield _at(
            rows[-1],
            "share",
            f"the shares of {population.population} sum to {sum(shares):.7g}",
            "Correct them so that they sum to 1",
            value="",
        )
    if population.base in strata:
        allowed = strata[population.base]
        for row in rows:
            if row.sex and row.age_band and (row.sex, row.age_band) not in allowed:
                yield _at(
                    row,
                    "age_band",
                    f"{population.base} has no stratum {row.sex} {row.age_band}",
                    f"Use the strata of the base: {_list(allowed)}",
                )
    for sex in ("female", "male"):
        bands = sorted(
            {row.age_band: row for row in rows if row.sex == sex and row.age_band}.values(),
            key=lambda row: age_range(row.age_band)[0],
        )
        for before, after in pairwise(bands):
            last, first = age_range(before.age_band)[1], age_range(after.age_band)[0]
            if last is None or first <= last:
                yield _at(
                    after,
                    "age_band",
                    f"overlaps {before.age_band} of the same sex",
                    "Make each age belong to one band",
                )
            elif first > last + 1:
                yield _at(
                    after,
                    "age_band",
                    f"leaves a gap after {before.age_band}",
                    "Give every age a band",
                    level="warning",
                )


def _prevalences(
    tables: Tables, declared: Mapping[str, Any], strata: dict[str, set[tuple[str, str]]]
) -> Iterator[Problem]:
    covered: defaultdict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for row in tables.rows["priors"]:
        known = strata.get(row.population, set())
        fitting = {
            stratum
            for stratum in known
            if row.sex in (stratum[0], ANY) and row.age_band in (stratum[1], ANY)
        }
        if known and row.sex and row.age_band and not fitting:
            yield _at(
                row,
                "age_band",
                f"{row.population} has no stratum {row.sex} {row.age_band}",
                f"Use any, or one of {_list(known)}",
            )
        covered[row.population, row.cause] |= fitting
    if "causes" in tables.unread:
        return
    files = dict(
        zip(
            (row.population for row in tables.rows["populations"]),
            tables.files["priors"],
            strict=False,
        )
    )
    for name, population in declared.items():
        if population.base is not None:
            continue
        for cause in _ids(tables, "causes"):
            missing = strata[name] - covered[name, cause]
            if missing:
                whom = "any stratum" if missing == strata[name] else _list(missing)
                yield Problem(
                    files.get(name, name),
                    None,
                    "cause",
                    cause,
                    f"{name} has no prevalence of it for {whom}",
                    "Add a row; sex and age_band may be any",
                    "meaning",
                )


def strata_agree(tables: Tables) -> Iterator[Problem]:
    """A row for all, where every stratum has its own, holds the average of the strata."""
    strata: defaultdict[str, list[Any]] = defaultdict(list)
    for row in tables.rows["demographics"]:
        if None not in (row.sex, row.age_band, row.share):
            strata[row.population].append(row)
    groups: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
    for row in tables.rows["priors"]:
        if None not in (row.cause, row.sex, row.age_band, row.prevalence, row.low, row.high):
            groups[row.population, row.cause].append(row)
    for (population, _), rows in groups.items():
        general = next((row for row in rows if row.sex == row.age_band == ANY), None)
        best = [
            (stratum.share, row)
            for stratum in strata[population]
            if (row := most_specific(rows, stratum.sex, stratum.age_band)) is not None
        ]
        if general is None or not best or any(row is general for _, row in best):
            continue
        mean = sum(share * row.prevalence for share, row in best)
        if not general.low * (1 - ROUNDING) <= mean <= general.high * (1 + ROUNDING):
            yield _at(
                general,
                "prevalence",
                f"has the interval {general.low:g} to {general.high:g}, but the strata of "
                f"{population} average to {mean:.3g}",
                "Correct the rows of the strata or this one",
                level="warning",
            )


def _list(strata: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{sex} {band}" for sex, band in sorted(strata))


def background_bands(tables: Tables) -> Iterator[Problem]:
    """A background by age uses a band that some population has."""
    known = {row.age_band for row in tables.rows["demographics"]} - {None}
    for row in tables.rows["backgrounds"]:
        if known and row.age_band not in (ANY, None, *known):
            yield _at(
                row,
                "age_band",
                "is a band of no population",
                f"Use any, or one of {', '.join(sorted(known))}",
            )


def measurements(tables: Tables) -> Iterator[Problem]:
    """Thresholds of a quantity share unit and plausible range, nest, and do not clash."""
    groups: defaultdict[str, list[Any]] = defaultdict(list)
    for row in tables.rows["measurements"]:
        if None not in (
            row.quantity,
            row.unit,
            row.comparator,
            row.threshold,
            row.sex,
            row.finding,
            row.plausible_low,
            row.plausible_high,
        ):
            groups[row.quantity].append(row)
    for rows in groups.values():
        first = rows[0]
        if first.plausible_low >= first.plausible_high:
            yield _at(
                first,
                "plausible_low",
                "is not below plausible_high",
                "Write the smallest and the largest value a laboratory would report",
            )
        for row in rows:
            for column in ("unit", "plausible_low", "plausible_high"):
                wanted = getattr(first, column)
                if getattr(row, column) != wanted:
                    yield _at(
                        row,
                        column,
                        f"differs from line {first.where.line} of the same quantity",
                        f"Write {wanted}; other units belong in units.csv",
                    )
            if not row.plausible_low <= row.threshold <= row.plausible_high:
                yield _at(
                    row,
                    "threshold",
                    "is outside the plausible range",
                    "Correct the threshold, its unit, or the range",
                )
        yield from _ranges(rows)
    yield from _nesting(tables, groups)
    base = {quantity: rows[0].unit for quantity, rows in groups.items()}
    for row in tables.rows["units"]:
        if row.factor == 0:
            yield _at(row, "factor", "would turn every value into one", "Write the factor")
        if row.unit is not None and row.unit == base.get(row.quantity):
            yield _at(row, "unit", "is the unit of measurements.csv itself", "Remove the row")


def _ranges(rows: list[Any]) -> Iterator[Problem]:
    """Several thresholds of one finding and sex are one lower and one upper bound."""
    by_finding: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
    for row in rows:
        by_finding[row.finding, row.sex].append(row)
    for group in by_finding.values():
        for earlier, later in combinations(group, 2):
            if earlier.comparator[0] == later.comparator[0]:
                yield _at(
                    later,
                    "comparator",
                    f"bounds the finding on the same side as line {earlier.where.line}",
                    "Keep one lower (>, >=) and one upper (<, <=) bound",
                )
                continue
            lower, upper = sorted((earlier, later), key=lambda row: row.comparator[0] == "<")
            if lower.threshold > upper.threshold:
                yield _at(
                    later,
                    "threshold",
                    "leaves no value for which the finding is present",
                    "Swap the two thresholds",
                )


def _nesting(tables: Tables, groups: Mapping[str, list[Any]]) -> Iterator[Problem]:
    """A stricter threshold implies a looser one, and implications.csv says so."""
    implied: defaultdict[str, set[str]] = defaultdict(set)
    for row in tables.rows["implications"]:
        implied[row.finding].add(row.implies)
    for rows in groups.values():
        bounds = Counter((row.finding, row.sex) for row in rows)
        single = [row for row in rows if bounds[row.finding, row.sex] == 1]
        for one, other in combinations(single, 2):
            if (
                one.comparator[0] != other.comparator[0]
                or one.sex != other.sex
                or one.finding == other.finding
                or one.threshold == other.threshold
            ):
                continue
            tight, loose = sorted(
                (one, other), key=lambda row: row.threshold, reverse=one.comparator[0] == ">"
            )
            if tight.finding in reachable(implied, loose.finding):
                yield _at(
                    tight,
                    "threshold",
                    f"is stricter than {loose.finding}, which implies this finding",
                    "Turn the implication round, or correct the thresholds",
                )
            elif loose.finding not in reachable(implied, tight.finding):
                yield _at(
                    tight,
                    "finding",
                    f"is not said to imply {loose.finding}",
                    f"Add {tight.finding},{loose.finding} to implications.csv",
                    level="warning",
                )


def patterns(tables: Tables) -> Iterator[Problem]:
    """Flags and rules can apply, and do not forbid what they ask for."""
    for row in [*tables.rows["red_flags"], *tables.rows["workup"]]:
        asked = {*(row.all_of or ()), *(getattr(row, "any_of", None) or ())}
        if row.all_of == () and not asked and not getattr(row, "cause", None):
            yield _at(
                row,
                "all_of",
                "nothing would trigger it",
                "Name the findings that must be present"
                + (" or the cause" if hasattr(row, "cause") else ""),
            )
        for identifier in sorted(asked & {*(row.none_of or ())}):
            yield _at(
                row, "none_of", "is also asked to be present", "Name it once", value=identifier
            )
    for row in tables.rows["claims"]:
        if row.carried_by is None and row.reason is None:
            yield _at(
                row,
                "carried_by",
                "nothing carries the claim, and no reason is given",
                "Name the row, flag or behaviour that carries it, or say why none does",
            )


def idle_rows(tables: Tables) -> Iterator[Problem]:
    """A likelihood at or below the background does nothing in a noisy-OR."""
    lowest: dict[str, float] = {}
    for row in [*tables.rows["findings"], *tables.rows["backgrounds"]]:
        if row.finding is not None and row.background is not None:
            lowest[row.finding] = min(row.background, lowest.get(row.finding, 1.0))
    for row in tables.rows["likelihoods"]:
        floor = lowest.get(row.finding)
        if floor is not None and row.probability is not None and row.probability <= floor:
            yield _at(
                row,
                "probability",
                f"is not above the finding's background ({floor:g}): the row does nothing",
                "Raise it, lower the background, or keep it as a record",
                level="warning",
            )


def implied_numbers(tables: Tables) -> Iterator[Problem]:
    """A finding is at least as common as one that implies it."""
    findings = _ids(tables, "findings")
    by_cause: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for row in tables.rows["likelihoods"]:
        if row.probability is not None:
            by_cause[row.finding][row.cause] = row
    for step in tables.rows["implications"]:
        narrow, wide = findings.get(step.finding), findings.get(step.implies)
        if narrow is None or wide is None or None in (narrow.background, wide.background):
            continue
        if narrow.background > wide.background:
            yield _at(
                narrow,
                "background",
                f"is above that of {step.implies} ({wide.background:g}), which it implies",
                "Lower this one or raise the other",
                level="warning",
            )
        for cause, row in by_cause[step.finding].items():
            other = by_cause[step.implies].get(cause)
            ceiling = wide.background if other is None else other.probability
            if row.probability > ceiling:
                yield _at(
                    row,
                    "probability",
                    f"is above that of {step.implies} ({ceiling:g}), which {step.finding} implies",
                    "Lower this one, or raise or add the other",
                    level="warning",
                )


CHECKS: tuple[Callable[[Tables], Iterator[Problem]], ...] = (
    foreign_keys,
    unique_keys,
    separate_names,
    intervals,
    expert_widths,
    provenance,
    coverage,
    themes,
    links,
    populations,
    strata_agree,
    background_bands,
    measurements,
    patterns,
    idle_rows,
    implied_numbers,
)
