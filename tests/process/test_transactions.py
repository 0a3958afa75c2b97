"""Transactions on many workers and nodes: a call finds its transaction wherever it lands, and a holder that dies leaves nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx2
import pytest

from tests.conftest import StartPortico
from tests.process.nodes import SECRET, Nodes, client_body
from tests.process.workers import workers_of
from tests.servers.balancer import Balancer
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresDatabase
from tests.servers.process import find_free_port
from tests.servers.waiting import wait_until

WORKERS = 3
TRANSACTIONS = int(os.environ.get("CARRIED_TRANSACTIONS", "6"))
LIMITS = {"embedded_idle_seconds": 30, "embedded_life_seconds": 60}


@pytest.fixture
def service(request: pytest.FixtureRequest, portico: StartPortico, engine: str, over: dict[str, object]) -> Iterator[Nodes]:
    """Over SQLite one node of three workers; over PostgreSQL two such nodes behind a load balancer."""
    config: dict[str, Any] = {"observe": {"log_level": "DEBUG"}, "http": {"workers": WORKERS}, "transactions": LIMITS} | over
    if engine == "sqlite":
        node = portico(config=config)
        wait_until(lambda: len(workers_of(node)) == WORKERS, what="the workers")
        yield Nodes([node], node.url)
        return
    environment = {"PORTICO_SECRET_KEY": "the same secret key of all nodes, for the ids"}
    nodes = []
    for _ in range(2):
        cluster = {"advertise": f"127.0.0.1:{find_free_port()}", "secret": SECRET}
        nodes.append(portico(config=config | {"cluster": cluster}, environment=environment))
    for node in nodes:
        wait_until(lambda node=node: len(workers_of(node)) == WORKERS, what="the workers")  # type: ignore[misc]
    with Balancer([node.port for node in nodes]) as balancer:
        yield Nodes(nodes, f"http://127.0.0.1:{balancer.port}")


pytestmark = [pytest.mark.database, pytest.mark.parametrize("engine", ["sqlite", "postgres"])]


def test_calls_find_their_transaction_on_whatever_worker_they_land(service: Nodes) -> None:
    chance = random.Random(1)
    ended: Counter[str] = Counter()
    kept: list[str] = []
    undone: list[str] = []
    for _ in range(TRANSACTIONS):
        transaction = service.begin()
        keys = [f"c-{uuid.uuid4()}" for _ in range(4)]
        for key in keys:
            assert service.call("POST", "/api/db/clients", transaction, json=client_body(key)).status_code == 201
            assert service.call("GET", f"/api/db/clients/{key}", transaction).status_code == 200
            assert service.call("GET", f"/api/db/clients/{key}").status_code == 404
        what = chance.choice(["commit", "rollback"])
        answer = service.end(transaction, what)
        assert answer.status_code == 200, answer.text
        ended[what] += 1
        (kept if what == "commit" else undone).extend(keys)
        assert service.state(transaction)["state"] == ("committed" if what == "commit" else "rolled_back")
    assert all(service.call("GET", f"/api/db/clients/{key}").status_code == 200 for key in kept)
    assert all(service.call("GET", f"/api/db/clients/{key}").status_code == 404 for key in undone)
    carried = sum(node.log_text().count('"Call carried"') for node in service.nodes)
    assert carried > 0, "with one call in three at most on its holder, some were carried"
    total = sum(service.counted.values())
    print(f"\n{len(service.nodes)} nodes of {WORKERS} workers: {total} calls, {carried} carried, {dict(service.counted)}, {dict(ended)}")


def test_path_headers_body_and_answer_arrive_as_they_were_sent(service: Nodes) -> None:
    transaction, key = service.begin(), f"c-{uuid.uuid4()}@x:y"
    path = f"/api/db/clients/{key.replace('@', '%40').replace(':', '%3A')}"
    name = "Zoë 😀 " * 20_000
    assert service.call("POST", "/api/db/clients", transaction, json=client_body(key, name)).status_code == 201
    for place in range(6):
        answer = service.call("GET", path, transaction, headers={"X-Correlation-ID": f"mine-{place}"})
        assert (answer.status_code, answer.json()["data"]["name"]) == (200, name)
        assert answer.headers["x-correlation-id"] == answer.json()["correlation_id"] == f"mine-{place}"
        known = service.call("GET", path, transaction, headers={"If-None-Match": answer.headers["etag"]})
        assert (known.status_code, known.content) == (304, b"")
        head = service.call("HEAD", path, transaction)
        assert (head.status_code, head.content) == (200, b"")
        assert int(head.headers["content-length"]) > len(name.encode())
    lines = "".join(json.dumps(client_body(f"i-{place}-{uuid.uuid4()}", "x" * 500)) + "\n" for place in range(500))
    for _ in range(3):
        imported = service.call(
            "POST", "/api/db/clients/import", transaction, content=lines.replace("i-", f"{uuid.uuid4()}-"),
            headers={"Content-Type": "application/x-ndjson"},
        )  # fmt: skip
        assert imported.status_code == 201, imported.text
        exported = service.call("GET", "/api/db/clients/export", transaction)
        assert len(exported.text.splitlines()) >= 500
    assert service.end(transaction, "rollback").status_code == 200


def test_a_holder_that_is_killed_leaves_no_lock_and_nothing_of_it(service: Nodes, process_database: PostgresDatabase | None) -> None:
    kept, lost, outcomes = f"c-{uuid.uuid4()}", f"c-{uuid.uuid4()}", Counter[str]()
    service.call("POST", "/api/db/clients", json=client_body(kept)).raise_for_status()
    slowest = 0.0
    for _ in range(3):
        transaction = service.begin()
        assert service.call("PATCH", f"/api/db/clients/{kept}", transaction, json={"name": "locked"}).status_code == 200
        assert service.call("POST", "/api/db/clients", transaction, json=client_body(lost)).status_code == 201
        node, pid = service.holder(transaction)
        before = len(workers_of(node))
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        wait_until(lambda: is_free(node, process_database, kept), within=5, what="the lock to go")  # noqa: B023 - called at once
        slowest = max(slowest, time.monotonic() - killed)
        # Connections that waited in the dead worker's queue are refused; a new one takes its place.
        wait_until(lambda node=node, before=before: len(workers_of(node)) == before, what="a new worker")  # type: ignore[misc]
        wait_until(lambda node=node: answers_everywhere(node), what="answers of all workers")  # type: ignore[misc]
        answers = [service.call("GET", f"/api/db/clients/{kept}", transaction)]
        answers += [service.end(transaction, what) for what in ("commit", "rollback")]
        for answer in answers:
            assert (answer.status_code, answer.json()["error"]["details"]["reason"]) == (410, "holder_lost"), answer.text
        state = service.state(transaction)
        outcomes[state["state"]] += 1
        assert (state["state"], state["reason"]) == ("rolled_back", "holder_lost")
        assert service.call("GET", f"/api/db/clients/{lost}").status_code == 404
    print(f"\nkilled 3 holders: locks gone within {slowest:.2f} s, states {dict(outcomes)}, statuses {dict(service.counted)}")


def answers_everywhere(node: PorticoProcess) -> bool:
    """Whether connections reach workers that serve, several times in a row."""
    try:
        return all(httpx2.get(f"{node.url}/health/live", headers={"Connection": "close"}).status_code == 200 for _ in range(9))
    except httpx2.TransportError:
        return False


def is_free(node: PorticoProcess, database: PostgresDatabase | None, key: str) -> bool:
    """Whether the client's row, or the file's writer, is locked by nobody."""
    if database is not None:
        return bool(database.execute(f"SELECT 1 FROM app.clients WHERE id = '{key}' FOR UPDATE SKIP LOCKED"))
    with closing(sqlite3.connect(node.folder / "portico.db", timeout=0, isolation_level=None)) as file:
        try:
            file.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
    return True


def test_a_stop_rolls_back_and_the_ledger_says_why(service: Nodes) -> None:
    transaction, key = service.begin(), f"c-{uuid.uuid4()}"
    assert service.call("POST", "/api/db/clients", transaction, json=client_body(key)).status_code == 201
    node, _ = service.holder(transaction)
    assert node.stop() == 0, node.log_tail()
    if len(service.nodes) == 1:
        node.start()
    state = service.state(transaction)
    assert (state["state"], state["reason"]) == ("rolled_back", "service_stopped")
    answer = service.end(transaction, "commit")
    assert (answer.status_code, answer.json()["error"]["details"]["reason"]) == (410, "service_stopped")
    assert service.call("GET", f"/api/db/clients/{key}").status_code == 404
