"""A transaction that its caller holds open: a call that fails is undone by a savepoint, and its commit is recorded in the commit itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from portico.engines.base import Answer, Call, LedgerEntry
from portico.engines.sqlite import ledger
from portico.engines.sqlite.connections import Lease, Threads
from portico.engines.sqlite.gate import Gate
from portico.engines.sqlite.keys import KeyLocks
from portico.engines.sqlite.plan import SqlitePlan
from portico.engines.sqlite.transaction import SqliteTransaction, identifier
from portico.errors import DatabaseReadOnly, PorticoError, StaleSnapshot, TransactionGone

# The name holds a space, so that no caller's savepoint can have it.
_CALL = '"portico call"'


class SqliteInteractive(SqliteTransaction):
    """Each write is in a savepoint already; another one holds what a whole call writes."""

    excludes = True
    holder = "an interactive transaction"

    def __init__(
        self,
        lease: Lease,
        threads: Threads,
        gate: Gate,
        keys: KeyLocks,
        *,
        entry: LedgerEntry,
        read_only: bool,
        statement_timeout: float,
    ) -> None:
        super().__init__(lease, threads, gate, keys, read_only=read_only, unit=False, statement_timeout=statement_timeout)
        self.failure: str | None = None
        self._entry = entry
        self._begun_at = ledger.now()
        self._new_call = True
        self._call_set = False

    @property
    def exclusive(self) -> bool:
        """Whether it is the writer, for which all others wait."""
        return self._writing

    def begin_call(self) -> None:
        """What is written from here on is undone together."""
        self._new_call = True

    async def undo_call(self) -> None:
        """Undo what the call wrote."""
        async with self._turn:
            if not self._new_call and self._call_set and self._connection.in_transaction:
                self._execute(f"ROLLBACK TO {_CALL}")

    async def _run(self, plan: SqlitePlan, call: Call, timeout: float) -> Answer:
        failed, was_open = self._failed, self._connection.in_transaction
        try:
            if plan.writes:
                await self._prepare_write(plan)
            return await super()._run(plan, call, timeout)
        except BaseException as error:
            # What the call wrote is undone already, so that the rest can go on: unless SQLite undid it all.
            ended = was_open and not self._connection.in_transaction
            if isinstance(error, StaleSnapshot) or ended:
                self._failed = True
                self.failure = self.failure or ("serialization_failure" if isinstance(error, StaleSnapshot) else "undone_by_database")
            elif isinstance(error, PorticoError):
                self._failed = failed
            raise

    async def _load(self, plan: SqlitePlan, calls: Sequence[Call], timeout: float) -> list[Answer] | None:
        await self._prepare_write(plan)
        try:
            return await super()._load(plan, calls, timeout)
        except BaseException:
            if not self._connection.in_transaction:
                self.failure = self.failure or "undone_by_database"
            raise

    async def _prepare_write(self, plan: SqlitePlan) -> None:
        self._check()
        if self._read_only:
            raise DatabaseReadOnly("The transaction is read-only.")
        if not self._writing:
            await self._become_writer(plan.collection.table)
        if self._new_call:
            if self._call_set:
                self._execute(f"RELEASE {_CALL}")
            self._execute(f"SAVEPOINT {_CALL}")
            self._new_call, self._call_set = False, True

    async def savepoint(self, name: str) -> None:
        """Set the caller's savepoint, outside of Portico's own, which would end it."""
        identifier(name)
        async with self._turn:
            self._check()
            if self._call_set:
                self._execute(f"RELEASE {_CALL}")
                self._call_set = False
        await super().savepoint(name)

    async def rollback_to(self, name: str) -> None:
        """Undo what came after the caller's savepoint. One that is not there leaves everything as it was."""
        await super().rollback_to(name)
        self._call_set = False

    def _before_commit(self) -> None:
        if self._writing and not ledger.write(self._connection, self._entry, self._begun_at, "committed", "committed"):
            # This process did not answer for so long that it was taken for lost, and a caller was told so.
            raise TransactionGone("The transaction was given up, and is rolled back.", details={"reason": "holder_lost"})

    def _execute(self, sql: str) -> None:
        try:
            super()._execute(sql)
        except PorticoError as error:
            if isinstance(error.__cause__, sqlite3.Error) and not self._connection.in_transaction and self._writing:
                self._failed, self.failure = True, "undone_by_database"
            raise
