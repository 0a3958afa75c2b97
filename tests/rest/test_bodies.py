"""CSV and forms as bodies of writes: what becomes of their texts, and that a malformed body writes nothing."""

from __future__ import annotations

import pytest

from tests.rest.conftest import Wire

SHOWN = {"Prefer": "return=representation"}
CSV = SHOWN | {"Content-Type": "text/csv"}
FORM = SHOWN | {"Content-Type": "application/x-www-form-urlencoded"}


def test_csv_creates_rows_by_its_header(rest: Wire):
    body = (
        "id,title,price,pages,in_print,published,tags,detail\r\n"
        '9,"a ""b"", c",12.50,7,true,2020-01-02 03:04:05+00,"{x,""y z""}","{""lang"": ""en"", ""n"": [1, 2.5]}"\r\n'
        "10,T,NULL,NULL,NULL,NULL,NULL,NULL\r\n\r\n"
    )
    made = rest.post("/books", content=body.encode(), headers=CSV)
    assert made.status_code == 201, made.text
    nothing = dict.fromkeys(("author_id", "price", "pages", "in_print", "published", "tags", "detail"))
    assert made.json() == [
        {
            "id": 9, "author_id": None, "title": 'a "b", c', "price": 12.5, "pages": 7, "in_print": True,
            "published": "2020-01-02T03:04:05+00:00", "tags": ["x", "y z"], "detail": {"lang": "en", "n": [1, 2.5]},
        },
        {"id": 10, "title": "T"} | nothing,
    ]  # fmt: skip


def test_an_answer_in_csv_can_be_sent_back(rest: Wire):
    text = rest.get("/books?select=id,title,pages,tags,detail&id=eq.1", headers={"Accept": "text/csv"}).text
    again = rest.post("/books", content=text.encode(), headers=CSV | {"Prefer": "return=representation, resolution=merge-duplicates"})
    assert (again.status_code, again.json()[0]["detail"]["lang"], again.json()[0]["tags"]) == (200, "en", ["maths", "engine"])


def test_columns_choose_among_those_of_csv_and_the_rest_has_its_default(rest: Wire):
    made = rest.post("/books?columns=id,title&select=id,title,pages", content=b"id,title,pages,other\n9,T,3,x\n", headers=CSV)
    assert made.json() == [{"id": 9, "title": "T", "pages": 100}]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "PGRST102"),
        (b"id,title\n9,T\n10\n", "PGRST102"),
        (b"id,id\n9,10\n", "PGRST102"),
        (b'id,title\n9,"T\n', "PGRST102"),
        (b"id,title\n9,\xff\n", "PGRST102"),
        (b"id,title\n9,T\nx,T\n", "22P02"),
        (b"id,title\n9,T\n10,NULL\n", "23502"),
        (b"id,title\n9,T\n,T\n", "22P02"),
        (b"id,title\n9,T\n1,T\n", "23505"),
        (b"id,title,pages\n9,T,1\n10,T," + b"9" * 5000 + b"\n", "22P02"),
        (b"id,title,price\n9,T,1\n10,T," + b"9" * 5000 + b"\n", "22P02"),
        (b"id,title,pages\n9,T,1\n10,T,-1\n", "23514"),
    ],
)
def test_malformed_csv_writes_nothing(rest: Wire, body: bytes, code: str):
    refused = rest.post("/books", content=body, headers=CSV)
    assert (refused.status_code, refused.json()["code"]) == (409 if code == "23505" else 400, code), refused.text
    assert rest.get("/books?id=gt.4").json() == []


def test_a_form_creates_and_changes_one_row(rest: Wire):
    body = b"id=9&title=a+b%C3%A4&pages=7&in_print=f&tags={x}"
    made = rest.post("/books?select=id,title,pages,in_print,tags", content=body, headers=FORM)
    assert (made.status_code, made.json()) == (201, [{"id": 9, "title": "a b\u00e4", "pages": 7, "in_print": False, "tags": ["x"]}])
    changed = rest.patch("/books?id=eq.9&select=pages", content=b"pages=8", headers=FORM)
    assert (changed.status_code, changed.json()) == (200, [{"pages": 8}])
    put = rest.put("/books?id=eq.9&select=title", content=b"id=9&title=New", headers=FORM)
    assert (put.status_code, put.json()) == (200, [{"title": "New"}])
    twice = rest.post("/books", content=b"id=10&id=11&title=T", headers=FORM)
    assert (twice.status_code, twice.json()["code"]) == (400, "PGRST100")


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data; boundary=x", "application/x-ndjson"])
def test_a_body_of_another_kind_is_not_understood(rest: Wire, kind: str):
    refused = rest.post("/books", content=b"id=9&title=T", headers={"Content-Type": kind})
    assert (refused.status_code, refused.json()["code"]) == (415, "PGRST107")
    assert rest.patch("/books?id=eq.1", content=b"pages\n1\n", headers={"Content-Type": "text/csv"}).status_code == 415
