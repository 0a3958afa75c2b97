"""`/rest/v1/rpc/{function}`: a database's function, by GET (which changes nothing) or POST."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from portico.api import creating
from portico.api.exchange import PRIVATE, Exchange
from portico.api.rest.bodies import arguments_body, named_texts
from portico.api.rest.media import Form, Media, accepted
from portico.api.rest.preferences import Preferences, preferences
from portico.api.rest.ranges import asked_rows, content_range, read_status
from portico.api.rest.reads import CLAUSES, VARY, answer_rows, asked_read
from portico.api.rest.refusals import NotOfASet
from portico.api.rest.shapes import body_of, not_one
from portico.errors import NotAcceptable, TooManyAffected
from portico.model.function import Function
from portico.model.page import Page
from portico.query.limits import Limits
from portico.service.caller import Caller
from portico.service.functions import Called, Functions, Given, Manner
from portico.syntax import postgrest

_CLAUSES = CLAUSES | {"and", "or", "not.and", "not.or"}
_FILTER = re.compile(r"(?:not\.)?[a-z]+(?:\([^)]*\))?\.")
METHODS = ("GET", "HEAD", "POST", "OPTIONS")


async def call(exchange: Exchange, caller: Caller, name: str, functions: Functions, limits: Limits) -> None:
    """Call a function and answer what it gives: one value or object, or rows that can be filtered, sorted and paged like a collection's."""
    exchange.allow(*METHODS)
    known = await functions.named(caller, name)
    if exchange.method == "OPTIONS":
        allowed = ("POST", "OPTIONS") if all(function.writes for function in known) else METHODS
        await exchange.answer(200, b"", (b"allow", ", ".join(allowed).encode()))
        return
    wishes, media = preferences(exchange), accepted(exchange.headers.get(b"accept"))
    raw: bytes = exchange.scope["query_string"]
    reading = exchange.method != "POST"
    if reading:
        given, raw = _split(raw, known)
    else:
        given, raw = await _posted(exchange, raw, known)
    rows = asked_rows(raw, exchange.headers, limits)
    # A guess at how many rows a function gives is worth nothing, so that every count of them is exact.
    asked = asked_read(rows.bounded, "exact" if wishes.count is not None else None, wishes.zone)
    called = await functions.call(caller, name, given, asked, Manner(reading, wishes.zone, _check(media, wishes, rows.offset)))
    if called.function.returns == "nothing" or (wishes.returned == "minimal" and "return" in wishes.given):
        told = content_range(0, 0, called.page.total)
        await exchange.answer(204, b"", told, VARY, *wishes.applied("return", "count"))
    elif called.function.many:
        await answer_rows(exchange, called.page.body, called.page.count, called.page.total, rows, media, wishes, "max-affected")
    else:
        await _answer_one(exchange, called, media, wishes)


def _check(media: Media, wishes: Preferences, offset: int) -> Callable[[Function, Page], None]:
    """What is asked of the answer: where it does not hold, nothing that the function did is kept."""

    def check(function: Function, page: Page) -> None:
        most = wishes.most
        if media.form is Form.CSV and function.returns == "value":
            raise NotAcceptable("A function that gives values without names is not answered as CSV.", hint="Accept application/json.")
        if most is not None and not function.many:
            raise NotOfASet("Function must return SETOF or TABLE when max-affected preference is used with handling=strict")
        if not function.many:
            return
        if most is not None and page.count > most:
            raise TooManyAffected(f"The function gave more than {most} rows.", details={"max_affected": most})
        read_status(offset, page.count, page.total)
        if media.single and page.count != 1:
            raise not_one(page.count)

    return check


async def _answer_one(exchange: Exchange, called: Called, media: Media, wishes: Preferences) -> None:
    """What a function gives that gives no set: a value, or one object."""
    page = called.page
    if called.function.returns == "value":
        body, header = page.body.encode(), Media(Form.ARRAY).header
    elif media.form is Form.CSV:
        body, header = body_of(page.body, page.count, media), media.header
    else:
        body, header = body_of(page.body, page.count, Media(Form.OBJECT, media.stripped)), media.header
    await exchange.answer(200, body, header, content_range(0, page.count, page.total), VARY, PRIVATE, *wishes.applied("count"))


async def _posted(exchange: Exchange, raw: bytes, known: Sequence[Function]) -> tuple[Given, bytes]:
    """The arguments of a body, of which `columns` may choose some, and the query string without that."""
    given = await arguments_body(exchange, whole=any(function.takes_whole for function in known), lists=_lists(known))
    columns = creating.read(exchange.parameters({"columns"}), {}).members.columns
    if columns is None:
        return given, raw
    chosen = {name: value for name, value in given.values.items() if name in columns}
    kept = [part for part in raw.split(b"&") if not part.startswith(b"columns=")]
    return replace(given, values=chosen), b"&".join(kept)


def _lists(functions: Sequence[Function]) -> frozenset[str]:
    """The arguments of which each element is given by itself."""
    return frozenset(argument.name for function in functions for argument in function.arguments if argument.variadic)


def _split(raw: bytes, functions: Sequence[Function]) -> tuple[Given, bytes]:
    """The arguments among the parameters, and the query string without them."""
    taken = frozenset(argument.name for function in functions for argument in function.arguments) - {""}
    given: list[tuple[str, str]] = []
    kept: list[bytes] = []
    for part in raw.split(b"&"):
        pairs = postgrest.decode_pairs(part)
        # What is no filter is an argument, so that one that no function takes is told as such.
        argument = pairs and pairs[0][0] not in _CLAUSES and not _FILTER.match(pairs[0][1])
        if pairs and (argument or pairs[0][0] in taken):
            given += pairs
        else:
            kept.append(part)
    return Given(named_texts(given, _lists(functions)), as_text=True), b"&".join(kept)
