"""The reference itself: three-valued logic, places inside JSON, order and cursors."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.query.bind import bind
from portico.query.cursor import cursor_state
from portico.query.json_text import read_json
from portico.syntax import mongo, postgrest
from tests.query.reference import Row, order_values, select
from tests.query.samples import INVOICES, from_query_string
from tests.query.wishes import as_json, filters

ROWS: list[Row] = [
    {
        "id": UUID(int=1),
        "status": "draft",
        "number": 1,
        "paid": True,
        "tags": ["a", "b"],
        "metadata": {"n": 5, "lang": "en", "a": {"b": None}},
    },
    {
        "id": UUID(int=2),
        "status": "Sent",
        "number": 2,
        "paid": False,
        "tags": [],
        "metadata": {"n": "5", "lang": "de", "list": [1, {"p": 2}]},
    },
    {"id": UUID(int=3), "status": None, "number": None, "paid": None, "tags": None, "metadata": None},
]


@pytest.mark.parametrize(
    ("query_string", "ids"),
    [
        ("", [1, 2, 3]),
        ("status=eq.draft", [1]),
        ("status=neq.draft", [2]),
        ("status=not.eq.draft", [2]),
        ("status=isdistinct.draft", [2, 3]),
        ("status=is.null", [3]),
        ("status=ilike.s*", [2]),
        ("number=in.()", []),
        ("number=not.in.()", [1, 2, 3]),
        ("number=not.in.(1)", [2]),
        ("number=eq(any).{1,2}", [1, 2]),
        ("or=(number.eq.2,status.is.null)", [2, 3]),
        ("paid=is.unknown", [3]),
        ("tags=cs.{a}", [1]),
        ("tags=cs.{}", [1, 2]),
        ("tags=ov.{b,c}", [1]),
        ("metadata->n=eq.5", [1]),
        ('metadata->n=eq."5"', [2]),
        ("metadata->>n=eq.5", [1, 2]),
        ("metadata->n=not.eq.6", [1]),
        ("metadata->a->b=is.null", [1, 2, 3]),
        ('metadata=cs.{"list":[{"p":2}]}', [2]),
        ("order=number.desc", [3, 2, 1]),
        ("order=number.desc.nullslast", [2, 1, 3]),
        ("order=number&limit=1&offset=1", [2]),
    ],
)
def test_a_query_selects_these_rows(query_string, ids):
    bound, values = from_query_string(query_string)
    assert [row["id"] for row in select(bound.query, ROWS, values)] == [UUID(int=number) for number in ids]


@pytest.mark.parametrize(
    ("filter_", "ids"),
    [
        ({"tags": {"$size": 2}}, [1]),
        ({"tags": {"$elemMatch": {"$gt": "a"}}}, [1]),
        ({"tags": {"$not": {"$elemMatch": {"$gt": "a"}}}}, [2]),
        ({"metadata.list": {"$elemMatch": {"p": {"$gt": 1}}}}, [2]),
        ({"metadata.a.b": {"$exists": True}}, [1]),
        ({"metadata.a.b": {"$exists": False}}, [2, 3]),
        ({"metadata.n": {"$in": [5, "5"]}}, [1, 2]),
        ({"metadata.n": {"$ne": 6}}, [1]),
    ],
)
def test_a_filter_in_json_selects_these_rows(filter_, ids):
    parsed = mongo.parse({"filter": filter_})
    bound = bind(parsed.query, INVOICES)
    assert [row["id"] for row in select(bound.query, ROWS, bound.values(parsed.values))] == [UUID(int=number) for number in ids]


@given(filters())
@settings(max_examples=200, deadline=None)
def test_a_filter_and_its_negation_never_select_the_same_row(wish):
    chosen = []
    for filter_ in (as_json(wish), {"$not": as_json(wish)}):
        parsed = mongo.parse({"filter": read_json(json.dumps(filter_))})
        bound = bind(parsed.query, INVOICES)
        chosen.append({row["id"] for row in select(bound.query, ROWS, bound.values(parsed.values))})
    assert not chosen[0] & chosen[1]


_numbers = st.none() | st.integers(0, 3)


@given(
    st.lists(st.tuples(_numbers, _numbers), max_size=12),
    st.sampled_from(["number", "number.desc,big", "number.nullsfirst,big.desc", "big.desc.nullslast"]),
)
@settings(max_examples=200, deadline=None)
def test_pages_by_cursor_give_every_row_once_and_in_order(pairs, order):
    rows: list[Row] = [{"id": UUID(int=place), "number": number, "big": big} for place, (number, big) in enumerate(pairs)]
    whole, values = from_query_string(f"order={order}&limit=1000")
    parsed = postgrest.parse([("order", order), ("limit", "2")])
    got: list[Row] = []
    cursor: list[object] = []
    while True:
        state = cursor_state(len(parsed.values), cursor) if cursor else None
        bound = bind(parsed.query, INVOICES, cursor=state)
        page = select(bound.query, rows, bound.values((*parsed.values, *cursor)))
        if not page:
            break
        got.extend(page)
        cursor = [str(value) if isinstance(value, UUID) else value for value in order_values(bound.query, page[-1])]
    assert got == select(whole.query, rows, values)
