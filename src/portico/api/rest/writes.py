"""`POST`, `PUT`, `PATCH` and `DELETE` of a collection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

from portico.api import creating
from portico.api.creating import CreateOptions
from portico.api.exchange import Exchange
from portico.api.included import included, split
from portico.api.rest.bodies import rows_body
from portico.api.rest.media import Media, accepted
from portico.api.rest.preferences import Preferences, preferences
from portico.api.rest.ranges import content_range
from portico.api.rest.reads import CLAUSES, VARY
from portico.api.rest.refusals import FilterRequired, KeyMismatch, KeyRequired, UnknownColumn
from portico.api.rest.shapes import body_of, not_one
from portico.errors import InvalidJson, InvalidParameter, TooManyAffected, UnknownField
from portico.model.collection import Collection
from portico.model.page import Changed, Document
from portico.query import ast
from portico.service.caller import EVERY_FIELD, KEY_ALONE, Asked, Caller
from portico.service.conflicts import OnConflict
from portico.service.returning import Included, Returning, anything
from portico.service.upserts import Upserts
from portico.service.validate import same_key_value
from portico.service.writes import Writes
from portico.syntax import postgrest

_SELECT = frozenset({"select"})
_PARAMETERS = frozenset({"columns", "on_conflict"})
_NOT_FILTERS = _SELECT | _PARAMETERS


@dataclass(frozen=True, slots=True)
class Wish:
    """What a write shall answer; `included` where that is more than fields of its own."""

    preferences: Preferences
    media: Media
    query: ast.Query
    included: Included | None = None

    @property
    def shown(self) -> bool:
        """Whether the documents are answered."""
        return self.preferences.returned == "representation"


def wish_of(exchange: Exchange) -> Wish:
    """What the headers and the `select` say of the answer. Raises InvalidPreference, NotAcceptable, InvalidParameter."""
    wishes = preferences(exchange)
    media = accepted(exchange.headers.get(b"accept"))
    if wishes.returned != "representation":
        return Wish(wishes, media, EVERY_FIELD)
    parsed = postgrest.parse(exchange.parameters(_SELECT).items(), allowed=_SELECT)
    for item in parsed.query.select or ():
        if isinstance(item, ast.Selected) and item.aggregate is not None:
            raise InvalidParameter("A write answers rows, and no groups of them.", details={"parameter": "select"})
    query = ast.Query(select=parsed.query.select, zone=wishes.zone)
    if not any(isinstance(item, ast.Embed) for item in query.select or ()):
        return Wish(wishes, media, query)
    _, included = split(exchange, _PARAMETERS, _SELECT)
    assert included is not None, "there is a select"
    approve = _approve_one if media.single else anything
    return Wish(wishes, media, KEY_ALONE, replace(included, query=replace(included.query, zone=wishes.zone), approve=approve))


def _approve_one(count: int) -> None:
    """Raise NotExactlyOne, so that nothing is committed."""
    if count != 1:
        raise not_one(count)


# --- create and upsert ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Creating:
    """The pipelines of creates and upserts, and what reads their answers."""

    writes: Writes
    upserts: Upserts
    returning: Returning

    async def make(self, caller: Caller, name: str, rows: Sequence[object], asked: CreateOptions, wish: Wish) -> list[Document | None]:
        """Create or upsert the rows, all or none; None for one that was there and left as it is."""
        if wish.included is None:
            return await self._written(caller, name, rows, asked, wish)
        return await self.returning.of_created(caller, name, wish.included, lambda inside: self._written(inside, name, rows, asked, wish))

    async def put(self, caller: Caller, name: str, row: object, wish: Wish) -> list[Document | None]:
        """Upsert the one row."""

        async def write(inside: Caller) -> list[Document | None]:
            return [await self.upserts.upsert(inside, name, row, OnConflict("merge"), wish=wish.query)]

        return await (write(caller) if wish.included is None else self.returning.of_created(caller, name, wish.included, write))

    async def _written(self, caller: Caller, name: str, rows: Sequence[object], asked: CreateOptions, wish: Wish) -> list[Document | None]:
        if asked.how is not None:
            return await self.upserts.upsert_all(caller, name, rows, asked.how, asked.members, wish=wish.query)
        bodies = self.upserts.chosen(caller, name, rows, asked.members).bodies
        if len(bodies) == 1:
            return [await self.writes.create(caller, name, bodies[0], wish=wish.query)]
        return [*await self.writes.create_all(caller, name, bodies, wish=wish.query)]


async def create(exchange: Exchange, caller: Caller, collection: Collection, pipelines: Creating) -> None:
    """Create one document, or an array of them, all or none; upsert them where a resolution is asked for."""
    name = collection.name
    wish = wish_of(exchange)
    if wish.included is None or included(exchange, _PARAMETERS, _SELECT) is None:
        exchange.takes(*_NOT_FILTERS)
    asked = creating.read(exchange.parameters(creating.PARAMETERS), wish.preferences.given)
    rows = rows_of(await rows_body(exchange, collection.by_name, wish.preferences.zone), alike=asked.members.columns is None)
    if wish.shown and wish.media.single and len(rows) != 1:
        raise not_one(len(rows))
    with columns_of(rows, asked.members.columns or (), collection):
        made = await pipelines.make(caller, name, rows, asked, wish)
    first = made[0] if wish.preferences.returned == "headers-only" and len(made) == 1 else None
    location = _location(name, collection.primary_key, first) if first is not None else ()
    await _created(exchange, made, wish, upserted=asked.how is not None, location=location)


async def put(exchange: Exchange, caller: Caller, collection: Collection, pipelines: Creating) -> None:
    """Upsert the one document whose key the filters name, each by `eq`, and which the body repeats."""
    name, key = collection.name, collection.key_fields
    wish = wish_of(exchange)
    asked = _filtered(exchange, wish.preferences.zone)
    body = await rows_body(exchange, collection.by_name, wish.preferences.zone)
    row = body[0] if isinstance(body, list) and len(body) == 1 else body
    if not isinstance(row, dict):
        raise InvalidJson("The body is one object.")
    named = _named_key(asked)
    if named.keys() != {field.name for field in key}:
        raise KeyRequired("Filters must include all and only primary key columns with 'eq' operators")
    for field in key:
        if field.name not in row or not same_key_value(field, named[field.name], row[field.name]):
            raise KeyMismatch("Payload values do not match URL in primary key column(s)", details={"field": field.name})
    made = await pipelines.put(caller, name, row, wish)
    await _created(exchange, made, wish, upserted=True, quiet=204)


def _named_key(asked: Asked) -> dict[str, str]:
    """The values of a filter that is nothing but equalities, by field."""
    node = asked.parse().filter
    named: dict[str, str] = {}
    for condition in node.children if isinstance(node, ast.And) else (node,):
        plain = isinstance(condition, ast.Condition) and condition.operator is ast.Operator.EQ and condition.quantifier is None
        if not plain or condition.path != ast.Path(condition.path.name) or condition.value is None:  # type: ignore[union-attr]
            return {}
        named[condition.path.name] = str(asked.values[condition.value.index])  # type: ignore[union-attr]
    return named


@contextmanager
def columns_of(rows: Sequence[object], names: Sequence[str], collection: Collection) -> Iterator[None]:
    """What is said of a field that is none, where the body or `columns` names it: it is another error than in a filter."""
    try:
        yield
    except UnknownField as error:
        field = error.details.get("field")
        if field in names or any(isinstance(row, dict) and field in row for row in rows):
            message = f"Could not find the {str(field)!r} column of {collection.name!r} in the schema cache"
            raise UnknownColumn(message, hint=error.hint, details=error.details) from error
        raise


def rows_of(body: object, *, alike: bool) -> list[object]:
    """The rows of a body; `alike` ones have the same members.

    Raises:
        InvalidJson: it is neither an object nor an array of objects.
    """
    rows = body if isinstance(body, list) else [body]
    objects = [row for row in rows if isinstance(row, dict)]
    if len(objects) != len(rows):
        raise InvalidJson("The body is neither an object nor an array of objects.")
    if alike and any(row.keys() != objects[0].keys() for row in objects):
        raise InvalidJson("All object keys must match", hint="Name the columns: ?columns=a,b.")
    return list(rows)


async def _created(
    exchange: Exchange,
    made: Sequence[Document | None],
    wish: Wish,
    *,
    upserted: bool,
    location: tuple[tuple[bytes, bytes], ...] = (),
    quiet: int | None = None,
) -> None:
    """Answer what was created or merged: 201 where any is new. `quiet` is the status of an answer without documents."""
    written = [document for document in made if document is not None]
    new = not upserted or any(document.created for document in written)
    wishes = wish.preferences
    total = len(written) if wishes.count is not None else None
    headers = (content_range(0, 0, total), VARY, *wishes.applied("resolution", "missing", "return", "count"), *location)
    status = 201 if new else 200
    if wish.shown:
        text = "[" + ",".join(document.body for document in written) + "]"
        await exchange.answer(status, body_of(text, len(written), wish.media), wish.media.header, *headers)
    else:
        await exchange.answer(quiet or status, b"", *headers)


def _location(name: str, key: tuple[str, ...], document: Document) -> tuple[tuple[bytes, bytes], ...]:
    """Where the new document is found: the collection's address with a filter on its key."""
    parts = [unquote(part) for part in (document.key or "").split(",")]
    filters = "&".join(f"{quote(field, safe='')}=eq.{quote(part, safe='')}" for field, part in zip(key, parts, strict=True))
    return ((b"location", f"/rest/v1/{quote(name, safe='')}?{filters}".encode()),)


