"""Related documents in the answers of writes: what is there once they are done, on both wires, in transactions, for each kind of caller."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.features.shop import CONFIG, Document, Shop
from tests.servers.postgres import PostgresServer
from tests.servers.prepared import ENGINES, running

SHOWN = {"Prefer": "return=representation"}
UPSERT = {"Prefer": "return=representation,resolution=merge-duplicates"}


@pytest.fixture(scope="module", params=ENGINES)
def shop(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[Shop]:
    """The shop over each engine."""
    with running(request.param, CONFIG, postgres) as service:
        yield Shop(service)


def call(shop: Shop, method: str, path: str, body: object = None, *, by: str = "acme", headers: Mapping[str, str] = SHOWN) -> Any:
    """A call's answer."""
    options: Document = {} if body is None else {"json": body}
    return shop.service.client.request(method, path, headers=shop.callers[by] | dict(headers), **options)


def order(number: int, customer: int | None, **more: object) -> Document:
    """A new order of Acme's."""
    return {"id": number, "client_id": "acme", "customer_id": customer, **more}


def test_creates_answer_what_they_refer_to_and_what_refers_to_them(shop: Shop) -> None:
    one = call(shop, "POST", "/rest/v1/orders?select=id,customer(name),order_lines(id),labels(name)", order(200, 1))
    assert (one.status_code, one.json()) == (201, [{"id": 200, "customer": {"name": "Ann"}, "order_lines": [], "labels": []}])
    many = call(shop, "POST", "/rest/v1/orders?select=note,customer(name,by:referred_by(name))", [order(201, None), order(202, 2)])
    assert many.json() == [{"note": None, "customer": None}, {"note": None, "customer": {"name": "Ben", "by": {"name": "Ann"}}}]
    line = call(shop, "POST", "/rest/v1/order_lines?select=id,...order(number:id,who:customer(name))", {"id": 210, "order_id": 202})
    assert line.json() == [{"id": 210, "number": 202, "who": {"name": "Ben"}}]
    join = call(shop, "POST", "/rest/v1/order_labels?select=order(labels(name))&order.labels.name=eq.gift",
                [{"order_id": 202, "label_id": 20}, {"order_id": 202, "label_id": 21}])  # fmt: skip
    assert join.json() == [{"order": {"labels": [{"name": "gift"}]}}] * 2


def test_changes_and_upserts_answer_them_as_they_are_afterwards(shop: Shop) -> None:
    call(shop, "POST", "/rest/v1/orders", [order(220, 1), order(221, 2)])
    call(shop, "POST", "/rest/v1/order_lines", [{"id": number, "order_id": 220, "total": number} for number in (230, 231, 232)])
    path = "/rest/v1/orders?id=in.(220,221)&select=id,customer(name),order_lines(id)&order_lines.order=total.desc&order_lines.limit=2"
    changed = call(shop, "PATCH", path, {"customer_id": 3})
    assert sorted(changed.json(), key=lambda item: item["id"]) == [
        {"id": 220, "customer": {"name": "Cid"}, "order_lines": [{"id": 232}, {"id": 231}]},
        {"id": 221, "customer": {"name": "Cid"}, "order_lines": []},
    ]
    merged = call(shop, "POST", "/rest/v1/orders?select=id,customer(name)", [order(221, 1), order(222, 2)], headers=UPSERT)
    assert (merged.status_code, merged.json()) == (
        201, [{"id": 221, "customer": {"name": "Ann"}}, {"id": 222, "customer": {"name": "Ben"}}]
    )  # fmt: skip
    put = call(shop, "PUT", "/rest/v1/orders?id=eq.222&select=id,customer(name)", order(222, 1))
    assert (put.status_code, put.json()) == (200, [{"id": 222, "customer": {"name": "Ann"}}])
    kept = {"Prefer": "return=representation,resolution=ignore-duplicates"}
    ignored = call(shop, "POST", "/rest/v1/orders?select=id,customer(name)", [order(222, 2), order(223, 2)], headers=kept)
    assert ignored.json() == [{"id": 223, "customer": {"name": "Ben"}}]


