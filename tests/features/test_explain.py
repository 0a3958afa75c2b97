"""Plans for people: what they name, who may ask for them, and what they must not tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import yaml

from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresServer
from tests.servers.prepared import ENGINES, running

DECLARED = """
auth: {required: true}
collections:
  - name: tickets
    fields:
      - {name: id, type: bigint, required: true, constraints: [primary_key]}
      - {name: client_id, type: string(255), required: true}
      - {name: status, type: string(40), required: true}
      - {name: note, type: text}
    indexes: [{name: idx_tickets_status, fields: [status]}]
    security: {access_control: tenant, tenant_field: client_id}
    relations: [{name: replies, collection: replies, local: [id], foreign: [ticket_id], many: true}]
  - name: replies
    fields:
      - {name: id, type: bigint, required: true, constraints: [primary_key]}
      - {name: client_id, type: string(255), required: true}
      - {name: ticket_id, type: bigint, required: true}
      - {name: explain, type: text}
    indexes: [{name: idx_replies_ticket, fields: [ticket_id]}]
    security: {access_control: tenant, tenant_field: client_id}
"""
TICKETS, EACH = 3000, 1500
Plan = dict[str, Any]


class Desk:
    """The service with the tickets of two tenants, and its callers."""

    def __init__(self, service: PorticoProcess, engine: str) -> None:
        self.service, self.engine = service, engine
        self.all = self.key("all", "*", "*:*")
        for client in ("acme", "rival"):
            made = service.client.post("/api/db/clients", json={"id": client, "name": client}, headers=self.all)
            assert made.status_code == 201, made.text
        self.acme = self.key("acme", "acme", "*:*")
        tickets = [
            {"id": number, "client_id": "acme" if number < EACH else "rival", "status": f"s{number % 300}-{number // EACH}", "note": "n"}
            for number in range(TICKETS)
        ]
        replies = [{"id": number, "client_id": "acme", "ticket_id": number, "explain": "eq"} for number in range(EACH)]
        for name, rows in (("tickets", tickets), ("replies", replies)):
            answer = service.client.post(f"/api/db/{name}", json=rows, headers=self.all)
            assert answer.status_code == 201, answer.text

    def key(self, name: str, clients: str, *allowed: str, options: tuple[str, ...] = ()) -> dict[str, str]:
        """A new key's headers."""
        rules = [part for rule in allowed for part in ("--allow", rule)]
        made = self.service.run("key", "create", "--service", name, "--clients", clients, *rules, *options, "--json")
        assert made.returncode == 0, made.stdout + made.stderr
        return {"X-API-Key": json.loads(made.stdout)["key"]}

    def get(self, query: str, caller: dict[str, str], name: str = "tickets") -> httpx2.Response:
        """A list's answer."""
        return self.service.client.get(f"/api/db/{name}?{query}", headers=caller)

    def plan(self, query: str, caller: dict[str, str]) -> Plan:
        """A list's plan."""
        answer = self.get(f"{query}&explain=true", caller)
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "private, no-cache"
        return dict(answer.json()["data"])


