"""Reads over PostgREST's wire: bare arrays, ranges, counts, forms, datetimes."""

from __future__ import annotations

import pytest

from tests.rest.conftest import Wire

TITLES = ["Notes", "More Notes", 'a,b (c) "d"', "Nobody's 50%_"]


def test_rows_are_a_bare_array_with_a_range(rest: Wire):
    answer = rest.get("/books", params={"select": "id", "order": "id"})
    assert (answer.status_code, answer.json()) == (200, [{"id": 1}, {"id": 2}, {"id": 3}, {"id": 4}])
    assert answer.headers["content-range"] == "0-3/*"
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


def test_datetimes_have_the_form_that_postgresql_gives_them(rest: Wire):
    rows = rest.get("/books?select=published,when:published&order=id").json()
    assert [row["published"] for row in rows] == [
        "1843-09-01T10:00:00+00:00",
        "1844-01-02T03:04:05.6789+00:00",
        None,
        "2020-02-29T23:59:59.999999+00:00",
    ]
    assert all(row["when"] == row["published"] for row in rows)


def test_the_other_api_keeps_its_own_form_of_datetimes(library):
    assert library.client.get("/api/db/books/1").json()["data"]["published"] == "1843-09-01T10:00:00.000000Z"
    assert library.client.get("/rest/v1/books?id=eq.1").json()[0]["published"] == "1843-09-01T10:00:00+00:00"
    assert library.client.get("/api/db/books?id=eq.1").json()["data"][0]["published"] == "1843-09-01T10:00:00.000000Z"


