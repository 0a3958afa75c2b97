"""What callers see when the database restarts, dies, fills up or turns read-only, and that all is right again afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import asyncpg
import pytest

from portico.engines.postgres.errors import lost, reported
from portico.engines.postgres.pool import Share
from portico.errors import (
    ConfigurationError,
    DatabaseReadOnly,
    DatabaseUnavailable,
    DiskFull,
    OutcomeUnknown,
    PorticoError,
    StatementTimeout,
)
from portico.model.page import Document
from portico.model.scope import EVERYTHING
from tests.engines.postgres.conftest import A, Notes, StartNotes, prepare
from tests.servers.postgres import PostgresDatabase, PostgresServer

pytestmark = pytest.mark.database


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server that the test may stop, kill and replicate."""
    started = PostgresServer.start()
    yield started
    started.stop()


@pytest.fixture
def own(server: PostgresServer) -> PostgresDatabase:
    """A database of notes on that server."""
    database = server.new_database()
    prepare(database)
    database.execute("CHECKPOINT")  # the server is not durable, and some tests kill it
    return database


async def hold(database: PostgresDatabase, statement: str) -> asyncpg.Connection[asyncpg.Record]:
    """A session of another program that holds what `statement` locks until it is closed."""
    other = await asyncpg.connect(database.dsn("postgres"))
    await other.execute(f"BEGIN; {statement}")
    return other


async def test_after_a_restart_the_first_calls_are_right(own: PostgresDatabase, start_notes: StartNotes) -> None:
    notes = await start_notes(own, minimum=5)
    reading, creating = notes.reading(), notes.creating()
    await notes.run_at_once(reading, [((1,), A)] * 5)
    own.server.process.stop()
    for lane, values in ((reading, (1,)), (creating, (None, 10, "a", "down"))):
        with pytest.raises(DatabaseUnavailable) as refused:
            await notes.run(lane, values)
        assert refused.value.details["retry_after"] == 1
    assert not (await notes.engine.health()).healthy
    own.server.restart()
    started = time.monotonic()
    answers = await notes.run_at_once(reading, [((1,), A)] * 20)
    answers += await notes.run_at_once(creating, [((None, 10 + number, "a", f"up {number}"), A) for number in range(20)])
    answers.append(await notes.run(notes.changing(), (1, "up")))
    assert time.monotonic() - started < 10
    assert all(isinstance(answer, Document) for answer in answers)
    assert (await notes.engine.health()).healthy


async def test_connections_that_a_restart_broke_are_handed_to_nobody(own: PostgresDatabase, start_notes: StartNotes) -> None:
    notes = await start_notes(own, minimum=8)
    own.server.restart()
    answers = await asyncio.gather(*(notes.engine.run(notes.reading().plan, [notes.harness.within(A).call((1,))]) for _ in range(8)))
    assert all(isinstance(outcomes[0], Document) for outcomes in answers)


async def test_a_read_whose_connection_is_cut_is_run_once_more(notes: Notes) -> None:
    other = await hold(notes.database, "LOCK TABLE app.notes IN ACCESS EXCLUSIVE MODE")
    reading = asyncio.create_task(notes.run(notes.reading(), (1,)))
    await notes.until_running(1)
    notes.database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'appuser' AND state = 'active'")
    await notes.until_running(1)
    await other.close()
    assert isinstance(await reading, Document)


async def test_a_write_that_the_server_ended_before_its_commit_is_applied_once(notes: Notes) -> None:
    other = await hold(notes.database, "SELECT FROM app.notes WHERE id = 1 FOR UPDATE")
    writing = asyncio.create_task(notes.run(notes.changing(), (1, "once")))
    # Not the first attempt, which gives up by itself.
    await notes.until_running(1, "%FOR UPDATE%' AND query NOT LIKE '%lock_timeout%")
    notes.database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'appuser' AND state = 'active'")
    await other.close()
    assert isinstance(await writing, Document)
    assert notes.database.execute("SELECT count(*) FROM portico.audit") == [(1,)]


@pytest.mark.parametrize("joint", [True, False])
async def test_a_write_whose_server_dies_is_of_unknown_outcome(own: PostgresDatabase, start_notes: StartNotes, joint: bool) -> None:
    notes = await start_notes(own)
    other = await hold(own, "LOCK TABLE app.notes IN ACCESS EXCLUSIVE MODE")
    lane = notes.creating()
    writing = asyncio.create_task(
        notes.run_at_once(lane, [((None, 10 + number, "a", f"unknown {number}"), A) for number in range(3 if joint else 1)])
    )
    await notes.until_running(2 if joint else 1)  # the first of several went out at once
    own.server.kill()
    answers = await writing
    assert [type(answer) for answer in answers] == [OutcomeUnknown] * len(answers)
    other.terminate()
    own.server.restart()
    assert isinstance(await notes.run(lane, (None, 10, "a", "after")), Document)


async def test_a_transaction_whose_connection_is_cut_leaves_nothing_and_its_connection_is_closed(notes: Notes) -> None:
    plan, call = notes.harness.within(A).created("notes", {"id": 20, "client_id": "a", "title": "half"})
    transaction = await notes.engine.begin()
    await transaction.run(plan, call)
    notes.database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'appuser' AND state LIKE 'idle in%'")
    with pytest.raises((OutcomeUnknown, DatabaseUnavailable)):
        await transaction.commit()
    assert notes.database.execute("SELECT FROM app.notes WHERE id = 20") == []
    assert isinstance(await notes.run(notes.reading(), (1,)), Document)
    assert notes.engine.pool_status().checked_out == 0


