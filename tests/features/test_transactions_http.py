"""Interactive transactions through HTTP: what a caller sees of begin, calls inside, savepoints, ends and limits, on both engines."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresServer
from tests.servers.prepared import ENGINES, running


@pytest.fixture(scope="module", params=ENGINES)
def service(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[PorticoProcess]:
    """The service over each engine, with one worker and limits that no test waits for."""
    limits = {"idle_seconds": 60, "embedded_idle_seconds": 60, "embedded_life_seconds": 120}
    with running(request.param, {"transactions": limits}, postgres) as process:
        yield process


@dataclass
class Inside:
    """Calls inside of one transaction."""

    client: httpx2.Client
    id: str
    headers: dict[str, str]

    def __call__(self, method: str, path: str, **sent: Any) -> httpx2.Response:
        return self.client.request(method, path, headers=self.headers | {"X-Transaction-ID": self.id} | sent.pop("headers", {}), **sent)

    def end(self, what: str, body: object = None) -> httpx2.Response:
        """Commit, roll back, or set a savepoint."""
        return self.client.post(f"/api/db/transaction/{self.id}/{what}", json=body, headers=self.headers)

    @property
    def state(self) -> dict[str, Any]:
        """What GET says."""
        answer = self.client.get(f"/api/db/transaction/{self.id}", headers=self.headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["data"])


def begin(service: PorticoProcess, body: object = None, headers: dict[str, str] | None = None) -> Inside:
    """A new transaction."""
    answer = service.client.post("/api/db/transaction/begin", json=body, headers=headers or {})
    assert answer.status_code == 201, answer.text
    data = answer.json()["data"]
    assert data["state"] == "started"
    assert data["expires_at"].endswith("Z")
    return Inside(service.client, data["transaction_id"], headers or {})


def name() -> str:
    """A client's id that nothing else has."""
    return f"c-{uuid.uuid4()}"


def client_of(id: str) -> dict[str, str]:  # noqa: A002
    """A client as a body."""
    return {"id": id, "name": f"Name of {id}"}


def exists(service: PorticoProcess, id: str) -> bool:  # noqa: A002
    """Whether others see the client."""
    return service.client.get(f"/api/db/clients/{id}").status_code == 200


def test_what_is_written_inside_is_seen_inside_and_by_others_from_the_commit_on(service: PorticoProcess) -> None:
    inside, one = begin(service), name()
    assert inside("POST", "/api/db/clients", json=client_of(one)).status_code == 201
    assert inside("GET", f"/api/db/clients/{one}").status_code == 200
    assert not exists(service, one)
    committed = inside.end("commit")
    assert (committed.status_code, committed.json()["data"]["state"]) == (200, "committed")
    assert exists(service, one)
    assert inside.state["state"] == "committed"


def test_every_call_of_a_collection_runs_inside(service: PorticoProcess) -> None:
    inside, one, two, three, four = begin(service), name(), name(), name(), name()
    assert inside("POST", "/api/db/clients", json=client_of(one)).status_code == 201
    assert inside("POST", "/api/db/clients", json=[client_of(two), client_of(three)]).status_code == 201
    line = json.dumps(client_of(four)) + "\n"
    imported = inside("POST", "/api/db/clients/import", content=line, headers={"Content-Type": "application/x-ndjson"})
    assert imported.status_code == 201, imported.text
    assert inside("PATCH", f"/api/db/clients/{one}", json={"name": "changed"}).json()["data"]["name"] == "changed"
    assert inside("PUT", f"/api/db/clients/{two}", json=client_of(two) | {"name": "replaced"}).status_code == 200
    filtered = inside("PATCH", f"/api/db/clients?id=eq.{three}", json={"name": "filtered"})
    assert filtered.json()["data"] == {"count": 1}
    everything = f"id=in.({one},{two},{three},{four})"
    assert [row["name"] for row in inside("GET", f"/api/db/clients?{everything}&order=name").json()["data"]] == [
        f"Name of {four}", "changed", "filtered", "replaced",
    ]  # fmt: skip
    assert inside("GET", f"/api/db/clients/count?{everything}").json()["data"] == 4
    queried = inside("POST", "/api/db/clients/query", json={"filter": {"id": {"$in": [one, two]}}})
    assert len(queried.json()["data"]) == 2
    assert len(inside("GET", f"/api/db/clients/export?{everything}").text.splitlines()) == 4
    assert inside("DELETE", f"/api/db/clients/{four}").status_code == 204
    assert inside("DELETE", f"/api/db/clients?id=eq.{three}").json()["data"] == {"count": 1}
    file = {"filename": "f.txt", "file_size": 1, "file_type": "t", "file_path": "/p"}
    made = inside("POST", f"/clients/{one}/documents", json=file)
    assert made.status_code == 201, made.text
    assert len(inside("GET", f"/clients/{one}/documents").json()["data"]) == 1
    event = inside("POST", "/events", json={"kind": "test"})
    assert event.status_code == 201, event.text
    assert inside("GET", f"/clients/{one}").status_code == 200
    outside = service.client.get(f"/api/db/clients/count?{everything}").json()["data"]
    assert outside == 0
    assert inside.end("commit").status_code == 200
    assert service.client.get(f"/api/db/clients/count?{everything}").json()["data"] == 2
    assert service.client.get(event.headers["location"]).status_code == 200


