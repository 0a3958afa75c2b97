"""Connections to one SQLite file: how they are opened, and the threads that run what may take long."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from portico.engines.sqlite.errors import is_interrupted, translate
from portico.engines.sqlite.functions import register
from portico.engines.sqlite.pipeline_functions import register as register_pipeline_functions
from portico.errors import DatabaseUnavailable, PoolExhausted, StatementTimeout

T = TypeVar("T")

BUSY_MILLISECONDS = 5000
STATEMENTS_KEPT = 512
LOOP_STEPS = 20_000
"""How many steps of SQLite's machine a statement may take on the loop before it is moved to a thread: a few milliseconds."""

INTERRUPT_AGAIN_SECONDS = 0.02


def open_connection(
    path: Path, secret: bytes, *, busy_milliseconds: int = BUSY_MILLISECONDS, read_only: bool = False
) -> sqlite3.Connection:
    """A connection with durable commits, foreign keys and Portico's functions. Raises sqlite3.Error."""
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS_KEPT, timeout=busy_milliseconds / 1000
    )
    try:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA recursive_triggers=OFF")
        if read_only:
            connection.execute("PRAGMA query_only=ON")
        register(connection, secret)
        register_pipeline_functions(connection)
    except BaseException:
        connection.close()
        raise
    return connection


class Watchdog:
    """Ends a statement that runs long on the loop. SQLite counts steps over a statement's whole life, so one alarm proves nothing."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.alarms = 0
        self.off = False
        connection.set_progress_handler(self._alarm, LOOP_STEPS)

    def _alarm(self) -> bool:
        self.alarms += 1
        return self.alarms > 1 and not self.off


@dataclass(slots=True)
class Lease:
    """A connection that one user has for itself, and the threads that its work may run in."""

    connection: sqlite3.Connection
    executor: ThreadPoolExecutor
    future: Future[object] | None = None

    async def run(self, work: Callable[[sqlite3.Connection], T], *, timeout: float) -> T:
        """Run `work` in a thread. Its caller's cancelling, and the timeout (seconds), interrupt it.

        Raises:
            StatementTimeout, and what `work` raised.
        """
        try:
            future = self.executor.submit(work, self.connection)
        except RuntimeError:
            raise closed() from None
        self.future = cast("Future[object]", future)
        return await interruptible(self.connection, future, timeout)


class Threads:
    """Connections that are leased, a limited number at once.

    Args:
        opener: opens a connection. size: how many are leased at once; the others wait.
    """

    def __init__(self, opener: Callable[[], sqlite3.Connection], size: int, name: str) -> None:
        self._opener = opener
        self._executor = ThreadPoolExecutor(size, thread_name_prefix=name)
        self._idle: list[sqlite3.Connection] = []
        self._places = asyncio.Semaphore(size)
        self._closing = False
        self.busy = 0
        self.waiting = 0

    @property
    def idle(self) -> int:
        """Connections that are open and unused."""
        return len(self._idle)

    async def run(self, work: Callable[[sqlite3.Connection], T], *, timeout: float, wait: float) -> T:
        """Run `work` on a connection of its own; arguments and errors as in `take` and `Lease.run`."""
        lease = await self.take(wait)
        try:
            return await lease.run(work, timeout=timeout)
        finally:
            self.give_back(lease)

    async def take(self, wait: float) -> Lease:
        """A connection, within `wait` seconds. Raises PoolExhausted, DatabaseUnavailable."""
        if self._closing:
            raise closed()
        self.waiting += 1
        try:
            async with asyncio.timeout(wait):
                await self._places.acquire()
        except TimeoutError:
            raise PoolExhausted("Every connection to the database is in use.") from None
        finally:
            self.waiting -= 1
        self.busy += 1
        try:
            connection = self._idle.pop() if self._idle else await asyncio.wrap_future(self._executor.submit(self._opener))
        except BaseException as error:
            self._free()
            if isinstance(error, sqlite3.Error):
                raise translate(error) from error
            raise
        return Lease(connection, self._executor)

    def give_back(self, lease: Lease) -> None:
        """Take a connection back; one whose thread is still at work, or whose transaction is open, is closed."""
        self._free()
        if lease.future is not None and not lease.future.done():
            lease.future.add_done_callback(lambda _: lease.connection.close())
        elif self._closing or lease.connection.in_transaction:
            lease.connection.close()
        else:
            self._idle.append(lease.connection)

    def _free(self) -> None:
        self.busy -= 1
        self._places.release()

    async def close(self) -> None:
        """Wait for what runs, then close every connection."""
        self._closing = True
        await asyncio.get_running_loop().run_in_executor(None, self._executor.shutdown)
        for connection in self._idle:
            connection.close()
        self._idle.clear()


async def interruptible(connection: sqlite3.Connection, future: Future[T], timeout: float) -> T:
    """The result of work that runs in a thread on `connection`; interrupted at the timeout (seconds) and when the caller is cancelled.

    On return the thread is through with the connection, unless the event loop itself is being stopped.
    """
    wrapped = asyncio.wrap_future(future)
    try:
        # Not `wait_for`: in Python 3.11 it forgets that its task was cancelled where the result comes at the same moment.
        async with asyncio.timeout(timeout):
            return await asyncio.shield(wrapped)
    except TimeoutError:
        await _stop(connection, future, wrapped)
        if future.done() and not future.cancelled() and future.exception() is None:
            return future.result()
        raise StatementTimeout("The statement ran longer than allowed and was cancelled.") from None
    except asyncio.CancelledError:
        await _stop(connection, future, wrapped)
        raise
    except sqlite3.Error as error:
        if is_interrupted(error):
            raise StatementTimeout("The statement ran longer than allowed and was cancelled.") from None
        raise


async def _stop(connection: sqlite3.Connection, future: Future[T], wrapped: asyncio.Future[T]) -> None:
    """Interrupt until the thread is through: a statement that had not begun yet would not have noticed."""
    # Its error is nobody's any more: not asked for, it would be logged.
    wrapped.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    while not future.done() and not future.cancel():
        connection.interrupt()
        await asyncio.wait([wrapped], timeout=INTERRUPT_AGAIN_SECONDS)


def closed() -> DatabaseUnavailable:
    """The error of calls after `close`."""
    return DatabaseUnavailable("The database is closed.")
