"""MongoDB's operators in JSON bodies: what is accepted, and that what is not is named in an error."""

from __future__ import annotations

import json

import pytest

from portico.errors import (
    HiddenField,
    InvalidRequest,
    OutOfRange,
    UnknownField,
    UnknownOperator,
    UnknownParameter,
    UnknownRelation,
    WrongType,
)
from portico.query.ast import Operator
from portico.query.bound import Comparison, Disjunction, Negation
from portico.syntax import mongo
from tests.query.samples import from_json


def bound_filter(filter_):
    bound, values = from_json(json.dumps({"filter": filter_}))
    return bound.query.filter, values


def test_elements_of_arrays_are_matched_by_their_own_type():
    predicate, values = bound_filter({"scores": {"$elemMatch": {"$gt": 5, "$lt": 9}}})
    assert isinstance(predicate, Comparison)
    assert predicate.operator is Operator.ELEM_MATCH
    assert predicate.inner is not None
    assert values[:2] == (5, 9)


def test_members_of_elements_inside_json_are_matched_by_the_values_type():
    predicate, values = bound_filter({"metadata.items": {"$elemMatch": {"price": {"$gt": 5}, "tag.name": "x"}}})
    assert isinstance(predicate, Comparison)
    inner = predicate.inner
    assert inner is not None
    assert [child.target.steps for child in inner.children] == [("price",), ("tag", "name")]  # type: ignore[union-attr]
    assert all(child.target.element for child in inner.children)  # type: ignore[union-attr]
    assert values[:2] == (5.0, "x")


def test_exists_inside_json_asks_for_the_member_and_on_a_field_for_a_value():
    inside, _ = bound_filter({"metadata.a": {"$exists": True}})
    assert isinstance(inside, Comparison)
    assert inside.operator is Operator.EXISTS
    field, _ = bound_filter({"status": {"$exists": True}})
    assert isinstance(field, Negation)


def test_a_text_search_without_a_field_looks_in_the_collections_search_fields():
    predicate, values = bound_filter({"$text": {"$search": "late fee"}})
    assert isinstance(predicate, Disjunction)
    assert [child.language for child in predicate.children] == ["english", "english"]  # type: ignore[union-attr]
    assert values[:2] == ("late fee", "late fee")


def test_an_empty_filter_is_none():
    assert bound_filter({})[0] is None
    assert mongo.parse_filter({}) == (None, ())


def test_null_members_of_the_body_are_as_if_they_were_not_there():
    one, _ = from_json(
        '{"filter": null, "fields": null, "sort": null, "limit": null, "offset": null, "cursor": null, "include": null, "count": null}'
    )
    assert one.query == from_json("{}")[0].query


@pytest.mark.parametrize(
    ("body", "error", "named"),
    [
        ({"filtr": {}}, UnknownParameter, "filtr"),
        ({"include": {"lines": {"cursor": "x"}}}, UnknownParameter, "cursor"),
        ({"filter": {"$where": "1"}}, UnknownOperator, "$where"),
        ({"filter": {"status": {"$where": "1"}}}, UnknownOperator, "$where"),
        ({"filter": {"$function": {}}}, UnknownOperator, "$function"),
        ({"filter": {"status": {"$accumulator": {}}}}, UnknownOperator, "$accumulator"),
        ({"filter": {"status": {"$gtt": 1}}}, UnknownOperator, "$gtt"),
        ({"filter": {"stats": 1}}, UnknownField, "stats"),
        ({"fields": ["stats"]}, UnknownField, "stats"),
        ({"fields": ["*.a"]}, InvalidRequest, "field"),
        ({"filter": {"": 1}}, InvalidRequest, "name"),
        ({"sort": ["-stats"]}, UnknownField, "stats"),
        ({"include": ["nothing"]}, UnknownRelation, "nothing"),
        ({"filter": {"secret": "x"}}, HiddenField, "secret"),
        ({"filter": {"$nor": [{"secret": None}]}}, HiddenField, "secret"),
        ({"filter": {"status": {"$eq": {"$gt": ""}}}}, InvalidRequest, "status"),
        ({"filter": {"metadata.a": {"b": {"$gt": 1}}}}, InvalidRequest, "metadata.a"),
        ({"filter": {"status": {"$in": [{"$gt": ""}]}}}, InvalidRequest, "$in"),
        ({"filter": {"status": {"$gt": 1, "x": 2}}}, InvalidRequest, "status"),
        ({"filter": {"status": {"$gt": None}}}, InvalidRequest, "status"),
        ({"filter": {"status": {"$in": "a"}}}, InvalidRequest, "$in"),
        ({"filter": {"$or": []}}, InvalidRequest, "$or"),
        ({"filter": {"$or": {}}}, InvalidRequest, "$or"),
        ({"filter": {"$and": [{}]}}, InvalidRequest, "$and"),
        ({"filter": {"status": {"$not": "a"}}}, InvalidRequest, "$not"),
        ({"filter": {"status": {"$exists": 1}}}, InvalidRequest, "$exists"),
        ({"filter": {"status": {"$regex": 5}}}, InvalidRequest, "$regex"),
        ({"filter": {"status": {"$regex": "a", "$options": "x"}}}, InvalidRequest, "$options"),
        ({"filter": {"status": {"$options": "i"}}}, InvalidRequest, "$options"),
        ({"filter": {"scores": {"$elemMatch": {"x": 1}}}}, UnknownField, "element"),
        ({"filter": {"number": {"$elemMatch": {"$gt": 1}}}}, WrongType, "elem_match"),
        ({"filter": []}, InvalidRequest, "filter"),
        ({"fields": "id"}, InvalidRequest, "fields"),
        ({"sort": "id"}, InvalidRequest, "sort"),
        ({"sort": [{"field": "id", "direction": "down"}]}, InvalidRequest, "direction"),
        ({"count": True}, InvalidRequest, "count"),
        ({"include": 5}, InvalidRequest, "include"),
        ({"filter": {"number": "2"}}, WrongType, "number"),
        ({"filter": {"number": 2.0}}, WrongType, "number"),
        ({"filter": {"number": True}}, WrongType, "number"),
        ({"filter": {"paid": 1}}, WrongType, "paid"),
        ({"filter": {"scores": {"$size": -1}}}, OutOfRange, "scores"),
        ({"filter": {"number": 2**31}}, OutOfRange, "number"),
        ({"limit": 1001}, OutOfRange, "limit"),
        ({"limit": "20"}, InvalidRequest, "limit"),
        ({"limit": 1.5}, InvalidRequest, "limit"),
    ],
)
def test_what_is_wrong_is_refused_and_named(body, error, named):
    with pytest.raises(error) as caught:
        from_json(json.dumps(body))
    assert named in caught.value.message


def test_a_filter_that_is_too_large_is_refused():
    deep: dict[str, object] = {"number": 1}
    for _ in range(20):
        deep = {"$not": deep}
    with pytest.raises(OutOfRange):
        bound_filter(deep)
    with pytest.raises(OutOfRange):
        bound_filter({"$or": [{"number": 1}] * 201})
    with pytest.raises(OutOfRange):
        bound_filter({"number": {"$in": [1] * 1_001}})
