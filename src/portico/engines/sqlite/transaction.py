"""An open transaction: a snapshot that reads until its first write, and is the writer from then on."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import cast

from portico.engines.base import Answer, Call, Compiled
from portico.engines.sqlite.connections import Lease, Threads, Watchdog
from portico.engines.sqlite.errors import is_busy, is_interrupted, is_unshowable, translate
from portico.engines.sqlite.gate import FIRST_RETRY_SECONDS, WAIT_SECONDS, Gate, begin_immediate, in_savepoint
from portico.engines.sqlite.keys import TABLE, KeyLocks, find, forget, keep
from portico.engines.sqlite.loads import load
from portico.engines.sqlite.perform import perform_read, read_with_care
from portico.engines.sqlite.plan import SqlitePlan
from portico.engines.sqlite.stream import export_chunks
from portico.errors import DatabaseReadOnly, InvalidParameter, PorticoError, StaleSnapshot, StatementTimeout, TransactionGone
from portico.model.idempotency import Answered, Kept, RequestKey
from portico.model.scope import Scope
from portico.query.scoped import Create

TURN = 32
"""Calls that are run one after the other before others have their turn: a few milliseconds."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_NO_SAVEPOINT = "no such savepoint"


class SqliteTransaction:
    """One transaction and its connection; calls run one at a time, in the order they come.

    Every isolation level is the same here: what it reads is one snapshot, taken by its first call, and a write on top of a snapshot
    that is no longer the newest is refused. The unit of one request that may write is the writer from its first call on.
    `holder` is what others are told that wait for it in vain.
    """

    holder = "a call that writes many documents"

    def __init__(
        self, lease: Lease, threads: Threads, gate: Gate, keys: KeyLocks, *, read_only: bool, unit: bool, statement_timeout: float
    ) -> None:
        self._lease = lease
        self._connection = lease.connection
        self._watchdog = Watchdog(lease.connection)
        self._threads = threads
        self._gate = gate
        self._keys = keys
        self._claimed: list[int] = []
        self._read_only = read_only
        self._unit = unit
        self._timeout = statement_timeout
        self._turn = asyncio.Lock()
        self._writing = False
        self._failed = False
        self._open = True

    async def run(self, plan: Compiled, call: Call, *, timeout: float | None = None) -> Answer:
        """Run one call inside. A call that SQLite refused leaves the transaction failed, until a savepoint is rolled back to.

        Raises:
            StaleSnapshot: the first write came after a change of others to what the transaction read. Unavailable: another writer.
        """
        async with self._turn:
            return await self._run(cast("SqlitePlan", plan), call, self._timeout if timeout is None else timeout)

    async def run_all(self, plan: Compiled, calls: Sequence[Call], *, timeout: float | None = None) -> Sequence[Answer]:
        """Run the calls of one plan one after the other; raises the first error."""
        async with self._turn:
            seconds = self._timeout if timeout is None else timeout
            if len(calls) == 1:
                return [await self._run(cast("SqlitePlan", plan), calls[0], seconds)]
            query = plan.query
            if isinstance(query, Create) and query.counted:
                loaded = await self._load(cast("SqlitePlan", plan), calls, seconds)
                if loaded is not None:
                    return loaded
            answers: list[Answer] = []
            for place, call in enumerate(calls):
                answers.append(await self._run_at(place, cast("SqlitePlan", plan), call, seconds))
                if place % TURN == TURN - 1:
                    await asyncio.sleep(0)
            return answers

    async def _run_at(self, place: int, plan: SqlitePlan, call: Call, timeout: float) -> Answer:
        try:
            return await self._run(plan, call, timeout)
        except PorticoError as error:
            error.details.setdefault("index", place)
            raise

    async def _load(self, plan: SqlitePlan, calls: Sequence[Call], timeout: float) -> list[Answer] | None:
        """Many creates in a thread; None, with nothing written, where one was refused: run by itself, each tells its own error."""
        await self._ready(plan)
        self._watchdog.off = True
        try:
            return await self._lease.run(lambda connection: load(connection, plan, calls), timeout=timeout)
        except (sqlite3.Error, OverflowError, UnicodeEncodeError, PorticoError) as error:
            self._failed = not self._connection.in_transaction
            if not self._failed and not isinstance(error, StatementTimeout):
                return None
            raise translate(error, plan.collection) if isinstance(error, sqlite3.Error) else error from error
        finally:
            self._watchdog.off = False

    async def stream(self, plan: Compiled, call: Call) -> AsyncGenerator[bytes, None]:
        """The rows of an export, as the transaction sees them."""
        async with self._turn:
            self._check()
            self._watchdog.off = True
            try:
                async with aclosing(export_chunks(self._lease, cast("SqlitePlan", plan), call, inside=True)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            finally:
                self._watchdog.off = False

    async def _ready(self, plan: SqlitePlan) -> None:
        """Be ready for a statement of the plan. Raises DatabaseReadOnly, and as `_become_writer`."""
        self._check()
        if plan.writes and self._read_only:
            raise DatabaseReadOnly("The transaction is read-only.")
        if plan.writes or (self._unit and not self._read_only):
            if not self._writing:
                await self._become_writer(plan.collection.table)
        elif not self._connection.in_transaction:
            self._execute("BEGIN")

    async def _run(self, plan: SqlitePlan, call: Call, timeout: float) -> Answer:
        await self._ready(plan)
        try:
            return await self._perform(plan, call, timeout)
        except sqlite3.Error as error:
            self._failed = True
            raise translate(error, plan.collection) from error
        except PorticoError as error:
            self._failed = self._failed or isinstance(error.__cause__, sqlite3.Error) or not self._connection.in_transaction
            raise

    def _check(self) -> None:
        if not self._open:
            raise TransactionGone("The transaction has ended.", details={"reason": "ended"})
        if self._failed:
            raise StaleSnapshot("The transaction has failed.", hint="Roll it back, to a savepoint or wholly.")

    async def _perform(self, plan: SqlitePlan, call: Call, timeout: float) -> Answer:
        if plan.heavy:
            return await self._unwatched(in_savepoint, plan, call, timeout)
        self._watchdog.alarms = 0
        try:
            if plan.writes:
                self._watchdog.off = True
                return in_savepoint(self._connection, plan, call)
            return perform_read(self._connection, plan, call)
        except sqlite3.Error as error:
            if not (is_interrupted(error) or is_unshowable(error)):
                raise
        finally:
            self._watchdog.off = False
        return await self._unwatched(read_with_care, plan, call, timeout)

    async def _unwatched(
        self, work: Callable[[sqlite3.Connection, SqlitePlan, Call], Answer], plan: SqlitePlan, call: Call, timeout: float
    ) -> Answer:
        """Run what may take long in a thread, where the timeout alone ends it."""
        self._watchdog.off = True
        try:
            return await self._lease.run(lambda connection: work(connection, plan, call), timeout=timeout)
        finally:
            self._watchdog.off = False

    async def _become_writer(self, table: str) -> None:
        """Take the writer. A snapshot that was read from is kept, so it has to be the newest. Raises StaleSnapshot, Unavailable."""
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        await self._gate.enter(self.holder, WAIT_SECONDS)
        try:
            if self._connection.in_transaction:
                await self._upgrade(table, deadline)
            else:
                await begin_immediate(self._connection, deadline, self._gate.taken)
        except BaseException:
            self._gate.leave()
            raise
        self._writing = True

    async def _upgrade(self, table: str, deadline: float) -> None:
        """Make the reading transaction the writing one, by a write that changes nothing."""
        quoted = table.replace('"', '""')
        while True:
            try:
                self._connection.execute(f'DELETE FROM "{quoted}" WHERE 0')  # noqa: S608  # a name of the catalog's
            except sqlite3.Error as error:
                translated = translate(error)
                if not is_busy(error) or isinstance(translated, StaleSnapshot):
                    self._failed = True
                    raise translated from error
                if asyncio.get_running_loop().time() > deadline:
                    raise self._gate.taken() from error
            else:
                return
            await asyncio.sleep(FIRST_RETRY_SECONDS * 10)

    async def claim(self, key: RequestKey, _: Scope) -> Kept | None:
        """Take an idempotency key until the transaction ends, and give what is stored under it. Raises RequestInFlight.

        Nobody else can store anything under the key from then on, so that this is read before the transaction begins.
        """
        async with self._turn:
            self._check()
            self._claimed.append(self._keys.take(key))
            self._watchdog.alarms = 0
            try:
                return find(self._connection, key)
            except sqlite3.Error as error:
                raise translate(error) from error

    async def keep(self, key: RequestKey, answer: Answered) -> None:
        """Store an answer under the key. Raises StaleSnapshot, Unavailable."""
        async with self._turn:
            self._check()
            if not self._writing:
                await self._become_writer(TABLE)
            self._watchdog.alarms = 0
            try:
                keep(self._connection, key, answer)
            except sqlite3.Error as error:
                raise translate(error) from error

    async def forget_keys(self, older_than: float, most: int) -> int:
        """Remove answers of keyed writes that are older than these seconds; how many."""
        async with self._turn:
            await self._become_writer(TABLE)
            try:
                return await self._lease.run(lambda connection: forget(connection, older_than, most), timeout=self._timeout)
            except sqlite3.Error as error:
                raise translate(error) from error

    async def savepoint(self, name: str) -> None:
        """Set a savepoint. Raises InvalidParameter for a name that is not an identifier."""
        async with self._turn:
            self._check()
            if not self._connection.in_transaction:
                self._execute("BEGIN")
            self._execute(f"SAVEPOINT {identifier(name)}")

    async def rollback_to(self, name: str) -> None:
        """Undo what came after the savepoint, which stays. Raises InvalidParameter where there is none of that name."""
        async with self._turn:
            if not self._open:
                self._check()
            self._execute(f"ROLLBACK TO {identifier(name)}")
            self._failed = False

    async def release(self, name: str) -> None:
        """Forget the savepoint, and keep what came after it. Raises InvalidParameter where there is none of that name."""
        async with self._turn:
            self._check()
            self._execute(f"RELEASE {identifier(name)}")

    def _execute(self, sql: str) -> None:
        try:
            self._connection.execute(sql)
        except sqlite3.Error as error:
            if _NO_SAVEPOINT in str(error):
                raise InvalidParameter("The transaction has no such savepoint.") from error
            raise translate(error) from error

    async def commit(self) -> None:
        """Make it durable. Once COMMIT runs nothing cancels it. Raises StaleSnapshot where the transaction had failed."""
        async with self._turn:
            self._check_open()
            if self._failed:
                self._end()
                raise StaleSnapshot("The transaction had failed, and was rolled back.")
            await asyncio.shield(asyncio.ensure_future(self._commit()))

    def _check_open(self) -> None:
        if not self._open:
            raise TransactionGone("The transaction has ended.", details={"reason": "ended"})

    async def _commit(self) -> None:
        try:
            if self._connection.in_transaction:
                self._before_commit()
                await self._lease.run(lambda connection: connection.execute("COMMIT"), timeout=3600)
        except sqlite3.Error as error:
            raise translate(error) from error
        finally:
            self._end()

    def _before_commit(self) -> None:
        """What is written with the rest: nothing. Raises sqlite3.Error."""

    async def rollback(self) -> None:
        """Undo everything and give the connection back. Does nothing to a transaction that has ended."""
        async with self._turn:
            self._end()

    def _end(self) -> None:
        if not self._open:
            return
        self._open = False
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            # A connection that cannot roll back is closed by who takes it back, which rolls back.
            self._failed = True
        finally:
            if self._writing:
                self._gate.leave()
            for claimed in self._claimed:
                self._keys.release(claimed)
            self._connection.set_progress_handler(None, 0)
            self._threads.give_back(self._lease)


def identifier(name: str) -> str:
    """A savepoint's name, quoted. Raises InvalidParameter."""
    if not _NAME.fullmatch(name):
        raise InvalidParameter("A savepoint's name is 1 to 63 letters, digits and underscores, not beginning with a digit.")
    return f'"{name}"'
