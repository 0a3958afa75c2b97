"""Related documents inside of documents, over HTTP: both directions, through join collections, in levels, filtered and sorted."""

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


ANSWERS = {
    "orders?select=id,customer(name)&order=id": [
        {"id": 10, "customer": {"name": "Ann"}},
        {"id": 11, "customer": {"name": "Ann"}},
        {"id": 12, "customer": {"name": "Ben"}},
        {"id": 13, "customer": None},
    ],
    "orders?select=id,order_lines(id,total,data)&order=id&id=lt.12": [
        {"id": 10, "order_lines": [{"id": 100, "total": 9.5, "data": {"a": [1, "x"]}}, {"id": 101, "total": 2, "data": None}]},
        {"id": 11, "order_lines": [{"id": 102, "total": 30.25, "data": None}]},
    ],
    "orders?select=id,labels(name)&order=id&id=lte.12": [
        {"id": 10, "labels": [{"name": "urgent"}, {"name": "gift"}]},
        {"id": 11, "labels": [{"name": "gift"}]},
        {"id": 12, "labels": []},
    ],
    "labels?select=name,orders(note)&orders.order=note.desc": [
        {"name": "urgent", "orders": [{"note": "first"}]},
        {"name": "gift", "orders": [{"note": "second"}, {"note": "first"}]},
    ],
    "customers?select=name,customers_referred_by(name,orders!customer_id(id,order_lines(product(name,sold))))&id=eq.1": [
        {
            "name": "Ann",
            "customers_referred_by": [
                {"name": "Ben", "orders": [{"id": 12, "order_lines": [{"product": None}]}]},
                {"name": "Cid", "orders": []},
            ],
        }
    ],
    "orders?select=id,order_lines(id)&order_lines.total=gt.5&order=id&limit=2": [
        {"id": 10, "order_lines": [{"id": 100}]},
        {"id": 11, "order_lines": [{"id": 102}]},
    ],
    "orders?select=id,order_lines!inner(id)&order_lines.total=lt.5&order=id": [{"id": 10, "order_lines": [{"id": 101}]}],
    "orders?select=id,order_lines()&order_lines=is.null&order=id": [{"id": 13}],
    "orders?select=id,order_lines()&order_lines=not.is.null&order=id": [{"id": 10}, {"id": 11}, {"id": 12}],
    "orders?select=id,order_lines(),labels()&or=(order_lines.is.null,labels.not.is.null)&order=id": [{"id": 10}, {"id": 11}, {"id": 13}],
    "orders?select=id,order_lines(id)&order_lines.order=total.desc&order_lines.limit=1&order_lines.offset=1&id=eq.10": [
        {"id": 10, "order_lines": [{"id": 101}]}
    ],
    "orders?select=id,...customer(who:name)&order=id.desc&limit=2": [{"id": 13, "who": None}, {"id": 12, "who": "Ben"}],
    "order_lines?select=id,...order(note,...customer(name),labels(name))&id=eq.100": [
        {"id": 100, "note": "first", "name": "Ann", "labels": [{"name": "urgent"}, {"name": "gift"}]}
    ],
    "orders?select=id,customer(name)&order=customer(name).desc,id.desc": [
        {"id": 13, "customer": None},
        {"id": 12, "customer": {"name": "Ben"}},
        {"id": 11, "customer": {"name": "Ann"}},
        {"id": 10, "customer": {"name": "Ann"}},
    ],
    "orders?select=id,payer:billing_id(name),buyer:customer_id(name)&id=eq.10": [
        {"id": 10, "payer": {"name": "Ben"}, "buyer": {"name": "Ann"}}
    ],
    "orders?select=id,customers!billing_id(name)&id=eq.12": [{"id": 12, "customers": {"name": "Ben"}}],
    "order_lines?select=id,order!inner(id,customer!inner(name))&order.customer.name=eq.Ben": [
        {"id": 103, "order": {"id": 12, "customer": {"name": "Ben"}}}
    ],
    "orders?select=id,order_lines(note:data->a->>1)&id=eq.10": [{"id": 10, "order_lines": [{"note": "x"}, {"note": None}]}],
    "orders/10?select=placed_at,customer(name),order_lines(id)": {
        "placed_at": "2026-01-02T03:04:05.600000Z",
        "customer": {"name": "Ann"},
        "order_lines": [{"id": 100}, {"id": 101}],
    },
}


@pytest.mark.parametrize("path", ANSWERS)
def test_a_read_answers_the_related_documents_that_it_asks_for(shop: Shop, path: str) -> None:
    assert shop.data(path) == ANSWERS[path]
