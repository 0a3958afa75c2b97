"""Runs migrations: one migrator at a time, each migration whole or not at all, and finished by the next run where this one is killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from portico.builtin.connect import migration_lock, sync_engine, wait_for_database
from portico.builtin.searching import index_search
from portico.catalog.operations import read_operations
from portico.engines.sql.companions_ddl import create_companions
from portico.errors import Conflict, MigrationError, MissingDependency, NotFound, PorticoError
from portico.migrations.execution import Execution
from portico.migrations.faults import translate
from portico.migrations.journal import Entry, Journal
from portico.migrations.planning import Planned, Target, after, plan_down, plan_up, stored_collections
from portico.migrations.postgres import PostgresRunner
from portico.migrations.sqlite import SqliteRunner, file_lock
from portico.model.companions import COLLECTIONS, MIGRATIONS
from portico.model.migration import MIGRATOR, Checks, Migration, Policies, Record, Status

Tell = Callable[[str], None]
"""Is told what happens, a line each."""


def silent(_: str) -> None:
    """Tells nobody."""


class Migrator:
    """Migrates one database.

    Args:
        url: of the migrating login. target: the database. wait_seconds: how long to wait for it to answer.
        lock_seconds: how long to wait for another migrator. tell: is told of each step.
    """

    def __init__(self, url: str, target: Target, *, wait_seconds: float = 60, lock_seconds: float = 600, tell: Tell = silent) -> None:
        self._engine = sync_engine(url, wait_seconds=wait_seconds)
        # The one for migrations takes SQLite's writer with each transaction.
        self._reader = self._engine if self._engine.dialect.name == "postgresql" else sa.create_engine(self._engine.url, poolclass=NullPool)
        self.target = target
        self._wait, self._lock_wait, self._tell = wait_seconds, lock_seconds, tell
        self._journal = Journal(self._engine.dialect.name)

    # --- what is asked -----------------------------------------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        """The journal; empty where there is none yet. Raises DatabaseUnavailable."""
        wait_for_database(self._reader, wait_seconds=self._wait)
        try:
            return self._read()
        except DBAPIError as error:
            raise translate(error, "read the journal") from error

    def _read(self) -> list[Entry]:
        with self._reader.connect() as connection:
            if self._engine.dialect.name == "postgresql":
                runner = PostgresRunner(connection.execution_options(isolation_level="AUTOCOMMIT"))
                if not self._journal.exists(connection):
                    return []
                with runner.journal():
                    return self._journal.entries(connection)
            return self._journal.entries(connection) if self._journal.exists(connection) else []

    def checks(self) -> Checks | None:
        """The check constraints that the database has; None where it cannot say."""
        if self._engine.dialect.name != "postgresql":
            return None
        with self._engine.connect() as connection:
            return PostgresRunner(connection).checks()

    def policies(self) -> Policies | None:
        """The policies that the database has in force; None where it has none to have."""
        if self._engine.dialect.name != "postgresql":
            return None
        with self._engine.connect() as connection:
            return PostgresRunner(connection).policies()

    def plan(self, migrations: Sequence[Migration]) -> list[tuple[Migration, Planned]]:
        """What `up` would do now. Nothing is changed. Raises MigrationError as `up`."""
        entries, checks = self.entries(), self.checks()
        known = self.target.known(checks)
        found: list[tuple[Migration, Planned]] = []
        done = _completed(entries)
        for migration in pending(migrations, entries):
            _check_dependencies(migration, done)
            found.append((migration, plan_up(self.target, migration, known, {}, checks)))
            known = after(migration.operations, known)
            done |= {migration.id, migration.name}
        return found

    # --- what is done ------------------------------------------------------------------------------------------------------

    def up(self, migrations: Sequence[Migration]) -> list[Record]:
        """Finish what an earlier run left, and run every migration that is pending, in order; gives the records of those that ran.

        Raises:
            MigrationError: one failed, and left nothing behind; or an applied one was changed since.
            MissingDependency: one depends on another that has not completed. DatabaseUnavailable: the connection was lost.
        """
        with self._session() as execution:
            ran = self._finish_interrupted(execution)
            for migration in pending(migrations, execution.entries()):
                ran.append(self._apply(execution, migration))
            return ran

    def run(self, migration: Migration) -> Record:
        """Run one migration that is not in the journal. Raises as `up`; Conflict where one of its name has completed."""
        with self._session() as execution:
            self._finish_interrupted(execution)
            for entry in execution.entries():
                if entry.record.name == migration.name and entry.record.status is Status.COMPLETED:
                    raise Conflict(f"The migration {migration.name} has been applied already.", details={"id": entry.record.id})
            return self._apply(execution, migration)

    def rollback(self, key: str, by: str = MIGRATOR) -> Record:
        """Run the way down of one migration, for `by`.

        Raises:
            NotFound, Conflict: it is not applied. MigrationError: there is no way.
        """
        with self._session() as execution:
            self._finish_interrupted(execution)
            entry = next((item for item in execution.entries() if item.record.id == key), None)
            if entry is None:
                raise NotFound(f"There is no migration {key[:100]}.")
            return self._down(execution, entry, by)

    def down(self, steps: int = 1) -> list[Record]:
        """Run the way down of the last `steps` migrations that were applied, last first."""
        with self._session() as execution:
            self._finish_interrupted(execution)
            done = [entry for entry in execution.entries() if entry.record.status is Status.COMPLETED]
            done.sort(key=lambda entry: (entry.record.executed_at or "", entry.record.id))
            return [self._down(execution, entry, MIGRATOR) for entry in done[::-1][:steps]]

    @contextmanager
    def _session(self) -> Iterator[Execution]:
        wait_for_database(self._engine, wait_seconds=self._wait)
        if self._engine.dialect.name == "postgresql":
            with migration_lock(self._engine, wait_seconds=self._lock_wait) as connection:
                yield self._prepared(PostgresRunner(connection))
                self._index_search()
        else:
            with file_lock(str(self._engine.url.database), wait_seconds=self._lock_wait), self._engine.connect() as connection:
                yield self._prepared(SqliteRunner(connection))
                self._index_search()

    def _index_search(self) -> None:
        """Follow what was migrated: triggers that name what is there now, and what they index."""
        collections = {name: item for name, item in self.target.known(self.checks()).items() if item.database == self.target.database}
        for name in index_search(self._engine, collections):
            self._tell(f"{name}: indexed for search")

    def _prepared(self, runner: PostgresRunner | SqliteRunner) -> Execution:
        execution = Execution(runner, self._journal, self._tell)
        connection = runner.connection
        if not self._journal.exists(connection):
            _end_reading(connection)
            execution.translated(
                lambda: runner.prepare(lambda: create_companions(connection, (MIGRATIONS, COLLECTIONS))), "create the journal"
            )
        _end_reading(connection)
        return execution

    def _apply(self, execution: Execution, migration: Migration) -> Record:
        _check_dependencies(migration, _completed(execution.entries()))
        self._tell(f"{migration.id}: {migration.name}")
        stored = stored_collections(execution.documents(), self.target.database)
        try:
            checks = execution.checks()
            planned = plan_up(self.target, migration, self.target.known(checks), stored, checks)
        except PorticoError as error:
            execution.refuse(migration, error)
            raise
        execution.begin(migration, planned)
        return execution.finish(migration.id)

    def _down(self, execution: Execution, entry: Entry, by: str) -> Record:
        record = entry.record
        if record.status is not Status.COMPLETED:
            raise Conflict(f"The migration {record.id} is {record.status.value}, so there is nothing to undo.")
        if entry.down is None:
            raise MigrationError(f"The migration {record.id} cannot be undone.", hint="Write a new one that leads back.")
        needing = [
            other.record.id
            for other in execution.entries()
            if other.record.status is Status.COMPLETED and {record.id, record.name} & set(other.record.dependencies)
        ]
        if needing:
            raise Conflict(f"{', '.join(needing)} depends on {record.id}.", hint="Undo that first.")
        self._tell(f"{record.id}: down")
        stored = stored_collections(execution.documents(), self.target.database)
        operations = read_operations(entry.down, record.id)
        checks = execution.checks()
        execution.begin_down(record.id, plan_down(self.target, operations, self.target.known(checks), stored, checks, by))
        return execution.finish(record.id)

    def _finish_interrupted(self, execution: Execution) -> list[Record]:
        found: list[Record] = []
        for entry in execution.entries():
            if entry.record.status is Status.EXECUTING:
                self._tell(f"{entry.record.id}: was interrupted, goes on")
                found.append(execution.finish(entry.record.id))
        return found


def pending(migrations: Sequence[Migration], entries: Sequence[Entry]) -> list[Migration]:
    """Those that have not completed, in order.

    Raises:
        MigrationError: an applied one was changed since; the error names it.
    """
    known = {entry.record.id: entry.record for entry in entries}
    changed = [
        migration.id
        for migration in migrations
        if (record := known.get(migration.id)) is not None
        and record.status in (Status.COMPLETED, Status.EXECUTING)
        and record.checksum != migration.checksum
    ]
    if changed:
        raise MigrationError(
            f"Changed after it was applied: {', '.join(changed)}.",
            hint="Put the file back as it was, and write a new migration for what is to change.",
            details={"migrations": changed},
        )
    applied = {key for key, record in known.items() if record.status in (Status.COMPLETED, Status.EXECUTING)}
    return [migration for migration in migrations if migration.id not in applied]


def _completed(entries: Sequence[Entry]) -> set[str]:
    done = [entry.record for entry in entries if entry.record.status is Status.COMPLETED]
    return {name for record in done for name in (record.id, record.name)}


def _check_dependencies(migration: Migration, done: set[str]) -> None:
    missing = [name for name in migration.dependencies if name not in done]
    if missing:
        raise MissingDependency(
            f"{migration.name} depends on {', '.join(missing)}, which has not been applied.", details={"missing": missing}
        )


def _end_reading(connection: sa.Connection) -> None:
    """End the transaction that SQLAlchemy began for a read."""
    if connection.in_transaction():
        connection.rollback()
