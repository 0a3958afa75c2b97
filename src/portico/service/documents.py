"""The pipeline of a read, from what was asked to an answer: plan, values, scope, engine. Read this first.

    Asked (a syntax's tree) → bind to the collection → authorize → scope to the caller → compile        a cold call, kept as a Plan
    Asked (its values)      → read as the plan's parameters → run with those who wait as well           every call

Writes go the same way, in `writes.py`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar, cast

from portico.engines.base import Answer, Call
from portico.errors import DocumentNotFound, InvalidCursor, PorticoError, SchemaChanged
from portico.events import Emit, QueryRan
from portico.model.collection import Collection
from portico.model.identity import Permission
from portico.model.page import Changed, Document, Page
from portico.query import ast
from portico.query.cursor import CursorState, cursor_state, decode, encode, query_tag
from portico.query.grouped import as_pipeline, is_grouped, refuse_aggregates
from portico.query.pipeline import ParsedPipeline, shape_text
from portico.service import tenancy
from portico.service.caller import ALL, Asked, Caller
from portico.service.coalesce import Coalescer
from portico.service.plans import Plan, Plans

T = TypeVar("T")

MOST_RELOADS = 4


class Reload(Protocol):
    """Reads the catalog anew: always, or where the schema of the database `changed` is another than the one that was read."""

    def __call__(self, changed: str | None = None) -> Awaitable[object]:
        """Return once the catalog in force is right."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A page, with the limit that it was asked with and the cursor of the next one (None: it was the last)."""

    page: Page
    limit: int
    next_cursor: str | None


