"""What the compliance suite needs of an engine: tables of declared collections, and calls as the query string or JSON writes them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from portico.catalog.declare import declare
from portico.engines.base import APART, Answer, Apart, Call, Engine, Outcome
from portico.errors import PorticoError
from portico.model.collection import Collection
from portico.model.identity import Actor
from portico.model.page import Changed, Document, Page
from portico.model.scope import EVERYTHING, Scope
from portico.query import ast
from portico.query.bind import bind, bind_filter, key_coercers
from portico.query.bind_pipeline import bind_pipeline
from portico.query.bound import BoundQuery, Parameter, Special, coerced
from portico.query.coerce import json_coercer
from portico.query.cursor import cursor_state
from portico.query.names import Reached
from portico.query.scoped import (
    Aggregate,
    Assignment,
    Cascade,
    Change,
    Count,
    Create,
    Delete,
    Export,
    GetByKey,
    Limited,
    ListPage,
    Rules,
    ScopeRule,
)
from portico.service.tenancy import cascades_of, embedded_rules, rule_for
from portico.syntax.mongo import parse as parse_json
from portico.syntax.mongo import parse_pipeline
from portico.syntax.postgrest import parse as parse_text

ACTOR = Actor("billing", None, None, "test-correlation")


@dataclass
class Harness:
    """One engine with the collections that a test declared, and the scope that its calls have."""

    engine: Engine
    collections: dict[str, Collection]
    fetch: Callable[[str], Awaitable[Sequence[Sequence[Any]]]]
    scope: Scope = EVERYTHING
    actor: Actor = field(default_factory=lambda: ACTOR)

    def within(self, scope: Scope) -> Harness:
        """The same, for calls of another scope."""
        return replace(self, scope=scope)

    def rule(self, name: str) -> ScopeRule:
        """The rule of a collection for this scope."""
        return rule_for(self.collections[name], self.scope, self.collections.get)

    def call(self, values: Sequence[object]) -> Call:
        """A call with these bound values."""
        return Call(tuple(values), self.scope, self.actor)

    def resolve(self, name: str) -> Reached | None:
        """Finds collections of includes."""
        found = self.collections.get(name)
        return None if found is None else Reached(found)

    def related(self, query: BoundQuery) -> Rules:
        """The rules of the collections that a query includes, for this scope."""
        return embedded_rules(query, self.scope, self.collections.get)

    def bound(self, name: str, query: str | Mapping[str, object], cursor: str | None = None) -> tuple[BoundQuery, tuple[object, ...]]:
        """A bound read with its values; a text is a query string, a mapping a JSON body. `cursor` is a page's `last`."""
        if isinstance(query, str):
            pairs = [cast("tuple[str, str]", tuple(part.split("=", 1))) for part in query.split("&") if part]
            parsed = parse_text(pairs)
        else:
            parsed = parse_json(dict(query))
        values, state = parsed.values, None
        if cursor is not None:
            found = json.loads(cursor)
            state = cursor_state(len(values), found)
            values = (*values, *found)
            query_tree = replace(parsed.query, cursor=ast.Slot(len(parsed.values), ast.Written.TEXT))
        else:
            query_tree = parsed.query
        made = bind(query_tree, self.collections[name], resolve=self.resolve, cursor=state)
        return made.query, made.values(values)

    async def run_one(self, plan: Any, call: Call) -> Answer:
        """One call's answer; its error is raised."""
        outcome = (await self.engine.run(plan, [call]))[0]
        if isinstance(outcome, PorticoError):
            raise outcome
        assert not isinstance(outcome, Apart)
        return outcome

    async def page(self, name: str, query: str | Mapping[str, object] = "", cursor: str | None = None) -> Page:
        """A page of documents."""
        bound, values = self.bound(name, query, cursor)
        answer = await self.run_one(self.engine.compile(ListPage(bound, self.rule(name), self.related(bound))), self.call(values))
        assert isinstance(answer, Page)
        return answer

    async def documents(self, name: str, query: str | Mapping[str, object] = "") -> list[dict[str, Any]]:
        """The documents of a page."""
        return cast("list[dict[str, Any]]", json.loads((await self.page(name, query)).body))

    async def ids(self, name: str, query: str | Mapping[str, object] = "") -> list[object]:
        """The keys of the documents of a page."""
        key = self.collections[name].primary_key[0]
        return [document[key] for document in await self.documents(name, query)]

    async def count(self, name: str, query: str | Mapping[str, object] = "") -> int:
        """How many match."""
        bound, values = self.bound(name, query)
        answer = await self.run_one(self.engine.compile(Count(bound, self.rule(name), self.related(bound))), self.call(values))
        assert isinstance(answer, Changed)
        return answer.count

    def aggregation(self, name: str, stages: Sequence[Mapping[str, object]]) -> tuple[Aggregate, tuple[object, ...]]:
        """A scoped aggregation with its values."""
        parsed = parse_pipeline({"pipeline": list(stages)})
        bound = bind_pipeline(parsed.pipeline, self.collections[name], resolve=self.resolve)
        lookups = tuple(Limited(self.rule(lookup.collection.name)) for lookup in bound.pipeline.lookups)
        return Aggregate(bound.pipeline, self.rule(name), lookups), coerced(bound.sources, bound.coercers, parsed.values)

    async def aggregate(self, name: str, *stages: Mapping[str, object]) -> list[dict[str, Any]]:
        """What a pipeline answers, numbers with a fraction as they are written."""
        query, values = self.aggregation(name, stages)
        answer = await self.run_one(self.engine.compile(query), self.call(values))
        assert isinstance(answer, Page)
        return cast("list[dict[str, Any]]", json.loads(answer.body))

    async def get(self, name: str, *key: object, query: str = "") -> Document | None:
        """One document by its key."""
        bound, values = self.bound(name, query)
        parameters, found = self.key(name, key, len(values))
        answer = await self.run_one(
            self.engine.compile(GetByKey(bound, parameters, self.rule(name), embedded=self.related(bound))), self.call((*values, *found))
        )
        assert answer is None or isinstance(answer, Document)
        return answer

    def key(self, name: str, key: Sequence[object], first: int) -> tuple[tuple[Parameter, ...], tuple[object, ...]]:
        """Parameters of a key from the index `first` on, with their values."""
        collection = self.collections[name]
        parameters = tuple(Parameter(first + at, field.type) for at, field in enumerate(collection.key_fields))
        values = tuple(read(str(part)) for read, part in zip(key_coercers(collection), key, strict=True))
        return parameters, values

    def assigned(self, name: str, document: Mapping[str, object], first: int) -> tuple[tuple[Assignment, ...], tuple[object, ...]]:
        """Assignments of a document's members, with their values."""
        collection = self.collections[name]
        found = [(key, collection.by_name[key]) for key in document]
        assignments = tuple(Assignment(key, Parameter(first + at, field.type)) for at, (key, field) in enumerate(found))
        values = tuple(None if document[key] is None else json_coercer(field.type, key)(document[key]) for key, field in found)
        return assignments, values

    def created(self, name: str, document: Mapping[str, object], **options: Any) -> tuple[Any, Call]:
        """A plan that creates this document, and its call."""
        answer = self._answer(name)
        assignments, values = self.assigned(name, document, 1)
        if options.get("resolution") == "merge" and "merge" not in options:
            kept = {*options["on_conflict"], *self.collections[name].primary_key}
            options["merge"] = tuple(member for member in document if member not in kept)
        plan = self.engine.compile(Create(self.collections[name], assignments, answer, self.rule(name), **options))
        return plan, self.call((None, *values))

    def _answer(self, name: str) -> BoundQuery:
        return replace(bind(ast.Query(), self.collections[name]).query, order=(), limit=None, offset=None)

    async def create(self, name: str, document: Mapping[str, object], **options: Any) -> Document | None:
        """Create one document."""
        plan, call = self.created(name, document, **options)
        answer = await self.run_one(plan, call)
        assert answer is None or isinstance(answer, Document)
        return answer

    async def create_all(self, name: str, documents: Sequence[Mapping[str, object]], **options: Any) -> Sequence[Outcome]:
        """Create documents, each by itself, in one run; all have the same members."""
        plan, _ = self.created(name, documents[0], **options)
        calls = [self.call((None, *self.assigned(name, document, 1)[1])) for document in documents]
        outcomes = list(await self.engine.run(plan, calls))
        for place, outcome in enumerate(outcomes):
            if outcome is APART:
                try:
                    outcomes[place] = await self.run_one(plan, calls[place])
                except PorticoError as error:
                    outcomes[place] = error
        return outcomes

    async def create_together(self, name: str, documents: Sequence[Mapping[str, object]], **options: Any) -> Sequence[Answer]:
        """Create documents in one transaction, all or none; all have the same members."""
        plan, _ = self.created(name, documents[0], **options)
        calls = [self.call((None, *self.assigned(name, document, 1)[1])) for document in documents]
        transaction = await self.engine.begin()
        try:
            answers = await transaction.run_all(plan, calls)
        except BaseException:
            await transaction.rollback()
            raise
        await transaction.commit()
        return answers

    def changed(
        self, name: str, key: Sequence[object], document: Mapping[str, object], *, etag: str | None = None, **options: Any
    ) -> tuple[Any, Call]:
        """A plan that changes a document, and its call."""
        parameters, found = self.key(name, key, 0)
        assignments, values = self.assigned(name, document, len(found))
        tag = Parameter(len(found) + len(values), Special.SEARCH) if etag is not None else None
        change = Change(
            self.collections[name], assignments, self.rule(name), key=parameters, etag=tag, answer=self._answer(name), **options
        )
        return self.engine.compile(change), self.call((*found, *values, *([etag] if etag is not None else [])))

    async def change(self, name: str, key: object, document: Mapping[str, object], **options: Any) -> Document | None:
        """Change a document by its key."""
        plan, call = self.changed(name, key if isinstance(key, tuple) else (key,), document, **options)
        answer = await self.run_one(plan, call)
        assert answer is None or isinstance(answer, Document)
        return answer

    async def change_matching(
        self, name: str, filter_: Mapping[str, object], document: Mapping[str, object], *, limit: int | None = None, **options: Any
    ) -> Changed:
        """Change every document that matches a filter of the JSON syntax."""
        predicate, values = self._filter(name, filter_)
        assignments, given = self.assigned(name, document, len(values))
        most = Parameter(len(values) + len(given), Special.COUNT) if limit is not None else None
        change = Change(
            self.collections[name], assignments, self.rule(name), filter=predicate, limit=most, answer=self._answer(name), **options
        )
        answer = await self.run_one(self.engine.compile(change), self.call((*values, *given, *([limit] if limit is not None else []))))
        assert isinstance(answer, Changed)
        return answer

    def _filter(self, name: str, filter_: Mapping[str, object]) -> tuple[Any, tuple[object, ...]]:
        parsed = parse_json({"filter": dict(filter_)})
        assert parsed.query.filter is not None
        bound = bind_filter(parsed.query.filter, self.collections[name])
        return bound.predicate, bound.values(parsed.values)

    def cascades(self, name: str) -> tuple[Cascade, ...]:
        """What a delete of this collection's documents does to others."""
        return cascades_of(self.collections[name], tuple(self.collections.values()), lambda collection: collection.audit)

    async def delete(self, name: str, *key: object, etag: str | None = None, **options: Any) -> Answer:
        """Delete a document by its key."""
        parameters, found = self.key(name, key, 0)
        tag = Parameter(len(found), Special.SEARCH) if etag is not None else None
        delete = Delete(self.collections[name], self.rule(name), key=parameters, etag=tag, **options)
        return await self.run_one(self.engine.compile(delete), self.call((*found, *([etag] if etag is not None else []))))

    async def delete_matching(self, name: str, filter_: Mapping[str, object], *, limit: int | None = None, **options: Any) -> Changed:
        """Delete every document that matches a filter of the JSON syntax."""
        predicate, values = self._filter(name, filter_)
        most = Parameter(len(values), Special.COUNT) if limit is not None else None
        delete = Delete(self.collections[name], self.rule(name), filter=predicate, limit=most, **options)
        answer = await self.run_one(self.engine.compile(delete), self.call((*values, *([limit] if limit is not None else []))))
        assert isinstance(answer, Changed)
        return answer

    def exporting(self, name: str, query: str = "") -> tuple[Any, Call]:
        """A plan that exports, and its call."""
        bound, values = self.bound(name, query)
        return self.engine.compile(Export(replace(bound, limit=None, offset=None), self.rule(name), self.related(bound))), self.call(values)


def declared(*documents: Mapping[str, object]) -> tuple[Collection, ...]:
    """Collections of schema documents."""
    return tuple(declare(document, source="test", database="main") for document in documents)


OpenHarness = Callable[..., Awaitable[Harness]]
