"""Which table rows stand behind the relation of a cause to a finding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from twitchdx.tables import KnowledgeBase
from twitchdx.tables.schema import ANY, Background, Finding, Likelihood, Link, Prior

if TYPE_CHECKING:
    from twitchdx.diagnosis import Diagnosis
    from twitchdx.model import Stratum, TableRow


def downstream(knowledge: KnowledgeBase, cause: str) -> set[str]:
    """Return the causes and syndromes that a cause can raise, itself included."""
    children: dict[str, list[str]] = {}
    for link in knowledge.links:
        children.setdefault(link.given, []).append(link.cause)
    reached = {cause}
    fresh = [cause]
    while fresh:
        fresh = [c for node in fresh for c in children.get(node, ()) if c not in reached]
        reached.update(fresh)
    return reached


def row_in_words(row: TableRow, knowledge: KnowledgeBase) -> str:
    """Say what a row of the tables says: given what, how often, by whose word.

    Examples
    --------
    >>> from twitchdx.tables import default_tables
    >>> tables = default_tables()
    >>> row_in_words(tables.findings["urge_to_move"], tables).partition(":")[0]
    'Urge to move the legs, with none of the causes'
    """
    from twitchdx.report.text import percent

    match row:
        case Likelihood():
            what = f"{node_name(knowledge, row.finding)}, given {node_name(knowledge, row.cause)}"
            value = row.probability
        case Link():
            what = f"{node_name(knowledge, row.cause)}, given {node_name(knowledge, row.given)}"
            value = row.probability
        case Prior():
            what = f"{node_name(knowledge, row.cause)} in {row.population}"
            value = row.prevalence
        case _:
            what = f"{node_name(knowledge, row.finding)}, with none of the causes"
            value = row.background
    if isinstance(row, Prior | Background):
        who = " ".join(part for part in (row.sex, row.age_band) if part != ANY)
        what = f"{what} ({who})" if who else what
    return f"{what}: {percent(value)} ({percent(row.low)} to {percent(row.high)})"


def node_name(knowledge: KnowledgeBase, node: str) -> str:
    """Return the name of a finding or cause as people say it.

    Examples
    --------
    >>> from twitchdx.tables import default_tables
    >>> node_name(default_tables(), "urge_to_move")
    'Urge to move the legs'
    """
    row = knowledge.findings.get(node) or knowledge.causes.get(node)
    return row.name if row is not None else node.replace("_", " ")


def supporting_rows(dx: Diagnosis, cause: str, node: str) -> tuple[TableRow, ...]:
    """Return the numbers behind what a finding, or another cause, says of a cause.

    These are the likelihood rows and links on every path from the cause (to another cause: the
    links on every path between the two, either way), and the finding's background for the age
    and sex of the case.

    Examples
    --------
    >>> from twitchdx.diagnosis import Engine
    >>> dx = Engine.default().diagnose({"urge_to_move": True})
    >>> rows = supporting_rows(dx, "restless_legs_syndrome", "urge_to_move")
    >>> rows[0].cause, rows[0].finding, rows[-1].finding
    ('restless_legs_syndrome', 'urge_to_move', 'urge_to_move')
    """
    knowledge = dx.engine.knowledge
    likelihoods = [
        row
        for row in knowledge.likelihoods
        if row.finding == node and row.cause in downstream(knowledge, cause)
    ]
    ends = {row.cause for row in likelihoods} | {node} & knowledge.causes.keys()
    links = [
        *_links_between(knowledge, cause, ends),
        *(_links_between(knowledge, node, {cause}) if node in knowledge.causes else ()),
    ]
    return (*likelihoods, *dict.fromkeys(links), *background_rows(dx, node))


def background_rows(dx: Diagnosis, node: str) -> tuple[Background | Finding, ...]:
    """Return the background rows of a finding that the strata of a case use; none for a cause."""
    knowledge = dx.engine.knowledge
    if node not in knowledge.findings:
        return ()
    rows = [knowledge.background_row(node, s.sex, s.age_band) for s in case_strata(dx)]
    return tuple(dict.fromkeys(rows))


def prior_rows(dx: Diagnosis, cause: str) -> tuple[Prior, ...]:
    """Return the prevalence rows of a cause that the strata of a case use."""
    rows = [
        dx.engine.knowledge.prior_row(s.population, cause, s.sex, s.age_band)
        for s in case_strata(dx)
    ]
    return tuple(dict.fromkeys(row for row in rows if row is not None))


def case_strata(dx: Diagnosis) -> tuple[Stratum, ...]:
    """Return the strata that the case may belong to."""
    strata = dx.engine.model.strata
    return tuple(s for s, share in zip(strata, dx.case.weights, strict=True) if share > 0)


def _links_between(knowledge: KnowledgeBase, start: str, ends: set[str]) -> Iterator[Link]:
    """Links on the paths from one cause to any of several others."""
    useful = {c for c in downstream(knowledge, start) if ends & downstream(knowledge, c)}
    return (link for link in knowledge.links if link.given in useful and link.cause in useful)