@pytest.fixture(scope="module", params=ENGINES)
def desk(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[Desk]:
    """The service over each engine."""
    with running(request.param, yaml.safe_load(DECLARED), postgres) as process:
        yield Desk(process, request.param)


def test_a_plan_names_the_index_that_was_used(desk: Desk) -> None:
    found = desk.plan("status=eq.s7-0", desk.all)
    assert found["engine"] == ("sqlite" if desk.engine == "sqlite" else "postgresql")
    assert (found["collection"], found["operation"]) == ("tickets", "list")
    assert (found["index_used"], found["indexes"], found["scans"]) == (True, ["idx_tickets_status"], [])
    assert found["actual_rows"] == len(desk.get("status=eq.s7-0", desk.all).json()["data"]) == 5
    assert found["execution_ms"] > 0
    assert found["planning_ms"] > 0
    (read,) = [node for node in found["plan"] if node["index"] == "idx_tickets_status"]
    assert read["relation"] == "tickets"
    if desk.engine == "postgres":
        assert found["estimated_rows"] >= 1
        assert read["actual_rows"] == 5
        assert found["blocks"]["hit"] + found["blocks"]["read"] > 0
        assert all(node["time_ms"] >= 0 for node in found["plan"])


def test_a_plan_names_what_was_scanned_whole(desk: Desk) -> None:
    found = desk.plan("note=gte.a&order=note", desk.all)
    assert found["scans"] == ["tickets"]
    assert not found["index_used"]
    assert found["indexes"] == []
    assert found["actual_rows"] == 50, "a page, without the row that tells of the next"
    assert desk.plan("note=eq.n", desk.all)["scans"] == ["tickets"], "an index that only orders narrows nothing down"


def test_a_json_query_includes_and_groups_are_explained(desk: Desk) -> None:
    body = {"filter": {"status": "s7-0"}, "include": ["replies"], "limit": 3}
    answer = desk.service.client.post("/api/db/tickets/query?explain=true", json=body, headers=desk.all)
    assert answer.status_code == 200, answer.text
    found = answer.json()["data"]
    assert {node["relation"] for node in found["plan"]} >= {"tickets", "replies"}
    assert {"idx_tickets_status", "idx_replies_ticket"} <= set(found["indexes"])
    assert found["actual_rows"] == 3

    grouped = desk.plan("select=status,count()&status=in.(s7-0,s8-0)", desk.acme)
    assert (grouped["operation"], grouped["actual_rows"]) == ("aggregate", 2)
    after = desk.get("limit=2", desk.acme).json()["page"]["next_cursor"]
    assert desk.plan(f"limit=2&cursor={after}", desk.acme)["actual_rows"] == 2


def test_only_who_has_admin_sees_a_plan(desk: Desk) -> None:
    reader = desk.key("reader", "acme", "tickets:read,create,update,delete,aggregate,search,export,migrate")
    for answer in (
        desk.get("explain=true", reader),
        desk.service.client.post("/api/db/tickets/query?explain=true", json={}, headers=reader),
        desk.service.client.get("/rest/v1/tickets", headers=reader | {"Accept": "application/vnd.pgrst.plan+json"}),
    ):
        assert answer.status_code == 403, answer.text
        assert "node_type" not in answer.text
    blind = desk.key("blind", "acme", "tickets:admin")
    assert desk.get("explain=true", blind).status_code == 403, "a plan runs the read, which needs its own permission"
    assert desk.get("explain=false", reader).json()["data"][0]["id"] == 0


def test_other_values_of_explain_are_refused(desk: Desk) -> None:
    for query in ("explain=yes", "explain=", "explain=1", "explain=eq.true", "explain=true&explain=true", "explain"):
        answer = desk.get(query, desk.acme)
        assert answer.status_code == 400, (query, answer.text)
        assert answer.json()["error"]["code"] == "invalid_parameter"
        posted = desk.service.client.post(f"/api/db/tickets/query?{query}", json={}, headers=desk.acme)
        assert posted.status_code == 400, (query, posted.text)
    assert desk.service.client.post("/api/db/tickets/query?explain=true&limit=1", json={}, headers=desk.acme).status_code == 400
    assert len(desk.get("and=(explain.eq.eq)&limit=2", desk.acme, "replies").json()["data"]) == 2, "a field may have the name"


def test_a_plan_tells_nothing_of_values_nor_of_other_tenants(desk: Desk) -> None:
    """Whether the rival has a status must not show in any number: an index is read before the tenants are compared."""
    there, nowhere = (desk.plan(f"status=eq.{status}", desk.acme) for status in ("s9-1", "s9-7"))
    for found in (there, nowhere):
        text = json.dumps(found)
        assert "s9-" not in text
        assert "acme" not in text
        assert "rival" not in text
        assert "SELECT" not in text
        assert found["actual_rows"] == 0
        assert found["blocks"] is None
        assert set(found["plan"][0]) == {"node_type", "depth", "relation", "index", "estimated_rows", "actual_rows", "time_ms"}
        assert all(not node["actual_rows"] for node in found["plan"] if node["relation"] == "tickets")
    assert desk.plan("note=eq.n&order=note", desk.acme)["actual_rows"] == 50
    filtered = desk.key("few", "*", "*:*", options=("--row-filter", 'tickets:{"status": "s1-0"}'))
    limited = desk.plan("note=eq.n", filtered)
    assert (limited["actual_rows"], limited["blocks"]) == (5, None)


def test_a_plan_is_not_shown_inside_of_a_transaction(desk: Desk) -> None:
    begun = desk.service.client.post("/api/db/transaction/begin", json={}, headers=desk.acme)
    inside = desk.acme | {"X-Transaction-ID": begun.json()["data"]["transaction_id"]}
    refused = desk.get("explain=true", inside)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_parameter")
    assert desk.get("limit=1", inside).status_code == 200


def test_the_wire_of_postgrest_answers_a_plan_by_its_media_type(desk: Desk) -> None:
    headers = {"Accept": "application/vnd.pgrst.plan+json"}
    answer = desk.service.client.get("/rest/v1/tickets?status=eq.s7-0", headers=desk.all | headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/vnd.pgrst.plan+json")
    assert answer.json()["indexes"] == ["idx_tickets_status"]
    text = desk.service.client.get("/rest/v1/tickets", headers=desk.all | {"Accept": "application/vnd.pgrst.plan+text"})
    assert (text.status_code, text.json()["code"]) == (406, "PGRST107")


def test_openapi_describes_the_parameter_to_who_may_use_it(desk: Desk) -> None:
    reader = desk.key("described", "acme", "tickets:read")
    for caller, told in ((desk.acme, True), (reader, False)):
        paths = desk.service.client.get("/openapi.json", headers=caller).json()["paths"]
        for call in (paths["/api/db/tickets"]["get"], paths["/api/db/tickets/query"]["post"]):
            assert ("explain" in {item.get("name") for item in call["parameters"]}) == told
