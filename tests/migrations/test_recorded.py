"""What migrations leave in the audit and the versions: of each document that they change, and of themselves."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from tests.conftest import StartPortico
from tests.migrations.test_user_http import data, migrate
from tests.servers.portico import PorticoProcess
from tests.servers.waiting import wait_until

pytestmark = pytest.mark.migrations

BILLS: dict[str, object] = {
    "name": "bills",
    "fields": [
        {"name": "region", "type": "string(20)", "required": True, "constraints": ["primary_key"]},
        {"name": "number", "type": "integer", "required": True, "constraints": ["primary_key"]},
        {"name": "client_id", "type": "string(255)", "required": True},
        {"name": "total", "type": "decimal(12,2)", "required": True},
        {"name": "status", "type": "string(20)"},
        {"name": "code", "type": "string(20)"},
        {"name": "payload", "type": "json"},
        {"name": "at", "type": "datetime"},
    ],
    "security": {"tenant_field": "client_id", "hidden": ["code"]},
    "audit": True,
    "versioned": True,
}
KEYS = [f"n%2Cw,{number}" for number in range(1, 6)]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.database)])
def service(request: pytest.FixtureRequest, portico: StartPortico) -> PorticoProcess:
    made = portico(request.param)
    data(migrate(made, "bills", {"create_collection": BILLS}), 201)
    shared: dict[str, object] = {"region": "n,w", "status": "open", "payload": {"b": 1.50}, "at": "2026-01-02T03:04:05Z"}
    bills: list[dict[str, object]] = [{"number": number, "client_id": f"c{number % 2}", "total": number} for number in range(1, 6)]
    for bill in bills:
        data(made.client.post("/api/db/bills", json=shared | bill), 201)
    return made


def update(values: Mapping[str, object], **where: object) -> dict[str, object]:
    return {"update_data": {"collection": "bills", "set": values, "where": where}}


def rows(service: PorticoProcess, **filters: str) -> list[Any]:
    """Rows of the audit, the oldest first."""
    found: list[Any] = data(service.client.get("/api/db/audit", params={"limit": "1000"} | filters))
    return found[::-1]


def history(service: PorticoProcess, key: str) -> list[Any]:
    return list(data(service.client.get(f"/api/db/bills/{key}/history")))


def require_verified(service: PorticoProcess) -> None:
    """See that the chain has every row, and accepts each."""

    def told() -> dict[str, Any]:
        done = service.run("audit", "verify", "--json")
        return dict(json.loads(done.stdout)["main"])

    wait_until(lambda: told()["pending"] == 0, 20, "every row is chained")
    assert (told()["verified"], told()["problems"]) == (True, [])


def test_each_changed_document_has_its_audit_row_and_its_version(service: PorticoProcess):
    values = {"status": "paid", "code": "s3cret", "payload": {"a": [1, 2.50]}}
    made = data(migrate(service, "pay", update(values, client_id="c1"), down=[update({"status": "open"}, status="paid")]), 201)
    found = rows(service, correlation_id=made["id"], collection="bills")
    assert sorted(row["document_key"] for row in found) == [KEYS[0], KEYS[2], KEYS[4]]
    whose = {(row["operation"], row["service"], row["client_id"], row["document_client"], row["document_user"]) for row in found}
    assert whose == {("update", "dev", None, "c1", None)}
    row = next(row for row in found if row["document_key"] == KEYS[0])
    assert (row["before"]["status"], row["after"]["status"]) == ("open", "paid")
    assert (row["before"]["code"], row["after"]["code"]) == (None, "***")
    assert "s3cret" not in json.dumps(found)
    newest, *_ = history(service, KEYS[0])
    assert (newest["version"], newest["operation"], newest["document"]["status"]) == (2, "update", "paid")
    assert len(history(service, KEYS[1])) == 1
    data(service.client.post(f"/api/db/migrations/{made['id']}/rollback"))
    found = rows(service, correlation_id=made["id"])
    assert [row["operation"] for row in found] == [*["update"] * 3, "migrate", *["update"] * 3, "rollback"]
    assert [row["after"]["status"] for row in found[4:7]] == ["open"] * 3
    assert [version["document"]["status"] for version in history(service, KEYS[0])] == ["open", "paid", "open"]
    require_verified(service)


def test_its_images_are_those_of_any_other_change(service: PorticoProcess):
    made = data(migrate(service, "pay", update({"status": "paid"}, number=1)), 201)
    service.client.patch("/api/db/bills/n%2Cw,1", json={"status": "open"}).raise_for_status()
    (created, migrated, patched) = rows(service, collection="bills", document_key=KEYS[0])
    assert migrated["correlation_id"] == made["id"]
    assert migrated["before"] == created["after"] == patched["after"]
    assert migrated["after"] == patched["before"]
    third, second, first = history(service, KEYS[0])
    assert second["document"] == third["document"] | {"status": "paid"}
    assert [version["version"] for version in (first, second, third)] == [1, 2, 3]


def test_documents_that_keep_their_values_have_no_rows(service: PorticoProcess):
    data(migrate(service, "first", update({"status": "paid"}, number=[1, 2])), 201)
    made = data(migrate(service, "all", update({"status": "paid", "code": None})), 201)
    assert sorted(row["document_key"] for row in rows(service, correlation_id=made["id"], collection="bills")) == KEYS[2:]


def test_what_a_failed_migration_did_and_undid_is_accounted_for(service: PorticoProcess):
    unique = {"name": "client_id", "type": "string(255)", "required": True, "constraints": ["unique"]}
    steps = [update({"status": "paid"}), update({"code": "x"}, number=[1, 2])]
    failed = migrate(service, "fail", *steps, {"alter_field": {"collection": "bills", "field": unique}})
    assert failed.status_code == 422
    told = next(item for item in data(service.client.get("/api/db/migrations")) if item["name"] == "fail")
    found = rows(service, correlation_id=told["id"])
    assert (found[-1]["operation"], found[-1]["after"]["status"]) == ("migrate", "failed")
    # What the audit says that a document became last is what it is, whether the engine undid the change or never committed it.
    last = {row["document_key"]: row["after"]["status"] for row in rows(service, collection="bills")}
    assert last == dict.fromkeys(KEYS, "open")
    changed = Counter(row["document_key"] for row in found[:-1])
    assert changed in (Counter(), Counter({key: 4 if key in KEYS[:2] else 2 for key in KEYS}))
    assert {item["status"] for item in data(service.client.get("/api/db/bills"))} == {"open"}
    require_verified(service)


def test_a_migration_is_told_to_the_audit_without_its_values(service: PorticoProcess):
    field = {"name": "due", "type": "string(20)", "required": True, "default_value": "s3cret"}
    made = data(migrate(service, "due", {"add_field": {"collection": "bills", "field": field}}, update({"code": "s3cret"}, number=1)), 201)
    told, *_ = rows(service, correlation_id=made["id"], collection="bills")
    assert told["before"].keys() == told["after"].keys() >= {"due"}
    (event,) = rows(service, operation="migrate", document_key=made["id"])
    operations = [{"operation": "add_field", "collection": "bills"}, {"operation": "update_data", "collection": "bills"}]
    assert (event["collection"], event["service"]) == ("portico.migrations", "dev")
    assert event["after"] == {"name": "due", "status": "completed", "operations": operations}
    require_verified(service)


def test_sql_of_ones_own_is_said_to_be_unrecorded_and_keys_are_not_changed(service: PorticoProcess):
    sql = {"run_sql": {"sql": "CREATE TABLE beside (id integer)"}}
    shown = data(migrate(service, "sql", sql, dry_run=True))
    assert "no audit rows" in shown["steps"][0]["title"]
    made = data(migrate(service, "sql", sql), 201)
    assert made["unrecorded"] == ["run_sql"]
    (event,) = rows(service, correlation_id=made["id"])
    assert event["after"]["unrecorded"] == ["run_sql"]
    assert json.loads(service.run("migrate", "history", "--json").stdout)[-1]["unrecorded"] == ["run_sql"]
    paid = data(migrate(service, "pay", update({"status": "open"})), 201)
    assert paid["unrecorded"] == []
    refused = migrate(service, "keys", update({"number": 7}))
    assert (refused.status_code, "primary key" in refused.json()["message"]) == (422, True)
