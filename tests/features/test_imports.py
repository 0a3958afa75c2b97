"""What an import creates is what single creates make: the same documents, companion rows, limits and references."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx2
import pytest

from tests.features.shop import CONFIG, OF_TENANT, Document, Shop
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresServer
from tests.servers.prepared import ENGINES, running

TYPES = {
    "small": "integer", "large": "bigint", "real": "float", "price": "decimal(12,2)", "plain": "text", "short": "string(20)",
    "truth": "boolean", "uid": "uuid", "day": "date", "moment": "datetime", "data": "json", "raw": "binary", "kind": "enum(a,b)",
    "tags": "text[]",
    "prices": "decimal[]", "moments": "datetime[]", "uids": "uuid[]", "hush": "text",
}  # fmt: skip
KINDS: Document = {
    "name": "kinds",
    "fields": [
        {"name": "id", "type": "integer", "constraints": ["primary_key"]},
        {"name": "client_id", "type": "string(255)"},
        *({"name": name, "type": kind} for name, kind in TYPES.items()),
    ],
    "security": OF_TENANT | {"hidden": ["hush"]},
    "audit": True,
    "versioned": True,
}
FULL: Document = {
    "small": -5, "large": 2**62, "real": 0.1, "price": 12.5, "plain": 'é, "quoted"\n', "short": "s", "truth": True,
    "uid": "0190a6c2-7b1e-7cc3-98c4-dc0c0c07398f", "day": "0900-02-28", "moment": "2024-02-29T23:59:59.123456Z",
    "data": {"k": [1, 2.50, None, "\u2028"]}, "raw": "AAEC/w==", "kind": "b", "tags": ["x", ""], "prices": [1.10],
    "moments": ["2024-01-01T00:00:00Z"], "uids": ["0190a6c2-7b1e-7cc3-98c4-dc0c0c07398f"],
}  # fmt: skip
MANY = 120
"""More than two statements of SQLite's, and some that are left over."""


@pytest.fixture(scope="module", params=ENGINES)
def shop(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[Shop]:
    """The shop over each engine, with a collection of every type."""
    with running(request.param, CONFIG | {"collections": [*CONFIG["collections"], KINDS]}, postgres) as service:
        yield Shop(service)


def load(service: PorticoProcess, name: str, documents: list[Document], headers: dict[str, str]) -> httpx2.Response:
    """An import of NDJSON."""
    lines = "".join(json.dumps(document) + "\n" for document in documents)
    return service.client.post(f"/api/db/{name}/import", content=lines, headers=headers | {"Content-Type": "application/x-ndjson"})


def listed(shop: Shop, name: str, query: str) -> list[Document]:
    """The documents that match, as Acme sees them."""
    answer = shop.service.client.get(f"/api/db/{name}?{query}&limit=1000", headers=shop.acme)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["data"])


def test_imported_documents_and_their_companion_rows_are_those_of_single_creates(shop: Shop) -> None:
    for body in ({"id": 1, **FULL}, {"id": 2}):
        shop.service.client.post("/api/db/kinds", json=body, headers=shop.acme).raise_for_status()
    bodies = [{"id": 10 + place, **(FULL if place % 2 else {})} for place in range(MANY)]
    bodies.sort(key=len)  # those of one shape go out together
    made = load(shop.service, "kinds", bodies, shop.acme)
    assert (made.status_code, made.json()["data"]) == (201, {"count": MANY}), made.text
    rows = {row.pop("id"): row for row in listed(shop, "kinds", "order=id")}
    assert len(rows) == MANY + 2
    assert all(rows[10 + place] == rows[1 if place % 2 else 2] for place in range(MANY))
    audits = shop.service.client.get("/api/db/audit?collection=kinds&limit=1000", headers=shop.all).json()["data"]
    kept = {row["document_key"]: row for row in audits}
    assert len(kept) == len(audits) == MANY + 2
    own = ("id", "position", "at", "correlation_id", "document_key", "after")
    for place in range(MANY):
        ours, theirs = kept[str(10 + place)], kept["1" if place % 2 else "2"]
        assert ours["after"] | {"id": 0} == theirs["after"] | {"id": 0}
        same = {name: value for name, value in ours.items() if name not in own}
        assert same == {name: value for name, value in theirs.items() if name not in own}
    for key in ("10", "129"):
        (version,) = shop.service.client.get(f"/api/db/kinds/{key}/history", headers=shop.acme).json()["data"]
        assert (version["version"], version["operation"]) == (1, "create")


