"""Who may write: one at a time within this process, and one at a time to the file, which other processes may have open too."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable

from portico.engines.base import Answer, Call
from portico.engines.sqlite.errors import is_busy, is_unshowable, translate, unstorable
from portico.engines.sqlite.perform import Write
from portico.engines.sqlite.plan import SqlitePlan
from portico.errors import PorticoError, Unavailable
from portico.query.scoped import Delete

WAIT_SECONDS = 5.0
"""How long a write waits for the writer."""

FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.001, 0.05


class Gate:
    """Who may write, within this process: one at a time, in the order they came. `holder` says who it is, for those who wait in vain."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self.holder = ""

    async def enter(self, holder: str, wait: float) -> None:
        """Become the writer within `wait` seconds. Raises Unavailable naming the holder."""
        try:
            async with asyncio.timeout(wait):
                await self._lock.acquire()
        except TimeoutError:
            raise self.taken() from None
        self.holder = holder

    def leave(self) -> None:
        """Let the next one in."""
        self.holder = ""
        self._lock.release()

    def taken(self) -> Unavailable:
        """The error of those who waited in vain."""
        cause = self.holder or "another process"
        return Unavailable(f"The database's writer was held for too long by {cause}.", details={"cause": cause})


async def begin_immediate(connection: sqlite3.Connection, deadline: float, failure: Callable[[], PorticoError]) -> None:
    """Take the file's write lock, which another process may hold, until the loop's time `deadline`. Raises what `failure` gives."""
    loop = asyncio.get_running_loop()
    pause = FIRST_RETRY_SECONDS
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if not is_busy(error):
                raise translate(error) from error
            if loop.time() + pause > deadline:
                raise failure() from error
        else:
            return
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_RETRY_SECONDS)


def in_savepoint(connection: sqlite3.Connection, plan: SqlitePlan, call: Call) -> Answer:
    """Run one write inside of an open transaction; what it wrote is undone where it fails.

    Where a row holds what cannot be shown plainly, the write is begun anew with care. Raises PorticoError.
    """
    connection.execute("SAVEPOINT portico_write")
    try:
        answer = _perform(connection, plan, call)
    except BaseException as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK TO portico_write")
            connection.execute("RELEASE portico_write")
        if isinstance(error, sqlite3.Error):
            raise translate(error, plan.collection, deleting=isinstance(plan.query, Delete)) from error
        if isinstance(error, OverflowError | UnicodeEncodeError):
            raise unstorable(error) from error
        raise
    connection.execute("RELEASE portico_write")
    return answer


def _perform(connection: sqlite3.Connection, plan: SqlitePlan, call: Call) -> Answer:
    try:
        return Write(connection, plan, call).perform()
    except sqlite3.Error as error:
        if not is_unshowable(error) or not connection.in_transaction:
            raise
    connection.execute("ROLLBACK TO portico_write")
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    try:
        return Write(connection, plan, call, safe=True).perform()
    finally:
        connection.text_factory = str
