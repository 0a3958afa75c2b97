"""Related documents inside of a statement: sub-selects at every level, each limited to the scope and waiting for its settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.sql.elements import ColumnElement

from portico.engines.postgres.grammar import PostgresGrammar
from portico.engines.postgres.pipelines import PostgresDialect
from portico.engines.postgres.rows import ONE, ZERO, Frame, members, projection, whole_row
from portico.engines.postgres.scoping import NOBODY, guard
from portico.engines.sql.embedding import Reaching
from portico.engines.sql.pipelines import Compiler, Rows
from portico.engines.sql.predicates import Columns, Condition, Expression, nullable_key, ordering, predicate, table_of
from portico.model.collection import Collection
from portico.query.bound import BoundQuery, Embedded
from portico.query.grouped import as_pipeline
from portico.query.scoped import Rules, ScopeRule

_JOIN = 16
"""From this depth on the tables that limit a join collection are named, so that they differ from those of what it joins."""


@dataclass(frozen=True, slots=True)
class _Found:
    """The documents that are related to one outer row: their table and columns, what stands beside it, and which they are."""

    table: sa.FromClause
    columns: Columns
    tables: list[sa.FromClause]
    conditions: list[ColumnElement[bool]]
    outer: tuple[sa.FromClause, ...]

    def select(self, *values: ColumnElement[Any], beside: tuple[sa.FromClause, ...] = ()) -> sa.Select[Any]:
        """Values of them; `beside` are tables that depend on theirs."""
        return sa.select(*values).select_from(*self.tables, *beside).where(*self.conditions).correlate(*self.outer)


class Embedding(Reaching, PostgresGrammar):
    """PostgreSQL's way of writing, for the statements of a plan that looks at related documents.

    Row-level security of their tables reads the settings that the statement itself makes, so each sub-select depends on these, and none
    is turned into a join, which could be read before.

    Args:
        rules: what limits each collection. frame: the statement's scope and values.
    """

    def __init__(self, rules: Rules, frame: Frame) -> None:
        self._rules = rules
        self._frame = frame
        self._numbers = count(1)

    def related(self, embedded: Embedded, columns: Columns) -> Condition:
        """Whether a row of `columns` has a related one, within the scope."""
        return sa.exists(self.found(embedded, columns).select(ONE).offset(ZERO))

    def embedded(self, embedded: Embedded, columns: Columns) -> list[Expression]:
        """The members that related documents are answered as."""
        if embedded.spread:
            return self._spread(embedded, columns)
        if not embedded.query.outputs:
            return []
        return [cast("Expression", self._answer(embedded, columns).label(embedded.name))]

    def document(self, embedded: Embedded, columns: Columns) -> Expression:
        """What is answered of the related documents, as one JSON value that can be compared."""
        return cast("Expression", sa.cast(self._answer(embedded, columns), pg.JSONB))

    def _answer(self, embedded: Embedded, columns: Columns) -> ColumnElement[Any]:
        return self._many(embedded, columns) if embedded.relation.many else self._one(embedded, columns)

    def _spread(self, embedded: Embedded, columns: Columns) -> list[Expression]:
        names = [member.name for member in members(embedded.query.outputs, self.found(embedded, columns).columns, self)]
        values: list[Expression] = []
        for place, name in enumerate(names):
            found = self.found(embedded, columns)
            member = members(embedded.query.outputs, found.columns, self)[place]
            if embedded.relation.many:
                value = cast("sa.Label[Any]", member).element
                rows = self._cut(embedded.query, found.select(sa.func.to_json(value).label("body")), found.columns)
                values.append(cast("Expression", self._array(rows).label(name)))
            else:
                values.append(cast("Expression", found.select(member).limit(ONE).scalar_subquery().label(name)))
        return values

    def _one(self, embedded: Embedded, columns: Columns) -> ColumnElement[Any]:
        query = embedded.query
        limit = self._frame.bind(query.limit) if query.limit is not None else ONE
        if query.grouped:
            return self._groups(embedded, columns).limit(limit).scalar_subquery()
        found = self.found(embedded, columns)
        row = projection(query, found.table, found.columns, self, self._name("x"))
        return found.select(whole_row(row), beside=(row,)).limit(limit).scalar_subquery()

    def _many(self, embedded: Embedded, columns: Columns) -> ColumnElement[Any]:
        query = embedded.query
        if query.grouped:
            assert query.limit is not None, "groups have a limit"
            return self._array(self._groups(embedded, columns).limit(self._frame.bind(query.limit)))
        found = self.found(embedded, columns)
        row = projection(query, found.table, found.columns, self, self._name("x"))
        return self._array(self._cut(query, found.select(whole_row(row).label("body"), beside=(row,)), found.columns))

    def _cut(self, query: BoundQuery, rows: sa.Select[Any], columns: Columns) -> sa.Select[Any]:
        """The rows in their order, as many as are asked for."""
        assert query.limit is not None, "what leads to many documents has a limit"
        rows = rows.order_by(*ordering(query.order, columns, self, nullable_key)).limit(self._frame.bind(query.limit))
        return rows.offset(self._frame.bind(query.offset)) if query.offset is not None else rows

    def _array(self, rows: sa.Select[Any]) -> ColumnElement[Any]:
        """The `body` of each row in an array."""
        every = rows.subquery(self._name("i"))
        # json_agg would put line breaks between its elements, which the lines of an export cannot hold.
        array = sa.func.array_to_json(sa.func.array_agg(every.c.body))
        return sa.select(sa.func.coalesce(array, sa.literal_column("'[]'::json"))).select_from(every).scalar_subquery()

    def _groups(self, embedded: Embedded, columns: Columns) -> sa.Select[Any]:
        """The groups of the related documents, in order: the `body` of each."""
        pipeline = replace(as_pipeline(embedded.query), filter=None)
        dialect = _RelatedDialect(self, self._frame, self.found(embedded, columns))
        compiler = Compiler(pipeline, self._rules[pipeline.collection], (), dialect, prefix=f"{self._name('g')}_")
        return compiler.answered(marked=False)

    def found(self, embedded: Embedded, columns: Columns) -> _Found:
        """The documents that are related to a row of `columns`, within the scope, as the include filters them."""
        query, relation, scope = embedded.query, embedded.relation, self._frame.scope
        table, theirs = self._table(query.collection)
        limits = guard(self._rules[query.collection], query.collection, theirs, scope, self)
        tables = [table, *limits.tables]
        conditions = [self._frame.ready.is_not(None), *limits.conditions]
        if relation.through is None:
            conditions += [theirs[foreign] == columns[local] for local, foreign in zip(relation.local, relation.foreign, strict=True)]
        else:
            joins, links = self._joined(embedded, columns, theirs)
            tables += joins
            conditions += links
        if query.filter is not None:
            conditions.append(predicate(query.filter, theirs, self._frame.bind, self))
        return _Found(table, theirs, tables, conditions, (table_of(columns), *self._frame.outer))

    def _joined(self, embedded: Embedded, columns: Columns, theirs: Columns) -> tuple[list[sa.FromClause], list[ColumnElement[bool]]]:
        """The join collection's part: its documents are limited as any others are."""
        relation, join = embedded.relation, embedded.join
        assert relation.through is not None and join is not None, "a relation through a join collection has it"  # noqa: PT018
        _, towards_this, towards_other = relation.through
        table, between = self._table(join.collection)
        limits = guard(self._rules[join.collection], join.collection, between, self._frame.scope, self, _JOIN)
        links = [between[name] == columns[local] for name, local in zip(towards_this, relation.local, strict=True)]
        links += [between[name] == theirs[foreign] for name, foreign in zip(towards_other, relation.foreign, strict=True)]
        if join.filter is not None:
            links.append(predicate(join.filter, between, self._frame.bind, self))
        return [table, *limits.tables], [*links, *limits.conditions]

    def _table(self, collection: Collection) -> tuple[sa.FromClause, Columns]:
        table = self.table(collection, self._name("r"))
        return table, self.columns(collection, table)

    def _name(self, prefix: str) -> str:
        return f"{prefix}{next(self._numbers)}"


class _RelatedDialect(PostgresDialect):
    """Expressions of groups of related documents, which are found already."""

    def __init__(self, grammar: Embedding, frame: Frame, found: _Found) -> None:
        super().__init__(grammar, frame)
        self._found = found

    def rows(self, collection: Collection, rule: ScopeRule, number: int) -> Rows:  # noqa: ARG002 - they are limited already
        """The related documents."""
        return Rows(tuple(self._found.tables), self._found.columns, tuple(self._found.conditions), cast("Expression", NOBODY))

    def within(self, query: sa.Select[Any]) -> sa.Select[Any]:
        """A query that looks at the outer row and the frame."""
        return query.correlate(*self._found.outer)


def among(rules: Rules, frame: Frame) -> Frame:
    """The frame of a plan whose related documents, if it has any, are limited by `rules`."""
    return replace(frame, grammar=Embedding(rules, frame)) if rules else frame