def test_deletes_answer_what_was_related_before(shop: Shop) -> None:
    call(shop, "POST", "/rest/v1/orders", [order(240, 1), order(241, 2)])
    call(shop, "POST", "/rest/v1/order_labels", [{"order_id": 240, "label_id": 20}])
    gone = call(shop, "DELETE", "/rest/v1/order_labels?order_id=eq.240&select=label(name),order(id,labels(name))")
    assert gone.json() == [{"label": {"name": "urgent"}, "order": {"id": 240, "labels": [{"name": "urgent"}]}}]
    both = call(shop, "DELETE", "/rest/v1/orders?id=in.(240,241)&select=id,customer(name)")
    assert sorted(item["customer"]["name"] for item in both.json()) == ["Ann", "Ben"]
    assert call(shop, "DELETE", "/rest/v1/orders?id=in.(240,241)&select=id,customer(name)").json() == []
    assert shop.data("orders?id=in.(240,241)") == []


def test_an_inner_include_leaves_out_of_the_answer_what_is_written_all_the_same(shop: Shop) -> None:
    made = call(shop, "POST", "/rest/v1/orders?select=id,customer!inner(name)", [order(250, None), order(251, 1)])
    assert made.json() == [{"id": 251, "customer": {"name": "Ann"}}]
    changed = call(shop, "PATCH", "/rest/v1/orders?id=in.(250,251)&select=id,customer!inner(name)&customer.name=eq.Ben", {"note": "seen"})
    assert changed.json() == []
    assert {item["note"] for item in shop.data("orders?id=in.(250,251)")} == {"seen"}


def test_one_object_that_would_not_be_answered_is_not_written(shop: Shop) -> None:
    single = SHOWN | {"Accept": "application/vnd.pgrst.object+json"}
    made = call(shop, "POST", "/rest/v1/orders?select=id,customer!inner(name)", order(260, None), headers=single)
    assert (made.status_code, made.json()["code"]) == (406, "PGRST116")
    assert shop.get("orders/260").status_code == 404
    assert call(shop, "POST", "/rest/v1/orders?select=id,customer(name)", order(261, 2), headers=single).json() == {
        "id": 261, "customer": {"name": "Ben"}
    }  # fmt: skip


def test_portico_s_own_calls_take_select_and_include(shop: Shop) -> None:
    made = call(shop, "POST", "/api/db/orders?select=id&include=customer(name)", order(270, 1), headers={})
    assert (made.status_code, made.json()["data"]) == (201, {"id": 270, "customer": {"name": "Ann"}})
    assert (made.headers["location"], "etag" in made.headers) == ("/api/db/orders/270", False)
    several = call(shop, "POST", "/api/db/orders?select=id,customer(name)", [order(271, 1), order(272, 2)], headers={})
    assert [item["customer"]["name"] for item in several.json()["data"]] == ["Ann", "Ben"]
    for method, body in (("PATCH", {"customer_id": 2}), ("PUT", {"customer_id": 2})):
        changed = call(shop, method, "/api/db/orders/270?include=customer(name)&select=id", body, headers={})
        assert (changed.status_code, changed.json()["data"]) == (200, {"id": 270, "customer": {"name": "Ben"}})
    keyed = call(shop, "PATCH", "/api/db/orders?select=id,customer(name)", [{"id": 272, "customer_id": 1}, {"id": 271, "customer_id": 3}])
    assert [(item["id"], item["customer"]["name"]) for item in keyed.json()["data"]] == [(272, "Ann"), (271, "Cid")]
    gone = call(shop, "DELETE", "/api/db/orders?id=in.(271,272)&select=id,customer(name)")
    assert sorted(item["customer"]["name"] for item in gone.json()["data"]) == ["Ann", "Cid"]


