"""One meaning: a filter, an order and a page give the same rows in both syntaxes, on every engine, as the reference in plain Python."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portico.catalog.declare import declare
from portico.query.bind import bind
from portico.query.coerce import json_coercer
from portico.query.json_text import read_json
from portico.syntax import mongo, postgrest
from tests.engines.invoices import INVOICES, PATH, Document, Services, document, serving
from tests.query.reference import Row, select
from tests.query.wishes import Wish, as_json, as_query_string, filters
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresServer

ROWS = 120
COLLECTION = declare(INVOICES, source="test", database="main")
KEYS = [
    "number", "big", "status", "total", "rate", "paid", "due", "created_at", "client_id", "kind", "metadata->>lang", "metadata->>n",
]  # fmt: skip


def as_row(given: Document) -> Row:
    """A document's values as the reference has them."""
    row: dict[str, object] = {}
    for field in COLLECTION.fields:
        value = given.get(field.name)
        read = None if value is None else json_coercer(field.type, field.name)(read_json(json.dumps(value)))
        row[field.name] = read_json(read) if field.name == "metadata" and isinstance(read, str) else read
    return row


DOCUMENTS = [document(place) for place in range(ROWS)]
REFERENCE = [as_row(item) for item in DOCUMENTS]


@pytest.fixture(scope="module")
def services(postgres: PostgresServer) -> Iterator[Services]:
    """The service over each engine, with the same documents."""
    with serving(postgres, DOCUMENTS) as found:
        yield found


def ids(answer: Any) -> list[str]:
    """The keys of a page, in order."""
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["data"]]


def order_text(order: list[tuple[str, str, str]]) -> str:
    """An order as the query string writes it."""
    return ",".join(f"{key}{direction}{nulls}" for key, direction, nulls in order)


orders = st.lists(
    st.tuples(st.sampled_from(KEYS), st.sampled_from(["", ".asc", ".desc"]), st.sampled_from(["", ".nullsfirst", ".nullslast"])),
    max_size=3,
    unique_by=lambda item: item[0],
)
exhaustive = settings(max_examples=300, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))


@given(filters())
@exhaustive
def test_a_filter_selects_the_rows_of_the_reference_in_both_syntaxes_on_every_engine(services: Services, wish: Wish) -> None:
    parsed = mongo.parse(read_json(json.dumps({"filter": as_json(wish), "limit": 1000})))
    bound = bind(parsed.query, COLLECTION)
    expected = [str(row["id"]) for row in select(bound.query, REFERENCE, bound.values(parsed.values))]
    for engine, service in services.items():
        written = service.client.get(f"{PATH}?{as_query_string(wish)}&select=id&limit=1000")
        assert ids(written) == expected, f"the query string on {engine}"
        asked = service.client.post(f"{PATH}/query", json={"filter": as_json(wish), "fields": ["id"], "limit": 1000})
        assert ids(asked) == expected, f"JSON on {engine}"


@given(orders, st.integers(1, 50), st.integers(0, 130))
@settings(exhaustive, max_examples=100)
def test_an_order_with_an_offset_is_that_of_the_reference(
    services: Services, order: list[tuple[str, str, str]], limit: int, offset: int
) -> None:
    query = [("select", "id"), ("limit", str(limit)), ("offset", str(offset)), *([("order", order_text(order))] if order else [])]
    parsed = postgrest.parse(query)
    bound = bind(parsed.query, COLLECTION)
    expected = [str(row["id"]) for row in select(bound.query, REFERENCE, bound.values(parsed.values))]
    for engine, service in services.items():
        text = "&".join(f"{name}={quote(value, safe='')}" for name, value in query)
        assert ids(service.client.get(f"{PATH}?{text}")) == expected, engine


@given(orders, filters(), st.sampled_from([7, 11, 40]))
@settings(exhaustive, max_examples=60)
def test_pages_by_cursor_give_every_row_once_in_order(
    services: Services, order: list[tuple[str, str, str]], wish: Wish, limit: int
) -> None:
    sort = f"&order={quote(order_text(order), safe='')}" if order else ""
    query = f"{PATH}?select=id&{as_query_string(wish)}{sort}"
    for engine, service in services.items():
        whole = ids(service.client.get(f"{query}&limit=1000"))
        assert every_page(service, f"{query}&limit={limit}") == whole, engine


def every_page(service: PorticoProcess, address: str) -> list[str]:
    """The keys of all pages, one after the other."""
    found: list[str] = []
    cursor = ""
    while True:
        answer = service.client.get(address + cursor)
        found += ids(answer)
        following = answer.json()["page"]["next_cursor"]
        if following is None:
            return found
        cursor = f"&cursor={following}"


@given(orders, st.lists(st.integers(0, 59), min_size=4, max_size=12, unique=True))
@settings(exhaustive, max_examples=15)
def test_every_row_that_stays_comes_exactly_once_while_others_are_created_and_deleted(
    services: Services, order: list[tuple[str, str, str]], removed: list[int]
) -> None:
    sort = f"&order={quote(order_text(order), safe='')}" if order else ""
    for engine, service in services.items():
        mine = [document(place) | {"id": f"{place:08x}-aaaa-4000-8000-0000000000aa", "client_id": "moving"} for place in range(60)]
        assert service.client.post(PATH, json=mine).status_code == 201
        staying = {str(item["id"]) for place, item in enumerate(mine) if place not in removed}
        found: list[str] = []
        cursor = ""
        for place in [*removed, *[None] * 20]:
            answer = service.client.get(f"{PATH}?client_id=eq.moving&select=id&limit=5{sort}{cursor}")
            found += ids(answer)
            following = answer.json()["page"]["next_cursor"]
            if following is None:
                break
            cursor = f"&cursor={following}"
            if place is not None:
                assert service.client.delete(f"{PATH}/{mine[place]['id']}").status_code == 204
                made = document(place) | {"id": f"{place:08x}-bbbb-4000-8000-0000000000bb", "client_id": "moving"}
                assert service.client.post(PATH, json=made).status_code == 201
        assert len(found) == len(set(found)), engine
        assert staying <= set(found), engine
        assert service.client.delete(f"{PATH}?client_id=eq.moving").status_code == 200
