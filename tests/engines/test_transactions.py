"""Interactive transactions: all or nothing, seen by nobody before their commit."""

import asyncio
import json
from typing import Any, cast
from uuid import uuid4

import pytest

from portico.engines.base import Interactive, LedgerEntry, LedgerState, Transaction
from portico.errors import DuplicateDocument, InvalidParameter, PorticoError, StaleSnapshot, TransactionGone
from portico.model.page import Document
from portico.query.scoped import GetByKey
from tests.engines.harness import Harness


async def create_in(transaction: Transaction, harness: Harness, document: dict[str, Any]) -> Any:
    """Create a document inside of a transaction."""
    plan, call = harness.created("things", document)
    return await transaction.run(plan, call)


async def get_in(transaction: Transaction, harness: Harness, key: int) -> Any:
    """Read a document inside of a transaction."""
    bound, values = harness.bound("things", "")
    parameters, found = harness.key("things", (key,), len(values))
    plan = harness.engine.compile(GetByKey(bound, parameters, harness.rule("things")))
    return await transaction.run(plan, harness.call((*values, *found)))


async def test_what_a_transaction_wrote_is_seen_by_others_from_its_commit_on(things: Harness) -> None:
    transaction = await things.engine.begin()
    await create_in(transaction, things, {"id": 50, "text": "mine"})
    assert isinstance(await get_in(transaction, things, 50), Document)
    assert await things.get("things", 50) is None
    await transaction.commit()
    assert await things.get("things", 50) is not None


async def test_a_transaction_that_is_rolled_back_leaves_nothing(things: Harness) -> None:
    transaction = await things.engine.begin()
    await create_in(transaction, things, {"id": 50, "text": "mine"})
    await transaction.rollback()
    assert await things.get("things", 50) is None
    assert await things.create("things", {"id": 51}) is not None


async def test_a_savepoint_undoes_what_came_after_it(things: Harness) -> None:
    transaction = await things.engine.begin()
    await create_in(transaction, things, {"id": 50, "text": "kept"})
    await transaction.savepoint("here")
    await create_in(transaction, things, {"id": 51, "text": "undone"})
    with pytest.raises(DuplicateDocument):
        await create_in(transaction, things, {"id": 50, "text": "again"})
    await transaction.rollback_to("here")
    await create_in(transaction, things, {"id": 52, "text": "kept"})
    await transaction.commit()
    assert await things.ids("things", "id=gte.50&order=id") == [50, 52]


async def test_a_transaction_that_failed_cannot_be_committed(things: Harness) -> None:
    transaction = await things.engine.begin()
    await create_in(transaction, things, {"id": 50, "text": "mine"})
    with pytest.raises(DuplicateDocument):
        await create_in(transaction, things, {"id": 50, "text": "again"})
    with pytest.raises(StaleSnapshot):
        await transaction.commit()
    assert await things.get("things", 50) is None
    assert await things.create("things", {"id": 51}) is not None


async def test_a_savepoint_that_is_not_there_is_the_callers_error(things: Harness) -> None:
    transaction = await things.engine.begin()
    await create_in(transaction, things, {"id": 50, "text": "mine"})
    with pytest.raises(InvalidParameter):
        await transaction.rollback_to("nowhere")
    with pytest.raises(InvalidParameter):
        await transaction.savepoint('x"; DROP TABLE things; --')
    await transaction.rollback()


async def test_a_repeatable_read_sees_one_state(things: Harness) -> None:
    transaction = await things.engine.begin("repeatable_read")
    first = await get_in(transaction, things, 1)
    await things.change("things", 1, {"text": "meanwhile"})
    assert await get_in(transaction, things, 1) == first
    await transaction.rollback()


async def test_a_write_on_top_of_an_old_snapshot_is_refused(things: Harness) -> None:
    transaction = await things.engine.begin("repeatable_read")
    await get_in(transaction, things, 1)
    await things.change("things", 1, {"text": "meanwhile"})
    plan, call = things.changed("things", (1,), {"text": "mine"})
    with pytest.raises(StaleSnapshot):
        await transaction.run(plan, call)
    await transaction.rollback()
    assert await things.ids("things", "text=eq.meanwhile") == [1]


async def test_transactions_that_add_to_one_counter_lose_nothing(things: Harness) -> None:
    await things.change("things", 4, {"number": 0})

    async def add() -> None:
        while True:
            transaction = await things.engine.begin("serializable")
            try:
                document = await get_in(transaction, things, 4)
                number = json.loads(document.body)["number"]
                plan, call = things.changed("things", (4,), {"number": number + 1})
                await transaction.run(plan, call)
                await transaction.commit()
            except StaleSnapshot:
                await transaction.rollback()
            except PorticoError:
                await transaction.rollback()
                raise
            else:
                return

    await asyncio.gather(*(add() for _ in range(8)))
    assert await things.count("things", "number=eq.8&id=eq.4") == 1


@pytest.mark.parametrize("backend", ["sqlite"])
async def test_one_that_was_given_up_while_its_holder_was_silent_is_not_committed(things: Harness) -> None:
    engine, entry = cast("Interactive", things.engine), LedgerEntry(uuid4(), "service", "node/worker")
    until = asyncio.get_running_loop().time() + 30
    transaction = await engine.begin_interactive(entry, "read_committed", read_only=False, life=60, until=until)
    await engine.record_end(entry, "rolled_back", "holder_lost")
    await create_in(transaction, things, {"id": 50, "text": "mine"})
    with pytest.raises(TransactionGone):
        await transaction.commit()
    assert await things.get("things", 50) is None
    assert await engine.recorded(entry.id) == LedgerState("rolled_back", "holder_lost")
    assert await things.create("things", {"id": 51}) is not None
