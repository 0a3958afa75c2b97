"""Begins of interactive transactions that wait: in two queues, with one deadline for both."""

from __future__ import annotations

import asyncio
from asyncio.timeouts import Timeout

import pytest

from portico.events import discard
from portico.model.identity import Actor, Identity
from portico.model.scope import EVERYTHING
from portico.service.caller import Caller
from portico.service.transactions.held import Limits
from portico.service.transactions.ids import Holder
from portico.service.transactions.registry import Transactions
from tests.engines.postgres.conftest import Notes, StartNotes
from tests.servers.postgres import PostgresDatabase

pytestmark = pytest.mark.database
BEGINS = 6
PLACES = 3
"""How many transactions the service may have: more than there are connections for them, and fewer than it begins."""


def transactions_of(notes: Notes, waits: float) -> Transactions:
    """Transactions of one service in this database."""
    limits = Limits(per_service=PLACES, waits=waits)
    engine = notes.engine
    return Transactions({engine.name: engine}, main=engine.name, key=bytes(32), holder=Holder("", "00" * 8), limits=limits, emit=discard)


def caller() -> Caller:
    return Caller(Identity("busy", "key", (), None), EVERYTHING, Actor("busy", None, None, "correlation"))


async def begin_and_end(transactions: Transactions) -> None:
    known = await transactions.begin(caller(), None, "read_committed", read_only=False)
    held = transactions.find(transactions.ids.read(known.id), caller())
    assert held is not None
    await transactions.roll_back(held)


async def test_a_begin_has_one_deadline_in_both_of_its_queues(
    notes_database: PostgresDatabase, start_notes: StartNotes, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = 1000.0
    # What else waits for a connection has another limit, so that its deadlines are not counted.
    notes = await start_notes(notes_database, maximum=10, timeout=waits / 4)
    transactions, loop = transactions_of(notes, waits), asyncio.get_running_loop()
    deadlines: list[float] = []
    schedule = Timeout.reschedule

    def noting(timeout: Timeout, when: float | None) -> None:
        if when is not None and when > loop.time() + waits / 2:
            deadlines.append(when)
        schedule(timeout, when)

    monkeypatch.setattr(Timeout, "reschedule", noting)
    await asyncio.gather(*(begin_and_end(transactions) for _ in range(BEGINS)))
    assert len(deadlines) > BEGINS, "some waited in both queues"
    assert len(set(deadlines)) == BEGINS
    await transactions.close()
