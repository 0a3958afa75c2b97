"""The members that documents have at a stage of an aggregation, and filters that speak of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from portico.query import ast
from portico.query.bound import Comparison, Conjunction, Disjunction, Negation, Predicate, Related
from portico.query.bound_pipeline import Built, Column, Member
from portico.query.expressions import JSON

Shape = dict[str, "Column | Shape"]
"""The members, in order: each a value, or an object of members."""


def members_of(shape: Shape) -> tuple[Member, ...]:
    """The answer that a shape is."""
    return tuple([Member(name, value if isinstance(value, Column) else members_of(value)) for name, value in shape.items()])


def object_of(shape: Shape) -> Built:
    """A shape as one value."""
    return Built(tuple([(name, value if isinstance(value, Column) else object_of(value)) for name, value in shape.items()]), JSON)


def copied(shape: Shape) -> Shape:
    """A shape of its own, whose columns are the same."""
    return {name: value if isinstance(value, Column) else copied(value) for name, value in shape.items()}


def flattened(shape: Shape, above: str = "") -> Iterator[tuple[str, Column]]:
    """The values of a shape by their dotted names."""
    for name, value in shape.items():
        if isinstance(value, Column):
            yield above + name, value
        else:
            yield from flattened(value, f"{above}{name}.")


def fields_of(predicate: Predicate) -> frozenset[str]:
    """The names that a predicate speaks of."""
    match predicate:
        case Comparison(target):
            return frozenset({target.field.name}) if target.field is not None else frozenset()
        case Negation(child):
            return fields_of(child)
        case Conjunction(children) | Disjunction(children):
            return frozenset().union(*(fields_of(child) for child in children))
        case Related(embedded):
            return frozenset({embedded.name})


def renamed(node: ast.Node, flat: dict[str, Column]) -> ast.Node:
    """A filter in which every path that leads through objects is the dotted name of its value."""
    match node:
        case ast.And(children):
            return ast.And(tuple([renamed(child, flat) for child in children]))
        case ast.Or(children):
            return ast.Or(tuple([renamed(child, flat) for child in children]))
        case ast.Not(child):
            return ast.Not(renamed(child, flat))
        case ast.Condition():
            # The condition of an element speaks of the element, not of the documents.
            return replace(node, path=_dotted(node.path, flat))


def _dotted(path: ast.Path, flat: dict[str, Column]) -> ast.Path:
    names = [path.name, *(str(step) for step in path.steps)]
    for length in range(len(names), 1, -1):
        name = ".".join(names[:length])
        if name in flat:
            return replace(path, name=name, steps=path.steps[length - 1 :])
    return path
