"""What each builder method of `postgrest` (Python) is run with, and what the library must answer. Sync and async are asked the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from postgrest.types import CountMethod, ReturnMethod

Build = Callable[[Any], Any]


@dataclass(frozen=True)
class Case:
    """A call of the client.

    Attributes:
        build: makes the request of a client. answer: the `data` that comes back, or a check of the whole answer.
        lacks: the engines that refuse it, with the code that they refuse it by.
    """

    build: Build
    answer: object
    lacks: tuple[tuple[str, str], ...] = ()


NOT_ON_SQLITE = (("sqlite", "0A000"),)
EVERYWHERE_PARAMETER = (("sqlite", "PGRST100"), ("postgres", "PGRST100"))
EVERYWHERE_FILTER = (("sqlite", "21000"), ("postgres", "21000"))
NO_TABLE = (("sqlite", "PGRST205"),)
NO_FUNCTION = (("sqlite", "PGRST202"),)


def ids(*wanted: int) -> list[dict[str, int]]:
    """The rows of these ids."""
    return [{"id": one} for one in wanted]


def books(c: Any) -> Any:
    """The ids of books."""
    return c.from_("books").select("id").order("id")


def loans(c: Any) -> Any:
    """The ids of loans, a table that only PostgreSQL has."""
    return c.from_("loans").select("id").order("id")


FILTERS: dict[str, list[Case]] = {
    "eq": [
        Case(lambda c: books(c).eq("title", 'a,b (c) "d"'), ids(3)),
        Case(lambda c: books(c).eq("in_print", True), ids(1, 3)),
        Case(lambda c: books(c).eq("published", "1843-09-01T12:00:00+02:00"), ids(1)),
        Case(lambda c: books(c).eq("detail->>lang", "en"), ids(1, 4)),
        Case(lambda c: books(c).eq("detail->n", 2), ids(2)),
    ],
    "neq": [Case(lambda c: books(c).neq("id", 1), ids(2, 3, 4))],
    "gt": [Case(lambda c: books(c).gt("price", 7), ids(1, 4))],
    "gte": [Case(lambda c: books(c).gte("price", 7), ids(1, 3, 4))],
    "lt": [Case(lambda c: books(c).lt("pages", 130), ids(1, 3))],
    "lte": [Case(lambda c: books(c).lte("pages", 130), ids(1, 2, 3))],
    "is_": [
        Case(lambda c: books(c).is_("price", None), ids(2)),
        Case(lambda c: books(c).is_("in_print", False), ids(2)),
        Case(lambda c: books(c).is_("in_print", "unknown"), ids(4)),
    ],
    "like": [Case(lambda c: books(c).like("title", "%Notes"), ids(1, 2)), Case(lambda c: books(c).like("title", "More*"), ids(2))],
    "ilike": [Case(lambda c: books(c).ilike("title", "%NOTES"), ids(1, 2))],
    "like_all_of": [Case(lambda c: books(c).like_all_of("title", "%Notes,More%"), ids(2))],
    "like_any_of": [Case(lambda c: books(c).like_any_of("title", "Notes,More%"), ids(1, 2))],
    "ilike_all_of": [Case(lambda c: books(c).ilike_all_of("title", "%notes,more%"), ids(2))],
    "ilike_any_of": [Case(lambda c: books(c).ilike_any_of("title", "notes,more%"), ids(1, 2))],
    "in_": [
        Case(lambda c: books(c).in_("title", ['a,b (c) "d"', "Notes"]), ids(1, 3)),
        Case(lambda c: books(c).in_("id", [2, 4, 9]), ids(2, 4)),
        Case(lambda c: books(c).in_("id", []), []),
    ],
    "or_": [
        Case(lambda c: books(c).or_("id.eq.1,and(pages.gt.100,in_print.is.false)"), ids(1, 2)),
        Case(lambda c: books(c).not_.or_("id.eq.1,id.eq.2"), ids(3, 4)),
    ],
    "not_": [Case(lambda c: books(c).not_.is_("price", None), ids(1, 3, 4)), Case(lambda c: books(c).not_.in_("id", [1]), ids(2, 3, 4))],
    "filter": [
        Case(lambda c: books(c).filter("detail->deep->a->>0", "eq", "1"), ids(1)),
        Case(lambda c: books(c).filter("id", "eq(any)", "{1,3}"), ids(1, 3)),
        Case(lambda c: books(c).filter("title", "match", "^More"), ids(2)),
        Case(lambda c: books(c).filter("price", "isdistinct", "7"), ids(1, 2, 4)),
    ],
    "match": [Case(lambda c: books(c).match({"pages": 65, "in_print": True}), ids(1, 3))],
    "cs": [Case(lambda c: books(c).cs("tags", ["maths"]), ids(1, 2)), Case(lambda c: books(c).cs("tags", ["a,b"]), ids(4))],
    "contains": [
        Case(lambda c: books(c).contains("tags", ["maths", "engine"]), ids(1)),
        Case(lambda c: books(c).contains("detail", {"lang": "en"}), ids(1, 4)),
        Case(lambda c: loans(c).contains("during", "[2,3)"), ids(1), NO_TABLE),
    ],
    "cd": [Case(lambda c: books(c).cd("tags", ["maths"]), ids(2, 3))],
    "contained_by": [
        Case(lambda c: books(c).contained_by("tags", ["maths", "x"]), ids(2, 3)),
        Case(lambda c: books(c).contained_by("detail", {"lang": "fr", "n": 2, "x": 1}), ids(2)),
        Case(lambda c: loans(c).contained_by("during", "[0,25)"), ids(1, 2), NO_TABLE),
    ],
    "ov": [
        Case(lambda c: books(c).ov("tags", ["engine", "x y"]), ids(1, 4)),
        Case(lambda c: loans(c).ov("during", "[5,15)"), ids(1, 2), NO_TABLE),
    ],
    "overlaps": [Case(lambda c: books(c).overlaps("tags", ["engine"]), ids(1))],
    "sl": [Case(lambda c: loans(c).sl("during", (15, 20)), ids(1), NO_TABLE)],
    "sr": [Case(lambda c: loans(c).sr("during", (1, 15)), ids(3), NO_TABLE)],
    "nxl": [Case(lambda c: loans(c).nxl("during", (5, 15)), ids(2, 3), NO_TABLE)],
    "nxr": [Case(lambda c: loans(c).nxr("during", (0, 20)), ids(1, 2), NO_TABLE)],
    "adj": [Case(lambda c: loans(c).adj("during", (19, 30)), ids(2, 3), NO_TABLE)],
    "range_lt": [Case(lambda c: loans(c).range_lt("during", (15, 20)), ids(1), NO_TABLE)],
    "range_gt": [Case(lambda c: loans(c).range_gt("during", (1, 15)), ids(3), NO_TABLE)],
    "range_gte": [Case(lambda c: loans(c).range_gte("during", (5, 15)), ids(2, 3), NO_TABLE)],
    "range_lte": [Case(lambda c: loans(c).range_lte("during", (0, 20)), ids(1, 2), NO_TABLE)],
    "range_adjacent": [Case(lambda c: loans(c).range_adjacent("during", (19, 30)), ids(2, 3), NO_TABLE)],
    "fts": [
        Case(lambda c: loans(c).fts("words", "fat & rat"), ids(3), NO_TABLE),
        Case(lambda c: books(c).fts("title", "notes"), ids(1, 2), NOT_ON_SQLITE),
    ],
    "plfts": [Case(lambda c: books(c).plfts("title", "notes"), ids(1, 2), NOT_ON_SQLITE)],
    "phfts": [Case(lambda c: books(c).phfts("title", "nobody"), ids(4), NOT_ON_SQLITE)],
    "wfts": [Case(lambda c: books(c).wfts("title", "notes or nobody -engine"), ids(1, 2, 4), NOT_ON_SQLITE)],
}
SELECTS: dict[str, list[Case]] = {
    "text_search": [
        Case(lambda c: books(c).text_search("title", "notes", {"config": "english"}), ids(1, 2), NOT_ON_SQLITE),
        Case(lambda c: books(c).text_search("title", "more notes", {"type": "phrase", "config": "simple"}), ids(2), NOT_ON_SQLITE),
        Case(lambda c: books(c).text_search("title", "notes", {"type": "web_search"}), ids(1, 2), NOT_ON_SQLITE),
    ],
    "order": [
        Case(lambda c: c.from_("books").select("id").order("pages").order("id", desc=True), ids(3, 1, 2, 4)),
        Case(lambda c: c.from_("books").select("id").order("price", nullsfirst=True), ids(2, 3, 1, 4)),
    ],
    "limit": [Case(lambda c: books(c).limit(2), ids(1, 2))],
    "offset": [Case(lambda c: books(c).offset(3), ids(4))],
    "range": [Case(lambda c: books(c).range(1, 2), ids(2, 3))],
    "strip_nulls": [Case(lambda c: c.from_("books").select("id,price").eq("id", 2).strip_nulls(), ids(2))],
    "single": [
        Case(lambda c: books(c).eq("id", 1).single(), {"id": 1}),
        Case(lambda c: books(c).single(), None, (("sqlite", "PGRST116"), ("postgres", "PGRST116"))),
    ],
    "maybe_single": [
        Case(lambda c: books(c).eq("id", 1).maybe_single(), {"id": 1}),
        Case(lambda c: books(c).eq("id", 9).maybe_single(), lambda answer: answer is None),
    ],
    "csv": [Case(lambda c: c.from_("books").select("id,title").lt("id", 3).csv(), "id,title\n1,Notes\n2,More Notes\n")],
    "explain": [
        # A plan is for who has `admin`, and is no text: EXPLAIN's own tells of values, and of rows of other tenants.
        Case(lambda c: books(c).explain(), None, (("sqlite", "PGRST107"), ("postgres", "PGRST107"))),
        Case(lambda c: books(c).explain(format="json", analyze=True), lambda answer: "indexes" in str(answer)),
    ],
    "retry": [Case(lambda c: books(c).eq("id", 1).retry(False), ids(1))],
}
NEW = {"id": 9, "title": "New", "author_id": 3}
REQUESTS: dict[str, list[Case]] = {
    "select": [
        Case(lambda c: c.from_("books").select("id", count=CountMethod.exact).lt("id", 3), lambda a: a.count == 2 and a.data == ids(1, 2)),
        Case(lambda c: c.from_("books").select("*", count=CountMethod.exact, head=True), lambda a: (a.count, a.data) == (4, [])),
        Case(lambda c: c.from_("books").select("id", count=CountMethod.estimated).limit(1), lambda a: a.count is not None),
        Case(lambda c: c.from_("books").select("title, size:pages::text").eq("id", 1), [{"title": "Notes", "size": "65"}]),
    ],
    "insert": [
        Case(lambda c: c.from_("books").insert(NEW).select("id,pages,published"), [{"id": 9, "pages": 100, "published": None}]),
        Case(lambda c: c.from_("books").insert([NEW, {"id": 10, "title": "T", "pages": 5}]).select("id,pages"),
             [{"id": 9, "pages": None}, {"id": 10, "pages": 5}]),
        Case(lambda c: c.from_("books").insert([NEW, {"id": 10, "title": "T", "pages": 5}], default_to_null=False).select("id,pages"),
             [{"id": 9, "pages": 100}, {"id": 10, "pages": 5}]),
        Case(lambda c: c.from_("books").insert(NEW, returning=ReturnMethod.minimal), []),
        Case(lambda c: c.from_("books").insert([NEW], count=CountMethod.exact), lambda a: a.count == 1),
        Case(lambda c: c.from_("books").insert([]), []),
    ],
    "upsert": [
        Case(lambda c: c.from_("books").upsert({"id": 1, "title": "Changed"}).select("id,title,pages"),
             [{"id": 1, "title": "Changed", "pages": 65}]),
        Case(lambda c: c.from_("books").upsert([{"id": 1, "title": "Changed"}, NEW], default_to_null=False).select("id,title"),
             [{"id": 1, "title": "Changed"}, {"id": 9, "title": "New"}]),
        Case(lambda c: c.from_("books").upsert([{"id": 1, "title": "Changed"}, NEW], ignore_duplicates=True).select("id"), ids(9)),
        Case(lambda c: c.from_("authors").upsert({"id": 8, "name": "Ada", "born": "1999-01-01"}, on_conflict="name").select("id,born"),
             [{"id": 1, "born": "1999-01-01"}]),
        Case(lambda c: c.from_("books").upsert(NEW, count=CountMethod.exact, returning=ReturnMethod.minimal), lambda a: a.count == 1),
        Case(lambda c: c.from_("books").upsert({"title": "T"}, on_conflict="title"), None, EVERYWHERE_PARAMETER),
    ],
    "update": [
        Case(lambda c: c.from_("books").update({"pages": 1}).lt("id", 2).select("id,pages"), [{"id": 1, "pages": 1}]),
        Case(lambda c: c.from_("books").update({"pages": 1}, count=CountMethod.exact).eq("id", 9), lambda a: (a.count, a.data) == (0, [])),
        Case(lambda c: c.from_("books").update({"pages": 1}, returning=ReturnMethod.minimal).eq("id", 1), []),
        Case(lambda c: c.from_("books").update({"pages": 1}), None, EVERYWHERE_FILTER),
    ],
    "delete": [
        Case(lambda c: c.from_("books").delete(count=CountMethod.exact).gt("id", 3), lambda a: (a.count, len(a.data)) == (1, 1)),
        Case(lambda c: c.from_("books").delete(), None, EVERYWHERE_FILTER),
    ],
}  # fmt: skip
CHANGES: dict[str, list[Case]] = {
    "rpc": [
        Case(lambda c: c.rpc("add_them", {"a": 1, "b": 2}), 3, NO_FUNCTION),
        Case(lambda c: c.rpc("add_them", {"a": 1}, get=True), 11, NO_FUNCTION),
        Case(lambda c: c.rpc("add_them", {"a": 1}, head=True), [], (("sqlite", "PGRST202"),)),
        Case(lambda c: c.rpc("loans_of", {"book": 1}).select("id").gt("id", 1).order("id"), ids(2, 3), NO_FUNCTION),
        Case(lambda c: c.rpc("loans_of", {"book": 1}, count=CountMethod.exact).limit(1), lambda a: a.count == 3, NO_FUNCTION),
        Case(lambda c: c.rpc("loans_of", {"book": 1}, get=True).select("id").eq("id", 2).single(), {"id": 2}, NO_FUNCTION),
        Case(lambda c: c.rpc("loans_of", {"book": 1}).eq("id", 2).maybe_single(), lambda a: a.data["id"] == 2, NO_FUNCTION),
        Case(lambda c: c.rpc("prices", {}).eq("title", "Notes").csv(), "title,price\nNotes,12.50\n", NO_FUNCTION),
        Case(lambda c: c.rpc("lend", {"book": 2}), [], NO_FUNCTION),
        Case(lambda c: c.rpc("hidden_one", {}), None, (("sqlite", "PGRST202"), ("postgres", "PGRST202"))),
    ],
    "max_affected": [
        Case(lambda c: c.from_("books").update({"pages": 1}).lt("id", 3).max_affected(2).select("id"), ids(1, 2)),
        Case(lambda c: c.from_("books").delete().gt("id", 1).max_affected(2), None, (("sqlite", "PGRST124"), ("postgres", "PGRST124"))),
    ],
}
