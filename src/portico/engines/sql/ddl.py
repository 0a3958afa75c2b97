"""Tables of collections: SQLAlchemy tables with the keys, checks, defaults and indexes that a collection declares."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.schema import SchemaItem

from portico.engines.sql.identifiers import APP_SCHEMA
from portico.engines.sql.partitions import is_partitioned, partition_by, partition_key
from portico.engines.sql.types import column_type, stored_datetime
from portico.errors import ConfigurationError
from portico.model.collection import Collection, Index
from portico.model.field import Base, Field, Reference
from portico.query.json_text import write_json


class Now(sa.sql.functions.GenericFunction[Any]):
    """The database's own default of a datetime: the transaction's time, in the form that the engine stores."""

    type = sa.DateTime(timezone=True)
    inherit_cache = True
    name = "portico_now"


class RandomUuid(sa.sql.functions.GenericFunction[Any]):
    """The database's own default of a UUID: a random one (version 4)."""

    type = sa.Uuid()
    inherit_cache = True
    name = "portico_random_uuid"


@compiles(Now)
def _now(_element: Now, _compiler: SQLCompiler, **_: object) -> str:
    return "CURRENT_TIMESTAMP"


@compiles(Now, "sqlite")
def _now_sqlite(_element: Now, _compiler: SQLCompiler, **_: object) -> str:
    # SQLite's CURRENT_TIMESTAMP has another form than the datetimes that Portico stores, and would not sort among them.
    return "(strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z')"


@compiles(RandomUuid)
def _random_uuid(_element: RandomUuid, _compiler: SQLCompiler, **_: object) -> str:
    return "gen_random_uuid()"


@compiles(RandomUuid, "sqlite")
def _random_uuid_sqlite(_element: RandomUuid, _compiler: SQLCompiler, **_: object) -> str:
    parts = "lower(hex(randomblob(4))) || '-' || lower(hex(randomblob(2))) || '-4' || substr(lower(hex(randomblob(2))), 2) || '-' || "
    return f"({parts}substr('89ab', 1 + (random() & 3), 1) || substr(lower(hex(randomblob(2))), 2) || '-' || lower(hex(randomblob(6))))"


def build_metadata(
    collections: Iterable[Collection], *, dialect: str, referenced: Iterable[Collection] = (), default_schema: str = APP_SCHEMA
) -> sa.MetaData:
    """The tables of `collections`, ready for `create_all`.

    Args:
        collections: those to create. Each needs a primary key.
        dialect: ``postgresql`` or ``sqlite``.
        referenced: collections that exist already and that foreign keys may point to.
        default_schema: PostgreSQL's schema for collections that name none.

    Raises:
        ConfigurationError: a type that the dialect cannot store, a reference to nothing, no primary key.
    """
    wanted = list(collections)
    known = {item.name: item for item in [*referenced, *wanted]}
    metadata = sa.MetaData()
    for collection in wanted:
        table(collection, metadata, dialect=dialect, known=known, default_schema=default_schema)
    return metadata


def referenced_stubs(metadata: sa.MetaData, collections: Iterable[Collection], *, dialect: str, default_schema: str = APP_SCHEMA) -> None:
    """Add what foreign keys need to know of tables that exist already: their names and columns. They are not to be created."""
    for collection in collections:
        schema = _schema(collection, dialect, default_schema)
        if f"{schema}.{collection.table}" not in metadata.tables and collection.table not in metadata.tables:
            columns: list[SchemaItem] = [sa.Column(field.column, column_type(field.type)) for field in collection.fields]
            sa.Table(collection.table, metadata, *columns, schema=schema)


def table(
    collection: Collection, metadata: sa.MetaData, *, dialect: str, known: Mapping[str, Collection], default_schema: str = APP_SCHEMA
) -> sa.Table:
    """The table of one collection; arguments and errors as in `build_metadata`, `known` by name."""
    if not collection.primary_key:
        raise ConfigurationError(
            f"The collection {collection.name} has no primary key, so its table cannot be created.",
            hint="Give one field the constraint primary_key.",
        )
    schema = _schema(collection, dialect, default_schema)
    items: list[SchemaItem] = [_column(item, collection, dialect) for item in collection.fields]
    items += [check for item in collection.fields for check in _checks(item, collection, dialect)]
    items += [
        _foreign_key(item, collection, known, dialect, default_schema)
        for item in collection.fields
        if item.references and not _cannot_refer(item.references, known, dialect)
    ]
    split = partition_key(collection, dialect)
    items += [
        sa.UniqueConstraint(*dict.fromkeys((item.column, *split)), name=f"uq_{collection.table}_{item.column}")
        for item in collection.fields
        if item.constraints.unique and collection.primary_key != (item.name,)
    ]
    key = dict.fromkeys([*(field.column for field in collection.key_fields), *split])
    items.append(sa.PrimaryKeyConstraint(*key, name=f"pk_{collection.table}"))
    identity = len(collection.key_fields) == 1 and _is_sequence(collection.key_fields[0])
    options: dict[str, Any] = {"postgresql_partition_by": partition_by(collection)} if split else {}
    made = sa.Table(collection.table, metadata, *items, schema=schema, sqlite_autoincrement=identity, **options)
    for index in collection.indexes:
        _index(index, collection, made, dialect)
    return made


