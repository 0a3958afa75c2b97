"""The hot path of the query string: which requests differ in values alone, told without parsing them."""

from __future__ import annotations

from functools import lru_cache

from portico.errors import RequestError
from portico.query.slots import Slots
from portico.syntax.postgrest.pairs import decode
from portico.syntax.postgrest.parameters import CLAUSES, Draft, read_parameter

_COMPARISONS = frozenset({"eq", "neq", "gt", "gte", "lt", "lte"})
_VALUED = frozenset({"limit", "offset", "cursor"})
_NO_FIELDS = CLAUSES | {"and", "or"}


def template(
    query_string: bytes, *, reserved: frozenset[str] = frozenset(), allowed: frozenset[str] = CLAUSES
) -> tuple[str, tuple[object, ...]] | None:
    """Split a raw query string into its template and its values, without parsing what is plain.

    Query strings of equal templates parse to equal trees, and the values are those of `parse`, in the same order: so a plan may be
    kept by the template of a query string that `parse` and `bind` once accepted. Plain comparisons (``eq neq gt gte lt lte``, ``in``
    without quotes) on a field, `limit`, `offset` and `cursor` have their values taken out; everything else stays in the template as
    it is written, and its values are remembered.

    Args:
        query_string: as received. reserved, allowed: as in `parse`; they belong to a plan's key where calls differ in them.
    Returns:
        the template and the raw values; None where only parsing can tell (malformed text).
    """
    if not query_string:
        return "", ()
    shape: list[str] = []
    values: list[object] = []
    try:
        for part in query_string.decode().split("&"):
            name, _, value = part.partition("=")
            operator, point, operand = value.partition(".")
            if operator in _COMPARISONS and point and _is_plain(name, reserved):
                shape.append(f"{name}={operator}.")
                values.append(decode(operand))
            elif name in _VALUED and name in allowed:
                shape.append(name)
                values.append(decode(value))
            elif operator == "in" and point and _is_plain(name, reserved) and (items := _plain_list(decode(operand))) is not None:
                shape.append(f"{name}=in.")
                values.append(items)
            else:
                shape.append(part)
                values.extend(_literal_values(part, reserved, allowed))
    except (UnicodeDecodeError, RequestError):
        return None
    return "&".join(shape), tuple(values)


@lru_cache(maxsize=1024)
def _is_plain(name: str, reserved: frozenset[str]) -> bool:
    """Whether the name is a field's, possibly of an embedded relation, and compares as text: no clause, and no ``->`` at its end."""
    decoded = decode(name)
    if decoded in reserved or not decoded:
        return False
    if "->" in decoded:
        return "->>" in decoded and decoded.count("->>") == 1 and "->" not in decoded.partition("->>")[2]
    return decoded.rpartition(".")[2] not in _NO_FIELDS


def _plain_list(text: str) -> list[object] | None:
    if not text.startswith("(") or not text.endswith(")") or '"' in text or text.count(")") != 1:
        return None
    inner = text[1:-1]
    return list[object](inner.split(",")) if inner else []


@lru_cache(maxsize=1024)
def _literal_values(part: str, reserved: frozenset[str], allowed: frozenset[str]) -> tuple[object, ...]:
    """The values of a parameter that stays in the template. Raises RequestError, UnicodeDecodeError."""
    name, _, value = part.partition("=")
    decoded = decode(name)
    if not part or decoded in reserved:
        return ()
    slots = Slots()
    read_parameter(decoded, decode(value), slots, {(): Draft()}, allowed)
    return tuple(slots.values)
