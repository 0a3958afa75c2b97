"""Running a plan's statements on a connection, and comparing each row's tenant with the scope of the call that it is for."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import asyncpg

from portico.engines.base import Answer, Call, Outcome
from portico.engines.postgres.cascades import Cascading
from portico.engines.postgres.compiled import PostgresPlan
from portico.engines.postgres.errors import LOST, duplicate_text, reported
from portico.engines.postgres.estimates import estimate, set_scope
from portico.engines.postgres.statement import Statement
from portico.engines.sql.bounds import answer_too_large, too_many_gathered
from portico.engines.sql.references import foreign_row, taken, unknown_reference
from portico.errors import (
    ForeignTenant,
    InternalError,
    PorticoError,
    PreconditionFailed,
    StatementTimeout,
    TooManyAffected,
    UnknownReference,
    WrongType,
)
from portico.model.page import Changed, Document, Page
from portico.model.scope import Scope
from portico.query.scoped import (
    Aggregate,
    Change,
    Count,
    Create,
    Delete,
    EverythingRule,
    GetByKey,
    ListPage,
    ScopedQuery,
    SharedRule,
    TenantRule,
)

MOST_RACES = 3
"""How often an upsert looks for a document that came to be while it ran, before it is taken for one of another scope."""

if TYPE_CHECKING:
    from portico.engines.postgres.pool import Connection

CHUNK_ROWS = 500
EXPORT_LIFE_SECONDS = 600.0


async def fetch(
    connection: Connection, plan: PostgresPlan, text: Statement, calls: Sequence[Call], timeout: float | None
) -> list[asyncpg.Record]:
    """The rows of a statement for `calls`; what the server reports becomes Portico's error, a lost connection is left to the caller."""
    try:
        return await connection.fetch(text.text, *text.bind(calls), timeout=timeout)
    except LOST as error:
        if isinstance(error, ValueError):
            # asyncpg could not write a value in its parameter's type; nothing was sent.
            raise WrongType("A value is not of its field's type.") from error
        raise
    except asyncpg.PostgresError as error:
        raise reported(error, plan.collection, deleting=isinstance(plan.query, Delete)) from error


def needs_transaction(query: ScopedQuery) -> bool:
    """Whether a write is more than one statement: filter-wide, with cascades, or of a document whose versions are kept."""
    if isinstance(query, Create):
        return query.versioned and query.resolution == "merge"
    if not isinstance(query, Change | Delete):
        return False
    return not query.key or query.versioned or (isinstance(query, Delete) and bool(query.cascades))


async def run_alone(connection: Connection, plan: PostgresPlan, call: Call, timeout: float | None, *, impatient: bool = False) -> Answer:
    """One call's own statement. A filter-wide change needs a transaction that is open, and sets its scope itself.

    Args:
        impatient: a write by key that meets a lock fails within milliseconds, with the SQLSTATE of a lock that is not available.
    """
    query = plan.query
    if needs_transaction(query):
        await set_scope(connection, call.scope)
    if isinstance(query, Delete) and query.cascades:
        await Cascading(connection, plan, call, timeout).run()
    elif isinstance(query, Change | Delete) and query.versioned:
        # A statement that waits for a lock sees other tables as they were before: the lock comes first, the version's number after.
        await fetch(connection, plan, plan.locking(call.scope.kind), [call], timeout)
    if isinstance(query, Count) and plan.counting != "exact":
        return Changed(await estimate(connection, plan, call, timeout))
    if isinstance(query, Create) and query.on_conflict:
        return (await upsert(connection, plan, [call], timeout, impatient=impatient))[0]
    text = plan.impatient(call.scope.kind) if impatient else plan.alone(call.scope.kind)
    rows = await fetch(connection, plan, text, [call], timeout)
    match query:
        case Create():
            return one_created(query, rows, call)
        case GetByKey():
            return document(rows[0], query, call.scope) if rows else None
        case ListPage():
            found = page(rows[0], query, call.scope)
            return found if plan.counting == "exact" else replace(found, total=await estimate(connection, plan, call, timeout))
        case Count():
            return Changed(rows[0][0])
        case Aggregate():
            return aggregated(rows[0], query, call.scope)
        case Change() | Delete():
            return changed(query, rows, call)
        case _:
            raise InternalError("An export is streamed.")


async def run_joint(connection: Connection, plan: PostgresPlan, calls: Sequence[Call], timeout: float | None) -> list[Outcome]:
    """One statement for several calls of a plan. A create without a row has no outcome yet: it must run alone."""
    rows = await fetch(connection, plan, plan.together(calls[0].scope.kind), calls, timeout)
    outcomes: list[Outcome] = [None] * len(calls)
    query = plan.query
    for row in rows:
        place = row["n"] - 1
        call = calls[place]
        if isinstance(query, ListPage):
            outcomes[place] = page(row, query, call.scope)
        else:
            outcomes[place] = document(row, query, call.scope)
    return outcomes


