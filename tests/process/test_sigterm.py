"""SIGTERM: no request is lost, what runs is finished, and databases are left clean."""

import asyncio
import os
import signal
import sqlite3
import time
from contextlib import closing

import pytest

from tests.conftest import StartPortico
from tests.process.audited import held_by_postgres, held_by_sqlite, require_nothing_half_done
from tests.process.load import Load, read_answer, request
from tests.process.workers import workers_of
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresDatabase
from tests.servers.waiting import wait_until, wait_until_async

_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'appuser'"


async def _end_under_load(process: PorticoProcess, load: Load, *, keep_alive: bool) -> int:
    """Send SIGTERM while callers write; gives the exit code."""
    callers = asyncio.ensure_future(load.run(12, keep_alive=keep_alive))
    await load.answered(150)
    process.process.send_signal(signal.SIGTERM)

    async def ended() -> bool:
        return not process.process.is_running

    await wait_until_async(ended, within=30, what="the end")
    load.ended = True
    await callers
    return process.stop()


@pytest.mark.database
@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
@pytest.mark.parametrize("keep_alive", [True, False], ids=["kept connections", "new connections"])
def test_under_load_every_request_that_was_sent_is_answered(
    portico: StartPortico, process_database: PostgresDatabase | None, over: dict[str, object], keep_alive: bool
) -> None:
    process = portico(config={"http": {"workers": 2}} | over)
    load = Load(process.port, "term")
    code = asyncio.run(_end_under_load(process, load, keep_alive=keep_alive))
    assert set(load.statuses) <= {200, 201}, load.statuses
    assert code == 0, process.log_tail()
    if process_database is None:
        assert not (process.folder / "portico.db-wal").exists(), "the write-ahead log was not taken into the file"
        require_nothing_half_done(load, held_by_sqlite(process.folder, "term"))
    else:
        database = process_database
        wait_until(lambda: database.execute(_SESSIONS) == [(0,)], within=1, what="PostgreSQL without the service's sessions")
        require_nothing_half_done(load, held_by_postgres(database, "term"))


@pytest.mark.database
@pytest.mark.parametrize("engine", ["postgres"])
def test_a_write_that_waits_for_a_lock_is_finished_before_the_service_ends(
    portico: StartPortico, process_database: PostgresDatabase, over: dict[str, object]
) -> None:
    process = portico(config=over)
    process.client.post("/api/db/clients", json={"id": "held", "name": "Before"}).raise_for_status()

    async def end_while_it_waits() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
        with process_database.connect() as other, other.transaction():
            other.execute("SELECT 1 FROM app.clients WHERE id = 'held' FOR UPDATE")
            writer.write(request("PATCH", "/api/db/clients/held", {"name": "After"}))
            waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            await asyncio.to_thread(wait_until, lambda: process_database.execute(waits), what="the write that waits")
            process.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(wait_until, lambda: _refuses(process.port), what="the end of new connections")
        status, _ = await read_answer(reader)
        writer.close()
        return status

    assert asyncio.run(end_while_it_waits()) == 200
    assert process.stop() == 0
    assert process_database.execute("SELECT name FROM app.clients WHERE id = 'held'") == [("After",)]


def _refuses(port: int) -> bool:
    async def connect() -> bool:
        try:
            async with asyncio.timeout(0.2):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
        except (OSError, TimeoutError):
            return True
        writer.close()
        return False

    return asyncio.run(connect())


def test_what_does_not_end_in_time_is_cut_off(portico: StartPortico) -> None:
    process = portico(config={"http": {"shutdown_seconds": 1}})

    async def end_beside_half_a_request() -> float:
        _, writer = await asyncio.open_connection("127.0.0.1", process.port)
        writer.write(request("POST", "/api/db/clients", {"id": "half", "name": "Half"})[:-5])
        await writer.drain()
        await asyncio.to_thread(process.client.get, "/health/live")
        began = time.monotonic()
        assert await asyncio.to_thread(process.stop) == 0
        writer.close()
        return time.monotonic() - began

    assert asyncio.run(end_beside_half_a_request()) < 15
    with closing(sqlite3.connect(process.folder / "portico.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM clients WHERE id = 'half'").fetchone() == (0,)


def test_an_idle_connection_does_not_hold_the_end_up(portico: StartPortico) -> None:
    process = portico()

    async def end_beside_an_idle_connection() -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
        writer.write(request("GET", "/health/live"))
        assert (await read_answer(reader))[0] == 200
        began = time.monotonic()
        assert await asyncio.to_thread(process.stop) == 0
        assert await reader.read() == b""
        writer.close()
        return time.monotonic() - began

    assert asyncio.run(end_beside_an_idle_connection()) < 15


def test_it_ends_in_order_while_its_workers_are_starting(portico: StartPortico) -> None:
    process = portico(config={"http": {"workers": 2}})
    process.stop()
    process.process.start()
    wait_until(lambda: len(workers_of(process)) == 2, what="workers that start")
    began = time.monotonic()
    os.kill(process.process.pid, signal.SIGTERM)
    assert process.stop() == 0
    assert time.monotonic() - began < 15
