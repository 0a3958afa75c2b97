"""Runs steps on PostgreSQL: each in a short transaction that gives its locks up rather than let traffic wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from portico.builtin.migrations.roles import assume_owner
from portico.engines.sql.identifiers import quote
from portico.engines.sql.operations import PARTITIONED, Step
from portico.engines.sql.policies import POLICY
from portico.errors import MigrationError
from portico.migrations.batches import Told, change, record, require_companions, restore
from portico.migrations.faults import state_of
from portico.migrations.partitioned import build, remove
from portico.model.identity import Actor
from portico.model.migration import Checks, Policies

_JOURNAL = '"portico"."migrations"'
# A name cannot be looked up by to_regclass before the role that may use the schema is assumed.
_NAMED = """FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE format('"%s"."%s"', replace(n.nspname, '"', '""'), replace(c.relname, '"', '""')) = :name"""
_OWNER = f"SELECT quote_ident(r.rolname) {_NAMED.replace('WHERE', 'JOIN pg_roles r ON r.oid = c.relowner WHERE')}"
_MAY_BECOME = " AND pg_has_role(session_user, r.oid, 'MEMBER')"
_VALID = f"SELECT i.indisvalid {_NAMED.replace('WHERE', 'JOIN pg_index i ON i.indexrelid = c.oid WHERE')}"
_TYPES = f"""SELECT a.attname, format_type(a.atttypid, a.atttypmod)
{_NAMED.replace("WHERE", "JOIN pg_attribute a ON a.attrelid = c.oid WHERE")} AND a.attnum > 0 AND NOT a.attisdropped"""

_POLICIES = """SELECT n.nspname, c.relname, obj_description(p.oid, 'pg_policy') FROM pg_policy p
JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relrowsecurity AND c.relforcerowsecurity AND p.polname = :policy"""

_CHECKS = """SELECT n.nspname, c.relname, k.conname, pg_get_constraintdef(k.oid) FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'c' AND n.nspname <> 'information_schema'"""

_LOCK_BUDGET = 0.5
"""Seconds that one transaction may wait for locks in all; others queue up behind it meanwhile."""

_PATIENCE = 60.0
"""Seconds until a step whose locks are never free is given up."""

_PAUSE = (0.1, 1.0)
_TRY_AGAIN = frozenset({"55P03", "40P01"})

Mark = Callable[[], None]
Result = TypeVar("Result")


class PostgresRunner:
    """Runs steps on one connection in autocommit, which holds the lock of migrations."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection

    def prepare(self, create: Callable[[], None]) -> None:
        """Create the journal by `create`, as Portico's owner."""
        with self._transaction():
            assume_owner(self.connection)
            create()

    @contextmanager
    def journal(self) -> Iterator[None]:
        """A transaction in which the journal may be written."""
        with self._transaction():
            self._become(_JOURNAL)
            yield

    def checks(self) -> Checks:
        """The check constraints of every table."""
        found: dict[tuple[str | None, str], dict[str, str]] = {}
        for schema, table, name, definition in self.connection.execute(sa.text(_CHECKS)):
            found.setdefault((schema, table), {})[name] = definition
        return found

    def policies(self) -> Policies:
        """The marks of the policies that are in force."""
        rows = self.connection.execute(sa.text(_POLICIES), {"policy": POLICY})
        return {(schema, table): mark for schema, table, mark in rows}

    def run(self, step: Step, actor: Actor, progress: object, mark: Mark, advance: Callable[[object], None]) -> None:
        """Run one step on behalf of `actor`; `mark` writes into the journal that it is done, `advance` how far its batches are."""
        if step.kind == "index":
            self._build(step)
            with self.journal():
                mark()
        elif step.kind == "batches":
            self._batches(step, actor, progress, advance)
            with self.journal():
                mark()
        else:
            self._patiently(lambda: self._statements(step.statements, step, mark))

    def undo(self, step: Step, actor: Actor, mark: Mark) -> None:
        """Undo one step that was done, or begun."""
        statements = step.undo or ()
        if step.kind == "batches" and step.saved:
            self._restore(step, actor, mark)
        elif step.kind == "index" and PARTITIONED in step.statements[0]:
            remove(self.connection, step, shortly=partial(self._shortly, step), alone=partial(self._alone, step))
            with self.journal():
                mark()
        elif any(" CONCURRENTLY " in statement for statement in statements):
            for statement in statements:
                self._alone(step, statement)
            with self.journal():
                mark()
        else:
            self._patiently(lambda: self._statements(statements, step, mark))

    def _statements(self, statements: tuple[str, ...], step: Step, mark: Mark) -> None:
        with self._transaction():
            self._become(step.table or _JOURNAL)
            started = time.monotonic()
            for statement in statements:
                left = max(_LOCK_BUDGET - (time.monotonic() - started), 0.01)
                self._execute(f"SET LOCAL lock_timeout = {int(left * 1000)}")
                self._execute(statement)
            self._become(_JOURNAL)
            mark()

    def _build(self, step: Step) -> None:
        """Build an index beside the traffic; what an attempt before left of it is removed."""
        if PARTITIONED in step.statements[0]:
            build(self.connection, step, shortly=partial(self._shortly, step), alone=partial(self._alone, step))
            return
        valid = self.connection.scalar(sa.text(_VALID), {"name": step.index})
        if valid:
            return
        if valid is not None:
            self._alone(step, f"DROP INDEX CONCURRENTLY IF EXISTS {step.index}")
        for statement in step.statements:
            self._alone(step, statement)

    def _shortly(self, step: Step, statement: str) -> None:
        """Run one statement whose locks are held for a moment."""

        def run() -> None:
            with self._beside_traffic(step):
                self._execute(statement)

        self._patiently(run)

    def _alone(self, step: Step, statement: str) -> None:
        """Run one statement outside of a transaction. It waits for others' transactions, not they for it."""
        self._become(step.table or _JOURNAL, local=False)
        try:
            self._execute("SET lock_timeout = 0")
            self._execute(statement)
        finally:
            with suppress(SQLAlchemyError):
                self._execute("RESET ROLE")

    def _batches(self, step: Step, actor: Actor, progress: object, advance: Callable[[object], None]) -> None:
        """Change the rows that match, some thousand at a time along the key; each batch is committed with how far it came."""
        last = progress if isinstance(progress, list) else None
        types = self._types(step)
        if step.recorded is not None:
            require_companions(self.connection, step.recorded)

        def batch() -> list[str] | None:
            with self._beside_traffic(step):
                found = change(self.connection, step, types, last)
                if found is None:
                    return None
                self._become(_JOURNAL)
                self._record(step, actor, found[1])
                advance(found[0])
                return found[0]

        while (found := self._patiently(batch)) is not None:
            last = found

    def _restore(self, step: Step, actor: Actor, mark: Mark) -> None:
        """Set the rows that batches changed back, some thousand at a time."""

        def batch() -> bool:
            with self._beside_traffic(step):
                found = restore(self.connection, step)
                self._become(_JOURNAL)
                if found is None:
                    mark()
                    return False
                self._record(step, actor, found)
                return True

        while self._patiently(batch):
            pass

    def _record(self, step: Step, actor: Actor, rows: Sequence[Told]) -> None:
        if step.recorded is not None:
            record(self.connection, step.recorded, actor, rows)

    @contextmanager
    def _beside_traffic(self, step: Step) -> Iterator[None]:
        with self._transaction():
            self._become(step.table or _JOURNAL)
            self._execute(f"SET LOCAL lock_timeout = {int(_LOCK_BUDGET * 1000)}")
            yield

    def _types(self, step: Step) -> list[str]:
        types = {quote(str(name)): str(kind) for name, kind in self.connection.execute(sa.text(_TYPES), {"name": step.table})}
        return [types[name] for name in step.key]

    def _patiently(self, work: Callable[[], Result]) -> Result:
        """Try again while others hold the locks."""
        deadline = time.monotonic() + _PATIENCE
        pause = _PAUSE[0]
        while True:
            try:
                return work()
            except DBAPIError as error:
                if state_of(error) not in _TRY_AGAIN:
                    raise
                if time.monotonic() >= deadline:
                    raise MigrationError(
                        f"Others held what it needed for {_PATIENCE:g} seconds.", hint="Look for a long transaction, and run it again."
                    ) from None
            time.sleep(pause)
            pause = min(pause * 1.5, _PAUSE[1])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Everything in it is committed, or nothing; it sees the rows of every tenant."""
        self._execute("BEGIN")
        try:
            self.connection.execute(sa.text("SELECT set_config('portico.all', 'on', true)"))
            yield
        except BaseException:
            # A connection that was lost has rolled back already.
            with suppress(SQLAlchemyError):
                self._execute("ROLLBACK")
            raise
        self._execute("COMMIT")

    def _become(self, table: str, *, local: bool = True) -> None:
        """Act as the table's owner where the login may, else as itself."""
        owner = self.connection.scalar(sa.text(_OWNER + _MAY_BECOME), {"name": table})
        if owner is not None:
            self._execute(f"SET {'LOCAL ' if local else ''}ROLE {owner}")

    def _execute(self, statement: str) -> None:
        # Without parameters a percent sign is a percent sign.
        self.connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
