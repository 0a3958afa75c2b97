"""Upserts through HTTP: `on_conflict`, the preferences `resolution` and `missing`, and `columns`, for one document and for arrays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresServer
from tests.servers.prepared import ENGINES, running

CONFIG: dict[str, object] = {"auth": {"required": True}}
MERGE, IGNORE = {"Prefer": "resolution=merge-duplicates"}, {"Prefer": "resolution=ignore-duplicates"}
DOCUMENTS = "/api/db/document_metadata"
BY_NAME = DOCUMENTS + "?on_conflict=client_id,filename"
USERS = "/api/db/users"


@pytest.fixture(scope="module", params=ENGINES)
def service(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[PorticoProcess]:
    """The service over each engine, with two tenants behind one key."""
    with running(request.param, CONFIG, postgres) as process:
        process.client.headers.update({"X-API-Key": key(process, "*:*")})
        for client in ("north", "south"):
            send(process, "/api/db/clients", {"id": client, "name": client}).raise_for_status()
        process.client.headers["X-Client-ID"] = "north"
        yield process


def key(process: PorticoProcess, *allowed: str) -> str:
    """A new key with these permissions for every client."""
    allow = [part for rule in allowed for part in ("--allow", rule)]
    made = process.run("key", "create", "--service", "tests", "--clients", "*", *allow, "--json")
    assert made.returncode == 0, made.stdout + made.stderr
    return str(json.loads(made.stdout)["key"])


def send(process: PorticoProcess, path: str, body: object, headers: dict[str, str] | None = None) -> httpx2.Response:
    """A create."""
    return process.client.post(path, json=body, headers=headers)


def entry(filename: str, **more: object) -> dict[str, Any]:
    """An entry for a file."""
    return {"filename": filename, "file_size": 1, "file_type": "t", "file_path": "/p", **more}


def person(username: str, **more: object) -> dict[str, Any]:
    """A user."""
    return {"username": username, "full_name": "A Name", **more}


def test_a_document_is_created_then_merged_and_what_is_not_named_stays(service: PorticoProcess) -> None:
    made = send(service, BY_NAME, entry("one.txt", summary="first"), MERGE)
    assert made.status_code == 201, made.text
    assert made.headers["preference-applied"] == "resolution=merge-duplicates"
    first = made.json()["data"]
    assert made.headers["location"] == f"{DOCUMENTS}/{first['id']}"
    merged = send(service, BY_NAME, entry("one.txt", file_size=2), MERGE)
    assert merged.status_code == 200, merged.text
    second = merged.json()["data"]
    assert second == first | {"file_size": 2, "updated_at": second.get("updated_at")} if "updated_at" in first else first | {"file_size": 2}
    assert merged.headers["etag"] == service.client.get(f"{DOCUMENTS}/{first['id']}").headers["etag"] != made.headers["etag"]


def test_a_merge_keeps_when_a_document_was_made_and_sets_when_it_was_changed(service: PorticoProcess) -> None:
    made = send(service, USERS, person("timed")).json()["data"]
    merged = send(service, USERS + "?on_conflict=username", person("timed", role="admin"), MERGE).json()["data"]
    assert (merged["user_id"], merged["full_name"], merged["role"]) == (made["user_id"], "A Name", "admin")
    assert merged["created_at"] == made["created_at"]
    assert merged["updated_at"] > made["updated_at"]


def test_without_on_conflict_the_key_decides(service: PorticoProcess) -> None:
    made = send(service, USERS, person("keyed")).json()["data"]
    merged = send(service, USERS, person("keyed again", user_id=made["user_id"]), MERGE)
    assert (merged.status_code, merged.json()["data"]["username"]) == (200, "keyed again")


def test_an_array_answers_in_order_what_was_created_and_merged(service: PorticoProcess) -> None:
    send(service, DOCUMENTS, entry("b.txt")).raise_for_status()
    mixed = [entry("a.txt"), entry("b.txt", file_size=9), entry("c.txt", summary="other members")]
    answer = send(service, BY_NAME, mixed, MERGE)
    assert (answer.status_code, answer.json()["message"]) == (201, "2 documents created, 1 merged, 0 ignored")
    assert [row["filename"] for row in answer.json()["data"]] == ["a.txt", "b.txt", "c.txt"]
    again = send(service, BY_NAME, mixed, MERGE)
    assert (again.status_code, again.json()["message"]) == (200, "0 documents created, 3 merged, 0 ignored")
    assert [row["id"] for row in again.json()["data"]] == [row["id"] for row in answer.json()["data"]]


def test_ignored_documents_are_left_as_they_are_and_out_of_the_answer(service: PorticoProcess) -> None:
    send(service, DOCUMENTS, entry("kept.txt", summary="kept")).raise_for_status()
    answer = send(service, BY_NAME, [entry("kept.txt", summary="x"), entry("new.txt"), entry("new.txt", summary="x")], IGNORE)
    assert (answer.status_code, [row["filename"] for row in answer.json()["data"]]) == (201, ["new.txt"])
    assert answer.json()["data"][0]["summary"] is None
    one = send(service, BY_NAME, entry("kept.txt", summary="x"), IGNORE)
    assert (one.status_code, one.json()["data"]) == (200, None)
    assert service.client.get(DOCUMENTS + "?filename=eq.kept.txt").json()["data"][0]["summary"] == "kept"


def test_one_document_twice_in_an_array_is_an_error_that_names_both(service: PorticoProcess) -> None:
    answer = send(service, BY_NAME, [entry("x.txt"), entry("twice.txt"), entry("twice.txt", summary="s")], MERGE)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "constraint_violated")
    assert answer.json()["error"]["details"] == {"index": 2, "same_as": 1}
    assert service.client.get(DOCUMENTS + "?filename=in.(x.txt,twice.txt)").json()["data"] == []


def test_a_value_of_another_tenant_is_the_same_duplicate_as_for_a_create(service: PorticoProcess) -> None:
    send(service, USERS, person("taken", full_name="Hers")).raise_for_status()
    south = {"X-Client-ID": "south"}
    plain = send(service, USERS, person("taken"), south)
    for preference in (MERGE, IGNORE):
        for body in (person("taken", full_name="Mine"), [person("taken", full_name="Mine")]):
            answer = send(service, USERS + "?on_conflict=username", body, south | preference)
            assert answer.status_code == plain.status_code == 409
            assert answer.json()["error"] == plain.json()["error"]
    two = [person("free"), person("taken", full_name="Mine")]
    answer = send(service, USERS + "?on_conflict=username", two, south | MERGE)
    assert (answer.status_code, answer.json()["error"]["details"]["index"]) == (409, 1)
    assert service.client.get(USERS + "?username=eq.taken").json()["data"][0]["full_name"] == "Hers"
    assert service.client.get(USERS + "?username=in.(free,taken)", headers=south).json()["data"] == []


def test_another_unique_value_that_is_taken_is_a_duplicate(service: PorticoProcess) -> None:
    for name in ("first", "second"):
        send(service, USERS, person(name, email=f"{name}@example.org")).raise_for_status()
    answer = send(service, USERS + "?on_conflict=username", person("second", email="first@example.org"), MERGE)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "duplicate")


def test_a_merge_needs_the_permission_to_update_and_ignoring_does_not(service: PorticoProcess) -> None:
    creating = {"X-API-Key": key(service, "document_metadata:create")}
    send(service, DOCUMENTS, entry("mine.txt")).raise_for_status()
    assert send(service, BY_NAME, entry("mine.txt"), creating | MERGE).status_code == 403
    assert send(service, BY_NAME, [entry("mine.txt")], creating | MERGE).status_code == 403
    assert send(service, BY_NAME, entry("mine.txt"), creating | IGNORE).status_code == 200


def test_a_password_is_hashed_in_a_merge_as_well(service: PorticoProcess) -> None:
    answer = send(service, USERS + "?on_conflict=username", [person("secret", password="violet river 42 stones")], MERGE)
    assert answer.status_code == 201, answer.text
    again = send(service, USERS + "?on_conflict=username", person("secret", password="short"), MERGE)
    assert again.status_code == 422
    assert "violet" not in answer.text


def test_twenty_callers_of_one_key_leave_one_document_and_none_fails(service: PorticoProcess) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda number: send(service, BY_NAME, entry("race.txt", file_size=number), MERGE), range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert len(service.client.get(DOCUMENTS + "?filename=eq.race.txt").json()["data"]) == 1


WRONG = [
    ("?on_conflict=client_id,filename", {}, entry("w"), 400, "invalid_parameter"),
    ("?on_conflict=filename", MERGE, entry("w"), 400, "invalid_parameter"),
    ("?on_conflict=nothing", MERGE, entry("w"), 400, "invalid_parameter"),
    ("?on_conflict=", MERGE, entry("w"), 400, "invalid_parameter"),
    ("?on_conflict=id&on_conflict=id", MERGE, entry("w"), 400, "invalid_parameter"),
    ("?on_conflict=id,", MERGE, entry("w"), 400, "invalid_parameter"),
    ("?limit=1", MERGE, entry("w"), 400, "unknown_parameter"),
    ("", {"Prefer": "resolution=replace"}, entry("w"), 400, "invalid_parameter"),
    ("", {"Prefer": "missing=nothing"}, entry("w"), 400, "invalid_parameter"),
    ("?on_conflict=id", MERGE, entry("w", unknown=1), 400, "unknown_field"),
    ("?on_conflict=id", MERGE, entry("w", file_size="x"), 422, "wrong_type"),
    ("?on_conflict=id", MERGE, {"filename": "w"}, 422, "missing_value"),
    ("?on_conflict=id", MERGE, [entry("w"), entry("w", client_id="south")], 403, "foreign_tenant"),
    ("?on_conflict=id", MERGE, [entry("w"), "text"], 422, "wrong_type"),
    ("?on_conflict=id", MERGE, "text", 422, "wrong_type"),
    ("?columns=filename,unknown", {"Prefer": "missing=default"}, [entry("w")], 400, "unknown_field"),
    ("?columns=", {}, [entry("w")], 400, "invalid_parameter"),
]


@pytest.mark.parametrize(("query", "headers", "body", "status", "code"), WRONG)
def test_what_is_wrong_is_said_and_nothing_is_written(
    service: PorticoProcess, query: str, headers: dict[str, str], body: object, status: int, code: str
) -> None:
    answer = send(service, DOCUMENTS + query, body, headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert service.client.get(DOCUMENTS + "?filename=eq.w").json()["data"] == []


def test_fields_that_are_not_unique_are_told_the_choices(service: PorticoProcess) -> None:
    answer = send(service, DOCUMENTS + "?on_conflict=filename", entry("w"), MERGE).json()["error"]
    assert answer["details"]["choices"] == [["id"], ["client_id", "filename"]]
    assert "client_id,filename" in answer["hint"]


def test_a_missing_member_is_its_default_or_null_as_is_asked(service: PorticoProcess) -> None:
    given = [person("m1", role="admin"), person("m2")]
    plain = send(service, USERS, given).json()["data"]
    assert [row["role"] for row in plain] == ["admin", "user"]
    nulls = send(service, USERS, [{**row, "username": "n" + row["username"]} for row in given], {"Prefer": "missing=null"})
    assert (nulls.status_code, nulls.headers["preference-applied"]) == (201, "missing=null")
    assert [row["role"] for row in nulls.json()["data"]] == ["admin", None]


def test_columns_say_which_members_are_written(service: PorticoProcess) -> None:
    given = [person("c1", role="admin", organization="left out", no_field=1), person("c2")]
    answer = send(service, USERS + "?columns=username,full_name,role", given)
    assert answer.status_code == 201, answer.text
    assert [(row["role"], row["organization"]) for row in answer.json()["data"]] == [("admin", None), (None, None)]
    defaults = send(service, USERS + '?columns="username",full_name,role', [person("c3")], {"Prefer": "missing=default"})
    assert defaults.json()["data"][0]["role"] == "user"


def test_columns_of_a_merge_are_set_where_a_document_lacks_them(service: PorticoProcess) -> None:
    send(service, USERS, person("filled", role="admin", organization="stays")).raise_for_status()
    path, body = USERS + "?on_conflict=username&columns=username,full_name,role", [person("filled")]
    default = send(service, path, body, {"Prefer": "resolution=merge-duplicates, missing=default"}).json()["data"][0]
    assert (default["role"], default["organization"]) == ("user", "stays")
    null = send(service, path, body, MERGE).json()["data"][0]
    assert (null["role"], null["organization"]) == (None, "stays")
