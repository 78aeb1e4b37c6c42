"""What `carried_by` of claims.csv points to, and whether it is there.

Each part reads ``table:key``: ``links:child<-parent``, ``likelihoods:finding<-cause``,
``measurements:quantity->finding``, ``priors:population/cause``, ``management:cause/line/words``,
``engine:attribute``, ``document:file``, or the id of a row (``findings:``, ``workup:`` ...).
"""

from __future__ import annotations

from functools import reduce
from importlib import import_module
from pathlib import Path

import twitchdx
from twitchdx.diagnosis import Diagnosis, Engine
from twitchdx.tables.knowledge import KnowledgeBase

ROOT = Path(__file__).parents[2]


def missing(carried_by: str, tables: KnowledgeBase) -> list[str]:
    """Return the parts of a `carried_by` cell that point to nothing."""
    parts = [part.strip() for part in carried_by.split(";")]
    return [part for part in parts if part and not _is_there(part, tables)]


def _is_there(part: str, tables: KnowledgeBase) -> bool:
    table, _, key = part.partition(":")
    if table == "links":
        return tuple(key.split("<-")) in {(row.cause, row.given) for row in tables.links}
    if table == "likelihoods":
        return tuple(key.split("<-")) in {(r.finding, r.cause) for r in tables.likelihoods}
    if table == "measurements":
        quantity, finding = key.split("->")
        implied = {row.implies: row.finding for row in tables.implications}
        named = {row.finding for row in tables.measurements if row.quantity == quantity}
        return bool(named & {finding, implied.get(finding)}) or any(
            row.finding in named and row.implies == finding for row in tables.implications
        )
    if table == "priors":
        population, cause = key.split("/")
        chain = tables.base_chain(population)
        return any(row.cause == cause for name in chain for row in tables.priors[name])
    if table == "management":
        return _treatment(*key.split("/", 2), tables=tables)
    if table == "engine":
        return _attribute(key)
    if table == "document":
        return (ROOT / key).is_file()
    return key in getattr(tables, table)


def _treatment(cause: str, line: str, words: str, *, tables: KnowledgeBase) -> bool:
    return any(
        (row.cause, row.line) == (cause, line)
        and words.lower() in f"{row.treatment} {row.caveat or ''}".lower()
        for row in tables.management
    )


def _attribute(path: str) -> bool:
    """Whether the engine has what a dotted path names, such as ``Diagnosis.red_flags``."""
    first, *rest = path.split(".")
    start: object = {"Diagnosis": Diagnosis, "Engine": Engine}.get(first)
    if start is None:
        module, *rest = [first, *rest] if len(rest) == 1 else [f"{first}.{rest[0]}", *rest[1:]]
        start = import_module(f"{twitchdx.__name__}.{module}")
    end = reduce(lambda thing, name: getattr(thing, name, None), rest, start)
    return end is not None
