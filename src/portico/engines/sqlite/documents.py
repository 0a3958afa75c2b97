"""The JSON of a document: one `json_object` of the answered members, related documents inside of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from portico.engines.sql.predicates import Columns, Expression, nullable_key
from portico.engines.sqlite.grammar import Found, SqliteGrammar, text
from portico.engines.sqlite.statement import Binder
from portico.model.collection import Collection
from portico.model.field import Base, Field, FieldType
from portico.query.bound import BoundQuery, Embedded, Order, Output, Target

_MOST_MEMBERS = 60
"""A function of SQLite takes at most 127 arguments."""

MASK = "***"

_ONE: ColumnElement[Any] = sa.literal_column("1")
_TWO: ColumnElement[Any] = sa.literal_column("2")


def _known(rows: sa.Select[Any]) -> Expression:
    """The JSON that a sub-select gives, known as such again. By an operator, since a call takes more of the parser's stack."""
    return cast("Expression", rows.scalar_subquery().op("->")(text("$")))


Member = tuple[ColumnElement[Any], Expression]


class Documents:
    """Builds documents' JSON with one grammar, for one statement."""

    def __init__(self, grammar: SqliteGrammar, binder: Binder) -> None:
        self._grammar = grammar
        self._binder = binder

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
            elif output.query.outputs:
                members.append((sa.literal(output.name), self.related(output, columns)))
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
        """The members of a related document, each found by itself; of several, each in an array of its own."""
        found: list[Member] = []
        for place, (name, _) in enumerate(self._members(embedded.query, self._grammar.found(embedded, columns).columns)):
            related = self._grammar.found(embedded, columns)
            if embedded.relation.many:
                rows, theirs = self._cut(embedded.query, related)
                _, value = self._members(embedded.query, theirs)[place]
                found.append((name, self._array(rows, value)))
            else:
                # In an array of one, since JSON is known as such inside of a call.
                _, value = self._members(embedded.query, related.columns)[place]
                one = related.select(sa.func.json_array(value)).limit(_ONE).scalar_subquery()
                found.append((name, sa.func.json(sa.func.substr(one, _TWO, sa.func.length(one) - _TWO))))
        return found

    def related(self, embedded: Embedded, columns: Columns) -> Expression:
        """What is answered of related documents: an object or null, an array, or groups of them."""
        query = embedded.query
        if query.grouped:
            return self._grouped(embedded, columns)
        related = self._grammar.found(embedded, columns)
        if embedded.relation.many:
            rows, theirs = self._cut(query, related)
            return self._array(rows, self.body(query, theirs), whole=True)
        limit = self._binder(query.limit) if query.limit is not None else _ONE
        return _known(related.select(self.body(query, related.columns)).limit(limit))

    def _grouped(self, embedded: Embedded, columns: Columns) -> Expression:
        rows, limit = self._grammar.groups(embedded, columns), embedded.query.limit
        assert limit is not None, "groups have a limit"
        if embedded.relation.many:
            inner = rows.limit(self._binder(limit)).subquery(self._binder.alias("rows"))
            return self._array(inner, sa.func.json(inner.c.body))
        return _known(rows.limit(_ONE))

    def _cut(self, query: BoundQuery, related: Found) -> tuple[sa.Subquery, Columns]:
        """The related rows in their order, as many as are asked for, and their columns.

        What is made of a row is made of those alone, and outside: SQLite's parser goes no deeper than a hundred symbols.
        """
        assert query.limit is not None, "what leads to many documents has a limit"
        stored = [(name, column.label(f"c{place}")) for place, (name, column) in enumerate(related.columns.items())]
        rows = related.select(*(cast("Expression", column) for _, column in stored))
        rows = rows.order_by(*sort_keys(query.order, related.columns, self._grammar)).limit(self._binder(query.limit))
        inner = (rows if query.offset is None else rows.offset(self._binder(query.offset))).subquery(self._binder.alias("rows"))
        return inner, {name: cast("Expression", inner.c[column.name]) for name, column in stored}

    @staticmethod
    def _array(rows: sa.Subquery, value: Any, *, whole: bool = False) -> Expression:
        """A value of each row in an array. `whole` bodies may be put together of pieces, which are text."""
        shown = sa.func.json(value) if whole and not isinstance(value, sa.sql.functions.FunctionElement) else value
        return _known(sa.select(sa.func.json_group_array(shown)).select_from(rows))

    def record(self, collection: Collection, columns: Columns, *, masked: bool) -> Expression:
        """The whole row as JSON, by field names; with `masked`, hidden and encrypted fields are not told."""
        secret = collection.security.hidden | collection.security.encrypted if masked else frozenset()
        return join_members([(text(field.name), self._recorded(field, columns, field.name in secret)) for field in collection.fields])

    def _recorded(self, field: Field, columns: Columns, secret: bool) -> Expression:
        if secret:
            # IS NOT NULL is true of a NULL in RETURNING where the column before it may not be null (seen with SQLite 3.40).
            return sa.case((sa.func.typeof(columns[field.name]) != text("null"), text(MASK)))
        return self._grammar.output(Target(field, field.type), columns)


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
    as_stored = not (target.steps or target.cast or target.zone)
    return output.aggregate is None and as_stored and target.field is not None and output.name == target.field.name
