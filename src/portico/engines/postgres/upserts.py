"""The statement that creates documents or, where they are there already, changes or leaves them: for one call or for several."""

from __future__ import annotations

from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.sql.elements import ColumnElement

from portico.engines.postgres.companions import Happened, actor_columns, audit_insert, image, key_text, version_insert, whose_document
from portico.engines.postgres.creates import ACTOR, Creates, key_is_known
from portico.engines.postgres.reads import content_hash, entire, is_entire, parameters_of
from portico.engines.postgres.rows import ZERO, document_text, projection
from portico.engines.postgres.scoping import EachWhose, guard, settings
from portico.engines.postgres.statement import Statement, plain, statement
from portico.engines.sql.predicates import Columns, predicate
from portico.model.collection import Collection
from portico.query.scoped import Create


class Upserts(Creates):
    """Writes the statement of one `Create` with `on_conflict`.

    What is there is locked first, so that "before" is what was really changed, and the rest inserted where nobody else did so meanwhile
    (``DO NOTHING``). ``DO UPDATE`` would not do: it tells nothing of the row before, and fails on another tenant's where row-level
    security is on. A row that came to be meanwhile has no outcome; the caller of the statement runs it again, when it can be seen.
    """

    def upsert(self, plan: Create, kind: str, *, impatient: bool) -> Statement:
        """A statement for one call or more: a row (n, fits, found, done, body, etag, tenant, key) for each, in order.

        `fits`: it is in its call's scope. `found`: there was one, in scope. `done`: ``create``, ``update``, ``none`` where
        there was nothing to change, null where nothing was done.
        """
        ready = settings(kind, impatient=impatient)
        source = self._source(plan)
        fit = self._fitting(plan, source, ready)
        old = self._there(plan, source, ready)
        parts = [self._created(plan, source, fit, old)]
        if plan.resolution == "merge":
            parts.append(self._merged(plan, source, fit, old))
        touched = (sa.union_all(*parts) if len(parts) > 1 else parts[0]).cte("touched").prefix_with("MATERIALIZED", dialect="postgresql")
        made = self._written(plan, source, old, touched)
        tag = content_hash(made.c.body if "whole" not in made.c else made.c.whole, self.secret).label("etag")
        rows = source.outerjoin(fit, fit.c.n == source.c.n).outerjoin(old, old.c.n == source.c.n).outerjoin(made, made.c.n == source.c.n)
        members = [
            source.c.n, fit.c.n.is_not(None).label("fits"), old.c.n.is_not(None).label("found"), made.c.done, made.c.body, tag,
            made.c.tenant, made.c.key,
        ]  # fmt: skip
        final = sa.select(*members).select_from(rows).order_by(source.c.n)
        recorded = plan.audit or plan.versioned
        return statement(final.add_cte(*self._kept(plan, old, made)) if recorded else final, parameters_of(plan))

    def locking(self, plan: Create, kind: str) -> Statement:
        """Only lock what is there and may be changed. The transaction around it sets the scope."""
        source = self._source(plan)
        return statement(sa.select(self._there(plan, source, settings(kind)).c.n), parameters_of(plan))

    def _fitting(self, plan: Create, source: sa.CTE, ready: sa.CTE) -> sa.CTE:
        """The calls whose document is in their scope, and refers to nothing outside of it."""
        conditions = [*self._allowed(plan, source, ready), *self._refers(plan, source, ready, together=True)]
        chosen = sa.select(source.c.n).select_from(source, ready).where(ready.c.v.is_not(None), *conditions)
        return chosen.cte("fit").prefix_with("MATERIALIZED", dialect="postgresql")

    def _there(self, plan: Create, source: sa.CTE, ready: sa.CTE) -> sa.CTE:
        """What is there of the calls' documents, as far as it is in their scope; locked where it may be changed."""
        collection = plan.collection
        table = self.grammar.table(collection, "t")
        columns = self.grammar.columns(collection, table)
        # In the order of the unique values, in which everybody takes their locks: two calls with the same documents do not deadlock.
        calls = sa.select(source).order_by(*self._values(plan, source), source.c.n).offset(ZERO).subquery("calls")
        whose = EachWhose(None, sa.cast(calls.c.clients, pg.ARRAY(sa.Text)), users=sa.cast(calls.c.users, pg.ARRAY(sa.Text)))
        limits = guard(plan.rule, collection, columns, whose, self.grammar)
        conditions = [ready.c.v.is_not(None), *self._same(plan, calls, columns), *limits.conditions]
        if plan.mergeable is not None:
            conditions.append(predicate(plan.mergeable, columns, plain, self.grammar))
        members = [cast("Any", columns[field.name]).label(f"c_{field.name}") for field in collection.fields]
        chosen = sa.select(*members, limits.tenant.label("tenant")).select_from(table, *limits.tables).where(*conditions)
        chosen = chosen.correlate(ready, calls)
        if plan.resolution == "merge":
            chosen = chosen.with_for_update(of=table)
        # One look-up by the unique index for each call, once the scope is set.
        locked = chosen.offset(ZERO).lateral("r")
        found = sa.select(calls.c.n, *locked.c).select_from(ready, calls, locked)
        return found.cte("old").prefix_with("MATERIALIZED", dialect="postgresql")

    @staticmethod
    def _values(plan: Create, calls: sa.FromClause) -> list[ColumnElement[Any]]:
        """A call's unique values, but for those that the database itself makes."""
        return [calls.c[f"c_{name}"] for name in plan.on_conflict if f"c_{name}" in calls.c]

    def _same(self, plan: Create, calls: sa.FromClause, columns: Columns) -> list[ColumnElement[bool]]:
        """That a row has a call's unique values; never, where the database makes one of them."""
        values = self._values(plan, calls)
        if len(values) != len(plan.on_conflict):
            return [sa.false()]
        return [columns[name] == value for name, value in zip(plan.on_conflict, values, strict=True)]

    def _created(self, plan: Create, source: sa.CTE, fit: sa.CTE, old: sa.CTE) -> sa.Select[Any]:
        collection = plan.collection
        target = self._target(collection)
        given = [column.key.removeprefix("c_") for column in source.c if column.key.startswith("c_")]
        there = sa.exists(sa.select(sa.literal_column("1")).select_from(old).where(old.c.n == source.c.n).correlate(source))
        chosen = sa.select(*(source.c[f"c_{name}"] for name in given)).select_from(source.join(fit, fit.c.n == source.c.n)).where(~there)
        chosen = chosen.order_by(*self._values(plan, source), source.c.n)
        insert = pg_insert(target).from_select([collection.by_name[name].column for name in given], chosen)
        insert = insert.on_conflict_do_nothing(index_elements=[collection.by_name[name].column for name in plan.on_conflict])
        made = insert.returning(*self._columns(collection, target)).cte("ins")
        match = [made.c[f"c_{name}"] == source.c[f"c_{name}"] for name in collection.primary_key] if key_is_known(plan) else []
        return sa.select(source.c.n, sa.literal_column("'create'").label("done"), *made.c).select_from(made, source).where(*match)

    def _merged(self, plan: Create, source: sa.CTE, fit: sa.CTE, old: sa.CTE) -> sa.Select[Any]:
        collection = plan.collection
        if not plan.merge:
            kept = [old.c[f"c_{field.name}"] for field in collection.fields]
            joined = old.join(fit, fit.c.n == old.c.n)
            return sa.select(old.c.n, sa.literal_column("'none'").label("done"), *kept).select_from(joined)
        target = self._target(collection)
        values = {collection.by_name[name].column: source.c[f"c_{name}"] for name in plan.merge}
        match = [target.c[collection.by_name[name].column] == old.c[f"c_{name}"] for name in collection.primary_key]
        update = sa.update(target).values(values).where(*match, old.c.n == source.c.n, fit.c.n == source.c.n)
        changed = update.returning(source.c.n, *self._columns(collection, target)).cte("upd")
        rest = [changed.c[f"c_{field.name}"] for field in collection.fields]
        return sa.select(changed.c.n, sa.literal_column("'update'").label("done"), *rest)

    @staticmethod
    def _target(collection: Collection) -> sa.TableClause:
        return sa.table(collection.table, *(sa.column(field.column) for field in collection.fields), schema=collection.schema)

    @staticmethod
    def _columns(collection: Collection, target: sa.TableClause) -> list[ColumnElement[Any]]:
        return [target.c[field.column].label(f"c_{field.name}") for field in collection.fields]

    def _written(self, plan: Create, source: sa.CTE, old: sa.CTE, touched: sa.CTE) -> sa.CTE:
        """The written rows with their JSON, their hash and their tenant, and who asked for them."""
        collection = plan.collection
        columns = cast("Columns", {field.name: touched.c[f"c_{field.name}"] for field in collection.fields})
        row = projection(plan.answer, touched, columns, self.grammar)
        calls = touched.join(source, source.c.n == touched.c.n).outerjoin(old, old.c.n == touched.c.n)
        tables: list[sa.FromClause] = [calls, row]
        tenant = sa.func.coalesce(old.c.tenant, self._tenant(plan, source, columns))
        members = [touched.c.n, touched.c.done, *(source.c[label] for _, label in ACTOR), document_text(row).label("body")]
        members += [tenant.label("tenant"), key_text(collection, columns).label("key")]
        if not is_entire(plan.answer):
            tables.append(entire(collection, columns, self.grammar, touched))
            members.append(document_text(tables[-1]).label("whole"))
        if plan.audit or plan.versioned:
            client, user = whose_document(plan.belongs, columns, self.grammar, touched)
            members += [client.label("of_client"), user.label("of_user")]
        if plan.audit and not self._shows_all(plan):
            tables.append(image(collection, columns, self.grammar, touched))
            members.append(document_text(tables[-1]).label("after"))
        return sa.select(*members).select_from(*tables).cte("made").prefix_with("MATERIALIZED", dialect="postgresql")

    def _kept(self, plan: Create, old: sa.CTE, made: sa.CTE) -> list[sa.CTE]:
        """The companion rows: of what was created, and of what was changed with what it was before."""
        collection = plan.collection
        columns = cast("Columns", {field.name: old.c[f"c_{field.name}"] for field in collection.fields})
        kept = image(collection, columns, self.grammar, old, "before_image")
        before = sa.select(old.c.n, document_text(kept).label("image")).select_from(old, kept).cte("before")
        written = sa.select(made).where(made.c.done != sa.literal_column("'none'")).subquery("written")
        rows = written.outerjoin(before, before.c.n == written.c.n)
        whose = (written.c.of_client, written.c.of_user)
        happened = Happened(rows, (), collection, written.c.done, actor_columns(written), written.c.key, whose)
        inserts: list[sa.CTE] = []
        if plan.audit:
            inserts.append(audit_insert(happened, before.c.image, written.c.body if self._shows_all(plan) else written.c.after))
        if plan.versioned:
            inserts.append(version_insert(happened, written.c.whole if "whole" in written.c else written.c.body))
        return inserts
