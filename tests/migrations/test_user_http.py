"""Migrations over HTTP: operations make, change and undo collections that are served at once and after a restart."""

from typing import Any

import httpx2
import pytest

from tests.conftest import StartPortico
from tests.servers.portico import PorticoProcess

pytestmark = pytest.mark.migrations

INVOICES = {
    "name": "invoices",
    "fields": [
        {"name": "id", "type": "uuid", "default_value": "uuid7", "constraints": ["primary_key"]},
        {"name": "client_id", "type": "string(255)", "required": True},
        {"name": "total", "type": "decimal(12,2)", "required": True, "default_value": 0.5, "constraints": ["min:0"]},
    ],
    "security": {"tenant_field": "client_id"},
}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.database)])
def service(request: pytest.FixtureRequest, portico: StartPortico) -> PorticoProcess:
    return portico(request.param)


def migrate(service: PorticoProcess, name: str, *operations: object, **more: object) -> httpx2.Response:
    return service.client.post("/api/db/migrations", json={"name": name, "operations": list(operations), **more})


def data(answer: httpx2.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()["data"]


def create(service: PorticoProcess) -> dict[str, Any]:
    made = data(migrate(service, "invoices", {"create_collection": INVOICES}), 201)
    assert isinstance(made, dict)
    return made


def test_a_collection_that_a_migration_creates_is_served_at_once_and_after_a_restart(service: PorticoProcess):
    made = create(service)
    assert (made["status"], made["name"], made["database"], made["collection_or_table"]) == ("completed", "invoices", "main", "invoices")
    document = {"client_id": "acme", "total": 2.5}
    key = data(service.client.post("/api/db/invoices", json=document), 201)["id"]
    service.process.stop()
    service.start()
    assert data(service.client.get(f"/api/db/invoices/{key}"))["total"] == 2.5
    schema = data(service.client.get("/api/db/schema/invoices"))
    assert schema["security"]["tenant_field"] == "client_id"
    assert "min:0" in next(field for field in schema["fields"] if field["name"] == "total")["constraints"]
    others = service.client.get(f"/api/db/invoices/{key}", headers={"X-Client-ID": "globex"})
    assert others.status_code == 404


def test_fields_are_added_altered_renamed_and_dropped_without_losing_documents(service: PorticoProcess):
    create(service)
    key = data(service.client.post("/api/db/invoices", json={"client_id": "acme", "total": 3}), 201)["id"]
    note = {"name": "note", "type": "text", "required": True, "default_value": "none"}
    number = {"name": "number", "type": "integer", "default_value": 7}
    added = [{"add_field": {"collection": "invoices", "field": field}} for field in (note, number)]
    data(migrate(service, "fields", *added, {"add_index": {"collection": "invoices", "index": {"fields": ["number"]}}}), 201)
    assert data(service.client.get(f"/api/db/invoices/{key}"))["note"] == "none"
    text = {"name": "number", "type": "string(20)", "required": True, "default_value": "7"}
    data(migrate(service, "type", {"alter_field": {"collection": "invoices", "field": text}}), 201)
    assert data(service.client.get(f"/api/db/invoices/{key}"))["number"] == "7"
    data(migrate(service, "rename", {"rename_field": {"collection": "invoices", "name": "number", "to": "reference"}}), 201)
    assert data(service.client.get("/api/db/invoices", params={"reference": "eq.7"}))[0]["id"] == key
    data(migrate(service, "drop", {"drop_field": {"collection": "invoices", "name": "note"}}), 201)
    found = data(service.client.get(f"/api/db/invoices/{key}"))
    assert set(found) == {"id", "client_id", "total", "reference"}
    assert found["total"] == 3


def test_data_is_updated_where_it_matches(service: PorticoProcess):
    create(service)
    for total in (1, 2):
        data(service.client.post("/api/db/invoices", json={"client_id": "acme", "total": total}), 201)
    update = {"update_data": {"collection": "invoices", "set": {"total": 9.25}, "where": {"total": 1}}}
    data(migrate(service, "update", update), 201)
    assert sorted(item["total"] for item in data(service.client.get("/api/db/invoices"))) == [2, 9.25]


def test_a_failed_migration_leaves_nothing_but_its_error(service: PorticoProcess):
    create(service)
    for _ in range(2):
        data(service.client.post("/api/db/invoices", json={"client_id": "acme"}), 201)
    before = data(service.client.get("/api/db/schema/invoices"))
    extra = {"add_field": {"collection": "invoices", "field": {"name": "extra", "type": "text"}}}
    unique = {"name": "client_id", "type": "string(255)", "required": True, "constraints": ["unique"]}
    failed = migrate(service, "unique", extra, {"alter_field": {"collection": "invoices", "field": unique}})
    assert failed.status_code == 422
    assert failed.json()["error"]["code"] == "migration_failed"
    assert "same value" in failed.json()["message"]
    assert data(service.client.get("/api/db/schema/invoices")) == before
    record = next(item for item in data(service.client.get("/api/db/migrations")) if item["name"] == "unique")
    assert record["status"] == "failed"
    assert "same value" in record["error"]
    status = data(service.client.get("/api/db/migrations/status"))
    assert status["counts"]["failed"] == 1
    assert status["unfinished"][0]["name"] == "unique"


def test_a_missing_dependency_is_409_and_an_applied_one_is_enough(service: PorticoProcess):
    operation = {"create_collection": INVOICES}
    missing = migrate(service, "invoices", operation, dependencies=["clients first"])
    assert (missing.status_code, missing.json()["error"]["code"]) == (409, "missing_dependency")
    create(service)
    note = {"add_field": {"collection": "invoices", "field": {"name": "note", "type": "text"}}}
    data(migrate(service, "note", note, dependencies=["invoices"]), 201)
    again = migrate(service, "note", note)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")


def test_a_rollback_runs_the_way_down(service: PorticoProcess):
    made = create(service)
    note = {"add_field": {"collection": "invoices", "field": {"name": "note", "type": "text"}}}
    added = data(migrate(service, "note", note, dependencies=["invoices"]), 201)
    refused = service.client.post(f"/api/db/migrations/{made['id']}/rollback")
    assert refused.status_code == 409
    for item in (added, made):
        assert data(service.client.post(f"/api/db/migrations/{item['id']}/rollback"))["status"] == "rolled_back"
    assert service.client.get("/api/db/invoices").status_code == 404
    assert service.client.post("/api/db/migrations/unknown/rollback").status_code == 404


def test_a_dry_run_shows_the_sql_and_changes_nothing(service: PorticoProcess):
    shown = data(migrate(service, "invoices", {"create_collection": INVOICES}, dry_run=True))
    assert shown["status"] == "pending"
    assert "CREATE TABLE" in shown["steps"][0]["sql"][0]
    assert service.client.get("/api/db/invoices").status_code == 404
    assert data(service.client.get("/api/db/migrations")) == []


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        ({"add_fields": {"collection": "users"}}, "add_fields"),
        ({"add_field": {"collection": "users", "field": {"name": "a", "type": "test"}}}, "'test'"),
        ({"drop_index": {"collection": "users", "index": "a"}}, "'index'"),
    ],
)
def test_what_is_no_operation_is_400_and_named(service: PorticoProcess, operation: object, said: str):
    refused = migrate(service, "wrong", operation)
    assert refused.status_code == 400
    assert said in refused.json()["message"]


