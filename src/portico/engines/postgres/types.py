"""How values travel to PostgreSQL: the SQL type of each parameter, and the Python value that asyncpg takes for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import TypeEngine, UserDefinedType

from portico.model.field import Base, FieldType
from portico.query.bound import Special
from portico.query.patterns import ilike_to_postgres, to_postgres


class Native(UserDefinedType[str]):
    """A type of the database's own, by the name that its DDL uses. Values travel as text and are cast."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: Any) -> str:
        """The type's name, as PostgreSQL's own `format_type` wrote it."""
        return self.name


_SQL: dict[Base, TypeEngine[Any]] = {
    Base.STRING: sa.Text(),
    Base.TEXT: sa.Text(),
    Base.ENUM: sa.Text(),
    Base.NATIVE: sa.Text(),
    Base.INTEGER: sa.Integer(),
    Base.BIGINT: sa.BigInteger(),
    Base.FLOAT: pg.DOUBLE_PRECISION(),
    Base.DECIMAL: sa.Numeric(),
    Base.BOOLEAN: sa.Boolean(),
    Base.UUID: pg.UUID(as_uuid=True),
    Base.DATE: sa.Date(),
    Base.DATETIME: sa.DateTime(timezone=True),
    Base.JSON: sa.Text(),
    Base.BINARY: sa.LargeBinary(),
}

_SPECIAL: dict[Special, TypeEngine[Any]] = {
    Special.LIKE: sa.Text(),
    Special.ILIKE: sa.Text(),
    Special.PATTERN: sa.Text(),
    Special.JSON_TEXT: sa.Text(),
    Special.SEARCH: sa.Text(),
    Special.COUNT: sa.BigInteger(),
}


def travels_as_text(kind: FieldType | Special) -> bool:
    """Whether a value travels as text and is cast to its own type in the statement."""
    return isinstance(kind, FieldType) and (kind.base is Base.NATIVE or (kind.base is Base.ENUM and kind.native is not None))


def wire_type(kind: FieldType | Special, *, many: bool = False) -> TypeEngine[Any]:
    """The SQL type under which a parameter of this type is sent."""
    if isinstance(kind, Special):
        return pg.ARRAY(_SPECIAL[kind]) if many else _SPECIAL[kind]
    element = _SQL[kind.base]
    return pg.ARRAY(element) if many or kind.array else element


def typed(value: ColumnElement[Any], kind: FieldType | Special, *, many: bool = False) -> ColumnElement[Any]:
    """`value`, which has the wire type, as the type that its column has."""
    if isinstance(kind, Special):
        return sa.cast(value, pg.JSONB) if kind is Special.JSON_TEXT else value
    if travels_as_text(kind):
        return sa.cast(value, Native(native_name(kind, many=many)))
    if kind.base is Base.DATETIME and kind.native == "timestamp" and not (kind.array or many):
        return sa.func.timezone("UTC", value)
    if kind.base is Base.DATETIME and kind.native == "timestamp":
        return sa.cast(value, pg.ARRAY(sa.DateTime()))
    if kind.base is Base.STRING and (kind.array or many):
        return sa.cast(value, pg.ARRAY(sa.String()))
    if kind.base is Base.JSON:
        element: TypeEngine[Any] = pg.JSON() if kind.native == "json" else pg.JSONB()
        return sa.cast(value, pg.ARRAY(element) if kind.array or many else element)
    return value


def native_name(kind: FieldType, *, many: bool = False) -> str:
    """The native type's name, with ``[]`` for arrays."""
    name = kind.native or "text"
    return name + "[]" if (kind.array or many) and not name.endswith("[]") else name


Encoder = Callable[[object], object]


def encoder(kind: FieldType | Special, *, many: bool = False) -> Encoder | None:
    """What turns a bound value into what asyncpg takes, or None where it already is."""
    if kind is Special.PATTERN or kind is Special.ILIKE:
        translate = cast("Encoder", to_postgres if kind is Special.PATTERN else ilike_to_postgres)
        return (lambda values: [translate(value) for value in cast("list[object]", values)]) if many else translate
    return None
