"""Upserts: documents that are created or, where their unique values are there already, changed or left as they are; all or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from portico.engines.base import Call
from portico.errors import ConstraintViolated, InvalidParameter
from portico.model.identity import Permission
from portico.model.page import Document
from portico.query import ast
from portico.query.scoped import Resolution
from portico.service import tenancy
from portico.service.caller import EVERY_FIELD, Caller
from portico.service.conflicts import OnConflict, keeping_time, merged_fields, require_values, target, unique_value
from portico.service.documents import Documents
from portico.service.members import EACH_ITS_OWN, Chosen, Members
from portico.service.plans import Plan
from portico.service.together import Groups, body_at, together
from portico.service.validate import Body, check_writable, create_writer, object_body
from portico.service.write_plan import WritePlan, all_of
from portico.service.writes import MOST_TOGETHER, Writes


@dataclass(slots=True)
class UpsertPlan(WritePlan):
    """A write's shape with the unique fields that decide, and what becomes of the document that is there."""

    unique: tuple[str, ...] = ()
    resolution: Resolution = "merge"

    def values(self, body: Body, caller: Caller) -> tuple[object, ...]:
        """The bound values of one body; those of the service's row filters come last."""
        return (*self.writer.values(body, caller.scope), *[coerce(None) for coerce in self.coercers])


@dataclass(frozen=True, slots=True)
class Shape:
    """What makes upserts alike: the members of their bodies, those that a merge sets, what becomes of duplicates, what is answered."""

    names: tuple[str, ...]
    named: tuple[str, ...]
    how: OnConflict
    wish: ast.Query


