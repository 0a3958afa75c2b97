"""What is SQLite's own: the file and its writer, tables that others made, faults."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from portico.engines.sqlite.connections import interruptible
from portico.engines.sqlite.engine import SqliteEngine, SqliteOptions
from portico.errors import (
    DatabaseUnavailable,
    DiskFull,
    InternalError,
    InvalidValue,
    OutOfRange,
    PorticoError,
    StatementTimeout,
    Unavailable,
)
from portico.events import discard
from portico.model.page import Document
from portico.model.scope import Scope
from portico.query.scoped import Count
from tests.engines.conftest import SECRET, create_tables
from tests.engines.declarations import THINGS
from tests.engines.harness import Harness, declared
from tests.servers.waiting import wait_until_async

ROOT = Path(__file__).parents[2]
SLOW = {
    "name": "slow",
    "kind": "view",
    "fields": [{"name": "n", "type": "bigint"}],
    "security": {"access_control": "shared"},
}
SLOW_VIEW = "CREATE VIEW slow AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 1000000000) SELECT n FROM c"


async def nothing(_: str) -> list[list[object]]:
    """These tests look at the file themselves."""
    return []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with the tables of the suite."""
    file = tmp_path / "main.db"
    create_tables(f"sqlite:///{file}", "sqlite", declared(THINGS))
    return file