def test_a_rollback_leaves_nothing_and_its_calls_are_gone_with_the_reason(service: PorticoProcess) -> None:
    inside, one = begin(service), name()
    inside("POST", "/api/db/clients", json=client_of(one))
    assert inside.end("rollback").json()["data"]["state"] == "rolled_back"
    assert not exists(service, one)
    for answer in (inside("GET", "/api/db/clients"), inside.end("commit"), inside.end("savepoint", {"name": "a"})):
        assert answer.status_code == 410
        assert answer.json()["error"]["code"] == "transaction_gone"
        assert answer.json()["error"]["details"] == {"state": "rolled_back", "reason": "rolled_back"}
    assert inside.state["state"] == "rolled_back"


def test_ends_can_be_repeated(service: PorticoProcess) -> None:
    inside = begin(service)
    assert [inside.end("commit").status_code for _ in range(3)] == [200, 200, 200]
    assert inside.end("rollback").status_code == 410
    inside = begin(service)
    assert [inside.end("rollback").status_code for _ in range(3)] == [200, 200, 200]


def test_a_call_that_fails_is_undone_whole_and_the_rest_goes_on(service: PorticoProcess) -> None:
    inside, one, two, three = begin(service), name(), name(), name()
    assert inside("POST", "/api/db/clients", json=client_of(one)).status_code == 201
    assert inside("POST", "/api/db/clients", json=client_of(one)).status_code == 409
    # Several statements of one call: those of other fields are of another plan.
    many = [client_of(two), {**client_of(three), "email": "e"}, client_of(one)]
    refused = inside("POST", "/api/db/clients", json=many)
    assert refused.status_code == 409, refused.text
    assert inside("GET", f"/api/db/clients/{two}").status_code == 404
    assert inside("PATCH", f"/api/db/clients/{one}", json={"name": None}).status_code == 422
    assert inside("GET", "/api/db/clients?nothing=eq.1").status_code == 400
    assert inside("POST", "/api/db/clients", json=client_of(three)).status_code == 201
    assert inside.end("commit").status_code == 200
    assert [exists(service, key) for key in (one, two, three)] == [True, False, True]


def test_savepoints_undo_what_came_after_them(service: PorticoProcess) -> None:
    inside, one, two, three = begin(service), name(), name(), name()
    inside("POST", "/api/db/clients", json=client_of(one))
    assert inside.end("savepoint", {"name": "here"}).status_code == 200
    inside("POST", "/api/db/clients", json=client_of(two))
    assert inside.end("rollback", {"to": "here"}).json()["data"]["state"] == "started"
    assert inside("GET", f"/api/db/clients/{two}").status_code == 404
    inside("POST", "/api/db/clients", json=client_of(two))
    assert inside.end("rollback", {"to": "here"}).status_code == 200
    assert inside.end("rollback", {"to": "nowhere"}).status_code == 400
    assert inside.end("savepoint", {"name": 'x"; DROP TABLE clients; --'}).status_code == 400
    inside("POST", "/api/db/clients", json=client_of(three))
    assert inside.end("commit").status_code == 200
    assert [exists(service, key) for key in (one, two, three)] == [True, False, True]


