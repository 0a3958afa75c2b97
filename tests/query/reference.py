"""What a bound query means, said in plain Python over rows in memory: engines are compared with it.

A row is a dictionary of field names to values: as parameters have them, and parsed JSON in JSON fields. Logic has three values: True,
False, and None for unknown. A comparison with a value that is missing, null, or inside JSON of another type, is unknown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cmp_to_key
from itertools import islice
from typing import cast

import re2

from portico.model.field import Base
from portico.query.ast import Operator
from portico.query.bound import BoundQuery, Comparison, Conjunction, Negation, Order, Parameter, Predicate, Related, Target
from portico.query.json_text import read_json, write_json
from portico.query.patterns import to_re2

Row = Mapping[str, object]
Truth = bool | None
_MISSING = object()


def select(query: BoundQuery, rows: Iterable[Row], values: Sequence[object]) -> list[Row]:
    """The rows that the query answers, in its order, from its cursor or offset to its limit. Relations and aggregates are left out."""
    found = [row for row in rows if query.filter is None or matches(query.filter, row, values) is True]
    found.sort(key=cmp_to_key(lambda one, other: _compare_rows(query.order, one, other)))
    if query.keyset is not None:
        after = [None if item is None else values[item.index] for item in query.keyset.values]
        found = [row for row in found if _compare_keys(query.order, [_ordering(item, row) for item in query.order], after) > 0]
    start = cast("int", values[query.offset.index]) if query.offset is not None else 0
    end = start + cast("int", values[query.limit.index]) if query.limit is not None else None
    return list(islice(found, start, end))


def order_values(query: BoundQuery, row: Row) -> list[object]:
    """The row's ordering values: what its cursor holds."""
    return [_ordering(item, row) for item in query.order]


def matches(predicate: Predicate, row: Row, values: Sequence[object]) -> Truth:
    """Whether the row meets the predicate; None is unknown."""
    return _evaluate(predicate, row, _MISSING, values)


def _evaluate(predicate: Predicate, row: Row, element: object, values: Sequence[object]) -> Truth:
    if isinstance(predicate, Comparison):
        return _comparison(predicate, row, element, values)
    if isinstance(predicate, Negation):
        truth = _evaluate(predicate.child, row, element, values)
        return None if truth is None else not truth
    if isinstance(predicate, Related):
        raise AssertionError("rows stand alone here")  # noqa: TRY004 - a fault of the test, not of a type
    truths = [_evaluate(child, row, element, values) for child in predicate.children]
    decisive = not isinstance(predicate, Conjunction)
    if decisive in truths:
        return decisive
    return None if None in truths else not decisive


def _comparison(node: Comparison, row: Row, element: object, values: Sequence[object]) -> Truth:
    operator = node.operator
    if operator is Operator.EXISTS:
        return _raw(node.target, row, element) is not _MISSING
    value = _typed(node.target, row, element)
    if operator is Operator.IS_NULL:
        return value is None
    if operator in {Operator.IS_TRUE, Operator.IS_FALSE, Operator.IS_UNKNOWN}:
        return value is {Operator.IS_TRUE: True, Operator.IS_FALSE: False, Operator.IS_UNKNOWN: None}[operator]
    if operator is Operator.ELEM_MATCH:
        if not isinstance(value, list) or node.inner is None:
            return None
        return any(_evaluate(node.inner, row, item, values) is True for item in value)
    given = _given(node.value, node.target, values)
    if operator is Operator.IS_DISTINCT:
        return value is None or not _equal(value, given)
    if operator is Operator.IN or node.quantifier is not None:
        return _against_many(node, value, cast("list[object]", given))
    return None if value is None else _holds(operator, value, given)


def _against_many(node: Comparison, value: object, given: list[object]) -> Truth:
    """`in`, `(any)` and `(all)`; nothing is in an empty list, not even null."""
    every = node.quantifier == "all"
    if not given:
        return every
    if value is None:
        return None
    operator = Operator.EQ if node.operator is Operator.IN else node.operator
    truths = [_holds(operator, value, item) for item in given]
    return all(truths) if every else any(truths)


