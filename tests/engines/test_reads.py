"""Reads: every operator on every type, JSON places, sorting with NULLs, what an answer shows."""

import json
from decimal import Decimal

import pytest

from portico.errors import NotSupported
from portico.query.capabilities import Capability
from tests.engines.declarations import THINGS
from tests.engines.harness import Harness, OpenHarness

FILTERS = [
    ("text=eq.alpha", [1]),
    ("text=neq.alpha", [2, 3]),
    ("text=gt.alpha", [3]),
    ("text=in.(alpha,beta)", [1]),
    ("text=like.Beta*", [2]),
    ("text=like.beta*", []),
    ("text=like.*\\%", [2]),
    ("text=like.*a\\_*", [2]),
    ("text=like.a_pha", [1]),
    ("text=ilike.BETA*", [2]),
    ("text=ilike.äg*", [3]),
    ("text=match.^al", [1]),
    ("text=match.PHA$", []),
    ("text=imatch.PHA$", [1]),
    ("text=imatch.^äg", [3]),
    ("text=match.EN.next", [3]),
    ("text=is.null", [4]),
    ("text=not.is.null", [1, 2, 3]),
    ("text=isdistinct.alpha", [2, 3, 4]),
    ("text=eq(any).{alpha,gamma}", [1]),
    ("text=like(all).{al*,*ha}", [1]),
    ("text=like(any).{al*,Be*}", [1, 2]),
    ("text=not.like.al*", [2, 3]),
    ("number=eq.2", [2]),
    ("number=neq.2", [1, 3]),
    ("number=not.eq.2", [1, 3]),
    ("number=gte.2", [2, 3]),
    ("number=lt.2", [1]),
    ("number=in.(1,3)", [1, 3]),
    ("number=not.in.(1,3)", [2]),
    ("number=gt(all).{0,1}", [2, 3]),
    ("number=gt(any).{2,9}", [3]),
    ("big=eq.9007199254740993", [1]),
    ("big=gt.9007199254740992", [1]),
    ("big=in.(9007199254740993)", [1]),
    ("ratio=eq.0.1", [1]),
    ("ratio=gt.2", [2, 3]),
    ("ratio=in.(2.5,0.1)", [1, 2]),
    ("price=eq.2.00", [2]),
    ("price=gt.1.999", [2, 3]),
    ("price=eq.1.999", []),
    ("price=in.(1,3.00)", [1, 3]),
    ("price=lte.2.001", [1, 2]),
    ("flag=is.true", [1]),
    ("flag=is.false", [2]),
    ("flag=is.unknown", [3, 4]),
    ("flag=eq.true", [1]),
    ("flag=neq.true", [2]),
    ("flag=in.(true,false)", [1, 2]),
    ("ref=eq.00000000-0000-4000-8000-000000000002", [2]),
    ("ref=in.(00000000-0000-4000-8000-000000000002,00000000-0000-4000-8000-000000000003)", [2, 3]),
    ("ref=gt.00000000-0000-4000-8000-000000000001", [2, 3]),
    ("day=eq.2024-02-29", [2]),
    ("day=lt.2000-01-01", [3]),
    ("day=in.(2024-01-01,1999-12-31)", [1, 3]),
    ("moment=eq.2024-01-01T01:00:00%2B01:00".replace("%2B", "+"), [1]),
    ("moment=gt.2024-01-01T00:00:00Z", [2]),
    ("moment=lte.1999-12-31T23:59:59.999999Z", [3]),
    ("moment=in.(2024-02-29T12:30:00.5Z)", [2]),
    ("kind=eq.b", [2]),
    ("kind=in.(a,c)", [1, 3]),
    ("tags=cs.{y}", [1, 2]),
    ("tags=cs.{x,y}", [1]),
    ("tags=cs.{}", [1, 2, 3]),
    ("tags=cd.{y,z}", [2, 3]),
    ("tags=ov.{x,z}", [1]),
    ("tags=eq.{x,y}", [1]),
    ("tags=is.null", [4]),
    ("data->>lang=eq.en", [1]),
    ("data->>lang=in.(en,de)", [1, 2]),
    ("data->>lang=is.null", [3, 4]),
    ("data->n=eq.1", [1]),
    ("data->n=gt.1", [2]),
    ("data->>n=eq.2.5", [2]),
    ("data->>n=eq.1", [1, 3]),
    ("data->list->0=eq.1", [1]),
    ("data->list->2->>deep=eq.x", [1]),
    ("data->list->-1->>deep=eq.x", [1]),
    ("data->>0=eq.zero", [2]),
    ('data=cs.{"lang":"en"}', [1]),
    ('data=cs.{"list":[{"k":2}]}', [3]),
    ('data->list=cs.[{"v":"b"}]', [3]),
    ("or=(number.eq.1,text.like.Be*)", [1, 2]),
    ("and=(number.gt.1,number.lt.3)", [2]),
    ("not.or=(number.eq.1,number.eq.2)", [3]),
]


@pytest.mark.parametrize(("query", "expected"), FILTERS, ids=[query for query, _ in FILTERS])
async def test_a_filter_of_the_query_string_selects_the_same_documents_on_every_engine(
    things: Harness, query: str, expected: list[int]
) -> None:
    assert sorted(await things.ids("things", query)) == expected  # type: ignore[type-var]