def test_rows_may_refer_to_those_before_them_and_to_no_other_tenants(shop: Shop) -> None:
    chain = [{"id": 1000 + place, "name": "chain", "referred_by": 999 + place if place else None} for place in range(MANY)]
    assert load(shop.service, "customers", chain, shop.acme).json()["data"] == {"count": MANY}
    assert len(listed(shop, "customers", "name=eq.chain&client_id=eq.acme")) == MANY
    wrong = [{"id": 2000 + place, "name": "wrong", "referred_by": 51 if place in {7, 70} else 1} for place in range(MANY)]
    refused = load(shop.service, "customers", wrong, shop.acme)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "unknown_reference"), refused.text
    assert [error["line"] for error in refused.json()["error"]["details"]["errors"]] == [8, 71]
    assert listed(shop, "customers", "name=eq.wrong") == []


def test_what_belongs_to_another_tenant_through_its_parent_is_not_imported(shop: Shop) -> None:
    lines = [{"id": 5000 + place, "order_id": 10, "product_id": 7, "total": 1.5} for place in range(MANY)]
    assert load(shop.service, "order_lines", lines, shop.acme).json()["data"] == {"count": MANY}
    foreign = [line | {"id": line["id"] + MANY, "order_id": 60 if place == 60 else 10} for place, line in enumerate(lines)]
    refused = load(shop.service, "order_lines", foreign, shop.acme)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "unknown_reference"), refused.text
    assert [error["line"] for error in refused.json()["error"]["details"]["errors"]] == [61]
    assert len(listed(shop, "order_lines", "id=gte.5000")) == MANY


def test_what_names_no_parent_is_nobodys_and_refused_however_it_is_created(shop: Shop) -> None:
    for headers, path, body in (
        (shop.acme, "/api/db/order_lines", {"id": 5900}),
        (shop.acme, "/api/db/order_lines", [{"id": 5900}, {"id": 5901}]),
        (shop.acme | {"Prefer": "resolution=merge-duplicates"}, "/api/db/order_lines", {"id": 5900}),
    ):
        refused = shop.service.client.post(path, json=body, headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "unknown_reference"), refused.text
    imported = load(shop.service, "order_lines", [{"id": 5900 + place} for place in range(MANY)], shop.acme)
    assert (imported.status_code, imported.json()["error"]["code"]) == (422, "unknown_reference"), imported.text
    assert listed(shop, "order_lines", "id=gte.5900&id=lt.6100") == []
    everything = shop.service.client.post("/api/db/order_lines", json={"id": 5900}, headers=shop.all | {"Prefer": "tx=rollback"})
    assert everything.status_code == 201, everything.text


def test_rows_of_several_clients_keep_to_those_that_the_caller_may_act_for(shop: Shop) -> None:
    mixed = [{"id": 7000 + place, "name": "mixed", "client_id": "zeta" if place == 55 else "acme"} for place in range(MANY)]
    refused = load(shop.service, "labels", mixed, shop.acme)
    assert refused.status_code == 422
    assert [error["line"] for error in refused.json()["error"]["details"]["errors"]] == [56]
    assert load(shop.service, "labels", mixed, shop.all).json()["data"] == {"count": MANY}
    assert len(listed(shop, "labels", "name=eq.mixed")) == MANY - 1


def test_an_import_into_no_collection_is_not_found_and_one_without_permission_forbidden(shop: Shop) -> None:
    missing = load(shop.service, "nowhere", [{"id": 1}] * 3, shop.acme)
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "collection_not_found")
    forbidden = load(shop.service, "orders", [{"id": 1}] * 3, shop.callers["few"])
    assert (forbidden.status_code, forbidden.json()["error"]["code"]) == (403, "forbidden")


def test_an_import_with_a_key_of_its_own_is_applied_once(shop: Shop) -> None:
    labels = [{"id": 8000 + place, "name": "once"} for place in range(MANY)]
    headers = shop.acme | {"Idempotency-Key": "labels-once"}
    first, second = (load(shop.service, "labels", labels, headers) for _ in range(2))
    assert (first.status_code, second.status_code, second.headers["idempotency-replayed"]) == (201, 201, "true")
    assert len(listed(shop, "labels", "name=eq.once")) == MANY


def test_a_dry_run_of_an_import_writes_nothing(shop: Shop) -> None:
    labels = [{"id": 9000 + place, "name": "dry"} for place in range(MANY)]
    assert load(shop.service, "labels", labels, shop.acme | {"Prefer": "tx=rollback"}).json()["data"] == {"count": MANY}
    assert listed(shop, "labels", "name=eq.dry") == []