async def run_together(connection: Connection, plan: PostgresPlan, calls: Sequence[Call], timeout: float | None) -> list[Answer]:
    """Several creates, changes by key or reads by key of one caller: by one statement where that is right. Raises the first error."""
    if isinstance(plan.query, Create):
        return await create_together(connection, plan, calls, timeout)
    if isinstance(plan.query, GetByKey):
        return await get_together(connection, plan, plan.query, calls, timeout)
    assert isinstance(plan.query, Change), "deletes are not run together"
    if plan.query.versioned or len(calls) == 1:
        return [await run_at(place, connection, plan, calls, timeout) for place in range(len(calls))]
    return await change_together(connection, plan, plan.query, calls, timeout)


async def run_at(place: int, connection: Connection, plan: PostgresPlan, calls: Sequence[Call], timeout: float | None) -> Answer:
    """One of several calls, by itself. Its error says its place."""
    try:
        return await run_alone(connection, plan, calls[place], timeout)
    except PorticoError as error:
        raise at_place(error, place, calls) from error.__cause__


async def change_together(
    connection: Connection, plan: PostgresPlan, query: Change, calls: Sequence[Call], timeout: float | None
) -> list[Answer]:
    """Several changes by key in one statement; None for a document that is not there."""
    rows = await fetch(connection, plan, plan.by_keys(calls[0].scope.kind), calls, timeout)
    answers: list[Answer] = [None] * len(calls)
    for row in rows:
        place = row["n"] - 1
        try:
            answers[place] = changed(query, [row], calls[place])
        except PorticoError as error:
            raise at_place(error, place, calls) from error.__cause__
    return answers


async def get_together(
    connection: Connection, plan: PostgresPlan, query: GetByKey, calls: Sequence[Call], timeout: float | None
) -> list[Answer]:
    """Several reads by key in one statement; None for a document that is not there."""
    answers: list[Answer] = [None] * len(calls)
    for row in await fetch(connection, plan, plan.each(calls[0].scope.kind), calls, timeout):
        answers[row["n"] - 1] = document(row, query, calls[0].scope)
    return answers


async def create_together(connection: Connection, plan: PostgresPlan, calls: Sequence[Call], timeout: float | None) -> list[Answer]:
    """Several documents by one statement, all or none; raises the first error."""
    query = plan.query
    assert isinstance(query, Create), "only creates are made together"
    if not plan.together_inside:
        return [await run_at(place, connection, plan, calls, timeout) for place in range(len(calls))]
    if query.on_conflict:
        return await upsert(connection, plan, calls, timeout)
    rows = await fetch(connection, plan, plan.alone(calls[0].scope.kind), calls, timeout)
    if query.counted:
        return [*counted(query, rows[0], calls)]
    if len(rows) != len(calls):
        raise left_scope(query)
    return [document(row, query, call.scope) for row, call in zip(rows, calls, strict=True)]


async def upsert(
    connection: Connection, plan: PostgresPlan, calls: Sequence[Call], timeout: float | None, *, impatient: bool = False
) -> list[Answer]:
    """Create or merge the documents of `calls`; None for those that are there and stay as they are.

    A document that somebody else made while the statement ran is tried again: by then it can be seen, or it is not the caller's to see.
    """
    query = plan.query
    assert isinstance(query, Create), "only creates meet what is there"
    if query.versioned and query.resolution == "merge":
        await fetch(connection, plan, plan.locking(calls[0].scope.kind), calls, timeout)
    answers: list[Answer] = [None] * len(calls)
    pending = list(range(len(calls)))
    for _ in range(MOST_RACES):
        text = plan.impatient(calls[0].scope.kind) if impatient else plan.alone(calls[0].scope.kind)
        rows = await fetch(connection, plan, text, [calls[place] for place in pending], timeout)
        again: list[int] = []
        for place, row in zip(pending, rows, strict=True):
            if row["done"] is not None:
                answers[place] = replace(document(row, query, calls[place].scope), created=row["done"] == "create")
            elif not row["fits"]:
                raise at_place(left_scope(query), place, calls)
            elif not (row["found"] and query.resolution == "ignore"):
                again.append(place)
        pending = again
        if not pending:
            return answers
    raise at_place(taken(query, duplicate_text(query.on_conflict)), pending[0], calls)


def at_place(error: PorticoError, place: int, calls: Sequence[Call]) -> PorticoError:
    """The error, with the place of the call that it is of where there are several."""
    if len(calls) > 1:
        error.details["index"] = place
    return error


