"""Includes as an attacker would use them: another tenant's documents, hidden fields, collections that are not granted, names that leak."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.features.shop import CONFIG, Shop
from tests.servers.postgres import PostgresServer
from tests.servers.prepared import ENGINES, running


@pytest.fixture(scope="module", params=ENGINES)
def shop(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[Shop]:
    """The shop over each engine."""
    with running(request.param, CONFIG, postgres) as service:
        yield Shop(service)


HIDDEN, FORBIDDEN, UNKNOWN = (403, "hidden_field"), (403, "forbidden"), (400, "unknown_relation")
OF_TWO = "select=id,note,...customer(buyer:name)"

ATTACKS = [
    # what is tried, by whom, the call, and what it must get: documents, or a status with a code
    ("a hidden field of a related document", "acme", "orders?select=id,customer(phone)", HIDDEN),
    ("the same, renamed and cast", "acme", "orders?select=id,customer(x:phone::text)", HIDDEN),
    ("the same, spread", "acme", "orders?select=id,...customer(phone)", HIDDEN),
    ("a filter by it", "acme", "orders?select=id,customer(name)&customer.phone=like.1*", HIDDEN),
    ("a filter by it inside of or", "acme", "orders?select=id,customer(name)&customer.or=(name.eq.Ann,phone.eq.1)", HIDDEN),
    ("an order by it", "acme", "orders?select=id,customer()&order=customer(phone)", HIDDEN),
    ("an order by it among related documents", "acme", "customers?select=id,c:customers_referred_by(id)&c.order=phone", HIDDEN),
    ("every field of a related document", "acme", "orders?select=customer(*)&id=eq.12", [
        {"customer": {"id": 2, "client_id": "acme", "name": "Ben", "referred_by": 1}}
    ]),
    ("a field that the key hides, one level down", "narrow", "customers?select=id,orders!customer_id(margin)", HIDDEN),
    ("a filter by it, two levels down", "narrow",
     "order_lines?select=id,order(id,customer(orders!customer_id(id)))&order.customer.orders.margin=gt.5", HIDDEN),
    ("the value of a hidden field through its relation", "narrow", "orders?select=id,payer:billing_id(id)", HIDDEN),
    ("the same from the other side", "narrow", "customers?select=id,orders!billing_id(id)", HIDDEN),
    ("the same as a mere filter", "narrow", "customers?select=id,orders!billing_id()&orders=not.is.null", HIDDEN),
    ("a collection that the key does not read", "few", "orders?select=id,order_lines(total)", FORBIDDEN),
    ("the same as a mere filter", "few", "orders?select=id,order_lines()&order_lines=is.null", FORBIDDEN),
    ("the same, two levels down", "few", "customers?select=id,orders!customer_id(order_lines(id))", FORBIDDEN),
    ("a join collection that the key does not read", "few", "orders?select=id,labels(name)", FORBIDDEN),
    ("an order by a field of what the key does not read", "few", "order_lines?select=id,product()&order=product(name)", FORBIDDEN),
    ("a collection of undeclared tenancy", "acme", "orders?select=id,ledger(sum)", UNKNOWN),
    ("the same as a mere filter", "acme", "orders?select=id,ledger()&ledger=not.is.null", UNKNOWN),
    ("the same by a key for everything, as one client", "all as acme", "orders?select=id,ledger(sum)", UNKNOWN),
    ("the same by a key for everything", "all", "orders?select=id,ledger(sum)&id=eq.10", [{"id": 10, "ledger": [{"sum": 1}]}]),
    ("another tenant's documents that refer to mine", "acme", "customers?select=id,orders!customer_id(id)&id=eq.1", [
        {"id": 1, "orders": [{"id": 10}, {"id": 11}]}
    ]),
    ("my documents that refer to another tenant's", "zeta", "orders?select=id,customer(name),payer:billing_id(name)", [
        {"id": 60, "customer": None, "payer": {"name": "zeta-secret"}}
    ]),
    ("the same, spread", "zeta", "orders?select=id,...customer(name)", [{"id": 60, "name": None}]),
    ("whether they exist, by an inner include", "zeta", "orders?select=id,customer!inner(id)", []),
    ("whether they exist, by a null filter", "zeta", "orders?select=id,customer()&customer=not.is.null", []),
    ("what they hold, by a filter", "zeta", "orders?select=id,customer()&customer.name=eq.Ann&customer=not.is.null", []),
    ("what they hold, by the order", "zeta", "orders?select=id,customer()&order=customer(name).desc.nullslast", [{"id": 60}]),
    ("another tenant's label on my order", "acme", "orders?select=id,labels(name)&id=eq.10", [
        {"id": 10, "labels": [{"name": "urgent"}, {"name": "gift"}]}
    ]),
    ("my label on another tenant's order", "acme", "labels?select=id,orders(id)&id=eq.20", [{"id": 20, "orders": [{"id": 10}]}]),
    ("another tenant's label on my order, from its side", "zeta", "labels?select=id,orders(id)", [{"id": 70, "orders": [{"id": 60}]}]),
    ("shared documents as a way to another tenant's", "zeta", "products?select=id,order_lines(id,order(note))&id=eq.7", [
        {"id": 7, "order_lines": [{"id": 150, "order": {"note": "zeta-secret"}}]}
    ]),
    ("the same, back and forth", "acme", "products?select=id,order_lines(order(customer(orders!customer_id(note))))&id=eq.8", [
        {"id": 8, "order_lines": [{"order": {"customer": {"orders": [{"note": "first"}, {"note": "second"}]}}}]}
    ]),
    ("documents that a row filter takes away", "filtered", "orders?select=id,order_lines(id)&order=id&id=lte.11", [
        {"id": 10, "order_lines": [{"id": 100}]}, {"id": 11, "order_lines": [{"id": 102}]}
    ]),
    ("whether they exist", "filtered", "orders?select=id,order_lines()&order_lines=not.is.null&order=id", [{"id": 10}, {"id": 11}]),
    ("a join that a row filter takes away", "filtered", "orders?select=id,labels(id)&order=id&id=lte.11", [
        {"id": 10, "labels": [{"id": 20}]}, {"id": 11, "labels": []}
    ]),
    ("a hidden field's sum", "acme", "customers?select=id,customers_referred_by(phone.max())", HIDDEN),
    ("groups by it", "acme", "customers?select=id,customers_referred_by(phone,count())", HIDDEN),
    ("groups by it, spread", "acme", "orders?select=count(),...customer(phone)", HIDDEN),
    ("its extremes, spread", "acme", "orders?select=...customer(phone.max())", HIDDEN),
    ("groups by a document with it", "acme", "orders?select=count(),customer(phone)", HIDDEN),
    ("an order of groups by it", "acme", "orders?select=count(),...customer(name)&order=customer(phone)", HIDDEN),
    ("arrays of it", "acme", "customers?select=id,...customers_referred_by(phones:phone)", HIDDEN),
    ("arrays in its order", "acme", "customers?select=id,...c:customers_referred_by(n:name)&c.order=phone", HIDDEN),
    ("a filter of what is summed by it", "acme", "customers?select=id,c:customers_referred_by(count())&c.phone=eq.1", HIDDEN),
    ("sums that the key hides, two levels down", "narrow",
     "order_lines?select=id,order(customer(orders!customer_id(margin.sum())))", HIDDEN),
    ("sums of what the key does not read", "few", "orders?select=id,order_lines(total.sum())", FORBIDDEN),
    ("arrays of what the key does not read", "few", "orders?select=id,...order_lines(t:total)", FORBIDDEN),
    ("sums of what the key reads and may not aggregate", "few", "customers?select=id,orders!customer_id(margin.sum())", FORBIDDEN),
    ("groups of what the key reads and may not aggregate", "few", "orders?select=count(),...customer(name)", FORBIDDEN),
    ("another tenant's documents summed with mine", "acme", "customers?select=id,orders!customer_id(count(),margin.sum())&id=eq.1", [
        {"id": 1, "orders": [{"count": 2, "sum": 11}]}
    ]),
    ("the same as arrays", "acme", "customers?select=id,...orders!customer_id(notes:note)&id=eq.1", [
        {"id": 1, "notes": ["first", "second"]}
    ]),
    ("my groups by another tenant's fields", "zeta", "orders?select=count(),...customer(name,c:count())", [
        {"count": 1, "name": None, "c": 0}
    ]),
    ("my groups by another tenant's documents", "zeta", "orders?select=count(),customer(name)", [{"count": 1, "customer": None}]),
    ("shared documents summed over both", "zeta", "products?select=id,order_lines(count(),total.sum())&id=eq.7", [
        {"id": 7, "order_lines": [{"count": 1, "sum": 1}]}
    ]),
    ("labels of both, as arrays", "acme", "orders?select=id,...labels(l:name)&id=eq.10", [{"id": 10, "l": ["urgent", "gift"]}]),
    ("labels of both, counted", "acme", "orders?select=id,labels(count())&id=eq.10", [{"id": 10, "labels": [{"count": 2}]}]),
    ("what a row filter takes away, summed", "filtered", "orders?select=id,order_lines(total.sum()),labels(count())&id=eq.10", [
        {"id": 10, "order_lines": [{"sum": 9.5}], "labels": [{"count": 1}]}
    ]),
    ("sums of a collection of undeclared tenancy", "acme", "orders?select=id,ledger(sum.sum())", UNKNOWN),
    ("SQL in the alias of an array", "acme", "orders?select=id,...labels(\"x');--\":name)&id=eq.11", [{"id": 11, "x');--": ["gift"]}]),
    ("SQL in the alias of a sum", "acme", "orders?select=id,labels(\"x');--\":count())&id=eq.11", [{"id": 11, "labels": [{"x');--": 1}]}]),
    ("SQL in an alias", "acme", "orders?select=\"x\"\"'); DROP TABLE orders;--\":customer(name)&id=eq.12", (400, "invalid_parameter")),
    ("SQL in a relation's name", "acme", "orders?select=\"customer' OR 1=1--\"(name)&id=eq.12", UNKNOWN),
    ("a relation of the system", "acme", "orders?select=id,pg_class(*)", UNKNOWN),
]  # fmt: skip


def outcome(shop: Shop, caller: str, path: str) -> object:
    """The documents that a call gets, or its status and code."""
    answer = shop.get(path, shop.callers[caller]).json()
    return answer["data"] if answer["success"] else (shop.get(path, shop.callers[caller]).status_code, answer["error"]["code"])


@pytest.mark.parametrize(("attack", "caller", "path", "expected"), ATTACKS)
def test_an_include_reaches_nothing_that_a_read_would_not(shop: Shop, attack: str, caller: str, path: str, expected: object) -> None:
    assert outcome(shop, caller, path) == expected, attack


def test_errors_name_no_relation_that_the_caller_may_not_know_of(shop: Shop) -> None:
    for path in ("orders?select=id,ledgr(sum)", "orders?select=id,ledger!order_id(sum)", "orders?select=id,ledger(secret)"):
        status, error = shop.error(path)
        assert (status, error["code"]) == UNKNOWN
        assert error["hint"] is None or "ledger" not in error["hint"]
    assert shop.error("orders?select=id,ledgr(sum)", shop.all)[1]["hint"] == "Did you mean 'ledger'?"


def test_an_attack_leaves_the_documents_as_they_were(shop: Shop) -> None:
    assert len(shop.data("orders")) == 4
