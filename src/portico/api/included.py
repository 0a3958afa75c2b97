"""What the query string of a write asks of the documents that it answers: `select`, `include`, and what is asked of relations."""

from __future__ import annotations

from collections.abc import Sequence

from portico.api import creating
from portico.api.exchange import JSON, VARY, Exchange
from portico.api.render import envelope
from portico.errors import InvalidParameter, UnknownParameter
from portico.model.page import Document
from portico.query import ast
from portico.service.caller import Asked
from portico.service.returning import Included
from portico.syntax import postgrest

CLAUSES = frozenset({"select", "include"})


def included(exchange: Exchange, known: frozenset[str] = frozenset(), clauses: frozenset[str] = CLAUSES) -> Included | None:
    """What is asked of documents that no filter chooses; None where nothing is. `known` are the call's other parameters.

    Raises:
        UnknownParameter: a filter, or another parameter that the call does not take. And what parsing raises.
    """
    if not exchange.scope["query_string"]:
        return None
    asked, wanted = split(exchange, known, clauses)
    if wanted is None:
        exchange.takes(*known)
    elif asked.parse().filter is not None:
        exchange.takes(*known, *clauses, *(name for name in _names(exchange) if "." in name))
        raise UnknownParameter("This call takes no filter.", hint="A relation's filter begins with its name.")
    return wanted


def split(exchange: Exchange, known: frozenset[str] = frozenset(), clauses: frozenset[str] = CLAUSES) -> tuple[Asked, Included | None]:
    """The filter that a query string has, and what it asks of the documents that are answered. Raises what parsing raises."""
    pairs = postgrest.decode_pairs(exchange.scope["query_string"])
    parsed = postgrest.parse(pairs, reserved=known, allowed=clauses)
    query = ast.Query(filter=parsed.query.filter)
    asked = Asked(query, parsed.values, lambda: query)
    if parsed.query.select is None:
        return asked, None
    return asked, Included(ast.Query(select=parsed.query.select), parsed.values)


def changed(exchange: Exchange, *, answer: bool) -> tuple[Asked, Included | None]:
    """The filter of a change of many documents, and what is asked of them. Raises InvalidParameter where they are not answered at all."""
    if not any(name in CLAUSES for name in _names(exchange)):
        return exchange.asked(frozenset()), None
    asked, wanted = split(exchange)
    if not answer:
        raise InvalidParameter(
            "The call answers no documents of which to select.",
            hint="Send Prefer: return=representation.",
            details={"parameter": "select"},
        )
    return asked, wanted


async def created(
    exchange: Exchange, made: Sequence[Document | None], asked: creating.CreateOptions | None, base: str, message: str, *, one: bool
) -> None:
    """Answer what was created or merged: `one` document where the body was no array."""
    if not one:
        if asked is not None and asked.how is not None:
            await creating.upserted(exchange, made, asked)
            return
        message = f"{len(made)} documents created successfully"
    applied = asked.applied_header if asked is not None else ()
    written = [document for document in made if document is not None]
    new = asked is None or asked.how is None or any(document.created for document in written)
    text = (written[0].body if written else "null") if one else "[" + ",".join(document.body for document in written) + "]"
    location = ((b"location", creating.location(base, written[0])),) if one and new and written else ()
    message = message if new else "Document merged successfully" if written else "The document exists already and was left as it is"
    body = envelope(text, message, exchange.correlation_id)
    await exchange.answer(201 if new else 200, body, JSON, *location, VARY, *applied)


def _names(exchange: Exchange) -> list[str]:
    return [name for name, _ in postgrest.decode_pairs(exchange.scope["query_string"])]
