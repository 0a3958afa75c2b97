"""Portico's errors as PostgREST's: a code of its own (PGRST…) or an SQLSTATE, in an object of four members.

https://docs.postgrest.org/en/v13/references/errors.html is the contract. A status that PostgREST documents otherwise than Portico's
table (`api/errors.py`) stands beside the code; every other status is that table's.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from portico import errors as e
from portico.api.errors import GENERIC, headers_of, status_of
from portico.api.exchange import Exchange
from portico.api.rest.raised import Answer, answer_of
from portico.api.rest.refusals import (
    FilterRequired,
    InvalidPreference,
    KeyMismatch,
    KeyRequired,
    NotExactlyOne,
    NotOfASet,
    RangeNotSatisfiable,
    UnknownColumn,
    UnknownProfile,
)
from portico.errors import PorticoError
from portico.model.function import Raised
from portico.service.functions import AmbiguousFunction, UnknownFunction

CODES: dict[type[PorticoError], str] = {
    e.InvalidRequest: "PGRST100",
    e.InvalidJson: "PGRST102",
    InvalidPreference: "PGRST122",
    FilterRequired: "21000",
    NotOfASet: "PGRST128",
    KeyRequired: "PGRST105",
    KeyMismatch: "PGRST115",
    e.UnknownField: "42703",
    UnknownColumn: "PGRST204",
    e.UnknownRelation: "PGRST200",
    e.AmbiguousRelation: "PGRST201",
    e.Unauthenticated: "PGRST301",
    e.Forbidden: "42501",
    e.NotFound: "PGRST125",
    e.CollectionNotFound: "PGRST205",
    UnknownFunction: "PGRST202",
    AmbiguousFunction: "PGRST203",
    e.MethodNotAllowed: "PGRST117",
    e.NotAcceptable: "PGRST107",
    UnknownProfile: "PGRST106",
    NotExactlyOne: "PGRST116",
    RangeNotSatisfiable: "PGRST103",
    e.UnsupportedMediaType: "PGRST107",
    e.DuplicateDocument: "23505",
    e.ReferencedDocument: "23503",
    e.StaleSnapshot: "40001",
    e.InvalidValue: "22023",
    e.WrongType: "22P02",
    e.MissingValue: "23502",
    e.ConstraintViolated: "23514",
    e.OutOfRange: "22003",
    e.UnknownReference: "23503",
    e.TooManyAffected: "PGRST124",
    e.NotSupported: "0A000",
    e.Unavailable: "PGRST000",
    e.PoolExhausted: "PGRST003",
    e.OutcomeUnknown: "08007",
    e.DatabaseReadOnly: "25006",
    e.DiskFull: "53100",
    e.SchemaChanged: "PGRST002",
    e.StatementTimeout: "57014",
    e.InternalError: "XX000",
}
"""The code of each class, or of its nearest ancestor; a class without either keeps Portico's own code."""

STATUSES: dict[type[PorticoError], int] = {
    e.InvalidValue: 400,
    e.UnknownReference: 409,
    RangeNotSatisfiable: 416,
    AmbiguousFunction: 300,
    e.AmbiguousRelation: 300,
    # PostgREST knows no idempotency keys, so that this is as everywhere else.
    e.KeyReused: 422,
}
"""Where PostgREST's status is not that of Portico's table."""


_JSON = (b"content-type", b"application/json; charset=utf-8")


def code_of(error: PorticoError) -> str:
    """The error's code on this wire; what a function raised keeps its own."""
    if isinstance(error, Raised):
        return answer_of(error).code
    return next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), error.code)


def rest_status(error: PorticoError) -> int:
    """The error's status on this wire."""
    return next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), status_of(error))


async def fail(exchange: Exchange, error: PorticoError) -> None:
    """Answer an error. What an `InternalError` found is not in it."""
    if isinstance(error, Raised):
        await _fail_as_written(exchange, answer_of(error))
        return
    code, hidden = code_of(error), status_of(error) == 500
    body: dict[str, object] = {
        "code": code,
        "details": None if hidden else _details(error),
        "hint": f"The log has the rest under the correlation id {exchange.correlation_id}." if hidden else error.hint,
        "message": GENERIC if hidden else error.message,
    }
    # A HEAD has no body, so that the code is in a header as well.
    headers = (_JSON, (b"proxy-status", f"PostgREST; error={code}".encode()))
    text = orjson.dumps(_encodable(body))
    await exchange.answer(rest_status(error), text, *headers, *headers_of(error))


async def _fail_as_written(exchange: Exchange, answer: Answer) -> None:
    """Answer what a function raised, in its author's words."""
    body = {"code": answer.code, "details": answer.details, "hint": answer.hint, "message": answer.message}
    status = b"PostgREST; error=" + (answer.code.encode() if answer.code.isascii() and answer.code.isalnum() else b"PGRST")
    await exchange.answer(answer.status, orjson.dumps(_encodable(body)), _JSON, (b"proxy-status", status), *answer.headers)


def _details(error: PorticoError) -> str | None:
    """The particulars as a text, which is what PostgREST's clients expect."""
    found = error.details
    if isinstance(error, NotExactlyOne):
        return f"The result contains {found['rows']} rows"
    if isinstance(error, RangeNotSatisfiable) and "rows" in found:
        return f"An offset of {found['offset']} was requested, but there are only {found['rows']} rows."
    shown = [f"{name}: {value}" for name, value in found.items() if name not in {"retry_after", "sqlstate"}]
    return ", ".join(shown) or None


def _encodable(body: Mapping[str, object]) -> dict[str, object]:
    """A name that the caller made up may hold a lone surrogate."""
    return {name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value for name, value in body.items()}
