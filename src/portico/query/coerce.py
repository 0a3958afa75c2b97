"""Reads raw values as the types of fields: text of the query string by the field's type, JSON strictly by its own."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from uuid import UUID

from portico.errors import ConstraintViolated, InvalidValue, MissingValue, OutOfRange, WrongType
from portico.model.field import Base, FieldType
from portico.query.bound import Coercer
from portico.query.json_text import MAX_NUMBER_DIGITS, read_json, write_json
from portico.query.literals import read_array

Reader = Callable[[object, str], object]
"""Reads a raw value as a type; the second argument names the field, for messages."""

_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?")
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|[0-9a-fA-F]{32}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATETIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[Tt ]([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "off", "0"})
_INTEGER_BOUND = 1 << 31
_BIGINT_BOUND = 1 << 63


def text_coercer(kind: FieldType, name: str) -> Coercer:
    """Reads a text of the query string as `kind`; an array is PostgreSQL's literal ``{a,b}``.

    Args:
        kind: the type. name: of the field, for messages.
    Returns:
        a coercer that raises WrongType, OutOfRange, ConstraintViolated or InvalidValue.
    """
    if kind.array:
        element = text_coercer(kind.element, name)
        return lambda raw: [element(item) for item in read_array(_text(raw, name), name)]
    if kind.base is Base.ENUM:
        return _enum_coercer(kind, name)
    reader = _TEXT_READERS[kind.base]
    return lambda raw: reader(raw, name)


def json_coercer(kind: FieldType, name: str) -> Coercer:
    """Reads a JSON value as `kind`, strictly: no number from a string, no integer from 2.0. Arguments and errors as in `text_coercer`."""
    if kind.array:
        element = json_coercer(kind.element, name)
        return lambda raw: [element(item) for item in _members(raw, name)]
    if kind.base is Base.ENUM:
        return _enum_coercer(kind, name)
    reader = _JSON_READERS[kind.base]
    return lambda raw: reader(raw, name)


def many_coercer(element: Coercer, name: str, most: int) -> Coercer:
    """Reads a list of raw values, each by `element`. The coercer raises OutOfRange beyond `most` values."""

    def read(raw: object) -> object:
        items = raw if isinstance(raw, list) else [raw]
        if len(items) > most:
            raise OutOfRange(f"The list for {name!r} has more than {most} values.", details={"field": name})
        return [element(item) for item in items]

    return read


def read_text(raw: object, name: str) -> str:
    """A text without U+0000 and lone surrogates. Raises WrongType, InvalidValue."""
    if not isinstance(raw, str):
        raise wrong_type(name, "a string")
    if "\x00" in raw:
        raise InvalidValue(f"The value of {name!r} has the character U+0000.", details={"field": name})
    if not raw.isascii():
        try:
            raw.encode()
        except UnicodeEncodeError:
            raise InvalidValue(f"The value of {name!r} has a lone surrogate.", details={"field": name}) from None
    return raw


def read_json_text(raw: object, name: str) -> str:
    """The JSON text of a JSON value. Raises InvalidValue."""
    try:
        return write_json(raw)
    except InvalidValue as error:
        raise InvalidValue(error.message, details={"field": name}) from None


def parse_json_text(raw: object, name: str) -> str:
    """The JSON text that a text of the query string is, in canonical form. Raises InvalidJson, InvalidValue."""
    return read_json_text(read_json(_text(raw, name)), name)


def wrong_type(name: str, expected: str) -> WrongType:
    """The error for a value of `name` that is not `expected` (``an integer``); the value itself is never repeated."""
    return WrongType(f"The value of {name!r} is not {expected}.", details={"field": name, "expected": expected})


def _text(raw: object, name: str) -> str:
    if isinstance(raw, str):
        return raw
    raise wrong_type(name, "a text")


def _members(raw: object, name: str) -> list[object]:
    if isinstance(raw, list):
        return raw
    raise wrong_type(name, "an array")


def _within(number: int, bound: int, name: str) -> int:
    if -bound <= number < bound:
        return number
    bits = bound.bit_length()
    raise OutOfRange(f"The value of {name!r} does not fit an integer of {bits} bits.", details={"field": name})


def _parse_integer(raw: object, name: str) -> int:
    if isinstance(raw, str) and _INTEGER.fullmatch(raw):
        return int(raw)
    raise wrong_type(name, "an integer")


def _json_integer(raw: object, name: str) -> int:
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    raise wrong_type(name, "an integer")


def _parse_decimal(raw: object, name: str) -> Decimal:
    if not isinstance(raw, str) or len(raw) > MAX_NUMBER_DIGITS or not _NUMBER.fullmatch(raw):
        raise wrong_type(name, "a number")
    return _json_decimal(Decimal(raw), name)


def _json_decimal(raw: object, name: str) -> Decimal:
    if isinstance(raw, bool) or not isinstance(raw, int | Decimal | float):
        raise wrong_type(name, "a number")
    try:
        number = Decimal(repr(raw)) if isinstance(raw, float) else Decimal(raw)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number.adjusted()) > MAX_NUMBER_DIGITS:
        raise OutOfRange(f"The value of {name!r} is too large or too small.", details={"field": name})
    return number


def _parse_float(raw: object, name: str) -> float:
    if not isinstance(raw, str) or len(raw) > MAX_NUMBER_DIGITS or not _NUMBER.fullmatch(raw):
        raise wrong_type(name, "a number")
    return _finite(float(raw), name)


def _json_float(raw: object, name: str) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | Decimal | float):
        raise wrong_type(name, "a number")
    try:
        return _finite(float(raw), name)
    except OverflowError:
        return _finite(math.inf, name)


def _finite(number: float, name: str) -> float:
    if math.isfinite(number):
        return number
    raise OutOfRange(f"The value of {name!r} is not a finite number of 64 bits.", details={"field": name})


def _parse_boolean(raw: object, name: str) -> bool:
    word = _text(raw, name).lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise wrong_type(name, "a boolean")


def _json_boolean(raw: object, name: str) -> bool:
    if isinstance(raw, bool):
        return raw
    raise wrong_type(name, "a boolean")


def _read_uuid(raw: object, name: str) -> UUID:
    if isinstance(raw, str) and _UUID.fullmatch(raw):
        return UUID(raw)
    raise wrong_type(name, "a UUID")


def _read_date(raw: object, name: str) -> date:
    if not isinstance(raw, str) or not _DATE.fullmatch(raw):
        raise wrong_type(name, "a date (2025-08-20)")
    try:
        return date.fromisoformat(raw)
    except ValueError:
        raise _no_such_day(name) from None


def _read_datetime(raw: object, name: str) -> datetime:
    """RFC 3339, or ISO 8601 with a space or without a time or offset (then UTC); digits beyond microseconds are cut."""
    match = _DATETIME.fullmatch(raw) if isinstance(raw, str) else None
    if match is None:
        raise wrong_type(name, "a datetime (2025-08-20T08:10:48Z)")
    day, clock, fraction, offset = match.groups()
    text = day
    if clock is not None:
        text += f"T{clock if len(clock) > 5 else clock + ':00'}{(fraction or '')[:7].ljust(7, '0') if fraction else ''}"
        text += "+00:00" if offset is None or offset in "Zz" else offset
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if clock is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _no_such_day(name) from None


def _no_such_day(name: str) -> OutOfRange:
    return OutOfRange(f"The value of {name!r} is no date or time between the years 1 and 9999.", details={"field": name})


def _read_binary(raw: object, name: str) -> bytes:
    try:
        return base64.b64decode(_text(raw, name), validate=True)
    except (binascii.Error, ValueError):
        raise wrong_type(name, "binary data in base64") from None


def _enum_coercer(kind: FieldType, name: str) -> Coercer:
    values = frozenset(kind.values)

    def read(raw: object) -> object:
        text = read_text(raw, name)
        if text in values:
            return text
        raise ConstraintViolated(f"The value of {name!r} is none of {', '.join(kind.values)}.", details={"field": name})

    return read


def _json_native(raw: object, name: str) -> str:
    """A native type travels as text; JSON numbers and structures are its text form."""
    if raw is None:
        raise MissingValue(f"The value of {name!r} is null.", details={"field": name})
    return read_text(raw, name) if isinstance(raw, str) else read_json_text(raw, name)


def _integer_reader(parse: Callable[[object, str], int], bound: int) -> Reader:
    return lambda raw, name: _within(parse(raw, name), bound, name)


_SAME: dict[Base, Reader] = {
    Base.STRING: read_text,
    Base.TEXT: read_text,
    Base.UUID: _read_uuid,
    Base.DATE: _read_date,
    Base.DATETIME: _read_datetime,
    Base.BINARY: _read_binary,
}
_TEXT_READERS: dict[Base, Reader] = {
    **_SAME,
    Base.INTEGER: _integer_reader(_parse_integer, _INTEGER_BOUND),
    Base.BIGINT: _integer_reader(_parse_integer, _BIGINT_BOUND),
    Base.FLOAT: _parse_float,
    Base.DECIMAL: _parse_decimal,
    Base.BOOLEAN: _parse_boolean,
    Base.JSON: parse_json_text,
    Base.NATIVE: read_text,
}
_JSON_READERS: dict[Base, Reader] = {
    **_SAME,
    Base.INTEGER: _integer_reader(_json_integer, _INTEGER_BOUND),
    Base.BIGINT: _integer_reader(_json_integer, _BIGINT_BOUND),
    Base.FLOAT: _json_float,
    Base.DECIMAL: _json_decimal,
    Base.BOOLEAN: _json_boolean,
    Base.JSON: read_json_text,
    Base.NATIVE: _json_native,
}
