"""What a write answers beside its documents' own fields: related documents, as they are once it is done.

The write and what reads its documents again, by the keys that it tells, are of one transaction. Deleted documents are read before: they
are answered with what was related to them then. Permissions, tenancy and hidden fields are those of a read that includes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar, cast

from portico.engines.base import Call, Isolation, Transaction
from portico.errors import StaleSnapshot
from portico.model.collection import Collection
from portico.model.identity import Permission
from portico.model.page import Changed, Document
from portico.query import ast
from portico.query.coerce import json_coercer
from portico.query.grouped import refuse_aggregates
from portico.query.json_text import read_json
from portico.service import tenancy
from portico.service.caller import KEY_ALONE, Asked, Caller
from portico.service.documents import Documents
from portico.service.plans import Plan
from portico.service.together import together
from portico.service.writes import Writes, only_filter

T = TypeVar("T")
Key = tuple[object, ...]


def anything(_: int) -> None:
    """Every number of documents is right."""


@dataclass(frozen=True, slots=True)
class Included:
    """What is answered of each document that a write touches.

    Attributes:
        query: its select. values: those of the filters and limits of what it includes.
        approve: told how many documents would be answered before anything is committed; raises where that is not what was asked for.
    """

    query: ast.Query
    values: tuple[object, ...]
    approve: Callable[[int], None] = anything


class Returning:
    """Runs writes and reads what they answer. `documents` and `writes` are the pipelines."""

    def __init__(self, documents: Documents, writes: Writes) -> None:
        self._documents = documents
        self._plans = documents.plans
        self._writes = writes

    async def of_created(
        self, caller: Caller, name: str, included: Included, write: Callable[[Caller], Awaitable[Sequence[Document | None]]]
    ) -> list[Document | None]:
        """The documents that `write` makes or merges, which answers of each its key; None for what it leaves as it is.

        What an include requires and the document has not is None as well.
        """

        async def run(inside: Caller) -> list[Document | None]:
            made = await write(inside)
            places = [place for place, document in enumerate(made) if document is not None]
            keys = [self._key(name, document.body) for document in made if document is not None]
            found: list[Document | None] = [None] * len(made)
            for place, answer in zip(places, await self._read(inside, name, Permission.CREATE, included, keys), strict=True):
                if answer is not None:
                    found[place] = replace(cast("Document", made[place]), body=answer.body, etag=None)
            included.approve(sum(document is not None for document in found))
            return found

        return await self._together(caller, name, Permission.CREATE, included, run)

    async def of_changed(
        self, caller: Caller, name: str, included: Included, write: Callable[[Caller], Awaitable[Changed]]
    ) -> tuple[Changed, int]:
        """The documents that `write` changes, which answers of each its key; and how many of them are answered."""

        async def run(inside: Caller) -> tuple[Changed, int]:
            changed = await write(inside)
            keys = self._keys(name, changed.body or "[]")
            found = await self._read(inside, name, Permission.UPDATE, included, keys)
            return self._listed(changed, found, included)

        return await self._together(caller, name, Permission.UPDATE, included, run)

    async def of_one(
        self, caller: Caller, name: str, key: tuple[str, ...], included: Included, write: Callable[[Caller], Awaitable[Document]]
    ) -> Document | None:
        """The one document that `write` changes, by its address; None where it lacks what an include requires."""

        async def run(inside: Caller) -> Document | None:
            await write(inside)
            plan = self._plan(inside, name, Permission.UPDATE, included.query)
            typed = tuple([coerce(part) for coerce, part in zip(plan.coercers[len(plan.coercers) - len(key) :], key, strict=True)])
            return (await self._read(inside, name, Permission.UPDATE, included, [typed]))[0]

        return await self._together(caller, name, Permission.UPDATE, included, run)

    async def of_deleted(self, caller: Caller, name: str, asked: Asked, included: Included, *, most: int | None) -> tuple[Changed, int]:
        """The documents that match, as they were with what was related to them before they were deleted.

        Raises:
            StaleSnapshot: inside of the caller's transaction, somebody else gave it a document to delete that it had not read.
        """

        async def run(inside: Caller) -> tuple[Changed, int]:
            keys = await self._matching(inside, name, asked)
            before: dict[Key, Document | None] = {}
            if most is None or len(keys) <= most:
                before = dict(zip(keys, await self._read(inside, name, Permission.DELETE, included, keys), strict=True))
            changed = await self._writes.delete_where(inside, name, asked, most=most, answer=True, wish=KEY_ALONE)
            deleted = self._keys(name, changed.body or "[]")
            if any(key not in before for key in deleted):
                raise StaleSnapshot("Documents that match were created while the call ran.", hint="Send it again.")
            return self._listed(changed, [before[key] for key in deleted], included)

        return await self._together(caller, name, Permission.DELETE, included, run, deleting=True)

    async def _together(
        self,
        caller: Caller,
        name: str,
        permission: Permission,
        included: Included,
        run: Callable[[Caller], Awaitable[T]],
        *,
        deleting: bool = False,
    ) -> T:
        """Write and read in one transaction. Nothing is written where the answer would be refused."""

        async def work(transaction: Transaction) -> T:
            self._plan(caller, name, permission, included.query)
            return await run(replace(caller, transaction=transaction))

        async def written() -> T:
            self._plan(caller, name, permission, included.query)
            isolation: Isolation = "repeatable_read" if deleting else "read_committed"
            return await together(caller, self._writes.engine_of(name), work, isolation=isolation, writer=deleting)

        return await self._documents.with_current_schema(caller, name, written)

    def _plan(self, caller: Caller, name: str, permission: Permission, query: ast.Query) -> Plan:
        """How a written document is read: by its key, which comes last of the values.

        The service's row filters do not hide what it wrote.
        """
        collection = self._writes.writable(caller, name)
        shape = (permission, query)
        found = self._plans.find(caller, collection, "written", shape)
        if found is not None:
            return cast("Plan", found)
        context = self._plans.context(caller, collection, permission)
        refuse_aggregates(query, collection)
        bound = self._plans.answered(context, query)
        embedded = self._plans.embedded(context, bound.query)
        key, coercers = self._plans.key_parameters(collection, len(bound.sources))
        scoped = tenancy.get_by_key(bound.query, key, context.rule, etag=False, embedded=embedded)
        lane = self._plans.compile(context, "get", scoped)
        plan = Plan(lane, collection, bound.sources, (*bound.coercers, *coercers), pattern=lane.operation)
        self._plans.keep(caller, collection, "written", shape, plan)
        return plan

    async def _read(
        self, inside: Caller, name: str, permission: Permission, included: Included, keys: Sequence[Key]
    ) -> Sequence[Document | None]:
        assert inside.transaction is not None, "what was written is read in the same transaction"
        plan = self._plan(inside, name, permission, included.query)
        shared = tuple(
            [coerce(included.values[source] if source >= 0 else None) for coerce, source in zip(plan.coercers, plan.sources, strict=False)]
        )
        calls = [Call((*shared, *key), inside.scope, inside.actor) for key in keys]
        if not calls:
            return ()
        answers = await inside.transaction.run_all(plan.lane.plan, calls, timeout=plan.lane.timeout)
        return cast("Sequence[Document | None]", answers)

    async def _matching(self, inside: Caller, name: str, asked: Asked) -> list[Key]:
        """The keys of the documents that a delete matches."""
        assert inside.transaction is not None, "what will be deleted is read in the same transaction"
        collection = self._writes.writable(inside, name)
        context = self._plans.context(inside, collection, Permission.DELETE)
        predicate, _, values = self._writes.where(context, only_filter(asked.parse()), asked, None)
        query = replace(self._plans.visible(context, KEY_ALONE), filter=predicate)
        plan = context.engine.compile(tenancy.export(query, context.rule))
        chunks: AsyncIterator[bytes] = inside.transaction.stream(plan, Call(values, inside.scope, inside.actor))
        return [self._key(name, line) for chunk in [chunk async for chunk in chunks] for line in chunk.decode().splitlines()]

    def _keys(self, name: str, body: str) -> list[Key]:
        collection = self._plans.collection(name)
        return [_typed(collection, item) for item in cast("list[dict[str, object]]", read_json(body))]

    def _key(self, name: str, body: str) -> Key:
        return _typed(self._plans.collection(name), cast("dict[str, object]", read_json(body)))

    @staticmethod
    def _listed(changed: Changed, found: Sequence[Document | None], included: Included) -> tuple[Changed, int]:
        texts = [document.body for document in found if document is not None]
        included.approve(len(texts))
        return Changed(changed.count, "[" + ",".join(texts) + "]"), len(texts)


def _typed(collection: Collection, members: dict[str, object]) -> Key:
    """The values of a key that was answered as JSON."""
    return tuple([json_coercer(field.type, field.name)(members[field.name]) for field in collection.key_fields])