def test_a_stale_condition_and_a_missing_document_are_told_as_without_includes(shop: Shop) -> None:
    stale = call(shop, "PATCH", "/api/db/orders/10?include=customer", {"note": "x"}, headers={"If-Match": '"other"'})
    assert (stale.status_code, stale.json()["error"]["code"]) == (412, "precondition_failed")
    assert call(shop, "PATCH", "/api/db/orders/99999?include=customer", {"note": "x"}).status_code == 404
    call(shop, "POST", "/rest/v1/orders", [order(281, 1), order(282, 1)])
    bounded = {"Prefer": "return=representation,max-affected=1"}
    most = call(shop, "DELETE", "/api/db/orders?id=in.(281,282)&select=id,customer(name)", headers=bounded)
    assert most.json()["error"]["code"] == "too_many_affected"
    for path in ("/api/db/orders?select=id,customer(name)", "/rest/v1/orders?select=id,customer(name)"):
        assert call(shop, "DELETE", path).status_code == 400
    quiet = call(shop, "PATCH", "/api/db/orders?id=eq.10&include=customer", {"note": "x"}, headers={})
    assert quiet.json()["error"]["hint"] == "Send Prefer: return=representation."
    assert call(shop, "POST", "/api/db/orders?include=customer&id=eq.1", order(280, 1)).json()["error"]["code"] == "unknown_parameter"
    assert call(shop, "POST", "/rest/v1/orders?select=customer(name)&note=eq.1", order(280, 1)).status_code == 400
    assert shop.get("orders/280").status_code == 404


def test_they_are_those_of_the_write_s_own_transaction(shop: Shop) -> None:
    dry = {"Prefer": "return=representation,tx=rollback"}
    undone = call(shop, "POST", "/rest/v1/orders?select=id,customer(name)", order(290, 1), headers=dry)
    assert undone.json() == [{"id": 290, "customer": {"name": "Ann"}}]
    assert shop.get("orders/290").status_code == 404
    once = SHOWN | {"Idempotency-Key": "one"}
    first = call(shop, "POST", "/rest/v1/orders?select=id,customer(name)", order(291, 1), headers=once)
    again = call(shop, "POST", "/rest/v1/orders?select=id,customer(name)", order(291, 1), headers=once)
    assert (again.status_code, again.json(), again.headers["idempotency-replayed"]) == (201, first.json(), "true")
    begun = call(shop, "POST", "/api/db/transaction/begin", {}, headers={}).json()["data"]["transaction_id"]
    inside = {"X-Transaction-ID": begun}
    call(shop, "POST", "/api/db/customers", {"id": 30, "client_id": "acme", "name": "New"}, headers=inside)
    made = call(shop, "POST", "/api/db/orders?select=id,customer(name)", order(292, 30), headers=inside)
    assert made.json()["data"] == {"id": 292, "customer": {"name": "New"}}
    gone = call(shop, "DELETE", "/api/db/orders?id=eq.292&select=id,customer(name)", headers=SHOWN | inside)
    assert gone.json()["data"] == [{"id": 292, "customer": {"name": "New"}}]
    call(shop, "POST", f"/api/db/transaction/{begun}/rollback", {}, headers={})
    assert shop.get("customers/30").status_code == 404


def test_operations_of_a_batch_include_as_well(shop: Shop) -> None:
    shown = {"fields": ["id"], "include": {"customer": {"fields": ["name"]}}}
    operations = [
        {"op": "insert", "collection": "customers", "document": {"id": 31, "client_id": "acme", "name": "Batch"}},
        {"op": "insert", "collection": "orders", "documents": [order(295, 31), order(296, 1)], **shown},
        {"op": "update", "collection": "orders", "id": 295, "changes": {"customer_id": 2}, **shown},
        {"op": "upsert", "collection": "orders", "document": order(297, {"$ref": "0.id"}), **shown},  # type: ignore[arg-type]
        {"op": "update", "collection": "orders", "filter": {"id": 297}, "changes": {"note": "n"}, "return": "representation", **shown},
        {"op": "delete", "collection": "orders", "filter": {"id": {"$gte": 295}}, "max_affected": 3, "return": "representation", **shown},
    ]
    answer = call(shop, "POST", "/api/db/transaction", {"operations": operations}, headers={})
    assert answer.status_code == 200, answer.text
    results = answer.json()["data"]
    assert results[1] == [{"id": 295, "customer": {"name": "Batch"}}, {"id": 296, "customer": {"name": "Ann"}}]
    assert results[2:4] == [{"id": 295, "customer": {"name": "Ben"}}, {"id": 297, "customer": {"name": "Batch"}}]
    assert results[4] == [{"id": 297, "customer": {"name": "Batch"}}]
    assert sorted(item["customer"]["name"] for item in results[5]) == ["Ann", "Batch", "Ben"]
    refused = {"op": "delete", "collection": "orders", "filter": {"id": 1}, **shown}
    assert call(shop, "POST", "/api/db/transaction", {"operations": [refused]}, headers={}).json()["error"]["code"] == "invalid_parameter"