@pytest.mark.parametrize(
    ("query", "headers", "status", "told", "ids"),
    [
        ("limit=2", {}, 200, "0-1/*", [1, 2]),
        ("limit=2&offset=1", {"Prefer": "count=exact"}, 206, "1-2/4", [2, 3]),
        ("", {"Prefer": "count=exact"}, 200, "0-3/4", [1, 2, 3, 4]),
        ("limit=0", {"Prefer": "count=exact"}, 206, "*/4", []),
        ("id=gt.9", {"Prefer": "count=exact"}, 200, "*/0", []),
        ("id=gt.9", {}, 200, "*/*", []),
        ("", {"Range": "1-2", "Range-Unit": "items"}, 200, "1-2/*", [2, 3]),
        ("", {"Range": "2-", "Prefer": "count=exact"}, 206, "2-3/4", [3, 4]),
        ("limit=3&offset=1", {"Range": "2-9"}, 200, "2-3/*", [3, 4]),
        ("limit=5000", {}, 200, "0-3/*", [1, 2, 3, 4]),
        ("offset=4", {"Prefer": "count=exact"}, 206, "*/4", []),
    ],
)
def test_rows_are_chosen_by_limit_offset_and_range(rest: Wire, query, headers, status, told, ids):
    answer = rest.get(f"/books?select=id&order=id&{query}", headers=headers)
    assert (answer.status_code, answer.headers["content-range"]) == (status, told)
    assert [row["id"] for row in answer.json()] == ids
    assert ("count=exact" in answer.headers.get("preference-applied", "")) == ("Prefer" in headers)


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("offset=5", {"Prefer": "count=exact"}),
        ("limit=-1", {}),
        ("offset=-1", {}),
        ("", {"Range": "5-2"}),
        ("offset=100001", {}),
    ],
)
def test_a_range_that_cannot_be_is_416(rest: Wire, query, headers):
    answer = rest.get(f"/books?{query}", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (416, "PGRST103")
    assert answer.headers["proxy-status"] == "PostgREST; error=PGRST103"


def test_one_object_is_answered_only_where_there_is_exactly_one(rest: Wire):
    one = {"Accept": "application/vnd.pgrst.object+json"}
    found = rest.get("/books?id=eq.1&select=id,title", headers=one)
    assert (found.status_code, found.json()) == (200, {"id": 1, "title": "Notes"})
    assert found.headers["content-type"].startswith("application/vnd.pgrst.object+json")
    for query, rows in (("id=eq.9", 0), ("id=lt.3", 2)):
        answer = rest.get(f"/books?{query}", headers=one)
        assert answer.status_code == 406
        assert answer.json() == {
            "code": "PGRST116",
            "details": f"The result contains {rows} rows",
            "hint": None,
            "message": "Cannot coerce the result to a single JSON object",
        }


def test_nulls_are_left_out_where_the_caller_asks(rest: Wire):
    stripped = {"Accept": "application/vnd.pgrst.array+json;nulls=stripped"}
    assert rest.get("/books?id=eq.2&select=id,price,pages", headers=stripped).text == '[{"id":2,"pages":130}]'
    one = {"Accept": "application/vnd.pgrst.object+json;nulls=stripped"}
    assert rest.get("/books?id=eq.4&select=id,price,author_id", headers=one).text == '{"id":4,"price":99.99}'


def test_rows_come_as_csv(rest: Wire):
    answer = rest.get("/books?select=id,title,price,in_print&order=id", headers={"Accept": "text/csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.text.splitlines() == [
        "id,title,price,in_print",
        "1,Notes,12.50,t",
        "2,More Notes,,f",
        '3,"a,b (c) ""d""",7.00,t',
        "4,Nobody's 50%_,99.99,",
    ]


def test_a_head_has_the_headers_of_the_get_and_no_body(rest: Wire):
    answer = rest.head("/books?id=lt.3", headers={"Prefer": "count=exact"})
    assert (answer.status_code, answer.text, answer.headers["content-range"]) == (200, "", "0-1/2")
    missing = rest.head("/nothing")
    assert (missing.status_code, missing.headers["proxy-status"]) == (404, "PostgREST; error=PGRST205")


def test_options_tell_the_methods(rest: Wire):
    answer = rest.options("/books")
    assert (answer.status_code, answer.headers["allow"]) == (200, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        ("/nothing", {}, 404, "PGRST205"),
        ("/books?nothing=eq.1", {}, 400, "42703"),
        ("/books?select=nothing", {}, 400, "42703"),
        ("/books?id=what.1", {}, 400, "PGRST100"),
        ("/books?id=eq.x", {}, 400, "22P02"),
        ("/books?id=5", {}, 400, "PGRST100"),
        ("/books?count=exact", {}, 400, "PGRST100"),
        ("/books?cursor=eq.5", {}, 400, "42703"),
        ("/books?limit=x", {}, 400, "PGRST100"),
        ("/books?order=id.up", {}, 400, "PGRST100"),
        ("/books/1", {}, 404, "PGRST125"),
        ("/books", {"Accept": "application/geo+json"}, 406, "PGRST107"),
        ("/books", {"Accept": "image/png"}, 406, "PGRST107"),
        ("/books", {"Accept-Profile": "secret"}, 406, "PGRST106"),
        ("/books", {"Prefer": "handling=strict, no-such=1"}, 400, "PGRST122"),
    ],
)
def test_a_refusal_has_four_members_and_a_code(rest: Wire, path, headers, status, code):
    answer = rest.get(path, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert sorted(answer.json()) == ["code", "details", "hint", "message"]


def test_an_unknown_preference_is_ignored_unless_handling_is_strict(rest: Wire):
    answer = rest.get("/books?limit=1", headers={"Prefer": "handling=lenient, no-such=1, count=exact"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (206, "count=exact, handling=lenient")


def test_a_profile_names_the_schema(rest: Wire, engine: str):
    assert len(rest.get("/books", headers={"Accept-Profile": "public"}).json()) == 4
    if engine == "postgres":
        assert rest.get("/maps", headers={"Accept-Profile": "annex"}).json() == [{"id": 1, "name": "Atlas"}]
        assert rest.get("/maps", headers={"Accept-Profile": "public"}).status_code == 404
        assert len(rest.get("/books", headers={"Accept-Profile": "app"}).json()) == 4
