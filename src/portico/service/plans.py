"""Plans: what a call's shape comes to, worked out once: names bound, permission, scope rule, compiled statement, and its lane."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace

from portico.catalog.catalog import Catalog
from portico.engines.base import Engine
from portico.errors import NotSupported
from portico.events import Emit, PlanMade
from portico.model.collection import Collection
from portico.model.identity import Permission
from portico.query import ast, ownership
from portico.query.bind import bind, bind_filter, key_coercers
from portico.query.bind_pipeline import bind_pipeline
from portico.query.bound import Bound, BoundQuery, Coercer, Conjunction, Output, Parameter, Predicate, Target
from portico.query.bound_pipeline import BoundAggregation
from portico.query.capabilities import Capability
from portico.query.cursor import CursorState
from portico.query.limits import Limits
from portico.query.pipeline import Pipeline
from portico.query.scoped import Aggregate, Assignment, Limited, ParentRule, Rules, ScopedQuery, ScopeRule
from portico.service import tenancy
from portico.service.authorize import Access, effective, require
from portico.service.caller import EVERY_FIELD, KEY_ALONE, Asked, Caller
from portico.service.coalesce import Lane
from portico.service.related import Reach

MOST_PLANS = 4096
ParseFilter = Callable[[str], ast.Parsed]
"""Parses a service's row filter, written in the JSON syntax."""


@dataclass(slots=True)
class Plan:
    """A call's shape, ready to run.

    Attributes:
        lane: where its calls wait, with the engine and the compiled query.
        sources, coercers: for each bound value, which raw value it comes from, and how it is read.
        limit_index: where the page's limit stands among the bound values. tag: what its cursors belong to.
    """

    lane: Lane
    collection: Collection
    sources: tuple[int, ...] = ()
    coercers: tuple[Coercer, ...] = ()
    limit_index: int = 0
    tag: bytes = b""
    pattern: str = ""

    def values(self, raw: tuple[object, ...]) -> tuple[object, ...]:
        """The bound values of a call whose raw values are `raw`."""
        return tuple([coerce(raw[source] if source >= 0 else None) for source, coerce in zip(self.sources, self.coercers, strict=True)])


@dataclass(frozen=True, slots=True)
class Context:
    """What a plan is made for: the collection, what the caller may do with it, and how it is limited."""

    collection: Collection
    engine: Engine
    access: Access
    rule: ScopeRule
    timeout: float | None
    audit: bool
    versioned: bool
    belongs: ScopeRule
    caller: Caller


