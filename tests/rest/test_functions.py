"""Functions over PostgREST's wire: those that the configuration names, typed, scoped, read-only by GET."""

from __future__ import annotations

import pytest

from tests.rest.conftest import Wire
from tests.servers.portico import PorticoProcess


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


def test_rows_of_a_function_include_what_they_are_related_to(functions: Wire | None):
    if functions is None:
        return
    one = functions.get("/rpc/loans_of?book=1&id=eq.2&select=id,books(title,author(name))")
    assert one.json() == [{"id": 2, "books": {"title": "Notes", "author": {"name": "Ada"}}}], one.text
    inner = functions.post("/rpc/loans_of?select=id,books!inner(id)&books.title=eq.No&order=id", json={"book": 1})
    assert inner.json() == []
    ordered = functions.get("/rpc/loans_of?book=1&select=id,...books(title)&order=books(title),id.desc&limit=1")
    assert ordered.json() == [{"id": 3, "title": "Notes"}], ordered.text
    counted = functions.get("/rpc/loans_of?book=1&select=id,books()&books=not.is.null", headers={"Prefer": "count=exact"})
    assert counted.headers["content-range"] == "0-2/3"
    none = functions.get("/rpc/prices?select=title,books(id)")
    assert (none.status_code, none.json()["code"]) == (400, "PGRST200")


def test_what_changes_something_is_called_by_post_alone(functions: Wire | None):
    if functions is None:
        return
    refused = functions.get("/rpc/lend?book=2")
    assert (refused.status_code, refused.json()["code"], refused.headers["allow"]) == (405, "PGRST117", "POST")
    assert functions.get("/loans?book_id=eq.2").json() == []
    done = functions.post("/rpc/lend", json={"book": 2})
    assert (done.status_code, done.content) == (204, b"")
    assert functions.get("/loans?book_id=eq.2&select=id").json() == [{"id": 4}]


def test_a_function_is_undone_with_the_call_that_asks_for_that(functions: Wire | None):
    if functions is None:
        return
    undone = functions.post("/rpc/lend_all?select=id&order=id", json={}, headers={"Prefer": "tx=rollback"})
    assert (undone.status_code, undone.json()) == (200, [{"id": 11}, {"id": 12}, {"id": 13}])
    assert len(functions.get("/loans").json()) == 3


