"""Random filters that can be written in both syntaxes: a wish is drawn once, and rendered as a query string and as JSON.

Tests of engines draw them too: `filters(...)`, then `as_json`, `mongo.parse_filter`, `bind_filter`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from hypothesis import strategies as st

Json = str | int | float | bool


@dataclass(frozen=True)
class Compare:
    """`field operator value`; a dotted field is a place inside JSON. `value` is a list for `in` and arrays, None with `null`."""

    field: str
    operator: str
    value: object = None
    array: bool = False


@dataclass(frozen=True)
class Group:
    """Wishes joined by `and` or `or`; `nor` and a negated `and` are `negated`."""

    joined: Literal["and", "or"]
    children: tuple[Wish, ...]
    negated: bool = False


Wish = Compare | Group

_JSON_OPERATORS = {"eq": "$eq", "neq": "$ne", "gt": "$gt", "gte": "$gte", "lt": "$lt", "lte": "$lte", "in": "$in", "nin": "$nin"}
_JSON_OPERATORS |= {"like": "$like", "ilike": "$ilike", "match": "$regex", "cs": "$contains", "ov": "$overlap"}

texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8)
_words = st.sampled_from(
    ["", "a", "b", "ab", "A", "é", "É", "a b", "a,b", 'q"q', "back\\slash", "(p)", "{x}", "%", "_", "*", "null", "5", "true"]
)
strings = _words | texts
integers = st.integers(-5, 5) | st.integers(-(2**31), 2**31 - 1)
_likes = st.lists(st.sampled_from(["a", "b", "é", "É", "σ", "Σ", "ß", "ẞ", "i", "İ", "I", "k", "%", "_", "\\%", "\\_"]), max_size=5).map(
    "".join
)
_patterns = st.sampled_from(
    ["a", "^a", "b$", "a.b", "[ab]+", "(a|b)c?", "(?i)A", "(?i)^σ", "(?i)[i-k]", "^$", "\\d+", "a{1,2}", "[^a]", "\\s", "(?i)ß"]
)
totals = st.sampled_from([0, 1, -1, 2.5, 19.99, -0.01, 1.999, 9999999999.99]) | st.integers(-5, 5)
rates = st.sampled_from([0, 0.1, -0.5, 2.5, 1e300, -1e300, 5e-324]) | st.floats(allow_nan=False, allow_infinity=False)
bigs = st.sampled_from([2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 0, 1])
days = st.sampled_from(["0001-01-01", "1999-12-31", "2024-02-29", "9999-12-31"])
moments = st.sampled_from(
    [
        "0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z", "2024-02-29T12:30:00.5Z", "2024-02-29T14:30:00.5+02:00",
        "2024-02-29T12:30:00.500001Z", "9999-12-31T23:59:59.999999Z",
    ]
)  # fmt: skip
uuids = st.sampled_from(
    ["00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-00000000000A", "ffffffff-ffff-4fff-bfff-ffffffffffff"]
)
_ordering = st.sampled_from(["eq", "neq", "gt", "gte", "lt", "lte"])


def _comparisons(field: str, values: st.SearchStrategy[Json]) -> st.SearchStrategy[Compare]:
    lists = st.lists(values, max_size=3)
    return (
        st.builds(Compare, st.just(field), _ordering, values)
        | st.builds(Compare, st.just(field), st.sampled_from(["in", "nin"]), lists)
        | st.builds(Compare, st.just(field), st.sampled_from(["null", "not_null"]))
    )


def _arrays(field: str, values: st.SearchStrategy[Json]) -> st.SearchStrategy[Compare]:
    return st.builds(Compare, st.just(field), st.sampled_from(["cs", "ov", "eq", "neq"]), st.lists(values, max_size=3), st.just(True))


def comparisons(arrays: bool = True) -> st.SearchStrategy[Compare]:
    """Conditions on the fields of the sample invoices. `arrays` False leaves out array fields."""
    inside = st.sampled_from(["eq", "neq", "gt", "gte", "lt", "lte"])
    found = st.one_of(
        _comparisons("status", strings),
        _comparisons("number", integers),
        _comparisons("paid", st.booleans()),
        _comparisons("total", totals),
        _comparisons("rate", rates),
        _comparisons("big", bigs),
        _comparisons("due", days),
        _comparisons("created_at", moments),
        _comparisons("id", uuids),
        st.builds(Compare, st.sampled_from(["status", "metadata.lang"]), st.sampled_from(["like", "ilike"]), _likes),
        st.builds(Compare, st.just("status"), st.just("match"), _patterns),
        st.builds(Compare, st.sampled_from(["metadata.n", "metadata.a.b", "metadata.list.0"]), inside, integers | strings | st.booleans()),
    )
    return found | _arrays("tags", strings) | _arrays("scores", integers) if arrays else found


def filters(*, arrays: bool = True) -> st.SearchStrategy[Wish]:
    """Filters over the sample invoices, a few levels deep."""
    leaves: st.SearchStrategy[Wish] = comparisons(arrays)
    return st.recursive(
        leaves,
        lambda inner: st.builds(Group, st.sampled_from(["and", "or"]), st.lists(inner, min_size=1, max_size=3).map(tuple), st.booleans()),
        max_leaves=6,
    )


def as_json(wish: Wish) -> dict[str, object]:
    """The filter with MongoDB's operators, as an object."""
    if isinstance(wish, Group):
        children = [as_json(child) for child in wish.children]
        if wish.joined == "or":
            return {"$nor" if wish.negated else "$or": children}
        return {"$not": {"$and": children}} if wish.negated else {"$and": children}
    if wish.operator == "null":
        return {wish.field: None}
    if wish.operator == "not_null":
        return {wish.field: {"$ne": None}}
    return {wish.field: {_JSON_OPERATORS[wish.operator]: wish.value}}


