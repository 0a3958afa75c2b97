"""Watches the databases for changes of their schema, once a second, and replaces the catalog when there is one."""

from __future__ import annotations

import asyncio

from portico.catalog.catalog import LiveCatalog
from portico.errors import PorticoError
from portico.events import ConnectionFailed, Emit

PERIOD_SECONDS = 1.0
"""Twice this is how long a change may take to be picked up everywhere."""


async def watch(catalog: LiveCatalog, *, emit: Emit, period: float = PERIOD_SECONDS) -> None:
    """Compare every database's fingerprint each `period` seconds until cancelled. Databases that fail do not stop it, nor each other.

    A failure is told once, when it begins.
    """
    failing: set[str] = set()
    while True:
        await asyncio.gather(*(_refresh(catalog, database, failing, emit, period) for database in catalog.databases))
        await asyncio.sleep(period)


async def _refresh(catalog: LiveCatalog, database: str, failing: set[str], emit: Emit, period: float) -> None:
    try:
        # One database that hangs must not keep the changes of the others from being seen.
        async with asyncio.timeout(5 * period):
            await catalog.refresh(database)
    except Exception as error:  # noqa: BLE001 - whatever a driver raises, the next round tries again
        if database not in failing:
            failing.add(database)
            code = error.code if isinstance(error, PorticoError) else type(error).__name__
            emit(ConnectionFailed(database, code))
    else:
        failing.discard(database)
