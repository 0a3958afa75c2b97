"""The connections of one database: how they are shared out, when they are made anew, and what passwords they take."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import AsyncExitStack
from urllib.parse import quote

import asyncpg
import pytest

from portico.engines.base import Call
from portico.engines.postgres.connect import Address
from portico.engines.postgres.pool import Pool, Share
from portico.errors import ConfigurationError, DatabaseUnavailable, PoolExhausted, StatementTimeout
from portico.events import PoolExhaustedEvent
from portico.model.identity import Actor
from portico.model.page import Document
from tests.engines.postgres.conftest import A, Notes, StartNotes
from tests.servers.postgres import PostgresDatabase
from tests.servers.process import find_free_port
from tests.servers.waiting import wait_until_async

pytestmark = pytest.mark.database


@pytest.fixture
async def small(notes_database: PostgresDatabase, start_notes: StartNotes) -> Notes:
    """Ten connections: four for joint statements, one for the service's own questions, five others; nobody waits for long."""
    return await start_notes(notes_database, maximum=10, timeout=0.3)


async def pid_of(pool: Pool, share: Share = Share.ALONE) -> int:
    async with pool.acquire(share) as connection:
        return connection.get_server_pid()


@pytest.mark.parametrize(
    ("share", "most"),
    [
        (Share.JOINT, 4),
        (Share.ALONE, 5),
        (Share.INTERACTIVE, 2),
        (Share.GROUPED, 2),
        (Share.LOCKING, 1),
        (Share.EXPORT, 2),
        (Share.CONTROL, 1),
    ],
)
async def test_each_share_holds_so_many_of_ten_connections_and_no_more(small: Notes, share: Share, most: int) -> None:
    pool = small.engine._pool
    async with AsyncExitStack() as stack:
        for _ in range(most):
            await stack.enter_async_context(pool.acquire(share))
        started = time.monotonic()
        with pytest.raises(PoolExhausted):
            await pool.take(share)
        assert time.monotonic() - started < 10
        assert pool.status().checked_out == most
        assert [event.database for event in small.events if isinstance(event, PoolExhaustedEvent)] == ["main"]
    assert pool.status().checked_out == 0
    assert pool.status().size <= 10


async def test_transactions_locks_and_exports_leave_connections_to_the_others(small: Notes) -> None:
    pool = small.engine._pool
    async with AsyncExitStack() as stack:
        for share in (Share.INTERACTIVE, Share.INTERACTIVE, Share.LOCKING):
            await stack.enter_async_context(pool.acquire(share))
        assert isinstance(await small.run(small.reading(), (1,)), Document)


async def test_joint_statements_run_and_health_answers_while_every_other_connection_is_taken(small: Notes) -> None:
    pool = small.engine._pool
    async with AsyncExitStack() as stack:
        for _ in range(5):
            await stack.enter_async_context(pool.acquire(Share.ALONE))
        answers = await small.run_at_once(small.reading(), [((1,), A)] * 2)
        assert all(isinstance(answer, Document) for answer in answers)
        health = await small.engine.health()
        assert health.healthy
        assert health.pool.checked_out >= 5
        assert health.latency_ms < 1000


@pytest.mark.parametrize("maximum", [1, 2, 3])
async def test_even_very_few_connections_serve_everything(notes_database: PostgresDatabase, start_notes: StartNotes, maximum: int) -> None:
    notes = await start_notes(notes_database, maximum=maximum)
    assert all(isinstance(answer, Document) for answer in await notes.run_at_once(notes.reading(), [((1,), A)] * 5))
    assert isinstance(await notes.run(notes.changing(), (1, "few")), Document)
    assert (await notes.engine.health()).healthy
    assert notes.engine.pool_status().size <= maximum


async def test_a_caller_who_leaves_the_queue_takes_nobodys_place(small: Notes) -> None:
    pool = small.engine._pool
    async with AsyncExitStack() as stack:
        for _ in range(5):
            await stack.enter_async_context(pool.acquire(Share.ALONE))
        waiting = asyncio.create_task(pool.take(Share.ALONE))

        async def queues() -> bool:
            return pool.status().waits == 1

        await wait_until_async(queues, 5, "a caller in the queue")
        waiting.cancel()
        await asyncio.wait([waiting])
    async with AsyncExitStack() as stack:
        for _ in range(5):
            await stack.enter_async_context(pool.acquire(Share.ALONE))


async def test_a_connection_whose_block_failed_is_closed(small: Notes) -> None:
    pool = small.engine._pool
    pids: list[int] = []

    async def fail() -> None:
        async with pool.acquire(Share.ALONE) as connection:
            pids.append(connection.get_server_pid())
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        await fail()
    assert pids[0] not in {await pid_of(pool) for _ in range(3)}


async def test_a_connection_that_is_left_in_a_transaction_is_closed(small: Notes) -> None:
    pool = small.engine._pool
    async with pool.acquire(Share.ALONE) as connection:
        left = connection.get_server_pid()
        await connection.execute("BEGIN")
    assert left != await pid_of(pool)


async def test_a_connection_of_age_is_replaced(notes_database: PostgresDatabase, start_notes: StartNotes) -> None:
    notes = await start_notes(notes_database, recycle=0.0, minimum=1)
    pool = notes.engine._pool
    assert await pid_of(pool) != await pid_of(pool)