# --- change and delete ---------------------------------------------------------------------------------------------------


async def change(exchange: Exchange, caller: Caller, collection: Collection, pipelines: Creating) -> None:
    """Change every document that matches."""
    wish = wish_of(exchange)
    asked = _filtered(exchange, wish.preferences.zone)
    body = await rows_body(exchange, collection.by_name, wish.preferences.zone, csv=False)
    body = body[0] if isinstance(body, list) and len(body) == 1 else body
    columns = creating.read(exchange.parameters({"columns"}), {}).members.columns
    if columns is not None and isinstance(body, dict):
        body = {field: value for field, value in body.items() if field in columns}

    async def write(inside: Caller) -> Changed:
        return await pipelines.writes.update_where(
            inside, collection.name, asked, body, most=_most(wish), answer=wish.shown, wish=wish.query
        )

    try:
        with columns_of([body], columns or (), collection):
            if wish.included is None:
                changed = await write(caller)
                shown = changed.count
            else:
                changed, shown = await pipelines.returning.of_changed(caller, collection.name, wish.included, write)
    except TooManyAffected as error:
        raise _single_error(wish, error) from error
    await _answer_change(exchange, changed, wish, shown, offset_of_range=True)


async def delete(exchange: Exchange, caller: Caller, name: str, pipelines: Creating) -> None:
    """Delete every document that matches."""
    wish = wish_of(exchange)
    asked = _filtered(exchange, wish.preferences.zone)
    try:
        if wish.included is None:
            changed = await pipelines.writes.delete_where(caller, name, asked, most=_most(wish), answer=wish.shown, wish=wish.query)
            shown = changed.count
        else:
            changed, shown = await pipelines.returning.of_deleted(caller, name, asked, wish.included, most=_most(wish))
    except TooManyAffected as error:
        raise _single_error(wish, error) from error
    await _answer_change(exchange, changed, wish, shown, offset_of_range=False)


