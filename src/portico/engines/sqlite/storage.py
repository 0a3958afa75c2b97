"""How values are kept in SQLite: each field type's stored form, and a call's values in that form.

A field whose type has a `native` name lies in a table that Portico did not make: what is stored there is read through registered functions.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import struct
import uuid
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import cast

from portico.engines.sql.types import stored_datetime
from portico.errors import OutOfRange
from portico.model.field import Base, FieldType
from portico.query.bound import Special

Stored = int | float | str | bytes | None
Encoder = Callable[[object], Stored]
"""Turns a bound value into its stored form; None stays None."""

MOST_SCALED_DIGITS = 18
_MOST_DIGITS = 400
_EXACT_FLOATS = 2**52
_NUMBERS = {Base.INTEGER, Base.BIGINT, Base.FLOAT, Base.DECIMAL}


def is_scaled(kind: FieldType) -> bool:
    """Whether decimals of this type are kept as integers scaled by ``10 ** scale``."""
    return kind.base is Base.DECIMAL and kind.native is None and kind.precision is not None and kind.precision <= MOST_SCALED_DIGITS


def is_foreign(kind: FieldType) -> bool:
    """Whether values of this type may be stored in a form that Portico would not write."""
    return kind.native is not None


def canonical_json(value: object) -> str:
    """The one text of a JSON value: keys sorted, no spaces, decimals as they were written."""
    return _write(value)


def _write(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{_quote(str(key))}:{_write(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_write(item) for item in value) + "]"
    if isinstance(value, Decimal):
        return str(value) if value.is_finite() else _quote(str(value))
    return json.dumps(value, ensure_ascii=False)


def sortable_json(value: object) -> str:
    """A text by which JSON values sort as on PostgreSQL: strings, numbers, booleans, arrays, objects. Equal values have equal texts.

    Behind its last tab stands the value itself.
    """
    plain = plain_json(value)
    whole = _write(plain)
    match plain:
        case bool():
            return f"3\t{whole}"
        case str():
            return f"1{plain}\t{whole}"
        case int() | float() | Decimal():
            return f"2{_float_order(_nearest(plain)):016x}\t{whole}"
        case list():
            return f"4{len(plain):08x}\t{whole}"
        case _:
            return f"5\t{whole}"


def plain_json(value: object) -> object:
    """A JSON value in which numbers that are equal in one form: 1.0 is 1."""
    if isinstance(value, dict):
        return {key: plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    if isinstance(value, Decimal) and value.is_finite():
        return int(value) if value == value.to_integral_value() and value.adjusted() < _MOST_DIGITS else value.normalize()
    return value


def _nearest(number: float | Decimal) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def jsonb_text(value: object) -> str:
    """A JSON value as the text that PostgreSQL's `jsonb` has for it: numbers in plain digits, shorter keys first, spaces behind signs."""
    if isinstance(value, dict):
        members = sorted(value.items(), key=lambda item: (len(item[0].encode()), item[0].encode()))
        return "{" + ", ".join(f"{_quote(key)}: {jsonb_text(member)}" for key, member in members) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(jsonb_text(member) for member in value) + "]"
    if isinstance(value, Decimal):
        return format(abs(value) if value.is_zero() else value, "f")
    return _quote(value) if isinstance(value, str) else _write(value)


def _float_order(value: float) -> int:
    """A number of 64 bits that sorts as the float does."""
    (bits,) = struct.unpack(">Q", struct.pack(">d", value))
    return int(bits ^ 0xFFFF_FFFF_FFFF_FFFF) if bits >> 63 else int(bits | 1 << 63)


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def read_json(text: str) -> object:
    """The value of a JSON text, numbers with a fraction exactly. Raises ValueError."""
    return cast("object", json.loads(text, parse_float=Decimal))


def encoder(kind: FieldType | Special, *, many: bool = False) -> Encoder | None:
    """What turns a bound value of this type into what is compared with or stored in a column; None where it already is."""
    if many:
        return _list_encoder(encoder(kind))
    if isinstance(kind, Special):
        return _sortable_text if kind is Special.JSON_TEXT else None
    if kind.array:
        return _list_encoder(_member_encoder(kind.element))
    if is_scaled(kind):
        return _scaled(kind.scale or 0)
    return _ENCODERS.get(kind.base)


