"""PostgreSQL behind the engine contract: one statement for the calls of a plan, transactions, exports, reflection and health."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import cast
from uuid import UUID

import asyncpg

from portico.engines.base import Call, Compiled, Health, Hit, Isolation, LedgerEntry, LedgerState, Outcome, PoolStatus, TableSize
from portico.engines.explaining import Explanation
from portico.engines.postgres import explain, ledger, search
from portico.engines.postgres.compiled import PostgresPlan, compile_plan
from portico.engines.postgres.errors import LOST, lost, reported
from portico.engines.postgres.execute import chunks_of, set_scope
from portico.engines.postgres.functions import FunctionPlan, functions
from portico.engines.postgres.grammar import PostgresGrammar
from portico.engines.postgres.interactive import PostgresInteractive
from portico.engines.postgres.introspect import Guards, guards, measure, unsafe_reasons
from portico.engines.postgres.keys import forget
from portico.engines.postgres.pool import Connection, Pool, PoolOptions, Share
from portico.engines.postgres.records import PostgresRecords
from portico.engines.postgres.reflect import fingerprint, reflect
from portico.engines.postgres.runner import Runner
from portico.engines.postgres.stored import stored_documents, stored_mark
from portico.engines.postgres.transaction import PostgresTransaction, to_its_end
from portico.errors import NotSupported, PorticoError, StatementTimeout
from portico.events import Emit, EngineStarted
from portico.model.collection import Collection
from portico.model.function import Function
from portico.model.page import Page
from portico.model.scope import Scope
from portico.query.capabilities import Capability
from portico.query.limits import MOST_CASCADED
from portico.query.scoped import CallFunction, ScopedQuery, Search

_ALWAYS = frozenset(
    {
        Capability.TRANSACTIONS,
        Capability.JOINT_READS,
        Capability.JOINT_CREATES,
        Capability.ROW_LEVEL_SECURITY,
        Capability.ARRAYS,
        Capability.EMBEDDING,
        Capability.RANGES,
        Capability.FULL_TEXT,
        Capability.CANCEL,
        Capability.SAVEPOINTS,
        Capability.PLANNED_COUNT,
        Capability.FUNCTIONS,
        Capability.PARTITIONS,
        Capability.EXPLAIN,
    }
)

_WITH_COMPANIONS = frozenset(
    {Capability.AUDIT, Capability.IDEMPOTENCY, Capability.VERSIONS, Capability.CHANGE_FEED, Capability.INTERACTIVE_TRANSACTIONS}
)


_LEARN = """SELECT to_regclass('portico.audit') IS NOT NULL, to_regclass('portico.search') IS NOT NULL,
 to_regclass('portico.idx_search_body') IS NOT NULL"""


class PostgresEngine:
    """One PostgreSQL database.

    Args:
        name: the configured database's name. options: how to connect. schemas: those that are served, the first with plain names.
        secret: keys the ETags. emit: where events go. most_cascaded: documents that the cascades of one delete may touch.
    """

    kind = "postgresql"

    def __init__(
        self, name: str, options: PoolOptions, *, schemas: Sequence[str], secret: bytes, emit: Emit, most_cascaded: int = MOST_CASCADED
    ) -> None:
        self.name = name
        self.options = options
        self.schemas = tuple(schemas)
        self.capabilities: frozenset[Capability] = _ALWAYS
        self._pool = Pool(name, options, emit)
        self._runner = Runner(self._pool)
        self.records = PostgresRecords(self._asking)
        self._grammar = PostgresGrammar()
        self._secret = secret
        self._most_cascaded = most_cascaded
        self._emit = emit

    async def start(self) -> None:
        """Open the pool and learn what the database has: companion tables."""
        await self._pool.open()
        async with self._asking() as connection:
            companions, searched, similar = await connection.fetchrow(_LEARN) or (False, False, False)
        found = set(_WITH_COMPANIONS) if companions else set()
        found |= {Capability.SEARCH} if searched else set()
        found |= {Capability.FUZZY_SEARCH} if searched and similar else set()
        self.capabilities = _ALWAYS | found
        options = self.options
        overflow = options.maximum - options.minimum
        self._emit(EngineStarted(self.name, self.kind, options.minimum, overflow, options.timeout, options.recycle))

    async def close(self) -> None:
        """Close every connection once what runs has ended."""
        await self._pool.close()

    def compile(self, query: ScopedQuery) -> Compiled:
        """Make a scoped query ready to run."""
        return compile_plan(query, self._grammar, self._secret, most_cascaded=self._most_cascaded)

    async def run(
        self, plan: Compiled, calls: Sequence[Call], *, timeout: float | None = None, gathered: bool = False
    ) -> Sequence[Outcome]:
        """Run a plan for its calls: together in one statement, or the one call alone."""
        seconds = timeout if timeout is not None else self.options.statement_timeout
        return await self._runner.run(cast("PostgresPlan", plan), calls, seconds, gathered=gathered)

    async def explain(self, plan: Compiled, call: Call, *, timeout: float | None = None) -> Explanation:
        """How a read runs, by running it in a transaction that is rolled back."""
        seconds = timeout if timeout is not None else self.options.statement_timeout
        async with self._asking(Share.ALONE) as connection:
            return await explain.explain(connection, cast("PostgresPlan", plan), call, seconds)

    async def stream(self, plan: Compiled, call: Call) -> AsyncIterator[bytes]:
        """The rows of an export as NDJSON, by a cursor, in bounded memory, for ten minutes at most."""
        own = cast("PostgresPlan", plan)
        async with self._pool.acquire(Share.EXPORT) as connection:
            try:
                async with connection.transaction(readonly=True):
                    await set_scope(connection, call.scope)
                    async with aclosing(chunks_of(connection, own, call)) as chunks:
                        async for chunk in chunks:
                            yield chunk
            except LOST as error:
                self._pool.lost(connection)
                raise lost(error, writing=False) from error
            except asyncpg.PostgresError as error:
                raise reported(error, own.collection) from error

    async def begin(self, isolation: Isolation = "read_committed", *, read_only: bool = False, unit: bool = False) -> PostgresTransaction:
        """Open a transaction of one request."""
        share = Share.UNIT if unit else Share.GROUPED
        return await PostgresTransaction.begin(self._pool, isolation, read_only=read_only, share=share)

    async def forget_keys(self, older_than: float, most: int) -> int:
        """Remove answers of keyed writes that are older than these seconds, unless another node is about it."""
        async with self._asking() as connection:
            return await forget(connection, older_than, most)

    async def search(self, query: Search, scope: Scope, limit: int, *, timeout: float | None = None) -> Sequence[Hit]:
        """The best matches; on PostgreSQL `fuzzy` adds those by words that are written alike, where pg_trgm is installed."""
        if query.fuzzy and Capability.FUZZY_SEARCH not in self.capabilities:
            raise NotSupported(Capability.FUZZY_SEARCH, self.kind, hint="Install pg_trgm in the database, and run portico init-db again.")
        seconds = timeout if timeout is not None else self.options.statement_timeout
        async with self._searching() as connection:
            hits = await search.find(connection, query, scope, limit, seconds)
            if query.fuzzy and len(hits) < limit:
                there = {(hit.collection, hit.key) for hit in hits}
                similar = await search.find_similar(connection, query, scope, limit, seconds)
                least = min((hit.score for hit in hits), default=1.0)
                hits += [replace(hit, score=hit.score * least) for hit in similar if (hit.collection, hit.key) not in there]
        return hits[:limit]

    async def excerpts(self, query: Search, hits: Sequence[Hit], *, timeout: float | None = None) -> Sequence[str]:
        """What stands around the words that were found."""
        async with self._searching() as connection:
            return await search.excerpts(connection, query, hits, timeout if timeout is not None else self.options.statement_timeout)

    @asynccontextmanager
    async def _searching(self) -> AsyncIterator[Connection]:
        try:
            async with self._asking(Share.ALONE) as connection:
                yield connection
        except TimeoutError:
            raise StatementTimeout("The search ran longer than allowed and was cancelled.") from None

    def companion(self, companion: Collection) -> Collection:
        """The table of the schema `portico`."""
        return replace(companion, database=self.name)

    async def begin_interactive(
        self, entry: LedgerEntry, isolation: Isolation, *, read_only: bool, life: float, until: float
    ) -> PostgresInteractive:
        """Open a transaction that its caller holds, and record it outside of it."""
        transaction, number = await PostgresInteractive.open(self._pool, isolation, read_only=read_only, life=life, until=until)
        try:
            async with self._asking(Share.LEDGER, until) as connection:
                await ledger.record_begin(connection, entry, number)
        except BaseException:
            await to_its_end(transaction.rollback())
            raise
        return transaction

    async def recorded(self, id: UUID) -> LedgerState | None:  # noqa: A002 - what it is called everywhere
        """What the ledger says of a transaction, or the server where its holder could not."""
        async with self._asking(Share.LEDGER) as connection:
            return await ledger.recorded(connection, id)

    async def record_end(self, entry: LedgerEntry, state: str, reason: str) -> None:
        """Record how a transaction ended."""
        async with self._asking(Share.LEDGER) as connection:
            await ledger.record_end(connection, entry, state, reason)

    async def forget_ended(self, seconds: float) -> None:
        """Remove what is recorded of transactions that began longer ago."""
        async with self._asking(Share.LEDGER) as connection:
            await ledger.forget_ended(connection, seconds)

    async def functions(self, name: str) -> Sequence[Function]:
        """The functions of that name, in the schema that it begins with or else the first that is served."""
        schema, _, plain = name.rpartition(".")
        async with self._asking() as connection:
            return await functions(connection, schema or next(iter(self.schemas), "public"), plain)

    def compile_function(self, query: CallFunction) -> Compiled:
        """Make a call of a function ready to run inside of a transaction."""
        return FunctionPlan(query, self._grammar)

    async def call_function(self, query: CallFunction, call: Call, check: Callable[[Page], None], *, timeout: float | None = None) -> Page:
        """Call a function in a transaction of its own."""
        plan = self.compile_function(query)
        transaction = await PostgresTransaction.begin(
            self._pool, "read_committed", read_only=query.read_only, share=Share.UNIT, one_call=True
        )
        try:
            seconds = timeout if timeout is not None else self.options.statement_timeout
            page = cast("Page", await transaction.run(plan, call, timeout=seconds))
            check(page)
        except BaseException:
            await to_its_end(transaction.rollback())
            raise
        await transaction.commit()
        return page

    async def reflect(self) -> tuple[Collection, ...]:
        """Every table and view of the served schemas that the role may read."""
        async with self._asking() as connection:
            return await reflect(connection, self.schemas, self.name)

    async def fingerprint(self) -> str:
        """A hash of what the catalog says of the served schemas."""
        async with self._asking() as connection:
            return f"{await fingerprint(connection, self.schemas)}|{await stored_mark(connection)}"

    async def stored_documents(self) -> Sequence[Mapping[str, object]]:
        """The schema documents of what migrations created."""
        async with self._asking() as connection:
            return await stored_documents(connection)

    async def measure(self) -> Sequence[TableSize]:
        """The sizes of the served tables, from the statistics."""
        async with self._asking() as connection:
            return await measure(connection, self.schemas)

    async def guards(self) -> Sequence[Guards]:
        """How the served tables and views are guarded, for `portico doctor`."""
        async with self._asking() as connection:
            return await guards(connection, self.schemas)

    async def unsafe_reasons(self) -> list[str]:
        """Why the role must not serve in production: a sentence each; empty where nothing is wrong."""
        async with self._asking() as connection:
            return await unsafe_reasons(connection, self.schemas)

    @asynccontextmanager
    async def _asking(self, share: Share = Share.CONTROL, until: float | None = None) -> AsyncIterator[Connection]:
        """A connection for the service's own questions; a driver's error becomes Portico's."""
        async with self._pool.acquire(share, until) as connection:
            try:
                yield connection
            except LOST as error:
                self._pool.lost(connection)
                raise lost(error, writing=False) from error
            except asyncpg.PostgresError as error:
                raise reported(error, None) from error

    async def health(self) -> Health:
        """One round trip within two seconds, on a connection that callers' statements do not take."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(2), self._asking() as connection:
                await connection.execute("SELECT")
        except (PorticoError, TimeoutError) as error:
            code = error.code if isinstance(error, PorticoError) else "database_unavailable"
            return Health(healthy=False, latency_ms=(time.perf_counter() - started) * 1000, pool=self._pool.status(), error=code)
        return Health(healthy=True, latency_ms=(time.perf_counter() - started) * 1000, pool=self._pool.status())

    def pool_status(self) -> PoolStatus:
        """The pool now."""
        return self._pool.status()
