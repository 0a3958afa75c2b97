"""The connections of one PostgreSQL database, and how they are shared out.

asyncpg's own pool knows neither shares nor a connection's age, and its way through is longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum

import asyncpg

from portico.engines.base import PoolStatus
from portico.engines.postgres.connect import Address, Connection, Life, PoolOptions, Session, connect, learn
from portico.engines.postgres.errors import LOST
from portico.errors import DatabaseUnavailable, PoolExhausted
from portico.events import ConnectionFailed, Emit, PoolExhaustedEvent, PoolWaited

PING_AFTER_SECONDS = 30.0
PING_SECONDS = 1.0
CANCEL_SECONDS = 1.0
"""How long a connection that is given up may take to cancel its statement at the server."""

DRAIN_SECONDS = 10.0
MOVED_SECONDS = 1.0
"""A server that turns out read-only is looked for anew at most this often."""


class Share(StrEnum):
    """What a connection is wanted for."""

    JOINT = "joint"
    ALONE = "alone"
    INTERACTIVE = "interactive"
    UNIT = "unit"
    GROUPED = "grouped"
    """Transactions of one request: arrays, imports, batches."""

    LOCKING = "locking"
    EXPORT = "export"
    CONTROL = "control"
    LEDGER = "ledger"
    """What is recorded of interactive transactions, while these hold connections of their own."""


@dataclass(slots=True)
class _Group:
    """Connections of one kind, the last used last among the idle ones. `free` counts how many more may be taken."""

    free: asyncio.Semaphore
    settings: Mapping[str, str] = field(default_factory=dict)
    idle: list[Connection] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Way:
    """How a share gets its connections: what it takes one of, in this order, and the group that they are of."""

    limits: tuple[asyncio.Semaphore, ...]
    group: _Group


class Pool:
    """Connections by share: joint statements and the service's own questions have theirs; of the rest, no share can hold all."""

    def __init__(self, name: str, options: PoolOptions, emit: Emit) -> None:
        self.name = name
        self.options = options
        self._emit = emit
        self._address = Address(options.dsn)
        self._session: Session | None = None
        self._generation = 0
        self._out: set[Connection] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._joint, self._rest, self._ways = _shared_out(options.maximum)
        self._groups = tuple({id(way.group): way.group for way in self._ways.values()}.values())

    async def open(self) -> None:
        """Look at the server, and make the first connections. Raises DatabaseUnavailable, ConfigurationError."""
        self._address = Address.of(self.options.dsn)
        try:
            self._session = session = await learn(self.options, self._address)
            for group in self._groups:
                group.settings = session.settings
            if self._joint is not self._rest:
                self._joint.settings = session.joint
            wanted = min(self.options.minimum, self._rest.free._value)  # noqa: SLF001 - nothing is taken before the pool is open
            self._rest.idle += [await self._connect(self._rest) for _ in range(wanted)]
        except (DatabaseUnavailable, PoolExhausted) as error:
            await self.close()
            raise DatabaseUnavailable(error.message, hint=error.hint, details=error.details) from error

    async def close(self) -> None:
        """Close every connection, once what runs has ended, or after ten seconds."""
        self._session = None
        for group in self._groups:
            idle, group.idle = group.idle, []
            for connection in idle:
                self._end(connection)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while self._out or self._ending:
                    await asyncio.wait(self._ending, timeout=0.05) if self._ending else await asyncio.sleep(0.01)
        for connection in tuple(self._out):
            connection.terminate()

    # --- taking and giving back ------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def acquire(self, share: Share, until: float | None = None) -> AsyncIterator[Connection]:
        """A connection for as long as the block runs; `until` as `take` has it.

        A connection whose block fails while a statement or transaction may still be open is closed, never given to another.

        Raises:
            PoolExhausted: none became free in time. DatabaseUnavailable: none can be made.
        """
        connection = await self.take(share, until)
        clean = False
        try:
            yield connection
            clean = True
        finally:
            self.give_back(connection, share, clean=clean)

    async def take(self, share: Share, until: float | None = None) -> Connection:
        """A connection that `give_back` must get again. `until`: the event loop's time until which it is waited for."""
        way = self._ways[share]
        idle = way.group.idle
        if idle and not any(limit.locked() for limit in way.limits):
            connection = idle.pop()
            if self._is_fresh(connection, time.monotonic()):
                for limit in way.limits:
                    await limit.acquire()  # not locked, so nothing is waited for
                self._out.add(connection)
                return connection
            idle.append(connection)
        return await self._wait(way, until)

    async def _wait(self, way: _Way, until: float | None) -> Connection:
        """The long way: wait for the share's turn, see that the connection answers, or make one."""
        started = time.monotonic()
        held: list[asyncio.Semaphore] = []
        connection: Connection | None = None
        self._waiting += 1
        try:
            async with asyncio.timeout_at(until) if until is not None else asyncio.timeout(self.options.timeout):
                for limit in way.limits:
                    await limit.acquire()
                    held.append(limit)
                connection = await self._fit(way.group)
        except BaseException as error:
            if connection is not None:
                # The deadline came in the moment in which the connection did.
                way.group.idle.append(connection)
            for limit in held:
                limit.release()
            if isinstance(error, TimeoutError):
                raise self._late(connecting=len(held) == len(way.limits)) from None
            raise
        finally:
            self._waiting -= 1
        self._out.add(connection)
        waited = time.monotonic() - started
        if waited > 0.001:
            self._emit(PoolWaited(self.name, waited))
        return connection

    def _late(self, *, connecting: bool) -> DatabaseUnavailable | PoolExhausted:
        if connecting:
            self._emit(ConnectionFailed(self.name, "TimeoutError"))
            return DatabaseUnavailable("The database cannot be reached.", details={"type": "TimeoutError"})
        self._emit(PoolExhaustedEvent(self.name, "PoolExhausted", repr(self.status())))
        return PoolExhausted("No database connection became free in time.", hint="Try again shortly.")

    def give_back(self, connection: Connection, share: Share, *, clean: bool) -> None:
        """Return a connection. One that is not `clean` is closed, and a statement that it still runs cancelled at the server."""
        way = self._ways[share]
        self._out.discard(connection)
        if clean and self._session is not None and not connection.is_closed() and not connection.is_in_transaction():
            life = connection.life
            life.used = time.monotonic()
            if life.generation == self._generation:
                way.group.idle.append(connection)
                _release(way)
                return
        if connection.is_closed():
            connection.terminate()
            _release(way)
        else:
            self._end(connection, way)

    def _end(self, connection: Connection, way: _Way | None = None) -> None:
        """Close a connection in the background; its place in the pool is free when it is closed."""
        task = asyncio.ensure_future(_close(connection, way))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    # --- connections -----------------------------------------------------------------------------------------------------

    def _is_fresh(self, connection: Connection, now: float) -> bool:
        """Whether a connection can be handed out without a question."""
        life = connection.life
        return (
            not connection.is_closed()
            and life.generation == self._generation
            and now - life.used < PING_AFTER_SECONDS
            and now - life.born < self.options.recycle
        )

    async def _fit(self, group: _Group) -> Connection:
        while group.idle:
            connection = group.idle.pop()
            now = time.monotonic()
            if self._is_fresh(connection, now):
                return connection
            young = connection.life.generation == self._generation and now - connection.life.born < self.options.recycle
            if young and not connection.is_closed() and await self._answers(connection):
                return connection
            self._end(connection)
        return await self._connect(group)

    async def _answers(self, connection: Connection) -> bool:
        """Ask a connection that was idle for long. One that is silent has sisters that are: all are made anew."""
        try:
            await connection.execute("SELECT", timeout=PING_SECONDS)
        except (*LOST, asyncpg.PostgresError):
            self.lost(connection)
            return False
        except BaseException:
            self._end(connection)
            raise
        return True

    async def _connect(self, group: _Group) -> Connection:
        if self._session is None:
            raise DatabaseUnavailable("The database cannot be reached.")
        generation = self._generation
        try:
            connection = await connect(self.options, self._address, group.settings, prepared=self._session.prepared)
        except (DatabaseUnavailable, PoolExhausted) as error:
            self._emit(ConnectionFailed(self.name, str(error.details.get("type", type(error).__name__))))
            raise
        now = time.monotonic()
        connection.life = Life(now, now, generation)
        return connection

    def lost(self, connection: Connection) -> None:
        """A connection broke: those that are as old are made anew at their next use."""
        if connection.life.generation == self._generation:
            self._generation += 1
            for group in self._groups:
                idle, group.idle = group.idle, []
                for old in idle:
                    self._end(old)

    def moved(self, connection: Connection) -> None:
        """The server behind a connection takes no writes: the one that does may be elsewhere by now."""
        if time.monotonic() - connection.life.born > MOVED_SECONDS:
            self.lost(connection)

    def status(self) -> PoolStatus:
        """All connections taken together."""
        idle, out, ending = sum(len(group.idle) for group in self._groups), len(self._out), len(self._ending)
        size = idle + out + ending
        return PoolStatus(size, idle, out, max(size - self.options.minimum, 0), ending, self._waiting)


