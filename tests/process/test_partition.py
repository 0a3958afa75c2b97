"""Nodes that do not reach each other, and holders that are frozen: every call is answered in time, and no transaction ends twice."""

from __future__ import annotations

import contextlib
import os
import signal
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from tests.process.nodes import SECRET, Nodes, client_body
from tests.process.workers import workers_of
from tests.servers.balancer import Balancer
from tests.servers.link_cutter import LinkCutter
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresDatabase, PostgresServer
from tests.servers.prepared import over, prepared_database
from tests.servers.process import find_free_port
from tests.servers.waiting import wait_until

WORKERS = 2
WITHIN = 30
"""Seconds: no call of `Nodes` waits longer for its answer."""

UNREACHABLE = {"state": "started", "reason": "holder_unreachable"}
LOCK = 4711
WAITS_AT_COMMIT = f"""
CREATE FUNCTION app.wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS
  $$BEGIN PERFORM pg_advisory_xact_lock_shared({LOCK}); RETURN NULL; END$$;
CREATE CONSTRAINT TRIGGER wait_at_commit AFTER INSERT ON app.clients DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION app.wait_at_commit();
"""
WAITING = f"SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = {LOCK} AND NOT granted"
BLOCKED = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@dataclass(frozen=True, slots=True)
class Parted:
    """Two nodes. `holder` and `other` ask one of them each, `service` either through the balancer; `link` leads to the holder;
    `database` is that of both.
    """

    service: Nodes
    holder: Nodes
    other: Nodes
    link: LinkCutter
    database: PostgresDatabase


def limited(idle: float, life: float) -> Any:
    """Has a test run on nodes with these limits of transactions, in seconds."""
    return pytest.mark.parametrize("parted", [{"idle_seconds": idle, "life_seconds": life}], indirect=True, ids=[f"idle {idle:g} s"])


