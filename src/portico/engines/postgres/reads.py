"""Statements that read: by key, pages, counts and exports, for one call or for many that wait at the same moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import LateralFromClause

from portico.engines.postgres.embedding import among
from portico.engines.postgres.grammar import PostgresGrammar
from portico.engines.postgres.rows import ONE, ZERO, Frame, alone, document_text, projection
from portico.engines.postgres.scoping import Guard, Whose, guard, settings, whose
from portico.engines.postgres.statement import Statement, each, fixed, plain, statement
from portico.engines.postgres.types import typed
from portico.engines.sql.predicates import Columns, Grammar, keyset_ranges, nullable_key, ordering, predicate, row_comparison
from portico.model.collection import Collection, Relation
from portico.model.field import Field, FieldType
from portico.query.bound import BoundQuery, Output, Parameter, Target
from portico.query.scoped import CallFunction, Count, Export, GetByKey, ListPage, ScopedQuery, ScopeRule


def content_hash(whole: ColumnElement[Any], secret: bytes) -> ColumnElement[Any]:
    """The ETag: a keyed hash of the whole stored row, hidden fields too.

    Args:
        whole: the JSON text of every field, as `entire` gives it: it says every bit that is stored, whatever the session's settings,
            and is most often the answer itself.
    """
    return sa.func.md5(sa.literal(secret.hex(), sa.Text).op("||")(whole))


def entire(collection: Collection, columns: Columns, grammar: Grammar, outer: sa.FromClause, name: str = "entire") -> LateralFromClause:
    """Every field of a row, hidden ones too, as a row of its own, whose JSON the hash is of."""
    members = [grammar.output(Target(field, field.type), columns).label(field.name) for field in collection.fields]
    return sa.select(*members).correlate(outer).lateral(name)


def is_entire(query: BoundQuery) -> bool:
    """Whether the answer shows every field, plainly and in order, so that its JSON is the one that the hash is of."""
    fields = query.collection.fields
    plain_outputs = all(
        isinstance(output, Output) and output.name == field.name and output.target == Target(field, field.type) and output.aggregate is None
        for output, field in zip(query.outputs, fields, strict=False)
    )
    return plain_outputs and len(query.outputs) == len(fields)


class Source:
    """The calls of a joint statement as a table: their values, their client, and `n`, their place."""

    def __init__(self, parameters: Sequence[Parameter], kind: str) -> None:
        user = kind.endswith("+user")
        arrays = [each(parameter) for parameter in parameters] + [fixed("each_client", pg.ARRAY(sa.Text()))]
        names = [f"v{parameter.index}" for parameter in parameters] + ["client"]
        if user:
            arrays.append(fixed("each_user", pg.ARRAY(sa.Text())))
            names.append("usr")
        self.table = sa.func.unnest(*arrays).table_valued(*names, with_ordinality="n").render_derived(name="q")
        self.ready = settings(kind)
        self.frame = Frame(
            Whose(self.table.c.client, None, user=self.table.c.usr if user else None), self.bind, self.ready.c.v, (self.ready, self.table)
        )

    def bind(self, parameter: Parameter) -> Any:
        """A call's value of `parameter`."""
        return typed(self.table.c[f"v{parameter.index}"], parameter.type, many=False)


