"""`/rest/v1/rpc/{function}`: a database's function, by GET (which changes nothing) or POST."""

from __future__ import annotations

from portico.api.exchange import PRIVATE, Exchange
from portico.api.rest.media import Form, Media, accepted
from portico.api.rest.preferences import Preferences, preferences
from portico.api.rest.ranges import asked_rows, content_range
from portico.api.rest.reads import VARY, answer_rows, asked_read
from portico.api.rest.shapes import body_of
from portico.errors import InvalidJson, InvalidParameter, NotAcceptable
from portico.query.limits import Limits
from portico.service.caller import Caller
from portico.service.functions import Called, Functions
from portico.syntax import postgrest

METHODS = ("GET", "HEAD", "POST", "OPTIONS")


async def call(exchange: Exchange, caller: Caller, name: str, functions: Functions, limits: Limits) -> None:
    """Call a function and answer what it gives: one value or object, or rows that can be filtered, sorted and paged like a collection's."""
    exchange.allow(*METHODS)
    taken = await functions.arguments(caller, name)
    if exchange.method == "OPTIONS":
        await exchange.answer(200, b"", (b"allow", ", ".join(METHODS).encode()))
        return
    wishes, media = preferences(exchange), accepted(exchange.headers.get(b"accept"))
    raw: bytes = exchange.scope["query_string"]
    reading = exchange.method != "POST"
    given: dict[str, object]
    if reading:
        given, raw = _split(raw, taken)
    else:
        given = await _body(exchange)
    rows = asked_rows(raw, exchange.headers, limits)
    # A guess at how many rows a function gives is worth nothing, so that every count of them is exact.
    asked = asked_read(rows.bounded, "exact" if wishes.count is not None else None)
    called = await functions.call(caller, name, given, asked, as_text=reading, read_only=reading)
    if called.function.returns == "nothing" or (wishes.returned == "minimal" and "return" in wishes.given):
        told = content_range(0, 0, called.page.total)
        await exchange.answer(204, b"", told, VARY, *wishes.applied("return", "count"))
    elif called.function.many:
        _refuse_values(called, media)
        await answer_rows(exchange, called.page.body, called.page.count, called.page.total, rows, media, wishes)
    else:
        await _answer_one(exchange, called, media, wishes)


async def _answer_one(exchange: Exchange, called: Called, media: Media, wishes: Preferences) -> None:
    """What a function gives that gives no set: a value, or one object."""
    _refuse_values(called, media)
    page = called.page
    if called.function.returns == "value":
        body, header = page.body.encode(), Media(Form.ARRAY).header
    elif media.form is Form.CSV:
        body, header = body_of(page.body, page.count, media), media.header
    else:
        body, header = body_of(page.body, page.count, Media(Form.OBJECT, media.stripped)), media.header
    await exchange.answer(200, body, header, content_range(0, page.count, page.total), VARY, PRIVATE, *wishes.applied("count"))


def _refuse_values(called: Called, media: Media) -> None:
    if media.form is Form.CSV and called.function.returns == "value":
        raise NotAcceptable("A function that gives values without names is not answered as CSV.", hint="Accept application/json.")


def _split(raw: bytes, taken: frozenset[str]) -> tuple[dict[str, object], bytes]:
    """The arguments among the parameters, and the query string without them."""
    given: dict[str, object] = {}
    kept: list[bytes] = []
    for part in raw.split(b"&"):
        pairs = postgrest.decode_pairs(part)
        name = pairs[0][0] if pairs else ""
        if name not in taken:
            kept.append(part)
        elif name in given:
            raise InvalidParameter(f"The argument {name[:64]!r} is given twice.", details={"parameter": name[:64]})
        else:
            given[name] = pairs[0][1]
    return given, b"&".join(kept)


async def _body(exchange: Exchange) -> dict[str, object]:
    """The arguments of a body: an object; no body is none."""
    if exchange.headers.get(b"content-length") == b"0" or not exchange.headers.keys() & {b"content-length", b"transfer-encoding"}:
        return {}
    body = await exchange.json()
    if not isinstance(body, dict):
        raise InvalidJson("The body is an object of arguments by their names.")
    return body