async def chunks_of(connection: Connection, plan: PostgresPlan, call: Call) -> AsyncGenerator[bytes, None]:
    """The rows of an export by a cursor of the open transaction, whose scope is set, as whole lines. Raises StatementTimeout."""
    text = plan.alone(call.scope.kind)
    started = time.monotonic()
    guarded = not isinstance(plan.query.rule, SharedRule | EverythingRule)
    try:
        cursor = await connection.cursor(text.text, *text.bind([call]))
        while rows := await cursor.fetch(CHUNK_ROWS):
            if guarded:
                in_scope({row["tenant"] for row in rows}, call.scope)
            yield ("\n".join(row["body"] for row in rows) + "\n").encode()
            if time.monotonic() - started > EXPORT_LIFE_SECONDS:
                raise StatementTimeout("The export took longer than ten minutes.")
    except LOST:
        raise
    except asyncpg.PostgresError as error:
        raise reported(error, plan.collection) from error


def _unchanged(query: Change | Delete, row: asyncpg.Record, call: Call) -> PorticoError:
    """Why a row that was found and locked was not changed: it is another version, or it would have left the scope."""
    if query.etag is not None and row["was"] != call.values[query.etag.index]:
        return PreconditionFailed("The document was changed since it was read.", hint="Read it again.")
    return left_scope(query)


def left_scope(query: Create | Change | Delete) -> PorticoError:
    """What a row outside of its caller's scope is refused as: like a reference to what does not exist."""
    rule = query.rule
    if isinstance(query, Create | Change) and query.references:
        return unknown_reference(query)
    if isinstance(rule, TenantRule):
        return ForeignTenant(f"The field {rule.field} must be the client that the call acts for.", details={"field": rule.field})
    return UnknownReference("The document refers to an owner or parent that does not exist.")


def one_created(query: Create, rows: Sequence[asyncpg.Record], call: Call) -> Document:
    """The document that a create made; none means that its owner or parent is not in scope."""
    if query.counted:
        return counted(query, rows[0], [call])[0]
    if not rows:
        raise left_scope(query)
    return document(rows[0], query, call.scope)


def counted(query: Create, row: asyncpg.Record, calls: Sequence[Call]) -> list[Document]:
    """A document without a body for each call, once the tenants of what was created were compared with the scope."""
    if row["n"] != len(calls):
        raise left_scope(query)
    if not isinstance(query.rule, SharedRule | EverythingRule):
        in_scope(row["tenants"], calls[0].scope)
    return [Document("", created=True)] * len(calls)


def document(row: asyncpg.Record, query: ScopedQuery, scope: Scope) -> Document:
    """A row as a document, once its tenant was compared with the scope."""
    rule = query.rule
    if not isinstance(rule, SharedRule | EverythingRule) and row["tenant"] not in scope.clients:
        raise foreign_row()
    key = row["key"] if isinstance(query, Create | Change | Delete) else None
    return Document(row["body"], row["etag"], key, created=isinstance(query, Create))


def page(row: asyncpg.Record, query: ListPage, scope: Scope) -> Page:
    """A row as a page, once its tenants were compared with the scope."""
    if not isinstance(query.rule, SharedRule | EverythingRule):
        in_scope(row["tenants"], scope)
    return Page(row["body"], row["count"], row["last"], row["total"])


def aggregated(row: asyncpg.Record, query: Aggregate, scope: Scope) -> Page:
    """A row as the answer of an aggregation, once the tenants of what went into it were compared with the scope."""
    limits = (query.rule, *(item.rule for item in query.lookups))
    if not any(isinstance(rule, EverythingRule) for rule in limits):
        in_scope(row["tenants"], scope)
    if row["over"]:
        raise too_many_gathered()
    if row["body"] is None:
        raise answer_too_large()
    return Page(row["body"], row["count"], "more" if row["more"] else None)


def in_scope(tenants: Iterable[str | None] | None, scope: Scope) -> None:
    """Raise where a row is another tenant's: the predicate or the policy failed, and nothing may be answered."""
    for tenant in tenants or ():
        if tenant is not None and tenant not in scope.clients:
            raise foreign_row()


def changed(query: Change | Delete, rows: Sequence[asyncpg.Record], call: Call) -> Answer:
    """The outcome of a change by key (a document or None) or by filter (a count)."""
    if not isinstance(query.rule, SharedRule | EverythingRule):
        in_scope([row["tenant"] for row in rows], call.scope)
    if query.key:
        if not rows:
            return None
        if not rows[0]["changed"]:
            raise _unchanged(query, rows[0], call)
        return Document(rows[0]["body"] or "null", rows[0]["etag"], rows[0]["key"])
    if query.limit is not None and len(rows) > (most := call.values[query.limit.index]):  # type: ignore[operator]
        raise TooManyAffected(f"The change would touch more than {most} documents.", details={"max_affected": most})
    for row in rows:
        if not row["changed"]:
            raise _unchanged(query, row, call)
    body = "[" + ",".join(row["body"] for row in rows) + "]" if query.answer is not None else None
    return Changed(len(rows), body)


__all__ = ["chunks_of", "in_scope", "needs_transaction", "run_alone", "run_joint", "run_together", "set_scope"]
