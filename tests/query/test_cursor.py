"""Cursors cannot be changed, made up, or moved to another query, and give their values back typed."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from portico.errors import InvalidCursor, InvalidRequest
from portico.query.bind import bind
from portico.query.cursor import CursorState, cursor_state, decode, encode, query_tag
from portico.syntax import mongo, postgrest
from tests.query.samples import INVOICES, KEYLESS, LINES

SECRET = b"0123456789abcdef0123456789abcdef"
TAG = b"tag"
VALUES = '["2025-08-20T08:10:48.108442Z",null,1.50,"0190a5c2-5b7e-7cc3-8a4e-0123456789ab"]'


def test_a_cursor_gives_its_values_back():
    assert decode(SECRET, TAG, encode(SECRET, TAG, VALUES)) == json.loads(VALUES, parse_float=Decimal)


def test_no_change_of_a_single_character_is_accepted():
    cursor = encode(SECRET, TAG, VALUES)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for place, character in enumerate(cursor):
        for other in ("A", "_", alphabet[alphabet.index(character) ^ 1]):
            if other != character:
                with pytest.raises(InvalidCursor):
                    decode(SECRET, TAG, cursor[:place] + other + cursor[place + 1 :])


@pytest.mark.parametrize(
    "text", ["", "x", "====", "é", "a b", "A" * 100_000, base64.urlsafe_b64encode(b"\x00" * 16 + b"[]").decode(), 5, None, [1]]
)
def test_what_is_no_cursor_is_refused(text):
    with pytest.raises(InvalidCursor):
        decode(SECRET, TAG, text)


def test_a_cursor_of_another_secret_or_query_is_refused():
    cursor = encode(SECRET, TAG, VALUES)
    with pytest.raises(InvalidCursor):
        decode(SECRET[::-1], TAG, cursor)
    with pytest.raises(InvalidCursor):
        decode(SECRET, b"other", cursor)
    with pytest.raises(InvalidCursor):
        decode(SECRET, TAG, cursor + "=")


def _tag(text, collection=INVOICES):
    return query_tag(postgrest.parse(postgrest.decode_pairs(text.encode())).query, collection)


def test_a_cursor_belongs_to_collection_order_and_filter_but_not_to_values_or_page_size():
    tag = _tag("number=eq.1&order=number")
    assert tag == _tag("order=number&number=eq.2&limit=3&cursor=x&select=id")
    assert tag == query_tag(mongo.parse({"filter": {"number": 5}, "sort": ["number"]}).query, INVOICES)
    others = [
        _tag("number=eq.1&order=number.desc"),
        _tag("number=gt.1&order=number"),
        _tag("order=number"),
        _tag("number=eq.1&order=number", LINES),
    ]
    assert tag not in others


def test_values_of_a_cursor_stand_behind_those_of_the_request_and_null_is_part_of_the_shape():
    parsed = postgrest.parse([("status", "eq.draft"), ("order", "created_at.desc,due,total"), ("cursor", "abc"), ("limit", "10")])
    values = json.loads(VALUES, parse_float=Decimal)
    bound = bind(parsed.query, INVOICES, cursor=cursor_state(len(parsed.values), values))
    keyset = bound.query.keyset
    assert keyset is not None
    typed = bound.values((*parsed.values, *values))
    assert [None if item is None else typed[item.index] for item in keyset.values] == [
        datetime(2025, 8, 20, 8, 10, 48, 108442, UTC),
        None,
        Decimal("1.50"),
        UUID("0190a5c2-5b7e-7cc3-8a4e-0123456789ab"),
    ]


def test_a_cursor_of_an_earlier_schema_is_refused():
    parsed = postgrest.parse([("cursor", "abc")])
    bound = bind(parsed.query, INVOICES, cursor=CursorState(1, (False,)))
    with pytest.raises(InvalidCursor):
        bound.values((*parsed.values, "no uuid"))
    with pytest.raises(InvalidCursor):
        bind(parsed.query, INVOICES, cursor=CursorState(1, (False, True)))


def test_a_collection_without_a_key_and_a_grouped_select_have_no_cursors():
    with pytest.raises(InvalidRequest):
        bind(postgrest.parse([("cursor", "abc")]).query, KEYLESS)
    with pytest.raises(InvalidRequest):
        bind(postgrest.parse([("cursor", "abc"), ("select", "status,count()")]).query, INVOICES)
