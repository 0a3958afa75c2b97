"""Change feeds: committed changes in order, to those who may see them, resumable, and ended when they may no longer."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import httpx2
import pytest

from tests.conftest import StartPortico
from tests.features.test_audit import key
from tests.process.workers import rss_of, workers_of
from tests.servers.portico import PorticoProcess
from tests.servers.waiting import wait_until

ENGINES = ["sqlite", "postgres"]
Kind = Literal["sqlite", "postgres"]
Event = dict[str, Any]


class Following:
    """An open feed, read event by event."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.answer = answer
        self._lines = answer.iter_lines()
        self.last_id = -1

    def next(self) -> Event:
        """The next event with its name, id and data. Comments and ids alone are passed over."""
        found: Event = {}
        for line in self._lines:
            name, _, value = line.partition(": ")
            if line and name:
                found[name] = value
            if "id" in found:
                self.last_id = int(found["id"])
            if not line and "data" in found:
                return {"event": found["event"], "id": found.get("id"), **json.loads(found["data"])}
            if not line:
                found = {}
        return {"event": "end"}

    def first(self) -> None:
        """Wait until it says from where it follows."""
        while self.last_id < 0:
            line = next(self._lines)
            if line.startswith("id: "):
                self.last_id = int(line[4:])


@contextmanager
def follow(process: PorticoProcess, name: str = "clients", headers: dict[str, str] | None = None, query: str = "") -> Iterator[Following]:
    """Follow a collection."""
    with process.client.stream("GET", f"/api/db/{name}/changes{query}", headers=headers, timeout=20) as answer:
        if answer.status_code != 200:
            answer.read()
        else:
            assert answer.headers["content-type"] == "text/event-stream"
        yield Following(answer)


def make_client(process: PorticoProcess, name: str, headers: dict[str, str] | None = None) -> None:
    """Create a client of this id."""
    process.client.post("/api/db/clients", json={"id": name, "name": name}, headers=headers).raise_for_status()


