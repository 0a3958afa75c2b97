"""Running plans on the pool: alone or together, again where that is safe, and what becomes of the connection afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TypeVar

import asyncpg

from portico.engines.base import APART, Answer, Call, Outcome
from portico.engines.postgres.compiled import PostgresPlan, same_kind
from portico.engines.postgres.errors import LOCK_NOT_AVAILABLE, LOST, MAYBE_CHANGED, SCHEMA_CHANGED, lost
from portico.engines.postgres.execute import needs_transaction, run_alone, run_joint
from portico.engines.postgres.pool import Connection, Pool, Share
from portico.engines.postgres.transaction import PostgresTransaction, to_its_end
from portico.errors import (
    DatabaseReadOnly,
    DatabaseUnavailable,
    OutcomeUnknown,
    PorticoError,
    SchemaChanged,
    StaleSnapshot,
    StatementTimeout,
    Unavailable,
)
from portico.query.scoped import Create

T = TypeVar("T")

MOST_COLLISIONS = 3
"""How often a call that the server rolled back for another's sake is run again."""


class Runner:
    """Runs plans. What the database lost before anything was written is run once more, on another connection."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def run(self, plan: PostgresPlan, calls: Sequence[Call], timeout: float, *, gathered: bool) -> Sequence[Outcome]:
        """The outcomes of `calls`: of one statement where the plan and the calls allow that."""
        if len(calls) == 1:
            return [await self._alone(plan, calls[0], timeout, Share.JOINT if gathered and plan.joint else Share.ALONE)]
        if not plan.joint or not same_kind(calls):
            return await asyncio.gather(*(self._caught(plan, call, timeout) for call in calls))
        try:
            return await self._together(plan, calls, timeout)
        except DatabaseUnavailable:
            return await self._together(plan, calls, timeout)

    async def _caught(self, plan: PostgresPlan, call: Call, timeout: float) -> Outcome:
        try:
            return await self._alone(plan, call, timeout, Share.ALONE)
        except PorticoError as error:
            return error

    async def _alone(self, plan: PostgresPlan, call: Call, timeout: float, share: Share) -> Answer:
        """One call's statement: committed on return, or rolled back and raised. The victim of a deadlock runs again."""
        for _ in range(MOST_COLLISIONS):
            try:
                return await self._once(plan, call, timeout, share)
            except StaleSnapshot:
                # The server chose it to end a deadlock, with a change of the schema for instance, and rolled it back.
                continue
        return await self._once(plan, call, timeout, share)

    async def _once(self, plan: PostgresPlan, call: Call, timeout: float, share: Share) -> Answer:
        try:
            return await self._way(plan)(plan, call, timeout, share)
        except DatabaseUnavailable:
            return await self._way(plan)(plan, call, timeout, share)

    def _way(self, plan: PostgresPlan) -> Callable[[PostgresPlan, Call, float, Share], Awaitable[Answer]]:
        if needs_transaction(plan.query):
            return self._in_transaction
        return self._write if plan.writes else self._read

    async def _read(self, plan: PostgresPlan, call: Call, timeout: float, share: Share) -> Answer:
        """A read, which is cancelled at the server when its caller goes."""
        connection = await self._pool.take(share)
        return await self._finish(connection, share, run_alone(connection, plan, call, timeout), writing=False)

    async def _write(self, plan: PostgresPlan, call: Call, timeout: float, share: Share) -> Answer:
        """A write by key. Only where another change holds what it needs does it take one of the few connections that may wait for that."""
        try:
            return await self._sent(share, plan, call, timeout, impatient=True)
        except Unavailable as error:
            if not _is_locked(error):
                raise
        return await self._sent(Share.LOCKING, plan, call, timeout, impatient=False)

    async def _sent(self, share: Share, plan: PostgresPlan, call: Call, timeout: float, *, impatient: bool) -> Answer:
        connection = await self._pool.take(share)
        work = run_alone(connection, plan, call, timeout, impatient=impatient)
        return await to_its_end(self._finish(connection, share, work, writing=True))

    async def _in_transaction(self, plan: PostgresPlan, call: Call, timeout: float, _: Share) -> Answer:
        """A change of several statements: scope, change and companions in an explicit transaction."""
        transaction = await PostgresTransaction.begin(self._pool, "read_committed", read_only=False, share=Share.LOCKING)
        try:
            answer = await transaction.run(plan, call, timeout=timeout)
        except BaseException:
            await to_its_end(transaction.rollback())
            raise
        await transaction.commit()
        return answer

    async def _together(self, plan: PostgresPlan, calls: Sequence[Call], timeout: float) -> Sequence[Outcome]:
        """One statement for all. A create that got no row runs by itself, and so do all where the server refused the statement."""
        connection = await self._pool.take(Share.JOINT)
        try:
            work = run_joint(connection, plan, calls, timeout)
            outcomes = await self._finish(connection, Share.JOINT, work, writing=plan.writes)
        except PorticoError as error:
            if not _refused_one(error):
                raise
            return [APART] * len(calls)
        if isinstance(plan.query, Create):
            return [APART if outcome is None else outcome for outcome in outcomes]
        return outcomes

    async def _finish(self, connection: Connection, share: Share, work: Coroutine[object, object, T], *, writing: bool) -> T:
        """Await a statement's work and give its connection back; one that was cancelled or broke is closed."""
        clean = False
        try:
            answer = await work
            clean = True
        except TimeoutError:
            raise StatementTimeout("The statement ran longer than allowed and was cancelled.") from None
        except LOST as error:
            self._pool.lost(connection)
            raise lost(error, writing=writing) from error
        except PorticoError as error:
            clean = await self._survives(connection, error)
            raise
        finally:
            self._pool.give_back(connection, share, clean=clean)
        return answer

    async def _survives(self, connection: Connection, error: PorticoError) -> bool:
        """Whether a connection is right after the server reported an error on it."""
        if isinstance(error, DatabaseUnavailable | OutcomeUnknown):
            self._pool.lost(connection)
            return False
        if isinstance(error, DatabaseReadOnly):
            self._pool.moved(connection)
        cause = error.__cause__
        if isinstance(cause, asyncpg.PostgresError) and cause.sqlstate in (SCHEMA_CHANGED | MAYBE_CHANGED):
            # Prepared statements that are older than the schema are thrown away.
            await connection.reload_schema_state()
        return True


def _is_locked(error: PorticoError) -> bool:
    cause = error.__cause__
    return isinstance(cause, asyncpg.PostgresError) and cause.sqlstate == LOCK_NOT_AVAILABLE


def _refused_one(error: PorticoError) -> bool:
    """Whether the server refused a joint statement for what may be one call's fault, or for a lock that one call waits for."""
    if isinstance(error, SchemaChanged):
        return error.otherwise is not None
    if not isinstance(error.__cause__, asyncpg.PostgresError) or isinstance(error, StatementTimeout | OutcomeUnknown):
        return False
    return _is_locked(error) or not isinstance(error, Unavailable)
