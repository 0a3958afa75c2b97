"""Migrations that callers ask for: who may, what they come to, and their answers. How they run is handed in."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Protocol

from portico.catalog.operations import read_operations
from portico.catalog.reading import Reader
from portico.errors import ConfigurationError, Forbidden, InvalidRequest, InvalidValue, NotFound, NotSupported
from portico.model.identity import Identity, Permission
from portico.model.migration import Migration, Operation, Record, RunSql, Status, collection_of

_KEYS = frozenset({
    "name", "description", "version", "database", "collection_or_table", "dependencies", "operations", "script", "down", "dry_run",
})  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:-]{0,99}")

Answer = dict[str, object]


class Migrating(Protocol):
    """Runs migrations of one database; its methods block."""

    def run(self, migration: Migration) -> Record:
        """Run one migration."""
        ...

    def rollback(self, key: str, by: str) -> Record:
        """Run the way down of one, for the service `by`."""
        ...

    def records(self) -> Sequence[Record]:
        """Every migration that the database's journal knows."""
        ...

    def operations(self, key: str) -> tuple[tuple[Operation, ...], tuple[Operation, ...]]:
        """The operations up and down of a migration in the journal. Raises NotFound."""
        ...

    def show(self, migration: Migration) -> Sequence[Mapping[str, object]]:
        """The steps that it would take, with their SQL; nothing is changed."""
        ...


class Migrations:
    """Answers the calls of `/api/db/migrations`.

    Args:
        migrators: those of the SQL databases, by name, main one first. refresh: reads one database's collections anew.
    """

    def __init__(self, migrators: Mapping[str, Migrating], *, refresh: Callable[[str], Awaitable[object]]) -> None:
        self._migrators = migrators
        self._refresh = refresh

    async def create(self, identity: Identity, body: object) -> tuple[Answer, bool]:
        """Run a migration, or with `dry_run` show it; gives the answer and whether it ran.

        Raises:
            Forbidden: the caller may not. InvalidRequest, InvalidValue: the body is none. MissingDependency: one has not been applied.
            MigrationError: it failed, and left nothing behind but its record.
        """
        migration, dry = self._read(body)
        migration = replace(migration, by=identity.service)
        _allow(identity, migration.operations)
        _allow(identity, migration.down or ())
        migrator = self._migrator(migration.database)
        if dry:
            steps = await asyncio.to_thread(migrator.show, migration)
            return {**_pending(migration), "dry_run": True, "steps": list(steps)}, False
        # The thread goes on where the caller leaves: what has begun is finished or undone.
        record = await asyncio.shield(asyncio.ensure_future(self._changed(migration.database, lambda: migrator.run(migration))))
        return described(record), True

    async def rollback(self, identity: Identity, key: str) -> Answer:
        """Run the way down. Raises NotFound, Conflict, MigrationError, Forbidden."""
        database = await self._database_of(key)
        migrator = self._migrators[database]
        up, down = await asyncio.to_thread(migrator.operations, key)
        _allow(identity, up)
        _allow(identity, down)
        record = await asyncio.shield(asyncio.ensure_future(self._changed(database, lambda: migrator.rollback(key, identity.service))))
        return described(record)

    async def list(self, identity: Identity) -> list[Answer]:
        """Every migration of every database, in the order of their ids."""
        _require_everything(identity, Permission.MIGRATE)
        found = [record for name in self._migrators for record in await asyncio.to_thread(self._migrators[name].records)]
        return [described(record) for record in sorted(found, key=lambda record: record.id)]

    async def status(self, identity: Identity) -> Answer:
        """How many migrations are in which state, by database, and what is running or has failed."""
        records = await self.list(identity)
        states = {status.value: sum(1 for record in records if record["status"] == status.value) for status in Status}
        last = max((record for record in records if record["executed_at"]), key=lambda record: str(record["executed_at"]), default=None)
        unfinished = [record for record in records if record["status"] in (Status.EXECUTING.value, Status.FAILED.value)]
        return {"databases": list(self._migrators), "counts": states, "last": last, "unfinished": unfinished}

    async def _changed(self, database: str, work: Callable[[], Record]) -> Record:
        try:
            return await asyncio.to_thread(work)
        except ConfigurationError as error:
            # The caller is told what who runs Portico has to configure.
            raise Forbidden(error.message, hint=error.hint) from error
        finally:
            await self._refresh(database)

    async def _database_of(self, key: str) -> str:
        for name, migrator in self._migrators.items():
            if any(record.id == key for record in await asyncio.to_thread(migrator.records)):
                return name
        raise NotFound(f"There is no migration {key[:100]}.")

    def _migrator(self, database: str) -> Migrating:
        if database not in self._migrators:
            raise NotSupported("migrations", database, message=f"The database {database[:100]} is not one that migrations change.")
        return self._migrators[database]

    def _read(self, body: object) -> tuple[Migration, bool]:
        try:
            return self._understood(Reader(_plain(body), "The migration", _KEYS))
        except ConfigurationError as error:
            raise InvalidRequest(error.message, hint=error.hint, details=error.details) from None

    def _understood(self, reader: Reader) -> tuple[Migration, bool]:
        name = reader.required_text("name")
        if _NAME.fullmatch(name) is None:
            raise InvalidValue(
                "The name of a migration has letters, digits, spaces and . _ : -, up to 100 of them.", details={"field": "name"}
            )
        script = reader.text("script")
        if (script is None) is ("operations" not in reader):
            raise InvalidRequest("A migration has either operations or a script.")
        operations = (RunSql(script),) if script is not None else read_operations(reader.raw("operations"), "operations")
        if not operations:
            raise InvalidValue("A migration has at least one operation.", details={"field": "operations"})
        down = read_operations(reader.raw("down"), "down") if "down" in reader else None
        text = json.dumps([reader.raw("operations"), script, reader.raw("down")], sort_keys=True, default=str)
        migration = Migration(
            id=_new_id(name), name=name, database=reader.text("database") or next(iter(self._migrators), ""), operations=operations,
            down=down, dependencies=reader.names("dependencies"), description=reader.text("description") or "",
            version=reader.text("version") or "", script=script, checksum=hashlib.sha256(text.encode()).hexdigest(),
            collection_or_table=reader.text("collection_or_table") or next(filter(None, map(collection_of, operations)), None),
        )  # fmt: skip
        return migration, reader.flag("dry_run")


