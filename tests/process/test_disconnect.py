"""Callers who leave, or stop reading or writing: their statements are cancelled, memory stays bounded, and connections come back."""

import asyncio
import contextlib
import socket

import pytest

from tests.conftest import StartPortico
from tests.process.load import request
from tests.process.workers import rss_of, workers_of
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresDatabase
from tests.servers.waiting import wait_until

pytestmark = [pytest.mark.database, pytest.mark.parametrize("engine", ["postgres"])]

_PREPARE = (
    "CREATE VIEW app.slow WITH (security_invoker) AS SELECT 1 AS id, pg_sleep(30)::text AS slept",
    "CREATE TABLE app.wide AS SELECT n AS id, repeat(md5(n::text), 64) AS text FROM generate_series(1, 40000) n",
    "GRANT SELECT ON app.slow, app.wide TO appuser",
)
_ACTIVE = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'appuser' AND datname = current_database() AND state <> 'idle'"
_SLOW_READS = {
    "list": request("GET", "/api/db/slow"),
    "count": request("GET", "/api/db/slow/count?slept=eq.x"),
    "query": request("POST", "/api/db/slow/query", {"filter": {"id": 1}}),
    "export": request("GET", "/api/db/slow/export"),
}
_EXPORT = request("GET", "/api/db/wide/export")
MOST_GROWTH = 32 * 1024 * 1024


@pytest.fixture
def process(portico: StartPortico, process_database: PostgresDatabase) -> PorticoProcess:
    """A service over a database with a view that sleeps for half a minute and a table of 80 MB."""
    for statement in _PREPARE:
        process_database.execute(statement)
    main = {"type": "postgresql", "connection_string": process_database.dsn(), "discover": ["app"]}
    return portico(config={"databases": {"main": main}, "http": {"send_timeout_seconds": 1}})


def _idle(database: PostgresDatabase) -> bool:
    return database.execute(_ACTIVE) == [(0,)]


async def _leave(process: PorticoProcess, database: PostgresDatabase, sent: bytes) -> None:
    """Send a request, wait until its statement runs, leave, and see the statement gone within a second."""
    _, writer = await asyncio.open_connection("127.0.0.1", process.port)
    writer.write(sent)
    await asyncio.to_thread(wait_until, lambda: not _idle(database), what="the statement")
    writer.close()
    await asyncio.to_thread(wait_until, lambda: _idle(database), within=1, what="the statement's end")


def test_a_caller_who_leaves_a_slow_read_ends_its_statement_within_a_second(
    process: PorticoProcess, process_database: PostgresDatabase
) -> None:
    for sent in _SLOW_READS.values():
        asyncio.run(_leave(process, process_database, sent))
    assert process.client.get("/health").json()["status"] == "healthy"
    wait_until(lambda: process.log_text().count('"error_type":"client_gone"') == len(_SLOW_READS), what="a line for each who left")
    assert "Internal fault" not in process.log_text()


def _begin_export(process: PorticoProcess) -> socket.socket:
    """Ask for the export and read its beginning, on a connection that takes little at a time."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    connection.connect(("127.0.0.1", process.port))
    connection.sendall(_EXPORT)
    assert b"200 OK" in connection.recv(4096)
    return connection


def _rest(connection: socket.socket) -> bytes:
    """The end of what a connection still gives."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(1_048_576):
            received = received[-64:] + part
    return received


def test_a_reader_who_leaves_an_export_ends_it_within_a_second(process: PorticoProcess, process_database: PostgresDatabase) -> None:
    connection = _begin_export(process)
    connection.close()
    wait_until(lambda: _idle(process_database), within=1, what="the export's end")


def test_readers_who_stop_reading_cost_no_memory_and_are_closed(process: PorticoProcess, process_database: PostgresDatabase) -> None:
    (worker,) = workers_of(process)
    process.client.get("/api/db/wide/export").read()
    before = rss_of(worker)
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(_begin_export(process)) for _ in range(2)]
        assert not _idle(process_database)
        wait_until(lambda: _idle(process_database), within=5, what="the end of the exports")
        assert rss_of(worker, "VmHWM") - before < MOST_GROWTH
        for connection in connections:
            assert not _rest(connection).endswith(b"0\r\n\r\n"), "an export that was cut off looks whole"
    log = process.log_text()
    assert "Internal fault" not in log
    assert process.client.get("/api/db/wide/count").json()["data"] == 40000


def test_an_export_that_breaks_is_not_taken_for_a_whole_one(process: PorticoProcess, process_database: PostgresDatabase) -> None:
    with _begin_export(process) as connection:
        process_database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'appuser' AND datname = current_database()"
        )
        assert not _rest(connection).endswith(b"0\r\n\r\n")


def test_an_upload_that_stops_holds_no_connection_of_the_database(process: PorticoProcess, process_database: PostgresDatabase) -> None:
    kind = b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    head = b"POST /api/db/clients/import HTTP/1.1\r\nHost: localhost\r\n" + kind
    with socket.create_connection(("127.0.0.1", process.port)) as connection:
        connection.sendall(head + b'f\r\n{"id":"slow1",\r\n')
        process.client.get("/health/live").raise_for_status()
        assert _idle(process_database)
        assert process.client.get("/api/db/clients/count").status_code == 200
    assert process_database.execute("SELECT count(*) FROM app.clients WHERE id = 'slow1'") == [(0,)]
