"""Related rows, and groups, over PostgREST's wire."""

from __future__ import annotations

from tests.rest.conftest import Wire


def test_related_rows_stand_inside_of_a_row(rest: Wire):
    rows = rest.get("/books?select=id,author(name)&order=id&limit=3").json()
    assert rows == [
        {"id": 1, "author": {"name": "Ada"}},
        {"id": 2, "author": {"name": "Ada"}},
        {"id": 3, "author": {"name": "Bo"}},
    ]
    assert rest.get("/books?select=id,...author(writer:name)&id=eq.1").json() == [{"id": 1, "writer": "Ada"}]
    assert rest.get("/books?select=id,author!inner(name)&author.name=eq.Bo").json() == [{"id": 3, "author": {"name": "Bo"}}]
    assert rest.get("/books?select=id,author(name)&order=author(name).desc,id.desc&author=not.is.null&limit=2").json() == [
        {"id": 3, "author": {"name": "Bo"}},
        {"id": 2, "author": {"name": "Ada"}},
    ]


def test_a_relation_that_is_not_there_is_named(rest: Wire):
    answer = rest.get("/books?select=id,auther(name)")
    assert (answer.status_code, answer.json()["code"]) == (400, "PGRST200"), answer.text


def test_related_rows_have_their_own_filter_order_and_limit_and_postgresqls_datetimes(rest: Wire):
    answer = rest.get("/authors?select=name,books(published)&books.order=id.desc&books.limit=1&id=eq.1")
    assert answer.json() == [{"name": "Ada", "books": [{"published": "1844-01-02T03:04:05.6789+00:00"}]}], answer.text


def test_rows_are_counted_and_summed_in_groups(rest: Wire):
    answer = rest.get("/books?select=pages,count(),most:id.max()&order=pages")
    assert answer.json() == [
        {"pages": 65, "count": 2, "most": 3},
        {"pages": 130, "count": 1, "most": 2},
        {"pages": 800, "count": 1, "most": 4},
    ]


def test_a_write_answers_groups_of_nothing(rest: Wire):
    answer = rest.patch("/books?id=eq.1&select=count()", json={"pages": 1}, headers={"Prefer": "return=representation"})
    assert answer.status_code == 400, answer.text
    assert rest.get("/books?id=eq.1&select=pages").json() == [{"pages": 65}]


def test_a_write_answers_what_its_row_is_related_to(rest: Wire):
    shown = {"Prefer": "return=representation"}
    assert rest.patch("/books?id=eq.1&select=id,author(name)", json={"pages": 65}, headers=shown).json()[0]["author"]["name"] == "Ada"
