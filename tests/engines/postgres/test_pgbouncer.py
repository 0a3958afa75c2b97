"""Behind PgBouncer in transaction mode: nobody's scope or setting reaches another, and nothing is missed."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from typing import Any

import pytest

from portico.engines.postgres.pool import Share
from portico.errors import ConfigurationError
from portico.model.page import Document
from portico.model.scope import Scope
from tests.engines.postgres.conftest import A, B, Notes, StartNotes
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgres import PostgresDatabase

pytestmark = pytest.mark.database


@pytest.fixture
async def pooled(notes_database: PostgresDatabase, start_notes: StartNotes, pgbouncer: PgBouncer) -> Notes:
    """An engine that reaches its database through the pooler."""
    return await start_notes(notes_database, pgbouncer.dsn(database=notes_database.name), maximum=12)


async def test_two_thousand_reads_of_several_tenants_find_each_its_own_alone(pooled: Notes) -> None:
    scopes = {f"tenant{number}": Scope(clients=(f"tenant{number}",)) for number in range(20)}
    pooled.database.execute("INSERT INTO app.notes SELECT 1000 + n, 'tenant' || n % 20, 'note ' || n FROM generate_series(0, 1999) n")
    lane = pooled.reading()
    calls = [((1000 + number,), scopes[f"tenant{number % 20}"]) for number in range(2000)]
    answers = await pooled.run_at_once(lane, calls)
    found = [json.loads(answer.body)["client_id"] for answer in answers if isinstance(answer, Document)]
    assert found == [f"tenant{number % 20}" for number in range(2000)]
    foreign = await pooled.run_at_once(lane, [((1000 + number,), scopes[f"tenant{(number + 1) % 20}"]) for number in range(2000)])
    assert set(foreign) == {None}


async def test_creates_changes_and_exports_work(pooled: Notes) -> None:
    made = await pooled.run_at_once(pooled.creating(), [((None, 100 + number, "a", f"t{number}"), A) for number in range(50)])
    assert all(isinstance(answer, Document) for answer in made)
    changed = await pooled.run(pooled.changing(), (100, "changed"))
    assert isinstance(changed, Document)
    assert json.loads(changed.body)["title"] == "changed"
    plan, call = pooled.harness.within(B).exporting("notes", "order=id")
    text = b"".join([chunk async for chunk in pooled.engine.stream(plan, call)])
    assert [json.loads(line)["id"] for line in text.splitlines()] == [2, 4]
    assert pooled.database.execute("SELECT count(*) FROM portico.audit") == [(51,)]


async def test_no_setting_of_ours_reaches_another_client_of_the_pooler(pooled: Notes) -> None:
    await pooled.run_at_once(pooled.reading(), [((1,), A)] * 500)
    settings = "client_connection_check_interval", "statement_timeout", "plan_cache_mode", "tcp_user_timeout", "synchronous_commit"
    for connection in [await pooled.engine._pool.take("alone") for _ in range(4)]:  # type: ignore[arg-type]
        found = await connection.fetch("SELECT name FROM pg_settings WHERE name = ANY($1) AND source IN ('session', 'client')", settings)
        assert found == []
        assert await connection.fetchval("SELECT count(*) FROM pg_prepared_statements") == 0
        pooled.engine._pool.give_back(connection, "alone", clean=True)  # type: ignore[arg-type]


async def test_a_write_concern_that_the_pooler_keeps_from_being_set_is_refused(
    notes_database: PostgresDatabase, start_notes: StartNotes, pgbouncer: PgBouncer
) -> None:
    # The test servers run with synchronous_commit=off, which is weaker.
    dsn = pgbouncer.dsn(database=notes_database.name)
    with pytest.raises(ConfigurationError, match="weaker than the write concern"):
        await start_notes(notes_database, dsn, synchronous_commit="local")


async def test_without_a_pooler_statements_are_prepared_and_settings_made(notes: Notes) -> None:
    await notes.run_at_once(notes.reading(), [((1,), A)] * 5)

    async def setting(share: Any, name: str) -> object:
        async with notes.engine._pool.acquire(share) as connection:
            return await connection.fetchval("SELECT current_setting($1)", name)

    assert await setting("joint", "plan_cache_mode") == "force_generic_plan"
    assert await setting("alone", "plan_cache_mode") == "auto"
    assert await setting("alone", "client_connection_check_interval") == "1s"
    assert await setting("alone", "statement_timeout") == "30s"
    prepared = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE $1"
    async with AsyncExitStack() as stack:
        # Two statements were under way at most, each on a connection of its own.
        connections = [await stack.enter_async_context(notes.engine._pool.acquire(Share.JOINT)) for _ in range(2)]
        assert max([await connection.fetchval(prepared, "%unnest%") for connection in connections]) == 1
