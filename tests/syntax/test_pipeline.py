"""Pipelines as they are parsed and bound: shapes without values, types of results, and what is refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from portico.catalog.declare import declare
from portico.errors import (
    HiddenField,
    InvalidRequest,
    OutOfRange,
    PorticoError,
    UnknownField,
    UnknownOperator,
    UnknownParameter,
    UnknownRelation,
    WrongType,
)
from portico.query.bind_pipeline import bind_pipeline
from portico.query.bound_pipeline import BoundPipeline, Member
from portico.syntax.mongo import parse_pipeline
from tests.engines.invoices import INVOICES

COLLECTION = declare(INVOICES, source="test", database="main")


def bound(*stages: dict[str, Any], hidden: frozenset[str] = frozenset()) -> BoundPipeline:
    """The pipeline, bound to invoices."""
    return bind_pipeline(parse_pipeline({"pipeline": list(stages)}).pipeline, COLLECTION, hidden=hidden).pipeline


def kinds(members: tuple[Member, ...]) -> dict[str, Any]:
    """The types of a result's members."""
    return {member.name: kinds(member.value) if isinstance(member.value, tuple) else str(member.value.type) for member in members}


def test_values_are_no_part_of_the_shape_and_units_are() -> None:
    def shape(least: object, unit: str) -> object:
        stages = [
            {"$match": {"number": {"$gt": least}}},
            {"$group": {"_id": {"$dateTrunc": {"date": "$created_at", "unit": unit}}, "n": {"$sum": least}}},
            {"$limit": least},
        ]
        return parse_pipeline({"pipeline": stages}).pipeline

    assert shape(1, "day") == shape(2, "day")
    assert hash(shape(1, "day")) == hash(shape(2, "day"))
    assert shape(1, "day") != shape(1, "hour")
    assert parse_pipeline({"pipeline": [{"$match": {"number": 5}}, {"$limit": 7}]}).values == (5, 7)


TYPES: list[tuple[object, str]] = [
    ({"$add": ["$number", 1]}, "bigint"),
    ({"$add": ["$total", 1]}, "decimal(18,2)"),
    ({"$add": ["$total", Decimal("0.125")]}, "decimal(18,3)"),
    ({"$multiply": ["$total", Decimal("1.21")]}, "decimal(18,4)"),
    ({"$add": ["$total", "$rate"]}, "float"),
    ({"$divide": ["$number", 2]}, "float"),
    ({"$divide": ["$total", 2]}, "decimal(18,8)"),
    ({"$round": ["$total", 1]}, "decimal(18,1)"),
    ({"$floor": "$total"}, "decimal(18,0)"),
    ({"$gt": ["$number", "$rate"]}, "boolean"),
    ({"$concat": ["$status", "$kind"]}, "text"),
    ({"$dateTrunc": {"date": "$due", "unit": "month"}}, "date"),
    ({"$dateTrunc": {"date": "$created_at", "unit": "month"}}, "datetime"),
    ({"$cond": [True, "$number", "$total"]}, "decimal(18,2)"),
    ({"$ifNull": ["$number", 0.5]}, "float"),
    ({"$arrayElemAt": ["$scores", 0]}, "bigint"),
    ({"$size": "$tags"}, "bigint"),
    ("$metadata.lang", "json"),
    ({"$add": ["$metadata.n", 1]}, "float"),
]


@pytest.mark.parametrize(("expression", "kind"), TYPES)
def test_the_type_of_an_expression_follows_from_its_arguments(expression: object, kind: str) -> None:
    assert kinds(bound({"$project": {"x": expression}}).output) == {"x": kind}