class Reads:
    """Writes the statements of one plan. `secret` keys the ETag."""

    def __init__(self, grammar: PostgresGrammar, secret: bytes) -> None:
        self.grammar = grammar
        self.secret = secret

    def table(self, collection: Collection) -> tuple[sa.FromClause, Columns]:
        """The collection's table as `t`, and its columns."""
        source = self.grammar.table(collection, "t")
        return source, self.grammar.columns(collection, source)

    # --- one document by key ---------------------------------------------------------------------------------------------

    def _get(self, plan: GetByKey, frame: Frame) -> LateralFromClause:
        table, columns = self.table(plan.query.collection)
        limits = guard(plan.rule, plan.query.collection, columns, frame.scope, frame.grammar)
        row = projection(plan.query, table, columns, frame.grammar)
        key = [columns[field.name] == frame.bind(value) for field, value in zip(plan.query.collection.key_fields, plan.key, strict=True)]
        members = [document_text(row).label("body"), limits.tenant.label("tenant")]
        tables: list[sa.FromClause] = [table, *limits.tables, row]
        if plan.etag and not is_entire(plan.query):
            tables.append(entire(plan.query.collection, columns, frame.grammar, table))
            members.append(document_text(tables[-1]).label("whole"))
        chosen = sa.select(*members).select_from(*tables).correlate(*frame.outer)
        return (
            chosen.where(frame.ready.is_not(None), *key, *limits.conditions, *self._filter(plan.query, columns, frame))
            .offset(ZERO)
            .lateral("r")
        )

    def get(self, plan: GetByKey, kind: str) -> Statement:
        """One call's statement: at most one row (body, etag, tenant)."""
        ready, frame = alone(kind)
        frame = among(plan.embedded, frame)
        found = self._get(plan, frame)
        return statement(sa.select(*self._document(plan, found)).select_from(ready, found), parameters_of(plan))

    def _document(self, plan: GetByKey, found: LateralFromClause) -> list[ColumnElement[Any]]:
        """The columns (body, etag, tenant) of a row that was found; its JSON is made once and hashed as it is."""
        tag: ColumnElement[Any] = sa.literal_column("NULL::text")
        if plan.etag:
            tag = content_hash(found.c.body if "whole" not in found.c else found.c.whole, self.secret)
        return [found.c.body, tag.label("etag"), found.c.tenant]

    def get_many(self, plan: GetByKey, kind: str) -> Statement:
        """The statement of many calls: rows (n, body, etag, tenant), none for a call that finds nothing."""
        calls = Source(parameters_of(plan), kind)
        found = self._get(plan, calls.frame)
        return statement(sa.select(calls.table.c.n, *self._document(plan, found)).select_from(calls.ready, calls.table, found))

    def get_each(self, plan: GetByKey, kind: str) -> Statement:
        """The statement of one caller's reads that differ in their keys: rows (n, body, etag, tenant), none for a key that is not there."""
        ready, frame = alone(kind)
        names = [f"v{parameter.index}" for parameter in plan.key]
        unnested = sa.func.unnest(*(each(parameter) for parameter in plan.key))
        keys = unnested.table_valued(*names, with_ordinality="n").render_derived(name="q")

        def bind(parameter: Parameter) -> Any:
            return typed(keys.c[f"v{parameter.index}"], parameter.type, many=False) if parameter in plan.key else plain(parameter)

        frame = among(plan.embedded, replace(frame, bind=bind, outer=(ready, keys)))
        found = self._get(plan, frame)
        return statement(sa.select(keys.c.n, *self._document(plan, found)).select_from(ready, keys, found), parameters_of(plan))

    # --- a page ----------------------------------------------------------------------------------------------------------

    def page(self, plan: ListPage, kind: str) -> Statement:
        """One call's statement: one row (body, count, last, tenants, total)."""
        ready, frame = alone(kind)
        frame = among(plan.embedded, frame)
        found = self._page(plan, frame)
        return statement(sa.select(*found.c).select_from(ready, found), parameters_of(plan))

    def page_many(self, plan: ListPage, kind: str) -> Statement:
        """The statement of many calls: one row each (n, body, count, last, tenants, total)."""
        calls = Source(parameters_of(plan), kind)
        found = self._page(plan, calls.frame)
        return statement(sa.select(calls.table.c.n, *found.c).select_from(calls.ready, calls.table, found))

    def _page(self, plan: ListPage, frame: Frame) -> LateralFromClause:
        query = plan.query
        assert query.limit is not None, "a page has a limit"
        limit = frame.bind(query.limit)
        rows = self._rows(query, plan.rule, frame).subquery("i")
        bodies = sa.func.array_agg(rows.c.body)
        joined = sa.func.array_to_string(slice_of(bodies, limit), sa.literal_column("','"))
        counted = sa.func.count()
        keys = [column.key for column in rows.c if column.key.startswith("k")]
        last_values = [_element(sa.func.array_agg(rows.c[name]), limit) for name in keys]
        last = (
            sa.case((counted > limit, sa.cast(sa.func.json_build_array(*last_values), sa.Text)))
            if keys
            else sa.literal_column("NULL::text")
        )
        total = (
            self._counted(query, plan.rule, frame, sa.func.count()).scalar_subquery()
            if query.count == "exact"
            else sa.literal_column("NULL::bigint")
        )
        found = sa.select(
            (sa.literal_column("'['").op("||")(sa.func.coalesce(joined, sa.literal_column("''"))).op("||")(sa.literal_column("']'"))).label(
                "body"
            ),
            sa.func.least(counted, limit).label("count"),
            last.label("last"),
            self._tenants(rows, frame.scope).label("tenants"),
            total.label("total"),
        )
        return found.select_from(rows).correlate(*frame.outer).lateral("r")

    @staticmethod
    def _tenants(rows: sa.Subquery, scope: Whose) -> ColumnElement[Any]:
        """Whose rows they are, for the comparison: the smallest and largest say all where there is one client."""
        tenant = rows.c.tenant.collate("C")
        if scope.clients is None:
            pair = pg.array([sa.func.min(tenant), sa.func.max(tenant)])
            return sa.cast(pair, pg.ARRAY(sa.Text))
        return sa.func.array_agg(sa.distinct(tenant))

    def _rows(self, query: BoundQuery, rule: ScopeRule, frame: Frame) -> sa.Select[Any]:
        """The rows of a page in order, and one more: body, tenant, and the values of each sort key."""
        table, columns = self.table(query.collection)
        limits = guard(rule, query.collection, columns, frame.scope, frame.grammar)
        conditions = [frame.ready.is_not(None), *limits.conditions, *self._filter(query, columns, frame)]
        chosen = self._chosen(query, table, columns, limits, frame.grammar).correlate(*frame.outer)
        if query.keyset is not None:
            single = row_comparison(query.keyset, query.order, columns, frame.bind, frame.grammar)
            if single is None:
                return self._ranges(query, chosen.where(*conditions), columns, frame)
            conditions.append(single)
        assert query.limit is not None, "a page has a limit"
        order = ordering(query.order, columns, frame.grammar, nullable_key)
        chosen = chosen.where(*conditions).order_by(*order).limit(frame.bind(query.limit) + ONE)
        return chosen.offset(frame.bind(query.offset)) if query.offset is not None else chosen

    def _chosen(self, query: BoundQuery, table: sa.FromClause, columns: Columns, limits: Guard, grammar: PostgresGrammar) -> sa.Select[Any]:
        row = projection(query, table, columns, grammar)
        ordered = query.order if pageable(query) else ()
        keys = [_sort_value(item.target, columns, grammar).label(f"k{place}") for place, item in enumerate(ordered)]
        members = [document_text(row).label("body"), limits.tenant.label("tenant"), *keys]
        return sa.select(*members).select_from(table, *limits.tables, row)

    def _ranges(self, query: BoundQuery, guarded: sa.Select[Any], columns: Columns, frame: Frame) -> sa.Select[Any]:
        """A page after a key, as index ranges, each sorted and limited, and sorted and limited again.

        One condition that says the same with OR reads every row before the page.
        """
        assert query.keyset is not None and query.limit is not None, "only pages after a key are made of ranges"  # noqa: PT018
        one_more = frame.bind(query.limit) + ONE
        sort = [frame.grammar.comparable(item.target, columns).label(f"o{place}") for place, item in enumerate(query.order)]
        guarded = guarded.add_columns(*sort)
        found = keyset_ranges(query.keyset, query.order, columns, frame.bind, frame.grammar) or [(sa.false(), query.order)]
        ranges = [
            sa.select(guarded.where(branch).order_by(*ordering(order, columns, frame.grammar, nullable_key)).limit(one_more).subquery())
            for branch, order in found
        ]
        both = sa.union_all(*ranges).subquery("ranges")
        again = []
        for place, item in enumerate(query.order):
            key = both.c[f"o{place}"].desc() if item.descending else both.c[f"o{place}"].asc()
            again.append(key.nulls_first() if item.nulls_first else key.nulls_last())
        names = [column.key for column in both.c if not column.key.startswith("o")]
        return sa.select(*(both.c[name] for name in names)).order_by(*again).limit(one_more).correlate(*frame.outer)

    def _filter(self, query: BoundQuery, columns: Columns, frame: Frame) -> list[ColumnElement[bool]]:
        return [predicate(query.filter, columns, frame.bind, frame.grammar)] if query.filter is not None else []

    # --- counts and exports ----------------------------------------------------------------------------------------------

    def _counted(self, query: BoundQuery, rule: ScopeRule, frame: Frame, what: ColumnElement[Any]) -> sa.Select[Any]:
        table, columns = self.table(query.collection)
        limits = guard(rule, query.collection, columns, frame.scope, frame.grammar)
        chosen = sa.select(what).select_from(table, *limits.tables).correlate(*frame.outer)
        return chosen.where(frame.ready.is_not(None), *limits.conditions, *self._filter(query, columns, frame))

    def count(self, plan: Count, kind: str) -> Statement:
        """One call's statement: one row with the number of documents."""
        ready, frame = alone(kind)
        frame = among(plan.embedded, frame)
        counted = self._counted(plan.query, plan.rule, frame, sa.func.count().label("count")).lateral("r")
        return statement(sa.select(counted.c["count"]).select_from(ready, counted), parameters_of(plan))

    def matching(self, plan: Count, kind: str) -> Statement:
        """A row for each document that matches. The transaction around it sets the scope."""
        frame = among(plan.embedded, Frame(whose(kind), plain, ONE, ()))
        return statement(self._counted(plan.query, plan.rule, frame, ONE), parameters_of(plan))

    def export(self, plan: Export, kind: str) -> Statement:
        """Rows (body, tenant) of all that match, for a cursor. The transaction around it sets the scope."""
        frame = among(plan.embedded, Frame(whose(kind), plain, ONE, ()))
        return statement(self._exported(plan, frame), parameters_of(plan))

    def _exported(self, plan: Export, frame: Frame) -> sa.Select[Any]:
        query = plan.query
        table, columns = self.table(query.collection)
        limits = guard(plan.rule, query.collection, columns, frame.scope, frame.grammar)
        row = projection(query, table, columns, frame.grammar)
        chosen = sa.select(document_text(row).label("body"), limits.tenant.label("tenant")).select_from(table, *limits.tables, row)
        chosen = chosen.where(*limits.conditions, *self._filter(query, columns, frame))
        return chosen.order_by(*ordering(query.order, columns, frame.grammar, nullable_key))


