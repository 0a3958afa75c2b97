"""Positions of companion records: every committed row gets one, once, in the order in which it became visible, whoever gives them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import asyncpg
import pytest

from portico.engines.postgres.positions import MARK_EVERY
from portico.engines.records import Positions, Recording
from portico.model.positions import FIRST_HASH, Chain
from tests.engines.declarations import THINGS
from tests.engines.harness import Harness, OpenHarness

CHAIN = Chain(b"k" * 32)
INSERT = """INSERT INTO portico.audit (service, correlation_id, collection, operation, document_key)
VALUES ('test', 'c', 'things', 'create', $1)"""


def positions_of(harness: Harness) -> Positions:
    """What gives positions in this engine's database."""
    return cast("Recording", harness.engine).records.positions(CHAIN)


async def settle(positions: Positions) -> int:
    """Rounds until nothing is left; how many rows got their positions."""
    given = 0
    while True:
        done = await positions.advance()
        given += done.given
        if not done.given and not done.more and not done.contested:
            return given


async def stored(harness: Harness, backend: str) -> Sequence[Sequence[object]]:
    """Positions, kinds and row ids, in order."""
    table = "portico_positions" if backend == "sqlite" else "portico.positions"
    return [tuple(row) for row in await harness.fetch(f"SELECT position, kind, row_id, hash FROM {table} ORDER BY position")]


async def audit_ids(harness: Harness, backend: str) -> list[object]:
    table = "portico_audit" if backend == "sqlite" else "portico.audit"
    return [row[0] for row in await harness.fetch(f"SELECT id FROM {table} ORDER BY id")]


async def test_every_committed_row_gets_one_position_and_a_hash_over_the_one_before(open_harness: OpenHarness, backend: str) -> None:
    harness = await open_harness(THINGS)
    positions = positions_of(harness)
    for start in (1, 11):
        await asyncio.gather(*(harness.create("things", {"id": start + at, "text": "ä\t\u2028"}, audit=True) for at in range(10)))
        await settle(positions)
    rows = [row for row in await stored(harness, backend) if row[1] == "audit"]
    assert sorted(row[2] for row in rows) == await audit_ids(harness, backend)  # type: ignore[type-var]
    records = cast("Recording", harness.engine).records
    previous = FIRST_HASH
    for placed in await records.placed(0, 100):
        if placed.kind == "audit":
            assert placed.content is not None
            assert placed.hash == CHAIN.link(previous, placed.position, placed.row_id, placed.content)
            previous = placed.hash
    assert previous == await records.last_hash(1000)
    numbers = [row[0] for row in await stored(harness, backend)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert (await records.unplaced(0, 20_000))[0] == []


async def test_two_that_give_positions_take_turns_without_gaps_or_doubles(open_harness: OpenHarness, backend: str) -> None:
    harness = await open_harness(THINGS)
    both = [positions_of(harness), positions_of(harness)]
    for at in range(40):
        await harness.create("things", {"id": at, "text": "written"}, audit=True)
        await both[at % 3 % 2].advance()
    await asyncio.gather(*(settle(one) for one in both))
    rows = await stored(harness, backend)
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    assert [row[2] for row in rows if row[1] == "audit"] == await audit_ids(harness, backend)


@pytest.mark.parametrize("backend", ["postgresql"])
async def test_a_row_that_becomes_visible_after_others_with_larger_ids_is_not_missed(open_harness: OpenHarness, backend: str) -> None:
    harness = await open_harness(THINGS)
    positions = positions_of(harness)
    first = await asyncpg_connection(harness)
    second = await asyncpg_connection(harness)
    open_first, open_second = first.transaction(), second.transaction()
    await open_first.start()
    await first.execute(INSERT, "first")
    for at in range(30):
        await harness.create("things", {"id": at, "text": "written"}, audit=True)
        if at == 10:
            await open_second.start()
            await second.execute(INSERT, "second")
        await positions.advance()
    await open_second.commit()
    await settle(positions)
    for at in range(30, 40):
        await harness.create("things", {"id": at, "text": "written"}, audit=True)
        await positions.advance()
    await open_first.commit()
    await settle(positions)
    placed = [row[2] for row in await stored(harness, backend) if row[1] == "audit"]
    assert placed != sorted(placed)  # type: ignore[type-var]
    assert sorted(placed) == await audit_ids(harness, backend)  # type: ignore[type-var]
    await first.close()
    await second.close()


async def asyncpg_connection(harness: Harness) -> asyncpg.Connection:
    """A connection of its own to the harness's database."""
    return await asyncpg.connect(harness.engine.options.dsn)  # type: ignore[attr-defined]


@pytest.mark.parametrize("backend", ["postgresql"])
async def test_who_takes_over_goes_on_from_the_stored_mark(open_harness: OpenHarness, backend: str) -> None:
    harness = await open_harness(THINGS)
    connection = await asyncpg_connection(harness)
    many = MARK_EVERY + 500
    await connection.execute(
        "INSERT INTO portico.audit (service, correlation_id, collection, operation, document_key) "
        "SELECT 'test', 'c', 'things', 'create', n::text FROM generate_series(1, $1) n",
        many,
    )
    assert await settle(positions_of(harness)) == many
    await connection.execute(INSERT, "one more")
    records = cast("Recording", harness.engine).records
    assert 0 < await records.settled() <= many
    assert await settle(positions_of(harness)) == 1
    assert (await records.unplaced(0, 20_000))[0] == []
    await connection.close()
