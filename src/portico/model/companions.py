"""Companion records: what Portico keeps beside the documents, in the same database, so that both commit together.

Defined once, as collections of PostgreSQL's schema `portico`. On SQLite, which has one schema, their tables begin with ``portico_``.
The engines write them in the statement or transaction of the change; `init-db` creates them. They are not served as collections, and
row-level security does not guard them: the service answers history, audit and changes after scoping them itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from portico.model.collection import Collection, Index, IndexField
from portico.model.field import Base, Default, Field, FieldType

SCHEMA = "portico"
"""PostgreSQL's schema of the companion tables."""

SQLITE_PREFIX = "portico_"
"""What their tables' names begin with where there are no schemas."""

_DATABASE = Default("database")
_XID = FieldType(Base.NATIVE, native="xid8")

Privilege = Literal["SELECT", "INSERT", "UPDATE", "DELETE"]


@dataclass(frozen=True, slots=True)
class Companion:
    """One companion table, and what the application's role may do with it."""

    collection: Collection
    privileges: tuple[Privilege, ...]


def _text(name: str, *, required: bool = False) -> Field:
    return Field(name, FieldType(Base.TEXT), nullable=not required)


def _of(name: str, base: Base, *, required: bool = False, default: Default | None = None) -> Field:
    return Field(name, FieldType(base), nullable=not required, default=default)


_ID = Field("id", FieldType(Base.BIGINT), nullable=False, default=_DATABASE, generated=True)
_AT = _of("at", Base.DATETIME, required=True, default=Default("now"))
_WHO = (_text("service", required=True), _text("client_id"), _text("user_id"), _text("correlation_id", required=True))
_WHAT = (_text("collection", required=True), _text("operation", required=True), _text("document_key", required=True))
_WHOSE = (_text("document_client"), _text("document_user"))
"""Whose the document is: its tenant and its owner, itself or through its owner or parent; null where its collection has none. The caller
that `client_id` and `user_id` name may be another: a service that acts for everybody."""
_TRANSACTION = Field("transaction", _XID, nullable=False, default=_DATABASE)
"""The transaction that wrote the row: PostgreSQL fills it by the column's default; null on SQLite, whose writes are in order."""


def _table(
    name: str, fields: tuple[Field, ...], key: tuple[str, ...], *indexes: tuple[str, ...], unique: tuple[str, ...] = ()
) -> Collection:
    # Rows come in the order of their time, so a BRIN index finds a span of time and costs the writers next to nothing.
    made = [
        Index(f"idx_{name}_{'_'.join(names)}", tuple(IndexField(field) for field in names), kind="brin" if names == ("at",) else "btree")
        for names in indexes
    ]
    if unique:
        made.append(Index(f"uq_{name}_{'_'.join(unique)}", tuple(IndexField(field) for field in unique), unique=True))
    return Collection(name, "", name, fields, key, schema=SCHEMA, origin="builtin", indexes=tuple(made))


AUDIT = _table(
    "audit",
    (_ID, _AT, *_WHO, *_WHAT, *_WHOSE, _of("before", Base.JSON), _of("after", Base.JSON), _TRANSACTION),
    ("id",),
    ("collection", "document_key"),
    ("at",),
)
"""Who changed what, when, for whom: one row for each changed document. `before` and `after` are the row as JSON, hidden fields masked.

It is the outbox as well: the change feed, and what must follow a commit, read these rows in the order of their positions. A second row
for each change would say the same and cost every write another insert."""

VERSIONS = _table(
    "versions",
    (_ID, _AT, *_WHO, *_WHAT, *_WHOSE, _of("version", Base.INTEGER, required=True), _of("document", Base.JSON), _TRANSACTION),
    ("id",),
    unique=("collection", "document_key", "version"),
)
"""Every version of the documents of versioned collections, from 1; `document` is null where the version is a deletion."""

IDEMPOTENCY = _table(
    "idempotency",
    (
        _text("service", required=True),
        _text("tenant", required=True),
        _text("key", required=True),
        _of("request_hash", Base.BINARY, required=True),
        _of("status", Base.INTEGER),
        _of("headers", Base.JSON),
        _text("body"),
        _of("created_at", Base.DATETIME, required=True, default=Default("now")),
    ),
    ("service", "tenant", "key"),
    ("created_at",),
)
"""Answers of keyed writes. `tenant` is the empty text for scope ``*``."""

LEDGER = _table(
    "ledger",
    (
        _of("transaction_id", Base.UUID, required=True),
        Field("xid", _XID),
        _text("service", required=True),
        _text("holder", required=True),
        _of("begun_at", Base.DATETIME, required=True, default=Default("now")),
        _of("ended_at", Base.DATETIME),
        _text("state"),
        _text("reason"),
    ),
    ("transaction_id",),
    ("begun_at",),
)
"""Interactive transactions: who held them and how they ended, for every node that is asked."""

POSITIONS = _table(
    "positions",
    (
        _of("position", Base.BIGINT, required=True),
        _text("kind", required=True),
        _of("row_id", Base.BIGINT, required=True),
        _of("hash", Base.BINARY),
    ),
    ("position",),
    unique=("kind", "row_id"),
)
"""The order of visibility, given by the sequencer: `kind` is ``audit``, `row_id` the id of the row there.

A row of the kind ``mark`` says that every audit row up to that id has its position, or never comes."""

MIGRATIONS = _table(
    "migrations",
    (
        _text("id", required=True),
        _text("name", required=True),
        _text("database", required=True),
        _text("status", required=True),
        _text("checksum", required=True),
        _text("version"),
        _text("description"),
        _text("collection_or_table"),
        _of("dependencies", Base.JSON),
        _of("operations", Base.JSON),
        _of("down", Base.JSON),
        _text("script"),
        _of("plan", Base.JSON),
        _of("steps", Base.INTEGER, required=True, default=Default("literal", 0)),
        _of("progress", Base.JSON),
        _text("error"),
        _of("created_at", Base.DATETIME, required=True, default=Default("now")),
        _of("executed_at", Base.DATETIME),
    ),
    ("id",),
)
"""Migrations of this database: what ran, how far it came (`steps` of the `plan`, and within one), and why it failed."""

COLLECTIONS = _table(
    "collections",
    (_text("name", required=True), _of("document", Base.JSON), _of("updated_at", Base.DATETIME, required=True, default=Default("now"))),
    ("name",),
)
"""Schema documents of the collections that migrations created, for what a database cannot say of them."""

COMPANIONS: tuple[Companion, ...] = (
    Companion(AUDIT, ("SELECT", "INSERT")),
    Companion(VERSIONS, ("SELECT", "INSERT")),
    Companion(IDEMPOTENCY, ("SELECT", "INSERT", "UPDATE", "DELETE")),
    Companion(LEDGER, ("SELECT", "INSERT", "UPDATE", "DELETE")),
    Companion(POSITIONS, ("SELECT", "INSERT")),
    Companion(MIGRATIONS, ("SELECT",)),
    Companion(COLLECTIONS, ("SELECT",)),
)
"""Every companion table. The audit, the versions and the positions are insert-only for the application's role."""


def for_sqlite(companion: Collection) -> Collection:
    """The companion as SQLite stores it: the prefixed name, transaction ids as plain integers that may be null."""
    fields = tuple(
        replace(field, type=FieldType(Base.BIGINT), nullable=True, default=None) if field.type == _XID else field
        for field in companion.fields
    )
    indexes = tuple(replace(index, name=SQLITE_PREFIX + index.name) for index in companion.indexes)
    return replace(companion, table=SQLITE_PREFIX + companion.table, schema=None, fields=fields, indexes=indexes)