@pytest.mark.parametrize("engine", ENGINES)
def test_changes_come_in_order_and_a_follower_resumes_where_it_was_even_after_a_restart(portico: StartPortico, engine: Kind) -> None:
    process = portico(engine)
    with follow(process) as feed:
        feed.first()
        make_client(process, "acme")
        process.client.patch("/api/db/clients/acme", json={"name": "Acme"}).raise_for_status()
        process.client.delete("/api/db/clients/acme").raise_for_status()
        events = [feed.next() for _ in range(3)]
    assert [(event["event"], event["key"], (event["document"] or {}).get("name")) for event in events] == [
        ("create", "acme", "acme"), ("update", "acme", "Acme"), ("delete", "acme", None),
    ]  # fmt: skip
    process.restart()
    make_client(process, "later")
    with follow(process, headers={"Last-Event-ID": events[0]["id"]}) as feed:
        assert [feed.next()["id"] for _ in range(2)] == [events[1]["id"], events[2]["id"]]
        assert feed.next()["key"] == "later"
    with follow(process, query=f"?after={events[1]['id']}") as feed:
        assert feed.next()["id"] == events[2]["id"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_follower_sees_its_own_tenant_without_hidden_fields(portico: StartPortico, engine: Kind) -> None:
    process = portico(engine, {"auth": {"required": True}})
    everything = key(process, "--allow", "*:*")
    process.client.headers.update(everything)
    for name in ("acme", "other"):
        make_client(process, name)
    own = key(process, "--allow", "users:read", "--hide", "users:full_name", clients="acme")
    with follow(process, "users", own) as feed, follow(process, "users", everything) as of_all:
        feed.first()
        of_all.first()
        for client, name in (("other", "eve"), ("acme", "ann"), ("other", "sue"), ("acme", "bob")):
            user = {"username": name, "full_name": "A Name", "password": "violet river 42 stones"}
            process.client.post("/api/db/users", json=user, headers={"X-Client-ID": client}).raise_for_status()
        seen = [feed.next()["document"] for _ in range(2)]
        assert [document["username"] for document in seen] == ["ann", "bob"]
        assert all({"full_name", "password_hash"}.isdisjoint(document) for document in seen)
        whole = [of_all.next()["document"] for _ in range(4)]
        assert [document["username"] for document in whole] == ["eve", "ann", "sue", "bob"]
        assert all("password_hash" not in document for document in whole)


def test_a_row_filter_makes_documents_come_and_go(portico: StartPortico) -> None:
    process = portico("sqlite", {"auth": {"required": True}})
    process.client.headers.update(key(process, "--allow", "*:*"))
    active = key(process, "--allow", "clients:read", "--row-filter", 'clients:{"status": "active"}')
    with follow(process, headers=active) as feed:
        feed.first()
        process.client.post("/api/db/clients", json={"id": "one", "name": "One", "status": "closed"}).raise_for_status()
        process.client.patch("/api/db/clients/one", json={"name": "Uno"}).raise_for_status()
        process.client.patch("/api/db/clients/one", json={"status": "active"}).raise_for_status()
        process.client.patch("/api/db/clients/one", json={"name": "Eins"}).raise_for_status()
        process.client.patch("/api/db/clients/one", json={"status": "closed"}).raise_for_status()
        process.client.delete("/api/db/clients/one").raise_for_status()
        make_client(process, "two")
        seen = [feed.next() for _ in range(4)]
    assert [(event["event"], event["key"]) for event in seen] == [
        ("create", "one"),
        ("update", "one"),
        ("delete", "one"),
        ("create", "two"),
    ]
    assert seen[2]["document"] is None
    liked = key(process, "--allow", "clients:read", "--row-filter", 'clients:{"name": {"$like": "A%"}}')
    with follow(process, headers=liked) as feed:
        assert (feed.answer.status_code, feed.answer.json()["error"]["details"]["capability"]) == (501, "change_feed")


def test_the_feed_of_a_revoked_key_ends_within_two_seconds(portico: StartPortico) -> None:
    process = portico("sqlite", {"auth": {"required": True}})
    process.client.headers.update(key(process, "--allow", "*:*"))
    made = json.loads(process.run("key", "create", "--service", "r", "--clients", "*", "--allow", "clients:read", "--json").stdout)
    with follow(process, headers={"X-API-Key": made["key"]}) as feed:
        feed.first()
        assert process.run("key", "revoke", made["id"]).returncode == 0
        ended = feed.next()
        assert (ended["event"], ended["code"]) == ("error", "unauthenticated")
        assert feed.next() == {"event": "end"}


def test_what_cannot_be_followed_is_said(portico: StartPortico) -> None:
    process = portico("sqlite")

    def refused(path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
        answer = process.client.get(path, headers=headers)
        return answer.status_code, answer.json()["error"]["code"]

    assert refused("/api/db/clients/changes?after=999999") == (410, "changes_gone")
    assert refused("/api/db/clients/changes?after=x") == (400, "invalid_parameter")
    assert refused("/api/db/clients/changes", {"Last-Event-ID": "-1"}) == (400, "invalid_parameter")
    assert refused("/api/db/clients/changes?since=1") == (400, "unknown_parameter")
    assert refused("/api/db/none/changes") == (404, "collection_not_found")
    assert process.client.post("/api/db/clients/changes").status_code == 405


def test_a_collection_without_an_audit_has_no_feed(portico: StartPortico) -> None:
    notes = {"name": "notes", "fields": [{"name": "id", "type": "integer", "constraints": ["primary_key"]}], "audit": False}
    notes["security"] = {"access_control": "shared"}
    process = portico("sqlite", {"collections": [notes]})
    answer = process.client.get("/api/db/notes/changes")
    assert (answer.status_code, answer.json()["error"]["details"]["capability"]) == (501, "change_feed")


def test_a_position_that_is_too_old_is_gone(portico: StartPortico) -> None:
    import sqlite3
    from contextlib import closing

    process = portico("sqlite", {"changes": {"keep_hours": 1}})
    make_client(process, "acme")
    with follow(process, query="?after=0") as feed:
        assert feed.next()["event"] == "create"
    with closing(sqlite3.connect(process.folder / "portico.db")) as connection:
        connection.execute("UPDATE portico_audit SET at = '2020-01-01T00:00:00.000000Z'")
        connection.commit()
    assert process.client.get("/api/db/clients/changes?after=0").status_code == 410


def test_a_service_that_stops_ends_its_feeds(portico: StartPortico) -> None:
    process = portico("sqlite")
    with follow(process) as feed:
        feed.first()
        assert process.stop() == 0
        assert feed.next() == {"event": "end"}


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_thousand_followers_of_one_worker_all_get_what_was_changed(portico: StartPortico, engine: Kind) -> None:
    many = 1000
    process = portico(engine)
    (worker,) = workers_of(process)[-1:]
    before = rss_of(worker)
    began: list[float] = []
    delays: list[float] = []
    ready = 0
    all_ready = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def read() -> None:
        nonlocal ready
        reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
        writer.write(b"GET /api/db/clients/changes HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"\nid: ")
        ready += 1
        if ready == many:
            all_ready.set()
        await reader.readuntil(b"event: create")
        delays.append(loop.time() - began[0])
        assert b'"key":"acme"' in await reader.readuntil(b"\n\n")
        writer.close()

    async with asyncio.timeout(120):
        readers = [asyncio.create_task(read()) for _ in range(many)]
        await all_ready.wait()
        held = rss_of(worker) - before
        began.append(loop.time())
        await asyncio.to_thread(make_client, process, "acme")
        await asyncio.gather(*readers)
    delays.sort()
    print(f"{engine}: {many} followers, {held / many / 1024:.1f} kB each, median {delays[many // 2]:.3f} s, last {delays[-1]:.3f} s")
    assert held < 200 * 1024 * many
    wait_until(lambda: process.client.get("/health").status_code == 200, 10, "it answers")
