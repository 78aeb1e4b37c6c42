"""The tables: what each holds, reading, checking, and joining them into a `KnowledgeBase`."""

from twitchdx.tables.knowledge import KnowledgeBase, default_tables, read_tables

__all__ = ["KnowledgeBase", "default_tables", "read_tables"]
