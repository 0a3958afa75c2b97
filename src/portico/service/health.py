"""Health: whether the service can do its work, asked of the databases themselves, a moment's callers sharing one check."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from portico.catalog.catalog import Catalog
from portico.engines.base import Engine, Health, PoolStatus
from portico.errors import PoolExhausted

CHECKED_TABLES = ("document_metadata", "clients", "users")
"""The built-in tables that a health report names."""


class Status(StrEnum):
    """How something is: `degraded` works with less than it should have."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class DatabaseHealth:
    """One database as it was found: `error` is a stable code, None where there is none."""

    name: str
    kind: str
    status: Status
    latency_ms: float
    pool: PoolStatus
    error: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """The service as it was found at `timestamp` (seconds since the epoch).

    Attributes:
        main: the database of the built-in collections, or the first one. databases: all, by name. tables: of `CHECKED_TABLES`.
    """

    status: Status
    timestamp: float
    main: DatabaseHealth
    databases: Mapping[str, DatabaseHealth]
    tables: Mapping[str, Status]


class HealthChecks:
    """Checks the databases. `started` tells whether the collections of the main one are known.

    Args:
        engines: by database, at least one. main: which of them carries the service. catalog: gives the snapshot in force.
        clock: seconds since the epoch.
    """

    def __init__(
        self, engines: Mapping[str, Engine], *, main: str, catalog: Callable[[], Catalog], clock: Callable[[], float] = time.time
    ) -> None:
        self._engines = engines
        self._main = main
        self._catalog = catalog
        self._clock = clock
        self._running: asyncio.Task[Report] | None = None
        self.started = False

    def mark_read(self, database: str) -> None:
        """Say that the collections of a database were read: the service has started once those of the main one were."""
        self.started = self.started or database == self._main

    async def check(self) -> Report:
        """The service now. Callers of the same moment share a check, so that probes never crowd a pool."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._check(), name="portico-health")
        return await asyncio.shield(self._running)

    async def ready(self) -> bool:
        """Whether calls can be served: the collections are known, and the main database answers."""
        return self.started and (await self.check()).main.status is not Status.UNHEALTHY

    async def _check(self) -> Report:
        found = await asyncio.gather(*(engine.health() for engine in self._engines.values()))
        databases = {name: _described(engine, health) for (name, engine), health in zip(self._engines.items(), found, strict=True)}
        main = databases[self._main]
        others = {item.status for item in databases.values()}
        status = main.status
        if status is Status.HEALTHY and (others != {Status.HEALTHY} or not self.started):
            status = Status.DEGRADED
        return Report(status, self._clock(), main, databases, self._tables(main))

    def _tables(self, main: DatabaseHealth) -> dict[str, Status]:
        catalog = self._catalog()
        if main.status is Status.UNHEALTHY:
            return dict.fromkeys(CHECKED_TABLES, Status.UNHEALTHY)
        return {name: Status.MISSING if catalog.get(name) is None else Status.HEALTHY for name in CHECKED_TABLES}


def _described(engine: Engine, health: Health) -> DatabaseHealth:
    status = Status.HEALTHY
    if not health.healthy:
        # A pool whose connections all work is a busy database, not a lost one.
        busy = health.error == PoolExhausted.code or (health.pool.waits > 0 and health.pool.checked_out > 0)
        status = Status.DEGRADED if busy else Status.UNHEALTHY
    return DatabaseHealth(engine.name, engine.kind, status, round(health.latency_ms, 3), health.pool, health.error)


__all__ = ["CHECKED_TABLES", "DatabaseHealth", "HealthChecks", "PoolStatus", "Report", "Status"]
