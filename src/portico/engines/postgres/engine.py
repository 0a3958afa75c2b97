"""PostgreSQL behind the engine contract: one statement for the calls of a plan, transactions, exports, reflection and health."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import cast

import asyncpg

from portico.engines.base import Call, Compiled, Health, Isolation, Outcome, PoolStatus, TableSize
from portico.engines.postgres.compiled import PostgresPlan, compile_plan, same_kind
from portico.engines.postgres.errors import LOST, SCHEMA_CHANGED, lost, reported
from portico.engines.postgres.execute import in_scope, needs_transaction, run_alone, run_joint, set_scope
from portico.engines.postgres.grammar import PostgresGrammar
from portico.engines.postgres.introspect import Guards, guards, measure, unsafe_reasons
from portico.engines.postgres.pool import Connection, Pool, PoolOptions, Share
from portico.engines.postgres.reflect import fingerprint, reflect
from portico.engines.postgres.transaction import PostgresTransaction
from portico.errors import PorticoError, SchemaChanged, StatementTimeout, Unavailable
from portico.events import Emit, EngineStarted
from portico.model.collection import Collection
from portico.query.capabilities import Capability
from portico.query.scoped import Change, Create, Delete, EverythingRule, ScopedQuery, SharedRule

CHUNK_ROWS = 500
EXPORT_LIFE_SECONDS = 600.0
LOCK_NOT_AVAILABLE = "55P03"

_ALWAYS = frozenset(
    {
        Capability.TRANSACTIONS,
        Capability.JOINT_READS,
        Capability.JOINT_CREATES,
        Capability.ROW_LEVEL_SECURITY,
        Capability.ARRAYS,
        Capability.RANGES,
        Capability.FULL_TEXT,
        Capability.CANCEL,
        Capability.SAVEPOINTS,
    }
)


class PostgresEngine:
    """One PostgreSQL database.

    Args:
        name: the configured database's name. options: how to connect. schemas: those that are served, the first with plain names.
        secret: keys the ETags. emit: where events go.
    """

    kind = "postgresql"

    def __init__(self, name: str, options: PoolOptions, *, schemas: Sequence[str], secret: bytes, emit: Emit) -> None:
        self.name = name
        self.options = options
        self.schemas = tuple(schemas)
        self.capabilities: frozenset[Capability] = _ALWAYS
        self._pool = Pool(name, options, emit)
        self._grammar = PostgresGrammar()
        self._secret = secret
        self._emit = emit

    async def start(self) -> None:
        """Open the pool and learn what the database has: companion tables, collations."""
        await self._pool.open()
        async with self._pool.acquire(Share.ALONE) as connection:
            companions = await connection.fetchval("SELECT to_regclass('portico.audit') IS NOT NULL")
            folding = await connection.fetchval("SELECT EXISTS (SELECT FROM pg_collation WHERE collname = 'und-x-icu')")
        if companions:
            self.capabilities = _ALWAYS | {Capability.AUDIT, Capability.IDEMPOTENCY, Capability.VERSIONS, Capability.CHANGE_FEED}
        self._grammar = PostgresGrammar("und-x-icu" if folding else "default")
        options = self.options
        overflow = options.maximum - options.minimum
        self._emit(EngineStarted(self.name, self.kind, options.minimum, overflow, options.timeout, options.recycle))

    async def close(self) -> None:
        """Close every connection once what runs has ended."""
        await self._pool.close()

    def compile(self, query: ScopedQuery) -> Compiled:
        """Make a scoped query ready to run."""
        return compile_plan(query, self._grammar, self._secret)

    async def run(self, plan: Compiled, calls: Sequence[Call], *, timeout: float | None = None) -> Sequence[Outcome]:
        """Run a plan for its calls: together in one statement, or the one call alone."""
        own = cast("PostgresPlan", plan)
        seconds = timeout if timeout is not None else self.options.statement_timeout
        if len(calls) == 1:
            return [await self._alone(own, calls[0], seconds)]
        if not own.joint or not same_kind(calls):
            return await asyncio.gather(*(self._caught(own, call, seconds) for call in calls))
        return await self._together(own, calls, seconds)

    async def _caught(self, plan: PostgresPlan, call: Call, timeout: float) -> Outcome:
        try:
            return await self._alone(plan, call, timeout)
        except PorticoError as error:
            return error

    async def _alone(self, plan: PostgresPlan, call: Call, timeout: float) -> Outcome:
        """One call's statement: committed on return, or rolled back and raised."""
        if needs_transaction(plan.query):
            return await self._in_transaction(plan, call, timeout)
        share = Share.LOCKING if isinstance(plan.query, Change | Delete) else Share.ALONE
        connection = await self._pool.take(share)
        work = asyncio.ensure_future(self._finish(connection, share, run_alone(connection, plan, call, timeout), writing=plan.writes))
        # A read whose caller has gone is cancelled at the server; a write that was sent is left to end.
        return cast("Outcome", await (asyncio.shield(work) if plan.writes else work))

    async def _finish(self, connection: Connection, share: Share, work: object, *, writing: bool) -> object:
        clean = False
        try:
            answer = await cast("asyncio.Future[object]", work)
            clean = True
        except TimeoutError:
            raise StatementTimeout("The statement ran longer than allowed and was cancelled.") from None
        except LOST as error:
            raise lost(error, writing=writing) from error
        except PorticoError as error:
            clean = not isinstance(error, Unavailable) and not connection.is_closed()
            await self._forget(connection, error)
            raise
        finally:
            await self._pool.give_back(connection, share, clean=clean)
        return answer

    async def _forget(self, connection: Connection, error: PorticoError) -> None:
        """Prepared statements that are older than the schema are thrown away."""
        cause = error.__cause__
        if isinstance(cause, asyncpg.PostgresError) and cause.sqlstate in SCHEMA_CHANGED:
            await connection.reload_schema_state()

    async def _in_transaction(self, plan: PostgresPlan, call: Call, timeout: float) -> Outcome:
        """A filter-wide change: scope, change and companions in an explicit transaction."""
        transaction = await PostgresTransaction.begin(self._pool, "read_committed", read_only=False, share=Share.LOCKING)
        try:
            answer = await transaction.run(plan, call, timeout=timeout)
        except BaseException as error:
            await asyncio.shield(asyncio.ensure_future(transaction.rollback()))
            if isinstance(error, TimeoutError):
                raise StatementTimeout("The statement ran longer than allowed and was cancelled.") from None
            raise
        await transaction.commit()
        return answer

    async def _together(self, plan: PostgresPlan, calls: Sequence[Call], timeout: float) -> Sequence[Outcome]:
        """One statement for all; creates that got no row, or a statement that the server refused, run alone."""
        connection = await self._pool.take(Share.JOINT)
        try:
            work = run_joint(connection, plan, calls, timeout)
            outcomes = cast("list[Outcome]", await self._finish(connection, Share.JOINT, work, writing=plan.writes))
        except PorticoError as error:
            if not _refused_one(error):
                raise
            return await asyncio.gather(*(self._caught(plan, call, timeout) for call in calls))
        if isinstance(plan.query, Create):
            missing = [place for place, outcome in enumerate(outcomes) if outcome is None]
            again = await asyncio.gather(*(self._caught(plan, calls[place], timeout) for place in missing))
            for place, outcome in zip(missing, again, strict=True):
                outcomes[place] = outcome
        return outcomes

    async def stream(self, plan: Compiled, call: Call) -> AsyncIterator[bytes]:
        """The rows of an export as NDJSON, by a cursor, in bounded memory, for ten minutes at most."""
        own = cast("PostgresPlan", plan)
        text = own.alone(call.scope.kind)
        started = time.monotonic()
        guarded = not isinstance(own.query.rule, SharedRule | EverythingRule)
        async with self._pool.acquire(Share.EXPORT) as connection:
            try:
                async with connection.transaction(readonly=True):
                    await set_scope(connection, call.scope)
                    cursor = await connection.cursor(text.text, *text.bind([call]))
                    while rows := await cursor.fetch(CHUNK_ROWS):
                        if guarded:
                            in_scope({row["tenant"] for row in rows}, call.scope)
                        yield ("\n".join(row["body"] for row in rows) + "\n").encode()
                        if time.monotonic() - started > EXPORT_LIFE_SECONDS:
                            raise StatementTimeout("The export took longer than ten minutes.")
            except asyncpg.PostgresError as error:
                raise reported(error, own.collection) from error
            except LOST as error:
                raise lost(error, writing=False) from error

    async def begin(self, isolation: Isolation = "read_committed", *, read_only: bool = False) -> PostgresTransaction:
        """Open a transaction."""
        return await PostgresTransaction.begin(self._pool, isolation, read_only=read_only, share=Share.INTERACTIVE)

    async def reflect(self) -> tuple[Collection, ...]:
        """Every table and view of the served schemas that the role may read."""
        async with self._pool.acquire(Share.ALONE) as connection:
            return await reflect(connection, self.schemas, self.name)

    async def fingerprint(self) -> str:
        """A hash of what the catalog says of the served schemas."""
        async with self._pool.acquire(Share.ALONE) as connection:
            return await fingerprint(connection, self.schemas)

    async def measure(self) -> Sequence[TableSize]:
        """The sizes of the served tables, from the statistics."""
        async with self._pool.acquire(Share.ALONE) as connection:
            return await measure(connection, self.schemas)

    async def guards(self) -> Sequence[Guards]:
        """How the served tables and views are guarded, for `portico doctor`."""
        async with self._pool.acquire(Share.ALONE) as connection:
            return await guards(connection, self.schemas)

    async def unsafe_reasons(self) -> list[str]:
        """Why the role must not serve in production: a sentence each; empty where nothing is wrong."""
        async with self._pool.acquire(Share.ALONE) as connection:
            return await unsafe_reasons(connection, self.schemas)

    async def health(self) -> Health:
        """One round trip within two seconds."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(2), self._pool.acquire(Share.ALONE) as connection:
                await connection.fetchval("SELECT 1")
        except (PorticoError, TimeoutError, asyncpg.PostgresError, *LOST) as error:
            code = error.code if isinstance(error, PorticoError) else "database_unavailable"
            return Health(healthy=False, latency_ms=(time.perf_counter() - started) * 1000, pool=self._pool.status(), error=code)
        return Health(healthy=True, latency_ms=(time.perf_counter() - started) * 1000, pool=self._pool.status())

    def pool_status(self) -> PoolStatus:
        """The pool now."""
        return self._pool.status()


def _refused_one(error: PorticoError) -> bool:
    """Whether the server refused a joint statement for what may be one call's fault, or for a lock that one call waits for."""
    cause = error.__cause__
    if not isinstance(cause, asyncpg.PostgresError) or isinstance(error, StatementTimeout | SchemaChanged):
        return False
    return cause.sqlstate == LOCK_NOT_AVAILABLE or not isinstance(error, Unavailable)
