"""One migration being run: step after step with the journal, undone where one fails, and taken up where another run was killed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from portico.errors import DatabaseUnavailable, MigrationError, PorticoError
from portico.migrations.faults import is_lost, translate
from portico.migrations.journal import Entry, Journal, Plan
from portico.migrations.planning import Planned
from portico.migrations.postgres import PostgresRunner
from portico.migrations.sqlite import SqliteRunner
from portico.model.identity import Actor
from portico.model.migration import MIGRATOR, Checks, Migration, Record, Status

Result = TypeVar("Result")


class Execution:
    """What a migrator does while it holds the lock."""

    def __init__(self, runner: PostgresRunner | SqliteRunner, journal: Journal, tell: Callable[[str], None]) -> None:
        self._runner = runner
        self._journal = journal
        self._tell = tell

    def entries(self) -> list[Entry]:
        """The journal."""
        return self._written(lambda: self._journal.entries(self._runner.connection))

    def documents(self) -> dict[str, dict[str, object]]:
        """The stored schema documents."""
        found = self._written(lambda: self._journal.documents(self._runner.connection))
        return {name: dict(document) for name, document in found.items()}

    def checks(self) -> Checks | None:
        """The check constraints that the database has."""
        runner = self._runner
        return self.translated(runner.checks, "read the constraints") if isinstance(runner, PostgresRunner) else None

    def begin(self, migration: Migration, planned: Planned) -> None:
        """Write down what is about to run."""
        self._written(lambda: self._journal.begin(self._runner.connection, migration, planned.up, planned.down, planned.plan))

    def begin_down(self, key: str, plan: Plan) -> None:
        """Write down that the way back is about to run."""
        self._written(lambda: self._journal.begin_down(self._runner.connection, key, plan))

    def refuse(self, migration: Migration, error: PorticoError) -> None:
        """Keep the error of a migration that could not even be planned."""

        def write() -> None:
            self._journal.begin(self._runner.connection, migration, [], None, Plan((), {}, migration.by))
            self._journal.blame(self._runner.connection, migration.id, error.message)
            self._journal.finish(self._runner.connection, migration.id, Status.FAILED)

        self._written(write)

    def finish(self, key: str) -> Record:
        """Run what is left of a migration that the journal says is executing.

        Raises:
            MigrationError: it failed, and everything was undone. DatabaseUnavailable: the connection was lost; the next run goes on.
        """
        entry = self._entry(key)
        if entry.record.error is not None:
            # The run before was undoing it when it ended.
            return self._undo(entry, MigrationError(entry.record.error))
        if isinstance(self._runner, SqliteRunner):
            return self._at_once(self._runner, entry)
        return self._step_by_step(self._runner, entry)

    def _at_once(self, runner: SqliteRunner, entry: Entry) -> Record:
        plan = _plan(entry)
        for step in plan.steps:
            self._tell(f"  {step.title}")
        doing = "; ".join(step.title for step in plan.steps)
        try:
            self.translated(lambda: runner.run_all(plan.steps, actor_of(entry), lambda: self._complete(entry)), doing)
        except DatabaseUnavailable:
            raise
        except PorticoError as error:
            self._failed(entry, error)
            raise
        return self._entry(entry.record.id).record

    def _step_by_step(self, runner: PostgresRunner, entry: Entry) -> Record:
        plan, key, connection = _plan(entry), entry.record.id, runner.connection
        progress = entry.progress
        for number in range(entry.record.steps, len(plan.steps)):
            step, last = plan.steps[number], number + 1 == len(plan.steps)
            self._tell(f"  {number + 1}/{len(plan.steps)} {step.title}")

            def mark(number: int = number, last: bool = last) -> None:
                self._journal.advance(connection, key, number + 1)
                if last:
                    self._complete(entry)

            def advance(found: object, number: int = number) -> None:
                self._journal.advance(connection, key, number, found)

            try:
                self.translated(partial(runner.run, step, actor_of(entry), progress, mark, advance), step.title)
            except DatabaseUnavailable:
                raise
            except PorticoError as error:
                self._written(partial(self._journal.blame, connection, key, error.message))
                return self._undo(self._entry(key), error)
            progress = None
        if not plan.steps:
            self._written(lambda: self._complete(entry))
        return self._entry(key).record

    def _undo(self, entry: Entry, error: PorticoError) -> Record:
        """Undo the steps that were done, last first, and raise the error that asks for it."""
        plan, key, connection = _plan(entry), entry.record.id, self._runner.connection
        if isinstance(self._runner, PostgresRunner):
            runner = self._runner
            # The step that failed may have left something: batches that were changed, an index that is not valid.
            begun = min(entry.record.steps, len(plan.steps) - 1)
            for number in range(begun, -1, -1):
                step = plan.steps[number]
                if step.undo is None or (number == entry.record.steps and step.kind == "sql"):
                    continue
                self._tell(f"  undo: {step.title}")

                def mark(number: int = number) -> None:
                    self._journal.advance(connection, key, number)

                self.translated(partial(runner.undo, step, actor_of(entry), mark), f"undo: {step.title}")
        self._failed(entry, error)
        raise error

    def _failed(self, entry: Entry, error: PorticoError) -> None:
        plan, connection = _plan(entry), self._runner.connection

        def write() -> None:
            self._journal.blame(connection, entry.record.id, error.message)
            self._journal.finish(connection, entry.record.id, Status.COMPLETED if plan.down else Status.FAILED)
            self._journal.tell(connection, entry, actor_of(entry), "failed")

        self._written(write)

    def _complete(self, entry: Entry) -> None:
        plan = _plan(entry)
        status = Status.ROLLED_BACK if plan.down else Status.COMPLETED
        self._journal.finish(self._runner.connection, entry.record.id, status, plan.documents)
        self._journal.tell(self._runner.connection, entry, actor_of(entry), status.value)

    def _entry(self, key: str) -> Entry:
        found = self._written(lambda: self._journal.get(self._runner.connection, key))
        assert found is not None, "the migration was written down"
        return found

    def _written(self, work: Callable[[], Result]) -> Result:
        def inside() -> Result:
            with self._runner.journal():
                return work()

        return self.translated(inside, "write the journal")

    def translated(self, work: Callable[[], Result], doing: str) -> Result:
        """Do it; a database's error becomes Portico's."""
        try:
            return work()
        except DBAPIError as error:
            if is_lost(error):
                with suppress(DBAPIError):
                    self._runner.connection.invalidate()
            raise translate(error, doing) from error


def actor_of(entry: Entry) -> Actor:
    """Who the rows of the audit name: whoever asked for the migration, whose id stands where that of a request would."""
    return Actor(_plan(entry).by, None, None, entry.record.id)


def _plan(entry: Entry) -> Plan:
    return entry.plan if entry.plan is not None else Plan((), {}, MIGRATOR)
