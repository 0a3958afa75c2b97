"""An open transaction on one PostgreSQL connection."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeVar, cast

import asyncpg

from portico.engines.base import Answer, Call, Compiled, Isolation
from portico.engines.postgres import keys
from portico.engines.postgres.compiled import PostgresPlan
from portico.engines.postgres.errors import LOST, lost, reported
from portico.engines.postgres.execute import chunks_of, run_alone, run_together, set_scope
from portico.engines.postgres.functions import FunctionPlan, run_call
from portico.engines.postgres.pool import Pool, Share
from portico.errors import InvalidParameter, PorticoError, StaleSnapshot, StatementTimeout
from portico.model.idempotency import Answered, Kept, RequestKey
from portico.model.scope import Scope

if TYPE_CHECKING:
    from portico.engines.postgres.pool import Connection

T = TypeVar("T")


async def to_its_end(work: Coroutine[object, object, T]) -> T:
    """Await work that goes on when its caller leaves: what was sent may be committing."""
    task = asyncio.ensure_future(work)
    # The error of work whose caller has gone is nobody's.
    task.add_done_callback(lambda ended: None if ended.cancelled() else ended.exception())
    return await asyncio.shield(task)


_BEGIN: dict[Isolation, str] = {
    "read_committed": "BEGIN ISOLATION LEVEL READ COMMITTED",
    "repeatable_read": "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "serializable": "BEGIN ISOLATION LEVEL SERIALIZABLE",
}

# What was set at the connection's start stays, and so do prepared statements.
_FORGET = "RESET ALL; SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; DISCARD TEMP"
_FORGET_SECONDS = 5.0


class PostgresTransaction:
    """One transaction and its connection; calls run one at a time, in the order they come."""

    def __init__(self, connection: Connection, pool: Pool, share: Share, *, one_call: bool = False) -> None:
        self._connection = connection
        self._pool = pool
        self._share = share
        self._turn = asyncio.Lock()
        self._wrote = False
        self._scope: Scope | None = None
        self._open = True
        self._one_call = one_call
        self._broken = False
        self._called = False

    @classmethod
    async def begin(cls, pool: Pool, isolation: Isolation, *, read_only: bool, share: Share, one_call: bool = False) -> PostgresTransaction:
        """Take a connection and begin; `one_call` is all that will run. Raises PoolExhausted, DatabaseUnavailable."""
        transaction = cls(await pool.take(share), pool, share, one_call=one_call)
        await transaction._start(isolation, read_only=read_only)
        return transaction

    async def _start(self, isolation: Isolation, *, read_only: bool) -> None:
        try:
            await self._connection.execute(_BEGIN[isolation] + (" READ ONLY" if read_only else ""))
        except BaseException as error:
            self._end(clean=False)
            if isinstance(error, LOST):
                self._pool.lost(self._connection)
                raise lost(error, writing=False) from error
            if isinstance(error, asyncpg.PostgresError):
                raise reported(error, None) from error
            raise

    async def run(self, plan: Compiled, call: Call, *, timeout: float | None = None) -> Answer:
        """Run one call inside; a failed one leaves the transaction failed, unless a savepoint is rolled back to."""
        async with self._turn:
            self._wrote = self._wrote or plan.writes
            await self._guarded(self._scoped(call.scope))
            if isinstance(plan, FunctionPlan):
                # What the function sets may be the scope.
                self._scope, self._called = None, True
                return await self._guarded(run_call(self._connection, plan, call, timeout, confined=not self._one_call))
            return await self._guarded(run_alone(self._connection, cast("PostgresPlan", plan), call, timeout))

    async def run_all(self, plan: Compiled, calls: Sequence[Call], *, timeout: float | None = None) -> Sequence[Answer]:
        """Run the calls of one plan by one statement where that is right, else one after the other."""
        async with self._turn:
            self._wrote = self._wrote or plan.writes
            await self._guarded(self._scoped(calls[0].scope))
            return await self._guarded(run_together(self._connection, cast("PostgresPlan", plan), calls, timeout))

    async def claim(self, key: RequestKey, scope: Scope) -> Kept | None:
        """Take an idempotency key until the transaction ends, and give what is stored under it. Raises RequestInFlight."""
        async with self._turn:
            kept = await self._guarded(keys.claim(self._connection, key, scope))
            self._scope = scope
            return kept

    async def keep(self, key: RequestKey, answer: Answered) -> None:
        """Store an answer under the key. Raises StaleSnapshot."""
        async with self._turn:
            self._wrote = True
            await self._guarded(keys.keep(self._connection, key, answer))

    async def stream(self, plan: Compiled, call: Call) -> AsyncGenerator[bytes, None]:
        """The rows of an export, as the transaction sees them, in bounded memory."""
        async with self._turn:
            await self._guarded(self._scoped(call.scope))
            async with aclosing(chunks_of(self._connection, cast("PostgresPlan", plan), call)) as chunks:
                while chunk := await self._guarded(anext(chunks, b"")):
                    yield chunk

    async def _scoped(self, scope: Scope) -> None:
        """Set the scope where it is not the last call's: a statement sets only what its own kind of scope has."""
        if scope != self._scope:
            await set_scope(self._connection, scope)
            self._scope = scope

    async def _guarded(self, work: Awaitable[T]) -> T:
        broken = True
        try:
            answer = await work
            broken = False
        except TimeoutError:
            raise StatementTimeout("The statement ran longer than allowed and was cancelled.") from None
        except LOST as error:
            self._pool.lost(self._connection)
            raise lost(error, writing=False) from error
        except PorticoError:
            broken = False
            raise
        finally:
            # A connection whose statement was cut off is rolled back, and then closed.
            self._broken = self._broken or broken
        return answer

    async def savepoint(self, name: str) -> None:
        """Set a savepoint. Raises InvalidParameter for a name that is not an identifier."""
        await self._execute(f"SAVEPOINT {identifier(name)}")

    async def rollback_to(self, name: str) -> None:
        """Undo what came after the savepoint, which stays."""
        await self._execute(f"ROLLBACK TO SAVEPOINT {identifier(name)}")
        self._scope = None  # what was set after the savepoint is undone as well

    async def release(self, name: str) -> None:
        """Forget the savepoint, and keep what came after it."""
        await self._execute(f"RELEASE SAVEPOINT {identifier(name)}")

    async def _execute(self, text: str) -> None:
        async with self._turn:
            try:
                await self._connection.execute(text)
            except LOST as error:
                self._pool.lost(self._connection)
                raise lost(error, writing=False) from error
            except asyncpg.PostgresError as error:
                if error.sqlstate == "3B001":
                    raise InvalidParameter("The transaction has no such savepoint.") from error
                raise reported(error, None) from error

    async def commit(self) -> None:
        """Make it durable. Once COMMIT is sent nothing cancels it: its outcome would be unknown."""
        async with self._turn:
            await to_its_end(self._commit())

    async def _commit(self) -> None:
        clean = False
        try:
            status = await self._connection.execute("COMMIT")
            clean = await self._forget()
        except LOST as error:
            self._pool.lost(self._connection)
            raise lost(error, writing=self._wrote) from error
        except asyncpg.PostgresError as error:
            clean = True
            raise reported(error, None) from error
        finally:
            self._end(clean=clean)
        if status != "COMMIT":
            raise StaleSnapshot("The transaction had failed, and was rolled back.")

    async def rollback(self) -> None:
        """Undo everything and give the connection back. Never raises for a connection that is lost: the server rolls back."""
        async with self._turn:
            if not self._open:
                return
            clean = False
            try:
                await asyncio.wait_for(self._connection.execute("ROLLBACK"), 5)
                clean = await self._forget()
            except (*LOST, asyncpg.PostgresError):
                clean = False
            finally:
                self._end(clean=clean)

    async def _forget(self) -> bool:
        """Undo what a function may have done to the session, which outlives the transaction and is others' next. False where that fails."""
        if not self._called:
            return True
        try:
            await self._connection.execute(_FORGET, timeout=_FORGET_SECONDS)
        except (*LOST, asyncpg.PostgresError):
            return False
        return True

    def _end(self, *, clean: bool) -> None:
        if self._open:
            self._open = False
            self._pool.give_back(self._connection, self._share, clean=clean and not self._broken)


_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")


def identifier(name: str) -> str:
    """A savepoint's name, quoted. Raises InvalidParameter."""
    if not _NAME.match(name):
        raise InvalidParameter("A savepoint's name is 1 to 63 letters, digits and underscores, not beginning with a digit.")
    return f'"{name}"'
