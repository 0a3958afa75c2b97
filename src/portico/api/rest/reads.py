"""`GET` and `HEAD` of a collection."""

from __future__ import annotations

from dataclasses import replace

import orjson

from portico.api.exchange import PRIVATE, Exchange
from portico.api.rest.media import Form, Media, accepted
from portico.api.rest.preferences import Preferences, preferences
from portico.api.rest.ranges import Rows, asked_rows, content_range, read_status
from portico.api.rest.shapes import body_of
from portico.query import ast
from portico.query.ast import CountMode
from portico.service.caller import Asked, Caller
from portico.service.documents import Documents
from portico.service.explain import Explanations
from portico.syntax import postgrest

CLAUSES = frozenset({"select", "order", "limit", "offset"})
"""The parameters of this wire that are no filters: it has no `cursor`, and counts by `Prefer`."""

VARY = (b"vary", b"Authorization, apikey, X-API-Key, X-Client-ID, X-User-ID, Accept, Accept-Profile, Prefer, Range")


def asked_read(raw: bytes, count: CountMode | None, zone: str) -> Asked:
    """A query string as a read, whose datetimes are answered in PostgreSQL's own form in a time zone."""

    def parse() -> ast.Query:
        return _as_rest(postgrest.parse(postgrest.decode_pairs(raw), allowed=CLAUSES).query, count, zone)

    split = postgrest.template(raw, allowed=CLAUSES)
    if split is None:
        parsed = postgrest.parse(postgrest.decode_pairs(raw), allowed=CLAUSES)
        query = _as_rest(parsed.query, count, zone)
        return Asked(query, parsed.values, lambda: query)
    return Asked(("rest", split[0], count, zone), split[1], parse)


def _as_rest(query: ast.Query, count: CountMode | None, zone: str) -> ast.Query:
    return replace(query, count=count, zone=zone)


async def read(exchange: Exchange, caller: Caller, name: str, documents: Documents, explanations: Explanations) -> None:
    """Answer the rows that match, or the plan that they are read by."""
    wishes = preferences(exchange)
    media = accepted(exchange.headers.get(b"accept"), plans=True)
    rows = asked_rows(exchange.scope["query_string"], exchange.headers, documents.plans.limits)
    asked = asked_read(rows.bounded, wishes.count, wishes.zone)
    if media.form is Form.PLAN_JSON:
        plan = orjson.dumps(await explanations.explain(caller, name, asked))
        await exchange.answer(200, plan, media.header, VARY, PRIVATE, *wishes.applied("count"))
        return
    listed = await documents.list(caller, name, asked)
    page = listed.page
    await answer_rows(exchange, page.body, page.count, page.total, rows, media, wishes)


async def answer_rows(
    exchange: Exchange, body: str, count: int, total: int | None, rows: Rows, media: Media, wishes: Preferences, *followed: str
) -> None:
    """Answer a page of rows with its range, in the form that the caller accepts; `followed` are further preferences that were."""
    status = read_status(rows.offset, count, total)
    text = body_of(body, count, media)
    told = content_range(rows.offset, count, total)
    await exchange.answer(status, text, media.header, told, VARY, PRIVATE, *wishes.applied("count", *followed))