def test_a_change_that_collides_fails_the_transaction_with_the_reason(service: PorticoProcess) -> None:
    one, two = name(), name()
    service.client.post("/api/db/clients", json=client_of(one)).raise_for_status()
    inside = begin(service, {"isolation": "repeatable_read"})
    assert inside("GET", f"/api/db/clients/{one}").status_code == 200
    service.client.patch(f"/api/db/clients/{one}", json={"name": "meanwhile"}).raise_for_status()
    assert inside("PATCH", f"/api/db/clients/{one}", json={"name": "mine"}).status_code == 409
    for answer in (inside("POST", "/api/db/clients", json=client_of(two)), inside.end("commit")):
        assert (answer.status_code, answer.json()["error"]["details"]["reason"]) == (410, "serialization_failure")
    assert inside.state["state"] == "failed"
    assert service.client.get(f"/api/db/clients/{one}").json()["data"]["name"] == "meanwhile"


def test_a_transaction_that_only_reads_refuses_to_write(service: PorticoProcess) -> None:
    inside = begin(service, {"read_only": True})
    assert inside("GET", "/api/db/clients").status_code == 200
    refused = inside("POST", "/api/db/clients", json=client_of(name()))
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_parameter"), refused.text  # to send it again is no help
    assert inside("GET", "/api/db/clients").status_code == 200
    assert inside.end("commit").status_code == 200


def test_calls_at_once_run_one_after_the_other(service: PorticoProcess) -> None:
    inside, keys = begin(service), [name() for _ in range(12)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda key: inside("POST", "/api/db/clients", json=client_of(key)).status_code, keys))
    assert answers == [201] * 12
    assert inside.end("commit").status_code == 200
    assert all(exists(service, key) for key in keys)


@pytest.mark.parametrize("body", [{"isolation": "none"}, {"read_only": 1}, {"database": "other"}, {"database": 1}, {"more": 1}, [1]])
def test_a_begin_that_makes_no_sense_is_refused(service: PorticoProcess, body: object) -> None:
    answer = service.client.post("/api/db/transaction/begin", json=body)
    assert answer.status_code == 400, answer.text


def test_the_parts_of_the_address_have_their_methods(service: PorticoProcess) -> None:
    inside = begin(service)
    path = f"/api/db/transaction/{inside.id}"
    assert service.client.get("/api/db/transaction/begin").status_code == 405
    assert service.client.get(f"{path}/commit").status_code == 405
    assert service.client.put(path).status_code == 405
    assert service.client.post(f"{path}/else").status_code == 404
    assert inside.end("savepoint", {}).status_code == 422
    assert inside.end("commit", {"now": True}).status_code == 400
    assert inside.end("rollback").status_code == 200


def test_an_id_that_was_made_up_or_changed_is_not_found(service: PorticoProcess) -> None:
    inside = begin(service)
    middle = len(inside.id) // 2
    other = "A" if inside.id[middle] != "A" else "B"
    wrong = ["x", "tx_", "tx_AAAA", inside.id[:-1], inside.id + "A", inside.id[:middle] + other + inside.id[middle + 1 :], "é" * 10]
    for given in wrong:
        headers = [(b"x-transaction-id", given.encode())]
        answer = service.client.get("/api/db/clients", headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "transaction_not_found"), given
        assert service.client.post(f"/api/db/transaction/{given}/commit").status_code == 404, given
    assert inside.end("rollback").status_code == 200


def test_what_has_a_transaction_of_its_own_is_refused_inside(service: PorticoProcess) -> None:
    inside, one = begin(service), name()
    for headers in ({"Idempotency-Key": "a"}, {"Prefer": "tx=rollback"}):
        assert inside("POST", "/api/db/clients", json=client_of(one), headers=headers).status_code == 400
    assert inside("POST", "/api/db/transaction", json={"operations": []}).status_code == 400
    assert inside("POST", "/api/db/clients", json=client_of(one), headers={"Prefer": "tx=commit"}).status_code == 201
    assert inside.end("commit").status_code == 200
    assert exists(service, one)


def test_a_begin_and_a_savepoint_take_no_key_and_a_commit_is_repeatable_with_one(service: PorticoProcess) -> None:
    key = {"Idempotency-Key": "once"}
    inside = begin(service)
    for path, body in (("begin", None), (f"{inside.id}/savepoint", {"name": "a"})):
        refused = service.client.post(f"/api/db/transaction/{path}", json=body, headers=key)
        assert (refused.status_code, refused.json()["error"]["details"]) == (400, {"header": "idempotency-key"})
    for _ in range(2):
        answer = service.client.post(f"/api/db/transaction/{inside.id}/commit", headers=key)
        assert (answer.status_code, answer.json()["data"]["state"]) == (200, "committed")
