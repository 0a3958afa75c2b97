"""Statements that change or delete documents, by key or by filter, each with its companion rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from portico.engines.postgres.companions import Happened, actor_columns, audit_insert, image, key_text, version_insert, whose_document
from portico.engines.postgres.grammar import PostgresGrammar
from portico.engines.postgres.reads import content_hash, entire, parameters_of
from portico.engines.postgres.rows import ONE, ZERO, Frame, alone, document_text, projection
from portico.engines.postgres.scoping import fields_of_rule, guard, in_scope, references_in_scope, whose
from portico.engines.postgres.statement import Statement, plain, statement
from portico.engines.sql.predicates import Columns, predicate
from portico.query.scoped import Change, Delete


class Changes:
    """Writes the statements of one `Change` or `Delete` plan. `secret` keys the ETag."""

    def __init__(self, grammar: PostgresGrammar, secret: bytes) -> None:
        self.grammar = grammar
        self.secret = secret

    def by_key(self, plan: Change | Delete, kind: str, *, impatient: bool = False) -> Statement:
        """One round trip: at most one row (changed, body, etag, was, tenant, key); none where there is no such document in scope.

        `changed` is false where the row exists but its hash (`was`) is not the one that the caller named, or it would leave the scope.
        """
        ready, frame = alone(kind, impatient=impatient)
        old = self._locked(plan, frame)
        gate = sa.select(ready.c.v).scalar_subquery().is_not(None)
        new = self._applied(
            plan,
            old,
            [
                gate,
                *self._unchanged(plan, old),
                *self._stays(plan, old, kind, sa.select(ready.c.v).scalar_subquery()),
                *self._refers(plan, old, kind, sa.select(ready.c.v).scalar_subquery()),
            ],
        )
        final = self._answer(plan, old, new)
        return statement(self._with_companions(plan, old, new, final), parameters_of(plan))

    def by_filter(self, plan: Change | Delete, kind: str) -> Statement:
        """Every document that matches: rows (changed, body, etag, was, tenant, key). The transaction around it sets the scope."""
        frame = Frame(whose(kind), plain, ONE, ())
        old = self._locked(plan, frame)
        new = self._applied(plan, old, [*self._stays(plan, old, kind, ONE), *self._refers(plan, old, kind, ONE)])
        final = self._answer(plan, old, new)
        return statement(self._with_companions(plan, old, new, final), parameters_of(plan))

    def locking(self, plan: Change | Delete, kind: str) -> Statement:
        """Only lock the rows: every field as ``c_name``, `etag` and `tenant`. The transaction around it sets the scope."""
        old = self._locked(plan, Frame(whose(kind), plain, ONE, ()))
        return statement(sa.select(*old.c), parameters_of(plan))

    def _locked(self, plan: Change | Delete, frame: Frame) -> sa.CTE:
        """The rows before the change, locked: the change joins them, so "before" is what it really changed."""
        collection = plan.collection
        table = self.grammar.table(collection, "t")
        columns = self.grammar.columns(collection, table)
        limits = guard(plan.rule, collection, columns, frame.scope, self.grammar)
        conditions = [columns[field.name] == frame.bind(value) for field, value in zip(collection.key_fields, plan.key, strict=False)]
        if plan.filter is not None:
            conditions.append(predicate(plan.filter, columns, frame.bind, self.grammar))
        members = [cast("Any", columns[field.name]).label(f"c_{field.name}") for field in collection.fields]
        row = entire(collection, columns, self.grammar, table)
        tag = content_hash(document_text(row), self.secret)
        chosen = sa.select(*members, tag.label("etag"), limits.tenant.label("tenant"))
        chosen = chosen.select_from(table, *limits.tables, row).where(frame.ready.is_not(None), *limits.conditions, *conditions)
        chosen = chosen.correlate(*frame.outer).with_for_update(of=table)
        if plan.limit is not None:
            chosen = chosen.limit(frame.bind(plan.limit) + ONE)
        if not frame.outer:
            return chosen.cte("old").prefix_with("MATERIALIZED", dialect="postgresql")
        locked = chosen.offset(ZERO).lateral("r")
        return sa.select(*locked.c).select_from(*frame.outer, locked).cte("old").prefix_with("MATERIALIZED", dialect="postgresql")

    @staticmethod
    def _unchanged(plan: Change | Delete, old: sa.CTE) -> list[ColumnElement[bool]]:
        return [old.c.etag == plain(plan.etag)] if plan.etag is not None else []

    def _stays(self, plan: Change | Delete, old: sa.CTE, kind: str, ready: ColumnElement[Any]) -> list[ColumnElement[bool]]:
        """A change does not move a row out of its caller's scope: its new tenant, owner or parent is in it too."""
        given = {item.field: plain(item.value) for item in plan.assignments} if isinstance(plan, Change) else {}
        if not given.keys() & fields_of_rule(plan.rule):
            return []
        columns = {field.name: given.get(field.name, old.c[f"c_{field.name}"]) for field in plan.collection.fields}
        return in_scope(plan.rule, plan.collection, cast("Columns", columns), whose(kind), self.grammar, ready, old)

    def _refers(self, plan: Change | Delete, old: sa.CTE, kind: str, ready: ColumnElement[Any]) -> list[ColumnElement[bool]]:
        """What a change makes the row refer to must be in scope."""
        if not isinstance(plan, Change) or not plan.references:
            return []
        given = cast("Columns", {item.field: plain(item.value) for item in plan.assignments})
        return references_in_scope(plan.references, plan.collection, given, whose(kind), self.grammar, ready, old)

    def _applied(self, plan: Change | Delete, old: sa.CTE, conditions: list[ColumnElement[bool]]) -> sa.CTE:
        collection = plan.collection
        target = sa.table(collection.table, *(sa.column(field.column) for field in collection.fields), schema=collection.schema)
        match = [target.c[collection.by_name[name].column] == old.c[f"c_{name}"] for name in collection.primary_key]
        returned = [target.c[field.column].label(f"c_{field.name}") for field in collection.fields]
        if isinstance(plan, Delete):
            return sa.delete(target).where(*match, *conditions).returning(*returned).cte("new")
        values = {collection.by_name[item.field].column: plain(item.value) for item in plan.assignments}
        return sa.update(target).values(values).where(*match, *conditions).returning(*returned).cte("new")

    def _answer(self, plan: Change | Delete, old: sa.CTE, new: sa.CTE) -> sa.Select[Any]:
        collection = plan.collection
        columns = cast("Columns", {field.name: new.c[f"c_{field.name}"] for field in collection.fields})
        match = sa.and_(*(new.c[f"c_{name}"] == old.c[f"c_{name}"] for name in collection.primary_key))
        body: ColumnElement[Any] = sa.literal_column("NULL::text")
        tables: sa.FromClause = old.join(new, match, isouter=True)
        if plan.answer is not None:
            row = projection(plan.answer, new, columns, self.grammar)
            tables = tables.join(row, sa.true(), isouter=True)
            body = document_text(row)
        stored = entire(collection, columns, self.grammar, new, "stored")
        tables = tables.join(stored, sa.true(), isouter=True)
        tag = content_hash(document_text(stored), self.secret).label("etag")
        changed = new.c[f"c_{collection.primary_key[0]}"].is_not(None)
        key = key_text(collection, cast("Columns", {name: old.c[f"c_{name}"] for name in collection.primary_key}))
        members = [changed.label("changed"), body.label("body"), tag, old.c.etag.label("was"), old.c.tenant, key.label("key")]
        return sa.select(*members).select_from(tables)

    def _with_companions(self, plan: Change | Delete, old: sa.CTE, new: sa.CTE, final: sa.Select[Any]) -> sa.Select[Any]:
        if not (plan.audit or plan.versioned):
            return final
        collection = plan.collection
        before, after = (cast("Columns", {field.name: rows.c[f"c_{field.name}"] for field in collection.fields}) for rows in (old, new))
        match = sa.and_(*(new.c[f"c_{name}"] == old.c[f"c_{name}"] for name in collection.primary_key))
        deleted = isinstance(plan, Delete)
        was, now = (whose_document(plan.belongs, columns, self.grammar, old, new) for columns in (before, after))
        # A change that takes a document from its owner is still told to whom it was.
        whose = was if deleted else (sa.func.coalesce(now[0], was[0]), sa.func.coalesce(now[1], was[1]))
        happened = Happened(
            new.join(old, match), (), collection, "delete" if deleted else "update", actor_columns(None),
            key_text(collection, before), whose,
        )  # fmt: skip
        rows: list[sa.CTE] = []
        if plan.audit:
            first = image(collection, before, self.grammar, old, "before_image")
            then = None if deleted else image(collection, after, self.grammar, new, "after_image")
            tables: tuple[sa.FromClause, ...] = (first,) if then is None else (first, then)
            rows.append(audit_insert(replace(happened, tables=tables), document_text(first), None if then is None else document_text(then)))
        if plan.versioned:
            whole = None if deleted else entire(collection, after, self.grammar, new, "whole_image")
            tables = () if whole is None else (whole,)
            rows.append(version_insert(replace(happened, tables=tables), None if whole is None else document_text(whole)))
        return final.add_cte(*rows)