async def test_a_connection_that_was_idle_for_long_is_asked_and_used_again(notes: Notes) -> None:
    pool = notes.engine._pool
    async with pool.acquire(Share.ALONE) as connection:
        idle = connection.get_server_pid()
    connection.life.used -= 60
    assert await pid_of(pool) == idle


async def test_a_connection_that_no_longer_answers_is_replaced(notes_database: PostgresDatabase, start_notes: StartNotes) -> None:
    notes = await start_notes(notes_database, minimum=1)
    pool = notes.engine._pool
    async with pool.acquire(Share.ALONE) as connection:
        silent = connection.get_server_pid()
    os.kill(silent, signal.SIGSTOP)
    try:
        connection.life.used -= 60
        assert await pid_of(pool) != silent
    finally:
        os.kill(silent, signal.SIGCONT)


@pytest.mark.parametrize("by", ["caller", "server"])
async def test_a_statement_that_takes_too_long_ends_and_the_next_is_right(
    notes_database: PostgresDatabase, start_notes: StartNotes, by: str
) -> None:
    notes = await start_notes(notes_database, statement_timeout=30.0 if by == "caller" else 0.3)
    blocker = await asyncpg.connect(notes_database.dsn("postgres"))
    await blocker.execute("BEGIN; LOCK TABLE app.notes IN ACCESS EXCLUSIVE MODE")
    call = Call((1,), A, Actor("billing", None, None, ""))
    started = time.monotonic()
    with pytest.raises(StatementTimeout):
        await notes.engine.run(notes.reading().plan, [call], timeout=0.3 if by == "caller" else 30.0)
    with pytest.raises(StatementTimeout):
        await notes.engine.run(notes.reading().plan, [call, call], timeout=0.3 if by == "caller" else 30.0)
    assert time.monotonic() - started < 20
    await notes.until_running(0)
    await blocker.close()
    assert isinstance((await notes.engine.run(notes.reading().plan, [call]))[0], Document)
    assert notes.engine.pool_status().checked_out == 0


async def test_a_rotated_password_counts_from_the_next_connection_on(notes_database: PostgresDatabase, start_notes: StartNotes) -> None:
    first, second = "p@ss:/w%rd#?&é", "ändert sich \"'\\"
    current = [first]
    notes_database.execute(f"CREATE ROLE rotating LOGIN PASSWORD $a${first}$a$ IN ROLE appuser INHERIT")
    try:
        address = notes_database.dsn().replace("appuser:app%2Fs%40cret@", "rotating@")
        notes = await start_notes(notes_database, address, password=lambda: current[0])
        before = await pid_of(notes.engine._pool)
        notes_database.execute(f"ALTER ROLE rotating PASSWORD $a${second}$a$")
        current[0] = second
        notes_database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'rotating'")
        assert isinstance(await notes.run(notes.reading(), (1,)), Document)
        assert await pid_of(notes.engine._pool) != before
        # The same password inside of the connection string.
        inside = notes_database.dsn().replace("appuser:app%2Fs%40cret@", f"rotating:{quote(second, safe='')}@")
        assert (await (await start_notes(notes_database, inside)).engine.health()).healthy
        current[0] = "wrong"
        with pytest.raises(DatabaseUnavailable):
            await start_notes(notes_database, address, password=lambda: current[0])
        for started in (notes,):
            await started.engine.close()
    finally:
        notes_database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'rotating'")
        notes_database.execute("DROP ROLE rotating")


async def test_the_host_that_answers_is_taken_of_several(notes_database: PostgresDatabase, start_notes: StartNotes) -> None:
    port = notes_database.server.port
    dsn = notes_database.dsn().replace(f"127.0.0.1:{port}", f"127.0.0.1:{find_free_port()},127.0.0.1:{port}")
    notes = await start_notes(notes_database, dsn + "?target_session_attrs=read-write")
    assert isinstance(await notes.run(notes.reading(), (1,)), Document)


async def test_options_that_only_libpq_knows_do_not_reach_the_server(notes_database: PostgresDatabase, start_notes: StartNotes) -> None:
    dsn = notes_database.dsn(connect_timeout="3", keepalives="1", gssencmode="disable", application_name="mine")
    notes = await start_notes(notes_database, dsn)
    async with notes.engine._pool.acquire(Share.ALONE) as connection:
        assert await connection.fetchval("SELECT current_setting('application_name')") == "mine"
    assert Address.of(dsn).timeout == 3


@pytest.mark.parametrize(
    "option", ["channel_binding=require", "require_auth=scram-sha-256", "sslmode=sometimes", "sslrootcert=/no/such/file&sslmode=verify-ca"]
)
async def test_options_that_cannot_be_kept_are_refused_with_a_sentence(
    notes_database: PostgresDatabase, start_notes: StartNotes, option: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        await start_notes(notes_database, f"{notes_database.dsn()}?{option}")
    assert "s@cret" not in refused.value.message + str(refused.value.hint)


async def test_the_pool_opens_again_after_it_was_closed(small: Notes) -> None:
    await small.engine.close()
    with pytest.raises(DatabaseUnavailable):
        await small.run(small.reading(), (1,))
    await small.engine.start()
    assert isinstance(await small.run(small.reading(), (1,)), Document)
    assert small.engine.pool_status().checked_out == 0
