"""Which table rows stand behind the relation of a cause to a finding."""

from __future__ import annotations

from collections.abc import Iterator

from twitchdx.tables import KnowledgeBase
from twitchdx.tables.schema import Likelihood, Link


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


def supporting_rows(
    knowledge: KnowledgeBase, cause: str, node: str
) -> tuple[Likelihood | Link, ...]:
    """Return the likelihood rows and links on every path from a cause to a finding or cause.

    Examples
    --------
    >>> from twitchdx.tables import default_tables
    >>> rows = supporting_rows(default_tables(), "restless_legs_syndrome", "urge_to_move")
    >>> [row.cause for row in rows if row.cause == "restless_legs_syndrome"]
    ['restless_legs_syndrome']
    """
    reached = downstream(knowledge, cause)
    direct = [row for row in knowledge.likelihoods if row.finding == node and row.cause in reached]
    ends = {row.cause for row in direct} | ({node} & reached)
    useful = {c for c in reached if ends & downstream(knowledge, c)}
    return (*_links_within(knowledge, useful), *direct)


def _links_within(knowledge: KnowledgeBase, causes: set[str]) -> Iterator[Link]:
    return (link for link in knowledge.links if link.given in causes and link.cause in causes)