async def test_a_transaction_whose_statement_was_cut_off_gives_no_connection_back(notes: Notes) -> None:
    other = await hold(notes.database, "LOCK TABLE app.notes IN ACCESS EXCLUSIVE MODE")
    transaction = await notes.engine.begin()
    cut = transaction._connection.get_server_pid()
    with pytest.raises(StatementTimeout):
        await transaction.run(notes.reading().plan, notes.harness.within(A).call((1,)), timeout=0.2)
    await transaction.rollback()
    await other.close()
    async with notes.engine._pool.acquire(Share.ALONE) as connection:
        assert connection.get_server_pid() != cut


async def test_a_standby_answers_reads_refuses_writes_and_takes_them_once_promoted(own: PostgresDatabase, start_notes: StartNotes) -> None:
    standby = own.server.start_standby()
    own.server.wait_for_standbys()
    notes = await start_notes(PostgresDatabase(standby, own.name))
    assert isinstance(await notes.run(notes.reading(), (1,)), Document)
    with pytest.raises(DatabaseReadOnly):
        await notes.run(notes.creating(), (None, 10, "a", "early"))
    refused = await notes.run_at_once(notes.creating(), [((None, 10 + number, "a", f"early {number}"), A) for number in range(3)])
    assert all(isinstance(error, DatabaseReadOnly) for error in refused)
    own.server.kill()
    standby.promote()
    started = time.monotonic()
    assert isinstance(await notes.run(notes.creating(), (None, 10, "a", "first")), Document)
    assert time.monotonic() - started < 20


async def test_writes_find_the_new_primary_among_the_hosts(own: PostgresDatabase, start_notes: StartNotes) -> None:
    standby = own.server.start_standby()
    own.server.wait_for_standbys()
    hosts = f"127.0.0.1:{own.server.port},127.0.0.1:{standby.port}"
    dsn = own.dsn().replace(f"127.0.0.1:{own.server.port}", hosts) + "?target_session_attrs=read-write"
    notes = await start_notes(own, dsn)
    assert isinstance(await notes.run(notes.creating(), (None, 10, "a", "old primary")), Document)
    own.server.wait_for_standbys()
    own.server.kill()
    standby.promote()
    started = time.monotonic()
    while True:
        try:
            assert isinstance(await notes.run(notes.creating(), (None, 11, "a", "new primary")), Document)
            break
        except (DatabaseUnavailable, DatabaseReadOnly, OutcomeUnknown):
            # All are 503. What was sent on a connection that nobody has seen end yet is of unknown outcome.
            assert time.monotonic() - started < 20
            await asyncio.sleep(0)


async def test_majority_needs_a_synchronous_standby_and_then_waits_for_it(own: PostgresDatabase, start_notes: StartNotes) -> None:
    with pytest.raises(ConfigurationError, match="synchronous standby"):
        await start_notes(own, synchronous_commit="remote_apply")
    standby = own.server.start_standby(synchronous=True)
    notes = await start_notes(own, synchronous_commit="remote_apply")
    await notes.run(notes.creating(), (None, 10, "a", "safe"))
    assert standby.execute("SELECT title FROM app.notes WHERE id = 10", own.name) == [("safe",)]


@pytest.mark.parametrize("setting", ["off", "local", "on"])
async def test_every_connection_commits_as_the_write_concern_says(
    notes_database: PostgresDatabase, start_notes: StartNotes, setting: str
) -> None:
    notes = await start_notes(notes_database, synchronous_commit=setting)
    for share in Share:
        async with notes.engine._pool.acquire(share) as connection:
            assert await connection.fetchval("SELECT current_setting('synchronous_commit')") == setting


@pytest.mark.parametrize("error", [asyncpg.DiskFullError, asyncpg.OutOfMemoryError, asyncpg.PostgresIOError])
def test_a_full_disk_is_unavailable_for_writes(error: type[asyncpg.PostgresError]) -> None:
    assert isinstance(reported(error("no space left on /secret/path"), None), DiskFull)


def test_only_what_surely_never_applied_is_not_of_unknown_outcome() -> None:
    cut = asyncpg.ConnectionDoesNotExistError("cut")
    assert isinstance(lost(cut, writing=True), OutcomeUnknown)
    assert isinstance(lost(ConnectionResetError(), writing=True), OutcomeUnknown)
    assert isinstance(lost(asyncpg.InterfaceError("connection is closed"), writing=True), DatabaseUnavailable)
    cut.__cause__ = asyncpg.AdminShutdownError("terminating")
    assert isinstance(lost(cut, writing=True), DatabaseUnavailable)


async def test_no_error_shows_the_drivers_text(notes: Notes) -> None:
    notes.database.execute("REVOKE ALL ON app.notes FROM appuser")
    with pytest.raises(PorticoError) as refused:
        await notes.run(notes.reading(EVERYTHING), (1,), EVERYTHING)
    assert "permission denied" not in f"{refused.value.message} {refused.value.details}"
