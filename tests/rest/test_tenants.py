"""What a tenant's key reaches over PostgREST's wire: its own documents, and nothing that nobody declared."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx2
import pytest
from postgrest import SyncPostgrestClient

from tests.features.tenants import CONFIG, Tenant, metadata, tenant
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresServer
from tests.servers.prepared import over, prepared_database

UNDECLARED = """
CREATE TABLE public.secrets (id int PRIMARY KEY, word text); INSERT INTO public.secrets VALUES (1, 'secret-of-south');
CREATE VIEW public.peek AS SELECT * FROM app.document_metadata;
CREATE MATERIALIZED VIEW public.kept AS SELECT * FROM public.secrets;
CREATE FUNCTION public.all_of_it() RETURNS SETOF app.document_metadata LANGUAGE sql STABLE AS 'SELECT * FROM app.document_metadata';
CREATE FUNCTION public.as_owner() RETURNS SETOF app.document_metadata LANGUAGE sql STABLE SECURITY DEFINER
  AS 'SELECT * FROM app.document_metadata';
CREATE FUNCTION public.everybody() RETURNS SETOF app.users LANGUAGE sql STABLE AS 'SELECT * FROM app.users';
CREATE FUNCTION public.unnamed() RETURNS SETOF public.secrets LANGUAGE sql STABLE AS 'SELECT * FROM public.secrets';
CREATE FUNCTION public.widen() RETURNS text LANGUAGE sql AS
  $$SELECT set_config('portico.clients', '["north","south"]', true) || set_config('portico.all', 'on', true)$$;
CREATE FUNCTION public.linger() RETURNS void LANGUAGE plpgsql AS
  $$BEGIN
    PERFORM set_config('TimeZone', 'Asia/Tokyo', false), set_config('default_transaction_read_only', 'on', false), pg_advisory_lock(7);
    CREATE TEMP TABLE left_behind ();
  END$$;
CREATE FUNCTION public.session() RETURNS text LANGUAGE sql AS
  $$SELECT concat_ws(' ', current_setting('TimeZone'), current_setting('default_transaction_read_only'),
      (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND objid = 7), to_regclass('left_behind'))$$;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO appuser;
"""
NAMED = [{"name": name} for name in ("all_of_it", "as_owner", "everybody", "widen", "linger", "session")]


@pytest.fixture(scope="module")
def tenants(postgres: PostgresServer) -> Iterator[tuple[PorticoProcess, Tenant, Tenant]]:
    """A Portico over PostgreSQL with two tenants, tables, views and functions that nobody declared."""
    config = CONFIG | {"functions": NAMED}
    database = prepared_database(postgres, config)
    database.execute(UNDECLARED)
    process = PorticoProcess(config | over(database), warm=True)
    try:
        process.start()
        made = process.run("key", "create", "--service", "setup", "--clients", "*", "--allow", "*:*", "--json")
        headers = {"X-API-Key": json.loads(made.stdout)["key"]}
        for name in ("north", "south"):
            process.client.post("/rest/v1/clients", json={"id": name, "name": f"secret-of-{name}"}, headers=headers).raise_for_status()
        yield process, tenant(process, "north"), tenant(process, "south")
    finally:
        process.close()
        database.drop()


def ask(process: PorticoProcess, one: Tenant, method: str, path: str, **rest: object) -> httpx2.Response:
    headers = {"apikey": one.headers["X-API-Key"], "Prefer": "return=representation"}
    return process.client.request(method, f"/rest/v1{path}", headers=headers, **rest)  # type: ignore[arg-type]


def test_a_key_is_taken_where_the_clients_send_it(tenants: tuple[PorticoProcess, Tenant, Tenant]) -> None:
    process, one, _ = tenants
    key = one.headers["X-API-Key"]
    for headers in ({"apikey": key}, {"Authorization": f"Bearer {key}"}, {"apikey": key, "Authorization": f"Bearer {key}"}):
        answer = process.client.get("/rest/v1/document_metadata?select=client_id", headers=headers)
        assert {row["client_id"] for row in answer.json()} == {one.name}
    for headers in ({}, {"apikey": key + "x"}, {"apikey": "anon"}):
        refused = process.client.get("/rest/v1/document_metadata", headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (401, "PGRST301")
    with SyncPostgrestClient(f"{process.url}/rest/v1") as client:
        assert len(client.auth(key).from_("documents").select("*").execute().data) == 3


@pytest.mark.parametrize("name", ["secrets", "peek", "kept", "public.secrets", "pg_class", "pg_catalog.pg_class", "portico.audit", "audit"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"])
def test_what_nobody_declared_is_not_there(tenants: tuple[PorticoProcess, Tenant, Tenant], name: str, method: str) -> None:
    process, one, _ = tenants
    body = None if method in {"GET", "HEAD", "OPTIONS", "DELETE"} else {"id": 1}
    answer = ask(process, one, method, f"/{name}?id=eq.1" if method not in {"POST", "OPTIONS"} else f"/{name}", json=body)
    assert answer.status_code == 404, answer.text
    if method != "HEAD":
        assert answer.json()["code"] == "PGRST205"


@pytest.mark.parametrize("profile", ["portico", "pg_catalog", "information_schema", "app", "nothing"])
def test_a_profile_opens_no_schema(tenants: tuple[PorticoProcess, Tenant, Tenant], profile: str) -> None:
    process, one, _ = tenants
    for name in ("audit", "pg_class", "tables", "secrets"):
        answer = process.client.get(f"/rest/v1/{name}", headers=one.headers | {"Accept-Profile": profile})
        assert answer.status_code in {404, 406}, answer.text


def test_functions_show_what_the_tenant_may_read_and_no_hidden_field(tenants: tuple[PorticoProcess, Tenant, Tenant]) -> None:
    process, one, other = tenants
    own = ask(process, one, "POST", "/rpc/all_of_it", json={})
    assert (len(own.json()), {row["client_id"] for row in own.json()}) == (3, {one.name})
    assert not other.knows(own.text)
    people = ask(process, one, "POST", "/rpc/everybody", json={})
    assert people.status_code == 200, people.text
    assert all("password_hash" not in row for row in people.json())
    assert not other.knows(people.text)
    asked = ask(process, one, "GET", "/rpc/everybody?select=password_hash")
    assert (asked.status_code, asked.json()["code"]) == (403, "42501")


def test_what_rows_of_a_function_are_related_to_is_the_tenants_own(tenants: tuple[PorticoProcess, Tenant, Tenant]) -> None:
    process, one, other = tenants
    related = ask(process, one, "GET", "/rpc/all_of_it?select=client_id,clients(id,name)")
    assert related.status_code == 200, related.text
    assert {row["clients"]["id"] for row in related.json()} == {one.name}
    people = ask(process, one, "GET", "/rpc/everybody?select=*,document_metadata(*)")
    assert people.status_code in {200, 400}, people.text
    hidden = ask(process, one, "GET", "/rpc/all_of_it?select=client_id,users(password_hash)")
    assert hidden.status_code in {400, 403}, hidden.text
    assert not any(other.knows(answer.text) for answer in (related, people, hidden))


def test_what_a_function_sets_is_not_the_scope_of_the_calls_after_it(tenants: tuple[PorticoProcess, Tenant, Tenant]) -> None:
    process, one, other = tenants
    begun = process.client.post("/api/db/transaction/begin", json={}, headers=one.headers).json()["data"]["transaction_id"]
    inside = one.headers | {"X-Transaction-ID": begun}
    assert process.client.post("/rest/v1/rpc/widen", json={}, headers=inside).status_code == 200
    for path in ("/rpc/all_of_it", "/document_metadata"):
        rows = process.client.get(f"/rest/v1{path}", headers=inside)
        assert {row["client_id"] for row in rows.json()} == {one.name}, rows.text
        assert not other.knows(rows.text)
    process.client.post(f"/api/db/transaction/{begun}/rollback", headers=one.headers).raise_for_status()


@pytest.mark.parametrize("prefer", [{}, {"Prefer": "tx=rollback"}, None])
def test_what_a_function_does_to_its_session_is_not_there_for_others(
    tenants: tuple[PorticoProcess, Tenant, Tenant], prefer: dict[str, str] | None
) -> None:
    """Commits keep what is set for a session; a rollback keeps its locks. The connection is another caller's next."""
    process, one, other = tenants
    if prefer is None:
        begun = process.client.post("/api/db/transaction/begin", json={}, headers=one.headers).json()["data"]["transaction_id"]
        inside = one.headers | {"X-Transaction-ID": begun}
        assert process.client.post("/rest/v1/rpc/linger", json={}, headers=inside).status_code == 204
        process.client.post(f"/api/db/transaction/{begun}/commit", headers=one.headers).raise_for_status()
    else:
        assert process.client.post("/rest/v1/rpc/linger", json={}, headers=one.headers | prefer).status_code == 204
    for _ in range(3):
        assert ask(process, other, "POST", "/rpc/session", json={}).json() == "UTC off 0"


