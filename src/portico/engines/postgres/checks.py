"""Check constraints as PostgreSQL writes them down, read back as the rules that Portico made them from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

KINDS = ("in", "min", "max", "min_length", "max_length")
"""The kinds of checks, as their names end."""

_BOUND = re.compile(r"[<>]= \(?'?([^'):]+)")
_LIST = re.compile(r"ARRAY\[(.*?)\]|= \(?('[^']*'|-?[\d.]+)")
_ITEM = re.compile(r"'((?:[^']|'')*)'|(-?[\d.]+)")


def check_name(table: str, column: str, kind: str) -> str:
    """The name of a column's check."""
    return f"ck_{table}_{column}_{kind}"


def check_texts(table: str, column: str, known: Mapping[str, str]) -> Iterator[str]:
    """The rules of a column (``min:0``, ``in:a,b``) that the table's checks hold, by the definitions in `known`."""
    for kind in KINDS:
        definition = known.get(check_name(table, column, kind))
        if definition is None:
            continue
        if kind != "in":
            bound = _BOUND.search(definition)
            if bound is not None:
                yield f"{kind}:{bound[1].strip()}"
            continue
        found = _LIST.search(definition)
        items = (
            [quoted.replace("''", "'") if quoted or not number else number for quoted, number in _ITEM.findall(found[0])] if found else []
        )
        if items and not any("," in item for item in items):
            yield f"in:{','.join(items)}"
