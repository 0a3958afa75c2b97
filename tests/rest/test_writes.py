"""Writes over PostgREST's wire: what is answered, where it is, and that a refused write changes nothing."""

from __future__ import annotations

import pytest

from tests.rest.conftest import Wire

NEW = {"id": 9, "title": "New"}
SHOWN = {"Prefer": "return=representation"}
ONE = {"Accept": "application/vnd.pgrst.object+json"} | SHOWN


def number(rest: Wire) -> int:
    return int(rest.head("/books", headers={"Prefer": "count=exact"}).headers["content-range"].rpartition("/")[2])


def test_a_create_answers_nothing_unless_it_is_asked(rest: Wire):
    made = rest.post("/books", json=NEW)
    assert (made.status_code, made.content, made.headers["content-range"]) == (201, b"", "*/*")
    where = rest.post("/books", json=NEW | {"id": 10}, headers={"Prefer": "return=headers-only"})
    assert (where.status_code, where.headers["location"]) == (201, "/rest/v1/books?id=eq.10")
    shown = rest.post("/books?select=id,when:published", json=NEW | {"id": 11, "published": "2020-01-02T03:04:05.600Z"}, headers=SHOWN)
    assert shown.json() == [{"id": 11, "when": "2020-01-02T03:04:05.6+00:00"}]
    assert shown.headers["preference-applied"] == "return=representation"
    assert rest.get("/books?id=gt.8&select=id").json() == [{"id": 9}, {"id": 10}, {"id": 11}]


def test_rows_are_created_together_or_not_at_all(rest: Wire):
    refused = rest.post("/books", json=[NEW, NEW | {"id": 1}], headers=SHOWN)
    assert (refused.status_code, refused.json()["code"]) == (409, "23505")
    assert number(rest) == 4
    unlike = rest.post("/books", json=[NEW, {"id": 10, "title": "T", "pages": 1}])
    assert (unlike.status_code, unlike.json()["message"]) == (400, "All object keys must match")
    made = rest.post("/books?columns=id,title", json=[NEW | {"pages": 7}, {"id": 10, "title": "T"}], headers=SHOWN)
    assert [row["pages"] for row in made.json()] == [100, 100]


def test_one_object_is_asked_of_a_write_before_it_is_made(rest: Wire):
    assert rest.post("/books", json=[NEW, NEW | {"id": 10}], headers=ONE).json()["code"] == "PGRST116"
    assert rest.patch("/books?id=lt.3", json={"pages": 1}, headers=ONE).json()["code"] == "PGRST116"
    assert rest.delete("/books?id=gt.2", headers=ONE).json()["code"] == "PGRST116"
    assert number(rest) == 4
    assert rest.get("/books?pages=eq.1").json() == []
    assert rest.patch("/books?id=eq.3&select=pages", json={"pages": 1}, headers=ONE).json() == {"pages": 1}


def test_a_change_tells_its_range(rest: Wire):
    changed = rest.patch("/books?id=lt.3&select=id", json={"pages": 1}, headers={"Prefer": "return=representation, count=exact"})
    assert (changed.status_code, changed.headers["content-range"], len(changed.json())) == (200, "0-1/2", 2)
    quiet = rest.patch("/books?id=eq.99", json={"pages": 1})
    assert (quiet.status_code, quiet.content, quiet.headers["content-range"]) == (204, b"", "*/*")
    gone = rest.delete("/books?id=eq.4", headers={"Prefer": "count=exact"})
    assert (gone.status_code, gone.headers["content-range"]) == (204, "*/1")


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_a_change_of_everything_is_refused(rest: Wire, method: str):
    answer = rest.request(method, "/books", json={"pages": 1})
    assert (answer.status_code, answer.json()["code"]) == (400, "21000")
    for query in ("limit=1&id=gt.0", "order=id&id=gt.0"):
        assert rest.request(method, f"/books?{query}", json={"pages": 1}).json()["code"] == "PGRST100"
    assert number(rest) == 4


def test_no_more_is_changed_than_the_caller_allows(rest: Wire):
    for method in ("PATCH", "DELETE"):
        refused = rest.request(method, "/books?id=gt.1", json={"pages": 1}, headers={"Prefer": "handling=strict, max-affected=2"})
        assert (refused.status_code, refused.json()["code"]) == (400, "PGRST124")
    assert number(rest) == 4
    assert rest.get("/books?pages=eq.1").json() == []


def test_what_is_undone_was_answered(rest: Wire):
    made = rest.post("/books?select=id", json=NEW, headers={"Prefer": "return=representation, tx=rollback"})
    assert (made.status_code, made.json()) == (201, [{"id": 9}])
    assert "tx=rollback" in ", ".join(made.headers.get_list("preference-applied"))
    assert number(rest) == 4


def test_put_creates_or_changes_the_one_document_that_it_names(rest: Wire):
    made = rest.put("/books?id=eq.9&select=id,title", json=NEW, headers=SHOWN)
    assert (made.status_code, made.json()) == (201, [NEW])
    changed = rest.put("/books?id=eq.9", json=NEW | {"title": "Changed"})
    assert (changed.status_code, changed.content) == (204, b"")
    assert rest.get("/books?id=eq.9&select=title").json() == [{"title": "Changed"}]
    for query, body, status, code in (
        ("", NEW, 400, "21000"),
        ("title=eq.New", NEW, 405, "PGRST105"),
        ("id=gt.9", NEW, 405, "PGRST105"),
        ("id=eq.9&title=eq.New", NEW, 405, "PGRST105"),
        ("id=eq.8", NEW, 400, "PGRST115"),
        ("id=eq.9", {"title": "No key"}, 400, "PGRST115"),
        ("id=eq.9", [NEW, NEW], 400, "PGRST102"),
    ):
        refused = rest.put(f"/books?{query}", json=body)
        assert (refused.status_code, refused.json()["code"]) == (status, code), query


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "PGRST102"),
        (b"5", 400, "PGRST102"),
        (b'{"id": 9, "id": 10, "title": "T"}', 400, "PGRST102"),
        (b'{"id": 9}', 400, "23502"),
        (b'{"id": 9, "title": "T", "nothing": 1}', 400, "PGRST204"),
        (b'{"id": "x", "title": "T"}', 400, "22P02"),
        (b'{"id": 9, "title": "T", "pages": -1}', 400, "23514"),
        (b'{"id": 9, "title": "T", "author_id": 77}', 409, "23503"),
        (b'{"id": 1, "title": "T"}', 409, "23505"),
    ],
)
def test_a_refused_body_writes_nothing(rest: Wire, body: bytes, status: int, code: str):
    answer = rest.post("/books", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert number(rest) == 4
