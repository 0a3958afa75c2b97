"""Filters of the query string: ``column=operator.value`` and logic trees ``or=(a.eq.1,not.and(b.lt.2,c.is.null))``."""

from __future__ import annotations

import re
from difflib import get_close_matches

from portico.errors import InvalidJson, InvalidParameter, OutOfRange, UnknownOperator, UnknownParameter
from portico.query.ast import And, Condition, Node, Not, Operator, Or, Path, Written
from portico.query.json_text import read_json
from portico.query.literals import read_array
from portico.query.slots import Slots, list_condition, value_condition, written_as
from portico.syntax.postgrest.scanner import Scanner

MAX_NESTING = 64
"""How deep logic trees may nest before they are parsed at all; `bind` holds the real limit."""

OPERATORS = {
    operator.value: operator
    for operator in Operator
    if operator
    not in {
        Operator.IS_NULL,
        Operator.IS_TRUE,
        Operator.IS_FALSE,
        Operator.IS_UNKNOWN,
        Operator.EXISTS,
        Operator.SIZE,
        Operator.ELEM_MATCH,
    }
}
_IS = {
    "null": Operator.IS_NULL,
    "true": Operator.IS_TRUE,
    "false": Operator.IS_FALSE,
    "unknown": Operator.IS_UNKNOWN,
}
# What the clauses are called here, and in other APIs.
_CLAUSES_MEANT = {
    **{clause: clause for clause in ("select", "order", "limit", "offset", "cursor", "count")},
    "fields": "select",
    "columns": "select",
    "sort": "order",
    "order_by": "order",
    "page_size": "limit",
    "page": "offset",
    "skip": "offset",
}
_TEXTUAL = frozenset({Operator.LIKE, Operator.ILIKE, Operator.MATCH, Operator.IMATCH})
_FULL_TEXT = frozenset({Operator.FTS, Operator.PLFTS, Operator.PHFTS, Operator.WFTS})
_HEAD = re.compile(r"(not\.)?([A-Za-z_0-9]+)(?:\(([^()]*)\))?\.", re.DOTALL)
_PLAIN = re.compile(r"[^,()]*")
_ITEM = re.compile(r"[^,)]*")
_BRACES = re.compile(r'"(?:[^"\\]++|\\.)*+"|[^{}"]++|[{}]', re.DOTALL)
_LANGUAGE = re.compile(r"[A-Za-z_][A-Za-z_0-9]{0,62}")


def parse_comparison(path: Path, text: str, label: str, slots: Slots) -> Node:
    """A filter ``operator.value`` on `path`. Raises UnknownOperator, UnknownParameter, InvalidParameter."""
    scanner = Scanner(text, label)
    if _HEAD.match(text) is None:
        if text.removeprefix("not.") in OPERATORS or "." in text:
            raise scanner.error("an operator, a point and a value are expected")
        raise UnknownParameter(
            f"There is no parameter {label[:64]!r}.",
            hint=f"{_meant(label)}A filter on a field needs an operator: {label[:64]}=eq.value.",
            details={"parameter": label[:64]},
        )
    return _comparison(path, scanner, slots, nested=False)


def _meant(label: str) -> str:
    """The clause that a parameter without an operator was likely meant to be, as a question, or nothing."""
    near = get_close_matches(label[:64].lower(), _CLAUSES_MEANT, n=1, cutoff=0.75)
    return f"Did you mean {_CLAUSES_MEANT[near[0]]!r}? " if near else ""


def parse_logic(joined: str, negated: bool, text: str, label: str, slots: Slots) -> Node:
    """A logic tree ``(…,…)`` whose conditions are joined by `joined` (`and`, `or`). Raises as `parse_comparison`."""
    scanner = Scanner(text, label)
    node = _group(joined, scanner, slots, 1)
    if not scanner.at_end():
        raise scanner.error("nothing is expected after the closing parenthesis")
    return Not(node) if negated else node


def _group(joined: str, scanner: Scanner, slots: Slots, depth: int) -> Node:
    if depth > MAX_NESTING:
        raise OutOfRange(f"The filter nests deeper than {MAX_NESTING}.")
    scanner.expect("(")
    children = [_member(scanner, slots, depth)]
    while scanner.take(","):
        children.append(_member(scanner, slots, depth))
    scanner.expect(")")
    return And(tuple(children)) if joined == "and" else Or(tuple(children))


def _member(scanner: Scanner, slots: Slots, depth: int) -> Node:
    negated = False
    start = scanner.position
    while scanner.take(" "):
        start = scanner.position
    if scanner.take("not."):
        negated = True
    for joined in ("and", "or"):
        if scanner.peek(joined + "("):
            scanner.position += len(joined)
            node = _group(joined, scanner, slots, depth + 1)
            return Not(node) if negated else node
    scanner.position = start
    path = scanner.steps(scanner.name())
    scanner.expect(".")
    return _comparison(path, scanner, slots, nested=True)