class Upserts:
    """Creates that meet what is there. `documents` and `writes` are the pipeline that they share."""

    def __init__(self, documents: Documents, writes: Writes) -> None:
        self._documents = documents
        self._plans = documents.plans
        self._writes = writes

    async def upsert(
        self, caller: Caller, name: str, body: object, how: OnConflict, members: Members = EACH_ITS_OWN, *, wish: ast.Query = EVERY_FIELD
    ) -> Document | None:
        """Create one document, or merge it into the one that is there; answers what `wish` selects, None where that is left as it is.

        Raises:
            InvalidParameter: `how` names fields that are not unique.
            DuplicateDocument: a document that the caller does not reach, or another unique index, has a value of it.
        """
        chosen = self.chosen(caller, name, [body], members)
        fields = await self._concealed(caller, name, object_body(chosen.bodies[0]), how)

        def prepare() -> tuple[Plan, tuple[object, ...]]:
            plan = self._plan(caller, name, Shape(tuple(fields), chosen.named(fields), how, wish))
            return plan.run, plan.values(fields, caller)

        return cast("Document | None", await self._documents.run(caller, prepare))

    async def upsert_all(
        self,
        caller: Caller,
        name: str,
        bodies: Sequence[object],
        how: OnConflict,
        members: Members = EACH_ITS_OWN,
        *,
        wish: ast.Query = EVERY_FIELD,
    ) -> list[Document | None]:
        """The same for several, together: all of them, or none and the first error, with its body's index.

        Two bodies with the same unique values: the second of them is left out where documents are ignored, and an error where they merge.
        """
        if len(bodies) > MOST_TOGETHER:
            raise InvalidParameter(f"At most {MOST_TOGETHER} documents are upserted by one call.", hint="Import larger sets.")
        chosen = self.chosen(caller, name, bodies, members)
        concealed = [await self._at(place, caller, name, body, how) for place, body in enumerate(chosen.bodies)]

        def prepare(fields: Body) -> tuple[UpsertPlan, Call]:
            return self._call(caller, name, fields, Shape(tuple(fields), chosen.named(fields), how, wish))

        return await self._documents.with_current_schema(caller, name, lambda: self._run(caller, name, concealed, prepare))

    async def _run(
        self, caller: Caller, name: str, bodies: Sequence[Body], prepare: Callable[[Body], tuple[UpsertPlan, Call]]
    ) -> list[Document | None]:
        groups = grouped(bodies, prepare)
        return await together(caller, self._writes.engine_of(name), groups.run) if groups else []

    def plan(self, caller: Caller, name: str, names: tuple[str, ...], how: OnConflict) -> UpsertPlan:
        """The plan that upserts documents of bodies with these members."""
        return self._plan(caller, name, Shape(names, names, how, EVERY_FIELD))

    def _call(self, caller: Caller, name: str, fields: Body, shape: Shape) -> tuple[UpsertPlan, Call]:
        plan = self._plan(caller, name, shape)
        return plan, Call(plan.values(fields, caller), caller.scope, caller.actor)

    def chosen(self, caller: Caller, name: str, bodies: Sequence[object], members: Members) -> Chosen:
        """The bodies of a create with the members that are written. Raises as the write for fields that the caller may not write."""
        chosen = members.chosen(bodies)
        if chosen.names is not None:
            collection = self._writes.writable(caller, name)
            context = self._plans.context(caller, collection, Permission.CREATE)
            check_writable(collection, context.access, chosen.names)
        return chosen

    async def _at(self, place: int, caller: Caller, name: str, body: object, how: OnConflict) -> Body:
        with body_at(place):
            return await self._concealed(caller, name, object_body(body), how)

    async def _concealed(self, caller: Caller, name: str, body: Body, how: OnConflict) -> Body:
        if how.resolution == "merge":
            await self._writes.conceal(caller, name, {}, Permission.UPDATE)
        return await self._writes.conceal(caller, name, body, Permission.CREATE)

    def _plan(self, caller: Caller, name: str, shape: Shape) -> UpsertPlan:
        collection, how = self._writes.writable(caller, name), shape.how
        found = self._plans.find(caller, collection, "upsert", shape)
        if found is not None:
            return cast("UpsertPlan", found)
        context = self._plans.context(caller, collection, Permission.CREATE)
        if how.resolution == "merge":
            self._plans.context(caller, collection, Permission.UPDATE)
        unique = target(collection, context.access, how.fields)
        writer = keeping_time(collection, create_writer(collection, context.access, shape.names, caller.scope, self._plans.limits))
        require_values(collection, unique, writer)
        filters, _, coercers = self._plans.row_filters(context, len(writer.inputs))
        new = tenancy.create(
            writer.assignments, self._plans.visible(context, shape.wish), context.rule, audit=context.audit, versioned=context.versioned,
            belongs=context.belongs, references=self._plans.references(context, writer.assignments),
        )  # fmt: skip
        merge = merged_fields(collection, writer, shape.named, unique) if how.resolution == "merge" else ()
        query = tenancy.upsert(new, unique, how.resolution, merge=merge, mergeable=all_of(filters))
        lane = self._plans.compile(context, "upsert", query)
        plan = UpsertPlan(lane, collection, writer, coercers=coercers, unique=unique, resolution=how.resolution)
        self._plans.keep(caller, collection, "upsert", shape, plan)
        return plan


def grouped(bodies: Sequence[Body], prepare: Callable[[Body], tuple[UpsertPlan, Call]]) -> Groups:
    """The bodies by their plans, each unique value once. Raises with the body's index, also for one that comes twice."""
    groups = Groups(len(bodies))
    seen: dict[tuple[object, ...], int] = {}
    for place, fields in enumerate(bodies):
        with body_at(place):
            plan, call = prepare(fields)
            value = unique_value(plan.unique, plan.writer, call.values)
            first = place if value is None else seen.setdefault(value, place)
            if first != place and plan.resolution == "merge":
                raise twice(plan.unique, first)
        if first == place:
            groups.add(place, plan, call)
    return groups


def twice(unique: Sequence[str], first: int) -> ConstraintViolated:
    """The error of a body whose unique values another one of the call has: which of them should count is nobody's to guess."""
    return ConstraintViolated(
        f"Two documents of the call have the same {', '.join(unique)}.", hint="Send each document once.", details={"same_as": first}
    )
