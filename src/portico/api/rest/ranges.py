"""Which rows are asked for (`limit`, `offset`, `Range`), and how `Content-Range` and the status say which were answered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from portico.api.rest.refusals import RangeNotSatisfiable
from portico.errors import InvalidParameter
from portico.query.limits import Limits
from portico.syntax import postgrest

_RANGE = re.compile(rb"\s*(?:items=)?([0-9]{1,18})-([0-9]{0,18})\s*")


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows `offset` to ``offset + limit - 1`` of the result; `query` is the query string without what said so."""

    offset: int
    limit: int
    query: bytes

    @property
    def bounded(self) -> bytes:
        """The query string that asks for exactly these rows."""
        start = self.query + b"&" if self.query else b""
        offset = b"&offset=%d" % self.offset if self.offset else b""
        return start + b"limit=%d" % self.limit + offset


def asked_rows(raw: bytes, headers: Mapping[bytes, bytes], limits: Limits) -> Rows:
    """The rows that a read asks for: at most the page's largest size, as PostgREST's `db-max-rows` has it.

    Raises:
        RangeNotSatisfiable: a limit or offset below zero, or a range that ends before it begins. InvalidParameter: no number.
    """
    kept: list[bytes] = []
    numbers: dict[str, int] = {}
    for part in raw.split(b"&"):
        name, _, value = part.partition(b"=")
        if name in {b"limit", b"offset"}:
            numbers[name.decode()] = _number(name.decode(), value)
        elif part:
            kept.append(part)
    offset, limit = numbers.get("offset", 0), numbers.get("limit")
    last = None if limit is None else offset + limit - 1
    given = _RANGE.fullmatch(headers.get(b"range", b""))
    if given is not None:
        lower, upper = int(given[1]), int(given[2]) if given[2] else None
        if upper is not None and upper < lower:
            raise RangeNotSatisfiable("The range ends before it begins.", details={"range": f"{lower}-{upper}"})
        offset = max(offset, lower)
        last = upper if last is None else last if upper is None else min(last, upper)
    if offset > limits.max_offset:
        raise RangeNotSatisfiable(f"The offset is larger than {limits.max_offset}.", hint="Page by a filter on the key.")
    size = limits.max_limit if last is None else min(limits.max_limit, last - offset + 1)
    return Rows(offset, max(size, 0), b"&".join(kept))


def _number(name: str, value: bytes) -> int:
    pairs = postgrest.decode_pairs(b"x=" + value)
    text = pairs[0][1]
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) <= 18):
        raise InvalidParameter(f"The {name} is not a whole number.", details={"parameter": name})
    if text.startswith("-"):
        raise RangeNotSatisfiable(f"The {name} is below zero.", details={"parameter": name})
    return int(text)


def content_range(offset: int, count: int, total: int | None) -> tuple[bytes, bytes]:
    """The header ``0-9/100``: ``*`` stands for rows or a total that are not there."""
    rows = f"{offset}-{offset + count - 1}" if count else "*"
    return (b"content-range", f"{rows}/{'*' if total is None else total}".encode())


def read_status(offset: int, count: int, total: int | None) -> int:
    """The status of a read: 206 where there are more rows than were answered.

    Raises:
        RangeNotSatisfiable: the offset is beyond what was counted.
    """
    if total is None:
        return 200
    if offset > total:
        raise RangeNotSatisfiable("Requested range not satisfiable", details={"offset": offset, "rows": total})
    return 206 if count < total else 200
