"""The statement that changes many documents by their keys, each to values of its own, inside of a transaction that set the scope."""

from __future__ import annotations

from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from portico.engines.postgres.changes import Changes
from portico.engines.postgres.creates import sent, typed_value
from portico.engines.postgres.reads import content_hash, entire, parameters_of
from portico.engines.postgres.rows import ONE, ZERO, document_text
from portico.engines.postgres.scoping import fields_of_rule, guard, in_scope, references_in_scope, whose
from portico.engines.postgres.statement import Statement, plain, statement
from portico.engines.sql.predicates import Columns, predicate
from portico.query.scoped import Change


class BulkChanges(Changes):
    """Writes the statement of one `Change` by key for several calls of the same caller."""

    def by_keys(self, plan: Change, kind: str) -> Statement:
        """Rows (n, changed, body, etag, was, tenant, key) of the documents that are there, `n` being the place of their call."""
        calls = self._calls(plan)
        old = self._all_locked(plan, calls, kind)
        given = cast("Columns", {item.field: calls.c[f"v{item.value.index}"] for item in plan.assignments})
        new = self._all_applied(plan, calls, old, [*self._keep_scope(plan, given, old, calls, kind), calls.c.n == old.c.n])
        final = self._answer(plan, old, new).add_columns(old.c.n).order_by(old.c.n)
        return statement(self._with_companions(plan, old, new, final), parameters_of(plan))

    @staticmethod
    def _calls(plan: Change) -> sa.CTE:
        """The calls as rows, in the order of their keys, in which everybody takes their locks."""
        own = [*plan.key, *(item.value for item in plan.assignments), *([plan.etag] if plan.etag is not None else [])]
        names = [f"v{parameter.index}" for parameter in own]
        rows = sa.func.unnest(*(sent(parameter) for parameter in own)).table_valued(*names, with_ordinality="n").render_derived(name="q")
        values = [typed_value(rows.c[name], parameter.type).label(name) for name, parameter in zip(names, own, strict=True)]
        order: list[ColumnElement[Any]] = [sa.column(f"v{parameter.index}") for parameter in plan.key]
        chosen = sa.select(rows.c.n, *values).select_from(rows).order_by(*order)
        return chosen.cte("calls").prefix_with("MATERIALIZED", dialect="postgresql")

    def _all_locked(self, plan: Change, calls: sa.CTE, kind: str) -> sa.CTE:
        """The rows before the change, locked one after the other in the order of the calls."""
        collection = plan.collection
        table = self.grammar.table(collection, "t")
        columns = self.grammar.columns(collection, table)
        limits = guard(plan.rule, collection, columns, whose(kind), self.grammar)
        conditions = [columns[field.name] == calls.c[f"v{key.index}"] for field, key in zip(collection.key_fields, plan.key, strict=True)]
        if plan.filter is not None:
            conditions.append(predicate(plan.filter, columns, plain, self.grammar))
        members = [cast("Any", columns[field.name]).label(f"c_{field.name}") for field in collection.fields]
        row = entire(collection, columns, self.grammar, table)
        chosen = sa.select(*members, content_hash(document_text(row), self.secret).label("etag"), limits.tenant.label("tenant"))
        chosen = chosen.select_from(table, *limits.tables, row).where(*limits.conditions, *conditions)
        locked = chosen.correlate(calls).with_for_update(of=table).offset(ZERO).lateral("r")
        return sa.select(calls.c.n, *locked.c).select_from(calls, locked).cte("old").prefix_with("MATERIALIZED", dialect="postgresql")

    def _keep_scope(self, plan: Change, given: Columns, old: sa.CTE, calls: sa.CTE, kind: str) -> list[ColumnElement[bool]]:
        """No change moves a row out of its caller's scope or makes it refer to what is not in it; each has the hash that was named."""
        conditions: list[ColumnElement[bool]] = []
        if given.keys() & fields_of_rule(plan.rule):
            columns = {field.name: given.get(field.name, old.c[f"c_{field.name}"]) for field in plan.collection.fields}
            conditions += in_scope(plan.rule, plan.collection, cast("Columns", columns), whose(kind), self.grammar, ONE, old, calls)
        if plan.references:
            conditions += references_in_scope(plan.references, plan.collection, given, whose(kind), self.grammar, ONE, old, calls)
        if plan.etag is not None:
            conditions.append(old.c.etag == calls.c[f"v{plan.etag.index}"])
        return conditions

    @staticmethod
    def _all_applied(plan: Change, calls: sa.CTE, old: sa.CTE, conditions: list[ColumnElement[bool]]) -> sa.CTE:
        collection = plan.collection
        target = sa.table(collection.table, *(sa.column(field.column) for field in collection.fields), schema=collection.schema)
        match = [target.c[collection.by_name[name].column] == old.c[f"c_{name}"] for name in collection.primary_key]
        returned = [target.c[field.column].label(f"c_{field.name}") for field in collection.fields]
        values = {collection.by_name[item.field].column: calls.c[f"v{item.value.index}"] for item in plan.assignments}
        return sa.update(target).values(values).where(*match, *conditions).returning(*returned).cte("new")
