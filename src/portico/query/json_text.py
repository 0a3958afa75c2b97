"""JSON as Portico takes it (RFC 8259, without duplicate keys, constants or lone surrogates), and as it hands it to a database."""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation

import orjson

from portico.errors import InvalidJson, InvalidValue, OutOfRange

MAX_JSON_DEPTH = 64
MAX_NUMBER_DIGITS = 1_000
_TEXTS_AND_SCALARS = re.compile(r'(?:"(?:[^"\\]++|\\.)*+"?|[^\[\]{}"]++)++', re.DOTALL)
_TOO_DEEP = "(" * (MAX_JSON_DEPTH + 1)
_PARENTHESES = str.maketrans("[{]}", "(())")
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(text: str) -> object:
    """The value of a JSON text: `dict`, `list`, `str`, `int`, `Decimal` (numbers with a point or exponent), `bool`, None.

    Raises:
        InvalidJson: it is not JSON, nests deeper than 64, repeats a key, or has NaN, Infinity or a lone surrogate.
        OutOfRange: a number has more than 1,000 digits.
    """
    check_depth(text)
    try:
        value: object = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise InvalidJson(f"The JSON is broken at line {error.lineno}, column {error.colno}: {_reason(error)}.") from None
    except RecursionError:
        raise _too_deep() from None
    if _SURROGATE_ESCAPE.search(text):
        _refuse_surrogates(value)
    return value


def check_depth(text: str) -> None:
    """Raises InvalidJson where arrays and objects nest deeper than 64, or are not closed. Other text that is not JSON may pass."""
    if text.count("[") + text.count("{") <= MAX_JSON_DEPTH:
        return
    # Only brackets are left, and the innermost pairs go one level at a time: a few passes in C instead of a step for each bracket.
    brackets = _TEXTS_AND_SCALARS.sub("", text).translate(_PARENTHESES)
    for _ in range(MAX_JSON_DEPTH):
        if _TOO_DEEP in brackets:
            break
        outer = brackets.replace("()", "")
        if not outer:
            return
        if len(outer) == len(brackets):
            raise InvalidJson("The JSON has a bracket that is not closed or not opened.")
        brackets = outer
    raise _too_deep()


def write_json(value: object) -> str:
    """The JSON text of a value that `read_json` gave; decimals keep their digits.

    Raises:
        InvalidValue: a text in it has U+0000 or a lone surrogate, which databases do not store.
    """
    try:
        text = orjson.dumps(value).decode()
    except TypeError:
        text = _write(value)
    if "\\u0000" in text and _has_nul(value):
        raise InvalidValue("A text has the character U+0000, which cannot be stored.")
    return text


def _reason(error: json.JSONDecodeError) -> str:
    # The module's own messages name what was expected, never the text of the body.
    return error.msg[:1].lower() + error.msg[1:].rstrip(":")


def _too_deep() -> InvalidJson:
    return InvalidJson(f"The JSON nests deeper than {MAX_JSON_DEPTH}.")


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise InvalidJson("The JSON has an object with the same key twice.")
    return result


def _constant(_: str) -> object:
    raise InvalidJson("The JSON has NaN or Infinity, which are not JSON.")


def _integer(digits: str) -> int:
    if len(digits) > MAX_NUMBER_DIGITS:
        raise OutOfRange(f"The JSON has a number of more than {MAX_NUMBER_DIGITS} digits.")
    return int(digits)


def _decimal(digits: str) -> Decimal:
    try:
        number = Decimal(digits)
    except InvalidOperation:
        number = None  # an exponent beyond what any type holds
    if number is None or len(digits) > MAX_NUMBER_DIGITS or abs(number.adjusted()) > MAX_NUMBER_DIGITS:
        raise OutOfRange(f"The JSON has a number of more than {MAX_NUMBER_DIGITS} digits.")
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_int=_integer, parse_float=_decimal)


def _refuse_surrogates(value: object) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidJson("The JSON has a lone surrogate, which is not a character.") from None
    elif isinstance(value, dict):
        for key, member in value.items():
            _refuse_surrogates(key)
            _refuse_surrogates(member)
    elif isinstance(value, list):
        for member in value:
            _refuse_surrogates(member)


def _has_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(_has_nul(key) or _has_nul(member) for key, member in value.items())
    return isinstance(value, list) and any(_has_nul(member) for member in value)


def _write(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{_write(key)}:{_write(member)}" for key, member in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_write(member) for member in value) + "]"
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, str):
        try:
            return orjson.dumps(value).decode()
        except TypeError:
            raise InvalidValue("A text has a lone surrogate, which is not a character.") from None
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value, allow_nan=False)
    raise InvalidValue("A value is not JSON.")
