"""What both syntaxes share when they write a tree: the list of values beside it, and conditions on lists and null."""

from __future__ import annotations

from decimal import Decimal

from portico.query.ast import Condition, Node, Not, Operator, Or, Path, Slot, Written


class Slots:
    """The values read so far, in order."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: list[object] = []

    def add(self, value: object, written: Written) -> Slot:
        """The slot of a further value."""
        self.values.append(value)
        return Slot(len(self.values) - 1, written)

    def add_json(self, value: object) -> Slot:
        """The slot of a further JSON value."""
        return self.add(value, written_as(value))


def written_as(value: object) -> Written:
    """How a JSON value other than null was written."""
    match value:
        case bool():
            return Written.BOOLEAN
        case int() | Decimal() | float():
            return Written.NUMBER
        case list():
            return Written.ARRAY
        case dict():
            return Written.OBJECT
        case _:
            return Written.STRING


def value_condition(path: Path, operator: Operator, value: object, slots: Slots) -> Node | None:
    """``path operator value`` for a JSON value. Equality with null is `is null`; None where null has no such comparison."""
    if value is not None:
        return Condition(path, operator, slots.add_json(value))
    if operator is Operator.EQ:
        return Condition(path, Operator.IS_NULL)
    if operator in {Operator.NEQ, Operator.IS_DISTINCT}:
        return Not(Condition(path, Operator.IS_NULL))
    return None


def list_condition(path: Path, values: list[object], slots: Slots) -> Node:
    """``path in values`` for JSON values: one list for each kind of value, because kinds compare differently inside JSON."""
    kinds: dict[Written, list[object]] = {}
    nodes: list[Node] = []
    for value in values:
        if value is not None:
            kinds.setdefault(written_as(value), []).append(value)
    for written, members in kinds.items():
        if written in {Written.ARRAY, Written.OBJECT}:
            nodes.extend(Condition(path, Operator.EQ, slots.add(member, written)) for member in members)
        else:
            nodes.append(Condition(path, Operator.IN, slots.add(members, written)))
    if any(value is None for value in values):
        nodes.append(Condition(path, Operator.IS_NULL))
    if not nodes:
        return Condition(path, Operator.IN, slots.add([], Written.STRING))
    return nodes[0] if len(nodes) == 1 else Or(tuple(nodes))
