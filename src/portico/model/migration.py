"""Migrations as data: what may be done to collections, a migration made of that, and the record of one that ran.

An operation says what is to change, never how: `catalog/operations.py` reads and writes them, `catalog/evolve.py` says what they make of
the collections, and each engine registers how it carries them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from portico.model.collection import Collection, Index, Partitioning, Relation, Security
from portico.model.field import Cascade, Field


@dataclass(frozen=True, slots=True)
class CreateCollection:
    """Create a collection with everything that its schema document says."""

    collection: Collection


@dataclass(frozen=True, slots=True)
class DropCollection:
    """Drop a collection and its documents."""

    name: str


@dataclass(frozen=True, slots=True)
class AddField:
    """Add a field; existing documents get its default."""

    collection: str
    field: Field


@dataclass(frozen=True, slots=True)
class DropField:
    """Drop a field and its values, with the indexes that hold it."""

    collection: str
    name: str


@dataclass(frozen=True, slots=True)
class AlterField:
    """Make the field of that name be as `field` says: its type, default, constraints, whether it is required."""

    collection: str
    field: Field


@dataclass(frozen=True, slots=True)
class RenameField:
    """Give a field, and its column, another name."""

    collection: str
    name: str
    to: str


@dataclass(frozen=True, slots=True)
class AddIndex:
    """Add an index."""

    collection: str
    index: Index


@dataclass(frozen=True, slots=True)
class DropIndex:
    """Drop an index."""

    collection: str
    name: str


@dataclass(frozen=True, slots=True)
class AddRelation:
    """Add a relation to another collection; where one local field points to one document, with a foreign key."""

    collection: str
    relation: Relation
    on_delete: Cascade = "restrict"


@dataclass(frozen=True, slots=True)
class DropRelation:
    """Drop a relation and its foreign key: the way back of `AddRelation`."""

    collection: str
    name: str


@dataclass(frozen=True, slots=True)
class SetSecurity:
    """Replace who reaches the documents of a collection."""

    collection: str
    security: Security


@dataclass(frozen=True, slots=True)
class SetPartitioning:
    """Split a table into partitions, or join them again (None)."""

    collection: str
    partitioning: Partitioning | None


@dataclass(frozen=True, slots=True)
class UpdateData:
    """Set fields of the documents that match.

    Attributes:
        values: field to new value, which is plain data, or ``{"$field": name}`` for another field of the same document.
        where: field to the value that it must have (None: it is null; a list: one of these); empty is every document.
    """

    collection: str
    values: Mapping[str, object]
    where: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class RunSql:
    """Run SQL of the author's own, and `down` to undo it; None: it cannot be undone."""

    sql: str
    down: str | None = None


Operation = (
    CreateCollection
    | DropCollection
    | AddField
    | DropField
    | AlterField
    | RenameField
    | AddIndex
    | DropIndex
    | AddRelation
    | DropRelation
    | SetSecurity
    | SetPartitioning
    | UpdateData
    | RunSql
)


def collection_of(operation: Operation) -> str | None:
    """The name of the collection that an operation is about; None for SQL, which may be about any."""
    if isinstance(operation, RunSql):
        return None
    if isinstance(operation, CreateCollection):
        return operation.collection.name
    return operation.name if isinstance(operation, DropCollection) else operation.collection


def fields_of(operation: Operation) -> tuple[str, ...]:
    """The fields that an operation is about, by name."""
    match operation:
        case AddField(_, field) | AlterField(_, field):
            return (field.name,)
        case DropField(_, name) | RenameField(_, name, _):
            return (name,)
        case AddIndex(_, index):
            return tuple(part.name for part in index.fields)
        case UpdateData(_, values, where):
            return (*values, *where)
    return ()


Checks = Mapping[tuple[str | None, str], Mapping[str, str]]
"""The definitions of check constraints by name, of each table by schema and name."""


Policies = Mapping[tuple[str | None, str], str | None]
"""What is told of the policy of each table that is under one, by schema and name; None where nothing is."""


@dataclass(frozen=True, slots=True)
class Change:
    """One operation with the collections before and after it, by name. `fresh` are the collections, and the
    fields (``collection.field``), that the same migration has created before.
    `checks` are the check constraints that the database has.
    """

    operation: Operation
    before: Mapping[str, Collection]
    after: Mapping[str, Collection]
    fresh: frozenset[str] = frozenset()
    checks: Checks = field(default_factory=dict)

    @property
    def old(self) -> Collection:
        """The collection that the operation is about, as it was."""
        return self.before[collection_of(self.operation) or ""]

    @property
    def new(self) -> Collection:
        """The collection that the operation is about, as it will be."""
        return self.after[collection_of(self.operation) or ""]


MIGRATOR = "portico migrate"
"""Who the audit says changed documents where no service asked for it. No service has a name with a space."""


class Status(StrEnum):
    """What became of a migration."""

    PENDING = "pending"
    EXECUTING = "executing"
    COMPLETED = "completed"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True, slots=True)
class Migration:
    """What is to be done to one database.

    Attributes:
        id: unique, in the order of time (``20260102_101500_add_invoices``). name: what dependencies may call it as well.
        operations: the way up. down: the way back; None: it is found from the state before, where there is one.
        dependencies: ids or names of migrations that must have completed.
        script: the SQL that it was given as, where it was not given as operations.
        checksum: of its content, in hexadecimal. irreversible: its author says that there is no way back.
        by: who asked for it: a service, or the command.
    """

    id: str
    name: str
    database: str
    operations: tuple[Operation, ...]
    down: tuple[Operation, ...] | None = None
    dependencies: tuple[str, ...] = ()
    description: str = ""
    version: str = ""
    collection_or_table: str | None = None
    script: str | None = None
    checksum: str = ""
    irreversible: bool = False
    by: str = MIGRATOR


@dataclass(frozen=True, slots=True)
class Record:
    """What the journal knows of a migration. `executed_at` and `created_at` are texts of ISO 8601 in UTC; `steps` were done of `of`.

    `unrecorded` are its operations that may change documents without an audit row or a version of them.
    """

    id: str
    name: str
    database: str
    status: Status
    checksum: str
    created_at: str | None = None
    executed_at: str | None = None
    description: str = ""
    version: str = ""
    collection_or_table: str | None = None
    script: str | None = None
    dependencies: tuple[str, ...] = ()
    error: str | None = None
    steps: int = 0
    of: int = 0
    unrecorded: tuple[str, ...] = ()
