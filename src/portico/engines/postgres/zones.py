"""Datetimes as PostgreSQL shows them in a time zone that is not the session's, which stays what it is for everybody."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from portico.model.field import Base, FieldType
from portico.query.moments import UTC

_Expression = sa.ColumnElement[Any]


def shown_moment(column: _Expression, kind: FieldType, zone: str) -> _Expression:
    """A `timestamptz`, or an array of them, as it stands in JSON. The session is in UTC, so that this is its own form there."""
    if zone == UTC or kind.native == "timestamp":
        return column
    if kind.array:
        element = sa.func.unnest(column).column_valued("e")
        inner = sa.select(sa.func.array_agg(_text(element, zone, in_json=True))).scalar_subquery()
        return sa.case((column.is_not(None), sa.func.coalesce(inner, sa.literal_column("'{}'::text[]"))))
    return _text(column, zone, in_json=True)


def cast_moment(column: _Expression, kind: FieldType, base: Base, zone: str) -> _Expression:
    """A `timestamptz` cast to text or to a date."""
    type_: sa.types.TypeEngine[Any] = sa.Date() if base is Base.DATE else sa.Text()
    if zone == UTC or kind.native == "timestamp":
        return sa.cast(column, type_)
    return sa.cast(_local(column, zone), type_) if base is Base.DATE else _text(column, zone, in_json=False)


def _local(column: _Expression, zone: str) -> _Expression:
    return sa.func.timezone(sa.literal(zone, sa.Text), column)


def _text(column: _Expression, zone: str, *, in_json: bool) -> _Expression:
    """The local time with its offset behind it, before the era where that is named. Infinities have neither."""
    local = _local(column, zone)
    offset = sa.cast(local, sa.DateTime) - sa.func.timezone(_word("UTC"), column)
    size = sa.func.to_char(sa.func.greatest(offset, -offset), _word("HH24:MI:SS"))
    # Nothing of an offset is written that is zero: its seconds, and outside of JSON its minutes.
    short = sa.func.regexp_replace(size, _word(":00$" if in_json else "(:00)?:00$"), _word(""))
    sign = sa.case((offset < sa.literal_column("interval '0'"), _word("-")), else_=_word("+"))
    written = sa.func.to_json(local).op("#>>")(sa.literal_column("'{}'::text[]")) if in_json else sa.cast(local, sa.Text)
    ending = sign.op("||")(short).op("||")(sa.literal_column("E'\\\\1'"))
    whole = sa.func.regexp_replace(written, _word("( BC)?$"), ending)
    return sa.case((sa.func.isfinite(column), whole), else_=sa.cast(column, sa.Text))


def _word(text: str) -> _Expression:
    return sa.literal_column(f"'{text}'", sa.Text)