class Plans:
    """The plans of this process, by shape, least recently used first out; a new catalog empties them.

    Args:
        catalog: gives the snapshot in force. engines: by database. limits: how large a request may be.
        parse_filter: reads row filters. emit: told of each plan made.
    """

    def __init__(
        self, catalog: Callable[[], Catalog], engines: Mapping[str, Engine], *, limits: Limits, parse_filter: ParseFilter, emit: Emit
    ) -> None:
        self._catalog = catalog
        self._engines = engines
        self._parse_filter = parse_filter
        self._emit = emit
        self._plans: OrderedDict[Hashable, object] = OrderedDict()
        self._version = -1
        self.limits = limits

    def collection(self, name: str) -> Collection:
        """The collection of that name. Raises CollectionNotFound, DatabaseUnavailable."""
        return self._catalog().find(name)

    @property
    def version(self) -> int:
        """The version of the snapshot in force."""
        return self._catalog().version

    def engine(self, collection: Collection) -> Engine:
        """The engine of the collection's database."""
        return self._engines[collection.database]

    def find(self, caller: Caller, collection: Collection, operation: str, shape: Hashable) -> object | None:
        """The plan of this shape for callers of this kind, if it was made."""
        self._refresh()
        key = (operation, collection, shape, caller.identity.fingerprint, caller.identity.may_ask_everything, caller.scope.kind)
        plan = self._plans.get(key)
        if plan is not None:
            self._plans.move_to_end(key)
        return plan

    def keep(self, caller: Caller, collection: Collection, operation: str, shape: Hashable, plan: object) -> None:
        """Remember a plan that was made."""
        key = (operation, collection, shape, caller.identity.fingerprint, caller.identity.may_ask_everything, caller.scope.kind)
        self._plans[key] = plan
        if len(self._plans) > MOST_PLANS:
            self._plans.popitem(last=False)

    def _refresh(self) -> None:
        version = self._catalog().version
        if version != self._version:
            self._plans.clear()
            self._version = version

    def context(self, caller: Caller, collection: Collection, permission: Permission) -> Context:
        """Authorize: what the caller may do with the collection, and whose documents it reaches.

        Raises:
            Forbidden, CollectionNotFound: it may not. NotSupported: the change needs a companion that the database lacks.
        """
        access = effective(caller.identity, collection)
        require(access, permission)
        engine = self._engines[collection.database]
        resolve = self._catalog().get
        rule, belongs = tenancy.rule_for(collection, caller.scope, resolve), ownership.belongs(collection, resolve)
        versioned = collection.versioned
        if versioned and Capability.VERSIONS not in engine.capabilities:
            raise NotSupported(Capability.VERSIONS, engine.kind, hint="Run portico init-db on the database.")
        audited = self.audited(collection)
        return Context(collection, engine, access, rule, caller.identity.statement_timeout, audited, versioned, belongs, caller)

    def audited(self, collection: Collection) -> bool:
        """Whether changes of `collection` write an audit row. Raises NotSupported where they must and cannot."""
        if not collection.audit:
            return False
        engine = self._engines[collection.database]
        if Capability.AUDIT not in engine.capabilities:
            raise NotSupported(Capability.AUDIT, engine.kind, hint="Run portico init-db on the database.")
        return True

    def reach(self, caller: Caller, database: str) -> Reach:
        """How the caller reaches the related collections of one database."""
        return Reach(self._catalog().get, database, caller, self._parse_filter)

    def bind(self, context: Context, query: ast.Query, cursor: CursorState | None = None) -> Bound:
        """Resolve a query for its caller, with the service's row filters in it."""
        bound = self.answered(context, query, cursor)
        filters, sources, coercers = self.row_filters(context, len(bound.sources))
        if not filters:
            return bound
        both = tuple(item for item in (bound.query.filter, *filters) if item is not None)
        return Bound(replace(bound.query, filter=Conjunction(both)), bound.sources + sources, bound.coercers + coercers)

    def answered(self, context: Context, query: ast.Query, cursor: CursorState | None = None) -> Bound:
        """Resolve a query for its caller; the service's row filters limit the documents that it includes alone, as for what was written."""
        collection = context.collection
        reach = self.reach(context.caller, collection.database)
        return bind(query, collection, hidden=context.access.hidden, limits=self.limits, cursor=cursor, resolve=reach)

    def bind_pipeline(self, caller: Caller, context: Context, asked: Pipeline) -> tuple[Aggregate, BoundAggregation]:
        """Resolve an aggregation for its caller and scope it, with the service's row filters on each of its collections.

        Raises:
            Forbidden, CollectionNotFound: it looks up in a collection that the caller may not read.
        """
        reach = self.reach(caller, context.collection.database)
        bound = bind_pipeline(asked, context.collection, hidden=context.access.hidden, limits=self.limits, resolve=reach)
        pipeline, sources, coercers = bound.pipeline, bound.sources, bound.coercers
        limits: list[Limited] = []
        for own in (context, *(self.context(caller, lookup.collection, Permission.READ) for lookup in pipeline.lookups)):
            filters, more_sources, more_coercers = self.row_filters(own, len(sources))
            sources, coercers = sources + more_sources, coercers + more_coercers
            limits.append(tenancy.limited(own.rule, Conjunction(filters) if filters else None))
        both = tuple(item for item in (pipeline.filter, limits[0].filter) if item is not None)
        pipeline = replace(pipeline, filter=Conjunction(both) if both else None)
        scoped = tenancy.aggregate(pipeline, context.rule, tuple(limits[1:]))
        return scoped, BoundAggregation(pipeline, sources, coercers)

    def embedded(self, context: Context, query: BoundQuery) -> Rules:
        """What limits the documents that a query includes.

        Raises:
            NotSupported: it includes some, and the engine has no includes.
        """
        rules = tenancy.embedded_rules(query, context.caller.scope, self._catalog().get)
        if rules and Capability.EMBEDDING not in context.engine.capabilities:
            raise NotSupported(Capability.EMBEDDING, context.engine.kind)
        return rules

    def row_filters(self, context: Context, first: int) -> tuple[tuple[Predicate, ...], tuple[int, ...], tuple[Coercer, ...]]:
        """The service's row filters on the collection, their parameters beginning at `first`. They may look at hidden fields."""
        predicates: list[Predicate] = []
        sources: tuple[int, ...] = ()
        coercers: tuple[Coercer, ...] = ()
        for text in context.access.row_filters:
            parsed = self._parse_filter(text)
            if parsed.query.filter is None:
                continue
            place = first + len(sources)
            bound = bind_filter(parsed.query.filter, context.collection, hidden=None, limits=self.limits, first=place).fixed(parsed.values)
            predicates.append(bound.predicate)
            sources += bound.sources
            coercers += bound.coercers
        return tuple(predicates), sources, coercers

    def references(self, context: Context, assignments: tuple[Assignment, ...]) -> tuple[ParentRule, ...]:
        """What the documents that a write refers to are limited by."""
        return tenancy.references_of(context.collection, assignments, context.rule, self._catalog().get)

    def visible(self, context: Context, wish: ast.Query = EVERY_FIELD) -> BoundQuery:
        """What a write answers of a document: the select of `wish`, which is every field that the caller sees."""
        if wish is KEY_ALONE:
            key = context.collection.key_fields
            return BoundQuery(context.collection, tuple(Output(field.name, Target(field, field.type)) for field in key))
        bound = bind(wish, context.collection, hidden=context.access.hidden, limits=self.limits)
        return replace(bound.query, order=(), limit=None)

    def key_parameters(self, collection: Collection, first: int) -> tuple[tuple[Parameter, ...], tuple[Coercer, ...]]:
        """The parameters of a document's key, beginning at `first`, and how the parts of its address are read."""
        parameters = tuple(Parameter(first + place, field.type) for place, field in enumerate(collection.key_fields))
        return parameters, key_coercers(collection)

    def compile(self, context: Context, operation: str, query: ScopedQuery) -> Lane:
        """Compile, and open the lane where its calls wait."""
        started = time.perf_counter()
        lane = Lane(context.engine, context.engine.compile(query), context.timeout, context.collection.name, operation)
        self._emit(PlanMade(context.collection.name, operation, time.perf_counter() - started))
        return lane

    def collections(self) -> tuple[Collection, ...]:
        """Every collection of the snapshot in force."""
        catalog = self._catalog()
        return tuple(found for name in catalog.names if (found := catalog.get(name)) is not None)


__all__ = ["Asked", "Context", "ParseFilter", "Plan", "Plans"]
