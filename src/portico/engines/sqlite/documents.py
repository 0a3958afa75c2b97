"""The JSON of a document: one `json_object` of the answered members, related documents inside of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from portico.engines.sql.predicates import Columns, Condition, Expression, nullable_key, predicate
from portico.engines.sqlite.grammar import SqliteGrammar, text
from portico.engines.sqlite.scoping import Scoping
from portico.engines.sqlite.statement import Binder
from portico.errors import InvalidParameter
from portico.model.collection import Collection, Relation
from portico.model.field import Base, Field, FieldType
from portico.query.bound import BoundQuery, Embedded, Order, Output, Target

_MOST_MEMBERS = 60
"""A function of SQLite takes at most 127 arguments."""

MASK = "***"

Member = tuple[ColumnElement[Any], Expression]


class Documents:
    """Builds documents' JSON with one grammar, for one statement. `scoping` limits related documents; None where the scope is ``*``."""

    def __init__(self, grammar: SqliteGrammar, binder: Binder, scoping: Scoping | None = None) -> None:
        self._grammar = grammar
        self._binder = binder
        self._scoping = scoping

    def body(self, query: BoundQuery, columns: Columns) -> Expression:
        """The JSON object of one document."""
        return join_members(self._members(query, columns))

    def _members(self, query: BoundQuery, columns: Columns) -> list[Member]:
        members: list[Member] = []
        for output in query.outputs:
            if isinstance(output, Output):
                members.append((self._name(output.name, query.collection), self.value(output, columns)))
            elif output.spread:
                members.extend(self._spread(output, columns))
            else:
                members.append((sa.literal(output.name), self._embedded(output, columns)))
        return members

    @staticmethod
    def _name(name: str, collection: Collection) -> ColumnElement[Any]:
        # A name of the catalog's stands in the text; an alias is the caller's, and so a parameter.
        return text(name) if name in collection.by_name else sa.literal(name)

    def value(self, output: Output, columns: Columns) -> Expression:
        """One member's value, or an aggregate over it."""
        if output.aggregate is None:
            return self._grammar.output(output.target, columns)
        if output.aggregate == "count":
            is_star = output.target.field is None
            return cast("Expression", sa.func.count() if is_star else sa.func.count(self._grammar.comparable(output.target, columns)))
        value = self._grammar.comparable(output.target, columns)
        kind = output.target.type
        if output.cast is not None:
            read = sa.func.portico_cast(self.value(replace(output, cast=None), columns), text(output.cast.base.value))
            return self._grammar.shown(read, FieldType(output.cast.base))
        if output.aggregate == "avg":
            scale = kind.scale if kind.base is Base.DECIMAL and kind.scale else 0
            return self._grammar.shown(cast("Expression", sa.func.avg(value) / sa.literal_column(f"1e{scale}")), FieldType(Base.FLOAT))
        return self._grammar.shown(getattr(sa.func, output.aggregate)(value), kind)

    def _spread(self, embedded: Embedded, columns: Columns) -> list[Member]:
        found: list[Member] = []
        for output in embedded.query.outputs:
            if isinstance(output, Embedded):
                raise InvalidParameter("A spread relation cannot hold another relation.")
            source, theirs, conditions = self._joined(embedded, columns)
            query = sa.select(self.value(output, theirs)).select_from(source).where(*conditions).limit(sa.literal_column("1"))
            value = cast("Expression", query.scalar_subquery())
            is_json = output.target.type.base in {Base.JSON, Base.BOOLEAN, Base.FLOAT, Base.DECIMAL} or output.target.type.array
            found.append((sa.literal(output.name), sa.func.json(sa.func.json_quote(value)) if is_json else value))
        return found

    def _embedded(self, embedded: Embedded, columns: Columns) -> Expression:
        query = embedded.query
        source, theirs, conditions = self._joined(embedded, columns)
        body = self.body(query, theirs).label("body")
        rows = sa.select(body).select_from(source).where(*conditions)
        if not embedded.relation.many:
            return sa.func.json(rows.limit(sa.literal_column("1")).scalar_subquery())
        rows = rows.order_by(*sort_keys(query.order, theirs, self._grammar))
        if query.limit is not None:
            rows = rows.limit(self._binder(query.limit))
        if query.offset is not None:
            rows = rows.offset(self._binder(query.offset))
        # A subquery in FROM sees the outer row only where it is told to.
        inner = rows.correlate(table_of(columns)).subquery(self._binder.alias("rows"))
        every = sa.select(text("[").concat(sa.func.coalesce(sa.func.group_concat(inner.c.body, text(",")), text(""))).concat(text("]")))
        return sa.func.json(every.select_from(inner).scalar_subquery())

    def exists(self, embedded: Embedded, columns: Columns) -> Condition:
        """Whether there is a related document, for relations that are `inner`."""
        source, _, conditions = self._joined(embedded, columns)
        return sa.exists(sa.select(sa.literal_column("1")).select_from(source).where(*conditions))

    def _joined(self, embedded: Embedded, columns: Columns) -> tuple[sa.FromClause, Columns, list[Condition]]:
        relation, query = embedded.relation, embedded.query
        source: sa.FromClause = self._grammar.table(query.collection, self._binder.alias("r"))
        theirs = self._grammar.columns(query.collection, source)
        conditions: list[Condition] = []
        if relation.through is None:
            conditions += [theirs[foreign] == columns[local] for local, foreign in zip(relation.local, relation.foreign, strict=True)]
        else:
            source, joined = self._through(relation, source, theirs, columns)
            conditions += joined
        if self._scoping is not None:
            conditions += self._scoping.related(relation, query.collection, theirs)
        if query.filter is not None:
            conditions.append(predicate(query.filter, theirs, self._binder, self._grammar))
        conditions += [self.exists(item, theirs) for item in query.outputs if isinstance(item, Embedded) and item.inner]
        return source, theirs, conditions

    def _through(
        self, relation: Relation, source: sa.FromClause, theirs: Columns, columns: Columns
    ) -> tuple[sa.FromClause, list[Condition]]:
        assert relation.through is not None, "a many-to-many relation has its join collection"
        name, towards_this, towards_other = relation.through
        between = sa.table(name, *(sa.column(column) for column in {*towards_this, *towards_other})).alias(self._binder.alias("j"))
        reach = [between.c[column] == columns[local] for column, local in zip(towards_this, relation.local, strict=True)]
        meet = [between.c[column] == theirs[foreign] for column, foreign in zip(towards_other, relation.foreign, strict=True)]
        return source.join(between, sa.and_(*meet)), reach

    def record(self, collection: Collection, columns: Columns, *, masked: bool) -> Expression:
        """The whole row as JSON, by field names; with `masked`, hidden and encrypted fields are not told."""
        secret = collection.security.hidden | collection.security.encrypted if masked else frozenset()
        return join_members([(text(field.name), self._recorded(field, columns, field.name in secret)) for field in collection.fields])

    def _recorded(self, field: Field, columns: Columns, secret: bool) -> Expression:
        if secret:
            return sa.case((columns[field.name].is_not(None), text(MASK)))
        return self._grammar.output(Target(field, field.type), columns)


