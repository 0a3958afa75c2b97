"""The connections of one PostgreSQL database, and how they are shared out (DESIGN, decision 18)."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, cast

import asyncpg

from portico.engines.base import PoolStatus
from portico.engines.postgres.errors import LOST
from portico.errors import DatabaseUnavailable, PoolExhausted
from portico.events import ConnectionFailed, Emit, PoolExhaustedEvent, PoolWaited

if TYPE_CHECKING:
    _Base = asyncpg.Connection[asyncpg.Record]
else:
    _Base = asyncpg.Connection


@dataclass(slots=True)
class Life:
    """When a connection was made and last taken, in seconds of the monotonic clock."""

    born: float
    used: float


class Connection(_Base):
    """A connection that knows its life. (What the pool hands out forwards reads, so the moments stand in an object of their own.)"""

    __slots__ = ("life",)
    life: Life


PING_AFTER_SECONDS = 30.0


class Share(StrEnum):
    """What a connection is wanted for."""

    JOINT = "joint"
    ALONE = "alone"
    INTERACTIVE = "interactive"
    LOCKING = "locking"
    EXPORT = "export"


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """How to connect, and how many connections to hold.

    Attributes:
        dsn: without the password where `password` is given. password: called at each connect, so that a rotated one is used.
        minimum, maximum: connections of this process. timeout: seconds to wait for one. recycle: seconds of a connection's life.
        statement_timeout: seconds. prepared: keep prepared statements (off behind a transaction pooler).
        synchronous_commit: PostgreSQL's setting, or None to leave the server's.
        tls: a context where the connection string's own parameters do not say it all.
    """

    dsn: str
    password: Callable[[], str] | None = None
    minimum: int = 2
    maximum: int = 20
    timeout: float = 5.0
    recycle: float = 1800.0
    statement_timeout: float = 30.0
    prepared: bool = True
    synchronous_commit: str | None = None
    tls: ssl.SSLContext | None = None


async def _keep(_: object) -> None:
    """A connection goes back as it is: no setting outlives its statement here (DESIGN, decision 8)."""


class Pool:
    """Connections by share: joint statements have their own; of the others, no share can hold them all."""

    def __init__(self, name: str, options: PoolOptions, emit: Emit) -> None:
        self.name = name
        self.options = options
        self._emit = emit
        self._joint: asyncpg.Pool | None = None
        self._rest: asyncpg.Pool | None = None
        self._joint_size = min(4, max(1, options.maximum // 2))
        rest = max(1, options.maximum - self._joint_size)
        self._limits = {
            Share.JOINT: asyncio.Semaphore(self._joint_size),
            Share.ALONE: asyncio.Semaphore(rest),
            Share.INTERACTIVE: asyncio.Semaphore(max(1, rest // 2)),
            Share.LOCKING: asyncio.Semaphore(max(1, rest // 4)),
            Share.EXPORT: asyncio.Semaphore(min(2, rest)),
        }
        self._rest_size = rest
        self._waiting = 0
        self._invalid = 0
        self._out = 0

    async def open(self) -> None:
        """Make the pools. Raises DatabaseUnavailable where the first connection fails."""
        try:
            self._rest = await self._create(min(self.options.minimum, self._rest_size), self._rest_size, self._prepare)
            self._joint = await self._create(0, self._joint_size, self._prepare_joint)
        except (*LOST, asyncpg.PostgresError, TimeoutError, ValueError) as error:
            self._emit(ConnectionFailed(self.name, type(error).__name__))
            await self.close()
            raise DatabaseUnavailable("The database cannot be reached.", details={"type": type(error).__name__}) from error

    async def _create(self, minimum: int, maximum: int, prepare: Callable[[Connection], Awaitable[None]]) -> asyncpg.Pool:
        options = self.options
        pool: asyncpg.Pool = await asyncpg.create_pool(  # type: ignore[call-overload]  # a Connection of our own, with its records
            options.dsn,
            password=options.password,
            min_size=minimum,
            max_size=maximum,
            max_inactive_connection_lifetime=0,
            max_queries=2**62,
            timeout=options.timeout,
            statement_cache_size=512 if options.prepared else 0,
            max_cacheable_statement_size=0,
            server_settings={"timezone": "UTC", "datestyle": "ISO", "application_name": "portico"},
            reset=_keep,
            init=prepare,
            connection_class=Connection,
            ssl=options.tls,
        )
        return pool

    async def _prepare(self, connection: Connection) -> None:
        """Settings that a pooler would refuse at the start of a connection are made here, where there is none."""
        connection.life = Life(time.monotonic(), time.monotonic())
        if self.options.prepared:
            await connection.execute("SET client_connection_check_interval = '1s'")
            await connection.execute(f"SET statement_timeout = {int(self.options.statement_timeout * 1000)}")
            if self.options.synchronous_commit:
                await connection.execute(f"SET synchronous_commit = {self.options.synchronous_commit}")

    async def _prepare_joint(self, connection: Connection) -> None:
        """Joint statements are planned once: their source is as long as there are callers, so a plan for its values is made in vain."""
        await self._prepare(connection)
        if self.options.prepared:
            await connection.execute("SET plan_cache_mode = force_generic_plan")

    async def close(self) -> None:
        """Close every connection, once what runs has ended."""
        pools = [pool for pool in (self._joint, self._rest) if pool is not None]
        self._joint = self._rest = None
        for pool in pools:
            try:
                await asyncio.wait_for(pool.close(), 10)
            except TimeoutError:
                pool.terminate()

    @asynccontextmanager
    async def acquire(self, share: Share) -> AsyncIterator[Connection]:
        """A connection for as long as the block runs.

        A connection whose block fails while a statement or transaction may still be open is closed, never given to another.

        Raises:
            PoolExhausted: none became free in time. DatabaseUnavailable: none can be made.
        """
        connection = await self.take(share)
        clean = False
        try:
            yield connection
            clean = True
        finally:
            await self.give_back(connection, share, clean=clean)

    async def take(self, share: Share) -> Connection:
        """A connection that `give_back` must get again."""
        started = time.monotonic()
        limits = [self._limits[share]] if share in {Share.JOINT, Share.ALONE} else [self._limits[share], self._limits[Share.ALONE]]
        held: list[asyncio.Semaphore] = []
        self._waiting += 1
        try:
            async with asyncio.timeout(self.options.timeout):
                for limit in limits:
                    await limit.acquire()
                    held.append(limit)
                connection = await self._connect(share)
        except BaseException as error:
            for limit in held:
                limit.release()
            if isinstance(error, TimeoutError):
                self._emit(PoolExhaustedEvent(self.name, "PoolExhausted", repr(self.status())))
                raise PoolExhausted("No database connection became free in time.", hint="Try again shortly.") from None
            raise
        finally:
            self._waiting -= 1
        self._out += 1
        waited = time.monotonic() - started
        if waited > 0.001:
            self._emit(PoolWaited(self.name, waited))
        return connection

    async def _connect(self, share: Share) -> Connection:
        pool = self._of(share)
        if pool is None:
            raise DatabaseUnavailable("The database cannot be reached.")
        try:
            while True:
                connection = cast("Connection", await pool.acquire())
                if await self._is_fit(connection):
                    return connection
                self._invalid += 1
                connection.terminate()
                await self._release(connection, share)
                self._invalid -= 1
        except (*LOST, asyncpg.PostgresError) as error:
            self._emit(ConnectionFailed(self.name, type(error).__name__))
            raise DatabaseUnavailable("The database cannot be reached.", details={"type": type(error).__name__}) from error

    async def _is_fit(self, connection: Connection) -> bool:
        """Whether a connection is young enough, and answers if it has been idle for long."""
        now = time.monotonic()
        if now - connection.life.born > self.options.recycle:
            return False
        if now - connection.life.used > PING_AFTER_SECONDS:
            try:
                await connection.execute("", timeout=1)
            except (*LOST, asyncpg.PostgresError, TimeoutError):
                return False
        connection.life.used = now
        return True

    def _of(self, share: Share) -> asyncpg.Pool | None:
        return self._joint if share is Share.JOINT else self._rest

    async def give_back(self, connection: Connection, share: Share, *, clean: bool) -> None:
        """Return a connection; one that is not `clean` is closed."""
        self._out -= 1
        try:
            if not clean and not connection.is_closed():
                connection.terminate()
            await self._release(connection, share)
        finally:
            self._limits[share].release()
            if share not in {Share.JOINT, Share.ALONE}:
                self._limits[Share.ALONE].release()

    async def _release(self, connection: Connection, share: Share) -> None:
        pool = self._of(share)
        if pool is not None:
            await pool.release(cast("asyncpg.pool.PoolConnectionProxy", connection))

    async def expire(self) -> None:
        """Have every connection made anew, at its next use: after a failover."""
        for pool in (self._joint, self._rest):
            if pool is not None:
                await pool.expire_connections()

    def status(self) -> PoolStatus:
        """The pools now, taken together."""
        size = sum(pool.get_size() for pool in (self._joint, self._rest) if pool is not None)
        out = self._out
        return PoolStatus(size, max(size - out, 0), out, max(size - self.options.minimum, 0), self._invalid, self._waiting)