async def _answer_change(exchange: Exchange, changed: Changed, wish: Wish, shown: int, *, offset_of_range: bool) -> None:
    wishes = wish.preferences
    total = changed.count if wishes.count is not None else None
    told = content_range(0, changed.count if offset_of_range else 0, total)
    headers = (told, VARY, *wishes.applied("return", "count", "max-affected"))
    if wish.shown:
        await exchange.answer(200, body_of(changed.body or "[]", shown, wish.media), wish.media.header, *headers)
    else:
        await exchange.answer(204, b"", *headers)


def _most(wish: Wish) -> int | None:
    """How many documents may be touched: where one object is asked for, one, so that a change is not made and then refused."""
    most = wish.preferences.most
    if wish.shown and wish.media.single:
        return 1 if most is None else min(1, most)
    return most


def _single_error(wish: Wish, error: TooManyAffected) -> Exception:
    asked = wish.preferences.most
    return not_one(2) if wish.shown and wish.media.single and (asked is None or asked >= 1) else error


def _filtered(exchange: Exchange, zone: str) -> Asked:
    """The filter of a change; a `limit` or an `order` is none, and no parameter of this call."""
    raw: bytes = exchange.scope["query_string"]
    for name, _ in postgrest.decode_pairs(raw):
        if name in CLAUSES - _NOT_FILTERS:
            raise InvalidParameter(f"A change takes no parameter {name!r}.", details={"parameter": name})
    # What is asked of a relation is told from a filter by the select alone, so that one that may have relations is read.
    asked, _ = split(exchange, _PARAMETERS, _SELECT) if b"(" in raw or b"%28" in raw else split(exchange, _NOT_FILTERS, frozenset())
    if asked.parse().filter is None:
        raise FilterRequired(f"{exchange.method} requires a filter", hint="Add one that holds for what is meant, such as ?id=gte.0.")
    query = replace(asked.parse(), zone=zone)
    return Asked(query, asked.values, lambda: query)
