"""Statements of the seed articles, executed against the engine."""