def _schema(collection: Collection, dialect: str, default_schema: str) -> str | None:
    return (collection.schema or default_schema) if dialect == "postgresql" else None


def _cannot_refer(reference: Reference, known: Mapping[str, Collection], dialect: str) -> bool:
    """Whether the database cannot hold the foreign key, because the other table's key has the partition's key too: Portico performs it."""
    target = known.get(reference.collection)
    if target is None or not is_partitioned(target, dialect) or reference.field not in target.by_name:
        return False
    return partition_key(target, dialect) != (target.by_name[reference.field].column,)


def _is_sequence(field: Field) -> bool:
    counted = field.default is not None and field.default.kind == "database" and field.default.value is None
    return field.type.base in (Base.INTEGER, Base.BIGINT) and not field.type.array and (counted or field.generated)


def _column(field: Field, collection: Collection, dialect: str) -> sa.Column[object]:
    kind = column_type(field.type)
    counted = collection.primary_key == (field.name,) and _is_sequence(field)
    arguments: list[SchemaItem] = []
    if counted and dialect == "sqlite":
        # Only a column declared INTEGER is SQLite's rowid.
        kind = sa.Integer()
    elif counted and field.generated:
        arguments.append(sa.Identity(always=True))
    return sa.Column(
        field.column, kind, *arguments, nullable=field.nullable, server_default=server_default(field, dialect), autoincrement=counted
    )


def server_default(field: Field, dialect: str) -> ColumnElement[Any] | sa.TextClause | str | None:
    """The database's own default of a field, which holds for writers that are not Portico."""
    default = field.default
    if default is None or default.kind in ("database", "joined"):
        return None
    if default.kind == "uuid7":
        return RandomUuid()
    if default.kind == "now":
        return sa.text("CURRENT_DATE") if field.type.base is Base.DATE else Now()
    value = default.value
    if field.type.base is Base.JSON or isinstance(value, dict | list):
        return write_json(value)
    return _literal(value, field, dialect)


def _literal(value: object, field: Field, dialect: str) -> ColumnElement[Any]:
    """A declared value as a literal of the DDL, in the form that the engine stores."""
    literal: ColumnElement[Any]
    if isinstance(value, bool):
        literal = sa.true() if value else sa.false()
    elif field.type.base is Base.DECIMAL:
        number = Decimal(str(value))
        literal = sa.literal(int(number.scaleb(field.type.scale or 0)) if dialect == "sqlite" else number)
    elif isinstance(value, dt.datetime):
        literal = sa.literal(stored_datetime(value))
    elif isinstance(value, dt.date):
        literal = sa.literal(value.isoformat())
    else:
        literal = sa.literal(value)
    return literal


def _checks(field: Field, collection: Collection, dialect: str) -> list[sa.CheckConstraint]:
    if field.type.array:
        return []
    rules = field.constraints
    column: sa.ColumnClause[object] = sa.column(field.column)
    length = sa.func.length(column)
    found: list[tuple[str, ColumnElement[bool] | None]] = [
        (
            "in",
            column.in_([_literal(value, field, dialect) for value in choices]) if (choices := rules.choices or field.type.values) else None,
        ),
        ("min", column >= _literal(rules.minimum, field, dialect) if rules.minimum is not None else None),
        ("max", column <= _literal(rules.maximum, field, dialect) if rules.maximum is not None else None),
        ("min_length", length >= sa.literal(rules.min_length) if rules.min_length is not None else None),
        ("max_length", length <= sa.literal(rules.max_length) if rules.max_length is not None else None),
    ]
    return [sa.CheckConstraint(rule, name=f"ck_{collection.table}_{field.column}_{kind}") for kind, rule in found if rule is not None]


def _foreign_key(
    field: Field, collection: Collection, known: Mapping[str, Collection], dialect: str, default_schema: str
) -> sa.ForeignKeyConstraint:
    reference = field.references
    target = known.get(reference.collection) if reference is not None else None
    if reference is None or target is None or reference.field not in target.by_name:
        raise ConfigurationError(f"The field {collection.name}.{field.name} refers to a collection or field that does not exist.")
    schema, column = _schema(target, dialect, default_schema), target.by_name[reference.field].column
    action = {"cascade": "CASCADE", "set_null": "SET NULL"}.get(reference.on_delete)
    referred = f"{schema}.{target.table}.{column}" if schema else f"{target.table}.{column}"
    return sa.ForeignKeyConstraint([field.column], [referred], name=f"fk_{collection.table}_{field.column}", ondelete=action)


def _index(index: Index, collection: Collection, made: sa.Table, dialect: str) -> None:
    columns = [(made.c[collection.by_name[part.name].column], part.descending) for part in index.fields]
    kind = index.kind if dialect == "postgresql" else "btree"
    if index.kind == "gin" and kind == "btree":
        # SQLite has no inverted index; one over a whole JSON text would serve nothing.
        return
    options: dict[str, Any] = {"postgresql_using": kind} if kind != "btree" else {}
    sa.Index(index.name, *[column.desc() if descending else column for column, descending in columns], unique=index.unique, **options)
