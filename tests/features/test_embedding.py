"""Related documents inside of documents, over HTTP: both directions, through join collections, in levels, filtered and sorted."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.features.shop import CONFIG, Document, Shop
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
    "order_lines/100?include=order(note,customer(name)),product&select=id": {
        "id": 100,
        "order": {"note": "first", "customer": {"name": "Ann"}},
        "product": {"id": 7, "name": "tea", "sold": True},
    },
    "products?include=order_lines(id)&order_lines.limit=1&id=eq.8": [{"id": 8, "name": "cup", "sold": False, "order_lines": [{"id": 101}]}],
    "customers?select=id,...orders!customer_id(numbers:id,notes:note)&orders.order=note.desc&order=id": [
        {"id": 1, "numbers": [11, 10], "notes": ["second", "first"]},
        {"id": 2, "numbers": [12], "notes": ["third"]},
        {"id": 3, "numbers": [], "notes": []},
    ],
    "orders?select=id,...labels(names:name)&labels.limit=1&labels.offset=1&id=lte.12&order=id": [
        {"id": 10, "names": ["gift"]},
        {"id": 11, "names": []},
        {"id": 12, "names": []},
    ],
    "customers?select=id,...orders!customer_id(o:id,...order_lines(t:total,d:data),l:labels(name),...billing_id(p:name))&id=lte.2": [
        {
            "id": 1,
            "o": [10, 11],
            "t": [[9.5, 2], [30.25]],
            "d": [[{"a": [1, "x"]}, None], [None]],
            "l": [[{"name": "urgent"}, {"name": "gift"}], [{"name": "gift"}]],
            "p": ["Ben", None],
        },
        {"id": 2, "o": [12], "t": [[None]], "d": [[None]], "l": [[]], "p": ["Ben"]},
    ],
    "customers?select=name,orders!customer_id(margin.sum(),n:count())&order=id": [
        {"name": "Ann", "orders": [{"sum": 11, "n": 2}]},
        {"name": "Ben", "orders": [{"sum": 7, "n": 1}]},
        {"name": "Cid", "orders": [{"sum": None, "n": 0}]},
    ],
    "customers?select=name,orders!customer_id(count)&id=eq.1": [{"name": "Ann", "orders": [{"count": 2}]}],
    "customers?select=id,o:orders!customer_id(note,margin.avg())&o.order=note.desc&o.limit=1&o.margin=lt.7&order=id": [
        {"id": 1, "o": [{"note": "second", "avg": 6}]},
        {"id": 2, "o": []},
        {"id": 3, "o": []},
    ],
    "customers?select=id,orders!customer_id(order_lines(total.sum()::text,product(name)))&id=eq.1": [
        {
            "id": 1,
            "orders": [
                {"order_lines": [{"sum": "2.00", "product": {"name": "cup"}}, {"sum": "9.50", "product": {"name": "tea"}}]},
                {"order_lines": [{"sum": "30.25", "product": {"name": "tea"}}]},
            ],
        }
    ],
    "orders?select=id,customer(count(),name.min())&id=gte.12&order=id": [
        {"id": 12, "customer": {"count": 1, "min": "Ben"}},
        {"id": 13, "customer": {"count": 0, "min": None}},
    ],
    "orders?select=margin.sum(),...customer(name,...referred_by(by:name))&order=customer(name).desc": [
        {"sum": 8, "name": None, "by": None},
        {"sum": 7, "name": "Ben", "by": "Ann"},
        {"sum": 11, "name": "Ann", "by": None},
    ],
    "orders?select=n:count(),...customer(c:count(),id.sum(),name.max())": [{"n": 4, "c": 3, "sum": 4, "max": "Ben"}],
    "orders?select=margin.sum(),customer(name)": [
        {"sum": 11, "customer": {"name": "Ann"}},
        {"sum": 7, "customer": {"name": "Ben"}},
        {"sum": 8, "customer": None},
    ],
    "orders?select=count(),customer!inner()&customer.name=eq.Ann": [{"count": 2}],
    "orders?select=count(),order_lines()&order_lines=is.null": [{"count": 1}],
    "orders?select=placed_at,count()&order=placed_at.desc.nullslast": [
        {"placed_at": "2026-01-02T03:04:05.600000Z", "count": 1},
        {"placed_at": None, "count": 3},
    ],
    "customers?select=id,orders!customer_id(order_lines(order(labels(orders(count())))))&id=eq.2": [
        {"id": 2, "orders": [{"order_lines": [{"order": {"labels": []}}]}]}
    ],
    "customers?select=id,orders!customer_id(order_lines(order(labels(orders(id)))))&id=eq.2": [
        {"id": 2, "orders": [{"order_lines": [{"order": {"labels": []}}]}]}
    ],
    "orders/10?select=id,order_lines(total.sum(),count())": {"id": 10, "order_lines": [{"sum": 11.5, "count": 2}]},
    "orders/10?select=placed_at,customer(name),order_lines(id)": {
        "placed_at": "2026-01-02T03:04:05.600000Z",
        "customer": {"name": "Ann"},
        "order_lines": [{"id": 100}, {"id": 101}],
    },
}


@pytest.mark.parametrize("path", ANSWERS)
def test_a_read_answers_the_related_documents_that_it_asks_for(shop: Shop, path: str) -> None:
    assert shop.data(path) == ANSWERS[path]


BODIES = [
    (
        "orders",
        {
            "fields": ["id"],
            "include": {"customer": {"fields": []}},
            "sort": [{"field": "name", "relation": "customer", "direction": "desc"}, "-id"],
        },
        [{"id": 13}, {"id": 12}, {"id": 11}, {"id": 10}],
    ),
    (
        "orders",
        {"fields": ["id"], "include": {"order_lines": {"fields": ["id"], "sort": ["-total"], "limit": 1}}, "filter": {"id": 10}},
        [{"id": 10, "order_lines": [{"id": 100}]}],
    ),
    (
        "orders",
        {"fields": ["id"], "include": {"order_lines": {"fields": []}}, "filter": {"$or": [{"order_lines": None}, {"id": 10}]}},
        [{"id": 10}, {"id": 13}],
    ),
    (
        "orders",
        {"fields": ["id"], "include": {"order_lines": {"fields": ["id"], "inner": True, "filter": {"total": {"$lt": 5}}}}},
        [{"id": 10, "order_lines": [{"id": 101}]}],
    ),
    (
        "customers",
        {
            "fields": ["name"],
            "filter": {"id": 3},
            "include": {"by": {"relation": "customers", "hint": "referred_by", "fields": ["name"]}},
        },
        "ambiguous_relation",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body", "answer"), BODIES)
def test_a_json_query_includes_them_as_well(shop: Shop, name: str, body: Document, answer: object) -> None:
    if isinstance(answer, str):
        refused = shop.service.client.post(f"/api/db/{name}/query", json=body, headers=shop.acme)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, answer)
    else:
        assert shop.query(name, body) == answer


def test_an_ambiguous_relation_is_refused_with_the_choices_and_an_unknown_one_with_the_nearest(shop: Shop) -> None:
    status, error = shop.error("orders?select=id,customers(name)")
    assert (status, error["code"]) == (400, "ambiguous_relation")
    assert sorted(choice["local"] for choice in error["details"]["choices"]) == [["billing_id"], ["customer_id"]]
    assert shop.error("orders?select=id,costumer(name)")[1]["hint"] == "Did you mean 'customer'?"
    assert shop.error("orders?select=id,customers!nothing(name)")[1]["code"] == "unknown_relation"
    status, error = shop.error("orders?select=id,order_lines(id)&order=order_lines(id)")
    assert (status, error["code"]) == (400, "invalid_request")
    assert shop.error("orders?select=id&order=customer(name)")[1]["hint"] == "Add customer() to the select."
    assert shop.error("orders?select=id,...order_lines(total.sum())")[1]["code"] == "invalid_request"
    assert shop.error("orders?select=margin.sum(),...labels(name)")[1]["code"] == "invalid_request"
    assert shop.error("orders?select=count(),...customer(name)&order=customer(id)")[1]["code"] == "invalid_request"
    deep = "orders?select=" + "order_lines(order(" * 3 + "id" + "))" * 3
    assert (shop.error(deep)[0], shop.error(deep)[1]["code"]) == (422, "out_of_range")


def test_pages_in_the_order_of_a_related_document_follow_their_cursors(shop: Shop) -> None:
    path, seen, cursor = "orders?select=id,customer(name)&order=customer(name).desc,note&limit=1", [], ""
    for _ in range(5):
        answer = shop.get(path + cursor).json()
        seen += [item["id"] for item in answer["data"]]
        if answer["page"]["next_cursor"] is None:
            break
        cursor = "&cursor=" + answer["page"]["next_cursor"]
    assert seen == [13, 12, 10, 11]


def test_counts_and_exports_hold_what_related_documents_require(shop: Shop) -> None:
    answer = shop.get("orders?select=id,order_lines!inner(id)&order_lines.total=lt.5&count=exact").json()
    assert (answer["page"]["count"], len(answer["data"])) == (1, 1)
    lines = shop.get("orders/export?select=id,order_lines(id,data)&order=id").text.splitlines()
    assert json.loads(lines[0]) == {"id": 10, "order_lines": [{"id": 100, "data": {"a": [1, "x"]}}, {"id": 101, "data": None}]}
    assert len(lines) == 4


def test_a_document_with_related_ones_in_it_has_no_etag(shop: Shop) -> None:
    assert "etag" in shop.get("orders/10").headers
    answer = shop.get("orders/10?select=id,order_lines(id)")
    assert (answer.status_code, "etag" in answer.headers) == (200, False)
    known = shop.service.client.get("/api/db/orders/10?select=id,order_lines(id)", headers=shop.acme | {"If-None-Match": "*"})
    assert known.status_code == 200


def test_a_list_of_related_documents_takes_no_limit_beyond_the_page_maximum(shop: Shop) -> None:
    status, error = shop.error("orders?select=id,order_lines(id)&order_lines.limit=1001")
    assert (status, error["code"]) == (422, "out_of_range")