def _sort_value(target: Target, columns: Columns, grammar: PostgresGrammar) -> ColumnElement[Any]:
    """A sort key's value as the cursor keeps it: exactly as an answer would show it."""
    if target.steps or target.cast or target.field is None:
        return grammar.comparable(target, columns)
    return grammar.output(target, columns)


def pageable(query: BoundQuery) -> bool:
    """Whether a cursor can follow this order: it ends with the key."""
    own = [item.target for item in query.order if not item.target.within and not item.target.steps]
    names = {target.field.name for target in own if target.field is not None}
    return bool(query.collection.primary_key) and names >= set(query.collection.primary_key)


def slice_of(array: ColumnElement[Any], limit: ColumnElement[Any]) -> ColumnElement[Any]:
    """The first `limit` elements of an array."""
    return sa.func.trim_array(array, sa.cast(sa.func.greatest(sa.func.cardinality(array) - limit, ZERO), sa.Integer()))


def _element(array: ColumnElement[Any], place: ColumnElement[Any]) -> ColumnElement[Any]:
    return sa.type_coerce(array, pg.ARRAY(sa.Text))[sa.cast(place, sa.Integer)]


def parameters_of(plan: ScopedQuery | CallFunction) -> tuple[Parameter, ...]:
    """Every parameter of a plan, in the order of their values."""
    found: dict[int, Parameter] = {}
    _collect(plan, found)
    return tuple(found[index] for index in sorted(found))


def _collect(node: object, found: dict[int, Parameter]) -> None:
    """Walk a plan's own types; collections and rules hold no parameters."""
    if isinstance(node, Parameter):
        found[node.index] = node
    elif isinstance(node, tuple):
        for child in node:
            _collect(child, found)
    elif is_dataclass(node) and not isinstance(node, Collection | Field | Relation | FieldType):
        for member in fields(node):
            _collect(getattr(node, member.name), found)
