"""Bounds how often a pipeline repeats its values: a text that each stage doubles has a million times its length after twenty."""

from __future__ import annotations

from collections import Counter

from portico.errors import OutOfRange
from portico.query.bound_pipeline import Built, Calculation, Column, Place, Value
from portico.query.shapes import Shape

MOST_COPIES = 100
"""How many times as long as what is stored a value may be made."""


class Growth:
    """How many stored values each column may hold behind each other, at most."""

    def __init__(self) -> None:
        self._copies: dict[str, int] = {}

    def note(self, column: Column, value: Value | None) -> None:
        """`column` holds `value`. Raises OutOfRange where it repeats what is stored too often."""
        copies = self._of(value) if value is not None else 1
        if copies > MOST_COPIES:
            raise OutOfRange(f"The pipeline makes a value that is more than {MOST_COPIES} times as long as what it is made of.")
        if copies > 1:
            self._copies[column.id] = copies

    def _of(self, value: Value) -> int:
        match value:
            case Column(id):
                return self._copies.get(id, 1)
            case Place(column):
                return self._copies.get(column.id, 1)
            case Calculation("concat", arguments):
                return sum(self._of(argument) for argument in arguments)
            case Calculation(_, arguments):
                return max((self._of(argument) for argument in arguments), default=1)
            case Built():
                # Different members are as long as what is stored; the same one twice is twice as long.
                found: Counter[object] = Counter()
                for leaf in _leaves(value):
                    found[_source(leaf)] += self._of(leaf)
                return max(found.values(), default=1)
        return 1


def _source(leaf: Value) -> object:
    """What tells whether two members are made of the same column."""
    match leaf:
        case Column(id):
            return id
        case Place(column):
            return column.id
    return object()


def _leaves(value: Built) -> list[Value]:
    return [leaf for _, inner in value.members for leaf in (_leaves(inner) if isinstance(inner, Built) else [inner])]


def check_size(shape: Shape, most: int) -> None:
    """Raises OutOfRange where the documents have more than `most` members at any depth. A part that stands twice is walked once."""
    sizes: dict[int, int] = {}

    def size(part: Shape) -> int:
        if id(part) not in sizes:
            sizes[id(part)] = sum(1 if isinstance(inner, Column) else size(inner) for inner in part.values())
        return sizes[id(part)]

    if size(shape) > most:
        raise OutOfRange(f"The pipeline makes documents of more than {most} members.")


__all__ = ["Growth", "check_size"]