def test_a_keyed_call_of_a_function_is_made_once(functions: Wire | None):
    if functions is None:
        return
    first, again = (functions.post("/rpc/lend", json={"book": 2}, headers={"Idempotency-Key": "lend-once"}) for _ in range(2))
    assert (first.status_code, again.status_code, again.headers["idempotency-replayed"]) == (204, 204, "true")
    assert len(functions.get("/loans?book_id=eq.2").json()) == 1


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Accept": "application/vnd.pgrst.object+json"}, 406, "PGRST116"),
        ({"Prefer": "max-affected=2, handling=strict"}, 400, "PGRST124"),
        ({"Range": "9-20", "Prefer": "count=exact"}, 416, "PGRST103"),
    ],
)
def test_nothing_is_kept_of_a_call_whose_answer_is_refused(functions: Wire | None, headers: dict[str, str], status: int, code: str):
    if functions is None:
        return
    refused = functions.post("/rpc/lend_all", json={}, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert len(functions.get("/loans").json()) == 3


def test_a_bound_on_rows_is_for_functions_that_give_a_set(functions: Wire | None):
    if functions is None:
        return
    strict = {"Prefer": "max-affected=3, handling=strict"}
    bounded = functions.post("/rpc/lend_all", json={}, headers=strict)
    assert (bounded.status_code, bounded.headers["preference-applied"]) == (200, "handling=strict, max-affected=3")
    refused = functions.post("/rpc/lend", json={"book": 2}, headers=strict)
    assert (refused.status_code, refused.json()["code"]) == (400, "PGRST128")


@pytest.mark.parametrize(
    ("name", "content", "kind", "answer"),
    [
        ("whole_json", b'[{"a": 1}]', "application/json", "array"),
        ("whole_json", b'{"a": 1}', "application/json", "object"),
        ("whole_text", "\u00e4\u00f6".encode(), "text/plain", 2),
        ("whole_bytes", b"\x00\xff\x00", "application/octet-stream", 3),
        ("add_them", b"a=1&b=5", "application/x-www-form-urlencoded", 6),
        ("joined", b'{"first": "x", "others": [1, 2]}', "application/json", "x:1,2"),
        ("joined", b"first=a+b&others=3&others=4", "application/x-www-form-urlencoded", "a b:3,4"),
    ],
)
def test_bodies_of_functions(functions: Wire | None, name: str, content: bytes, kind: str, answer: object):
    if functions is None:
        return
    given = functions.post(f"/rpc/{name}", content=content, headers={"Content-Type": kind})
    assert (given.status_code, given.json()) == (200, answer), given.text


def test_a_variadic_argument_is_repeated_in_a_query_string(functions: Wire | None):
    if functions is None:
        return
    assert functions.get("/rpc/joined?first=x&others=1&others=2").json() == "x:1,2"
    twice = functions.get("/rpc/joined?first=x&first=y&others=1")
    assert (twice.status_code, twice.json()["code"]) == (400, "PGRST100")


@pytest.mark.parametrize(
    ("body", "status", "answer"),
    [
        (
            {"state": "PT402", "message": "Pay", "detail": "Quota exceeded", "hint": "Upgrade"},
            402,
            {"code": "PT402", "message": "Pay", "details": "Quota exceeded", "hint": "Upgrade"},
        ),
        (
            {
                "state": "PGRST",
                "message": '{"code": "123", "message": "Gone", "hint": "Go"}',
                "detail": '{"status": 410, "headers": {"X-Why": "so"}}',
            },
            410,
            {"code": "123", "message": "Gone", "details": None, "hint": "Go"},
        ),
        ({"state": "23505", "message": "Taken"}, 409, {"code": "23505", "message": "Taken", "details": "", "hint": ""}),
        ({"state": "22000", "message": "Bad"}, 400, {"code": "22000", "message": "Bad", "details": "", "hint": ""}),
        ({"state": "28000", "message": "No"}, 403, {"code": "28000", "message": "No", "details": "", "hint": ""}),
    ],
)
def test_what_a_function_raises_is_answered_in_its_words(functions: Wire | None, body: dict[str, str], status: int, answer: object):
    if functions is None:
        return
    refused = functions.post("/rpc/raise_as", json=body)
    assert (refused.status_code, refused.json()) == (status, answer)
    assert refused.headers.get("x-why") == ("so" if status == 410 else None)


@pytest.mark.parametrize(
    "detail",
    [
        "",
        "{}",
        '{"status": 99}',
        '{"status": 410, "headers": {"Content-Length": "5"}}',
        '{"status": 410, "headers": {"X": "a\\nb"}}',
        '{"status": 410, "headers": {"Content-Encoding": "gzip"}}',
        '{"status": 410, "headers": {"Upgrade": "h2c"}}',
    ],
)
def test_an_answer_that_a_function_wrote_and_that_is_none_is_a_fault_of_it(functions: Wire | None, detail: str):
    if functions is None:
        return
    refused = functions.post("/rpc/raise_as", json={"state": "PGRST", "message": '{"code": "1", "message": "m"}', "detail": detail})
    assert (refused.status_code, refused.json()["code"]) == (500, "PGRST121")


def test_functions_run_in_interactive_transactions(functions: Wire | None, library: PorticoProcess):
    if functions is None:
        return
    begun = library.client.post("/api/db/transaction/begin", json={}).json()["data"]["transaction_id"]
    inside = {"X-Transaction-ID": begun}
    assert functions.post("/rpc/lend", json={"book": 2}, headers=inside).status_code == 204
    assert functions.get("/rpc/loans_of?book=2&select=id", headers=inside).json() == [{"id": 4}]
    assert functions.get("/rpc/add_them?a=1", headers=inside).json() == 11
    refused = functions.get("/rpc/lend?book=2", headers=inside)
    assert (refused.status_code, refused.json()["code"]) == (405, "PGRST117")
    assert functions.post("/rpc/refuse", json={"why": "no"}, headers=inside).status_code == 400
    single = functions.post("/rpc/lend_all", json={}, headers=inside | {"Accept": "application/vnd.pgrst.object+json"})
    assert (single.status_code, single.json()["code"]) == (406, "PGRST116")
    # What failed was undone, the transaction goes on, and it still writes.
    assert functions.post("/rpc/lend", json={"book": 3}, headers=inside).status_code == 204
    assert functions.post("/books", json={"id": 77, "title": "T"}, headers=inside).status_code == 201
    assert [row["id"] for row in functions.get("/loans?order=id", headers=inside).json()] == [1, 2, 3, 4, 5]
    assert len(functions.get("/loans").json()) == 3
    library.client.post(f"/api/db/transaction/{begun}/commit").raise_for_status()
    assert len(functions.get("/loans").json()) == 5


def test_a_transaction_that_only_reads_calls_nothing_that_writes(functions: Wire | None, library: PorticoProcess):
    if functions is None:
        return
    begun = library.client.post("/api/db/transaction/begin", json={"read_only": True}).json()["data"]["transaction_id"]
    inside = {"X-Transaction-ID": begun}
    assert functions.post("/rpc/add_them", json={"a": 1}, headers=inside).json() == 11
    assert functions.post("/rpc/lend", json={"book": 2}, headers=inside).status_code == 400
    library.client.post(f"/api/db/transaction/{begun}/rollback").raise_for_status()


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