def written(kind: FieldType) -> Encoder | None:
    """As `encoder`, for a value that is stored: a decimal is rounded to its scale, and must fit its digits. Raises OutOfRange."""
    if is_scaled(kind) and not kind.array:
        return _rounded(kind.precision or MOST_SCALED_DIGITS, kind.scale or 0)
    if kind.base is Base.JSON and not kind.array:
        return None
    if kind.base is Base.DECIMAL and not kind.array and kind.native is not None:
        return _decimal_text
    return encoder(kind)


def _list_encoder(one: Encoder | None) -> Encoder:
    def encode(value: object) -> Stored:
        if value is None:
            return None
        assert isinstance(value, list | tuple), "bind gives a list"
        return _write([one(item) if one is not None and item is not None else item for item in value])

    return encode


def _member_encoder(kind: FieldType) -> Encoder | None:
    """A member of an array: JSON's own form, so decimals keep their digits and bytes are base64."""
    if kind.base is Base.BINARY:
        return lambda value: base64.b64encode(cast("bytes", value)).decode()
    if kind.base is Base.JSON:
        return lambda value: cast("str", read_json(cast("str", value)))
    if kind.base in {Base.DECIMAL, Base.BOOLEAN, *_NUMBERS}:
        return None
    return _ENCODERS.get(kind.base)


def _scaled(scale: int) -> Encoder:
    """The scaled integer of a decimal that is compared; between two of them, a half that equals none."""

    def encode(value: object) -> Stored:
        if value is None:
            return None
        exact = Decimal(cast("Decimal", value)).scaleb(scale)
        whole = int(exact.to_integral_value(rounding="ROUND_FLOOR"))
        if abs(whole) >= 2**63:
            return float(exact)
        if whole == exact:
            return whole
        return whole + 0.5 if abs(whole) < _EXACT_FLOATS else float(exact)

    return encode


def _rounded(precision: int, scale: int) -> Encoder:
    def encode(value: object) -> Stored:
        if value is None:
            return None
        whole = int(Decimal(cast("Decimal", value)).scaleb(scale).to_integral_value(rounding=ROUND_HALF_UP))
        if abs(whole) >= 10**precision:
            raise OutOfRange(f"A decimal({precision},{scale}) has at most {precision - scale} digits before its point.")
        return whole

    return encode


def _sortable_text(value: object) -> Stored:
    return None if value is None else sortable_json(read_json(cast("str", value)))


def _decimal_text(value: object) -> Stored:
    return None if value is None else str(value)


def _uuid_text(value: object) -> Stored:
    return None if value is None else str(value) if isinstance(value, uuid.UUID) else str(uuid.UUID(str(value)))


def _moment(value: object) -> Stored:
    return None if value is None else stored_datetime(cast("dt.datetime", value))


def _day(value: object) -> Stored:
    return None if value is None else cast("dt.date", value).isoformat()


def _truth(value: object) -> Stored:
    return None if value is None else int(cast("bool", value))


def _double(value: object) -> Stored:
    return None if value is None else float(cast("float", value))


_ENCODERS: dict[Base, Encoder] = {
    Base.UUID: _uuid_text,
    Base.DATETIME: _moment,
    Base.DATE: _day,
    Base.BOOLEAN: _truth,
    Base.FLOAT: _double,
    Base.DECIMAL: _double,
    Base.JSON: _sortable_text,
}


def scope_value(kind: FieldType, text: str) -> Stored:
    """A client's or user's id as its column stores it; one that no such column can hold is None, which equals nothing."""
    try:
        if kind.base in {Base.INTEGER, Base.BIGINT}:
            return int(text)
        return _uuid_text(text) if kind.base is Base.UUID else text
    except ValueError:
        return None


def ordering_text(value: Stored, kind: FieldType) -> str:
    """A compared value as JSON, in the form that a cursor's reader takes back: what `encoder` made, undone.

    Args:
        value: what the statement gave. kind: the type that it was compared as.
    """
    if value is None:
        return "null"
    if isinstance(value, bytes):
        return _quote(base64.b64encode(value).decode())
    if kind.base is Base.JSON and not kind.array and isinstance(value, str):
        return value.rpartition("\t")[2]
    if is_scaled(kind) and isinstance(value, int) and not kind.array:
        return format(Decimal(value).scaleb(-(kind.scale or 0)), "f")
    if kind.base is Base.BOOLEAN and value in {0, 1}:
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value) if value == value and abs(value) != float("inf") else _quote(infinity(value))  # noqa: PLR0124  # NaN
    return _quote(value) if isinstance(value, str) else str(value)


def infinity(value: float) -> str:
    """The name of a float that JSON has no number for."""
    if value != value:  # noqa: PLR0124  # only NaN differs from itself
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
