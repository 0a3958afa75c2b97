"""Functions over PostgREST's wire: those that the configuration names, typed, scoped, read-only by GET."""

from __future__ import annotations

import pytest

from tests.rest.conftest import Wire


@pytest.fixture(autouse=True)
def only_where_the_engine_has_functions(engine: str, rest: Wire):
    """An engine without functions has none of any name, which is checked instead of each test."""
    if engine == "sqlite":
        refused = rest.post("/rpc/add_them", json={"a": 1})
        assert (refused.status_code, refused.json()["code"]) == (404, "PGRST202")


@pytest.fixture
def functions(engine: str, rest: Wire) -> Wire | None:
    return rest if engine == "postgres" else None


def test_a_function_gives_a_value(functions: Wire | None):
    if functions is None:
        return
    assert functions.post("/rpc/add_them", json={"a": 1, "b": 2}).json() == 3
    assert functions.post("/rpc/add_them", json={"a": 1}).json() == 11
    assert functions.get("/rpc/add_them?a=1&b=5").json() == 6
    assert functions.head("/rpc/add_them?a=1").status_code == 200


def test_rows_of_a_function_are_filtered_sorted_and_paged(functions: Wire | None):
    if functions is None:
        return
    answer = functions.post("/rpc/loans_of?select=id,during&order=id.desc&limit=2", json={"book": 1}, headers={"Prefer": "count=exact"})
    assert (answer.status_code, answer.headers.get("content-range")) == (206, "0-1/3"), answer.text
    assert answer.json() == [{"id": 3, "during": "[30,40)"}, {"id": 2, "during": "[10,20)"}]
    assert functions.get("/rpc/loans_of?book=1&id=gt.1&during=ov.[5,15)&select=id").json() == [{"id": 2}]
    assert functions.get("/rpc/prices?price=gt.10&order=price").json() == [
        {"title": "Notes", "price": 12.5},
        {"title": "Nobody's 50%_", "price": 99.99},
    ]
    assert functions.get("/rpc/titles?limit=2&offset=1").json() == ["More Notes", 'a,b (c) "d"']
    assert functions.get("/rpc/first_loan?select=id").json() == {"id": 1}
    one = functions.get("/rpc/loans_of?book=1&id=eq.2&select=id", headers={"Accept": "application/vnd.pgrst.object+json"})
    assert one.json() == {"id": 2}
    assert functions.get("/rpc/prices?title=eq.Notes", headers={"Accept": "text/csv"}).text == "title,price\nNotes,12.50\n"


def test_what_changes_something_is_called_by_post_alone(functions: Wire | None):
    if functions is None:
        return
    refused = functions.get("/rpc/lend?book=2")
    assert (refused.status_code, refused.json()["code"], refused.headers["allow"]) == (405, "PGRST117", "POST")
    assert functions.get("/loans?book_id=eq.2").json() == []
    done = functions.post("/rpc/lend", json={"book": 2})
    assert (done.status_code, done.content) == (204, b"")
    assert functions.get("/loans?book_id=eq.2&select=id").json() == [{"id": 4}]


def test_a_function_is_not_undone_by_a_preference_that_cannot_hold(functions: Wire | None):
    if functions is None:
        return
    refused = functions.post("/rpc/lend", json={"book": 2}, headers={"Prefer": "tx=rollback"})
    assert (refused.status_code, refused.json()["code"]) == (501, "0A000")
    assert functions.get("/loans?book_id=eq.2").json() == []


@pytest.mark.parametrize(
    ("name", "body", "status", "code"),
    [
        ("hidden_one", {}, 404, "PGRST202"),
        ("pg_sleep", {}, 404, "PGRST202"),
        ("add_them", {}, 404, "PGRST202"),
        ("add_them", {"a": 1, "c": 2}, 404, "PGRST202"),
        ("add_them", {"a": "x"}, 400, "22P02"),
        ("add_them", {"a": 2**31}, 400, "22003"),
        ("refuse", {"why": "not today"}, 400, "P0001"),
        ("add_them", [1], 400, "PGRST102"),
    ],
)
def test_a_refused_call_says_why(functions: Wire | None, name: str, body: object, status: int, code: str):
    if functions is None:
        return
    answer = functions.post(f"/rpc/{name}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    if code == "P0001":
        assert answer.json()["message"] == "not today"
