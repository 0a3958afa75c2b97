"""The pipeline of a write: the same way as a read's, with a body that is read by the collection's rules before the database sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from portico.engines.base import Call, Engine
from portico.errors import DocumentNotFound, DuplicateDocument, InvalidParameter, NotSupported, PreconditionFailed
from portico.model.collection import Collection
from portico.model.field import Base, FieldType
from portico.model.identity import Permission
from portico.model.page import Changed, Document
from portico.query import ast
from portico.query.bind import bind_filter
from portico.query.bound import Coercer, Parameter, Predicate, Special
from portico.service import tenancy
from portico.service.caller import EVERY_FIELD, Asked, Caller
from portico.service.documents import Documents
from portico.service.passwords import Passwords
from portico.service.plans import Context, Plan
from portico.service.together import Groups, body_at, together
from portico.service.validate import (
    Body,
    Writer,
    change_writer,
    check_writable,
    create_writer,
    key_value,
    object_body,
    replacement,
    same_key_value,
)
from portico.service.write_plan import WritePlan, all_of

MOST_TOGETHER = 10_000
"""Documents in one create; larger sets are imported."""

TEXT = FieldType(Base.TEXT)


class Writes:
    """Creates, changes and deletes.

    Args:
        documents: the pipeline of reads that they share. passwords: hashes what bodies hold of them.
    """

    def __init__(self, documents: Documents, passwords: Passwords | None = None) -> None:
        self._documents = documents
        self._passwords = passwords or Passwords()
        self._plans = documents.plans

    # --- create ----------------------------------------------------------------------------------------------------------

    async def create(self, caller: Caller, name: str, body: object, *, wish: ast.Query = EVERY_FIELD) -> Document:
        """Create one document from a JSON object; answers of it what `wish` selects."""
        fields = object_body(body)
        if self._plans.collection(name).security.passwords:
            fields = await self.conceal(caller, name, fields, Permission.CREATE)

        def prepare() -> tuple[Plan, tuple[object, ...]]:
            plan = self._create_plan(caller, name, tuple(fields), wish)
            return plan.run, plan.writer.values(fields, caller.scope)

        return cast("Document", await self._documents.run(caller, prepare))

    async def create_all(self, caller: Caller, name: str, bodies: Sequence[object], *, wish: ast.Query = EVERY_FIELD) -> list[Document]:
        """Create documents together: all of them, or none and the first error; `wish` as in `create`."""
        if len(bodies) > MOST_TOGETHER:
            raise InvalidParameter(f"At most {MOST_TOGETHER} documents are created by one call.", hint="Import larger sets.")
        if self._plans.collection(name).security.passwords:
            bodies = await self._conceal_all(caller, name, bodies)
        return await self._documents.with_current_schema(caller, name, lambda: self._create_all(caller, name, bodies, wish))

    async def _create_all(self, caller: Caller, name: str, bodies: Sequence[object], wish: ast.Query) -> list[Document]:
        groups = Groups(len(bodies))
        for place, body in enumerate(bodies):
            with body_at(place):
                groups.add(place, *self.prepared(caller, name, body, wish))
        answers = await together(caller, self.engine_of(name), groups.run) if groups else []
        return [cast("Document", answer) for answer in answers]

    async def conceal(self, caller: Caller, name: str, body: Body, permission: Permission) -> Body:
        """The body with its passwords hashed, where the collection has such members: what `prepared` takes.

        Raises as the write itself for a caller without the permission, before anything is hashed; ConstraintViolated, WrongType.
        """
        collection = self.writable(caller, name)
        if not collection.security.passwords:
            return body
        context = self._plans.context(caller, collection, permission)
        check_writable(collection, context.access, tuple(body))
        return await self._passwords.hash(collection, body)

    async def _conceal_all(self, caller: Caller, name: str, bodies: Sequence[object]) -> list[object]:
        self._passwords.check_number(self._plans.collection(name), bodies)
        concealed: list[object] = []
        for place, body in enumerate(bodies):
            with body_at(place):
                concealed.append(await self.conceal(caller, name, object_body(body), Permission.CREATE))
        return concealed

    def prepared(self, caller: Caller, name: str, body: object, wish: ast.Query = EVERY_FIELD) -> tuple[WritePlan, Call]:
        """The plan and the call that create one document of `body`, checked but not run."""
        fields = object_body(body)
        plan = self._create_plan(caller, name, tuple(fields), wish)
        return plan, Call(plan.writer.values(fields, caller.scope), caller.scope, caller.actor)

    def counted_plan(self, caller: Caller, name: str, names: tuple[str, ...]) -> WritePlan:
        """The plan that creates documents of bodies with these members, of which nobody reads what was created."""
        return self._create_plan(caller, name, names, EVERY_FIELD, counted=True)

    def hidden(self, caller: Caller, name: str) -> frozenset[str]:
        """The fields of new documents that the caller does not see. Raises Forbidden."""
        return self._plans.context(caller, self.writable(caller, name), Permission.CREATE).access.hidden

    def engine_of(self, name: str) -> Engine:
        """The engine behind a collection."""
        return self._plans.engine(self._plans.collection(name))

    async def create_at(self, caller: Caller, name: str, key: tuple[str, ...], body: object) -> Document:
        """Create the document of this key, only where there is none (`PUT` with ``If-None-Match: *``). Raises PreconditionFailed."""
        fields = dict(object_body(body))
        collection = self.writable(caller, name)
        if len(key) != len(collection.primary_key):
            raise DocumentNotFound("There is no such document.")
        for part, field in zip(key, collection.key_fields, strict=True):
            fields[field.name] = key_value(field, part)
        try:
            return await self.create(caller, name, fields)
        except DuplicateDocument as error:
            raise PreconditionFailed("The document exists already.") from error

    def _create_plan(self, caller: Caller, name: str, names: tuple[str, ...], wish: ast.Query, *, counted: bool = False) -> WritePlan:
        collection = self.writable(caller, name)
        shape = (names, "counted") if counted else names if wish is EVERY_FIELD else (names, wish)
        found = self._plans.find(caller, collection, "create", shape)
        if found is not None:
            return cast("WritePlan", found)
        context = self._plans.context(caller, collection, Permission.CREATE)
        writer = create_writer(collection, context.access, names, caller.scope, self._plans.limits)
        query = tenancy.create(
            writer.assignments, self._plans.visible(context, wish), context.rule, audit=context.audit, versioned=context.versioned,
            belongs=context.belongs,
            references=self._plans.references(context, writer.assignments), counted=counted,
        )  # fmt: skip
        plan = WritePlan(self._plans.compile(context, "create", query), collection, writer)
        self._plans.keep(caller, collection, "create", shape, plan)
        return plan

    # --- change ----------------------------------------------------------------------------------------------------------

    async def update(self, caller: Caller, name: str, key: tuple[str, ...], body: object, *, etag: str | None = None) -> Document:
        """Change the fields that `body` names.

        Args:
            etag: the hash that the stored document must have (`If-Match`), or None.
        Raises:
            DocumentNotFound, PreconditionFailed.
        """
        fields = object_body(body)
        if self._plans.collection(name).security.passwords:
            fields = await self.conceal(caller, name, fields, Permission.UPDATE)
        return await self._change(caller, name, key, lambda _: fields, etag=etag)

    async def replace(self, caller: Caller, name: str, key: tuple[str, ...], body: object, *, etag: str | None = None) -> Document:
        """Set every field that the caller may write: what `body` leaves out becomes its default, or null."""
        fields = dict(object_body(body))
        collection = self.writable(caller, name)
        if collection.security.passwords:
            fields = dict(await self.conceal(caller, name, fields, Permission.UPDATE))
        for part, field in zip(key, collection.key_fields, strict=False):
            if field.name in fields and not same_key_value(field, part, fields.pop(field.name)):
                raise InvalidParameter("The document's key in the body is not the one in the address.", details={"field": field.name})
        return await self._change(caller, name, key, lambda context: replacement(context.collection, context.access, fields), etag=etag)

    async def _change(
        self, caller: Caller, name: str, key: tuple[str, ...], complete: Callable[[Context], Body], *, etag: str | None
    ) -> Document:
        def prepare() -> tuple[Plan, tuple[object, ...]]:
            context = self._plans.context(caller, self.writable(caller, name), Permission.UPDATE)
            fields = complete(context)
            plan = self._change_plan(caller, context, tuple(fields), conditional=etag is not None)
            return plan.run, plan.change_values(plan.address(key), etag, fields, caller)

        answer = await self._documents.run(caller, prepare)
        if answer is None:
            raise DocumentNotFound("There is no such document.")
        return cast("Document", answer)

    def prepared_change(
        self, caller: Caller, name: str, key: tuple[object, ...], fields: Body, etag: str | None, wish: ast.Query = EVERY_FIELD
    ) -> tuple[WritePlan, Call]:
        """The plan and the call that change one document, checked but not run. `key` holds typed values. Passwords were hashed."""
        context = self._plans.context(caller, self.writable(caller, name), Permission.UPDATE)
        plan = self._change_plan(caller, context, tuple(fields), conditional=etag is not None, wish=wish)
        return plan, Call(plan.change_values(key, etag, fields, caller), caller.scope, caller.actor)

    def _change_plan(
        self, caller: Caller, context: Context, names: tuple[str, ...], *, conditional: bool, wish: ast.Query = EVERY_FIELD
    ) -> WritePlan:
        collection = context.collection
        shape = (names, conditional) if wish is EVERY_FIELD else (names, conditional, wish)
        found = self._plans.find(caller, collection, "update", shape)
        if found is not None:
            return cast("WritePlan", found)
        key, coercers = self._plans.key_parameters(collection, 0)
        etag = Parameter(len(key), TEXT) if conditional else None
        first = len(key) + (1 if conditional else 0)
        filters, _, filter_coercers = self._plans.row_filters(context, first)
        writer = change_writer(collection, context.access, names, caller.scope, self._plans.limits, first + len(filter_coercers))
        if not writer.assignments:
            raise InvalidParameter("The body changes nothing.", hint="Name at least one field.")
        query = tenancy.change(
            collection, writer.assignments, context.rule, key=key, predicate=all_of(filters), etag=etag,
            answer=self._plans.visible(context, wish), audit=context.audit, versioned=context.versioned,
            belongs=context.belongs,
            references=self._plans.references(context, writer.assignments),
        )  # fmt: skip
        plan = WritePlan(self._plans.compile(context, "update", query), collection, writer, coercers, (), filter_coercers)
        self._plans.keep(caller, collection, "update", shape, plan)
        return plan

    async def update_where(
        self, caller: Caller, name: str, asked: Asked, body: object, *, most: int | None, answer: bool, wish: ast.Query = EVERY_FIELD
    ) -> Changed:
        """Change every document that matches.

        Args:
            most: fail with TooManyAffected, and change nothing, where more match.
            answer: give the changed documents. wish: of each, what it selects.
        """
        fields = object_body(body)
        query = only_filter(asked.parse())
        if self._plans.collection(name).security.passwords:
            fields = await self.conceal(caller, name, fields, Permission.UPDATE)

        def prepare() -> tuple[Plan, tuple[object, ...]]:
            collection = self.writable(caller, name)
            context = self._plans.context(caller, collection, Permission.UPDATE)
            predicate, coercers, values = self.where(context, query, asked, most)
            writer = change_writer(collection, context.access, tuple(fields), caller.scope, self._plans.limits, len(values))
            if not writer.assignments:
                raise InvalidParameter("The body changes nothing.", hint="Name at least one field.")
            change = tenancy.change(
                collection, writer.assignments, context.rule, predicate=predicate, limit=_limit(coercers, most),
                answer=self._plans.visible(context, wish) if answer else None, audit=context.audit, versioned=context.versioned,
                belongs=context.belongs,
                references=self._plans.references(context, writer.assignments),
            )  # fmt: skip
            lane = self._plans.compile(context, "update", change)
            return Plan(lane, collection), (*values, *writer.values(fields, caller.scope))

        return cast("Changed", await self._documents.run(caller, prepare))

    # --- delete ----------------------------------------------------------------------------------------------------------

    async def delete(self, caller: Caller, name: str, key: tuple[str, ...], *, etag: str | None = None) -> None:
        """Delete one document, and what its references say of others. Raises DocumentNotFound, PreconditionFailed, ReferencedDocument."""

        def prepare() -> tuple[Plan, tuple[object, ...]]:
            collection = self.writable(caller, name)
            plan = self._delete_plan(caller, collection, conditional=etag is not None)
            condition = () if etag is None else (etag,)
            filters = tuple([coerce(None) for coerce in plan.coercers])
            return plan.run, (*plan.address(key), *condition, *filters)

        if await self._documents.run(caller, prepare) is None:
            raise DocumentNotFound("There is no such document.")

    def _delete_plan(self, caller: Caller, collection: Collection, *, conditional: bool) -> WritePlan:
        found = self._plans.find(caller, collection, "delete", conditional)
        if found is not None:
            return cast("WritePlan", found)
        context = self._plans.context(caller, collection, Permission.DELETE)
        key, coercers = self._plans.key_parameters(collection, 0)
        etag = Parameter(len(key), TEXT) if conditional else None
        filters, _, filter_coercers = self._plans.row_filters(context, len(key) + (1 if conditional else 0))
        cascades = tenancy.cascades_of(collection, self._plans.collections(), self._plans.audited)
        query = tenancy.delete(
            collection, context.rule, key=key, predicate=all_of(filters), etag=etag,
            audit=context.audit, versioned=context.versioned,
            belongs=context.belongs, cascades=cascades,
        )  # fmt: skip
        plan = WritePlan(self._plans.compile(context, "delete", query), collection, Writer((), ()), coercers, (), filter_coercers)
        self._plans.keep(caller, collection, "delete", conditional, plan)
        return plan

    async def delete_where(
        self, caller: Caller, name: str, asked: Asked, *, most: int | None, answer: bool, wish: ast.Query = EVERY_FIELD
    ) -> Changed:
        """Delete every document that matches; arguments as in `update_where`."""
        query = only_filter(asked.parse())

        def prepare() -> tuple[Plan, tuple[object, ...]]:
            collection = self.writable(caller, name)
            context = self._plans.context(caller, collection, Permission.DELETE)
            predicate, coercers, values = self.where(context, query, asked, most)
            cascades = tenancy.cascades_of(collection, self._plans.collections(), self._plans.audited)
            delete = tenancy.delete(
                collection, context.rule, predicate=predicate, limit=_limit(coercers, most),
                answer=self._plans.visible(context, wish) if answer else None,
                audit=context.audit, versioned=context.versioned,
                belongs=context.belongs, cascades=cascades,
            )  # fmt: skip
            return Plan(self._plans.compile(context, "delete", delete), collection), values

        return cast("Changed", await self._documents.run(caller, prepare))

    # --- shared ----------------------------------------------------------------------------------------------------------

    def where(
        self, context: Context, query: ast.Query, asked: Asked, most: int | None
    ) -> tuple[Predicate, tuple[Coercer, ...], tuple[object, ...]]:
        """A filter-wide change's condition with its values; the most that may match comes last."""
        assert query.filter is not None, "checked when the query was read"
        bound = bind_filter(query.filter, context.collection, hidden=context.access.hidden, limits=self._plans.limits, zone=query.zone)
        filters, _, coercers = self._plans.row_filters(context, len(bound.sources))
        values = (*bound.values(asked.values), *(coerce(None) for coerce in coercers))
        both = all_of((bound.predicate, *filters))
        assert both is not None, "there is at least the caller's own filter"
        return both, (*bound.coercers, *coercers), values if most is None else (*values, most)

    def writable(self, caller: Caller, name: str) -> Collection:
        """The collection, where documents of it are written. Raises NotSupported; for who may not read it, what a read raises."""
        collection = self._plans.collection(name)
        if collection.read_only:
            self._plans.context(caller, collection, Permission.READ)
            why = "a view" if collection.kind == "view" else "without a primary key"
            raise NotSupported("writes", "collection", message=f"The collection {name} is {why}, so it is readable only.")
        return collection


def _limit(coercers: tuple[Coercer, ...], most: int | None) -> Parameter | None:
    return Parameter(len(coercers), Special.COUNT) if most is not None else None


def only_filter(query: ast.Query) -> ast.Query:
    """The query of a change of many documents, which has a filter. Raises InvalidParameter."""
    if query.filter is None:
        raise InvalidParameter("A change of many documents needs a filter.", hint="Add one, such as ?status=eq.draft.")
    return query
