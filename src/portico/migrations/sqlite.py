"""Runs steps on SQLite: a migration is one transaction, under a lock that one process has at a time."""

from __future__ import annotations

import fcntl
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from portico.engines.sql.operations import Recorded, Step
from portico.engines.sqlite.recording import change_recorded, lacks_companions
from portico.errors import MigrationError
from portico.migrations.faults import unrecordable
from portico.model.identity import Actor

_PAUSE_SECONDS = 0.1


@contextmanager
def file_lock(file: str, *, wait_seconds: float) -> Iterator[None]:
    """Hold the lock of migrations of an SQLite file: a file beside it, which the system unlocks when its holder dies.

    Raises:
        MigrationError: another migrator held it for longer than `wait_seconds`.
    """
    deadline = time.monotonic() + wait_seconds
    with Path(f"{file}.migrate").open("a") as handle:
        while not _locked(handle.fileno()):
            if time.monotonic() >= deadline:
                raise MigrationError("Another migration is running.", hint="Wait for it to end.")
            time.sleep(_PAUSE_SECONDS)
        yield


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class SqliteRunner:
    """Runs the steps of a migration in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection

    def prepare(self, create: Callable[[], None]) -> None:
        """Create the journal by `create`."""
        with self.journal():
            create()

    @contextmanager
    def journal(self) -> Iterator[None]:
        """A transaction in which the journal may be written."""
        with self.connection.begin():
            yield

    def run_all(self, steps: tuple[Step, ...], actor: Actor, finish: Callable[[], None]) -> None:
        """Run every step on behalf of `actor`, and `finish`, or nothing.

        Raises:
            MigrationError: documents would refer to others that do not exist, or would change without a record.
        """
        with self.connection.begin():
            before = self._violations()
            for step in steps:
                self._run(step, actor)
            if self._violations() - before:
                raise MigrationError("Documents would refer to others that do not exist.")
            finish()

    def _violations(self) -> set[tuple[object, ...]]:
        return {tuple(row) for row in self.connection.exec_driver_sql("PRAGMA foreign_key_check")}

    def _run(self, step: Step, actor: Actor) -> None:
        if step.recorded is not None:
            self._change(step, step.recorded, actor)
        elif step.kind == "script":
            for statement in split_statements(step.statements[0]):
                self.connection.exec_driver_sql(statement)
        elif step.kind == "rebuild":
            self._rebuild(step)
        else:
            for statement in step.statements:
                if step.parameters:
                    self.connection.execute(sa.text(statement), dict(step.parameters))
                else:
                    self.connection.exec_driver_sql(statement)

    def _change(self, step: Step, recorded: Recorded, actor: Actor) -> None:
        driver = self.connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection), "the driver is Python's own"
        if lacks_companions(driver, recorded):
            raise unrecordable(recorded.collection)
        try:
            change_recorded(driver, step, recorded, actor)
        except sqlite3.Error as error:
            # As SQLAlchemy says it of the statements that it runs.
            raise DBAPIError(None, None, error) from error

    def _rebuild(self, step: Step) -> None:
        """Replace a table; its triggers, and the indexes that the model does not know, are made again."""
        known = self._parts(step.table)
        # Views and triggers that name the table must not be looked at while it is away.
        self.connection.exec_driver_sql("PRAGMA legacy_alter_table = ON")
        try:
            for statement in step.statements:
                self.connection.exec_driver_sql(statement)
            dropped = [name for name, text in known.items() if name not in self._parts(step.table) and not _of_model(text)]
            for name in dropped:
                self.connection.exec_driver_sql(known[name])
        finally:
            self.connection.exec_driver_sql("PRAGMA legacy_alter_table = OFF")

    def _parts(self, table: str | None) -> dict[str, str]:
        statement = sa.text(
            "SELECT name, sql FROM sqlite_master WHERE tbl_name = :table AND type IN ('index', 'trigger') AND sql IS NOT NULL"
        )
        return {str(name): str(text) for name, text in self.connection.execute(statement, {"table": table})}


def _of_model(text: str) -> bool:
    """Whether it is an index over plain columns: the model knew it, so it is gone on purpose."""
    upper = text.upper()
    if not upper.startswith(("CREATE INDEX", "CREATE UNIQUE INDEX")):
        return False
    head, _, columns = text.partition("(")
    return " WHERE " not in upper and "(" not in columns and bool(head)


def split_statements(text: str) -> Iterator[str]:
    """The statements of a script, each ending where SQLite says that it does."""
    statement = ""
    for part in text.split(";"):
        statement += part
        if sqlite3.complete_statement(statement + ";"):
            if statement.strip():
                yield statement
            statement = ""
        else:
            statement += ";"
    if statement.strip(" \t\r\n;"):
        yield statement
