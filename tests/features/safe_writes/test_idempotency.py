"""`Idempotency-Key`: a write that is sent again is applied once, and answered as the first time."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tests.servers.portico import PorticoProcess

Fresh = Callable[[], str]
OF_THE_REQUEST = {"x-correlation-id", "date", "server", "idempotency-replayed"}


def keyed(key: str, **headers: str) -> dict[str, str]:
    """The headers of a keyed write."""
    return {"Idempotency-Key": key} | headers


def require_same_answer(first: httpx2.Response, second: httpx2.Response) -> None:
    """See that the second is a replay of the first."""
    assert second.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert (second.status_code, second.content) == (first.status_code, first.content)
    kept = [{name: value for name, value in answer.headers.items() if name not in OF_THE_REQUEST} for answer in (first, second)]
    assert kept[0] == kept[1]


def stored(service: PorticoProcess, key: str) -> int:
    """How many clients with this id are stored: none, or one."""
    return int(service.client.get(f"/api/db/clients/count?id=eq.{key}").json()["data"])


def _writes(key: str) -> list[tuple[str, str, Any, dict[str, str], int]]:
    document = {"filename": key, "file_size": 1, "file_type": "t", "file_path": "/p"}
    lines = "".join(json.dumps({"id": f"{key}-line-{n}", "name": "L"}) + "\n" for n in range(3))
    operations = [{"op": "insert", "collection": "clients", "document": {"id": f"{key}-batch", "name": "B"}}]
    return [
        ("POST", "/api/db/clients", {"id": key, "name": "A"}, {}, 201),
        ("POST", "/api/db/clients", [{"id": f"{key}-{n}", "name": "A"} for n in range(3)], {}, 201),
        ("POST", "/api/db/clients", {"id": key, "name": "M"}, {"Prefer": "resolution=merge-duplicates"}, 200),
        ("PATCH", f"/api/db/clients/{key}", {"name": "B"}, {}, 200),
        ("PUT", f"/api/db/clients/{key}", {"name": "C"}, {}, 200),
        ("PUT", f"/api/db/clients/{key}-put", {"name": "C"}, {"If-None-Match": "*"}, 201),
        ("PATCH", f"/api/db/clients?id=like.{key}-*", {"name": "D"}, {"Prefer": "return=representation"}, 200),
        ("POST", f"/clients/{key}/documents", document, {}, 201),
        ("POST", "/events", {"of": key}, {}, 201),
        ("POST", "/rest/v1/clients", {"id": f"{key}-rest", "name": "R"}, {"Prefer": "return=representation"}, 201),
        ("PATCH", f"/rest/v1/clients?id=eq.{key}-rest", {"name": "S"}, {}, 204),
        ("POST", "/api/db/clients/import", lines, {"Content-Type": "application/x-ndjson"}, 201),
        ("POST", "/api/db/transaction", {"operations": operations}, {}, 200),
        ("DELETE", f"/api/db/clients?id=like.{key}-*", None, {}, 200),
        ("DELETE", f"/api/db/document_metadata?client_id=eq.{key}", None, {}, 200),
        ("DELETE", f"/api/db/clients/{key}", None, {}, 204),
    ]


def test_every_kind_of_write_is_applied_once_and_its_answer_replayed(service: PorticoProcess, fresh: Fresh) -> None:
    key = fresh()
    for place, (method, path, body, headers, status) in enumerate(_writes(key)):
        sent = {"content": body} if isinstance(body, str) else {"json": body} if body is not None else {}
        answers = [service.client.request(method, path, headers=keyed(f"{key}/{place}", **headers), **sent) for _ in range(2)]
        assert answers[0].status_code == status, (method, path, answers[0].text)
        require_same_answer(*answers)


def test_a_restore_of_a_version_is_applied_once(service: PorticoProcess, fresh: Fresh) -> None:
    client = fresh()
    service.client.post("/api/db/clients", json={"id": client, "name": "A"}).raise_for_status()
    user = {"client_id": client, "username": client, "email": f"{client}@example.com", "full_name": "U"}
    owner = service.client.post("/api/db/users", json=user).raise_for_status().json()["data"]["user_id"]
    made = service.client.post("/api/db/documents", json={"user_id": owner, "project_name": "p", "content": "one"})
    path = made.headers["location"]
    service.client.patch(path, json={"content": "two"}).raise_for_status()
    answers = [service.client.post(f"{path}/restore", json={"version": 1}, headers=keyed(client)) for _ in range(2)]
    assert answers[0].json()["data"]["content"] == "one"
    require_same_answer(*answers)
    assert len(service.client.get(f"{path}/history").json()["data"]) == 3


def test_a_read_with_a_key_is_read_anew(service: PorticoProcess, fresh: Fresh) -> None:
    one, key = fresh(), fresh()

    def count() -> int:
        answer = service.client.post("/api/db/clients/query", json={"filter": {"id": one}}, headers=keyed(key))
        assert "idempotency-replayed" not in answer.headers
        return len(answer.json()["data"])

    assert count() == 0
    service.client.post("/api/db/clients", json={"id": one, "name": "A"}).raise_for_status()
    assert count() == 1


def test_the_same_key_with_another_request_is_refused(service: PorticoProcess, fresh: Fresh) -> None:
    one, two, key = fresh(), fresh(), fresh()
    assert service.client.post("/api/db/clients", json={"id": one, "name": "A"}, headers=keyed(key)).status_code == 201
    others = [
        service.client.post("/api/db/clients", json={"id": two, "name": "A"}, headers=keyed(key)),
        service.client.put(f"/api/db/clients/{one}", json={"id": one, "name": "A"}, headers=keyed(key)),
        service.client.patch(f"/api/db/clients/{one}", json={"name": "A"}, headers=keyed(key)),
        service.client.delete(f"/api/db/clients/{one}", headers=keyed(key)),
    ]
    assert [answer.status_code for answer in others] == [422] * 4
    assert {answer.json()["error"]["code"] for answer in others} == {"idempotency_key_reused"}
    assert service.client.post("/rest/v1/clients", json={"id": two, "name": "A"}, headers=keyed(key)).status_code == 422
    assert stored(service, two) == 0
    assert stored(service, one) == 1


def test_a_write_that_was_refused_leaves_its_key_free(service: PorticoProcess, fresh: Fresh) -> None:
    one, key = fresh(), fresh()
    service.client.post("/api/db/clients", json={"id": one, "name": "A"})
    create = {"json": {"id": one, "name": "B"}, "headers": keyed(key)}
    assert service.client.post("/api/db/clients", **create).status_code == 409  # type: ignore[arg-type]
    assert service.client.post("/api/db/clients", json={"id": one, "nme": "B"}, headers=keyed(key)).status_code == 400
    service.client.delete(f"/api/db/clients/{one}")
    again = service.client.post("/api/db/clients", **create)  # type: ignore[arg-type]
    assert again.status_code == 201
    assert "idempotency-replayed" not in again.headers


def test_a_key_belongs_to_one_service_and_tenant(service: PorticoProcess, fresh: Fresh) -> None:
    key, filename = fresh(), fresh()
    document = {"filename": filename, "file_size": 1, "file_type": "t", "file_path": "/p"}
    one = service.client.post("/clients/tenant-one/documents", json=document, headers=keyed(key))
    two = service.client.post("/api/db/document_metadata", json=document, headers=keyed(key, **{"X-Client-ID": "tenant-one"}))
    assert (one.status_code, two.status_code) == (201, 422), "the same tenant by another address: another request"
    service.client.post("/api/db/clients", json={"id": "tenant-two", "name": "T"})
    three = service.client.post("/api/db/document_metadata", json=document, headers=keyed(key, **{"X-Client-ID": "tenant-two"}))
    assert three.status_code == 201
    assert "idempotency-replayed" not in three.headers
    other = json.loads(service.run("key", "create", "--service", fresh(), "--clients", "tenant-two", "--allow", "*:*", "--json").stdout)
    four = service.client.post(
        "/api/db/document_metadata", json=document | {"filename": fresh()}, headers=keyed(key, **{"X-API-Key": other["key"]})
    )
    assert four.status_code == 201


def test_a_replay_is_authorized_anew(service: PorticoProcess, fresh: Fresh) -> None:
    name, one, key = fresh(), fresh(), fresh()
    made = service.run("key", "create", "--service", name, "--clients", "*", "--allow", "clients:create,read", "--json")
    headers = keyed(key, **{"X-API-Key": json.loads(made.stdout)["key"]})
    write = {"json": {"id": one, "name": "A"}, "headers": headers}
    assert service.client.post("/api/db/clients", **write).status_code == 201  # type: ignore[arg-type]
    less = service.run("key", "create", "--service", name, "--clients", "*", "--allow", "clients:read", "--json")
    assert less.returncode == 0, less.stderr
    headers["X-API-Key"] = json.loads(less.stdout)["key"]
    refused = service.client.post("/api/db/clients", **write)  # type: ignore[arg-type]
    assert refused.status_code == 403, refused.text
    operations = [{"op": "count", "collection": "clients"}, {"op": "insert", "collection": "clients", "document": {"id": one}}]
    assert service.client.post("/api/db/transaction", json={"operations": operations}, headers=headers).status_code == 403


@pytest.mark.parametrize("key", ["", "x" * 256, "\u00e4", "a\tb"])
def test_a_key_that_is_not_1_to_255_printable_characters_is_refused(service: PorticoProcess, fresh: Fresh, key: str) -> None:
    one = fresh()
    headers = {"Idempotency-Key": key.encode("latin-1")}
    answer = service.client.post("/api/db/clients", json={"id": one, "name": "A"}, headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == 400
    assert stored(service, one) == 0


def test_of_requests_with_one_key_at_the_same_moment_one_is_applied(service: PorticoProcess, fresh: Fresh) -> None:
    one, key = fresh(), fresh()

    async def all_of_them() -> list[httpx2.Response]:
        async with httpx2.AsyncClient(base_url=service.url, timeout=30) as client:
            post = [client.post("/api/db/clients", json={"id": one, "name": "A"}, headers=keyed(key)) for _ in range(20)]
            return await asyncio.gather(*post)

    answers = asyncio.run(all_of_them())
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert {answer.json()["error"]["code"] for answer in answers if answer.status_code == 409} <= {"in_flight"}
    assert sum(answer.status_code == 201 and "idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert stored(service, one) == 1