REFUSED = [
    ("a hidden field", "acme", "customer(phone)", "42501"),
    ("a filter by it", "acme", "customer(name)&customer.phone=eq.1", "42501"),
    ("a field that the key hides", "narrow", "payer:billing_id(name)", "42501"),
    ("a collection that the key does not read", "few", "product(name)", "42501"),
    ("a collection of undeclared tenancy", "acme", "ledger(sum)", "PGRST200"),
    ("groups", "acme", "count(),customer(name)", "PGRST100"),
]


@pytest.mark.parametrize(("what", "by", "select", "code"), REFUSED)
def test_what_a_read_refuses_is_refused_before_anything_is_written(shop: Shop, what: str, by: str, select: str, code: str) -> None:
    name, key = ("order_lines", "order_id") if by == "few" else ("orders", "customer_id")
    made = call(shop, "POST", f"/rest/v1/{name}?select=id,{select}", {"id": 300, key: 10 if by == "few" else 1} | (
        {} if by == "few" else {"client_id": "acme"}), by=by)  # fmt: skip
    assert (made.json()["code"], shop.get(f"{name}/300").status_code) == (code, 404), what
    if by != "few":
        for method, body in (("PATCH", {"note": "changed"}), ("DELETE", None)):
            assert call(shop, method, f"/rest/v1/orders?id=eq.13&select=id,{select}", body, by=by).json()["code"] == code, what
        assert shop.data("orders/13?select=note") == {"note": "nobody's"}


def test_another_tenant_s_documents_are_answered_to_nobody(shop: Shop) -> None:
    """Zeta's order refers to Acme's customer: a write of Zeta's own tells nothing of it."""
    path = "/rest/v1/orders?id=eq.60&select=id,customer(name),payer:billing_id(name)"
    expected = [{"id": 60, "customer": None, "payer": {"name": "zeta-secret"}}]
    assert call(shop, "PATCH", path, {"note": "zeta-secret"}, by="zeta").json() == expected
    undone = SHOWN | {"Prefer": "return=representation,tx=rollback"}
    assert call(shop, "PATCH", "/rest/v1/labels?id=in.(20,70)&select=id,orders(id)", {"name": "x"}, by="zeta", headers=undone).json() == [
        {"id": 70, "orders": [{"id": 60}]}
    ]
    assert call(shop, "PATCH", "/rest/v1/orders?id=eq.60&select=id,customer(name)", {"note": "taken"}).json() == []
    lines = "/rest/v1/orders?id=eq.10&select=id,order_lines(id),labels(id)"
    assert call(shop, "PATCH", lines, {"note": "first"}, by="filtered").json() == [
        {"id": 10, "order_lines": [{"id": 100}], "labels": [{"id": 20}]}
    ]


def test_many_documents_are_read_again_by_one_statement(shop: Shop) -> None:
    """A thousand rows with what they refer to, in order."""
    rows = [order(1000 + number, 1 + number % 3) for number in range(1000)]
    made = call(shop, "POST", "/rest/v1/orders?select=id,customer(id)", rows).json()
    assert made == [{"id": row["id"], "customer": {"id": row["customer_id"]}} for row in rows]
    gone = call(shop, "DELETE", "/rest/v1/orders?id=gte.1000&select=id,customer(id)").json()
    assert sorted(item["id"] for item in gone) == [row["id"] for row in rows]
