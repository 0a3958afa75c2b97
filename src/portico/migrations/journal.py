"""The journal of a database's migrations, and the schema documents of the collections that they created."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa

from portico.builtin.migrations.roles import act_as_owner
from portico.catalog.declare import declare
from portico.engines.sql.companions_ddl import companion_metadata, companion_table
from portico.engines.sql.operations import Step, step_from_data, step_to_data
from portico.model.collection import Collection
from portico.model.companions import AUDIT, COLLECTIONS, MIGRATIONS
from portico.model.identity import Actor
from portico.model.migration import MIGRATOR, Migration, Record, Status

_MAY_READ = """SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'portico' AND c.relname = 'collections'"""

MIGRATIONS_NAME = "portico.migrations"
"""What rows of the audit that tell of migrations have for their collection."""

Documents = Mapping[str, Mapping[str, object] | None]
"""Schema documents by collection; None is one that is to be forgotten."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does, as the journal keeps it: its steps, what becomes of the stored documents, who asked, and whether it leads down."""

    steps: tuple[Step, ...]
    documents: Documents
    by: str
    down: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the journal: the record, the operations up and down as plain data, and where an unfinished run stands."""

    record: Record
    operations: Sequence[object]
    down: Sequence[object] | None
    plan: Plan | None
    progress: object


class Journal:
    """Reads and writes the journal on a connection; the caller commits."""

    def __init__(self, dialect: str) -> None:
        metadata = companion_metadata(dialect)
        self.table = companion_table(metadata, MIGRATIONS)
        self.stored = companion_table(metadata, COLLECTIONS)
        self.audit = companion_table(metadata, AUDIT)

    def exists(self, connection: sa.Connection) -> bool:
        """Whether the database has a journal."""
        inspector = sa.inspect(connection)
        return all(inspector.has_table(table.name, schema=table.schema) for table in (self.table, self.stored))

    def entries(self, connection: sa.Connection) -> list[Entry]:
        """Every row, in the order of the ids."""
        rows = connection.execute(sa.select(self.table).order_by(self.table.c.id)).mappings()
        return [_entry(row) for row in rows]

    def get(self, connection: sa.Connection, key: str) -> Entry | None:
        """One row, or None."""
        row = connection.execute(sa.select(self.table).where(self.table.c.id == key)).mappings().first()
        return _entry(row) if row is not None else None

    def begin(self, connection: sa.Connection, migration: Migration, up: object, down: object, plan: Plan) -> None:
        """Write down what is about to run: a new row, or the one of an attempt before."""
        values: dict[str, Any] = {
            "name": migration.name, "database": migration.database, "status": Status.EXECUTING.value, "checksum": migration.checksum,
            "version": migration.version, "description": migration.description, "collection_or_table": migration.collection_or_table,
            "dependencies": list(migration.dependencies), "operations": up, "down": down, "script": migration.script,
            "plan": _plan_to_data(plan), "steps": 0, "progress": None, "error": None,
        }  # fmt: skip
        changed = connection.execute(sa.update(self.table).where(self.table.c.id == migration.id).values(values))
        if changed.rowcount == 0:
            connection.execute(sa.insert(self.table).values({"id": migration.id, "created_at": _now(), **values}))

    def begin_down(self, connection: sa.Connection, key: str, plan: Plan) -> None:
        """Write down that the way back is about to run."""
        self._set(connection, key, status=Status.EXECUTING.value, plan=_plan_to_data(plan), steps=0, progress=None, error=None)

    def advance(self, connection: sa.Connection, key: str, steps: int, progress: object = None) -> None:
        """Write down how far it came."""
        self._set(connection, key, steps=steps, progress=progress)

    def blame(self, connection: sa.Connection, key: str, error: str) -> None:
        """Write down why it fails, before it is undone: the next run then goes on undoing it."""
        self._set(connection, key, error=error[:2000])

    def finish(self, connection: sa.Connection, key: str, status: Status, documents: Documents | None = None) -> None:
        """Write down how it ended, and keep the documents of what it made."""
        self._set(connection, key, status=status.value, plan=None, progress=None, executed_at=_now())
        for name, document in (documents or {}).items():
            connection.execute(sa.delete(self.stored).where(self.stored.c.name == name))
            if document is not None:
                connection.execute(sa.insert(self.stored).values(name=name, document=dict(document), updated_at=_now()))

    def tell(self, connection: sa.Connection, entry: Entry, actor: Actor, status: str) -> None:
        """Tell the audit how a run ended: what changed in the schema, without values. A database that keeps no audit is told nothing."""
        if not sa.inspect(connection).has_table(self.audit.name, schema=self.audit.schema):
            return
        down = entry.plan is not None and entry.plan.down
        operations = (entry.down if down else entry.operations) or ()
        after = {"name": entry.record.name, "status": status, "operations": list(map(_brief, operations))}
        if unrecorded := _unrecorded(operations):
            after["unrecorded"] = list(unrecorded)
        row = {
            "at": _now(), "service": actor.service, "correlation_id": actor.correlation_id, "collection": MIGRATIONS_NAME,
            "operation": "rollback" if down else "migrate", "document_key": entry.record.id, "after": after,
        }  # fmt: skip
        connection.execute(sa.insert(self.audit).values(row))

    def documents(self, connection: sa.Connection) -> dict[str, Mapping[str, object]]:
        """The stored schema documents by collection."""
        rows = connection.execute(sa.select(self.stored.c.name, self.stored.c.document))
        return {str(name): document for name, document in rows}

    def _set(self, connection: sa.Connection, key: str, **values: object) -> None:
        connection.execute(sa.update(self.table).where(self.table.c.id == key).values(**values))


def made_by_migrations(connection: sa.Connection, database: str) -> dict[str, Collection]:
    """The collections that migrations made, by name; none where there is no journal, or the login may not read it.

    Args:
        connection: in a transaction, which ends with another role where the login may act as the owner.
    """
    journal = Journal(connection.dialect.name)
    if not journal.exists(connection):
        return {}
    if connection.dialect.name == "postgresql":
        act_as_owner(connection)
        if not connection.scalar(sa.text(_MAY_READ)):
            return {}
    found = journal.documents(connection)
    return {name: declare(document, source="portico.collections", database=database) for name, document in found.items()}


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _plan_to_data(plan: Plan) -> dict[str, object]:
    documents = {name: dict(document) if document is not None else None for name, document in plan.documents.items()}
    return {"steps": [step_to_data(step) for step in plan.steps], "documents": documents, "down": plan.down, "by": plan.by}


def _entry(row: sa.RowMapping) -> Entry:
    plan = row["plan"]
    made = None
    if plan is not None:
        made = Plan(tuple(step_from_data(step) for step in plan["steps"]), plan["documents"], plan.get("by", MIGRATOR), bool(plan["down"]))
    record = Record(
        id=row["id"], name=row["name"], database=row["database"], status=Status(row["status"]), checksum=row["checksum"],
        created_at=_text(row["created_at"]), executed_at=_text(row["executed_at"]), description=row["description"] or "",
        version=row["version"] or "", collection_or_table=row["collection_or_table"], script=row["script"],
        dependencies=tuple(row["dependencies"] or ()), error=row["error"], steps=row["steps"], of=len(made.steps) if made else row["steps"],
        unrecorded=_unrecorded((row["down"] if row["status"] == Status.ROLLED_BACK.value else row["operations"]) or ()),
    )  # fmt: skip
    return Entry(record, row["operations"] or (), row["down"], made, row["progress"])


def _brief(operation: object) -> dict[str, object]:
    """An operation of the journal by its name and what it is about: its values may be secrets."""
    ((name, arguments),) = cast("Mapping[str, Mapping[str, object]]", operation).items()
    about = arguments.get("collection") or arguments.get("name")
    return {"operation": name} if about is None else {"operation": name, "collection": about}


def _unrecorded(operations: Sequence[object]) -> tuple[str, ...]:
    """Those of the operations whose changes of documents leave no rows: nobody knows what they change."""
    return tuple(name for operation in operations for name in cast("Mapping[str, object]", operation) if name == "run_sql")


def _text(moment: dt.datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
