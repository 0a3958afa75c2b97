"""The JSON body of a query: filter, fields, sort, page, includes."""

from __future__ import annotations

from portico.errors import InvalidRequest, OutOfRange
from portico.query.ast import CountMode, Embed, Node, Ordered, Parsed, Path, Query, Selected, Slot
from portico.query.nearest import refuse_unknown
from portico.query.slots import Slots
from portico.syntax.mongo.filters import parse_filter, parse_path

MAX_NESTING = 32
"""How deep includes may nest before they are parsed at all; `bind` holds the real limit."""

_MEMBERS = ("filter", "fields", "sort", "limit", "offset", "cursor", "include", "count")
_INCLUDED_MEMBERS = ("filter", "fields", "sort", "limit", "offset", "include", "relation", "hint", "inner")
_COUNTS: dict[str, CountMode] = {"exact": "exact", "planned": "planned", "estimated": "estimated"}
_DIRECTIONS = {"asc": False, "desc": True}
_NULLS = {"first": True, "last": False}


def parse(body: object) -> Parsed:
    """Parse the body of a query.

    Args:
        body: the parsed JSON object, with any of `filter`, `fields`, `sort`, `limit`, `offset`, `cursor`, `include`, `count`.
    Raises:
        UnknownParameter, UnknownOperator: an unknown member or operator, named. InvalidRequest: malformed. OutOfRange: too deep.
    """
    if not isinstance(body, dict):
        raise InvalidRequest("The body of a query is an object.")
    refuse_unknown(body, _MEMBERS)
    slots = Slots()
    query = _query(body, slots, 1)
    return Parsed(query, tuple(slots.values))


def _query(body: dict[str, object], slots: Slots, depth: int) -> Query:
    if depth > MAX_NESTING:
        raise OutOfRange(f"The includes nest deeper than {MAX_NESTING}.")
    node: Node | None = None
    if body.get("filter") is not None:
        node, _ = parse_filter(body["filter"], slots)
    select: tuple[Selected | Embed, ...] | None = _fields(body.get("fields"))
    order = _sort(body.get("sort"))
    limit, offset, cursor = (_slot(body.get(name), slots) for name in ("limit", "offset", "cursor"))
    embeds = _includes(body.get("include"), slots, depth)
    if embeds:
        select = (*(select if select is not None else (Selected(Path("*")),)), *embeds)
    return Query(select, node, order, limit, offset, cursor, _count(body.get("count")))


def _slot(value: object, slots: Slots) -> Slot | None:
    return None if value is None else slots.add_json(value)


def _fields(fields: object) -> tuple[Selected | Embed, ...] | None:
    if fields is None:
        return None
    if not isinstance(fields, list) or not all(isinstance(name, str) for name in fields):
        raise InvalidRequest("'fields' is an array of names.", details={"parameter": "fields"})
    return tuple([Selected(Path("*") if name == "*" else parse_path(name)) for name in fields])


def _sort(sort: object) -> tuple[Ordered, ...]:
    if sort is None:
        return ()
    if not isinstance(sort, list):
        raise InvalidRequest("'sort' is an array of names, descending with a minus before.", details={"parameter": "sort"})
    return tuple([_ordered(key) for key in sort])


def _ordered(key: object) -> Ordered:
    """``"name"``, ``"-name"`` or ``{"field": "name", "direction": "desc", "nulls": "last"}``, of a relation with `relation`."""
    if isinstance(key, str):
        return Ordered(parse_path(key.removeprefix("-")), key.startswith("-"))
    if not isinstance(key, dict):
        raise InvalidRequest("A sort key is a name or an object.", details={"parameter": "sort"})
    refuse_unknown(key, ("field", "direction", "nulls", "relation"))
    name, direction, nulls, relation = key.get("field"), key.get("direction", "asc"), key.get("nulls"), key.get("relation")
    if not isinstance(name, str) or not isinstance(direction, str) or direction not in _DIRECTIONS:
        raise InvalidRequest("A sort key has a 'field', and a 'direction' of asc or desc.", details={"parameter": "sort"})
    if nulls is not None and (not isinstance(nulls, str) or nulls not in _NULLS):
        raise InvalidRequest("The 'nulls' of a sort key are first or last.", details={"parameter": "sort"})
    if relation is not None and not isinstance(relation, str):
        raise InvalidRequest("The 'relation' of a sort key is a name.", details={"parameter": "sort"})
    return Ordered(parse_path(name), _DIRECTIONS[direction], _NULLS[nulls] if isinstance(nulls, str) else None, relation)


def _includes(include: object, slots: Slots, depth: int) -> list[Embed]:
    if include is None:
        return []
    if isinstance(include, list) and all(isinstance(name, str) for name in include):
        include = dict.fromkeys(include)
    if not isinstance(include, dict):
        raise InvalidRequest("'include' is an object of relations, or an array of their names.", details={"parameter": "include"})
    return [_included(name, asked, slots, depth) for name, asked in include.items()]


def _included(name: str, asked: object, slots: Slots, depth: int) -> Embed:
    if asked is None or asked is True:
        asked = {}
    if not isinstance(asked, dict):
        raise InvalidRequest(f"What is included as {name[:64]!r} is not an object.", details={"parameter": "include"})
    refuse_unknown(asked, _INCLUDED_MEMBERS)
    relation, hint, inner = asked.get("relation", name), asked.get("hint"), asked.get("inner", False)
    if not isinstance(relation, str) or not isinstance(inner, bool) or not (hint is None or isinstance(hint, str)):
        raise InvalidRequest("Of an include, 'relation' and 'hint' are names, 'inner' is true or false.", details={"parameter": "include"})
    query = _query(asked, slots, depth + 1)
    select = query.select if query.select is not None else (Selected(Path("*")),)
    query = Query(select, query.filter, query.order, query.limit, query.offset)
    return Embed(relation, query, name if relation != name else None, hint, inner)


def _count(count: object) -> CountMode | None:
    if count is None:
        return None
    if isinstance(count, str) and count in _COUNTS:
        return _COUNTS[count]
    raise InvalidRequest("'count' is exact, planned or estimated.", details={"parameter": "count"})
