"""The one grammar of patterns (`match`, `$regex`, `pattern:`), checked here and translated for each engine."""

from __future__ import annotations


def check(pattern: str) -> None:
    """Raises InvalidValue for a pattern outside of the grammar."""


def fold(pattern: str) -> str:
    """The pattern, ignoring case."""
    return pattern if pattern.startswith("(?i)") else "(?i)" + pattern
