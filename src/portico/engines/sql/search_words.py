"""What the search of both SQL engines shares: how fields are weighted, and the words that say whose a document is."""

from __future__ import annotations

from collections.abc import Mapping

from portico.model.collection import Search
from portico.query.scoped import OwnerRule, ParentRule, ScopeRule

MARK = "\x01"
"""Begins the words that nobody can type: no text search parser lets a control character into a word."""

COLLECTION, CLIENT, OWNER = "t:", "c:", "u:"
LABELS = "ABCD"
"""PostgreSQL's four weights, the heaviest first."""


def weights(search: Search) -> tuple[float, ...]:
    """The weight of each label that is used, the heaviest first. More than four different ones share the last."""
    given: Mapping[str, float] = dict(search.weights)
    return tuple(sorted({given.get(name, 1.0) for name in search.fields}, reverse=True)[: len(LABELS)])


def labels(search: Search) -> dict[str, int]:
    """For each field, the place of its label."""
    given: Mapping[str, float] = dict(search.weights)
    steps = weights(search)
    return {name: steps.index(value) if (value := given.get(name, 1.0)) in steps else len(steps) - 1 for name in search.fields}


def is_owned(rule: ScopeRule) -> bool:
    """Whether a collection's documents belong to users, by themselves or by a parent."""
    return is_owned(rule.rule) if isinstance(rule, ParentRule) else isinstance(rule, OwnerRule)