class Documents:
    """Reads of documents.

    Args:
        plans: what shapes come to. coalescer: gathers calls. cursor_secret: signs cursors.
        reload: reads the catalog anew, awaited when a statement finds the schema changed; where it may have failed for another reason, with
            the database whose schema is compared first. emit: told of every call.
    """

    def __init__(self, plans: Plans, coalescer: Coalescer, *, cursor_secret: bytes, reload: Reload, emit: Emit) -> None:
        self.plans = plans
        self.coalescer = coalescer
        self.reload = reload
        self._secret = cursor_secret
        self._emit = emit

    async def get(self, caller: Caller, name: str, key: tuple[str, ...], asked: Asked = ALL) -> Document:
        """One document by its key.

        Args:
            key: the parts of its address, decoded. asked: which fields.
        Raises:
            DocumentNotFound: there is none in the caller's scope.
        """

        def prepare() -> tuple[Plan, tuple[object, ...]]:
            plan = self._get_plan(caller, name, asked)
            if len(key) != len(plan.collection.primary_key):
                raise _no_document()
            try:
                return plan, plan.values((*asked.values, *key))
            except PorticoError:
                # A key that cannot be one is a key that nobody has.
                if asked.values:
                    raise
                raise _no_document() from None

        answer = await self.run(caller, prepare)
        if answer is None:
            raise _no_document()
        return cast("Document", answer)

    def _get_plan(self, caller: Caller, name: str, asked: Asked) -> Plan:
        collection = self.plans.collection(name)
        found = self.plans.find(caller, collection, "get", asked.shape)
        if found is not None:
            return cast("Plan", found)
        context = self.plans.context(caller, collection, Permission.READ)
        if not collection.primary_key:
            raise _no_document()
        tree = asked.parse()
        refuse_aggregates(tree, collection)
        bound = self.plans.bind(context, replace(tree, limit=None, offset=None, cursor=None))
        embedded = self.plans.embedded(context, bound.query)
        sources, coercers = (bound.sources, bound.coercers) if bound.query.filter is not None or embedded else ((), ())
        key, key_coercers = self.plans.key_parameters(collection, len(sources))
        query = tenancy.get_by_key(bound.query, key, context.rule, etag=True, embedded=embedded)
        base = len(asked.values)
        plan = Plan(
            self.plans.compile(context, "get", query),
            collection,
            (*sources, *range(base, base + len(key))),
            (*coercers, *key_coercers),
            pattern=str(asked.shape),
        )
        self.plans.keep(caller, collection, "get", asked.shape, plan)
        return plan

    async def list(self, caller: Caller, name: str, asked: Asked = ALL) -> Listed:
        """A page of the documents that match."""
        chosen: list[tuple[Plan, tuple[object, ...]]] = []

        def prepare() -> tuple[Plan, tuple[object, ...]]:
            chosen[:] = [self.page_plan(caller, name, asked)]
            return chosen[0]

        page = cast("Page", await self.run(caller, prepare))
        plan, values = chosen[0]
        limit = cast("int", values[plan.limit_index])
        # Groups have no key that a cursor could name.
        cursor = encode(self._secret, plan.tag, page.last) if page.last is not None and plan.tag else None
        return Listed(page, limit, cursor)

    def page_plan(self, caller: Caller, name: str, asked: Asked) -> tuple[Plan, tuple[object, ...]]:
        collection = self.plans.collection(name)
        raw = asked.values
        plan = self.plans.find(caller, collection, "list", asked.shape)
        if isinstance(plan, Plan):
            return plan, plan.values(raw)
        if plan is None:
            query = asked.parse()
            if query.cursor is None:
                made = self._make_page_plan(caller, collection, asked.shape, query, None)
                return made, made.values(raw)
            plan = (query, query_tag(query, collection))
            self.plans.keep(caller, collection, "list", asked.shape, plan)
        query, tag = cast("tuple[ast.Query, bytes]", plan)
        return self._following(caller, collection, asked, query, tag)

    def _following(
        self, caller: Caller, collection: Collection, asked: Asked, query: ast.Query, tag: bytes
    ) -> tuple[Plan, tuple[object, ...]]:
        """A page after a cursor: which of the cursor's values are null is part of the plan's shape."""
        assert query.cursor is not None, "only a query with a cursor follows one"
        after = decode(self._secret, tag, asked.values[query.cursor.index])
        state = cursor_state(len(asked.values), after)
        shape = (asked.shape, state.nulls)
        plan = self.plans.find(caller, collection, "list", shape)
        if plan is None:
            plan = self._make_page_plan(caller, collection, shape, query, state)
        return cast("Plan", plan), cast("Plan", plan).values((*asked.values, *after))

    def _make_page_plan(self, caller: Caller, collection: Collection, shape: object, query: ast.Query, state: CursorState | None) -> Plan:
        grouped = is_grouped(query, collection)
        context = self.plans.context(caller, collection, Permission.AGGREGATE if grouped else Permission.READ)
        bound = self.plans.bind(context, query, state)
        if bound.query.limit is None:
            raise InvalidCursor("The query has no limit.")
        embedded = self.plans.embedded(context, bound.query)
        if grouped:
            lane = self.plans.compile(context, "aggregate", tenancy.aggregate(as_pipeline(bound.query), context.rule, (), embedded))
        else:
            lane = self.plans.compile(context, "list", tenancy.list_page(bound.query, context.rule, embedded))
        tag = b"" if grouped else query_tag(query, collection)
        plan = Plan(lane, collection, bound.sources, bound.coercers, bound.query.limit.index, tag, str(shape))
        self.plans.keep(caller, collection, "list", shape, plan)
        return plan

    async def count(self, caller: Caller, name: str, asked: Asked = ALL) -> int:
        """How many documents match."""
        answer = await self.run(caller, lambda: self._count_plan(caller, name, asked))
        return cast("Changed", answer).count

    def _count_plan(self, caller: Caller, name: str, asked: Asked) -> tuple[Plan, tuple[object, ...]]:
        collection = self.plans.collection(name)
        found = self.plans.find(caller, collection, "count", asked.shape)
        if found is None:
            context = self.plans.context(caller, collection, Permission.READ)
            bound = self.plans.bind(context, replace(asked.parse(), order=(), cursor=None))
            embedded = self.plans.embedded(context, bound.query)
            lane = self.plans.compile(context, "count", tenancy.count(bound.query, context.rule, embedded))
            found = Plan(lane, collection, bound.sources, bound.coercers, pattern=str(asked.shape))
            self.plans.keep(caller, collection, "count", asked.shape, found)
        plan = cast("Plan", found)
        return plan, plan.values(asked.values)

    async def aggregate(self, caller: Caller, name: str, asked: ParsedPipeline) -> Page:
        """What a pipeline makes of the documents. It never shares a statement: nothing bounds what it reads but its timeout."""
        return cast("Page", await self.run(caller, lambda: self._aggregate_plan(caller, name, asked)))

    def _aggregate_plan(self, caller: Caller, name: str, asked: ParsedPipeline) -> tuple[Plan, tuple[object, ...]]:
        collection = self.plans.collection(name)
        found = self.plans.find(caller, collection, "aggregate", asked.pipeline)
        if found is None:
            context = self.plans.context(caller, collection, Permission.AGGREGATE)
            scoped, bound = self.plans.bind_pipeline(caller, context, asked.pipeline)
            lane = self.plans.compile(context, "aggregate", scoped)
            found = Plan(lane, collection, bound.sources, bound.coercers, pattern=shape_text(asked.pipeline))
            self.plans.keep(caller, collection, "aggregate", asked.pipeline, found)
        plan = cast("Plan", found)
        return plan, plan.values(asked.values)

    def export(self, caller: Caller, name: str, asked: Asked = ALL) -> AsyncIterator[bytes]:
        """Every document that matches, as NDJSON; permissions and names are checked before the first chunk is asked for."""
        return self._exported(caller, name, asked, self._stream(caller, name, asked))

    def exported_names(self, caller: Caller, name: str, asked: Asked = ALL) -> tuple[str, ...]:
        """The members of an export's documents, in order. Raises as the export."""
        context = self.plans.context(caller, self.plans.collection(name), Permission.EXPORT)
        bound = self.plans.bind(context, replace(asked.parse(), limit=None, offset=None, cursor=None))
        return tuple(output.name for output in bound.query.outputs)

    def _stream(self, caller: Caller, name: str, asked: Asked) -> AsyncIterator[bytes]:
        collection = self.plans.collection(name)
        context = self.plans.context(caller, collection, Permission.EXPORT)
        query = asked.parse()
        refuse_aggregates(query, collection)
        bound = self.plans.bind(context, replace(query, limit=None, offset=None, cursor=None))
        plan = context.engine.compile(tenancy.export(bound.query, context.rule, self.plans.embedded(context, bound.query)))
        call = Call(bound.values(asked.values), caller.scope, caller.actor)
        return context.engine.stream(plan, call) if caller.transaction is None else caller.transaction.stream(plan, call)

    async def _exported(self, caller: Caller, name: str, asked: Asked, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The chunks of a stream; begun once more with a new catalog where the schema was changed before the first."""
        collection, seen = self.plans.collection(name), self.plans.version
        for again in (True, False):
            begun = False
            try:
                async for chunk in stream:
                    begun = True
                    yield chunk
            except SchemaChanged as error:
                if begun or not again:
                    raise (error.otherwise or error) from error.__cause__
                await self.look_again(error, collection, seen)
            else:
                return
            finally:
                # A reader that leaves ends the engine's stream at once, not when it is collected.
                if isinstance(stream, AsyncGenerator):
                    await stream.aclose()
            stream = self._stream(caller, name, asked)

    async def run(self, caller: Caller, prepare: Callable[[], tuple[Plan, tuple[object, ...]]]) -> Answer:
        """Prepare and run one call; again with a new catalog where its statement was older than the schema.

        A migration changes the schema several times in a row, so once more may not be enough.
        """
        for again in range(MOST_RELOADS, -1, -1):
            seen = self.plans.version
            plan, values = prepare()
            try:
                return await self._run_plan(caller, plan, values)
            except SchemaChanged as error:
                if caller.transaction is not None or not again:
                    raise (error.otherwise or error) from error.__cause__
                await self.look_again(error, plan.collection, seen)
        raise AssertionError("the last round returns or raises")

    async def with_current_schema(self, caller: Caller, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` gives, which plans its statements itself; again with a new catalog where they were older than the schema."""
        for again in range(MOST_RELOADS, -1, -1):
            seen = self.plans.version
            try:
                return await work()
            except SchemaChanged as error:
                if caller.transaction is not None or not again:
                    raise (error.otherwise or error) from error.__cause__
                await self.look_again(error, self.plans.collection(name), seen)
        raise AssertionError("the last round returns or raises")

    async def look_again(self, error: SchemaChanged, collection: Collection, seen: int) -> None:
        """Read the catalog anew after a statement failed; raise what the failure means where the schema did not change at all."""
        if error.otherwise is None:
            await self.reload()
            return
        await self.reload(collection.database)
        if self.plans.version == seen:
            raise error.otherwise from error.__cause__

    async def _run_plan(self, caller: Caller, plan: Plan, values: tuple[object, ...]) -> Answer:
        started = time.perf_counter()
        answer: Answer = None
        code: str | None = "cancelled"
        try:
            call = Call(values, caller.scope, caller.actor)
            if caller.transaction is not None:
                answer = await caller.transaction.run(plan.lane.plan, call, timeout=plan.lane.timeout)
            else:
                answer = await self.coalescer.run(plan.lane, call)
            code = None
            return answer
        except PorticoError as error:
            code = error.code
            raise
        finally:
            lane, actor = plan.lane, caller.actor
            duration = time.perf_counter() - started
            self._emit(
                QueryRan(
                    actor.service, lane.engine.name, lane.collection, lane.operation, plan.pattern, duration, rows_of(answer), code,
                    correlation_id=actor.correlation_id,
                )
            )  # fmt: skip


def rows_of(answer: Answer) -> int:
    """How many documents an answer touched."""
    return 1 if isinstance(answer, Document) else 0 if answer is None else answer.count


def _no_document() -> DocumentNotFound:
    return DocumentNotFound("There is no such document.")