BODIES = [
    ({"number": 2}, [2]),
    ({"number": {"$in": [1, 2]}, "text": {"$ne": "alpha"}}, [2]),
    ({"number": None}, [4]),
    ({"number": {"$nin": [1]}}, [2, 3]),
    ({"$nor": [{"number": 1}, {"number": 2}]}, [3]),
    ({"text": {"$regex": "^al"}}, [1]),
    ({"text": {"$regex": "PHA", "$options": "i"}}, [1]),
    ({"text": {"$exists": True}}, [1, 2, 3]),
    ({"data.n": 1}, [1]),
    ({"data.n": "1"}, [3]),
    ({"data.n": {"$gt": 1}}, [2]),
    ({"data.on": True}, [1]),
    ({"data.lang": {"$exists": True}}, [1, 2, 3]),
    ({"data.on": {"$exists": False}}, [3, 4]),
    ({"data.list": {"$size": 3}}, [1]),
    ({"data.list": {"$size": 0}}, [2]),
    ({"data.list": {"$elemMatch": {"k": 2, "v": "b"}}}, [3]),
    ({"data.list": {"$elemMatch": {"k": 1, "v": "b"}}}, []),
    ({"tags": {"$size": 2}}, [1]),
    ({"tags": {"$contains": ["y"]}}, [1, 2]),
    ({"tags": {"$overlap": ["x", "q"]}}, [1]),
    ({"data.list.2.deep": "x"}, [1]),
    ({"price": {"$gt": Decimal("1.999")}}, [2, 3]),
]


@pytest.mark.parametrize(("filter_", "expected"), BODIES, ids=[str(body) for body, _ in BODIES])
async def test_a_filter_of_a_json_body_selects_the_same_documents_on_every_engine(
    things: Harness, filter_: dict[str, object], expected: list[int]
) -> None:
    found = await things.ids("things", {"filter": filter_})
    # A missing member and a null one are alike where a document has no such data at all.
    assert [key for key in sorted(found) if key in expected or key != 4] == expected  # type: ignore[type-var]


async def test_a_document_shows_each_type_in_its_own_form(things: Harness) -> None:
    document = await things.get("things", 1)
    assert document is not None
    shown = json.loads(document.body, parse_float=Decimal)
    assert shown["price"] == Decimal("1.00")
    assert '"price":1.00' in document.body.replace(" ", "")
    assert shown["moment"] == "2024-01-01T00:00:00.000000Z"
    assert shown["big"] == 9007199254740993
    assert shown["flag"] is True
    assert shown["raw"] == "AQI="
    assert shown["day"] == "2024-01-01"
    assert shown["tags"] == ["x", "y"]
    assert shown["data"] == {"lang": "en", "n": 1, "list": [1, 2, {"deep": "x"}], "on": True}
    assert list(shown) == [field["name"] for field in THINGS["fields"]]


async def test_null_members_are_shown_as_null(things: Harness) -> None:
    document = await things.get("things", 4)
    assert document is not None
    assert set(json.loads(document.body).values()) == {4, None}


async def test_an_unknown_key_is_not_found(things: Harness) -> None:
    assert await things.get("things", 77) is None


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("number", [1, 2, 3, 4]),
        ("number.desc", [4, 3, 2, 1]),
        ("number.asc.nullsfirst", [4, 1, 2, 3]),
        ("number.desc.nullslast", [3, 2, 1, 4]),
        ("flag", [2, 1, 3, 4]),
        ("flag.desc,number.desc", [4, 3, 1, 2]),
        ("text", [2, 1, 3, 4]),
        ("price.desc", [4, 3, 2, 1]),
        ("moment", [3, 1, 2, 4]),
        ("data->n", [3, 1, 2, 4]),
        ("data->>lang", [2, 1, 3, 4]),
    ],
)
async def test_null_is_the_largest_value_of_every_order(things: Harness, order: str, expected: list[int]) -> None:
    assert await things.ids("things", f"order={order}") == expected


async def test_text_is_sorted_by_its_characters_and_not_by_a_language(open_harness: OpenHarness) -> None:
    harness = await open_harness(THINGS)
    for key, text in enumerate(["b", "A", "a", "Ä", "B"]):
        await harness.create("things", {"id": key, "text": text})
    assert [document["text"] for document in await harness.documents("things", "order=text")] == ["A", "B", "a", "b", "Ä"]


async def test_selected_members_come_in_their_order_with_their_names_and_casts(things: Harness) -> None:
    documents = await things.documents("things", "select=name:text,id,lang:data->>lang,n:number::text,place:data->list->2&id=eq.1")
    assert documents == [{"name": "alpha", "id": 1, "lang": "en", "n": "1", "place": {"deep": "x"}}]
    assert list(documents[0]) == ["name", "id", "lang", "n", "place"]


async def test_a_page_says_how_many_it_has_and_how_many_match(things: Harness) -> None:
    page = await things.page("things", "limit=2&order=id&count=exact&number=gte.1")
    assert (page.count, page.total) == (2, 3)
    assert page.last is not None
    rest = await things.page("things", "limit=2&offset=2&order=id&number=gte.1")
    assert (rest.count, rest.last, rest.total) == (1, None, None)


async def test_a_count_counts_what_matches(things: Harness) -> None:
    assert await things.count("things") == 4
    assert await things.count("things", "number=gt.1") == 2


async def test_full_text_search_is_there_or_named_as_missing(things: Harness) -> None:
    if Capability.FULL_TEXT in things.engine.capabilities:
        assert await things.ids("things", "text=plfts.alpha") == [1]
        return
    with pytest.raises(NotSupported) as refused:
        await things.ids("things", "text=plfts.alpha")
    assert refused.value.details["capability"] == "full_text"


async def test_an_operator_in_a_value_is_only_a_value(things: Harness) -> None:
    for value in ["'; DROP TABLE things; --", 'x" OR 1=1', "%", "\\", "?", ":id", "$1"]:
        assert await things.ids("things", {"filter": {"text": value}}) == []
    assert await things.count("things") == 4
