"""`select` and `order` of the query string: fields, aliases, casts, JSON places, aggregates, embedded relations; sort keys."""

from __future__ import annotations

import re
from dataclasses import replace

from portico.errors import InvalidParameter, OutOfRange
from portico.query.ast import Embed, Ordered, Path, Query, Selected
from portico.syntax.postgrest.scanner import Scanner

MAX_NESTING = 32
"""How deep a select may nest before it is parsed at all; `bind` holds the real limit."""

EVERYTHING = Selected(Path("*"))
"""Every field that the caller sees."""

_CAST = re.compile(r"[A-Za-z_][A-Za-z_0-9 ]*")
_WORD = re.compile(r"[a-z_]+")
_DIRECTION = re.compile(r"\.(asc|desc)(?![a-z])")
_NULLS = re.compile(r"\.(nullsfirst|nullslast)(?![a-z])")


def parse_select(text: str) -> tuple[Selected | Embed, ...]:
    """The members of a `select`. An empty one is empty. Raises InvalidParameter, OutOfRange (nested too deeply)."""
    scanner = Scanner(text, "select")
    if not text.strip():
        return ()
    items = _items(scanner, 1)
    if not scanner.at_end():
        raise scanner.error("a comma is expected")
    return items


def parse_include(text: str) -> tuple[Embed, ...]:
    """The relations of an `include`: as in a `select`, or names alone, which mean every field. Raises as `parse_select`."""
    found: list[Embed] = []
    for item in parse_select(text):
        if isinstance(item, Embed):
            found.append(item)
        elif item == Selected(Path(item.path.name), item.alias) and item != EVERYTHING:
            found.append(Embed(item.path.name, Query(select=(EVERYTHING,)), item.alias))
        else:
            raise InvalidParameter("The parameter 'include' names relations.", details={"parameter": "include"})
    return tuple(found)


def parse_order(text: str, label: str = "order") -> tuple[Ordered, ...]:
    """The sort keys of an `order`. Raises InvalidParameter."""
    scanner = Scanner(text, label)
    keys = [_ordered(scanner)]
    while scanner.take(","):
        keys.append(_ordered(scanner))
    if not scanner.at_end():
        raise scanner.error("asc, desc, nullsfirst, nullslast or a comma is expected")
    return tuple(keys)


def _items(scanner: Scanner, depth: int) -> tuple[Selected | Embed, ...]:
    if depth > MAX_NESTING:
        raise OutOfRange(f"The select nests deeper than {MAX_NESTING}.")
    items = [_item(scanner, depth)]
    while scanner.take(","):
        items.append(_item(scanner, depth))
    return tuple(items)


def _item(scanner: Scanner, depth: int) -> Selected | Embed:
    _skip_spaces(scanner)
    if scanner.take("*"):
        return EVERYTHING
    spread = scanner.take("...")
    name = scanner.name()
    alias = None
    if scanner.peek(":") and not scanner.peek("::"):
        scanner.take(":")
        alias, name = name, scanner.name()
    if scanner.peek("!") or (scanner.peek("(") and not (name == "count" and scanner.peek("()"))):
        return _embed(scanner, name, alias, spread=spread, depth=depth)
    if spread:
        raise scanner.error("a relation is expected after ...")
    if name == "count" and scanner.take("()"):
        return Selected(Path("*"), alias, "count", _cast(scanner))
    path = scanner.steps(name)
    cast = _cast(scanner)
    path = replace(path, cast=cast) if cast is not None else path
    if not scanner.take("."):
        return Selected(path, alias)
    word = scanner.match(_WORD)
    scanner.expect("()")
    return Selected(path, alias, word[0] if word is not None else "", _cast(scanner))


def _embed(scanner: Scanner, name: str, alias: str | None, *, spread: bool, depth: int) -> Embed:
    hint, inner = None, False
    while scanner.take("!"):
        word = scanner.name()
        if word in {"inner", "left"}:
            inner = word == "inner"
        elif hint is None:
            hint = word
        else:
            raise scanner.error("one hint is enough")
    scanner.expect("(")
    _skip_spaces(scanner)
    items = () if scanner.peek(")") else _items(scanner, depth + 1)
    scanner.expect(")")
    return Embed(name, Query(select=items), alias, hint, inner, spread)


def _cast(scanner: Scanner) -> str | None:
    if not scanner.take("::"):
        return None
    found = scanner.match(_CAST)
    if found is None:
        raise scanner.error("a type is expected after ::")
    return found[0].strip()


def _ordered(scanner: Scanner) -> Ordered:
    _skip_spaces(scanner)
    name = scanner.name()
    relation = None
    if scanner.take("("):
        relation, name = name, scanner.name()
        path = scanner.steps(name)
        scanner.expect(")")
    else:
        path = scanner.steps(name)
    direction = scanner.match(_DIRECTION)
    nulls = scanner.match(_NULLS)
    nulls_first = nulls[1] == "nullsfirst" if nulls is not None else None
    return Ordered(path, direction is not None and direction[1] == "desc", nulls_first, relation)


def _skip_spaces(scanner: Scanner) -> None:
    while scanner.take(" "):
        pass