def _holds(operator: Operator, value: object, given: object) -> Truth:
    match operator:
        case Operator.EQ:
            return _equal(value, given)
        case Operator.NEQ:
            return not _equal(value, given)
        case Operator.GT | Operator.GTE | Operator.LT | Operator.LTE:
            sign = _compare(value, given)
            return {Operator.GT: sign > 0, Operator.GTE: sign >= 0, Operator.LT: sign < 0, Operator.LTE: sign <= 0}[operator]
        case Operator.LIKE | Operator.ILIKE:
            return _like(str(value), str(given), ignore_case=operator is Operator.ILIKE)
        case Operator.MATCH:
            return re2.search(to_re2(str(given)), str(value)) is not None
        case Operator.SIZE:
            return len(value) == given if isinstance(value, list) else None
        case Operator.CONTAINS:
            return _contains(value, given)
        case Operator.CONTAINED:
            return _contains(given, value)
        case Operator.OVERLAPS:
            return any(_equal(one, other) for one in cast("list[object]", value) for other in cast("list[object]", given))
        case _:
            raise NotImplementedError(f"the reference does not say what {operator} means")


def _given(parameter: Parameter | None, target: Target, values: Sequence[object]) -> object:
    assert parameter is not None, "these operators take a value"
    value = values[parameter.index]
    is_json = target.type.base is Base.JSON and not target.type.array and isinstance(value, str)
    return read_json(value) if is_json and isinstance(value, str) else value


def _raw(target: Target, row: Row, element: object) -> object:
    """The value at the target's place; `_MISSING` where there is nothing, which in a column is null."""
    value = element if target.field is None else row.get(target.field.name)
    if value is None and not target.steps:
        return _MISSING
    for step in target.steps:
        if isinstance(value, dict) and str(step) in value:
            value = value[str(step)]
        elif isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return _MISSING
    return value


def _typed(target: Target, row: Row, element: object) -> object:
    value = _raw(target, row, element)
    if value is _MISSING or value is None:
        return None
    is_inside = bool(target.steps) or (target.element and not target.type.array)
    if not is_inside:
        return value
    if target.as_text:
        return value if isinstance(value, str) else _text_of(value)
    match target.type.base:
        case Base.FLOAT:
            return _double(value)
        case Base.BOOLEAN:
            return value if isinstance(value, bool) else None
        case Base.STRING:
            return value if isinstance(value, str) else None
        case _:
            return value


def _text_of(value: object) -> str:
    """JSON as PostgreSQL's `jsonb` writes it."""
    if isinstance(value, dict):
        members = sorted(value.items(), key=lambda item: (len(item[0].encode()), item[0].encode()))
        return "{" + ", ".join(f"{write_json(key)}: {_text_of(member)}" for key, member in members) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_text_of, value)) + "]"
    return format(value or abs(value), "f") if isinstance(value, Decimal) else write_json(value)


def _double(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _equal(one: object, other: object) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_equal(left, right) for left, right in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    return one == other


def _contains(whole: object, part: object) -> bool:
    """PostgreSQL's ``@>``: of arrays as sets, and of JSON."""
    if isinstance(whole, dict) and isinstance(part, dict):
        return all(key in whole and _contains(whole[key], part[key]) for key in part)
    if isinstance(whole, list) and isinstance(part, list):
        return all(any(_contains(item, wanted) for item in whole) for wanted in part)
    if isinstance(whole, list) and not isinstance(part, dict):
        return any(_equal(item, part) for item in whole)
    return _equal(whole, part)


def _like(text: str, pattern: str, *, ignore_case: bool) -> bool:
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    expression = "".join({"%": ".*", "_": "."}.get(part) or re.escape(part.removeprefix("\\") or "\\") for part in parts)
    return re.fullmatch(expression, text, re.DOTALL | (re.IGNORECASE if ignore_case else re.NOFLAG)) is not None


def _compare(one: object, other: object) -> int:
    """Below zero, zero or above it. Text is ordered by its code points."""
    if _equal(one, other):
        return 0
    return 1 if cast("Callable[[object], bool]", one.__gt__)(other) is True else -1  # type: ignore[operator]


def _ordering(order: Order, row: Row) -> object:
    return _typed(order.target, row, _MISSING)


def _compare_rows(order: Sequence[Order], one: Row, other: Row) -> int:
    return _compare_keys(order, [_ordering(item, one) for item in order], [_ordering(item, other) for item in order])


def _compare_keys(order: Sequence[Order], ones: Sequence[object], others: Sequence[object]) -> int:
    for item, one, other in zip(order, ones, others, strict=True):
        if one is None and other is None:
            continue
        if one is None or other is None:
            return -1 if (one is None) == item.nulls_first else 1
        sign = _compare(one, other)
        if sign:
            return -sign if item.descending else sign
    return 0
