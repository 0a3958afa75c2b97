"""A shop of two tenants: collections that are related in every way, a key for each kind of caller, and the documents of both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx2

from tests.servers.portico import PorticoProcess

Document = dict[str, Any]


def _field(name: str, kind: str, *constraints: str) -> Document:
    return {"name": name, "type": kind, "required": "primary_key" in constraints, "constraints": list(constraints)}


OF_TENANT = {"access_control": "tenant", "tenant_field": "client_id"}
CUSTOMERS: Document = {
    "name": "customers",
    "fields": [
        _field("id", "integer", "primary_key"),
        _field("client_id", "string(255)"),
        _field("name", "text"),
        _field("phone", "text"),
        _field("referred_by", "integer", "references:customers.id"),
    ],
    "security": OF_TENANT | {"hidden": ["phone"]},
}
ORDERS: Document = {
    "name": "orders",
    "fields": [
        _field("id", "integer", "primary_key"),
        _field("client_id", "string(255)"),
        _field("customer_id", "integer", "references:customers.id"),
        _field("billing_id", "integer", "references:customers.id"),
        _field("note", "text"),
        _field("placed_at", "datetime"),
        _field("margin", "integer"),
    ],
    "security": OF_TENANT,
}
LINES: Document = {
    "name": "order_lines",
    "fields": [
        _field("id", "integer", "primary_key"),
        _field("order_id", "integer", "references:orders.id"),
        _field("product_id", "integer", "references:products.id"),
        _field("total", "decimal(12,2)"),
        _field("data", "json"),
    ],
    "security": {"access_control": "relation", "relation": "order"},
}
PRODUCTS: Document = {
    "name": "products",
    "fields": [_field("id", "integer", "primary_key"), _field("name", "text"), _field("sold", "boolean")],
    "security": {"access_control": "shared"},
}
LABELS: Document = {
    "name": "labels",
    "fields": [_field("id", "integer", "primary_key"), _field("client_id", "string(255)"), _field("name", "text")],
    "security": OF_TENANT,
}
ORDER_LABELS: Document = {
    "name": "order_labels",
    "fields": [
        _field("order_id", "integer", "primary_key", "references:orders.id"),
        _field("label_id", "integer", "primary_key", "references:labels.id"),
    ],
    "security": {"access_control": "relation", "relation": "order"},
}
LEDGER: Document = {
    "name": "ledger",
    "fields": [_field("id", "integer", "primary_key"), _field("order_id", "integer", "references:orders.id"), _field("sum", "integer")],
}
COLLECTIONS = [CUSTOMERS, ORDERS, LINES, PRODUCTS, LABELS, ORDER_LABELS, LEDGER]
CONFIG: Document = {"auth": {"required": True}, "collections": COLLECTIONS}

ACME: dict[str, list[Document]] = {
    "customers": [
        {"id": 1, "name": "Ann", "referred_by": None},
        {"id": 2, "name": "Ben", "referred_by": 1},
        {"id": 3, "name": "Cid", "referred_by": 1},
    ],
    "orders": [
        {"id": 10, "customer_id": 1, "billing_id": 2, "note": "first", "placed_at": "2026-01-02T03:04:05.600000Z", "margin": 5},
        {"id": 11, "customer_id": 1, "billing_id": None, "note": "second", "placed_at": None, "margin": 6},
        {"id": 12, "customer_id": 2, "billing_id": 2, "note": "third", "placed_at": None, "margin": 7},
        {"id": 13, "customer_id": None, "billing_id": None, "note": "nobody's", "placed_at": None, "margin": 8},
    ],
    "order_lines": [
        {"id": 100, "order_id": 10, "product_id": 7, "total": 9.5, "data": {"a": [1, "x"]}},
        {"id": 101, "order_id": 10, "product_id": 8, "total": 2, "data": None},
        {"id": 102, "order_id": 11, "product_id": 7, "total": 30.25, "data": None},
        {"id": 103, "order_id": 12, "product_id": None, "total": None, "data": None},
    ],
    "labels": [{"id": 20, "name": "urgent"}, {"id": 21, "name": "gift"}],
    "order_labels": [{"order_id": 10, "label_id": 20}, {"order_id": 10, "label_id": 21}, {"order_id": 11, "label_id": 21}],
    "ledger": [{"id": 900, "order_id": 10, "sum": 1}],
}
PRODUCTS_SOLD: list[Document] = [{"id": 7, "name": "tea", "sold": True}, {"id": 8, "name": "cup", "sold": False}]
# The other tenant's documents refer to Acme's where a database lets them: what a join could follow.
ZETA: dict[str, list[Document]] = {
    "customers": [{"id": 51, "name": "zeta-secret", "referred_by": 1}],
    "orders": [{"id": 60, "customer_id": 1, "billing_id": 51, "note": "zeta-secret", "placed_at": None, "margin": 1}],
    "order_lines": [{"id": 150, "order_id": 60, "product_id": 7, "total": 1, "data": {"of": "zeta-secret"}}],
    "labels": [{"id": 70, "name": "zeta-secret"}],
    "order_labels": [{"order_id": 60, "label_id": 70}, {"order_id": 10, "label_id": 70}, {"order_id": 60, "label_id": 20}],
}


class Shop:
    """The service with the documents of both tenants, and its callers."""

    def __init__(self, service: PorticoProcess) -> None:
        self.service = service
        self.all = self.key("all", "*", "*:*")
        for tenant, documents in (("acme", ACME), ("zeta", ZETA)):
            everything = {"products": PRODUCTS_SOLD, **documents} if tenant == "acme" else documents
            for name in ("products", "customers", "orders", "order_lines", "labels", "order_labels", "ledger"):
                self._fill(name, tenant, everything.get(name, []))
        self.acme = self.key("acme", "acme", "*:*")
        self.zeta = self.key("zeta", "zeta", "*:*")
        self.callers = {"acme": self.acme, "zeta": self.zeta, "all": self.all}
        self.callers["few"] = self.key("few", "acme", "orders:read", "customers:read", "labels:read", "order_lines:create")
        self.callers["narrow"] = self.key("narrow", "acme", "*:*", options=("--hide", "orders:margin,billing_id"))
        of_lines = ("--row-filter", 'order_lines:{"total": {"$gt": 5}}', "--row-filter", 'order_labels:{"label_id": {"$ne": 21}}')
        self.callers["filtered"] = self.key("filtered", "acme", "*:*", options=of_lines)
        self.callers["all as acme"] = self.all | {"X-Client-ID": "acme"}

    def key(self, service: str, clients: str, *allowed: str, options: tuple[str, ...] = ()) -> dict[str, str]:
        """A new key's headers."""
        rules = [part for rule in allowed for part in ("--allow", rule)]
        made = self.service.run("key", "create", "--service", service, "--clients", clients, *rules, *options, "--json")
        assert made.returncode == 0, made.stdout + made.stderr
        return {"X-API-Key": json.loads(made.stdout)["key"]}

    def _fill(self, name: str, tenant: str, documents: list[Document]) -> None:
        owned = any(field["name"] == "client_id" for item in COLLECTIONS if item["name"] == name for field in item["fields"])
        made = [item | ({"client_id": tenant} if owned else {}) for item in documents]
        if made:
            answer = self.service.client.post(f"/api/db/{name}", json=made, headers=self.all)
            assert answer.status_code == 201, answer.text

    def get(self, path: str, caller: Mapping[str, str] | None = None) -> httpx2.Response:
        """Call `/api/db/{path}`, as Acme where no other caller is given."""
        return self.service.client.get(f"/api/db/{path}", headers=dict(caller or self.acme))

    def data(self, path: str, caller: Mapping[str, str] | None = None) -> Any:
        """What a call answers."""
        answer = self.get(path, caller)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def query(self, name: str, body: Document, caller: Mapping[str, str] | None = None) -> Any:
        """What a query with a JSON body answers."""
        answer = self.service.client.post(f"/api/db/{name}/query", json=body, headers=dict(caller or self.acme))
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def error(self, path: str, caller: Mapping[str, str] | None = None) -> tuple[int, Document]:
        """The status of a call that is refused, and its error."""
        answer = self.get(path, caller)
        assert answer.status_code >= 400, answer.text
        return answer.status_code, answer.json()["error"] | {"message": answer.json()["message"]}