def as_query_string(wish: Wish) -> str:
    """The filter as one parameter of a query string, percent-encoded."""
    name, value = f"{'not.' if wish.negated else ''}{wish.joined}" if isinstance(wish, Group) else "and", _members(wish)
    return f"{name}={quote(value, safe='')}"


def as_parameter(wish: Compare) -> str:
    """The condition as a parameter of its own, without the quoting of logic trees."""
    if wish.operator in {"null", "not_null"} or isinstance(wish.value, list):
        return f"{quote(_path(wish.field), safe='')}={quote(_condition(wish), safe='')}"
    value = wish.value
    text = json.dumps(value) if "." in wish.field and wish.operator not in {"like", "ilike"} else _plain(value)
    return f"{quote(_path(wish.field), safe='')}={quote(wish.operator + '.' + text, safe='')}"


def _members(wish: Wish) -> str:
    children = wish.children if isinstance(wish, Group) else (wish,)
    return f"({','.join(_nested(child) for child in children)})"


def _nested(wish: Wish) -> str:
    if isinstance(wish, Group):
        return f"{'not.' if wish.negated else ''}{wish.joined}{_members(wish)}"
    return f"{_path(wish.field)}.{_condition(wish)}"


def _condition(wish: Compare) -> str:
    if wish.operator in {"null", "not_null"}:
        return f"is.{wish.operator}"
    if wish.array and isinstance(wish.value, list):
        return f"{wish.operator}.{{{','.join(_quoted(_plain(item)) for item in wish.value)}}}"
    if isinstance(wish.value, list):
        operator = "not.in" if wish.operator == "nin" else "in"
        return f"{operator}.({','.join(_quoted(_plain(item)) for item in wish.value)})"
    value = wish.value
    bare = "." in wish.field and not isinstance(value, str)
    return f"{wish.operator}.{_plain(value) if bare else _quoted(_plain(value))}"


def _path(field: str) -> str:
    return "->".join(field.split("."))


def _plain(value: object) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
