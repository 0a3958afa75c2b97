"""A write that is sent again while it still runs, to any worker: 409, and nothing is done twice."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import psycopg
import pytest

from tests.conftest import StartPortico
from tests.process.workers import workers_of
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresDatabase
from tests.servers.waiting import wait_until, wait_until_async

KEYED = {"Idempotency-Key": "one", "Connection": "close"}
TOGETHER = 12


@contextmanager
def held_up(process: PorticoProcess, database: PostgresDatabase | None) -> Iterator[None]:
    """Keep the write waiting: on SQLite by being the writer, on PostgreSQL by the same key in a transaction that is not committed."""
    if database is None:
        connection = sqlite3.connect(process.folder / "portico.db", isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.close()
        return
    with psycopg.connect(database.dsn("postgres")) as other:
        other.execute("INSERT INTO app.clients (id, name) VALUES ('slow', 'Theirs')")
        yield
        other.rollback()


async def _statuses(process: PorticoProcess, database: PostgresDatabase | None) -> tuple[list[int], list[int]]:
    """The statuses of those who were answered while one of them was held up, and then the others'."""
    async with httpx2.AsyncClient(base_url=process.url, timeout=30, limits=httpx2.Limits(max_keepalive_connections=0)) as client:

        async def create() -> int:
            return (await client.post("/api/db/clients", json={"id": "slow", "name": "Mine"}, headers=KEYED)).status_code

        with held_up(process, database):
            sent = [asyncio.ensure_future(create()) for _ in range(TOGETHER)]

            async def answered() -> bool:
                return sum(call.done() for call in sent) == TOGETHER - 1

            await wait_until_async(answered, what="an answer to all but one")
            early = [call for call in sent if call.done()]
        return [call.result() for call in early], [await call for call in sent if call not in early]


@pytest.mark.database
@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_a_write_that_still_runs_is_not_begun_again_on_any_worker(
    portico: StartPortico, process_database: PostgresDatabase | None, over: dict[str, object]
) -> None:
    process = portico(config={"http": {"workers": 2}} | over)
    wait_until(lambda: len(workers_of(process)) == 2, what="two workers")
    process.client.get("/api/db/clients").raise_for_status()
    early, late = asyncio.run(_statuses(process, process_database))
    assert early == [409] * (TOGETHER - 1)
    assert late == [201]
    replayed = process.client.post("/api/db/clients", json={"id": "slow", "name": "Mine"}, headers=KEYED)
    assert (replayed.status_code, replayed.headers["idempotency-replayed"]) == (201, "true")


def test_a_database_without_portico_s_tables_says_that_it_keeps_no_keys(portico: StartPortico) -> None:
    process = portico(start=False)
    file = process.folder / "theirs.db"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE books (id INTEGER PRIMARY KEY, title TEXT)")
    connection.close()
    main = {"type": "sqlite", "connection_string": f"sqlite:///{file}", "discover": ["main"]}
    process = portico(config={"databases": {"main": main}})
    plain = process.client.post("/api/db/books", json={"title": "T"})
    assert plain.status_code == 201, plain.text
    keyed = process.client.post("/api/db/books", json={"title": "T"}, headers=KEYED)
    assert keyed.status_code == 501
    assert keyed.json()["error"]["details"]["capability"] == "idempotency"
    dry = process.client.post("/api/db/books", json={"title": "T"}, headers={"Prefer": "tx=rollback"})
    assert dry.status_code == 201
    assert process.client.get("/api/db/books/count").json()["data"] == 1
