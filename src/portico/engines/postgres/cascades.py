"""Deletes that reach further: what refers to the deleted documents goes first, each with its own companion rows.

A cascade of the database's own would leave its deletes without an audit row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import asyncpg
import sqlalchemy as sa

from portico.engines.base import Call
from portico.engines.postgres.changes import Changes
from portico.engines.postgres.compiled import PostgresPlan
from portico.engines.postgres.errors import reported
from portico.engines.postgres.statement import Statement, plain, statement
from portico.errors import PreconditionFailed, ReferencedDocument, TooManyAffected
from portico.model.collection import Collection
from portico.model.field import Base, FieldType
from portico.query.ast import Operator
from portico.query.bound import Comparison, Parameter, Target
from portico.query.scoped import Assignment, Cascade, Change, Delete, EverythingRule

if TYPE_CHECKING:
    from portico.engines.postgres.pool import Connection


class Cascading:
    """The cascades of one delete, in its open transaction, whose scope is set."""

    def __init__(self, connection: Connection, plan: PostgresPlan, call: Call, timeout: float | None) -> None:
        assert isinstance(plan.query, Delete), "only a delete cascades"
        self._connection = connection
        self._plan = plan
        self._query: Delete = plan.query
        self._call = call
        self._timeout = timeout
        self._touched = 0
        self._seen: set[tuple[object, ...]] = set()
        self._rules: dict[str, tuple[Cascade, ...]] = {self._query.collection.name: self._query.cascades}
        self._collect(self._query.cascades)

    def _collect(self, cascades: tuple[Cascade, ...]) -> None:
        for cascade in cascades:
            if cascade.cascades or cascade.child.name not in self._rules:
                self._rules[cascade.child.name] = cascade.cascades
                self._collect(cascade.cascades)

    async def run(self) -> None:
        """Lock what will be deleted, then deal with what refers to it.

        Raises:
            PreconditionFailed: the document is not the one that the caller named. ReferencedDocument: a reference restricts.
            TooManyAffected: it would touch more rows than allowed.
        """
        locking = Changes(self._plan.grammar, self._plan.secret).locking(self._query, self._call.scope.kind)
        rows = await self._fetch(locking, self._call, self._query.collection)
        etag = self._query.etag
        if etag is not None and rows and rows[0]["etag"] != self._call.values[etag.index]:
            raise PreconditionFailed("The document was changed since it was read.", hint="Read it again.")
        await self._below(self._query.collection, rows)

    async def _below(self, collection: Collection, rows: Sequence[asyncpg.Record]) -> None:
        """Deal with what refers to `rows` of `collection`."""
        new = [row for row in rows if self._is_new(collection, row)]
        for cascade in self._rules.get(collection.name, ()):
            # A reference names one field, so one list of values says which children refer to the rows.
            values = sorted({row[f"c_{cascade.local[0]}"] for row in new if row[f"c_{cascade.local[0]}"] is not None}, key=str)
            if values:
                await self._perform(cascade, values)

    def _is_new(self, collection: Collection, row: asyncpg.Record) -> bool:
        key = (collection.name, *(row[f"c_{name}"] for name in collection.primary_key))
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    async def _perform(self, cascade: Cascade, values: list[object]) -> None:
        child, name = cascade.child, cascade.foreign[0]
        call = replace(self._call, values=(values, None))
        children = await self._fetch(_children(self._plan, child, name), call, child)
        if not children:
            return
        if cascade.action == "restrict":
            raise ReferencedDocument(
                f"Documents of {child.name} refer to this one.", hint="Delete or change those first.", details={"collection": child.name}
            )
        self._touched += len(children)
        most = self._plan.most_cascaded
        if self._touched > most:
            raise TooManyAffected(f"The delete would touch more than {most} documents.", details={"max_affected": most})
        if cascade.action == "cascade":
            await self._below(child, children)
        await self._fetch(self._change(cascade), call, child)

    def _change(self, cascade: Cascade) -> Statement:
        field = cascade.child.by_name[cascade.foreign[0]]
        which = Comparison(Target(field, field.type), Operator.IN, Parameter(0, field.type, many=True))
        query: Change | Delete
        if cascade.action == "cascade":
            query = Delete(
                cascade.child, EverythingRule(), filter=which,
                audit=cascade.audit, versioned=cascade.versioned, belongs=cascade.belongs,
            )  # fmt: skip
        else:
            nothing = (Assignment(field.name, Parameter(1, field.type)),)
            query = Change(
                cascade.child, nothing, EverythingRule(), filter=which,
                audit=cascade.audit, versioned=cascade.versioned, belongs=cascade.belongs,
            )  # fmt: skip
        return Changes(self._plan.grammar, self._plan.secret).by_filter(query, "all")

    async def _fetch(self, text: Statement, call: Call, collection: Collection) -> list[asyncpg.Record]:
        try:
            return await self._connection.fetch(text.text, *text.bind([call]), timeout=self._timeout)
        except asyncpg.PostgresError as error:
            raise reported(error, collection, deleting=True) from error


def _children(plan: PostgresPlan, child: Collection, name: str) -> Statement:
    """The rows of `child` that refer to one of the values, locked."""
    table = plan.grammar.table(child, "t")
    columns = plan.grammar.columns(child, table)
    members = [columns[field.name].label(f"c_{field.name}") for field in child.fields if field.type.base is not Base.BINARY]
    kind: FieldType = child.by_name[name].type
    chosen = sa.select(*members).where(columns[name] == sa.func.any(plain(Parameter(0, kind, many=True))))
    return statement(chosen.with_for_update(of=table))
