"""`POST /api/db/transaction`: several operations, all or nothing."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tests.servers.portico import PorticoProcess

Fresh = Callable[[], str]


def batch(service: PorticoProcess, *operations: dict[str, Any], headers: dict[str, str] | None = None, **members: Any) -> httpx2.Response:
    """Send a batch."""
    return service.client.post("/api/db/transaction", json={"operations": operations} | members, headers=headers)


def insert(key: str, name: object = "A") -> dict[str, Any]:
    """An operation that creates a client."""
    return {"op": "insert", "collection": "clients", "document": {"id": key, "name": name}}


def exists(service: PorticoProcess, key: str) -> bool:
    """Whether a client is stored."""
    return service.client.get(f"/api/db/clients/{key}").status_code == 200


def test_results_come_in_order_each_as_its_own_call_would_answer(service: PorticoProcess, fresh: Fresh) -> None:
    one, two = fresh(), fresh()
    answer = batch(
        service,
        insert(one),
        {"op": "insert", "collection": "clients", "documents": [{"id": two, "name": "B"}]},
        {"op": "update", "collection": "clients", "id": one, "changes": {"name": "C"}},
        {"op": "replace", "collection": "clients", "key": [two], "document": {"name": "D"}},
        {"op": "get", "collection": "clients", "id": one, "fields": ["name"]},
        {"op": "query", "collection": "clients", "filter": {"id": {"$in": [one, two]}}, "fields": ["name"], "sort": ["name"]},
        {"op": "count", "collection": "clients", "filter": {"id": {"$in": [one, two]}}},
        {"op": "update", "collection": "clients", "filter": {"id": one}, "changes": {"name": "E"}, "return": "representation"},
        {"op": "delete", "collection": "clients", "filter": {"id": two}, "max_affected": 1},
        {"op": "delete", "collection": "clients", "id": one},
    )
    assert answer.status_code == 200, answer.text
    made, many, changed, replaced, got, found, counted, everyone, removed, deleted = answer.json()["data"]
    assert (made["id"], [item["id"] for item in many]) == (one, [two])
    assert (changed["name"], replaced["name"]) == ("C", "D")
    assert got == {"name": "C"}
    assert found == [{"name": "C"}, {"name": "D"}]
    assert (counted, removed, deleted) == (2, {"count": 1}, None)
    assert [item["name"] for item in everyone] == ["E"]
    assert not exists(service, one)
    assert not exists(service, two)


def test_an_upsert_creates_merges_or_leaves_what_is_there(service: PorticoProcess, fresh: Fresh) -> None:
    one, two = fresh(), fresh()
    answer = batch(
        service,
        insert(one),
        {"op": "upsert", "collection": "clients", "documents": [{"id": one, "name": "B"}, {"id": two, "name": "B"}]},
        {"op": "upsert", "collection": "clients", "document": {"id": two, "name": "C"}, "resolution": "ignore-duplicates"},
        {"op": "upsert", "collection": "clients", "document": {"id": two, "name": "D"}, "on_conflict": ["id"]},
    )
    assert answer.status_code == 200, answer.text
    _, merged, left, changed = answer.json()["data"]
    assert [item["name"] for item in merged] == ["B", "B"]
    assert left is None
    assert changed["name"] == "D"


def test_when_one_operation_fails_nothing_is_written_and_its_number_is_told(service: PorticoProcess, fresh: Fresh) -> None:
    one, two = fresh(), fresh()
    answer = batch(service, insert(one), insert(two), insert(one))
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "duplicate"
    assert answer.json()["error"]["details"]["operation"] == 2
    assert not exists(service, one)
    assert not exists(service, two)


def test_an_operation_refers_to_results_of_earlier_ones(service: PorticoProcess, fresh: Fresh) -> None:
    one, two, three = fresh(), fresh(), fresh()
    answer = batch(
        service,
        insert(one, "Ada"),
        {"op": "query", "collection": "clients", "filter": {"id": {"$ref": "0.id"}}},
        insert(two, {"$ref": "1.0.name"}),
        {"op": "update", "collection": "clients", "id": {"$ref": "2.id"}, "changes": {"email": {"$ref": "0.email"}, "status": "suspended"}},
        {"op": "delete", "collection": "clients", "key": [{"$ref": "1.0.id"}]},
        {"op": "insert", "collection": "events", "document": {"data": {"of": {"$ref": "2.id"}, "as it is": {"$literal": {"$ref": "9"}}}}},
        insert(three, {"$ref": "5.data.of"}),
    )
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert data[2]["name"] == "Ada"
    assert data[3]["status"] == "suspended"
    assert data[5]["data"] == {"of": two, "as it is": {"$ref": "9"}}
    assert data[6]["name"] == two
    assert not exists(service, one)


def test_a_reference_that_names_nothing_is_told_and_nothing_is_written(service: PorticoProcess, fresh: Fresh) -> None:
    one = fresh()
    query = {"op": "query", "collection": "clients", "filter": {"id": "nobody"}}
    answer = batch(service, insert(one), query, insert(fresh(), {"$ref": "1.0.name"}))
    assert answer.status_code == 422
    assert answer.json()["error"]["details"] == {"reference": "1.0.name", "operation": 2}
    assert not exists(service, one)


def test_references_that_would_grow_beyond_all_bounds_are_refused_and_nothing_is_written(service: PorticoProcess) -> None:
    before = service.client.get("/api/db/events/count").json()["data"]
    doubling = [{"op": "insert", "collection": "events", "document": {"data": {"a": "x" * 1000}}}]
    for place in range(30):
        twice = [{"$ref": f"{place}.data"}, {"$ref": f"{place}.data"}]
        doubling.append({"op": "insert", "collection": "events", "document": {"data": {"a": twice}}})
    answer = batch(service, *doubling)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large"), answer.text
    assert service.client.get("/api/db/events/count").json()["data"] == before


def test_a_reference_to_an_element_of_any_number_is_answered(service: PorticoProcess, fresh: Fresh) -> None:
    query = {"op": "query", "collection": "clients", "filter": {}}
    for number in ("9" * 5000, "\u0661", "-1"):
        answer = batch(service, query, insert(fresh(), {"$ref": f"0.{number}.name"}))
        assert answer.status_code == 422, answer.text


BAD = [
    ({"operations": []}, 400, None),
    ({"operations": {}}, 400, None),
    ([], 400, None),
    ({"operations": [{"op": "insert"}], "isolation": "chaos"}, 400, None),
    ({"operation": []}, 400, None),
    ({"operations": ["insert"]}, 400, 0),
    ({"operations": [{"op": "truncate", "collection": "clients"}]}, 400, 0),
    ({"operations": [{"op": "insert", "collection": "clients"}]}, 400, 0),
    ({"operations": [{"op": "insert", "document": {}}]}, 400, 0),
    ({"operations": [{"op": "insert", "collection": "clients", "document": [{}]}]}, 400, 0),
    ({"operations": [{"op": "insert", "collection": "clients", "documents": {}}]}, 400, 0),
    ({"operations": [{"op": "insert", "collection": "clients", "document": {}, "filter": {}}]}, 400, 0),
    ({"operations": [{"op": "get", "collection": "clients"}]}, 400, 0),
    ({"operations": [{"op": "get", "collection": "clients", "id": 1, "key": 1}]}, 400, 0),
    ({"operations": [{"op": "update", "collection": "clients", "changes": {"name": "A"}}]}, 400, 0),
    ({"operations": [{"op": "delete", "collection": "clients", "filter": {}}]}, 400, 0),
    ({"operations": [{"op": "delete", "collection": "clients", "id": "x", "filter": {}}]}, 400, 0),
    ({"operations": [{"op": "delete", "collection": "clients", "filter": {"id": "x"}, "max_affected": -1}]}, 400, 0),
    ({"operations": [{"op": "delete", "collection": "clients", "filter": {"id": "x"}, "if_match": "y"}]}, 400, 0),
    ({"operations": [{"op": "upsert", "collection": "clients", "document": {"id": "x", "name": "A"}, "resolution": []}]}, 400, 0),
    ({"operations": [{"op": "upsert", "collection": "clients", "document": {"id": "x", "name": "A"}, "on_conflict": "id"}]}, 400, 0),
    ({"operations": [{"op": "count", "collection": "no_such"}]}, 404, 0),
    ({"operations": [{"op": "count", "collection": "clients", "filter": {"no_such": 1}}]}, 400, 0),
    ({"operations": [{"op": "get", "collection": "clients", "id": {"$ref": "0.id"}}]}, 400, 0),
    ({"operations": [{"op": "get", "collection": "clients", "id": {"$ref": "x"}}]}, 400, 0),
    ({"operations": [{"op": "get", "collection": "clients", "id": {"$ref": 1}}]}, 400, 0),
    ({"operations": [{"op": "get", "collection": "clients", "id": {"a": 1}}]}, 422, 0),
    ({"operations": [{"op": "count", "collection": "clients"}] * 1001}, 422, None),
]


@pytest.mark.parametrize(("body", "status", "operation"), BAD)
def test_a_batch_that_makes_no_sense_is_refused_with_a_reason(
    service: PorticoProcess, body: object, status: int, operation: int | None
) -> None:
    answer = service.client.post("/api/db/transaction", json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["details"].get("operation") == operation


def test_a_change_in_a_batch_may_be_held_to_an_etag(service: PorticoProcess, fresh: Fresh) -> None:
    one, two = fresh(), fresh()
    etag = service.client.post("/api/db/clients", json={"id": one, "name": "A"}).headers["etag"]
    change = {"op": "update", "collection": "clients", "id": one, "changes": {"name": "B"}, "if_match": etag}
    assert batch(service, change).status_code == 200
    stale = batch(service, insert(two), change | {"changes": {"name": "C"}})
    assert stale.status_code == 412
    assert stale.json()["error"]["details"]["operation"] == 1
    assert not exists(service, two)


def test_each_operation_needs_its_own_permission_and_is_scoped(service: PorticoProcess, fresh: Fresh) -> None:
    made = service.run(
        "key", "create", "--service", fresh(), "--clients", "acme", "--allow", "clients:read", "--allow", "document_metadata:*", "--json"
    )
    headers = {"X-API-Key": json.loads(made.stdout)["key"]}
    assert batch(service, {"op": "count", "collection": "clients"}, headers=headers).json()["data"] == [0]
    document = {"filename": fresh(), "file_size": 1, "file_type": "t", "file_path": "/p"}
    refused = batch(service, {"op": "insert", "collection": "document_metadata", "document": document}, insert(fresh()), headers=headers)
    assert refused.status_code == 403
    assert refused.json()["error"]["details"]["operation"] == 1
    other = batch(service, {"op": "get", "collection": "document_metadata", "id": 1}, headers=headers)
    assert other.status_code == 404


def test_batches_that_collide_run_again_until_each_has_counted(service: PorticoProcess, fresh: Fresh) -> None:
    """Read and write back, serializable: no update is lost, whoever collides is begun anew or told so."""
    key = fresh()
    service.client.post("/api/db/events", json={"data": {"key": key}})
    event = service.client.get(f"/api/db/events?data->>key=eq.{key}").json()["data"][0]["id"]

    async def one(client: httpx2.AsyncClient) -> int:
        operations = [
            {"op": "get", "collection": "events", "id": event},
            {"op": "update", "collection": "events", "id": event, "changes": {"task_context": {"before": {"$ref": "0.task_context"}}}},
        ]
        answer = await client.post("/api/db/transaction", json={"isolation": "serializable", "operations": operations})
        assert answer.status_code in {200, 409}, answer.text
        return answer.status_code

    async def all_of_them() -> list[int]:
        async with httpx2.AsyncClient(base_url=service.url, timeout=30) as client:
            return await asyncio.gather(*(one(client) for _ in range(8)))

    counted = asyncio.run(all_of_them()).count(200)
    depth, context = 0, service.client.get(f"/api/db/events/{event}").json()["data"]["task_context"]
    while context:
        depth, context = depth + 1, context["before"]
    assert counted >= 2
    assert depth == counted
