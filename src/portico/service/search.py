"""Full-text search across collections: what matches is found by an index, and then read like any other document.

The index finds documents of the caller's scope alone; what it gives is read again by the pipeline of reads, which applies the scope,
row-level security, the service's row filters, its hidden fields and the caller's own filter.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from portico.engines.base import HIT_BEGIN, HIT_END, Engine, Hit, Searching
from portico.errors import HiddenField, InvalidParameter, NotSupported, PorticoError
from portico.model.collection import Collection
from portico.model.identity import Permission
from portico.query import ast
from portico.query.bind import bind_filter
from portico.query.capabilities import Capability
from portico.query.json_text import read_json, write_json
from portico.query.scoped import Search
from portico.query.search import SearchText, parse_search
from portico.service import tenancy
from portico.service.authorize import effective, require
from portico.service.caller import Asked, Caller
from portico.service.documents import Documents
from portico.service.plans import Context
from portico.service.validate import key_value

DEFAULT_LIMIT, MOST_HITS = 20, 100
MOST_LOOKED_AT = 1_000
"""Of the best matches so many are looked at for documents that the caller's filter leaves."""

_KEYS_AT_ONCE = 40
_Slot = Callable[[object, ast.Written], ast.Slot]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A search as a caller asked it. `collections` None means all that it may search; `filter` and `values` are as a syntax gives them."""

    q: str
    collections: tuple[str, ...] | None = None
    filter: ast.Node | None = None
    values: tuple[object, ...] = ()
    limit: int = DEFAULT_LIMIT
    fuzzy: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A hit with its document. `highlight` is HTML in which nothing but ``<mark>`` is markup."""

    hit: Hit
    document: Mapping[str, object]
    highlight: str = ""

    def json(self) -> str:
        """It as a JSON object."""
        hit = self.hit
        about = {"collection": hit.collection, "id": hit.key, "score": round(hit.score, 6), "highlight": self.highlight}
        return write_json(about)[:-1] + ',"document":' + write_json(dict(self.document)) + "}"


