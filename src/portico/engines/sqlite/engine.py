"""SQLite behind the engine contract: cheap reads on the loop, what may scan in threads, one writer with group commit."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, cast
from uuid import UUID

from portico.engines.base import Answer, Call, Compiled, Health, Hit, Isolation, LedgerEntry, LedgerState, Outcome, PoolStatus
from portico.engines.explaining import Explanation
from portico.engines.sql.search_sqlite import TABLE as SEARCH_TABLE
from portico.engines.sqlite import explain, ledger, search
from portico.engines.sqlite.companion_rows import AUDIT_TABLE, VERSIONS_TABLE
from portico.engines.sqlite.connections import Threads, Watchdog, closed, open_connection
from portico.engines.sqlite.errors import is_busy, is_interrupted, is_unshowable, translate, unstorable
from portico.engines.sqlite.foreign import as_stored
from portico.engines.sqlite.gate import Gate
from portico.engines.sqlite.interactive import SqliteInteractive
from portico.engines.sqlite.keys import TABLE as KEYS_TABLE
from portico.engines.sqlite.keys import KeyLocks
from portico.engines.sqlite.perform import perform_read, read_with_care
from portico.engines.sqlite.plan import SqlitePlan, compile_plan
from portico.engines.sqlite.positions import POSITIONS_TABLE
from portico.engines.sqlite.records import SqliteRecords
from portico.engines.sqlite.reflect import fingerprint, reflect
from portico.engines.sqlite.stored import stored_documents, stored_mark
from portico.engines.sqlite.stream import export_chunks
from portico.engines.sqlite.transaction import SqliteTransaction
from portico.engines.sqlite.writer import Writer
from portico.errors import DatabaseUnavailable, NotSupported, PorticoError
from portico.events import ConnectionFailed, Emit, EngineStarted
from portico.model.collection import Collection
from portico.model.companions import for_sqlite
from portico.model.scope import Scope
from portico.query.capabilities import Capability
from portico.query.limits import MOST_CASCADED
from portico.query.scoped import ScopedQuery, Search

T = TypeVar("T")

SLOW_PLAN_SECONDS = 30.0
"""How long a plan that was slow on the loop goes to a thread at once."""

_ALWAYS = frozenset(
    {
        Capability.TRANSACTIONS,
        Capability.SAVEPOINTS,
        Capability.ARRAYS,
        Capability.EMBEDDING,
        Capability.CANCEL,
        Capability.EXPLAIN,
    }
)


@dataclass(frozen=True, slots=True)
class SqliteOptions:
    """How a file is used.

    Attributes:
        readers: threads for reads that may take long. bookkeeping: threads for the companion records.
        exports, transactions, units: the most that are open at once. `transactions` counts those of one request, and as many again that
            their callers hold.
        statement_timeout: seconds for a statement. wait_timeout: seconds for a free reader or transaction.
        most_cascaded: documents that the cascades of one delete may touch.
    """

    readers: int = 4
    exports: int = 2
    transactions: int = 8
    bookkeeping: int = 2
    units: int = 8
    statement_timeout: float = 30.0
    wait_timeout: float = 5.0
    most_cascaded: int = MOST_CASCADED


class SqliteEngine:
    """One SQLite file.

    Args:
        name: the configured database's name. path: the file, made where it is not there.
        secret: keys the ETags, at most 64 bytes. emit: where events go. options: limits.
    """

    kind = "sqlite"

    def __init__(self, name: str, path: str | Path, *, secret: bytes, emit: Emit, options: SqliteOptions | None = None) -> None:
        self.name = name
        self.path = Path(path)
        self.options = options or SqliteOptions()
        self.capabilities: frozenset[Capability] = _ALWAYS
        self._secret = secret
        self._emit = emit
        self._reader: sqlite3.Connection | None = None
        self._watchdog: Watchdog | None = None
        self._threads: Threads | None = None
        self._exports: Threads | None = None
        self._transactions: Threads | None = None
        self._units: Threads | None = None
        self._interactive: Threads | None = None
        self._writer: Writer | None = None
        self._bookkeeping: Threads | None = None
        self._gate = Gate()
        self.records = SqliteRecords(self._for_records, self._gate, timeout=self.options.statement_timeout)
        self._keys = KeyLocks(self.path)

    async def start(self) -> None:
        """Open the file, and learn what it has. Raises DatabaseUnavailable."""
        try:
            writer = await asyncio.get_running_loop().run_in_executor(None, self._open_writer)
            self._reader = open_connection(self.path, self._secret, busy_milliseconds=0, read_only=True)
        except sqlite3.Error as error:
            self._emit(ConnectionFailed(self.name, type(error).__name__))
            translated = translate(error)
            raise (
                translated if isinstance(translated, DatabaseUnavailable) else DatabaseUnavailable("The database cannot be opened.")
            ) from error
        self._watchdog = Watchdog(self._reader)
        self._writer = Writer(writer, self._gate, self.name, self._emit)
        self._threads = Threads(self._open_reader, self.options.readers, "sqlite-reader")
        self._exports = Threads(self._open_reader, self.options.exports, "sqlite-export")
        self._transactions = Threads(self._open_transaction, self.options.transactions, "sqlite-transaction")
        self._bookkeeping = Threads(self._open_transaction, self.options.bookkeeping, "sqlite-records")
        self._units = Threads(self._open_transaction, self.options.units, "sqlite-unit")
        self._interactive = Threads(self._open_transaction, self.options.transactions, "sqlite-interactive")
        self.refresh_capabilities()
        self._emit(EngineStarted(self.name, self.kind, 2, self.options.readers, self.options.wait_timeout, 0.0))

    def _open_writer(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = open_connection(self.path, self._secret)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA busy_timeout=0")
        return connection

    def _open_reader(self) -> sqlite3.Connection:
        return open_connection(self.path, self._secret, read_only=True)

    def _open_transaction(self) -> sqlite3.Connection:
        # It waits for locks on the loop, so SQLite must not wait by itself.
        return open_connection(self.path, self._secret, busy_milliseconds=0)

    def _for_records(self) -> Threads:
        if self._bookkeeping is None:
            raise closed()
        return self._bookkeeping

    def refresh_capabilities(self) -> None:
        """Look again for the companion tables, which `init-db` may have made since."""
        assert self._reader is not None, "the engine was started"
        tables = {row[0] for row in self._reader.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        found = {Capability.AUDIT} if AUDIT_TABLE in tables else set()
        found |= {Capability.VERSIONS} if VERSIONS_TABLE in tables else set()
        found |= {Capability.CHANGE_FEED} if POSITIONS_TABLE in tables else set()
        found |= {Capability.SEARCH} if SEARCH_TABLE in tables else set()
        found |= {Capability.IDEMPOTENCY} if KEYS_TABLE in tables else set()
        found |= {Capability.INTERACTIVE_TRANSACTIONS} if ledger.LEDGER_TABLE in tables else set()
        self.capabilities = _ALWAYS | found

    async def close(self) -> None:
        """Finish what runs and close every connection."""
        if self._writer is not None:
            await self._writer.close()
        for threads in (self._threads, self._exports, self._transactions, self._units, self._interactive, self._bookkeeping):
            if threads is not None:
                await threads.close()
        if self._reader is not None:
            self._reader.close()
        self._reader = self._writer = self._threads = self._exports = None
        self._transactions = self._units = self._interactive = self._bookkeeping = None
        self._keys.close()

    def compile(self, query: ScopedQuery) -> Compiled:
        """Make a scoped query ready to run. Raises NotSupported."""
        return compile_plan(query, self.capabilities, self._has_triggers, most_cascaded=self.options.most_cascaded)

    def _has_triggers(self, table: str) -> bool:
        if self._reader is None or self._watchdog is None:
            raise closed()
        self._watchdog.alarms = 0  # what the last read left would end this one
        found = self._reader.execute("SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE", (table,))
        return found.fetchone() is not None

    async def run(
        self,
        plan: Compiled,
        calls: Sequence[Call],
        *,
        timeout: float | None = None,
        gathered: bool = False,  # noqa: ARG002 - here nothing is owned by joint statements
    ) -> Sequence[Outcome]:
        """Run a plan for its calls, each by itself; writes that wait together are committed together."""
        own = cast("SqlitePlan", plan)
        seconds = timeout if timeout is not None else self.options.statement_timeout
        if own.writes:
            writer = self._writer
            if writer is None:
                raise closed()
            futures = [writer.submit(own, call, seconds) for call in calls]
            if len(futures) == 1:
                return [await _caught(futures[0])]
            return await asyncio.gather(*(_caught(future) for future in futures))
        return [await self._read(own, call, seconds) for call in calls]

    async def _read(self, plan: SqlitePlan, call: Call, timeout: float) -> Outcome:
        reader, watchdog = self._reader, self._watchdog
        if reader is None or watchdog is None:
            raise closed()
        try:
            if plan.slow_until > time.monotonic():
                return await self._read_apart(plan, call, timeout)
            watchdog.alarms = 0
            return perform_read(reader, plan, call)
        except sqlite3.Error as error:
            if is_interrupted(error):
                plan.slow_until = time.monotonic() + SLOW_PLAN_SECONDS
            elif not is_busy(error) and not is_unshowable(error):
                return translate(error, plan.collection)
        except (OverflowError, UnicodeEncodeError) as error:
            return unstorable(error)
        except PorticoError as error:
            return error
        try:
            return await self._read_apart(plan, call, timeout)
        except PorticoError as error:
            return error

    async def _read_apart(self, plan: SqlitePlan, call: Call, timeout: float) -> Answer:
        """A read in a thread: it may scan, wait for a lock, or hold what has to be shown with care."""
        threads = self._threads
        if threads is None:
            raise closed()

        def work(connection: sqlite3.Connection) -> Answer:
            try:
                return perform_read(connection, plan, call)
            except sqlite3.Error as error:
                if not is_unshowable(error):
                    raise
                return read_with_care(connection, plan, call)

        try:
            return await threads.run(work, timeout=timeout, wait=self.options.wait_timeout)
        except sqlite3.Error as error:
            raise translate(error, plan.collection) from error

    async def explain(self, plan: Compiled, call: Call, *, timeout: float | None = None) -> Explanation:
        """How a read runs, by running it in a thread."""
        own = cast("SqlitePlan", plan)
        try:
            return await self._apart(lambda connection: explain.explain(connection, own, call), own.collection, timeout)
        except (OverflowError, UnicodeEncodeError) as error:
            raise unstorable(error) from error

    async def stream(self, plan: Compiled, call: Call) -> AsyncIterator[bytes]:
        """The rows of an export as NDJSON, in bounded memory, for ten minutes at most."""
        if self._exports is None:
            raise closed()
        lease = await self._exports.take(self.options.wait_timeout)
        chunks = export_chunks(lease, cast("SqlitePlan", plan), call)
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            await chunks.aclose()
            self._exports.give_back(lease)

    async def begin(self, isolation: Isolation = "read_committed", *, read_only: bool = False, unit: bool = False) -> SqliteTransaction:
        """Open a transaction; every isolation level is serializable here."""
        del isolation
        threads = self._units if unit else self._transactions
        if threads is None:
            raise closed()
        lease = await threads.take(self.options.wait_timeout)
        timeout = self.options.statement_timeout
        return SqliteTransaction(lease, threads, self._gate, self._keys, read_only=read_only, unit=unit, statement_timeout=timeout)

    async def forget_keys(self, older_than: float, most: int) -> int:
        """Remove answers of keyed writes that are older than these seconds."""
        transaction = await self.begin()
        try:
            forgotten = await transaction.forget_keys(older_than, most)
            await transaction.commit()
        finally:
            await transaction.rollback()
        return forgotten

    async def begin_interactive(
        self, entry: LedgerEntry, isolation: Isolation, *, read_only: bool, life: float, until: float
    ) -> SqliteInteractive:
        """Open a transaction that its caller holds; every isolation level is serializable here."""
        del isolation, life
        if self._interactive is None:
            raise closed()
        left, timeout = until - asyncio.get_running_loop().time(), self.options.statement_timeout
        lease = await self._interactive.take(min(max(0.0, left), self.options.wait_timeout))
        return SqliteInteractive(
            lease, self._interactive, self._gate, self._keys, entry=entry, read_only=read_only, statement_timeout=timeout
        )

    async def recorded(self, id: UUID) -> LedgerState | None:  # noqa: A002 - what it is called everywhere
        """What the ledger says of a transaction; None where it was not committed."""
        return await self._apart(lambda connection: ledger.recorded(connection, id))

    async def record_end(self, entry: LedgerEntry, state: str, reason: str) -> None:
        """Record how a transaction ended, where it was not by a commit, which does so itself."""
        if state != "committed":
            await self._write_ledger(lambda connection: ledger.write(connection, entry, ledger.now(), state, reason))

    async def forget_ended(self, seconds: float) -> None:
        """Remove what is recorded of transactions that began longer ago."""
        await self._write_ledger(lambda connection: ledger.forget_ended(connection, seconds))

    async def _write_ledger(self, work: Callable[[sqlite3.Connection], object]) -> None:
        if self._writer is None:
            raise closed()
        await self._writer.write_apart(work)

    async def health(self) -> Health:
        """One read of the file, within two seconds."""
        started = time.perf_counter()
        code = None
        try:
            if self._threads is None:
                raise closed()
            await self._threads.run(
                lambda connection: connection.execute("SELECT count(*) FROM sqlite_master").fetchone(), timeout=2, wait=2
            )
        except PorticoError as error:
            code = error.code
        except sqlite3.Error as error:
            code = translate(error).code
        return Health(code is None, (time.perf_counter() - started) * 1000, self.pool_status(), code)

    def pool_status(self) -> PoolStatus:
        """The connections now: the reader of the loop, the writer, and those of the threads."""
        if self._threads is None or self._writer is None:
            return PoolStatus(0, 0, 0, 0, 0, 0)
        writing = 1 if self._gate.holder else 0
        idle, busy = self._threads.idle, self._threads.busy
        return PoolStatus(
            2 + idle + busy, 2 - writing + idle, busy + writing, busy + idle, 0, self._threads.waiting + len(self._writer.queue)
        )

    async def search(self, query: Search, scope: Scope, limit: int, *, timeout: float | None = None) -> Sequence[Hit]:
        """The best matches, found in a thread."""
        del timeout  # every read of a thread has the same
        if query.fuzzy:
            raise NotSupported(Capability.FUZZY_SEARCH, self.kind)
        return await self._apart(lambda connection: search.find(connection, query, scope, limit))

    async def excerpts(self, query: Search, hits: Sequence[Hit], *, timeout: float | None = None) -> Sequence[str]:
        """What stands around the words that were found."""
        del timeout
        return await self._apart(lambda connection: search.excerpts(connection, query, hits))

    def companion(self, companion: Collection) -> Collection:
        """The table whose name begins with ``portico_``."""
        return replace(for_sqlite(companion), database=self.name)

    async def reflect(self) -> tuple[Collection, ...]:
        """Every table and view, as discovered collections."""
        found = await self._apart(lambda connection: as_stored(connection, reflect(connection, self.name)))
        self.refresh_capabilities()
        return found

    async def fingerprint(self) -> str:
        """A short text that changes with the schema."""
        return await self._apart(lambda connection: f"{fingerprint(connection)}|{stored_mark(connection)}")

    async def stored_documents(self) -> Sequence[Mapping[str, object]]:
        """The schema documents of what migrations created."""
        return await self._apart(stored_documents)

    async def _apart(
        self, work: Callable[[sqlite3.Connection], T], collection: Collection | None = None, timeout: float | None = None
    ) -> T:
        if self._threads is None:
            raise closed()
        seconds = timeout if timeout is not None else self.options.statement_timeout
        try:
            return await self._threads.run(work, timeout=seconds, wait=self.options.wait_timeout)
        except sqlite3.Error as error:
            raise translate(error, collection) from error


async def _caught(future: asyncio.Future[Answer]) -> Outcome:
    try:
        return await future
    except PorticoError as error:
        return error


__all__ = ["SqliteEngine", "SqliteOptions"]
