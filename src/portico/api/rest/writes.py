"""`POST`, `PATCH` and `DELETE` of a collection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

from portico.api.exchange import Exchange
from portico.api.rest.media import Media, accepted
from portico.api.rest.preferences import Preferences, preferences
from portico.api.rest.ranges import content_range
from portico.api.rest.reads import CLAUSES, VARY
from portico.api.rest.shapes import body_of, not_one
from portico.errors import InvalidJson, InvalidParameter, TooManyAffected
from portico.model.page import Changed, Document
from portico.query import ast
from portico.service.caller import EVERY_FIELD, Asked, Caller
from portico.service.writes import Writes
from portico.syntax import postgrest

_NOT_FILTERS = frozenset({"select", "columns", "on_conflict"})
_ALIKE = "All object keys must match"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a write shall answer."""

    preferences: Preferences
    media: Media
    query: ast.Query

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
    select = exchange.parameters({"select"})
    parsed = postgrest.parse(select.items(), allowed=frozenset({"select"}))
    return Wish(wishes, media, ast.Query(select=parsed.query.select, own_moments=True))


# --- create --------------------------------------------------------------------------------------------------------------


async def create(exchange: Exchange, caller: Caller, name: str, writes: Writes, key: tuple[str, ...]) -> None:
    """Create one document, or an array of them, all or none. `key` are the names of the collection's key."""
    _only(exchange, _NOT_FILTERS)
    wish = wish_of(exchange)
    body = await exchange.json()
    rows = whole_rows(body, exchange.parameters({"columns"}).get("columns"), wish.preferences)
    if wish.shown and wish.media.single and len(rows) != 1:
        raise not_one(len(rows))
    if isinstance(body, list):
        made: Sequence[Document] = await writes.create_all(caller, name, rows, wish=wish.query)
    else:
        made = [await writes.create(caller, name, rows[0], wish=wish.query)]
    where = _location(name, key, made[0]) if wish.preferences.returned == "headers-only" and len(made) == 1 else ()
    await created(exchange, made, wish, *where)


def whole_rows(body: object, columns: str | None, wishes: Preferences) -> list[object]:
    """The rows of a body.

    With `columns`, a row has exactly those: others are left out, and what it lacks is null, unless the caller prefers ``missing=default``.

    Raises:
        InvalidJson: it is neither an object nor an array of objects of the same members.
    """
    rows = body if isinstance(body, list) else [body]
    objects = [row for row in rows if isinstance(row, dict)]
    if len(objects) != len(rows):
        raise InvalidJson("The body is neither an object nor an array of objects.")
    if columns is not None:
        wanted = column_names(columns)
        absent = None if wishes.missing_is_default or not isinstance(body, list) else wanted
        return [_with_columns(row, wanted, absent) for row in objects]
    if any(row.keys() != objects[0].keys() for row in objects):
        raise InvalidJson(_ALIKE, hint="Name the columns: ?columns=a,b.")
    return list(rows)


def _with_columns(row: dict[str, object], wanted: Sequence[str], absent: Sequence[str] | None) -> dict[str, object]:
    kept = {name: row[name] for name in wanted if name in row}
    return kept if absent is None else {name: kept.get(name) for name in absent}


def column_names(text: str) -> tuple[str, ...]:
    """The names of `columns`, plain or in double quotes. Raises InvalidParameter."""
    items = postgrest.parse([("select", text)], allowed=frozenset({"select"})).query.select or ()
    names: list[str] = []
    for item in items:
        if not isinstance(item, ast.Selected) or item != ast.Selected(ast.Path(item.path.name)) or item.path.name == "*":
            raise InvalidParameter("The parameter 'columns' is a list of names.", details={"parameter": "columns"})
        names.append(item.path.name)
    return tuple(dict.fromkeys(names))


async def created(exchange: Exchange, made: Sequence[Document], wish: Wish, *more: tuple[bytes, bytes], status: int = 201) -> None:
    """Answer what was created, with more headers."""
    wishes = wish.preferences
    total = len(made) if wishes.count is not None else None
    headers = [content_range(0, 0, total), VARY, *wishes.applied("resolution", "missing", "return", "count", "tx"), *more]
    if wish.shown:
        text = "[" + ",".join(document.body for document in made) + "]"
        await exchange.answer(status, body_of(text, len(made), wish.media), wish.media.header, *headers)
        return
    await exchange.answer(status, b"", *headers)


def _location(name: str, key: tuple[str, ...], document: Document) -> tuple[tuple[bytes, bytes], ...]:
    """Where the new document is found: the collection's address with a filter on its key."""
    parts = [unquote(part) for part in (document.key or "").split(",")]
    filters = "&".join(f"{quote(field, safe='')}=eq.{quote(part, safe='')}" for field, part in zip(key, parts, strict=True))
    return ((b"location", f"/rest/v1/{quote(name, safe='')}?{filters}".encode()),)


# --- change and delete ---------------------------------------------------------------------------------------------------


async def change(exchange: Exchange, caller: Caller, name: str, writes: Writes) -> None:
    """Change every document that matches."""
    wish, asked = wish_of(exchange), _filtered(exchange)
    body = await exchange.json()
    columns = exchange.parameters({"columns"}).get("columns")
    if columns is not None and isinstance(body, dict):
        body = _with_columns(body, column_names(columns), None)
    try:
        changed = await writes.update_where(caller, name, asked, body, most=_most(wish), answer=wish.shown, wish=wish.query)
    except TooManyAffected as error:
        raise _single_error(wish, error) from error
    await _answer_change(exchange, changed, wish, offset_of_range=True)


async def delete(exchange: Exchange, caller: Caller, name: str, writes: Writes) -> None:
    """Delete every document that matches."""
    wish, asked = wish_of(exchange), _filtered(exchange)
    try:
        changed = await writes.delete_where(caller, name, asked, most=_most(wish), answer=wish.shown, wish=wish.query)
    except TooManyAffected as error:
        raise _single_error(wish, error) from error
    await _answer_change(exchange, changed, wish, offset_of_range=False)


async def _answer_change(exchange: Exchange, changed: Changed, wish: Wish, *, offset_of_range: bool) -> None:
    wishes = wish.preferences
    total = changed.count if wishes.count is not None else None
    told = content_range(0, changed.count if offset_of_range else 0, total)
    headers = (told, VARY, *wishes.applied("missing", "return", "count", "tx", "max-affected"))
    if wish.shown:
        await exchange.answer(200, body_of(changed.body or "[]", changed.count, wish.media), wish.media.header, *headers)
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


def _filtered(exchange: Exchange) -> Asked:
    """The filter of a change; a `limit` or an `order` is none, and no parameter of this call."""
    raw: bytes = exchange.scope["query_string"]
    for name, _ in postgrest.decode_pairs(raw):
        if name in CLAUSES - _NOT_FILTERS:
            raise InvalidParameter(f"A change takes no parameter {name!r}.", details={"parameter": name})
    parsed = postgrest.parse(postgrest.decode_pairs(raw), reserved=_NOT_FILTERS, allowed=frozenset())
    return Asked(parsed.query, parsed.values, lambda: parsed.query)


def _only(exchange: Exchange, known: frozenset[str]) -> None:
    """Refuse parameters that a call does not take: an ignored one would mislead."""
    for name, _ in postgrest.decode_pairs(exchange.scope["query_string"]):
        if name not in known:
            raise InvalidParameter(f"This call takes no parameter {name[:100]!r}.", details={"parameter": name[:100]})
