"""What can be said of a transaction whose holder does not answer: nothing of it is called undone before it is."""

from __future__ import annotations

import asyncio

from portico.engines.base import Interactive, LedgerEntry, LedgerState
from portico.errors import Unavailable
from portico.service.transactions.reasons import HOLDER_LOST, HOLDER_UNREACHABLE, ROLLED_BACK, STARTED

RESOLVE_SECONDS = 5.0
"""How long a transaction that may be at its end is asked about, before its caller is told that it is not known, or open still."""

POLL_SECONDS = 0.1


async def last_word(engine: Interactive, entry: LedgerEntry) -> LedgerState:
    """What the ledger says, once it says more than that the transaction was begun; else that its holder cannot be reached.

    Raises:
        PorticoError: the database fails.
    """
    end = asyncio.get_running_loop().time() + RESOLVE_SECONDS
    while True:
        found = await engine.recorded(entry.id) or await _given_up(engine, entry)
        if found.state != STARTED:
            return found
        # The server has not noticed yet that the holder is gone, or it is not: then it goes on, or rolls back by its limits.
        if asyncio.get_running_loop().time() >= end:
            return LedgerState(STARTED, HOLDER_UNREACHABLE)
        await asyncio.sleep(POLL_SECONDS)


async def _given_up(engine: Interactive, entry: LedgerEntry) -> LedgerState:
    """Say of a transaction that the ledger does not know that it is rolled back: its commit came first, or finds this word."""
    try:
        await engine.record_end(entry, ROLLED_BACK, HOLDER_LOST)
    except Unavailable:
        # The holder may be the one that keeps everybody from writing.
        return LedgerState(STARTED)
    return await engine.recorded(entry.id) or LedgerState(ROLLED_BACK, HOLDER_LOST)