def table_of(columns: Columns) -> sa.FromClause:
    """The table, or alias of one, that columns are of."""
    table = cast("sa.ColumnClause[object]", next(iter(columns.values()))).table
    assert table is not None, "columns of a collection are of its table"
    return table


def sort_keys(order: Sequence[Order], columns: Columns, grammar: SqliteGrammar) -> list[Any]:
    """ORDER BY keys."""
    return [directed(grammar.comparable(item.target, columns), item, nullable=nullable_key(item)) for item in order]


def directed(key: Any, item: Order, *, nullable: bool) -> Any:
    """A sort key with its direction. SQLite's NULL is the smallest value, so where NULLs come is said but where that is wanted."""
    ordered = key.desc() if item.descending else key.asc()
    if not nullable or item.nulls_first is not item.descending:
        return ordered
    return ordered.nulls_first() if item.nulls_first else ordered.nulls_last()


def join_members(members: Sequence[Member]) -> Expression:
    """``json_object`` of the members, in pieces where there are more than one call of the function takes."""
    if len(members) <= _MOST_MEMBERS:
        return sa.func.json_object(*(part for member in members for part in member))
    pieces = [
        sa.func.json_object(*(part for member in members[at : at + _MOST_MEMBERS] for part in member))
        for at in range(0, len(members), _MOST_MEMBERS)
    ]
    whole: ColumnElement[Any] = text("{")
    for number, piece in enumerate(pieces):
        inside = sa.func.substr(piece, sa.literal_column("2"), sa.func.length(piece) - sa.literal_column("2"))
        whole = whole.concat(inside if number == 0 else text(",").concat(inside))
    return cast("Expression", whole.concat(text("}")))


def whole_row(collection: Collection, columns: Columns, grammar: SqliteGrammar) -> Expression:
    """The keyed hash of the whole stored row."""
    stored = [grammar.clean(columns[field.name]) for field in collection.fields]
    value: Expression = sa.func.portico_etag(*stored[:126])
    for at in range(126, len(stored), 125):
        value = sa.func.portico_etag(value, *stored[at : at + 125])
    return value


def records_everything(query: BoundQuery) -> bool:
    """Whether the answer shows each field as it is, so that it is also the row's record."""
    collection = query.collection
    secret = collection.security.hidden | collection.security.encrypted
    shown = [output.target.field for output in query.outputs if isinstance(output, Output) and _is_plain(output)]
    return not secret and len(shown) == len(query.outputs) and shown == list(collection.fields)


def _is_plain(output: Output) -> bool:
    target = output.target
    as_stored = not (target.steps or target.cast or target.own_moment)
    return output.aggregate is None and as_stored and target.field is not None and output.name == target.field.name
