"""Filters written with MongoDB's operators, as JSON objects. Their meaning is SQL's: a comparison with null is unknown."""

from __future__ import annotations

from collections.abc import Callable

from portico.errors import InvalidRequest, OutOfRange, UnknownOperator
from portico.query.ast import And, Condition, Node, Not, Operator, Or, Path, Slot, Written
from portico.query.slots import Slots, list_condition, value_condition

MAX_NESTING = 64
"""How deep filters may nest before they are parsed at all; `bind` holds the real limit."""

ELEMENT = Path("")
"""The element that a condition inside of `$elemMatch` looks at."""

_COMPARISONS = {
    "$eq": Operator.EQ,
    "$ne": Operator.NEQ,
    "$gt": Operator.GT,
    "$gte": Operator.GTE,
    "$lt": Operator.LT,
    "$lte": Operator.LTE,
}
_PATTERNS = {"$like": Operator.LIKE, "$ilike": Operator.ILIKE}
_CONTAINMENT = {"$contains": Operator.CONTAINS, "$overlap": Operator.OVERLAPS}
_GROUPS = ("$and", "$or", "$nor")
_FIELD_OPERATORS = (
    *_COMPARISONS,
    *_PATTERNS,
    *_CONTAINMENT,
    "$in",
    "$nin",
    "$not",
    "$exists",
    "$regex",
    "$options",
    "$elemMatch",
    "$size",
    "$text",
)


def parse_filter(filter: object, slots: Slots | None = None) -> tuple[Node | None, tuple[object, ...]]:  # noqa: A002
    """Parse a filter alone.

    Args:
        filter: the parsed JSON object. slots: where its values go, if others stand before them.
    Returns:
        the tree, None for an empty filter; and the values of its slots.
    Raises:
        UnknownOperator: an operator is unknown. InvalidRequest: the filter is malformed. OutOfRange: it nests too deeply.
    """
    slots = slots if slots is not None else Slots()
    if not isinstance(filter, dict):
        raise InvalidRequest("A filter is an object.")
    nodes = _members(filter, slots, 1)
    return _all(nodes) if nodes else None, tuple(slots.values)


def parse_path(text: str) -> Path:
    """The place that a dotted name means: a field, then keys and indexes inside of its JSON. Raises InvalidRequest."""
    name, *steps = text.split(".")
    if not name or not all(steps):
        raise InvalidRequest(f"The name {text[:64]!r} is malformed.", details={"field": text[:64]})
    return Path(name, _steps(steps))


def _steps(steps: list[str]) -> tuple[str | int, ...]:
    return tuple(int(step) if step.isascii() and step.isdigit() and len(step) <= 9 else step for step in steps)


def _element_path(text: str) -> Path:
    steps = text.split(".")
    if not all(steps):
        raise InvalidRequest(f"The name {text[:64]!r} is malformed.", details={"field": text[:64]})
    return Path("", _steps(steps))


def _members(members: dict[str, object], slots: Slots, depth: int, path_of: Callable[[str], Path] = parse_path) -> list[Node]:
    """The conditions of one object: groups, and fields with what they must meet."""
    if depth > MAX_NESTING:
        raise OutOfRange(f"The filter nests deeper than {MAX_NESTING}.")
    nodes: list[Node] = []
    for name, value in members.items():
        if name in _GROUPS:
            nodes.append(_group(name, value, slots, depth, path_of))
        elif name == "$not":
            nodes.append(Not(_object(value, "$not", slots, depth, path_of)))
        elif name == "$text" and path_of is parse_path:
            nodes.append(_text(ELEMENT, value, slots))
        elif name.startswith("$"):
            raise _unknown(name, (*_GROUPS, "$not", "$text"))
        else:
            nodes.append(_field(path_of(name), name, value, slots, depth))
    return nodes


def _group(name: str, value: object, slots: Slots, depth: int, path_of: Callable[[str], Path]) -> Node:
    if not isinstance(value, list) or not value:
        raise InvalidRequest(f"{name} takes an array of at least one filter.", details={"operator": name})
    children = tuple([_object(child, name, slots, depth, path_of) for child in value])
    if name == "$and":
        return And(children)
    return Or(children) if name == "$or" else Not(Or(children))


def _object(value: object, name: str, slots: Slots, depth: int, path_of: Callable[[str], Path]) -> Node:
    nodes = _members(value, slots, depth + 1, path_of) if isinstance(value, dict) else []
    if not nodes:
        raise InvalidRequest(f"{name} takes filters that are objects and not empty.", details={"operator": name})
    return _all(nodes)


def _field(path: Path, name: str, value: object, slots: Slots, depth: int) -> Node:
    if _is_operators(value, name) and isinstance(value, dict):
        return _all(_operators(path, name, value, slots, depth))
    return _value(path, Operator.EQ, name, value, slots)


def _operators(path: Path, name: str, operators: dict[str, object], slots: Slots, depth: int) -> list[Node]:
    """What one field must meet: ``{"$gt": 1, "$lt": 5}``."""
    if depth > MAX_NESTING:
        raise OutOfRange(f"The filter nests deeper than {MAX_NESTING}.")
    if "$options" in operators and "$regex" not in operators:
        raise InvalidRequest("$options belongs to $regex.", details={"field": name[:64]})
    nodes: list[Node] = []
    for operator, value in operators.items():
        if operator == "$regex":
            nodes.append(_regex(path, value, operators.get("$options", ""), slots))
        elif operator != "$options":
            nodes.append(_operator(path, name, operator, value, slots, depth))
    return nodes


