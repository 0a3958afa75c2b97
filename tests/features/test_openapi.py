"""The OpenAPI document, the interactive docs and the schema documents, as the service answers them."""

import json

from tests.conftest import StartPortico
from tests.servers.portico import PorticoProcess
from tests.servers.waiting import wait_until

INVOICES = {
    "name": "invoices",
    "fields": [
        {"name": "id", "type": "uuid", "default_value": "uuid7", "constraints": ["primary_key"]},
        {"name": "client_id", "type": "string(255)", "required": True},
        {"name": "total", "type": "decimal(12,2)", "required": True, "constraints": ["min:0"]},
        {"name": "status", "type": "string(50)", "default_value": "draft", "constraints": ["in:draft,sent,paid"]},
    ],
    "security": {"access_control": "tenant", "tenant_field": "client_id"},
}


def key_for(process: PorticoProcess, allow: str, clients: str) -> str:
    """A key of a new service."""
    made = process.run("key", "create", "--service", "reader", "--allow", allow, "--clients", clients, "--json")
    assert made.returncode == 0, made.stderr
    return str(json.loads(made.stdout)["key"])


def test_every_collection_is_described_with_its_own_fields(portico: StartPortico) -> None:
    document = portico(config={"collections": [INVOICES]}).client.get("/openapi.json").raise_for_status().json()
    assert document["openapi"] == "3.1.0"
    properties = document["components"]["schemas"]["invoices"]["properties"]
    assert properties["id"] == {"type": "string", "format": "uuid"}
    assert properties["status"]["enum"] == ["draft", "sent", "paid", None]
    assert properties["total"]["minimum"] == 0
    assert document["components"]["schemas"]["invoicesCreate"]["required"] == ["total"]
    assert set(document["paths"]["/api/db/invoices/{id}"]) == {"parameters", "get", "put", "patch", "delete"}
    assert {"/clients", "/clients/{client_id}/documents/{id}", "/events", "/api/db/users/query"} <= set(document["paths"])


def test_migrations_are_described_with_every_operation(portico: StartPortico) -> None:
    described = portico().client.get("/openapi.json").json()["paths"]
    assert set(described["/api/db/migrations"]) == {"get", "post"}
    assert {"/api/db/migrations/status", "/api/db/migrations/{key}/rollback"} <= set(described)
    operations = described["/api/db/migrations"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]["operations"]
    assert set(operations["items"]["properties"]) == {
        "create_collection", "drop_collection", "add_field", "drop_field", "alter_field", "rename_field", "add_index", "drop_index",
        "add_relation", "drop_relation", "set_security", "set_partitioning", "update_data", "run_sql",
    }  # fmt: skip


def test_hidden_fields_are_not_described(portico: StartPortico) -> None:
    document = portico().client.get("/openapi.json").json()
    assert "password_hash" not in document["components"]["schemas"]["users"]["properties"]
    assert "password_hash" not in document["components"]["schemas"]["usersCreate"]["properties"]


def test_every_reference_in_the_document_leads_somewhere(portico: StartPortico) -> None:
    document = portico().client.get("/openapi.json").json()

    def references(value: object) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [found for inner in value.values() for found in references(inner)]
        return [found for inner in value for found in references(inner)] if isinstance(value, list) else []

    for reference in references(document):
        place = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def test_the_document_changes_with_the_catalog(portico: StartPortico, postgres) -> None:
    database = postgres.new_database()
    try:
        database.execute("CREATE TABLE books (id bigint PRIMARY KEY, title text); GRANT SELECT ON books TO appuser")
        main = {"type": "postgresql", "connection_string": database.dsn(), "discover": ["public"]}
        client = portico(config={"databases": {"main": main}}).client
        before = client.get("/openapi.json")
        assert "/api/db/books" in before.json()["paths"]
        assert client.get("/openapi.json", headers={"If-None-Match": before.headers["etag"]}).status_code == 304
        database.execute("ALTER TABLE books ADD COLUMN year integer")

        def described() -> bool:
            return "year" in client.get("/openapi.json").json()["components"]["schemas"]["books"]["properties"]

        wait_until(described, within=4, what="the new column")
    finally:
        database.drop()


def test_a_caller_is_shown_what_it_may_use_and_no_more(portico: StartPortico) -> None:
    process = portico(config={"auth": {"required": True}})
    assert process.client.get("/openapi.json").status_code == 401
    headers = {"X-API-Key": key_for(process, "document_metadata:read", "acme")}
    document = process.client.get("/openapi.json", headers=headers).raise_for_status().json()
    collections = {path.split("/")[3] for path in document["paths"] if path.startswith("/api/db/")}
    assert "document_metadata" in collections
    assert {"users", "events"}.isdisjoint(collections)
    assert "post" not in document["paths"]["/api/db/document_metadata"]


def test_schema_documents_are_given_to_who_may_read(portico: StartPortico) -> None:
    process = portico(config={"auth": {"required": True}})
    headers = {"X-API-Key": key_for(process, "document*:read", "acme")}
    found = process.client.get("/api/db/schema", headers=headers).raise_for_status().json()["data"]
    assert [document["name"] for document in found] == ["document_metadata", "documents"]
    one = process.client.get("/api/db/schema/documents", headers=headers).raise_for_status().json()["data"]
    assert one["fields"][0] == {
        "name": "document_id",
        "type": "uuid",
        "required": True,
        "default_value": "uuid7",
        "constraints": ["primary_key"],
    }
    assert process.client.get("/api/db/schema/users", headers=headers).status_code == 403
    assert process.client.get("/api/db/schema/events", headers=headers).status_code == 404
    assert process.client.get("/api/db/schema/nothing", headers=headers).status_code == 404


def test_the_interactive_docs_load_nothing_from_elsewhere(portico: StartPortico) -> None:
    client = portico().client
    page = client.get("/docs").raise_for_status()
    assert "://" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "start.js"):
        assert f"/docs/{asset}" in page.text
        assert client.get(f"/docs/{asset}").status_code == 200
    assert client.get("/docs/..%2fcore.py").status_code == 404


def test_the_docs_can_be_switched_off(portico: StartPortico) -> None:
    client = portico(config={"http": {"docs": False}}).client
    assert client.get("/docs").status_code == 404
    assert "docs" not in client.get("/").json()["links"]
