"""The rarer operations over HTTP: relations, security, partitions, updates; what each does to what is served, and its way back."""

from typing import Any

import pytest

from tests.migrations.test_user_http import INVOICES, create, data, migrate
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresDatabase

pytestmark = pytest.mark.migrations

LINES = {
    "name": "lines",
    "fields": [
        {"name": "id", "type": "uuid", "default_value": "uuid7", "constraints": ["primary_key"]},
        {"name": "client_id", "type": "string(255)", "required": True},
        {"name": "invoice_id", "type": "uuid"},
    ],
    "security": {"tenant_field": "client_id"},
}
RELATION = {"name": "invoice", "collection": "invoices", "local": "invoice_id", "foreign": "id"}
UNKNOWN = "01890000-0000-7000-8000-000000000001"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.database)])
def service(request: pytest.FixtureRequest, portico: Any) -> PorticoProcess:
    made: PorticoProcess = portico(request.param)
    create(made)
    data(migrate(made, "lines", {"create_collection": LINES}), 201)
    return made


def post(service: PorticoProcess, collection: str, status: int = 201, **document: object) -> Any:
    return data(service.client.post(f"/api/db/{collection}", json={"client_id": "acme"} | document), status)


def test_a_relation_is_served_and_held_by_the_database_until_it_is_dropped(service: PorticoProcess):
    invoice = post(service, "invoices")["id"]
    added = {"add_relation": {"collection": "lines", "relation": RELATION, "on_delete": "cascade"}}
    made = data(migrate(service, "relate", added), 201)
    line = post(service, "lines", invoice_id=invoice)["id"]
    refused = service.client.post("/api/db/lines", json={"client_id": "acme", "invoice_id": UNKNOWN})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "unknown_reference")
    relations = data(service.client.get("/api/db/schema/lines"))["relations"]
    assert [item["collection"] for item in relations if item["name"] == "invoice"] == ["invoices"]
    assert service.client.delete(f"/api/db/invoices/{invoice}").status_code == 204
    assert service.client.get(f"/api/db/lines/{line}").status_code == 404
    assert data(service.client.post(f"/api/db/migrations/{made['id']}/rollback"))["status"] == "rolled_back"
    post(service, "lines", invoice_id=UNKNOWN)
    again = migrate(service, "relate again", added)
    assert again.status_code == 422
    assert "do not exist" in again.json()["message"]


def test_a_relation_can_be_dropped(service: PorticoProcess):
    data(migrate(service, "relate", {"add_relation": {"collection": "lines", "relation": RELATION}}), 201)
    data(migrate(service, "unrelate", {"drop_relation": {"collection": "lines", "name": "invoice"}}), 201)
    post(service, "lines", invoice_id=UNKNOWN)
    unknown = migrate(service, "once more", {"drop_relation": {"collection": "lines", "name": "invoice"}})
    assert unknown.status_code == 422


def test_security_is_in_force_at_once_and_its_way_back_as_well(service: PorticoProcess):
    line = post(service, "lines")["id"]
    seen = {"X-Client-ID": "globex"}
    assert service.client.get(f"/api/db/lines/{line}", headers=seen).status_code == 404
    opened = {"set_security": {"collection": "lines", "security": {"access_control": "shared", "hidden": ["invoice_id"]}}}
    made = data(migrate(service, "open", opened), 201)
    assert set(data(service.client.get(f"/api/db/lines/{line}", headers=seen))) == {"id", "client_id"}
    data(service.client.post(f"/api/db/migrations/{made['id']}/rollback"))
    assert service.client.get(f"/api/db/lines/{line}", headers=seen).status_code == 404
    wrong = {"set_security": {"collection": "lines", "security": {"tenant_field": "tenant"}}}
    assert migrate(service, "wrong", wrong).status_code == 422


def test_a_failed_update_leaves_every_value_as_it_was(service: PorticoProcess):
    totals = [post(service, "invoices", total=total)["total"] for total in (1, 2, 3)]
    update = {"update_data": {"collection": "invoices", "set": {"total": 9.25}, "where": {}}}
    unique = {"name": "client_id", "type": "string(255)", "required": True, "constraints": ["unique"]}
    failed = migrate(service, "update", update, {"alter_field": {"collection": "invoices", "field": unique}})
    assert failed.status_code == 422, failed.text
    assert sorted(item["total"] for item in data(service.client.get("/api/db/invoices"))) == totals
    names = [item["name"] for item in data(service.client.get("/api/db/schema"))]
    assert not [name for name in names if "portico" in name]


@pytest.mark.database
def test_a_table_is_partitioned_and_joined_again_with_its_documents(portico: Any, postgres_database: PostgresDatabase):
    service: PorticoProcess = portico("postgres")
    create(service)
    keys = [post(service, "invoices", total=total)["id"] for total in (1, 2)]
    data(migrate(service, "index", {"add_index": {"collection": "invoices", "index": {"name": "idx_totals", "fields": ["total"]}}}), 201)
    parts = {"strategy": "hash", "key": "client_id", "partitions": 4}
    made = data(migrate(service, "split", {"set_partitioning": {"collection": "invoices", "partitioning": parts}}), 201)
    assert [data(service.client.get(f"/api/db/invoices/{key}"))["total"] for key in keys] == [1, 2]
    assert service.client.get(f"/api/db/invoices/{keys[0]}", headers={"X-Client-ID": "globex"}).status_code == 404
    schema = data(service.client.get("/api/db/schema/invoices"))
    assert (schema["partitioning"]["partitions"], [item["name"] for item in schema["indexes"]]) == (4, ["idx_totals"])
    post(service, "invoices", total=3)
    assert data(service.client.post(f"/api/db/migrations/{made['id']}/rollback"))["status"] == "rolled_back"
    assert sorted(item["total"] for item in data(service.client.get("/api/db/invoices"))) == [1, 2, 3]
    assert data(service.client.get("/api/db/schema/invoices"))["indexes"][0]["name"] == "idx_totals"


def test_a_table_that_others_refer_to_cannot_be_partitioned(service: PorticoProcess):
    data(migrate(service, "relate", {"add_relation": {"collection": "lines", "relation": RELATION}}), 201)
    parts = {"strategy": "hash", "key": "client_id"}
    assert migrate(service, "split", {"set_partitioning": {"collection": "invoices", "partitioning": parts}}).status_code == 422
    assert data(service.client.get("/api/db/schema/invoices"))["fields"][0]["name"] == INVOICES["fields"][0]["name"]  # type: ignore[index]
