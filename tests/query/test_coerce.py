"""Values: the query string's are read by their field's type, JSON's strictly by their own, and messages name the field only."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from portico.errors import ConstraintViolated, InvalidParameter, InvalidRequest, InvalidValue, OutOfRange, RequestError, WrongType
from portico.model.field import Base, FieldType, parse_type
from portico.query.coerce import json_coercer, text_coercer

ID = "0190a5c2-5b7e-7cc3-8a4e-0123456789ab"


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("integer", "5", 5),
        ("integer", "-2147483648", -(2**31)),
        ("bigint", "9223372036854775807", 2**63 - 1),
        ("float", "1e3", 1000.0),
        ("decimal(12,2)", "1.50", Decimal("1.50")),
        ("decimal(12,2)", "1.23456", Decimal("1.23456")),
        ("boolean", "true", True),
        ("boolean", "F", False),
        ("boolean", "on", True),
        ("boolean", "0", False),
        ("uuid", ID, UUID(ID)),
        ("uuid", ID.upper(), UUID(ID)),
        ("uuid", ID.replace("-", ""), UUID(ID)),
        ("date", "2024-02-29", date(2024, 2, 29)),
        ("datetime", "2025-08-20T08:10:48.108442Z", datetime(2025, 8, 20, 8, 10, 48, 108442, UTC)),
        ("datetime", "2025-08-20T10:10:48+02:00", datetime(2025, 8, 20, 8, 10, 48, tzinfo=UTC)),
        ("datetime", "2025-08-20 08:10", datetime(2025, 8, 20, 8, 10, tzinfo=UTC)),
        ("datetime", "2025-08-20", datetime(2025, 8, 20, tzinfo=UTC)),
        ("datetime", "2025-08-20T08:10:48.1084421Z", datetime(2025, 8, 20, 8, 10, 48, 108442, UTC)),
        ("datetime", "2025-08-20T08:10:48.1-0330", datetime(2025, 8, 20, 11, 40, 48, 100000, UTC)),
        ("text", "null", "null"),
        ("string(2)", "longer", "longer"),
        ("enum(a,b)", "b", "b"),
        ("binary", "aGk=", b"hi"),
        ("json", '{"a": 1.50}', '{"a":1.50}'),
        ("text[]", '{a,"b,c","d\\"e","NULL"}', ["a", "b,c", 'd"e', "NULL"]),
        ("integer[]", "{1, 2}", [1, 2]),
        ("integer[]", "{}", []),
    ],
)
def test_a_text_of_the_query_string_is_read_as_its_fields_type(kind, text, value):
    read = text_coercer(parse_type(kind), "field")(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        ("integer", 5, 5),
        ("float", 5, 5.0),
        ("float", Decimal("0.5"), 0.5),
        ("decimal(4,1)", Decimal("1.5"), Decimal("1.5")),
        ("decimal(4,1)", 2, Decimal(2)),
        ("boolean", False, False),
        ("uuid", ID, UUID(ID)),
        ("text[]", ["a"], ["a"]),
        ("json", {"a": [None, Decimal("1.50"), True]}, '{"a":[null,1.50,true]}'),
    ],
)
def test_a_json_value_is_read_as_its_fields_type(kind, raw, value):
    read = json_coercer(parse_type(kind), "field")(raw)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("kind", "text", "error"),
    [
        ("integer", "2147483648", OutOfRange),
        ("bigint", "9223372036854775808", OutOfRange),
        ("integer", "1.0", WrongType),
        ("integer", "1_0", WrongType),
        ("integer", "٣", WrongType),
        ("integer", "9" * 5_000, WrongType),
        ("float", "NaN", WrongType),
        ("float", "inf", WrongType),
        ("float", "1e999", OutOfRange),
        ("decimal(4,1)", "Infinity", WrongType),
        ("decimal(4,1)", "1e999999", OutOfRange),
        ("boolean", "maybe", WrongType),
        ("uuid", "{" + ID + "}", WrongType),
        ("uuid", "urn:uuid:" + ID, WrongType),
        ("date", "20240229", WrongType),
        ("date", "2023-02-29", OutOfRange),
        ("date", "0000-01-01", OutOfRange),
        ("date", "12024-01-01", WrongType),
        ("datetime", "infinity", WrongType),
        ("datetime", "2025-08-20T25:00:00Z", OutOfRange),
        ("datetime", "0001-01-01T00:00:00+02:00", OutOfRange),
        ("datetime", "9999-12-31T23:59:59-01:00", OutOfRange),
        ("enum(a,b)", "c", ConstraintViolated),
        ("binary", "a", WrongType),
        ("text", "a\x00b", InvalidValue),
        ("text", "\ud800", InvalidValue),
        ("text[]", "a,b", InvalidParameter),
        ("text[]", "{a,{b}}", InvalidParameter),
        ("text[]", "{a,NULL}", InvalidParameter),
        ("text[]", "{a", InvalidParameter),
        ("text[]", "{a,}", InvalidParameter),
        ("json", "{", InvalidRequest),
        ("json", '"\\u0000"', InvalidValue),
    ],
)
def test_a_text_that_is_not_of_the_type_is_refused(kind, text, error):
    with pytest.raises(error):
        text_coercer(parse_type(kind), "field")(text)


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("integer", "2"),
        ("integer", Decimal("2.0")),
        ("integer", True),
        ("float", "1.5"),
        ("decimal(4,1)", "1.5"),
        ("decimal(4,1)", True),
        ("boolean", 1),
        ("boolean", "true"),
        ("text", 5),
        ("uuid", 5),
        ("date", 5),
        ("datetime", 5),
        ("binary", [1]),
        ("text[]", "a"),
        ("text[]", [1]),
        ("text[]", [None]),
        ("integer[]", [[1]]),
        ("enum(a,b)", 1),
    ],
)
def test_json_of_another_type_is_refused(kind, raw):
    with pytest.raises(WrongType):
        json_coercer(parse_type(kind), "field")(raw)


def test_a_native_type_travels_as_text():
    native = FieldType(Base.NATIVE, native="interval")
    assert text_coercer(native, "field")("1 day") == "1 day"
    assert json_coercer(native, "field")(Decimal("1.50")) == "1.50"


@pytest.mark.parametrize("kind", ["integer", "uuid", "date", "datetime", "boolean", "float", "binary", "integer[]"])
def test_errors_name_the_field_and_never_repeat_the_value(kind):
    value = "s3cret-value " * 100
    with pytest.raises(RequestError) as caught:
        text_coercer(parse_type(kind), "the_field")(value)
    assert "the_field" in caught.value.message
    assert "s3cret" not in caught.value.message + str(caught.value.details) + str(caught.value.hint)