@pytest_asyncio.fixture
async def harness(path: Path) -> AsyncIterator[Harness]:
    """An engine over the file, with a view that takes minutes to read."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(SLOW_VIEW)
    options = SqliteOptions(statement_timeout=20, wait_timeout=1)
    engine = SqliteEngine("main", path, secret=SECRET, emit=discard, options=options)
    await engine.start()
    yield Harness(engine, {item.name: item for item in declared(THINGS, SLOW)}, nothing)
    await engine.close()


async def refused(work: Any) -> PorticoError:
    """The error of a call."""
    with pytest.raises(PorticoError) as error:
        await work
    return error.value


def slow_count(harness: Harness, timeout: float) -> asyncio.Task[Any]:
    """A count that takes minutes, under way."""
    bound, values = harness.bound("slow", "n=lt.0")
    plan = harness.engine.compile(Count(bound, harness.rule("slow")))

    async def run() -> Any:
        return (await harness.engine.run(plan, [harness.call(values)], timeout=timeout))[0]

    return asyncio.ensure_future(run())


async def test_a_statement_that_runs_too_long_is_cancelled_and_holds_nobody_up(harness: Harness) -> None:
    await harness.create("things", {"id": 1})
    patient, slow = slow_count(harness, 60), slow_count(harness, 0.5)
    for _ in range(50):
        assert await harness.get("things", 1) is not None
    assert not patient.done(), "what came later was answered first"
    async with asyncio.timeout(30):
        assert isinstance(await slow, StatementTimeout)
    patient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await patient
    assert harness.engine.pool_status().checked_out == 0


async def test_the_statement_of_a_caller_who_left_is_cancelled(harness: Harness) -> None:
    slow = slow_count(harness, 60)

    async def in_a_thread() -> bool:
        return harness.engine.pool_status().checked_out == 1

    await wait_until_async(in_a_thread, what="the statement in a thread")
    slow.cancel()
    async with asyncio.timeout(30):
        with pytest.raises(asyncio.CancelledError):
            await slow
    assert harness.engine.pool_status().checked_out == 0
    assert (await harness.engine.health()).healthy


async def test_a_caller_who_is_cancelled_as_the_result_comes_does_not_go_on() -> None:
    result: Future[str] = Future()
    went_on = []

    async def call(connection: sqlite3.Connection) -> None:
        went_on.append(await interruptible(connection, result, 60))

    with closing(sqlite3.connect(":memory:")) as connection:
        caller = asyncio.ensure_future(call(connection))
        await asyncio.sleep(0)
        result.set_result("rows")
        await asyncio.sleep(0)  # now the call has its result, and has not gone on
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
    assert went_on == []


async def test_an_export_whose_consumer_left_lets_go_of_its_connection(harness: Harness) -> None:
    plan, call = harness.exporting("slow")
    stream = harness.engine.stream(plan, call)
    chunk = await anext(stream)
    assert json.loads(chunk.splitlines()[0]) == {"n": 1}
    await stream.aclose()  # type: ignore[attr-defined]
    other = [await anext(harness.engine.stream(plan, call)) for _ in range(1)]
    assert len(other[0]) >= 256 * 1024


async def test_a_row_that_the_predicate_let_through_by_mistake_is_never_answered(tmp_path: Path) -> None:
    file = tmp_path / "nocase.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE papers (id INTEGER PRIMARY KEY, client TEXT COLLATE NOCASE)")
        connection.execute("INSERT INTO papers VALUES (1, 'HOME'), (2, 'home')")
        connection.commit()
    document = {
        "name": "papers",
        "fields": [{"name": "id", "type": "bigint", "constraints": ["primary_key"]}, {"name": "client", "type": "text"}],
        "security": {"access_control": "tenant", "tenant_field": "client"},
    }
    engine = SqliteEngine("main", file, secret=SECRET, emit=discard)
    await engine.start()
    harness = Harness(engine, {item.name: item for item in declared(document)}, nothing, Scope(clients=("home",)))
    assert isinstance(await refused(harness.get("papers", 1)), InternalError)
    assert isinstance(await refused(harness.documents("papers")), InternalError)
    assert isinstance(await refused(harness.change("papers", 1, {"client": "home"})), InternalError)
    assert isinstance(await refused(harness.delete("papers", 1)), InternalError)
    plan, call = harness.exporting("papers")
    with pytest.raises(InternalError):
        await anext(engine.stream(plan, call))
    assert await harness.get("papers", 2) is not None
    await engine.close()
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT client FROM papers ORDER BY id").fetchall() == [("HOME",), ("home",)]


def start_writer(path: Path, first: int, many: int) -> subprocess.Popen[str]:
    """Another process that writes to the same file."""
    command = [sys.executable, "-m", "tests.engines.sqlite_writer", str(path), str(first), str(many)]
    environment = dict(os.environ) | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


async def test_two_processes_write_to_one_file_and_lose_nothing(path: Path, harness: Harness) -> None:
    other = start_writer(path, 10_000, 200)
    for at in range(20):
        await asyncio.gather(*(harness.create("things", {"id": at * 10 + number}, audit=True) for number in range(10)))
    output, _ = await asyncio.get_running_loop().run_in_executor(None, other.communicate)
    assert other.returncode == 0
    assert len(output.split()) == 200
    assert await harness.count("things") == 400
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(DISTINCT document_key) FROM portico_audit").fetchone() == (400,)


async def test_a_process_that_is_killed_leaves_nothing_half_done_and_loses_nothing_it_acknowledged(path: Path) -> None:
    process = start_writer(path, 0, 0)
    assert process.stdout is not None
    acknowledged = [process.stdout.readline().strip() for _ in range(100)]
    process.send_signal(signal.SIGKILL)
    acknowledged += process.stdout.read().split("\n")[:-1]
    process.wait()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        written = {str(key) for (key,) in connection.execute("SELECT id FROM things")}
        audited = {key for (key,) in connection.execute("SELECT document_key FROM portico_audit")}
    assert written == audited
    assert set(acknowledged) <= written


async def test_writes_wait_for_another_processs_transaction(path: Path, harness: Harness) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        work = asyncio.ensure_future(harness.create("things", {"id": 1}))
        assert await harness.count("things") == 0
        assert not work.done()
        other.execute("COMMIT")
        assert isinstance(await work, Document)


async def test_a_writer_that_is_held_for_too_long_is_named(path: Path, harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portico.engines.sqlite.writer.WAIT_SECONDS", 0.2)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        error = await refused(harness.create("things", {"id": 1}))
        assert isinstance(error, Unavailable)
        assert error.details["cause"] == "another process"
    transaction = await harness.engine.begin()
    plan, call = harness.created("things", {"id": 2})
    await transaction.run(plan, call)
    error = await refused(harness.create("things", {"id": 1}))
    assert error.details["cause"] == "a call that writes many documents"
    await transaction.commit()
    assert await harness.create("things", {"id": 1}) is not None
    assert await harness.count("things") == 2


async def test_a_full_disk_refuses_writes_while_reads_go_on_and_recovers(harness: Harness) -> None:
    await harness.create("things", {"id": 1})
    writer = harness.engine._writer.connection  # type: ignore[attr-defined]
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count={pages}")
    assert isinstance(await refused(harness.create("things", {"id": 2, "text": "x" * 100_000})), DiskFull)
    assert await harness.get("things", 1) is not None
    writer.execute("PRAGMA max_page_count=1000000")
    assert await harness.create("things", {"id": 2, "text": "x" * 100_000}) is not None


async def test_values_that_do_not_fit_their_type_are_shown_as_they_are(path: Path, harness: Harness) -> None:
    with closing(sqlite3.connect(path)) as connection:
        values = (1, b"\xff\x00", "many", "yes", "not json", "soon", "far", "x")
        connection.execute("INSERT INTO things (id, text, number, flag, data, moment, price, tags) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        connection.execute("INSERT INTO things (id, text) VALUES (2, CAST(x'ff41' AS TEXT))")
        connection.commit()
    first, second = await harness.documents("things", "order=id")
    assert (first["text"], first["number"], first["flag"], first["data"]) == ("/wA=", "many", "yes", "not json")
    assert (first["moment"], first["price"], first["tags"]) == ("soon", "far", "x")
    assert second["text"] == "\ufffdA"
    changed = await harness.change("things", 1, {"big": 5}, audit=True)
    assert changed is not None
    assert json.loads(changed.body)["text"] == "/wA="
    plan, call = harness.exporting("things", "order=id")
    lines = b"".join([chunk async for chunk in harness.engine.stream(plan, call)]).splitlines()
    assert [json.loads(line)["id"] for line in lines] == [1, 2]


async def test_tables_of_other_programs_are_read_in_all_of_sqlites_forms(tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    moments = ["2024-01-02 03:04:05", "2024-01-02T04:04:05+01:00", 1704164645, 2460311.627835648, "2024-01-02 03:04:05.000"]
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE visits (id INTEGER PRIMARY KEY, at DATETIME, ok BOOLEAN, who UUID)")
        for key, moment in enumerate(moments):
            who = "A0EEBC999C0B4EF8BB6D6BB9BD380A11" if key % 2 else "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
            connection.execute("INSERT INTO visits VALUES (?, ?, ?, ?)", (key, moment, "true" if key % 2 else 1, who))
        connection.commit()
    engine = SqliteEngine("main", file, secret=SECRET, emit=discard)
    await engine.start()
    harness = Harness(engine, {item.name: item for item in await engine.reflect()}, nothing)
    documents = await harness.documents("visits", "order=id")
    assert [document["at"][:19] for document in documents] == ["2024-01-02T03:04:05"] * 3 + ["2024-01-02T03:04:04"] + [
        "2024-01-02T03:04:05"
    ]
    assert {document["ok"] for document in documents} == {True}
    assert {document["who"] for document in documents} == {"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}
    assert await harness.ids("visits", "at=eq.2024-01-02T03:04:05Z&order=id") == [0, 1, 2, 4]
    assert await harness.count("visits", "ok=is.true") == 5
    assert await harness.count("visits", "who=eq.a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11") == 5
    await engine.close()


async def test_a_closed_engine_answers_that_it_is(path: Path) -> None:
    engine = SqliteEngine("main", path, secret=SECRET, emit=discard)
    await engine.start()
    harness = Harness(engine, {item.name: item for item in declared(THINGS)}, nothing)
    plan, call = harness.created("things", {"id": 1})
    await engine.close()
    assert isinstance(await refused(harness.run_one(plan, call)), DatabaseUnavailable)
    assert isinstance(await refused(engine.begin()), DatabaseUnavailable)
    assert not (await engine.health()).healthy


async def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    file = tmp_path / "text.db"
    file.write_text("this is not a database at all, it is a text" * 100)
    with pytest.raises(DatabaseUnavailable):
        await SqliteEngine("main", file, secret=SECRET, emit=discard).start()


async def test_a_value_that_cannot_be_handed_over_fails_alone_and_the_writer_goes_on(harness: Harness) -> None:
    plan, _ = harness.created("things", {"id": 1, "big": 5, "text": "x"})
    calls = [harness.call((None, key, big, text)) for key, big, text in [(1, 1, "a"), (2, 2**80, "b"), (3, 3, "\ud800"), (4, 4, "d")]]
    outcomes = await harness.engine.run(plan, calls)
    assert [type(outcome) for outcome in outcomes] == [Document, OutOfRange, InvalidValue, Document]
    assert await harness.ids("things", "order=id") == [1, 4]