def test_functions_that_were_not_named_or_run_as_their_owner_are_refused(tenants: tuple[PorticoProcess, Tenant, Tenant]) -> None:
    process, one, _ = tenants
    for name in ("unnamed", "pg_sleep", "pg_read_file", "public.all_of_it", "pg_catalog.version", "set_config"):
        for method in ("GET", "POST"):
            answer = ask(process, one, method, f"/rpc/{name}")
            assert (answer.status_code, answer.json()["code"]) == (404, "PGRST202"), answer.text
    definer = ask(process, one, "POST", "/rpc/as_owner", json={})
    assert (definer.status_code, definer.json()["code"]) == (403, "42501")


def test_another_tenants_documents_are_neither_read_nor_changed(tenants: tuple[PorticoProcess, Tenant, Tenant]) -> None:
    process, one, other = tenants
    theirs = other.ids["document_metadata"][0]
    for method, body in (("GET", None), ("PATCH", {"summary": "x"}), ("DELETE", None)):
        answer = ask(process, one, method, f"/document_metadata?id=eq.{theirs}", json=body)
        assert (answer.status_code, answer.json()) == (200, []), answer.text
    counted = process.client.head("/rest/v1/document_metadata", headers=one.headers | {"Prefer": "count=exact"})
    assert counted.headers["content-range"].endswith("/3")
    for wish in ("", ", resolution=merge-duplicates", ", resolution=ignore-duplicates"):
        new = metadata(one, "new.txt") | {"client_id": other.name}
        headers = one.headers | {"Prefer": f"return=representation{wish}"}
        refused = process.client.post("/rest/v1/document_metadata", json=new, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "42501"), refused.text
    refused = process.client.get("/rest/v1/document_metadata", headers=one.headers | {"X-Client-ID": other.name})
    assert refused.status_code == 403
    everything = json.dumps(ask(process, other, "GET", "/document_metadata").json())
    assert other.secret in everything


def test_the_description_names_what_the_key_may_read(tenants: tuple[PorticoProcess, Tenant, Tenant]) -> None:
    process, one, _ = tenants
    text = ask(process, one, "GET", "/").text
    assert "/document_metadata" in text
    assert not any(word in text for word in ("secrets", "peek", "kept", "password_hash"))
