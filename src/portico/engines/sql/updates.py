"""What an `update_data` sets and which rows it changes, as SQL of bound values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation

from sqlalchemy.engine.interfaces import Dialect

from portico.engines.sql.identifiers import quote
from portico.engines.sql.types import MOST_SCALED_DIGITS, SqliteDateTime, SqliteDecimal, SqliteUuid, column_type
from portico.errors import MigrationError, RequestError
from portico.model.collection import Collection
from portico.model.field import Base, Field
from portico.model.migration import UpdateData
from portico.query.coerce import text_coercer
from portico.query.json_text import write_json

_FIELD = "$field"


def update_parts(collection: Collection, update: UpdateData, dialect: Dialect) -> tuple[str, str, dict[str, object]]:
    """The assignments, the condition, and the values that both are bound to (``:v0`` …), as the journal keeps them.

    Raises:
        MigrationError: a value that is not of its field's type, or a field that does not exist.
    """
    parameters: dict[str, object] = {}

    def bound(field: Field, value: object) -> str:
        name = f"v{len(parameters)}"
        parameters[name] = _storable(field, value, dialect)
        kind = column_type(field.type).compile(dialect=dialect).partition(" COLLATE ")[0]
        return f"CAST(:{name} AS {kind})" if dialect.name == "postgresql" else f":{name}"

    assignments = [
        f"{quote(collection.by_name[name].column)} = {_source(collection, name, value, bound)}" for name, value in update.values.items()
    ]
    conditions = []
    for name, value in update.where.items():
        field = collection.by_name[name]
        column = quote(field.column)
        if value is None:
            conditions.append(f"{column} IS NULL")
        elif isinstance(value, list):
            conditions.append(f"{column} IN ({', '.join(bound(field, item) for item in value)})" if value else "false")
        else:
            conditions.append(f"{column} = {bound(field, value)}")
    return ", ".join(assignments), " AND ".join(conditions) or "true", parameters


def _source(collection: Collection, name: str, value: object, bound: Callable[[Field, object], str]) -> str:
    if isinstance(value, Mapping) and set(value) == {_FIELD}:
        other = str(value[_FIELD])
        if other not in collection.by_name:
            raise MigrationError(f"The collection {collection.name} has no field {other[:100]}.")
        return quote(collection.by_name[other].column)
    return "NULL" if value is None else bound(collection.by_name[name], value)


def _storable(field: Field, value: object, dialect: Dialect) -> object:
    """The value as plain data in the form that the engine stores; PostgreSQL casts it from its text."""
    base = field.type.base
    if base is Base.BINARY or (field.type.array and dialect.name == "postgresql"):
        raise MigrationError(f"update_data cannot set {field.name}, which is {field.type}.", hint="Write run_sql.")
    if base is Base.JSON or field.type.array:
        return write_json(value)
    if isinstance(value, dict | list) or isinstance(value, bool) is not (base is Base.BOOLEAN):
        raise MigrationError(f"A value that update_data gives for {field.name} is not of the type {field.type}.")
    if dialect.name == "postgresql":
        return str(value).lower() if isinstance(value, bool) else str(value)
    return _sqlite_value(field, value, dialect)


def _sqlite_value(field: Field, value: object, dialect: Dialect) -> object:
    """A plain value in the form that SQLite's column stores."""
    base = field.type.base
    try:
        if base is Base.DECIMAL:
            kind = SqliteDecimal(field.type.precision or MOST_SCALED_DIGITS, field.type.scale or 0)
            return kind.process_bind_param(Decimal(str(value)), dialect)
        if base is Base.DATETIME:
            return SqliteDateTime().process_bind_param(dt.datetime.fromisoformat(str(value)), dialect)
        if base is Base.UUID:
            return SqliteUuid().process_bind_param(str(value), dialect)
        # SQLite would store anything in any column.
        if not isinstance(value, bool):
            text_coercer(field.type, field.name)(str(value))
    except (ValueError, InvalidOperation, RequestError):
        raise MigrationError(f"A value that update_data gives for {field.name} is not of the type {field.type}.") from None
    return value
