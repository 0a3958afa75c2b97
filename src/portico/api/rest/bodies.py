"""Bodies of writes and of calls: JSON, CSV with a header, forms; and what a function takes as a whole."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import cast

from portico.api.exchange import Exchange
from portico.errors import InvalidJson, InvalidParameter, InvalidValue, PorticoError, UnsupportedMediaType
from portico.model.field import Base, Field, FieldType
from portico.query.coerce import text_coercer
from portico.query.csv_text import Record, read_records
from portico.query.json_text import MAX_NUMBER_DIGITS, read_json
from portico.query.literals import read_array
from portico.query.moments import UTC, with_offset
from portico.service.functions import Given
from portico.service.json_body import parse_json
from portico.syntax import postgrest

JSON, CSV, FORM = b"application/json", b"text/csv", b"application/x-www-form-urlencoded"
_NULL = "NULL"
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?")
_NUMERIC = frozenset({Base.INTEGER, Base.BIGINT, Base.DECIMAL, Base.FLOAT})


def media_of(exchange: Exchange) -> bytes:
    """The media type of the body; JSON where none is named."""
    media = exchange.headers.get(b"content-type", JSON).split(b";", 1)[0].strip().lower()
    return JSON if not media or media.endswith(b"+json") else media


async def rows_body(exchange: Exchange, fields: Mapping[str, Field], zone: str, *, csv: bool = True) -> object:
    """The body of a write as JSON would have it: texts of CSV and of forms become what their fields' types make of them.

    Datetimes that name no offset are read in `zone`.

    Raises:
        UnsupportedMediaType: it is none of these. InvalidJson: it cannot be read. BodyTooLarge.
    """
    body = await _rows(exchange, fields, csv=csv)
    return body if zone == UTC else _in_zone(body, fields, zone)


def _in_zone(body: object, fields: Mapping[str, Field], zone: str) -> object:
    if isinstance(body, list):
        return [_in_zone(row, fields, zone) for row in body]
    if not isinstance(body, dict):
        return body
    moments = {name for name in body if name in fields and fields[name].type.base is Base.DATETIME}
    return {name: with_offset(value, zone) if name in moments else value for name, value in body.items()}


async def _rows(exchange: Exchange, fields: Mapping[str, Field], *, csv: bool) -> object:
    media = media_of(exchange)
    if media == JSON:
        return await exchange.json()
    if media == FORM:
        pairs = named_texts(postgrest.decode_pairs(await exchange.body()), frozenset())
        return {name: _value(fields.get(name), str(text)) for name, text in pairs.items()}
    if media == CSV and csv:
        return _records(await exchange.body(), fields)
    taken = "application/json, text/csv or application/x-www-form-urlencoded" if csv else "application/json"
    raise UnsupportedMediaType("The body's media type is not understood.", hint=f"Send {taken}.")


async def arguments_body(exchange: Exchange, *, whole: bool, lists: frozenset[str]) -> Given:
    """What a function is called with: a JSON object or a form of arguments by their names, or a body that it takes as a whole.

    Args:
        whole: there is a function that takes any JSON as a whole. lists: the arguments that a form may repeat.
    Raises:
        UnsupportedMediaType, InvalidJson, BodyTooLarge: as `rows_body`.
    """
    if exchange.headers.get(b"content-length") == b"0" or not exchange.headers.keys() & {b"content-length", b"transfer-encoding"}:
        return Given({})
    media, body = media_of(exchange), await exchange.body()
    match media:
        case b"application/json":
            read = parse_json(body)
            if not isinstance(read, dict) and not whole:
                raise InvalidJson("The body is an object of arguments by their names.")
            return Given(read if isinstance(read, dict) else {}, whole={"json": read, "jsonb": read})
        case b"application/x-www-form-urlencoded":
            return Given(named_texts(postgrest.decode_pairs(body), lists), as_text=True)
        case b"text/plain":
            return Given({}, whole={"text": _decoded(body)})
        case b"application/octet-stream":
            return Given({}, whole={"bytea": base64.b64encode(body).decode()})
    raise UnsupportedMediaType("The body's media type is not understood.", hint="Send application/json.")


def named_texts(pairs: Iterable[tuple[str, str]], lists: frozenset[str]) -> dict[str, object]:
    """Arguments by their names. Raises InvalidParameter where one stands twice that is none of `lists`."""
    given: dict[str, object] = {}
    for name, text in pairs:
        if name in lists:
            cast("list[str]", given.setdefault(name, [])).append(text)
        elif name in given:
            raise InvalidParameter(f"The argument {name[:64]!r} is given twice.", details={"parameter": name[:64]})
        else:
            given[name] = text
    return given


def _decoded(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise InvalidJson("The body is not valid UTF-8.") from None


def _records(body: bytes, fields: Mapping[str, Field]) -> list[object]:
    """The rows of a CSV text, whose first line names the fields. ``NULL`` is null, and nothing the empty text."""
    records = [record for _, record in read_records(io.BytesIO(body)) if record != [None]]
    broken = next((record for record in records if isinstance(record, InvalidValue)), None)
    if broken is not None:
        raise InvalidJson(broken.message)
    header, *lines = cast("list[Record]", records) or [[]]
    names = [name or "" for name in header]
    if "" in names or len(set(names)) != len(names) or not names:
        raise InvalidJson("The first line of the CSV names each field once.")
    if any(len(line) != len(names) for line in lines):
        raise InvalidJson("All lines must have same number of fields")
    types = [fields.get(name) for name in names]
    return [
        {name: None if text == _NULL else _value(field, text or "") for name, field, text in zip(names, types, line, strict=True)}
        for line in lines
    ]


def _value(field: Field | None, text: str) -> object:
    """What JSON has instead of a text. One that is nothing of the type stays a text, which the field's own rules refuse."""
    if field is None:
        return text
    try:
        return _typed(field.type, text, field.name)
    except PorticoError:
        return text


def _typed(kind: FieldType, text: str, name: str) -> object:
    if kind.array:
        return [_typed(kind.element, str(item), name) for item in read_array(text, name)] if text.lstrip()[:1] == "{" else read_json(text)
    if kind.base is Base.JSON:
        return read_json(text)
    if kind.base in _NUMERIC and len(text) <= MAX_NUMBER_DIGITS and _NUMBER.fullmatch(text):
        return int(text) if text.lstrip("+-").isdigit() else Decimal(text)
    if kind.base is Base.BOOLEAN:
        return text_coercer(kind, name)(text)
    return text
