"""Connections to one SQLite file: how they are opened, and the threads that run what may take long."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from portico.engines.sqlite.errors import is_interrupted, translate
from portico.engines.sqlite.functions import register
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
    except BaseException:
        connection.close()
        raise
    return connection


class Watchdog:
    """Ends a statement that runs long on the loop. SQLite counts steps over a statement's whole life, so one alarm proves nothing."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.alarms = 0
        connection.set_progress_handler(self._alarm, LOOP_STEPS)

    def _alarm(self) -> bool:
        self.alarms += 1
        return self.alarms > 1


class Threads:
    """Runs work on connections in threads, each piece on its own connection, with a time limit that interrupts it.

    Args:
        size: how many pieces run at once; the others wait.
    """

    def __init__(self, opener: Callable[[], sqlite3.Connection], size: int, name: str) -> None:
        self._opener = opener
        self._size = size
        self._executor = ThreadPoolExecutor(size, thread_name_prefix=name)
        self._idle: list[sqlite3.Connection] = []
        self._places = asyncio.Semaphore(size)
        self.busy = 0
        self.waiting = 0

    @property
    def idle(self) -> int:
        """Connections that are open and unused."""
        return len(self._idle)

    async def run(self, work: Callable[[sqlite3.Connection], T], *, timeout: float, wait: float) -> T:
        """Run `work` on a connection of its own. Its caller's cancelling, and the timeout, interrupt it.

        Args:
            timeout: seconds for the work. wait: seconds for a place.
        Raises:
            PoolExhausted, StatementTimeout, PorticoError of what SQLite reported.
        """
        await self._enter(wait)
        future: Future[T] | None = None
        connection: sqlite3.Connection | None = None
        try:
            connection = self._idle.pop() if self._idle else self._open()
            future = self._executor.submit(work, connection)
            return await interruptible(connection, future, timeout)
        finally:
            self._leave(connection, future)

    async def _enter(self, wait: float) -> None:
        self.waiting += 1
        try:
            await asyncio.wait_for(self._places.acquire(), wait)
        except TimeoutError:
            raise PoolExhausted("Every reader of the database is in use.") from None
        finally:
            self.waiting -= 1
        self.busy += 1

    def _open(self) -> sqlite3.Connection:
        try:
            return self._opener()
        except sqlite3.Error as error:
            raise translate(error) from error

    def _leave(self, connection: sqlite3.Connection | None, future: Future[T] | None) -> None:
        self.busy -= 1
        self._places.release()
        if connection is None:
            return
        if future is not None and not future.done():
            future.add_done_callback(lambda _: connection.close())
        else:
            self._idle.append(connection)

    async def close(self) -> None:
        """Wait for what runs, then close every connection."""
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
        return await asyncio.wait_for(asyncio.shield(wrapped), timeout)
    except TimeoutError:
        await _stop(connection, future)
        if future.done() and not future.cancelled() and future.exception() is None:
            return future.result()
        raise StatementTimeout("The statement ran longer than allowed and was cancelled.") from None
    except asyncio.CancelledError:
        await _stop(connection, future)
        raise
    except sqlite3.Error as error:
        if is_interrupted(error):
            raise StatementTimeout("The statement ran longer than allowed and was cancelled.") from None
        raise


async def _stop(connection: sqlite3.Connection, future: Future[T]) -> None:
    """Interrupt until the thread is through: a statement that had not begun yet would not have noticed."""
    while not future.done() and not future.cancel():
        connection.interrupt()
        await asyncio.wait([asyncio.wrap_future(future)], timeout=INTERRUPT_AGAIN_SECONDS)


def closed() -> DatabaseUnavailable:
    """The error of calls after `close`."""
    return DatabaseUnavailable("The database is closed.")
