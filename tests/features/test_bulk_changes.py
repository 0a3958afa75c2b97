"""`PATCH` of a collection with an array: each document changed by its key to values of its own, all of them or none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.features.test_upserts import CONFIG, DOCUMENTS, entry, key
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresServer
from tests.servers.prepared import ENGINES, running

WHOLE = {"Prefer": "return=representation"}


@pytest.fixture(scope="module", params=ENGINES)
def service(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[PorticoProcess]:
    """The service over each engine, with two tenants behind one key."""
    with running(request.param, CONFIG, postgres) as process:
        process.client.headers.update({"X-API-Key": key(process, "*:*")})
        for client in ("north", "south"):
            process.client.post("/api/db/clients", json={"id": client, "name": client}).raise_for_status()
        process.client.headers["X-Client-ID"] = "north"
        yield process


@pytest.fixture
def made(service: PorticoProcess, request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """Three new documents."""
    names = [f"{request.node.name}-{number}" for number in range(3)]
    answer = service.client.post(DOCUMENTS, json=[entry(name) for name in names])
    assert answer.status_code == 201, answer.text
    return list(answer.json()["data"])


def patch(service: PorticoProcess, body: object, headers: dict[str, str] | None = None, query: str = "") -> httpx2.Response:
    """A change of many documents."""
    return service.client.patch(DOCUMENTS + query, json=body, headers=headers)


def now(service: PorticoProcess, made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The documents as they are."""
    return [service.client.get(f"{DOCUMENTS}/{row['id']}").json()["data"] for row in made]


def test_each_document_gets_its_own_values(service: PorticoProcess, made: list[dict[str, Any]]) -> None:
    changes = [{"id": row["id"], "summary": f"s{row['id']}", "file_size": row["id"] + 1} for row in made]
    answer = patch(service, changes)
    assert (answer.status_code, answer.json()["data"]) == (200, {"count": 3}), answer.text
    assert [row["summary"] for row in now(service, made)] == [change["summary"] for change in changes]


def test_changes_of_other_members_are_answered_in_their_order(service: PorticoProcess, made: list[dict[str, Any]]) -> None:
    first, second, third = made
    answer = patch(
        service, [{"id": third["id"], "summary": "c"}, {"id": first["id"], "file_type": "x"}, {"id": second["id"], "summary": "b"}], WHOLE
    )
    assert answer.status_code == 200, answer.text
    assert [row["id"] for row in answer.json()["data"]] == [third["id"], first["id"], second["id"]]
    assert [row["summary"] for row in answer.json()["data"]] == ["c", None, "b"]
    assert answer.json()["data"] == [now(service, [row])[0] for row in (third, first, second)]


def test_a_document_that_is_missing_or_of_another_tenant_is_named_and_nothing_is_written(
    service: PorticoProcess, made: list[dict[str, Any]]
) -> None:
    foreign = service.client.post(DOCUMENTS, json=entry("hers"), headers={"X-Client-ID": "south"})
    hers = (
        foreign.json()["data"]["id"]
        if foreign.status_code == 201
        else service.client.get(DOCUMENTS + "?filename=eq.hers", headers={"X-Client-ID": "south"}).json()["data"][0]["id"]
    )
    for missing in (hers, 987654321):
        answer = patch(
            service, [{"id": made[0]["id"], "summary": "x"}, {"id": missing, "summary": "x"}, {"id": made[1]["id"], "summary": "x"}]
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "document_not_found")
        assert answer.json()["error"]["details"] == {"index": 1}
    assert now(service, made) == made
    assert service.client.get(f"{DOCUMENTS}/{hers}", headers={"X-Client-ID": "south"}).json()["data"]["summary"] is None


def test_a_document_is_changed_only_as_it_was_read_where_its_etag_is_given(service: PorticoProcess, made: list[dict[str, Any]]) -> None:
    tags = [service.client.get(f"{DOCUMENTS}/{row['id']}").headers["etag"] for row in made]
    fresh = [{"id": row["id"], "etag": tag, "summary": "one"} for row, tag in zip(made, tags, strict=True)]
    assert patch(service, fresh).status_code == 200
    stale = [{"id": made[0]["id"], "summary": "two"}, fresh[1] | {"summary": "two"}]
    answer = patch(service, stale)
    assert (answer.status_code, answer.json()["error"]["details"]["index"]) == (412, 1)
    assert [row["summary"] for row in now(service, made)] == ["one"] * 3


WRONG = [
    ([{"summary": "x"}], 422, "missing_value"),
    ([{"id": "x", "summary": "x"}], 422, "wrong_type"),
    ([{"id": 1}], 400, "invalid_parameter"),
    ([{"id": 1, "unknown": 1}], 400, "unknown_field"),
    ([{"id": 1, "file_size": "x"}], 422, "wrong_type"),
    ([{"id": 1, "etag": 5, "summary": "x"}], 422, "wrong_type"),
    ([{"id": 1, "summary": "x"}, {"id": 1, "summary": "y"}], 422, "constraint_violated"),
    ([{"id": 1, "client_id": "south"}], 403, "foreign_tenant"),
    (["x"], 422, "wrong_type"),
]


@pytest.mark.parametrize(("body", "status", "code"), WRONG)
def test_what_is_wrong_is_said_with_its_index(service: PorticoProcess, body: list[object], status: int, code: str) -> None:
    answer = patch(service, body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert answer.json()["error"]["details"]["index"] == len(body) - 1


def test_parameters_and_more_than_the_caller_allows_are_refused(service: PorticoProcess, made: list[dict[str, Any]]) -> None:
    changes = [{"id": row["id"], "summary": "x"} for row in made]
    assert patch(service, changes, query="?id=gt.0").status_code == 400
    assert patch(service, changes, {"If-Match": '"x"'}).status_code == 400
    many = patch(service, changes, {"Prefer": "max-affected=2"})
    assert (many.status_code, many.json()["error"]["code"]) == (422, "too_many_affected")
    assert now(service, made) == made
    assert patch(service, []).json()["data"] == {"count": 0}


def test_a_change_needs_its_permission_and_meets_the_row_filter(service: PorticoProcess, made: list[dict[str, Any]]) -> None:
    reading = {"X-API-Key": key(service, "document_metadata:read,create")}
    change = [{"id": row["id"], "summary": "x"} for row in made[:2]]
    assert patch(service, change, reading).status_code == 403
    limit = ("--row-filter", json.dumps({"filename": made[0]["filename"]}))
    of_one = service.run(
        "key", "create", "--service", "one", "--clients", "*", "--allow", "*:*", limit[0], f"document_metadata:{limit[1]}", "--json"
    )
    answer = patch(service, change, {"X-API-Key": json.loads(of_one.stdout)["key"]})
    assert (answer.status_code, answer.json()["error"]["details"]) == (404, {"index": 1})
    assert now(service, made) == made
