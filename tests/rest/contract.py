"""PostgREST's documentation, page by page: what a call of each feature is answered, or by what the answer differs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

OBJECT, CSV, OPENAPI = "application/vnd.pgrst.object+json", "text/csv", "application/openapi+json"
SHOWN = "return=representation"
NO_FULL_TEXT = (501, "0A000")
NO_FUNCTION = (404, "PGRST202")
NO_SCHEMA = (406, "PGRST106")


@dataclass(frozen=True)
class Case:
    """A call of the library, and its answer.

    Attributes:
        feature: what it is of. call: method and path. status, answer: what comes back; a text is an error's code, or the body of one
            that is no JSON. told: headers of the answer. prefer, accept, headers, body: of the call.
        sqlite: the status and the code of an engine that lacks the feature. differs: words of the documentation that say so.
    """

    feature: str
    call: str
    status: int
    answer: object = None
    told: dict[str, str] = field(default_factory=dict)
    prefer: str = ""
    accept: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: object = None
    sqlite: tuple[int, str] | None = None
    differs: str = ""


def ids(*wanted: int) -> list[dict[str, int]]:
    """The rows of these ids."""
    return [{"id": one} for one in wanted]


def ranged(text: str, **others: str) -> dict[str, str]:
    """`Content-Range`, and others."""
    return {"content-range": text, **others}


NEW: dict[str, Any] = {"id": 9, "title": "T"}
BOOKS = "GET /books?select=id&order=id"
READS = [
    # Tables and views: filters
    Case("eq", f"{BOOKS}&id=eq.1", 200, ids(1), ranged("0-0/*")),
    Case("any", f"{BOOKS}&title=like(any).{{*Notes,More*}}", 200, ids(1, 2)),
    Case("all", f"{BOOKS}&id=lt(all).{{3,4}}", 200, ids(1, 2)),
    Case("is", f"{BOOKS}&in_print=is.true", 200, ids(1, 3)),
    Case("is not null", f"{BOOKS}&in_print=is.not_null", 200, ids(1, 2, 3)),
    Case("isdistinct", f"{BOOKS}&price=isdistinct.7", 200, ids(1, 2, 4)),
    Case("in", f'{BOOKS}&title=in.("a,b (c) \\"d\\"",Notes)', 200, ids(1, 3)),
    Case("logic", f"{BOOKS}&not.and=(id.gt.1,id.lt.4)", 200, ids(1, 4)),
    Case("logic in logic", f"{BOOKS}&or=(id.eq.1,and(id.gt.2,not.or(id.eq.3,id.eq.9)))", 200, ids(1, 4)),
    Case("full text", f"{BOOKS}&title=fts(english).notes", 200, ids(1, 2), sqlite=NO_FULL_TEXT),
    Case("web search", f"{BOOKS}&title=wfts.notes", 200, ids(1, 2), sqlite=NO_FULL_TEXT),
    Case("quoted names", f"{BOOKS}&%22title%22=eq.Notes", 200, ids(1)),
    Case("no quotes in plain values", f"{BOOKS}&title=eq.%22Notes%22", 200, []),
    Case("unknown operator", f"{BOOKS}&id=foo.1", 400, "PGRST100"),
    Case("no operator", f"{BOOKS}&id=1", 400, "PGRST100"),
    Case("unknown column", f"{BOOKS}&nope=eq.1", 400, "42703"),
    Case("malformed value", f"{BOOKS}&id=eq.x", 400, "22P02"),
    Case("words for moments", f"{BOOKS}&published=gt.now", 400, "22P02", differs="`now`"),
    # Columns
    Case("alias", "GET /books?select=fullName:title&id=eq.1", 200, [{"fullName": "Notes"}]),
    Case("cast", "GET /books?select=pages::text&id=eq.1", 200, [{"pages": "65"}]),
    Case("JSON", "GET /books?select=detail->deep->a->0,detail->>lang&id=eq.1", 200, [{"a": 1, "lang": "en"}]),
    Case("arrays", "GET /books?select=tags->0&id=eq.1", 400, "22P02", differs="places inside of arrays"),
    Case("a column twice", "GET /books?select=*,id&id=eq.1", 400, "PGRST100", differs="names a member twice"),
    Case("order", "GET /books?select=id&order=pages.desc,id.asc&limit=2", 200, ids(4, 2)),
    Case("order of nulls", "GET /books?select=id&order=price.desc.nullslast,id&limit=2", 200, ids(4, 1)),
    Case("order by JSON", "GET /books?select=id&order=detail->>lang.desc.nullslast,id&limit=2", 200, ids(2, 1)),
    # Pagination and count
    Case("limit and offset", f"{BOOKS}&limit=2&offset=1", 200, ids(2, 3), ranged("1-2/*")),
    Case("no rows", f"{BOOKS}&limit=0", 200, [], ranged("*/*")),
    Case("a range", BOOKS, 200, ids(1, 2), ranged("0-1/*"), headers={"Range-Unit": "items", "Range": "0-1"}),
    Case("a range without end", BOOKS, 200, ids(3, 4), ranged("2-3/*"), headers={"Range": "2-"}),
    Case("another unit's range", BOOKS, 200, ids(1, 2, 3, 4), ranged("0-3/*"), headers={"Range": "bytes=0-1"}),
    Case("a range backwards", BOOKS, 416, "PGRST103", headers={"Range": "1-0"}),
    Case("a limit below zero", f"{BOOKS}&limit=-1", 416, "PGRST103"),
    Case("beyond the end, uncounted", f"{BOOKS}&offset=9", 200, [], ranged("*/*")),
    Case("beyond the end", f"{BOOKS}&offset=9", 416, "PGRST103", prefer="count=exact"),
    Case("at the end", f"{BOOKS}&offset=4", 206, [], ranged("*/4"), prefer="count=exact"),
    Case("exact count", f"{BOOKS}&limit=2", 206, ids(1, 2), ranged("0-1/4"), prefer="count=exact"),
    Case("the whole, counted", BOOKS, 200, ids(1, 2, 3, 4), ranged("0-3/4"), prefer="count=exact"),
    Case("estimated count", f"{BOOKS}&limit=2", 206, ids(1, 2), ranged("0-1/4"), prefer="count=estimated"),
    Case("HEAD", "HEAD /books", 200, "", ranged("0-3/4"), prefer="count=exact"),
    Case("HEAD beyond the end", "HEAD /books?offset=9", 416, "", {"proxy-status": "PostgREST; error=PGRST103"}, prefer="count=exact"),
    # Resource embedding
    Case("to-one", "GET /books?select=id,author(name)&id=in.(1,4)&order=id", 200,
         [{"id": 1, "author": {"name": "Ada"}}, {"id": 4, "author": None}]),
    Case("to-many", "GET /authors?select=name,books(id)&books.order=id.desc&books.limit=1&id=eq.1", 200,
         [{"name": "Ada", "books": ids(2)}]),
    Case("alias and hint", "GET /books?select=writer:authors!author_id(name)&id=eq.1", 200, [{"writer": {"name": "Ada"}}]),
    Case("inner", "GET /books?select=id,author!inner(name)&author.name=eq.Bo", 200, [{"id": 3, "author": {"name": "Bo"}}]),
    Case("related is null", "GET /books?select=id,author()&author=is.null", 200, ids(4)),
    Case("or with related", "GET /books?select=id,author()&or=(author.is.null,id.eq.1)&order=id", 200, ids(1, 4)),
    Case("or inside", "GET /authors?select=books(id)&books.or=(id.eq.1,id.eq.9)&id=eq.1", 200, [{"books": ids(1)}]),
    Case("spread", "GET /books?select=id,...author(name)&id=eq.1", 200, [{"id": 1, "name": "Ada"}]),
    Case("order by related", "GET /books?select=id,author()&order=author(name).desc.nullslast&limit=1", 200, ids(3)),
    Case("unknown relation", "GET /books?select=nope(id)", 400, "PGRST200"),
    # Aggregate functions
    Case("count", "GET /books?select=count()", 200, [{"count": 4}]),
    Case("sum", "GET /books?select=pages.sum()", 200, [{"sum": 1060}]),
    Case("groups", "GET /books?select=in_print,top:pages.max()&order=in_print", 200,
         [{"in_print": False, "top": 130}, {"in_print": True, "top": 65}, {"in_print": None, "top": 800}]),
    # Resource representation
    Case("one object", f"{BOOKS}&id=eq.1", 200, {"id": 1}, {"content-type": f"{OBJECT}; charset=utf-8"}, accept=OBJECT),
    Case("no single object", BOOKS, 406, "PGRST116", accept=OBJECT),
    Case("nulls stripped", "GET /books?select=id,price&id=eq.2", 200, {"id": 2}, accept=f"{OBJECT};nulls=stripped"),
    Case("CSV", "GET /books?select=id,in_print&id=eq.1", 200, "id,in_print\n1,t\n", accept=CSV),
    Case("CSV of nothing", "GET /books?select=id&id=eq.99", 200, "\n", accept=CSV),
    Case("datetimes in CSV", "GET /books?select=published&id=eq.1", 200, "published\n1843-09-01T10:00:00+00:00\n", accept=CSV,
         differs="datetimes in CSV"),
    Case("what cannot be answered", BOOKS, 406, "PGRST107", accept="text/plain"),
    Case("a browser's wishes", f"{BOOKS}&id=eq.1", 200, ids(1), accept="text/html,application/xml;q=0.9,*/*;q=0.8"),
    # Preferences
    Case("lenient", f"{BOOKS}&id=eq.1", 200, ids(1), {"preference-applied": "handling=lenient"}, prefer="foo=bar, handling=lenient"),
    Case("strict", BOOKS, 400, "PGRST122", prefer="foo=bar, handling=strict"),
    # Schemas
    Case("the default profile", f"{BOOKS}&id=eq.1", 200, ids(1), headers={"Accept-Profile": "public"}),
    Case("another schema", "GET /maps", 200, [{"id": 1, "name": "Atlas"}], headers={"Accept-Profile": "annex"}, sqlite=NO_SCHEMA),
    Case("an unknown schema", BOOKS, 406, "PGRST106", headers={"Accept-Profile": "nope"}),
    # OPTIONS, OpenAPI, URLs
    Case("OPTIONS", "OPTIONS /books", 200, "", {"allow": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}),
    Case("OPTIONS of the root", "OPTIONS /", 200, "", {"allow": "GET, HEAD, OPTIONS"}),
    Case("OPTIONS of a function", "OPTIONS /rpc/add_them", 200, "", {"allow": "GET, HEAD, POST, OPTIONS"}, sqlite=NO_FUNCTION),
    Case("OPTIONS of one that writes", "OPTIONS /rpc/lend", 200, "", {"allow": "POST, OPTIONS"}, sqlite=NO_FUNCTION),
    Case("OpenAPI", "HEAD /", 200, "", {"content-type": f"{OPENAPI}; charset=utf-8"}, accept=OPENAPI),
    Case("OpenAPI by default", "HEAD /", 200, "", {"content-type": f"{OPENAPI}; charset=utf-8"}),
    Case("nothing else at the root", "GET /", 406, "PGRST107", accept=CSV),
    Case("unknown table", "GET /nope", 404, "PGRST205"),
    Case("a path below", "GET /books/1", 404, "PGRST125"),
    Case("unknown method", "TRACE /books", 405, "PGRST117"),
    # Functions
    Case("a function by GET", "GET /rpc/add_them?a=1&b=2", 200, 3, sqlite=NO_FUNCTION),
    Case("default arguments", "GET /rpc/add_them?a=1", 200, 11, sqlite=NO_FUNCTION),
    Case("variadic arguments", "GET /rpc/joined?first=x&others=1&others=2", 200, "x:1,2", sqlite=NO_FUNCTION),
    Case("rows of a function", "GET /rpc/loans_of?book=1&select=id&id=gt.1&order=id.desc", 200, ids(3, 2), sqlite=NO_FUNCTION),
    Case("rows counted", "GET /rpc/loans_of?book=1&select=id", 206, ids(1), ranged("0-0/3"), prefer="count=exact",
         headers={"Range": "0-0"}, sqlite=NO_FUNCTION),
    Case("HEAD of a function", "HEAD /rpc/loans_of?book=1", 200, "", ranged("0-2/3"), prefer="count=exact", sqlite=(404, "")),
    Case("one object of a function", "GET /rpc/loans_of?book=1&id=eq.2&select=id", 200, {"id": 2}, accept=OBJECT, sqlite=NO_FUNCTION),
    Case("what a function's rows are related to", "GET /rpc/loans_of?book=1&id=eq.2&select=id,books(title)", 200,
         [{"id": 2, "books": {"title": "Notes"}}], sqlite=NO_FUNCTION),
    Case("unknown function", "GET /rpc/nope", 404, "PGRST202"),
    Case("unknown argument", "GET /rpc/add_them?a=1&c=2", 404, "PGRST202"),
    Case("a function that writes, by GET", "GET /rpc/lend?book=1", 405, "PGRST117", {"allow": "POST"},
         sqlite=NO_FUNCTION, differs="`25006`"),
]  # fmt: skip
UP = "resolution=merge-duplicates"
WRITES = [
    # Insertions
    Case("insert", "POST /books", 201, "", ranged("*/*"), body=NEW),
    Case("insert, shown", "POST /books?select=id,pages", 201, [{"id": 9, "pages": 100}], prefer=SHOWN, body=NEW),
    Case("where it is", "POST /books", 201, "", {"location": "/rest/v1/books?id=eq.9"}, prefer="return=headers-only", body=NEW),
    Case("insert, counted", "POST /books", 201, "", ranged("*/1"), prefer="count=exact", body=NEW),
    Case("nothing to insert", "POST /books", 201, [], prefer=SHOWN, body=[]),
    Case("an unknown member", "POST /books", 400, "PGRST204", body={"id": 9, "title": "T", "nope": 1}),
    Case("an unknown member of several", "POST /books", 400, "PGRST204", body=[{"id": 9, "title": "T", "nope": 1}] * 2),
    Case("an unknown column", "POST /books?columns=id,nope", 400, "PGRST204", body=NEW),
    Case("an unknown column shown", "POST /books?select=nope", 400, "42703", prefer=SHOWN, body=NEW),
    Case("unlike rows", "POST /books", 400, "PGRST102", body=[NEW, {"id": 10}]),
    Case("no object", "POST /books", 400, "PGRST102", body="x"),
    Case("columns", "POST /books?columns=id,title&select=pages", 201, [{"pages": 100}], prefer=SHOWN, body=NEW | {"pages": 1, "x": 1}),
    Case("missing is null", "POST /books?columns=id,title,pages&select=pages", 201, [{"pages": None}], prefer=SHOWN, body=[NEW]),
    Case("missing is default", "POST /books?columns=id,title,pages&select=pages", 201, [{"pages": 100}],
         {"preference-applied": "missing=default, return=representation"}, prefer=f"missing=default, {SHOWN}", body=[NEW]),
    Case("insert, undone", "POST /books?select=id", 201, ids(9), {"preference-applied": "return=representation, tx=rollback"},
         prefer=f"tx=rollback, {SHOWN}", body=NEW),
    Case("insert, as CSV", "POST /books?select=id", 201, "id\n9\n", prefer=SHOWN, accept=CSV, body=NEW),
    Case("a duplicate", "POST /books", 409, "23505", body={"id": 1, "title": "T"}),
    Case("nothing that is required", "POST /books", 400, "23502", body={}),
    Case("another schema's", "POST /maps?select=id", 201, ids(2), prefer=SHOWN, headers={"Content-Profile": "annex"},
         body={"id": 2, "name": "x"}, sqlite=NO_SCHEMA),
    # Upserts
    Case("merge", "POST /books?select=title,pages", 200, [{"title": "T", "pages": 65}],
         prefer=f"{SHOWN}, {UP}", body={"id": 1, "title": "T"}),
    Case("merge some", "POST /books?select=id", 201, ids(1, 9), prefer=f"{SHOWN}, {UP}", body=[{"id": 1, "title": "T"}, NEW]),
    Case("ignore", "POST /books", 200, [], prefer=f"{SHOWN}, resolution=ignore-duplicates", body={"id": 1, "title": "T"}),
    Case("on_conflict", "POST /authors?on_conflict=name&select=id", 200, ids(1), prefer=f"{SHOWN}, {UP}", body={"id": 9, "name": "Ada"}),
    Case("on_conflict alone", "POST /authors?on_conflict=name", 400, "PGRST100", body={"id": 9, "name": "Ada"},
         differs="`on_conflict` without"),
    Case("put a new row", "PUT /books?id=eq.9&select=id", 201, ids(9), prefer=SHOWN, body=NEW),
    Case("put a row that is there", "PUT /books?id=eq.1&select=title", 200, [{"title": "T"}], prefer=SHOWN, body={"id": 1, "title": "T"}),
    Case("put another key", "PUT /books?id=eq.1", 400, "PGRST115", body=NEW),
    Case("put without the key", "PUT /books?title=eq.T", 405, "PGRST105", body=NEW),
    # Updates and deletions
    Case("update", "PATCH /books?id=eq.1&select=pages", 200, [{"pages": 1}], ranged("0-0/*"), prefer=SHOWN, body={"pages": 1}),
    Case("update by an array of one", "PATCH /books?id=eq.1&select=pages", 200, [{"pages": 1}], prefer=SHOWN, body=[{"pages": 1}]),
    Case("update, counted", "PATCH /books?id=lt.3", 204, "", ranged("0-1/2"), prefer="count=exact", body={"pages": 1}),
    Case("update nothing that is there", "PATCH /books?id=eq.99", 200, [], ranged("*/*"), prefer=SHOWN, body={"pages": 1}),
    Case("update an unknown member", "PATCH /books?id=eq.1", 400, "PGRST204", body={"nope": 1}),
    Case("update by an unknown filter", "PATCH /books?nope=eq.1", 400, "42703", body={"pages": 1}),
    Case("update by nothing", "PATCH /books?id=eq.1", 400, "PGRST100", body={}, differs="A body without members"),
    Case("update more than that", "PATCH /books?id=gt.0", 400, "PGRST124", prefer="handling=strict, max-affected=2", body={"pages": 1}),
    Case("update everything", "PATCH /books", 400, "21000", body={"pages": 1}, differs="without a filter"),
    Case("limited updates", "PATCH /books?id=gt.0&order=id&limit=1", 400, "PGRST100", body={"pages": 1}, differs="`order` and `limit` on"),
    Case("delete", "DELETE /books?id=eq.4&select=id", 200, ids(4), ranged("*/*"), prefer=SHOWN),
    Case("delete, counted", "DELETE /books?id=eq.4", 204, "", ranged("*/1"), prefer="count=exact"),
    Case("delete everything", "DELETE /books", 400, "21000", differs="without a filter"),
    # Functions
    Case("a function by POST", "POST /rpc/add_them", 200, 3, body={"a": 1, "b": 2}, sqlite=NO_FUNCTION),
    Case("columns of arguments", "POST /rpc/add_them?columns=a", 200, 11, body={"a": 1, "b": 2}, sqlite=NO_FUNCTION),
    Case("a function of nothing", "POST /rpc/lend", 204, "", body={"book": 2}, sqlite=NO_FUNCTION),
    Case("a whole body", "POST /rpc/whole_json", 200, "array", body=[1, 2], sqlite=NO_FUNCTION),
    Case("more than may be", "POST /rpc/lend_all", 400, "PGRST124", prefer="handling=strict, max-affected=1", body={}, sqlite=NO_FUNCTION),
    Case("a bound on no set", "POST /rpc/add_them", 400, "PGRST128", prefer="handling=strict, max-affected=1",
         body={"a": 1}, sqlite=NO_FUNCTION),
    Case("what it raises", "POST /rpc/raise_as", 402, "PT402", body={"state": "PT402", "message": "Pay"}, sqlite=NO_FUNCTION),
    Case("PUT of a function", "PUT /rpc/add_them", 405, "PGRST117", body={}),
]  # fmt: skip