def _plain(value: object) -> object:
    """The body with numbers as the journal's JSON can keep them."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def described(record: Record) -> Answer:
    """A record as it is answered."""
    return {
        "id": record.id, "name": record.name, "created_at": record.created_at, "executed_at": record.executed_at,
        "status": record.status.value, "database": record.database, "collection_or_table": record.collection_or_table,
        "description": record.description, "version": record.version, "script": record.script,
        "dependencies": list(record.dependencies), "error": record.error, "unrecorded": list(record.unrecorded),
    }  # fmt: skip


def _pending(migration: Migration) -> Answer:
    return {
        "id": migration.id, "name": migration.name, "created_at": None, "executed_at": None, "status": Status.PENDING.value,
        "database": migration.database, "collection_or_table": migration.collection_or_table, "description": migration.description,
        "version": migration.version, "script": migration.script, "dependencies": list(migration.dependencies),
    }  # fmt: skip


def _new_id(name: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:60]
    return f"{dt.datetime.now(dt.UTC):%Y%m%d_%H%M%S_%f}_{slug}"


def _allow(identity: Identity, operations: Sequence[Operation]) -> None:
    """A migration changes every client's documents, so a service that acts for some clients only may not run one."""
    _require_everything(identity, Permission.MIGRATE)
    for operation in operations:
        name = collection_of(operation)
        if name is None:
            _granted(identity, Permission.ADMIN, "*")
        else:
            _granted(identity, Permission.MIGRATE, name)


def _require_everything(identity: Identity, permission: Permission) -> None:
    if not identity.may_ask_everything or not any(permission in rule.permissions for rule in identity.rules):
        raise Forbidden(
            "Migrations are for services that may act for every client and have the permission migrate.",
            hint="Ask who runs Portico for a key with --clients '*' and the permission migrate.",
            details={"permission": permission.value},
        )


def _granted(identity: Identity, permission: Permission, name: str) -> None:
    """SQL of one's own may reach anything, so its permission has to be granted on everything."""
    for rule in identity.rules:
        if permission in rule.permissions and (rule.pattern == "*" if name == "*" else fnmatchcase(name, rule.pattern)):
            return
    raise Forbidden(
        f"The permission {permission.value} on {name[:100]} is not granted.",
        hint="Ask who runs Portico for a key that has it.",
        details={"permission": permission.value, "collection": name[:100]},
    )