def _comparison(path: Path, scanner: Scanner, slots: Slots, *, nested: bool) -> Node:
    head = scanner.match(_HEAD)
    if head is None:
        raise scanner.error("an operator, a point and a value are expected")
    negated, word, argument = head.groups()
    if word == "is":
        if argument is not None:
            raise scanner.error("'is' takes nothing in parentheses")
        node = _is(path, scanner, nested=nested)
    else:
        operator = OPERATORS.get(word)
        if operator is None:
            hint = f"A filter is an operator, a point and a value, such as eq.value. Operators: {', '.join(['is', *OPERATORS])}."
            raise UnknownOperator(f"There is no operator {word[:64]!r}.", hint=hint, details={"operator": word[:64]})
        node = _valued(path, operator, argument, scanner, slots, nested=nested)
    return Not(node) if negated else node


def _is(path: Path, scanner: Scanner, *, nested: bool) -> Node:
    word = (_nested_value(scanner)[0] if nested else _rest(scanner)).lower()
    if word == "not_null":
        return Not(Condition(path, Operator.IS_NULL))
    if word not in _IS:
        raise scanner.error("'is' takes null, not_null, true, false or unknown")
    return Condition(path, _IS[word])


def _valued(path: Path, operator: Operator, argument: str | None, scanner: Scanner, slots: Slots, *, nested: bool) -> Node:
    if operator is Operator.IN:
        if argument is not None:
            raise scanner.error("'in' takes nothing before the point")
        items = _list(scanner)
        if not nested and not scanner.at_end():
            raise scanner.error("nothing is expected after the list")
        return _in(path, items, scanner, slots)
    text, quoted = _nested_value(scanner) if nested else (_rest(scanner), False)
    if operator in _FULL_TEXT:
        if argument is not None and not _LANGUAGE.fullmatch(argument):
            raise scanner.error("a language is expected in the parentheses")
        return Condition(path, operator, slots.add(text, _plain_written(path)), language=argument)
    if argument is not None and argument not in {"any", "all"}:
        raise scanner.error("only (any) and (all) may follow an operator")
    if argument is not None:
        return _quantified(path, operator, argument, text, scanner, slots)
    if operator in _TEXTUAL:
        text = text.replace("*", "%") if operator in {Operator.LIKE, Operator.ILIKE} else text
        return Condition(path, operator, slots.add(text, _plain_written(path)))
    if not _is_json(path):
        return Condition(path, operator, slots.add(text, Written.TEXT))
    node = value_condition(path, operator, text if quoted else _json(text, scanner), slots)
    if node is None:
        raise scanner.error("null has no order; compare with is.null")
    return node


def _quantified(path: Path, operator: Operator, quantifier: str, text: str, scanner: Scanner, slots: Slots) -> Node:
    values = read_array(text, scanner.label)
    if operator in {Operator.LIKE, Operator.ILIKE}:
        values = [str(value).replace("*", "%") for value in values]
    written = _plain_written(path)
    if _is_json(path) and operator not in _TEXTUAL:
        values = [_json(str(value), scanner) for value in values]
        kinds = {written_as(value) for value in values}
        if len(kinds) != 1 or kinds & {Written.ARRAY, Written.OBJECT} or None in values:
            raise scanner.error("the values of an array must be numbers, strings or booleans, all of one kind")
        written = kinds.pop()
    return Condition(path, operator, slots.add(values, written), quantifier="any" if quantifier == "any" else "all")


def _in(path: Path, items: list[tuple[str, bool]], scanner: Scanner, slots: Slots) -> Node:
    if not _is_json(path):
        return Condition(path, Operator.IN, slots.add([text for text, _ in items], Written.TEXT))
    values = [text if quoted else _json(text, scanner) for text, quoted in items]
    return list_condition(path, values, slots)


def _list(scanner: Scanner) -> list[tuple[str, bool]]:
    """The members of ``(a,"b,c")``, each with whether it was quoted."""
    scanner.expect("(")
    items: list[tuple[str, bool]] = []
    if scanner.take(")"):
        return items
    while True:
        quoted = scanner.quoted()
        if quoted is not None:
            items.append((quoted, True))
        else:
            found = scanner.match(_ITEM)
            items.append((found[0] if found is not None else "", False))
        if scanner.take(")"):
            return items
        scanner.expect(",")


def _nested_value(scanner: Scanner) -> tuple[str, bool]:
    """A value inside a logic tree, which ends at a comma or parenthesis unless it is quoted or stands in braces."""
    quoted = scanner.quoted()
    if quoted is not None:
        return quoted, True
    if scanner.peek("{"):
        start, depth = scanner.position, 0
        while (token := scanner.match(_BRACES)) is not None:
            depth += (token[0] == "{") - (token[0] == "}")
            if depth == 0:
                return scanner.text[start : scanner.position], False
        raise scanner.error("the closing brace is missing")
    found = scanner.match(_PLAIN)
    return (found[0] if found is not None else "", False)


def _rest(scanner: Scanner) -> str:
    text = scanner.text[scanner.position :]
    scanner.position = len(scanner.text)
    return text


def _is_json(path: Path) -> bool:
    return bool(path.steps) and not path.as_text


def _plain_written(path: Path) -> Written:
    return Written.STRING if _is_json(path) else Written.TEXT


def _json(text: str, scanner: Scanner) -> object:
    try:
        return read_json(text)
    except InvalidJson:
        hint = 'After -> a value is JSON: 5, "text", true; ->> compares as text.'
        raise InvalidParameter(
            f"The value for {scanner.label[:64]!r} is not JSON.", hint=hint, details={"parameter": scanner.label[:64]}
        ) from None
