"""Aggregations on every engine: stages, accumulators, operators, and what becomes of nulls."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from portico.errors import OutOfRange
from portico.model.scope import EVERYTHING
from tests.engines.declarations import AWAY, BOTH, HOME, NOBODY, OF_ANN_ALONE, THINGS
from tests.engines.harness import Harness, OpenHarness


async def test_documents_are_matched_grouped_sorted_and_limited(things: Harness) -> None:
    found = await things.aggregate(
        "things",
        {"$match": {"id": {"$lte": 3}}},
        {"$group": {"_id": {"flag": "$flag"}, "n": {"$sum": 1}, "price": {"$sum": "$price"}, "most": {"$max": "$text"}}},
        {"$match": {"n": {"$gte": 1}}},
        {"$sort": {"price": -1}},
        {"$limit": 2},
    )
    assert found == [
        {"_id": {"flag": None}, "n": 1, "price": 3.00, "most": "ÄGYPTEN\nnext"},
        {"_id": {"flag": False}, "n": 1, "price": 2.00, "most": "Beta_100%"},
    ]


async def one(harness: Harness, accumulator: dict[str, object], *, match: dict[str, object] | None = None) -> Any:
    """The result of one accumulator over all things."""
    found = await harness.aggregate("things", {"$match": match or {}}, {"$group": {"_id": None, "x": accumulator}})
    return found[0]["x"]


ACCUMULATORS: list[tuple[dict[str, object], object]] = [
    ({"$sum": 1}, 4),
    ({"$sum": "$number"}, 6),
    ({"$sum": "$price"}, 6),
    ({"$sum": {"$multiply": ["$price", 1.5]}}, 9),
    ({"$sum": "$data.n"}, 3.5),
    ({"$count": {}}, 4),
    ({"$avg": "$number"}, 2.0),
    ({"$avg": "$price"}, 2),
    ({"$min": "$text"}, "Beta_100%"),
    ({"$max": "$text"}, "ÄGYPTEN\nnext"),
    ({"$min": "$day"}, "1999-12-31"),
    ({"$max": "$moment"}, "2024-02-29T12:30:00.500000Z"),
    ({"$max": "$ref"}, "00000000-0000-4000-8000-000000000003"),
    ({"$min": "$flag"}, False),
    ({"$max": "$flag"}, True),
    ({"$min": "$data.n"}, 1.0),
    ({"$first": "$kind"}, "a"),
    ({"$last": "$text"}, None),
    ({"$first": "$tags"}, ["x", "y"]),
    ({"$push": "$price"}, [1, 2, 3]),
    ({"$addToSet": "$flag"}, [False, True]),
    ({"$addToSet": "$data.lang"}, ["de", "en"]),
    ({"$countDistinct": "$kind"}, 3),
    ({"$countDistinct": "$data.lang"}, 2),
    ({"$stdDevPop": "$number"}, pytest.approx(0.816496580927726)),
    ({"$stdDevPop": "$price"}, pytest.approx(0.816496580927726)),
    ({"$percentile": {"input": "$number", "p": [0.5, 0.95], "method": "approximate"}}, [2, 3]),
    ({"$percentile": {"input": "$price", "p": [0, 1]}}, [1, 3]),
    ({"$percentile": {"input": "$price", "p": [0.25], "method": "continuous"}}, [1.5]),
    ({"$median": {"input": "$ratio"}}, 2.5),
]


async def test_accumulators(things: Harness) -> None:
    for accumulator, expected in ACCUMULATORS:
        found = await one(things, accumulator)
        assert found == expected, accumulator
        assert type(found) is type(expected) or not isinstance(expected, bool | str), accumulator
    pushed = await one(things, {"$push": {"k": "$kind", "m": "$moment"}})
    assert pushed[0] == {"k": "a", "m": "2024-01-01T00:00:00.000000Z"}
    assert len(pushed) == 4


OF_NOTHING: list[tuple[dict[str, object], object]] = [
    ({"$sum": "$price"}, 0),
    ({"$avg": "$price"}, None),
    ({"$min": "$day"}, None),
    ({"$push": "$text"}, []),
    ({"$addToSet": "$text"}, []),
    ({"$countDistinct": "$text"}, 0),
    ({"$stdDevPop": "$ratio"}, None),
    ({"$percentile": {"input": "$ratio", "p": [0.5, 0.9]}}, [None, None]),
    ({"$median": {"input": "$ratio"}}, None),
    ({"$first": "$text"}, None),
]


async def test_nulls_are_as_missing_values_in_mongodb(things: Harness) -> None:
    for accumulator, expected in OF_NOTHING:
        assert await one(things, accumulator, match={"id": 4}) == expected, accumulator


async def test_of_no_documents_there_is_no_group_and_no_count(things: Harness) -> None:
    nothing = {"$match": {"id": -1}}
    assert await things.aggregate("things", nothing, {"$group": {"_id": None, "n": {"$sum": 1}}}) == []
    assert await things.aggregate("things", nothing, {"$count": "n"}) == []
    assert await things.aggregate("things", {"$count": "n"}) == [{"n": 4}]


EXPRESSIONS: list[tuple[object, list[object]]] = [
    ({"$add": ["$number", 1]}, [2, 3, 4, None]),
    ({"$add": ["$price", 0.255]}, [1.255, 2.255, 3.255, None]),
    ({"$subtract": ["$ratio", "$number"]}, [-0.9, 0.5, 1e300, None]),
    ({"$multiply": ["$price", "$price"]}, [1, 4, 9, None]),
    ({"$divide": ["$number", 2]}, [0.5, 1, 1.5, None]),
    ({"$divide": ["$price", 3]}, [0.33333333, 0.66666667, 1, None]),
    ({"$mod": ["$big", 10]}, [3, -3, 3, None]),
    ({"$abs": "$big"}, [9007199254740993, 9007199254740993, 3, None]),
    ({"$round": [{"$divide": ["$price", 3]}, 1]}, [0.3, 0.7, 1, None]),
    ({"$round": ["$ratio", 0]}, [0, 3, 1e300, None]),
    ({"$round": ["$number", -1]}, [0, 0, 0, None]),
    ({"$floor": "$ratio"}, [0, 2, 1e300, None]),
    ({"$ceil": {"$divide": ["$price", 3]}}, [1, 1, 1, None]),
    ({"$concat": ["$kind", "-", "$kind"]}, ["a-a", "b-b", "c-c", None]),
    ({"$ifNull": ["$price", 0]}, [1, 2, 3, 0]),
    ({"$cond": [{"$gt": ["$number", 1]}, "many", "few"]}, ["few", "many", "many", "few"]),
    ({"$cond": {"if": "$flag", "then": 1, "else": 0.5}}, [1, 0.5, 0.5, 0.5]),
    ({"$eq": ["$kind", None]}, [False, False, False, True]),
    ({"$ne": ["$kind", "a"]}, [False, True, True, True]),
    ({"$gte": ["$moment", "2024-01-01T00:00:00Z"]}, [True, True, False, False]),
    ({"$lt": ["$day", "2024-01-02"]}, [True, False, True, False]),
    ({"$eq": ["$ref", "00000000-0000-4000-8000-000000000001"]}, [True, False, False, False]),
    ({"$and": ["$flag", {"$lt": ["$number", 5]}]}, [True, False, False, False]),
    ({"$not": ["$flag"]}, [False, True, True, True]),
    ({"$or": ["$flag", {"$eq": ["$data.lang", "de"]}]}, [True, True, False, False]),
    ({"$size": "$tags"}, [2, 1, 0, None]),
    ({"$size": "$data.list"}, [3, 0, 2, None]),
    ({"$arrayElemAt": ["$tags", 0]}, ["x", "y", None, None]),
    ({"$arrayElemAt": ["$tags", -1]}, ["y", "y", None, None]),
    ({"$literal": "$text"}, ["$text"] * 4),
    ({"a": "$kind", "b": {"c": 1}}, [{"a": kind, "b": {"c": 1}} for kind in ("a", "b", "c", None)]),
    ("$data.lang", ["en", "de", None, None]),
    ({"$add": ["$data.n", 1]}, [2, 3.5, None, None]),
    (
        {"$dateTrunc": {"date": "$moment", "unit": "year"}},
        ["2024-01-01T00:00:00.000000Z", "2024-01-01T00:00:00.000000Z", "1999-01-01T00:00:00.000000Z", None],
    ),
    ({"$dateTrunc": {"date": "$day", "unit": "week"}}, ["2023-12-31", "2024-02-25", "1999-12-26", None]),
]


async def test_expressions(things: Harness) -> None:
    for expression, expected in EXPRESSIONS:
        found = await things.aggregate("things", {"$sort": {"id": 1}}, {"$project": {"x": expression}})
        near = [pytest.approx(item) if isinstance(item, float) else item for item in expected]
        assert [item["x"] for item in found] == near, expression


@pytest.mark.parametrize("function", ["$push", "$addToSet"])
async def test_an_array_of_too_many_values_is_refused(open_harness: OpenHarness, function: str) -> None:
    harness = await open_harness(THINGS)
    await harness.create_together("things", [{"id": number, "number": number} for number in range(1001)])
    grouped = {"$group": {"_id": None, "x": {function: "$number"}}}
    assert len((await harness.aggregate("things", {"$match": {"id": {"$gt": 0}}}, grouped))[0]["x"]) == 1000
    with pytest.raises(OutOfRange, match="more than 1000 elements"):
        await harness.aggregate("things", grouped)


async def test_a_number_that_does_not_fit_is_an_error_and_never_a_float(things: Harness) -> None:
    largest = 2**63 - 1
    for expression in (
        {"$add": ["$number", largest]},
        {"$multiply": ["$big", "$big"]},
        {"$subtract": [{"$subtract": ["$number", largest]}, largest]},
        {"$divide": ["$number", 0]},
        {"$mod": ["$number", 0]},
        {"$multiply": ["$ratio", 1e300]},
    ):
        with pytest.raises(OutOfRange):
            await things.aggregate("things", {"$project": {"x": expression}})
    # On the way to a sum that fits, more may be reached.
    both = {"$cond": [{"$eq": ["$number", 3]}, {"$subtract": [0, largest]}, largest]}
    assert await one(things, {"$sum": both}, match={"id": {"$in": [1, 2, 3]}}) == largest
    with pytest.raises(OutOfRange):
        await one(things, {"$sum": largest})


async def test_arrays_are_unwound(things: Harness) -> None:
    sort = {"$sort": {"id": 1, "tags": 1}}
    keep = {"$project": {"id": 1, "tags": 1}}
    found = await things.aggregate("things", {"$unwind": "$tags"}, sort, keep)
    assert found == [{"id": 1, "tags": "x"}, {"id": 1, "tags": "y"}, {"id": 2, "tags": "y"}]
    every = {"path": "$tags", "preserveNullAndEmptyArrays": True, "includeArrayIndex": "at"}
    found = await things.aggregate("things", {"$unwind": every}, sort, {"$project": {"id": 1, "tags": 1, "at": 1}})
    assert [(item["id"], item["tags"], item["at"]) for item in found] == [
        (1, "x", 0), (1, "y", 1), (2, "y", 0), (3, None, None), (4, None, None)
    ]  # fmt: skip
    counted = await things.aggregate(
        "things", {"$unwind": "$tags"}, {"$group": {"_id": "$tags", "n": {"$sum": 1}}}, {"$sort": {"n": -1, "_id": 1}}
    )
    assert counted == [{"_id": "y", "n": 2}, {"_id": "x", "n": 1}]


async def test_what_a_group_gathered_is_unwound_with_its_types(things: Harness) -> None:
    kinds: dict[str, list[object]] = {
        "price": [1, 2, 3],
        "day": ["1999-12-31", "2024-01-01", "2024-02-29"],
        "moment": ["1999-12-31T23:59:59.999999Z", "2024-01-01T00:00:00.000000Z", "2024-02-29T12:30:00.500000Z"],
        "flag": [False, True],
        "big": [-9007199254740993, 3, 9007199254740993],
        "ratio": [0.1, 2.5, 1e300],
        "ref": [f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2, 3)],
    }
    for field, expected in kinds.items():
        found = await things.aggregate(
            "things",
            {"$group": {"_id": None, "x": {"$push": f"${field}"}}},
            {"$unwind": "$x"},
            {"$sort": {"x": 1}},
            {"$group": {"_id": None, "again": {"$push": "$x"}, "least": {"$min": "$x"}}},
        )
        assert found == [{"_id": None, "again": expected, "least": expected[0]}], field


async def test_json_is_unwound_and_grouped_by(things: Harness) -> None:
    found = await things.aggregate(
        "things",
        {"$addFields": {"list": "$data.list"}},
        {"$unwind": "$list"},
        {"$project": {"id": 1, "list": 1, "_id": 0, "deep": "$list.deep"}},
        {"$sort": {"id": 1}},
    )
    assert [(item["id"], item["list"], item["deep"]) for item in found] == [
        (1, 1, None), (1, 2, None), (1, {"deep": "x"}, "x"), (3, {"k": 1}, None), (3, {"k": 2, "v": "b"}, None)
    ]  # fmt: skip
    grouped = await things.aggregate("things", {"$group": {"_id": "$data.on", "n": {"$count": {}}}}, {"$sort": {"_id": 1}})
    assert grouped == [{"_id": False, "n": 1}, {"_id": True, "n": 1}, {"_id": None, "n": 2}]


MIDNIGHTS = [
    # Prague, to and from summer time.
    ("2024-03-30T23:30:00Z", "Europe/Prague", "day", "2024-03-30T23:00:00.000000Z"),
    ("2024-03-31T22:30:00Z", "Europe/Prague", "day", "2024-03-31T22:00:00.000000Z"),
    ("2024-10-27T22:59:00Z", "Europe/Prague", "day", "2024-10-26T22:00:00.000000Z"),
    ("2024-10-27T23:00:00Z", "Europe/Prague", "day", "2024-10-27T23:00:00.000000Z"),
    ("2024-10-27T00:30:00Z", "Europe/Prague", "hour", "2024-10-27T00:00:00.000000Z"),
    ("2024-10-27T01:30:00Z", "Europe/Prague", "hour", "2024-10-27T01:00:00.000000Z"),
    # Where midnight itself is left out, or is there twice.
    ("2018-11-04T12:00:00Z", "America/Sao_Paulo", "day", "2018-11-04T03:00:00.000000Z"),
    ("2018-02-18T12:00:00Z", "America/Sao_Paulo", "day", "2018-02-18T03:00:00.000000Z"),
    ("2023-11-05T12:00:00Z", "America/Havana", "day", "2023-11-05T05:00:00.000000Z"),
    # Offsets that are no whole hours, and old ones.
    ("2024-01-01T18:20:00Z", "Asia/Kathmandu", "day", "2024-01-01T18:15:00.000000Z"),
    ("2024-01-01T18:20:59.9Z", "Asia/Kathmandu", "hour", "2024-01-01T18:15:00.000000Z"),
    ("1900-06-01T12:00:00Z", "Europe/Amsterdam", "month", "1900-05-31T23:40:28.000000Z"),
    ("2024-06-05T00:00:00Z", "Pacific/Auckland", "quarter", "2024-03-31T11:00:00.000000Z"),
    ("2024-06-05T00:00:00Z", "UTC", "week", "2024-06-02T00:00:00.000000Z"),
    ("2024-06-02T00:00:00Z", "UTC", "week", "2024-06-02T00:00:00.000000Z"),
]


async def test_days_begin_where_the_time_zone_says(open_harness: OpenHarness) -> None:
    harness = await open_harness(THINGS)
    for number, (moment, _, _, _) in enumerate(MIDNIGHTS):
        await harness.create("things", {"id": number, "moment": moment})
    for number, (_, zone, unit, expected) in enumerate(MIDNIGHTS):
        truncation = {"$dateTrunc": {"date": "$moment", "unit": unit, "timezone": zone}}
        found = await harness.aggregate("things", {"$match": {"id": number}}, {"$project": {"x": truncation}})
        assert found == [{"x": expected}], MIDNIGHTS[number]
    monday = {"$dateTrunc": {"date": "$moment", "unit": "week", "startOfWeek": "Monday"}}
    found = await harness.aggregate("things", {"$match": {"id": len(MIDNIGHTS) - 1}}, {"$project": {"x": monday}})
    assert found == [{"x": "2024-05-27T00:00:00.000000Z"}]


async def test_related_documents_are_looked_up(family: Harness) -> None:
    found = await family.aggregate(
        "conversations",
        {"$lookup": {"from": "messages", "localField": "conversation_id", "foreignField": "conversation_id", "as": "said"}},
        {"$sort": {"title": 1}},
        {"$project": {"title": 1, "n": {"$size": "$said"}, "said": 1}},
    )
    assert [(item["title"], item["n"], [message["message_id"] for message in item["said"]]) for item in found] == [
        ("talk 0", 2, [1, 2]), ("talk 1", 2, [11, 12]), ("talk 2", 2, [21, 22])
    ]  # fmt: skip
    unwound = await family.aggregate(
        "conversations",
        {"$lookup": {"from": "messages"}},
        {"$unwind": {"path": "$messages", "includeArrayIndex": "at"}},
        {"$match": {"messages.message_id": {"$lt": 20}}},
        {"$group": {"_id": "$title", "sum": {"$sum": "$messages.message_id"}, "last": {"$max": "$at"}}},
        {"$sort": {"_id": 1}},
    )
    assert unwound == [{"_id": "talk 0", "sum": 3, "last": 1}, {"_id": "talk 1", "sum": 23, "last": 1}]


COUNTS = [(HOME, 2, 4), (AWAY, 1, 2), (BOTH, 3, 6), (OF_ANN_ALONE, 1, 2), (NOBODY, 0, 0), (EVERYTHING, 3, 6)]


async def test_an_aggregation_sees_the_documents_of_the_scope_alone(family: Harness) -> None:
    for scope, conversations, messages in COUNTS:
        mine = family.within(scope)
        counted = await mine.aggregate("conversations", {"$count": "n"})
        assert counted == ([{"n": conversations}] if conversations else []), scope
        joined = await mine.aggregate("conversations", {"$lookup": {"from": "messages"}}, {"$unwind": "$messages"}, {"$count": "n"})
        assert joined == ([{"n": messages}] if messages else []), scope
        if scope is not EVERYTHING:
            # Everybody's users, and of them those who are in scope: the relation leads to no other tenant's.
            listed = await mine.aggregate(
                "messages", {"$lookup": {"from": "conversation"}}, {"$project": {"n": {"$size": "$conversation"}}}
            )
            assert listed == [{"n": 1}] * messages, scope


async def test_a_condition_that_is_too_deep_for_an_engine_is_refused_and_is_no_fault(things: Harness) -> None:
    test: object = "$flag"
    for _ in range(11):
        test = {"$cond": [test, False, True]}
    work = asyncio.ensure_future(things.aggregate("things", {"$project": {"x": test}}))
    await asyncio.wait([work])
    if isinstance(error := work.exception(), OutOfRange):
        assert "too deep" in error.message
    else:
        assert work.result() == [{"x": False}, {"x": True}, {"x": True}, {"x": True}]
