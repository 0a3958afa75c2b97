"""Rows, which the database made JSON of, in the other forms that a caller may accept: one object, without nulls, CSV."""

from __future__ import annotations

import csv
import io
import json

from portico.api.rest.media import Form, Media
from portico.api.rest.refusals import NotExactlyOne


class _Number(str):
    """A JSON number, as it was written: it is shown again and never computed with."""

    __slots__ = ()


def body_of(rows: str, count: int, media: Media) -> bytes:
    """The body of an answer.

    Args:
        rows: a JSON array of objects. count: how many there are.
    Raises:
        NotExactlyOne: one object is asked for, and there are more, or none.
    """
    if media.single and count != 1:
        raise not_one(count)
    if media.form is Form.CSV:
        return _csv(rows)
    if media.stripped:
        rows = _written(_without_nulls(_read(rows)))
    return (rows[1:-1] if media.single else rows).encode()


def not_one(count: int) -> NotExactlyOne:
    """The error of a result that is no single object."""
    return NotExactlyOne("Cannot coerce the result to a single JSON object", details={"rows": count})


def _read(text: str) -> object:
    return json.loads(text, parse_int=_Number, parse_float=_Number)


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {name: _without_nulls(member) for name, member in value.items() if member is not None}
    return [_without_nulls(member) for member in value] if isinstance(value, list) else value


def _written(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{_written(member)}" for name, member in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_written(member) for member in value) + "]"
    return value if isinstance(value, _Number) else json.dumps(value, ensure_ascii=False)


def _csv(text: str) -> bytes:
    """A line for each row below the names of its members. Without a row nothing says the names."""
    rows = _read(text)
    assert isinstance(rows, list), "a result is an array"
    columns = list(rows[0]) if rows else []
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row[name]) for name in columns])
    return out.getvalue().encode()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "t" if value else "f"
    return value if isinstance(value, str) else _written(value)
