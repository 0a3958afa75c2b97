"""PostgreSQL's array literals, ``{a,"b c"}``, as the query string writes lists of values."""

from __future__ import annotations

import re

from portico.errors import InvalidParameter

_ELEMENT = re.compile(r'\s*+(?:"((?:[^"\\]++|\\.)*+)"|((?:[^,{}"\\]++|\\.)*+))\s*+([,}])', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


def read_array(text: str, name: str) -> list[object]:
    """The elements of an array literal, as text.

    Args:
        text: such as ``{a,b}``; elements with commas, braces or quotes stand in double quotes, with ``\\`` before ``"`` and ``\\``.
        name: of the field, for messages.
    Raises:
        InvalidParameter: it is no such literal, is nested, or has NULL among its elements.
    """
    stripped = text.strip()
    if not stripped.startswith("{"):
        raise _malformed(name)
    if stripped[1:].strip() == "}":
        return []
    elements: list[object] = []
    position = 1
    while True:
        match = _ELEMENT.match(stripped, position)
        if match is None:
            raise _malformed(name)
        quoted, plain, after = match.groups()
        if quoted is None and (not plain.strip() or plain.strip().upper() == "NULL"):
            raise _malformed(name)
        elements.append(_ESCAPE.sub(r"\1", quoted if quoted is not None else plain.strip()))
        position = match.end()
        if after == "}":
            break
    if position != len(stripped):
        raise _malformed(name)
    return elements


def _malformed(name: str) -> InvalidParameter:
    return InvalidParameter(
        f"The value of {name!r} is not an array literal without NULL.", hint='Write {a,b} or {"a b","c,d"}.', details={"field": name}
    )