def test_what_does_not_fit_the_collections_is_422_with_the_nearest_name(service: PorticoProcess):
    refused = migrate(service, "wrong", {"drop_field": {"collection": "user", "name": "role"}})
    assert refused.status_code == 422
    assert refused.json()["error"]["hint"] == "Did you mean users?"


def test_migrations_need_their_permission_and_sql_needs_admin(portico: StartPortico):
    service = portico(config={"auth": {"required": True}})

    def key(*allowed: str, clients: str = "*") -> dict[str, str]:
        options = [part for one in allowed for part in ("--allow", one)]
        made = service.run("key", "create", "--service", "s", "--clients", clients, *options)
        assert made.returncode == 0, made.stderr
        return {"X-API-Key": made.stdout.strip()}

    def ask(headers: dict[str, str], **body: object) -> int:
        return service.client.post("/api/db/migrations", headers=headers, json={"name": "m", "dry_run": True, **body}).status_code

    operations = [{"create_collection": INVOICES}]
    assert ask({}, operations=operations) == 401
    assert ask(key("*:read,create"), operations=operations) == 403
    assert ask(key("*:migrate", clients="acme"), operations=operations) == 403
    assert ask(key("other*:migrate"), operations=operations) == 403
    assert ask(key("inv*:migrate"), operations=operations) == 200
    assert ask(key("*:migrate"), script="SELECT 1") == 403
    assert ask(key("*:migrate,admin"), script="SELECT 1") == 200


