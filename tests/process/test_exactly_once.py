"""Every write exactly once: keyed writes over connections that are cut and workers that are killed, counted in the database at the end.

`EXACTLY_ONCE_WRITES` says how many writes each engine gets.
"""

import asyncio
import json
import os
import random
import signal
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import StartPortico
from tests.process.retrying import CREATES, PREFIX, Retrying
from tests.process.workers import workers_of
from tests.servers.cutting_proxy import CUTS, CuttingProxy
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresDatabase
from tests.servers.waiting import wait_until

WRITES = int(os.environ.get("EXACTLY_ONCE_WRITES", "400"))
CALLERS = 16
KILLS = 3 + WRITES // 1000
ONE_IN = 5
Rows = list[tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Found:
    """By the number of the write: the documents that it created, its rows in the audit and in the versions."""

    documents: Counter[int]
    creates: Counter[int]
    changes: Counter[int]
    created_versions: Counter[int]
    changed_versions: Counter[int]


def _found(documents: Rows, audited: Rows, versions: Rows) -> Found:
    return Found(
        Counter(number for (name,) in documents if (number := _number(name)) is not None),
        *(_numbers(rows, operation) for rows in (audited, versions) for operation in ("create", "update")),
    )


def _numbers(rows: Rows, operation: str) -> Counter[int]:
    """How often each write stands in companion rows of that operation."""
    member = "project_name" if operation == "create" else "content"
    written = (_number(json.loads(str(row))[member]) for found, row in rows if found == operation)
    return Counter(number for number in written if number is not None)


def _number(text: object) -> int | None:
    """The number of the write that stored a text; the sample data has none."""
    return int(str(text).removeprefix(PREFIX)) if str(text).startswith(PREFIX) else None


def _in_sqlite(folder: Path) -> Found:
    with closing(sqlite3.connect(f"file:{folder / 'portico.db'}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        documents = connection.execute("SELECT project_name FROM documents").fetchall()
        audited = connection.execute("SELECT operation, after FROM portico_audit WHERE collection = 'documents'").fetchall()
        versions = connection.execute("SELECT operation, document FROM portico_versions WHERE collection = 'documents'").fetchall()
    return _found(documents, audited, versions)


def _in_postgres(database: PostgresDatabase) -> Found:
    documents = database.execute("SELECT project_name FROM app.documents")
    audited = database.execute("SELECT operation, after::text FROM portico.audit WHERE collection = 'documents'")
    versions = database.execute("SELECT operation, document::text FROM portico.versions WHERE collection = 'documents'")
    return _found(documents, audited, versions)


def _user(process: PorticoProcess) -> str:
    """A user who owns the documents."""
    process.client.post("/api/db/clients", json={"id": "fire", "name": "Fire"}).raise_for_status()
    user = {"client_id": "fire", "username": "fire", "email": "fire@example.com", "full_name": "Fire"}
    made = process.client.post("/api/db/users", json=user)
    assert made.status_code == 201, made.text
    return str(made.json()["data"]["user_id"])


async def _write_under_fire(process: PorticoProcess, seed: int) -> tuple[Retrying, CuttingProxy]:
    """Write, with a worker killed now and then, evenly over the writes."""
    chance = random.Random(seed)
    async with CuttingProxy(process.port, one_in=ONE_IN, seed=seed).running() as proxy:
        load = Retrying(proxy.port, WRITES, _user(process))
        callers = asyncio.ensure_future(load.run(CALLERS))
        for place in range(KILLS):
            await asyncio.wait([callers, asyncio.ensure_future(load.written(WRITES * place // KILLS, 3600))], return_when="FIRST_COMPLETED")
            living = workers_of(process)
            if living:
                os.kill(chance.choice(living), signal.SIGKILL)
        await callers
    return load, proxy


@pytest.mark.database
@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_every_write_is_applied_exactly_once_whatever_is_cut_or_killed(
    portico: StartPortico, process_database: PostgresDatabase | None, over: dict[str, object]
) -> None:
    process = portico(config={"http": {"workers": 2}} | over)
    wait_until(lambda: len(workers_of(process)) == 2, what="two workers")
    load, proxy = asyncio.run(_write_under_fire(process, seed=20_000))
    assert process.stop() == 0
    found = _in_sqlite(process.folder) if process_database is None else _in_postgres(process_database)
    documents = Counter({number: CREATES[kind] for number, kind in load.kinds.items() if CREATES[kind]})
    changes = Counter(number for number, kind in load.kinds.items() if kind == "change")
    print(_summary(load, proxy, documents, changes, found))
    assert len(load.kinds) == WRITES
    assert found.documents == documents
    assert found.creates == documents
    assert found.changes == changes
    assert (found.created_versions, found.changed_versions) == (documents, changes)
    assert all(proxy.fates[cut] for cut in CUTS), proxy.fates
    assert load.replayed, "no write was sent again after it was applied"


def _summary(load: Retrying, proxy: CuttingProxy, documents: Counter[int], changes: Counter[int], found: Found) -> str:
    versions = found.created_versions + found.changed_versions
    return "\n".join(
        [
            f"writes {len(load.kinds)}, sent {load.sendings} times, answers {dict(load.outcomes)}, of them replays {load.replayed}",
            f"connections {dict(proxy.fates)}, workers killed {KILLS}",
            f"documents: expected {documents.total()}, found {found.documents.total()}",
            f"audit rows of creates: expected {documents.total()}, found {found.creates.total()}",
            f"audit rows of changes: expected {changes.total()}, found {found.changes.total()}",
            f"versions: expected {documents.total() + changes.total()}, found {versions.total()}",
            f"writes that count otherwise than once: {_wrong(documents, found.documents) + _wrong(changes, found.changes)}",
        ]
    )


def _wrong(expected: Counter[int], found: Counter[int]) -> int:
    return sum(expected[number] != found[number] for number in expected.keys() | found.keys())
