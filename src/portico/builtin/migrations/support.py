"""What the revisions share: columns by the names of field types, the schema, and the difference between the two SQL engines."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.sql.elements import ColumnElement

from portico.engines.sql.ddl import Now, RandomUuid
from portico.engines.sql.types import column_type
from portico.model.field import parse_type

APP = "app"


def on_postgresql() -> bool:
    """Whether the migrated database has schemas, roles and policies."""
    return op.get_context().dialect.name == "postgresql"


def schema() -> str | None:
    """The schema of the built-in collections."""
    return APP if on_postgresql() else None


def qualified(table: str) -> str:
    """A table's name as SQL text."""
    return f"{APP}.{table}" if on_postgresql() else table


def column(
    name: str, kind: str, *, required: bool = False, default: ColumnElement[Any] | str | None = None, key: bool = False
) -> sa.Column[object]:
    """A column of a field type, such as ``string(255)``; a key's is required."""
    return sa.Column(name, column_type(parse_type(kind)), nullable=not (required or key), server_default=default)


def uuid_key(name: str) -> sa.Column[object]:
    """A UUID key's column, random by the database's default."""
    return column(name, "uuid", key=True, default=RandomUuid())


def moment(name: str) -> sa.Column[object]:
    """A required datetime, by default the transaction's time."""
    return column(name, "datetime", required=True, default=Now())


def json_object(name: str) -> sa.Column[object]:
    """A JSON column, by default an empty object."""
    return column(name, "json", default="{}")


def key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    """The primary key's constraint."""
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def reference(table: str, name: str, target: str, on_delete: str | None = None) -> sa.ForeignKeyConstraint:
    """A foreign key to ``table.column``."""
    return sa.ForeignKeyConstraint([name], [qualified(target)], name=f"fk_{table}_{name}", ondelete=on_delete)


def one_of(table: str, name: str, *values: str) -> sa.CheckConstraint:
    """An enumeration as a check."""
    texts = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{name} IN ({texts})", name=f"ck_{table}_{name}_in")


def add_reference(table: str, name: str, kind: str, target: str) -> None:
    """Add a column with its foreign key in one statement: the only way that SQLite has, and PostgreSQL takes it too."""
    target_table, _, target_column = target.partition(".")
    sql_type = column_type(parse_type(kind)).compile(dialect=op.get_context().dialect)
    constraint = f"CONSTRAINT fk_{table}_{name} REFERENCES {qualified(target_table)} ({target_column})"
    op.execute(f"ALTER TABLE {qualified(table)} ADD COLUMN {name} {sql_type} {constraint}")


def drop_columns(name: str, *tables: str) -> None:
    """Drop a column of each table."""
    for table in tables:
        op.execute(f"ALTER TABLE {qualified(table)} DROP COLUMN {name}")