@pytest.mark.database
def test_a_login_that_owns_nothing_is_told_what_to_configure(portico: StartPortico, postgres, postgres_database):
    prepared = {"main": {"type": "postgresql", "connection_string": postgres_database.dsn()}}
    owner = {"databases": {"main": prepared["main"] | {"migration_connection_string": postgres_database.dsn("migrator")}}}
    portico(config=owner, start=False).run("init-db")
    service = portico(config={"databases": prepared})
    refused = migrate(service, "invoices", {"create_collection": INVOICES})
    assert refused.status_code == 403
    assert "migration_connection_string" in refused.json()["error"]["hint"]


@pytest.mark.parametrize("header", [{"Idempotency-Key": "once"}, {"X-Transaction-ID": "tx_1"}, {"Prefer": "return=minimal, tx=rollback"}])
def test_what_only_writes_of_documents_have_is_refused_and_nothing_is_run(service: PorticoProcess, header: dict[str, str]):
    body = {"name": "invoices", "operations": [{"create_collection": INVOICES}]}
    for path in ("/api/db/migrations", "/api/db/migrations/invoices/rollback"):
        refused = service.client.post(path, json=body, headers=header)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_parameter"), refused.text
        assert refused.json()["error"]["details"] == {"header": next(iter(header)).lower()}
    assert service.client.get("/api/db/migrations", headers=header).status_code == 200
    assert service.client.get("/api/db/schema/invoices").status_code == 404


VALUED = {
    "name": "valued",
    "fields": [
        {"name": "id", "type": "integer", "constraints": ["primary_key"]},
        *({"name": kind, "type": kind} for kind in ("integer", "bigint", "float", "decimal", "date", "datetime", "uuid", "text")),
    ],
    "security": {"access_control": "shared"},
}


@pytest.mark.parametrize(
    ("field", "value"),
    [("integer", "five"), ("integer", 1.5), ("bigint", 2**63), ("float", "x"), ("decimal", "x"), ("date", "2026-02-30"), ("text", "a\0")],
)
def test_a_value_that_its_field_cannot_hold_is_refused_whatever_the_engine_would_store(
    service: PorticoProcess, field: str, value: object
) -> None:
    data(migrate(service, "valued", {"create_collection": VALUED}), 201)
    good: dict[str, object] = {"integer": 5, "float": 1, "date": "2026-02-28", "text": "a", "bigint": 2**62}
    data(service.client.post("/api/db/valued", json={"id": 1}), 201)
    data(migrate(service, "good", {"update_data": {"collection": "valued", "set": good, "where": {}}}), 201)
    refused = migrate(service, "bad", {"update_data": {"collection": "valued", "set": {field: value}, "where": {}}})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "migration_failed"), refused.text
    assert data(service.client.get("/api/db/valued/1?select=integer,float,date,text,bigint")) == good