def _operator(path: Path, name: str, operator: str, value: object, slots: Slots, depth: int) -> Node:
    if operator in _COMPARISONS:
        return _value(path, _COMPARISONS[operator], name, value, slots)
    if operator in _PATTERNS:
        return Condition(path, _PATTERNS[operator], _string(value, operator, slots))
    if operator in _CONTAINMENT:
        return Condition(path, _CONTAINMENT[operator], slots.add_json(_some(value, operator)))
    if operator == "$size":
        return Condition(path, Operator.SIZE, slots.add_json(_some(value, operator)))
    if operator in {"$in", "$nin"}:
        found = _list(path, operator, value, slots)
        return found if operator == "$in" else Not(found)
    return _structural(path, name, operator, value, slots, depth)


def _structural(path: Path, name: str, operator: str, value: object, slots: Slots, depth: int) -> Node:
    """The operators that take something else than a value."""
    match operator:
        case "$exists" if isinstance(value, bool):
            exists = Condition(path, Operator.EXISTS)
            return exists if value else Not(exists)
        case "$not" if isinstance(value, dict) and _is_operators(value, name):
            return Not(_all(_operators(path, name, value, slots, depth + 1)))
        case "$elemMatch":
            return Condition(path, Operator.ELEM_MATCH, inner=_elements(value, name, slots, depth + 1))
        case "$text":
            return _text(path, value, slots)
        case "$exists":
            raise InvalidRequest("$exists takes true or false.", details={"operator": operator})
        case "$not":
            raise InvalidRequest("$not takes an object of operators.", details={"operator": operator})
        case _:
            raise _unknown(operator, _FIELD_OPERATORS)


def _elements(value: object, name: str, slots: Slots, depth: int) -> Node:
    """What one element must meet: operators on itself, or conditions on its members."""
    if not isinstance(value, dict) or not value:
        raise InvalidRequest("$elemMatch takes an object that is not empty.", details={"operator": "$elemMatch"})
    if all(key.startswith("$") and key not in _GROUPS for key in value):
        return _all(_operators(ELEMENT, name, value, slots, depth))
    return _all(_members(value, slots, depth, _element_path))


def _regex(path: Path, value: object, options: object, slots: Slots) -> Node:
    if not isinstance(options, str) or options not in {"", "i"}:
        raise InvalidRequest("$options takes i, or nothing.", details={"operator": "$options"})
    operator = Operator.IMATCH if options == "i" else Operator.MATCH
    return Condition(path, operator, _string(value, "$regex", slots))


def _text(path: Path, value: object, slots: Slots) -> Node:
    """``{"$text": "late fee"}`` or ``{"$text": {"$search": "late fee", "$language": "english"}}``, in web search's grammar."""
    language: object = None
    if isinstance(value, dict):
        for key in value:
            if key not in {"$search", "$language"}:
                raise _unknown(key, ("$search", "$language"))
        language, value = value.get("$language"), value.get("$search")
    if language is not None and not (isinstance(language, str) and language.isidentifier() and language.isascii() and len(language) <= 63):
        raise InvalidRequest("$language is the name of a text search configuration.", details={"operator": "$language"})
    return Condition(path, Operator.WFTS, _string(value, "$text", slots), language=language if isinstance(language, str) else None)


def _list(path: Path, operator: str, value: object, slots: Slots) -> Node:
    if not isinstance(value, list):
        raise InvalidRequest(f"{operator} takes an array.", details={"operator": operator})
    return list_condition(path, [_plain(item, operator) for item in value], slots)


def _value(path: Path, operator: Operator, name: str, value: object, slots: Slots) -> Node:
    node = value_condition(path, operator, _plain(value, name), slots)
    if node is None:
        raise InvalidRequest(f"Null has no order, so nothing of {name[:64]!r} is above or below it.", details={"field": name[:64]})
    return node


def _string(value: object, operator: str, slots: Slots) -> Slot:
    if not isinstance(value, str):
        raise InvalidRequest(f"{operator} takes a string.", details={"operator": operator})
    return slots.add(value, Written.STRING)


def _is_operators(value: object, name: str) -> bool:
    """Whether a value is an object of operators. Raises InvalidRequest where it is half of one."""
    if not isinstance(value, dict) or not value:
        return False
    dollars = len([key for key in value if key.startswith("$")])
    if 0 < dollars < len(value):
        raise InvalidRequest(f"The object for {name[:64]!r} mixes operators and keys.", details={"field": name[:64]})
    return dollars > 0


def _some(value: object, operator: str) -> object:
    if value is None:
        raise InvalidRequest(f"{operator} does not take null.", details={"operator": operator})
    return _plain(value, operator)


def _plain(value: object, name: str) -> object:
    """The value, if it is one. Raises InvalidRequest for an object with operators anywhere in it."""
    if isinstance(value, dict):
        for key, member in value.items():
            if key.startswith("$"):
                raise InvalidRequest(f"An operator stands where {name[:64]!r} needs a value.", details={"field": name[:64]})
            _plain(member, name)
    elif isinstance(value, list):
        for member in value:
            _plain(member, name)
    return value


def _all(nodes: list[Node]) -> Node:
    return nodes[0] if len(nodes) == 1 else And(tuple(nodes))


def _unknown(operator: str, known: tuple[str, ...]) -> UnknownOperator:
    return UnknownOperator(
        f"There is no operator {operator[:64]!r} here.", hint=f"Operators: {', '.join(known)}.", details={"operator": operator[:64]}
    )
