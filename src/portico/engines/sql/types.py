"""The column types of the SQL engines: one SQLAlchemy type for each field type, with PostgreSQL's and SQLite's way of storing it.

SQLite has no types of its own for most of these, so what is stored is fixed here: a UUID as its 36 characters, a datetime as
``YYYY-MM-DDTHH:MM:SS.ffffffZ``, JSON and arrays as JSON text, a decimal as an integer scaled by its declared digits. The type name in
SQLite's DDL says which (`SQLITE_NAMES`, ``SCALED_DECIMAL(12,2)``, ``UUID_ARRAY_TEXT``), so that reflection finds the same field type again.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

from portico.errors import ConfigurationError
from portico.model.field import Base, FieldType

SCALED_DECIMAL = "SCALED_DECIMAL"
"""SQLite's type name of a decimal that is stored as a scaled integer: its numeric affinity leaves integers as they are."""

MOST_SCALED_DIGITS = 18
"""A scaled integer of more digits does not fit SQLite's 64 bits."""

SQLITE_NAMES: dict[Base, str] = {
    Base.UUID: "UUID_TEXT",
    Base.DATETIME: "DATETIME_TEXT",
    Base.DATE: "DATE",
    Base.BOOLEAN: "BOOLEAN",
    Base.JSON: "JSON_TEXT",
    Base.BINARY: "BLOB",
    Base.INTEGER: "INTEGER",
    Base.BIGINT: "BIGINT",
    Base.FLOAT: "DOUBLE",
    Base.TEXT: "TEXT",
    Base.ENUM: "TEXT",
}
"""Type names in SQLite's DDL.

Those that end in ``_TEXT`` have text affinity (as plain ``JSON`` the text ``1.0`` would be stored as the integer 1), and are no one else's:
a column that another program declared ``DATETIME`` may hold other texts, or numbers.
"""


def stored_datetime(moment: dt.datetime) -> str:
    """How SQLite stores a datetime: fixed width, in UTC, so that the order of the texts is the order of the times.

    One without a zone is taken as UTC.
    """
    local = moment if moment.tzinfo is None else moment.astimezone(dt.UTC).replace(tzinfo=None)
    return local.isoformat(timespec="microseconds") + "Z"


class NativeType(UserDefinedType[str]):
    """A database's own type, by the name that its DDL needs. Values travel as text."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: object) -> str:
        """The name, as it is."""
        return self.name


class SqliteUuid(TypeDecorator[uuid.UUID]):
    """A UUID as its 36 lower-case characters."""

    impl = NativeType
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(SQLITE_NAMES[Base.UUID])

    def process_bind_param(self, value: uuid.UUID | str | None, _dialect: Dialect) -> str | None:
        """Characters of a UUID, or of a text that is one."""
        return None if value is None else str(uuid.UUID(str(value)))

    def process_result_value(self, value: object, _dialect: Dialect) -> uuid.UUID | None:
        """The UUID of its characters."""
        return None if value is None else uuid.UUID(str(value))


class SqliteDateTime(TypeDecorator[dt.datetime]):
    """A moment as `stored_datetime` writes it."""

    impl = NativeType
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(SQLITE_NAMES[Base.DATETIME])

    def process_bind_param(self, value: dt.datetime | None, _dialect: Dialect) -> str | None:
        """The text of a moment."""
        return None if value is None else stored_datetime(value)

    def process_result_value(self, value: object, _dialect: Dialect) -> dt.datetime | None:
        """The moment, with UTC as its zone."""
        if value is None:
            return None
        moment = dt.datetime.fromisoformat(str(value))
        return moment.astimezone(dt.UTC) if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)


class SqliteDecimal(TypeDecorator[Decimal]):
    """A decimal as an integer scaled by ``10 ** scale``."""

    impl = NativeType
    cache_ok = True

    def __init__(self, precision: int, scale: int) -> None:
        super().__init__(f"{SCALED_DECIMAL}({precision},{scale})")
        self.precision, self.scale = precision, scale

    def process_bind_param(self, value: Decimal | int | None, _dialect: Dialect) -> int | None:
        """The scaled integer, rounded half away from zero where there are more digits than the scale, as PostgreSQL does."""
        return None if value is None else int(Decimal(value).scaleb(self.scale).to_integral_value(ROUND_HALF_UP))

    def process_result_value(self, value: object, _dialect: Dialect) -> Decimal | None:
        """The decimal, with all digits of its scale."""
        return None if value is None else Decimal(str(value)).scaleb(-self.scale)


class SqliteJson(TypeDecorator[object]):
    """JSON as its text; `name` is the type's name in the DDL."""

    impl = NativeType
    cache_ok = True

    def __init__(self, name: str = SQLITE_NAMES[Base.JSON]) -> None:
        super().__init__(name)
        self.name = name

    def process_bind_param(self, value: object, _dialect: Dialect) -> str | None:
        """The text of a value. UUIDs, decimals and dates in an array are written as texts."""
        return None if value is None else json.dumps(value, default=str, separators=(",", ":"), ensure_ascii=False)

    def process_result_value(self, value: object, _dialect: Dialect) -> object:
        """The value of a text."""
        return None if value is None else json.loads(str(value))