def _shared_out(maximum: int) -> tuple[_Group, _Group, dict[Share, _Way]]:
    """The groups of joint statements and of the rest, and each share's way. With very few connections, shares go together."""
    if maximum == 1:
        joint = rest = control = _Group(asyncio.Semaphore(1))
        most = 1
    else:
        own = min(4, maximum // 2)
        asking = 1 if maximum > own + 1 else 0
        most = maximum - own - asking
        joint, rest = _Group(asyncio.Semaphore(own)), _Group(asyncio.Semaphore(most))
        control = _Group(asyncio.Semaphore(asking)) if asking else rest

    def part(count: int) -> _Way:
        return _Way((asyncio.Semaphore(max(1, count)), rest.free), rest)

    ways = {
        Share.JOINT: _Way((joint.free,), joint),
        Share.ALONE: _Way((rest.free,), rest),
        Share.CONTROL: _Way((control.free,), control),
        Share.LEDGER: _Way((control.free,), control) if control is not rest else _Way((joint.free,), joint),
        Share.INTERACTIVE: part(most // 2),
        Share.UNIT: part(most - 1),
        Share.GROUPED: part(most // 2),
        Share.LOCKING: part(most // 4),
        Share.EXPORT: part(min(2, most)),
    }
    return joint, rest, ways


def _release(way: _Way) -> None:
    for limit in way.limits:
        limit.release()


async def _close(connection: Connection, way: _Way | None) -> None:
    try:
        await connection.close(timeout=CANCEL_SECONDS)
    except (*LOST, asyncpg.PostgresError):
        connection.terminate()
    finally:
        if way is not None:
            _release(way)


__all__ = ["Connection", "Pool", "PoolOptions", "Share"]
