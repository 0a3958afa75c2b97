"""A transaction that its caller holds open: a call that fails is undone by a savepoint, so that PostgreSQL goes on with the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

import asyncpg

from portico.engines.base import Answer, Call, Compiled, Isolation
from portico.engines.postgres.errors import LOST
from portico.engines.postgres.pool import Pool, Share
from portico.engines.postgres.transaction import PostgresTransaction, identifier, to_its_end
from portico.errors import DatabaseUnavailable, OutcomeUnknown, PorticoError, StaleSnapshot

T = TypeVar("T")

RECOVERY_SECONDS = 5.0
GRACE_SECONDS = 5.0
"""How much longer than its holder the server lets a transaction idle."""

# A limit of the server's own stays where it is a shorter one.
_OPEN = """SELECT pg_current_xact_id()::text, set_config('idle_in_transaction_session_timeout',
 CASE WHEN own.text::interval BETWEEN '1ms' AND make_interval(secs => $1) THEN own.text ELSE (($1 * 1000)::bigint)::text END, true)
FROM (SELECT current_setting('idle_in_transaction_session_timeout') AS text) AS own"""

# The names hold a space, so that no caller's savepoint can have them.
_CALL, _RUN = '"portico call"', '"portico run"'


class PostgresInteractive(PostgresTransaction):
    """Two savepoints guard what runs: one for the whole call, and one for each further statement of it."""

    excludes = False
    exclusive = False

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]  # those of the class above
        self.failure: str | None = None
        self._order = asyncio.Lock()
        self._new_call = True
        self._call_set = self._run_set = False

    @classmethod
    async def open(cls, pool: Pool, isolation: Isolation, *, read_only: bool, life: float, until: float) -> tuple[PostgresInteractive, str]:
        """Begin; gives the transaction's number at the server too. Raises PoolExhausted, DatabaseUnavailable.

        The server ends it where nothing comes for longer than its life: its holder may be frozen, and its locks would stay.
        """
        transaction = cls(await pool.take(Share.INTERACTIVE, until), pool, Share.INTERACTIVE)
        await transaction._start(isolation, read_only=read_only)
        try:
            found = await transaction._guarded(transaction._connection.fetchval(_OPEN, life + GRACE_SECONDS))
        except BaseException:
            await to_its_end(transaction.rollback())
            raise
        return transaction, str(found)

    def begin_call(self) -> None:
        """What runs from here on is undone together."""
        self._new_call = True

    async def undo_call(self) -> None:
        """Undo what the call did, where it did anything."""
        async with self._order:
            if not self._new_call and self._call_set and self.failure is None:
                await self._back_to(_CALL)

    async def run(self, plan: Compiled, call: Call, *, timeout: float | None = None) -> Answer:
        """Run one call inside. One that fails is undone, and the transaction goes on, unless it cannot: see `failure`."""
        return await self._secured(lambda: PostgresTransaction.run(self, plan, call, timeout=timeout))

    async def run_all(self, plan: Compiled, calls: Sequence[Call], *, timeout: float | None = None) -> Sequence[Answer]:
        """Run the calls of one create plan; all of them are undone where one fails."""
        return await self._secured(lambda: PostgresTransaction.run_all(self, plan, calls, timeout=timeout))

    async def stream(self, plan: Compiled, call: Call) -> AsyncGenerator[bytes, None]:
        """The rows of an export, as the transaction sees them."""
        async with self._order:
            innermost = await self._secure()
            try:
                async with aclosing(super().stream(plan, call)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            except BaseException as error:
                await to_its_end(self._recover(error, innermost))
                raise

    async def savepoint(self, name: str) -> None:
        """Set the caller's savepoint, outside of Portico's own, which would end it."""
        quoted = identifier(name)
        async with self._order:
            await self._noted(self._execute((f"RELEASE SAVEPOINT {_CALL}; " if self._call_set else "") + f"SAVEPOINT {quoted}"))
            self._call_set = self._run_set = False

    async def rollback_to(self, name: str) -> None:
        """Undo what came after the caller's savepoint. One that is not there leaves everything as it was."""
        quoted = identifier(name)
        await self._secured(lambda: self._execute(f"ROLLBACK TO SAVEPOINT {quoted}"))
        # Portico's own were set after it, and went with what was undone.
        self._call_set = self._run_set = False
        self._scope = None

    async def commit(self) -> None:
        """Make it durable; a transaction that failed is rolled back, and raises StaleSnapshot."""
        if self.failure is not None:
            await self.rollback()
            raise StaleSnapshot("The transaction had failed, and was rolled back.")
        await super().commit()

    async def _secured(self, work: Callable[[], Awaitable[T]]) -> T:
        async with self._order:
            innermost = await self._secure()
            try:
                return await work()
            except BaseException as error:
                await to_its_end(self._recover(error, innermost))
                raise

    async def _secure(self) -> str:
        """Set the savepoint that the next statement is undone to; gives its name."""
        if self._new_call:
            await self._noted(self._execute((f"RELEASE SAVEPOINT {_CALL}; " if self._call_set else "") + f"SAVEPOINT {_CALL}"))
            self._new_call, self._call_set, self._run_set = False, True, False
            return _CALL
        await self._noted(self._execute((f"RELEASE SAVEPOINT {_RUN}; " if self._run_set else "") + f"SAVEPOINT {_RUN}"))
        self._run_set = True
        return _RUN

    async def _recover(self, error: BaseException, savepoint: str) -> None:
        """After a statement that failed or was cut off: undo it, or say why the transaction cannot go on."""
        self._note(error)
        if self.failure is None:
            await self._back_to(savepoint)

    async def _noted(self, work: Awaitable[T]) -> T:
        try:
            return await work
        except PorticoError as error:
            self._note(error)
            raise

    def _note(self, error: BaseException) -> None:
        if isinstance(error, StaleSnapshot):
            self.failure = "serialization_failure"
        elif isinstance(error, DatabaseUnavailable | OutcomeUnknown) or self._connection.is_closed():
            self.failure = "connection_lost"

    async def _back_to(self, savepoint: str) -> None:
        self._scope = None  # what was set after the savepoint is undone as well
        self._run_set = self._run_set and savepoint == _RUN
        try:
            # asyncpg waits here until a statement that was cancelled has ended.
            await self._connection.execute(f"ROLLBACK TO SAVEPOINT {savepoint}", timeout=RECOVERY_SECONDS)
        except (*LOST, TimeoutError, asyncpg.PostgresError):
            self.failure = "connection_lost"
            self._broken = True
