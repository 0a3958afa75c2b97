"""The audit as its readers have it: chained soon after the commit, verified by the command, and shown by `GET /api/db/audit`."""

import asyncio
import json
import sqlite3
from contextlib import closing
from itertools import pairwise
from typing import Any, Literal

import httpx2
import pytest

from tests.conftest import StartPortico
from tests.servers.portico import PorticoProcess
from tests.servers.waiting import wait_until

ENGINES = ["sqlite", "postgres"]
Kind = Literal["sqlite", "postgres"]


def verified(process: PorticoProcess, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code of `portico audit verify`, and what it says of the database."""
    done = process.run("audit", "verify", "--json", *arguments)
    return done.returncode, json.loads(done.stdout)["main"] if done.stdout else {"error": done.stderr}


def make_clients(process: PorticoProcess, many: int) -> None:
    """Create clients, each with its audit row."""
    made = process.client.post("/api/db/clients", json=[{"id": f"c{at}", "name": f"Client {at}"} for at in range(many)])
    assert made.status_code == 201, made.text


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_are_chained_while_the_service_runs_and_the_command_verifies_them(portico: StartPortico, engine: Kind) -> None:
    process = portico(engine)
    before = verified(process)[1]["rows"]
    make_clients(process, 20)
    wait_until(lambda: (found := verified(process)[1])["pending"] == 0 and found["rows"] == before + 20, 10, "every row is chained")
    code, verdict = verified(process)
    assert (code, verdict["verified"], verdict["problems"]) == (0, True, [])
    code, verdict = verified(process, "--head", verdict["head"]["hash"])
    assert (code, verdict["verified"]) == (0, True)
    code, verdict = verified(process, "--head", "11" * 32)
    assert (code, [item["kind"] for item in verdict["problems"]]) == (1, ["head_missing"])
    plain = process.run("audit", "verify")
    assert plain.returncode == 0
    assert "all as written" in plain.stdout


def test_a_changed_row_is_said_with_its_place_and_an_exit_code(portico: StartPortico) -> None:
    process = portico("sqlite")
    make_clients(process, 3)
    wait_until(lambda: not verified(process)[1]["pending"], 10, "every row is chained")
    with closing(sqlite3.connect(process.folder / "portico.db")) as connection:
        (row_id,) = connection.execute("SELECT max(id) - 1 FROM portico_audit").fetchone()
        connection.execute("UPDATE portico_audit SET document_key = 'other' WHERE id = ?", (row_id,))
        connection.commit()
    done = process.run("audit", "verify")
    assert done.returncode == 1
    assert f"The audit row {row_id} is not what was written." in done.stdout


def test_without_an_audit_and_with_a_wrong_head_the_command_says_what_to_do(portico: StartPortico) -> None:
    process = portico("sqlite", start=False)
    done = process.run("audit", "verify")
    assert (done.returncode, "portico init-db" in done.stderr) == (2, True)
    assert process.run("audit", "verify", "--head", "beef").returncode == 2
    assert process.run("audit", "verify", "--database", "nowhere").returncode == 2


def key(process: PorticoProcess, *arguments: str, clients: str = "*") -> dict[str, str]:
    """Headers with a new key."""
    made = process.run("key", "create", "--service", "auditor", "--clients", clients, *arguments, "--json")
    assert made.returncode == 0, made.stderr
    return {"X-API-Key": json.loads(made.stdout)["key"]}


def audit_of(process: PorticoProcess, query: str, headers: dict[str, str]) -> list[dict[str, Any]]:
    """The audit rows of a query."""
    answer = process.client.get(f"/api/db/audit?{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


@pytest.mark.parametrize("engine", ENGINES)
def test_the_audit_shows_what_was_changed_to_those_who_may_see_it(portico: StartPortico, engine: Kind) -> None:
    process = portico(engine, {"auth": {"required": True}})
    everything = key(process, "--allow", "*:*")
    for client in ("acme", "other"):
        process.client.post("/api/db/clients", json={"id": client, "name": client}, headers=everything).raise_for_status()
        path = f"/clients/{client}/documents"
        document = {"filename": "a.txt", "file_size": 1, "file_type": "text/plain", "file_path": "/a.txt"}
        made = process.client.post(path, json=document, headers=everything)
        made.raise_for_status()
        process.client.patch(f"{path}/{made.json()['data']['id']}", json={"file_size": 2}, headers=everything).raise_for_status()

    rows = audit_of(process, "collection=document_metadata&service=auditor", everything)
    assert [(row["operation"], row["document_client"]) for row in rows] == [
        ("update", "other"), ("create", "other"), ("update", "acme"), ("create", "acme"),
    ]  # fmt: skip
    assert (rows[0]["before"]["file_size"], rows[0]["after"]["file_size"], rows[1]["before"]) == (1, 2, None)
    assert {row["service"] for row in rows} == {"auditor"}
    assert [row["id"] for row in audit_of(process, f"correlation_id={rows[0]['correlation_id']}", everything)] == [rows[0]["id"]]
    assert audit_of(process, f"collection=document_metadata&service=auditor&to={rows[-1]['at']}", everything) == []
    assert len(audit_of(process, f"collection=document_metadata&from={rows[1]['at']}&operation=update", everything)) == 1

    first = process.client.get("/api/db/audit?collection=document_metadata&service=auditor&limit=3", headers=everything).json()
    rest = audit_of(process, f"collection=document_metadata&service=auditor&limit=3&cursor={first['page']['next_cursor']}", everything)
    assert [row["id"] for row in first["data"] + rest] == [row["id"] for row in rows]

    own = key(process, "--allow", "*:*", clients="acme")
    assert {row["document_client"] for row in audit_of(process, "", own)} == {"acme"}
    assert audit_of(process, "client_id=other", own) == []
    assert {row["document_client"] for row in audit_of(process, "", {**everything, "X-Client-ID": "other"})} == {"other"}


def test_the_audit_is_refused_masked_and_checked(portico: StartPortico) -> None:
    process = portico("sqlite", {"auth": {"required": True}})
    everything = key(process, "--allow", "*:*")
    process.client.post("/api/db/clients", json={"id": "acme", "name": "Acme", "email": "a@b.org"}, headers=everything).raise_for_status()
    reader = key(process, "--allow", "*:read", "--allow", "clients:read,admin")
    assert {row["collection"] for row in audit_of(process, "", reader)} == {"clients"}

    def status(query: str, headers: dict[str, str]) -> tuple[int, str]:
        answer = process.client.get(f"/api/db/audit?{query}", headers=headers)
        return answer.status_code, answer.json()["error"]["code"]

    assert status("collection=users", reader) == (403, "forbidden")
    assert status("collection=none", reader) == (404, "collection_not_found")
    assert status("", key(process, "--allow", "*:read")) == (403, "forbidden")
    assert status("who=me", reader) == (400, "unknown_parameter")
    assert status("limit=1001", reader) == (422, "out_of_range")
    assert status("from=yesterday", reader)[0] == 422
    assert status("cursor=abc", reader) == (400, "invalid_cursor")
    assert status("database=none", reader) == (400, "invalid_parameter")
    assert process.client.get("/api/db/audit").status_code == 401
    masked = key(process, "--allow", "clients:*", "--hide", "clients:email")
    assert audit_of(process, "collection=clients", masked)[0]["after"]["email"] == "***"
    assert audit_of(process, "collection=clients", everything)[0]["after"]["email"] == "a@b.org"
    filtered = key(process, "--allow", "clients:*", "--row-filter", 'clients:{"name": "Other"}')
    assert status("collection=clients", filtered) == (403, "forbidden")


@pytest.mark.parametrize("engine", ENGINES)
async def test_with_twelve_writers_on_one_document_every_before_is_the_previous_after(portico: StartPortico, engine: Kind) -> None:
    process = portico(engine)
    make_clients(process, 1)
    async with httpx2.AsyncClient(base_url=process.url, timeout=30) as client:

        async def write(writer: int) -> None:
            for turn in range(8):
                changed = await client.patch("/api/db/clients/c0", json={"name": f"{writer} {turn}"})
                assert changed.status_code == 200, changed.text

        await asyncio.gather(*(write(writer) for writer in range(12)))
    query = "collection=clients&document_key=c0&limit=1000"
    wait_until(lambda: all(row["position"] for row in audit_of(process, query, {})), 10, "every row is chained")
    rows = sorted(audit_of(process, query, {}), key=lambda row: int(row["position"]))
    assert len(rows) == 1 + 12 * 8
    assert all(later["before"] == earlier["after"] for earlier, later in pairwise(rows))
    assert verified(process)[0] == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_bulk_filter_wide_and_cascaded_changes_leave_a_row_for_each_document(portico: StartPortico, engine: Kind) -> None:
    process = portico(engine)
    make_clients(process, 3)
    process.client.patch("/api/db/clients?id=in.(c0,c1,c2)", json={"status": "suspended"}).raise_for_status()
    user = process.client.post("/api/db/users", json={"client_id": "c0", "username": "ann", "full_name": "Ann"}).json()["data"]["user_id"]
    talks = [{"user_id": user, "title": str(at)} for at in range(3)]
    process.client.post("/api/db/conversations", json=talks).raise_for_status()
    process.client.delete(f"/api/db/users/{user}").raise_for_status()

    def operations(collection: str) -> list[str]:
        rows = audit_of(process, f"collection={collection}&service=dev&limit=1000", {})
        return sorted(row["operation"] for row in rows if collection != "clients" or row["document_key"] in {"c0", "c1", "c2"})

    assert operations("clients") == ["create"] * 3 + ["update"] * 3
    assert operations("conversations") == ["create"] * 3 + ["delete"] * 3
    assert operations("users") == ["create", "delete"]
    deleted = audit_of(process, "collection=conversations&operation=delete", {})
    assert {(row["document_client"], row["document_user"]) for row in deleted} == {("c0", user)}