@pytest.fixture(scope="module")
def parted(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[Parted]:
    """Two nodes of two workers each behind a load balancer, with links between them that can be cut."""
    with ExitStack() as stack:
        database = prepared_database(postgres, {})
        stack.callback(database.drop)
        nodes, links = [], []
        for _ in range(2):
            link = stack.enter_context(LinkCutter(find_free_port(), find_free_port()))
            cluster = {"advertise": f"127.0.0.1:{link.port}", "listen": f"127.0.0.1:{link.target}", "secret": SECRET}
            config = {"http": {"workers": WORKERS}, "transactions": request.param, "cluster": cluster} | over(database)
            node = PorticoProcess(config, environment={"PORTICO_SECRET_KEY": "the same secret key of all nodes, for the ids"})
            stack.callback(node.close)
            nodes.append(node.start())
            links.append(link)
        for node in nodes:
            wait_until(lambda node=node: len(workers_of(node)) == WORKERS, what="the workers")  # type: ignore[misc]
        balancer = stack.enter_context(Balancer([node.port for node in nodes]))
        by = [Nodes(nodes, url) for url in (f"http://127.0.0.1:{balancer.port}", *(node.url for node in nodes))]
        yield Parted(by[0], by[1], by[2], links[0], database)


def name() -> str:
    """A client's id that nothing else has."""
    return f"c-{uuid.uuid4()}"


def details(answer: httpx2.Response) -> dict[str, Any]:
    """What an error says beside its message, without the time to wait."""
    found = dict(answer.json()["error"]["details"])
    found.pop("retry_after", None)
    return found


pytestmark = pytest.mark.database


@limited(30, 120)
def test_calls_that_cannot_be_carried_are_refused_and_the_transaction_goes_on_when_the_network_is_healed(parted: Parted) -> None:
    before, refused, beside, after = (name() for _ in range(4))
    transaction = parted.holder.begin()
    assert parted.other.call("POST", "/api/db/clients", transaction, json=client_body(before)).status_code == 201
    parted.link.cut()
    with ThreadPoolExecutor(3) as threads:
        create = threads.submit(parted.other.call, "POST", "/api/db/clients", transaction, json=client_body(refused))
        commit = threads.submit(parted.other.end, transaction, "commit")
        state = threads.submit(parted.other.state, transaction)
        # Who reaches the holder notices nothing.
        assert parted.holder.call("POST", "/api/db/clients", transaction, json=client_body(beside)).status_code == 201
    for answer in (create.result(), commit.result()):
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable"), answer.text
        assert details(answer) == UNREACHABLE
        assert answer.headers["retry-after"]
    assert {part: state.result()[part] for part in UNREACHABLE} == UNREACHABLE
    parted.link.heal()
    assert parted.other.call("POST", "/api/db/clients", transaction, json=client_body(after)).status_code == 201
    assert parted.other.end(transaction, "commit").status_code == 200
    found = {key: parted.service.call("GET", f"/api/db/clients/{key}").status_code for key in (before, refused, beside, after)}
    assert found == {before: 200, refused: 404, beside: 200, after: 200}


@limited(30, 120)
def test_a_call_that_runs_when_the_network_is_cut_is_answered_and_done_once(parted: Parted) -> None:
    locked = name()
    assert parted.service.call("POST", "/api/db/clients", json=client_body(locked)).status_code == 201
    transaction = parted.holder.begin()
    with parted.database.connect() as beside, ThreadPoolExecutor(1) as threads:
        beside.execute("BEGIN")
        beside.execute(f"SELECT FROM app.clients WHERE id = '{locked}' FOR UPDATE".encode())
        change = threads.submit(parted.other.call, "PATCH", f"/api/db/clients/{locked}", transaction, json={"name": "changed"})
        wait_until(lambda: parted.database.execute(BLOCKED), what="the change to wait")
        parted.link.cut()
        answer = change.result(WITHIN)
        beside.execute("ROLLBACK")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable"), answer.text
    assert answer.headers["retry-after"]
    parted.link.heal()
    # Whether it ran was not known; it can be asked for, and given again.
    assert parted.other.call("PATCH", f"/api/db/clients/{locked}", transaction, json={"name": "again"}).status_code == 200
    assert parted.other.end(transaction, "commit").status_code == 200
    assert parted.service.call("GET", f"/api/db/clients/{locked}").json()["data"]["name"] == "again"


@limited(30, 120)
def test_a_commit_whose_answer_was_cut_off_can_be_asked_about_and_repeated(parted: Parted) -> None:
    parted.database.execute(WAITS_AT_COMMIT)
    key, transaction = name(), parted.holder.begin()
    assert parted.other.call("POST", "/api/db/clients", transaction, json=client_body(key)).status_code == 201
    with parted.database.connect() as beside, ThreadPoolExecutor(1) as threads:
        beside.execute(f"SELECT pg_advisory_lock({LOCK})".encode())
        commit = threads.submit(parted.other.end, transaction, "commit")
        wait_until(lambda: parted.database.execute(WAITING), what="the commit to wait")
        parted.link.cut()
        lost = commit.result(WITHIN)
    assert (lost.status_code, lost.json()["error"]["code"]) == (503, "unavailable"), lost.text
    wait_until(lambda: parted.other.state(transaction)["state"] == "committed", what="the commit")
    for _ in range(2):
        again = parted.other.end(transaction, "commit")
        assert (again.status_code, again.json()["data"]["state"]) == (200, "committed")
    parted.link.heal()
    assert parted.other.end(transaction, "commit").status_code == 200
    assert parted.database.execute(f"SELECT count(*) FROM app.clients WHERE id = '{key}'") == [(1,)]


@limited(4, 8)
def test_a_holder_that_nobody_reaches_rolls_back_by_its_idle_limit_and_everybody_is_told(parted: Parted) -> None:
    key, transaction = name(), parted.holder.begin()
    assert parted.other.call("POST", "/api/db/clients", transaction, json=client_body(key)).status_code == 201
    parted.link.cut()
    wait_until(lambda: parted.other.state(transaction)["state"] == "expired", 60, "the idle limit")
    # The lock on the key is gone.
    assert parted.other.call("POST", "/api/db/clients", json=client_body(key, "another")).status_code == 201
    answers = [parted.other.end(transaction, "commit")]
    parted.link.heal()
    answers += [parted.service.end(transaction, "commit"), parted.other.call("GET", "/api/db/clients", transaction)]
    for answer in answers:
        assert (answer.status_code, details(answer)) == (410, {"state": "expired", "reason": "idle"}), answer.text
    assert parted.service.call("GET", f"/api/db/clients/{key}").json()["data"]["name"] == "another"


@limited(4, 8)
def test_nothing_is_committed_by_a_holder_that_was_frozen_beyond_its_limits(parted: Parted) -> None:
    key, transaction = name(), parted.holder.begin()
    assert parted.holder.call("POST", "/api/db/clients", transaction, json=client_body(key, "frozen")).status_code == 201
    node, pid = parted.service.holder(transaction)
    os.kill(pid, signal.SIGSTOP)
    try:
        # Some of these wait at the frozen worker's own door, and are read when it goes on.
        with ThreadPoolExecutor(8) as threads:
            for _ in range(8):
                threads.submit(commit_in_vain, f"{node.url}/api/db/transaction/{transaction}/commit")
        wait_until(lambda: parted.other.state(transaction)["state"] == "rolled_back", 60, "the server's own limit")
        answer = parted.other.call("POST", "/api/db/clients", json=client_body(key, "another"))
        assert answer.status_code == 201, answer.text
    finally:
        os.kill(pid, signal.SIGCONT)
    for asked in (parted.holder, parted.other):
        answer = asked.end(transaction, "commit")
        assert answer.status_code == 410, answer.text
        assert asked.state(transaction)["state"] in {"rolled_back", "expired", "failed"}
    assert parted.service.call("GET", f"/api/db/clients/{key}").json()["data"]["name"] == "another"


def commit_in_vain(url: str) -> None:
    """Ask for a commit, and leave before the answer."""
    with contextlib.suppress(httpx2.TransportError):
        httpx2.post(url, timeout=2)