class Searches:
    """Searches. `documents` reads what was found."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._plans = documents.plans

    async def search(self, caller: Caller, wanted: Wanted) -> list[Found]:
        """The best matches among what the caller may see, the best first.

        Raises:
            InvalidParameter: there is nothing to look for, or a collection is not searchable.
            HiddenField: a collection is searched by a field that the caller may not see.
            NotSupported: a database cannot search, or not `fuzzy`. And what reading a document raises.
        """
        text = parse_search(wanted.q)
        if not 1 <= wanted.limit <= MOST_HITS:
            raise InvalidParameter(f"The limit of a search is 1 to {MOST_HITS}.")
        found: list[Found] = []
        for engine, contexts in self._by_engine(caller, wanted.collections):
            found += await self._in_one(caller, engine, contexts, text, wanted)
        found.sort(key=lambda item: (-item.hit.score, item.hit.collection, item.hit.key))
        return found[: wanted.limit]

    # --- where -------------------------------------------------------------------------------------------------------------

    def _by_engine(self, caller: Caller, names: tuple[str, ...] | None) -> Iterable[tuple[Searching, list[Context]]]:
        groups: dict[int, tuple[Engine, list[Context]]] = {}
        for context in self._named(caller, names) if names is not None else self._searchable(caller):
            groups.setdefault(id(context.engine), (context.engine, []))[1].append(context)
        for engine, contexts in groups.values():
            if not isinstance(engine, Searching) or Capability.SEARCH not in engine.capabilities:
                raise NotSupported(Capability.SEARCH, engine.kind, hint="Run portico init-db on the database.")
            yield engine, contexts

    def _named(self, caller: Caller, names: Sequence[str]) -> list[Context]:
        contexts: list[Context] = []
        for name in dict.fromkeys(names):
            collection = self._plans.collection(name)
            context = self._context(caller, collection)
            if collection.search is None or not collection.primary_key:
                raise InvalidParameter(
                    f"The collection {name} declares no search.", hint="Declare its search fields.", details={"collection": name}
                )
            if context.access.hidden.intersection(collection.search.fields):
                raise HiddenField(f"The collection {name} is searched by a field that is hidden.", details={"collection": name})
            contexts.append(context)
        if not contexts:
            raise InvalidParameter("The search names no collection.", hint="Leave collections out to search all of them.")
        return contexts

    def _searchable(self, caller: Caller) -> list[Context]:
        """Every collection that the caller may search and read, without a word about the others."""
        contexts: list[Context] = []
        for collection in self._plans.collections():
            if collection.search is None or not collection.primary_key:
                continue
            if effective(caller.identity, collection).hidden.intersection(collection.search.fields):
                continue
            try:
                contexts.append(self._context(caller, collection))
            except PorticoError:
                continue
        return contexts

    def _context(self, caller: Caller, collection: Collection) -> Context:
        context = self._plans.context(caller, collection, Permission.SEARCH)
        require(context.access, Permission.READ)
        return context

    # --- what --------------------------------------------------------------------------------------------------------------

    async def _in_one(self, caller: Caller, engine: Searching, contexts: list[Context], text: SearchText, wanted: Wanted) -> list[Found]:
        limited = ((context.collection, context.rule, context.belongs) for context in contexts)
        query = tenancy.search(text, limited, fuzzy=wanted.fuzzy)
        timeout = contexts[0].timeout
        if wanted.filter is not None:
            for context in contexts:
                # A filter that a collection does not understand is an error, also where nothing was found that it would be put to.
                bind_filter(wanted.filter, context.collection, hidden=context.access.hidden, limits=self._plans.limits)
        filtered = wanted.filter is not None or any(context.access.row_filters for context in contexts)
        hits = await engine.search(query, caller.scope, MOST_LOOKED_AT if filtered else wanted.limit, timeout=timeout)
        found: list[Found] = []
        for first in range(0, len(hits), _KEYS_AT_ONCE):
            found += await self._read(caller, hits[first : first + _KEYS_AT_ONCE], wanted)
            if len(found) >= wanted.limit:
                break
        return await self._highlighted(engine, query, found[: wanted.limit], timeout)

    async def _highlighted(self, engine: Searching, query: Search, found: list[Found], timeout: float | None) -> list[Found]:
        if not found:
            return []
        texts = await engine.excerpts(query, [item.hit for item in found], timeout=timeout)
        return [Found(item.hit, item.document, marked(text)) for item, text in zip(found, texts, strict=True)]

    async def _read(self, caller: Caller, hits: Sequence[Hit], wanted: Wanted) -> list[Found]:
        """The documents of these hits that the caller sees, in the order of the hits."""
        documents: dict[tuple[str, str], Mapping[str, object]] = {}
        for name in dict.fromkeys(hit.collection for hit in hits):
            collection = self._plans.collection(name)
            keys = [hit.key for hit in hits if hit.collection == name]
            listed = await self._documents.list(caller, name, _asked(collection, keys, wanted))
            for document in cast("list[dict[str, object]]", read_json(listed.page.body)):
                documents[name, _address(collection, document)] = document
        return [Found(hit, documents[hit.collection, hit.key]) for hit in hits if (hit.collection, hit.key) in documents]


def marked(text: str) -> str:
    """An excerpt as HTML: everything escaped, and what was found between ``<mark>`` and ``</mark>``, each closed."""
    parts: list[str] = []
    within = False
    for piece in _pieces(html.escape(text)):
        if piece == HIT_BEGIN and not within:
            parts.append("<mark>")
            within = True
        elif piece == HIT_END and within:
            parts.append("</mark>")
            within = False
        elif piece not in {HIT_BEGIN, HIT_END}:
            parts.append(piece)
    return "".join(parts) + ("</mark>" if within else "")


def _pieces(text: str) -> list[str]:
    for mark in (HIT_BEGIN, HIT_END):
        text = text.replace(mark, f"\x00{mark}\x00")
    return [piece for piece in text.split("\x00") if piece]


def _address(collection: Collection, document: Mapping[str, object]) -> str:
    """The document's key as its address writes it."""
    parts = (str(document.get(name)) for name in collection.primary_key)
    return ",".join(part.replace("%", "%25").replace(",", "%2C") for part in parts)


def _asked(collection: Collection, keys: Sequence[str], wanted: Wanted) -> Asked:
    """The documents of these keys that match the caller's filter."""
    values: list[object] = list(wanted.values)

    def slot(value: object, written: ast.Written) -> ast.Slot:
        values.append(value)
        return ast.Slot(len(values) - 1, written)

    if len(collection.primary_key) == 1:
        field = collection.key_fields[0]
        parts = [key_value(field, _decoded(key)) for key in keys]
        node: ast.Node = ast.Condition(ast.Path(field.name), ast.Operator.IN, slot(parts, ast.Written.ARRAY))
    else:
        node = ast.Or(tuple(_one(collection, key, slot) for key in keys))
    if wanted.filter is not None:
        node = ast.And((wanted.filter, node))
    query = ast.Query(filter=node, limit=slot(len(keys), ast.Written.NUMBER))
    return Asked(("search", query), tuple(values), lambda: query)


def _one(collection: Collection, key: str, slot: _Slot) -> ast.Node:
    conditions: list[ast.Node] = []
    for field, part in zip(collection.key_fields, key.split(","), strict=True):
        value = key_value(field, _decoded(part))
        written = ast.Written.STRING if isinstance(value, str) else ast.Written.NUMBER
        conditions.append(ast.Condition(ast.Path(field.name), ast.Operator.EQ, slot(value, written)))
    return ast.And(tuple(conditions))


def _decoded(part: str) -> str:
    return part.replace("%2C", ",").replace("%25", "%")