def sqlite_array_name(base: Base) -> str:
    """The name of SQLite's column type for an array of `base`: JSON text, with text affinity."""
    return f"{base.value.upper()}_ARRAY_TEXT"


def column_type(field_type: FieldType) -> TypeEngine[Any]:
    """The SQLAlchemy type of a field type, for both SQL engines.

    Text is ``COLLATE "C"`` on PostgreSQL. A field type with a `native` name is created under that name.

    Raises:
        ConfigurationError: the type cannot be stored in SQL.
    """
    if field_type.array:
        postgres = postgresql.ARRAY(_postgres(field_type.element))
        return postgres.with_variant(SqliteJson(sqlite_array_name(field_type.base)), "sqlite")
    if field_type.native is not None:
        return NativeType(field_type.native)
    return _postgres(field_type).with_variant(_sqlite(field_type), "sqlite")


def _postgres(field_type: FieldType) -> TypeEngine[Any]:
    if field_type.native is not None:
        return NativeType(field_type.native)
    makers: dict[Base, TypeEngine[Any]] = {
        Base.STRING: sa.String(field_type.length, collation="C"),
        Base.TEXT: sa.Text(collation="C"),
        Base.ENUM: sa.Text(collation="C"),
        Base.INTEGER: sa.Integer(),
        Base.BIGINT: sa.BigInteger(),
        Base.FLOAT: sa.Double(),
        Base.DECIMAL: sa.Numeric(field_type.precision, field_type.scale),
        Base.BOOLEAN: sa.Boolean(),
        Base.UUID: sa.Uuid(),
        Base.DATE: sa.Date(),
        Base.DATETIME: sa.DateTime(timezone=True),
        Base.JSON: postgresql.JSONB(none_as_null=True),
        Base.BINARY: sa.LargeBinary(),
    }
    if field_type.base not in makers:
        raise ConfigurationError(f"A column cannot be created with the type {field_type}.")
    return makers[field_type.base]


def _sqlite(field_type: FieldType) -> TypeEngine[Any]:
    base = field_type.base
    if base is Base.DECIMAL:
        precision = field_type.precision or MOST_SCALED_DIGITS
        if precision > MOST_SCALED_DIGITS:
            raise ConfigurationError(
                f"The type {field_type} has too many digits for SQLite.",
                hint=f"SQLite stores decimals of up to {MOST_SCALED_DIGITS} digits.",
            )
        return SqliteDecimal(precision, field_type.scale or 0)
    own: dict[Base, TypeEngine[Any]] = {
        Base.STRING: sa.String(field_type.length),
        Base.UUID: SqliteUuid(),
        Base.DATETIME: SqliteDateTime(),
        Base.JSON: SqliteJson(),
        Base.BOOLEAN: sa.Boolean(),
        Base.DATE: sa.Date(),
        Base.BINARY: sa.LargeBinary(),
    }
    return own[base] if base in own else NativeType(SQLITE_NAMES[base])
