"""What must not be missed, what to order, what not to order, and what guidelines list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twitchdx.tables.schema import Management, RedFlag, Workup

if TYPE_CHECKING:
    from twitchdx.diagnosis import Diagnosis

#: causes whose work-up and management are listed: these many, if at least this probable
LEADING = 3
PROBABLE = 0.05


@dataclass(frozen=True)
class SeriousCause:
    """A cause that must not be missed, probable enough to act on.

    Attributes
    ----------
    cause, name : str
    posterior : float
    action_threshold : float
        Probability above which the benefit of acting outweighs its harm.
    rank : int
        Its place in the differential, 1 for the most probable.
    """

    cause: str
    name: str
    posterior: float
    action_threshold: float
    rank: int


@dataclass(frozen=True)
class RedFlags:
    """Warning patterns that the case shows, and serious causes past their thresholds.

    Attributes
    ----------
    patterns : tuple of RedFlag
        Rows of red_flags.csv whose pattern is met, most urgent first.
    serious : tuple of SeriousCause
        Causes past their action threshold [1]_, most probable first, however low they rank.

    References
    ----------
    .. [1] Pauker SG, Kassirer JP. The threshold approach to clinical decision making.
       N Engl J Med 1980;302:1109-1117.
    """

    patterns: tuple[RedFlag, ...]
    serious: tuple[SeriousCause, ...]

    def __bool__(self) -> bool:
        return bool(self.patterns or self.serious)


def red_flags(dx: Diagnosis) -> RedFlags:
    """Return the warning signs of a case."""
    urgency = ("emergency", "urgent", "soon")
    shown = present_nodes(dx)
    patterns = [row for row in dx.engine.knowledge.red_flags.values() if _fires(row, shown)]
    causes = dx.engine.knowledge.causes
    ranked = list(dx.posterior.items())
    serious = tuple(
        SeriousCause(str(cause), row.name, float(posterior), row.action_threshold, rank + 1)
        for rank, (cause, posterior) in enumerate(ranked)
        if (row := causes[str(cause)]).seriousness == "cannot_miss"
        and row.action_threshold is not None
        and posterior >= row.action_threshold
    )
    return RedFlags(tuple(sorted(patterns, key=lambda row: urgency.index(row.urgency))), serious)


def work_up(dx: Diagnosis) -> tuple[Workup, ...]:
    """Return the rows of workup.csv that apply: first what to order, then what not to.

    A row applies if its pattern is met and its cause, where it names one, is a leading cause or
    past its action threshold. Rows for a finding that is known already are left out; rows
    without a cause come first, then those of the leading causes in their order.
    """
    shown = present_nodes(dx)
    known = {*shown, *dx.case.absent, *(o.node for o in dx.case.implied)}
    concern = causes_of_concern(dx)
    order = {cause: k for k, cause in enumerate(concern)}
    rows = [
        row
        for row in dx.engine.knowledge.workup.values()
        if (row.cause is None or row.cause in order)
        and row.test not in known
        and _matches(shown, row.all_of, (), row.none_of)
    ]
    return tuple(
        sorted(rows, key=lambda row: (row.action == "avoid", order.get(row.cause or "", -1)))
    )


def management(dx: Diagnosis) -> tuple[Management, ...]:
    """Return what guidelines list for the leading causes, in the order of these."""
    lines = ("first", "second", "advice", "avoid")
    order = {cause: k for k, cause in enumerate(causes_of_concern(dx))}
    rows = [row for row in dx.engine.knowledge.management if row.cause in order]
    return tuple(sorted(rows, key=lambda row: (order[row.cause], lines.index(row.line))))


def causes_of_concern(dx: Diagnosis) -> tuple[str, ...]:
    """Return the leading causes, and the serious ones past their thresholds."""
    leading = [
        row.cause
        for row in dx.differential().head(LEADING).itertuples()
        if row.posterior >= PROBABLE
    ]
    return tuple(dict.fromkeys([*leading, *(s.cause for s in red_flags(dx).serious)]))


def present_nodes(dx: Diagnosis) -> frozenset[str]:
    """Return all nodes that are present, those that follow from others included."""
    shown = {*dx.case.present, *(o.node for o in dx.case.implied if o.ratio > 1)}
    shown.update(b for a, b in dx.engine.reader.implications if a in shown)
    return frozenset(shown)


def _fires(row: RedFlag, shown: frozenset[str]) -> bool:
    return _matches(shown, row.all_of, row.any_of, row.none_of)


def _matches(
    shown: frozenset[str], all_of: Iterable[str], any_of: Iterable[str], none_of: Iterable[str]
) -> bool:
    some = set(any_of)
    return (
        shown.issuperset(all_of) and (not some or bool(shown & some)) and shown.isdisjoint(none_of)
    )
