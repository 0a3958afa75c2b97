"""JSON bodies are read strictly and exactly, and written for databases without losing a digit."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.errors import InvalidJson, InvalidValue, OutOfRange
from portico.query.json_text import read_json, write_json
from portico.service.json_body import parse_json


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"{'a': 1}",
        b'{"a": 1,}',
        b"01",
        b"nan",
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b'"\\ud800"',
        b'{"\\udc00": 1}',
        b'["\\ud83d\\ud83d\\ude00"]',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b"\xef\xbb\xbf{}",
        b'"\n"',
        b"[" * 65 + b"]" * 65,
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'"a" "b"',
    ],
)
def test_what_is_not_strict_json_is_refused(body):
    with pytest.raises(InvalidJson):
        parse_json(body)


@pytest.mark.parametrize(
    "body", [b"1" * 1_001, b"0." + b"1" * 1_001, b"1e1001", b"1e-1001", b"1e99999999999999999999", b"-" + b"9" * 5_000]
)
def test_numbers_beyond_reason_are_refused(body):
    with pytest.raises(OutOfRange):
        parse_json(body)


def test_numbers_keep_every_digit():
    assert parse_json(b"[12345678901234567890123, 0.10, 1e5]") == [12345678901234567890123, Decimal("0.10"), Decimal("1e5")]


def test_depth_counts_brackets_outside_of_texts_only():
    deepest = b"[" * 64 + b"]" * 64
    assert parse_json(deepest)
    assert parse_json(b'["' + b"[{" * 200 + b'\\"[[[", "' + b"[" * 100 + b'"]')
    assert len(parse_json(b"[" + b"[]," * 5_000 + b"[]]")) == 5_001  # type: ignore[arg-type]


def test_a_pair_of_surrogates_is_one_character():
    assert parse_json(b'"\\ud83d\\ude00"') == "😀"
    assert parse_json(b'"\\\\ud800"') == "\\ud800"


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False, places=3)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


@given(_json)
def test_what_is_written_is_read_back_equal(value):
    text = write_json(value)
    json.loads(text)
    assert read_json(text) == value


def test_nul_is_not_written():
    for value in ("a\x00", {"\x00": 1}, [[{"a": "\x00"}]]):
        with pytest.raises(InvalidValue):
            write_json(value)
    assert write_json("\\u0000") == '"\\\\u0000"'


_shapes: st.SearchStrategy[object] = st.recursive(
    st.just([]), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(['"[', "]}\\"]), inner), max_leaves=20
)


@given(_shapes, st.integers(0, 70))
def test_depth_is_counted_exactly(shape, wrapped):
    for _ in range(wrapped):
        shape = [shape]
    text = json.dumps([shape, [[] for _ in range(70)]])
    if _depth(shape) + 1 <= 64:
        assert read_json(text)
    else:
        with pytest.raises(InvalidJson):
            read_json(text)


def _depth(value):
    members = value.values() if isinstance(value, dict) else value
    return 1 + max((_depth(member) for member in members), default=0)