ACCUMULATED: list[tuple[dict[str, object], str]] = [
    ({"$sum": 1}, "bigint"),
    ({"$sum": "$total"}, "decimal(18,2)"),
    ({"$avg": "$total"}, "decimal(18,8)"),
    ({"$avg": "$number"}, "float"),
    ({"$min": "$due"}, "date"),
    ({"$push": "$status"}, "text[]"),
    ({"$push": {"a": "$due"}}, "json[]"),
    ({"$countDistinct": "$status"}, "bigint"),
    ({"$percentile": {"input": "$number", "p": [0.5]}}, "bigint[]"),
    ({"$percentile": {"input": "$number", "p": [0.5], "method": "continuous"}}, "float[]"),
    ({"$median": {"input": "$total"}}, "decimal(12,2)"),
]


@pytest.mark.parametrize(("accumulator", "kind"), ACCUMULATED)
def test_the_type_of_a_result_follows_from_what_is_accumulated(accumulator: dict[str, object], kind: str) -> None:
    assert kinds(bound({"$group": {"_id": {"a": {"b": "$kind"}}, "x": accumulator}}).output) == {"_id": {"a": {"b": "text"}}, "x": kind}


REFUSED: list[tuple[list[dict[str, Any]], type[PorticoError]]] = [
    ([{"$group": {"_id": None}}, {"$match": {"status": "a"}}], UnknownField),
    ([{"$group": {"_id": "$status"}}, {"$group": {"_id": "$status"}}], UnknownField),
    ([{"$project": {"status": 1}}, {"$sort": {"number": 1}}], UnknownField),
    ([{"$group": {"_id": {"a": "$status"}}}, {"$sort": {"_id": 1}}], InvalidRequest),
    ([{"$group": {"_id": {"a": "$status"}}}, {"$match": {"_id.b": 1}}], UnknownField),
    ([{"$group": {"_id": "$tags"}}], WrongType),
    ([{"$group": {"_id": None, "x": {"$sum": "$status"}}}], WrongType),
    ([{"$group": {"_id": None, "x": {"$push": "$tags"}}}], WrongType),
    ([{"$group": {"_id": None, "x": {"$max": "$metadata"}}}], WrongType),
    ([{"$project": {"x": {"$add": ["$status", 1]}}}], WrongType),
    ([{"$project": {"x": {"$cond": ["$number", 1, 2]}}}], WrongType),
    ([{"$project": {"x": {"$cond": [True, 1, "a"]}}}], WrongType),
    ([{"$project": {"x": {"$mod": ["$rate", 2]}}}], WrongType),
    ([{"$project": {"x": {"$gt": ["$due", 1]}}}], WrongType),
    ([{"$project": {"a": 1, "b": 0}}], InvalidRequest),
    ([{"$unwind": "$status"}], WrongType),
    ([{"$unwind": "$metadata.list"}], InvalidRequest),
    ([{"$sort": {"tags": 1}}], WrongType),
    ([{"$sort": {"status": 2}}], InvalidRequest),
    ([{"$lookup": {"from": "nothing"}}], UnknownRelation),
    ([{"$match": {"$gruop": 1}}], UnknownOperator),
    ([{"$unwind": {"path": "$tags", "keep": True}}], UnknownParameter),
    ([{"$project": {"x": {"$multiply": ["$total"] * 10}}}], WrongType),
    ([{"$limit": 1}] * 51, OutOfRange),
]


@pytest.mark.parametrize(("stages", "error"), REFUSED)
def test_what_does_not_fit_is_refused_before_anything_is_read(stages: list[dict[str, Any]], error: type[PorticoError]) -> None:
    with pytest.raises(error):
        bound(*stages)


def test_a_hidden_field_is_hidden_until_its_documents_are_gone() -> None:
    hidden = frozenset({"status"})
    for stage in ({"$sort": {"status": 1}}, {"$match": {"status": "a"}}, {"$project": {"x": "$status"}}):
        with pytest.raises(HiddenField):
            bound({"$limit": 1}, stage, hidden=hidden)
    # A name of the caller's own may be the same.
    assert (
        kinds(bound({"$group": {"_id": None, "status": {"$sum": 1}}}, {"$match": {"status": 1}}, hidden=hidden).output)["status"]
        == "bigint"
    )
