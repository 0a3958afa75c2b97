"""Related documents inside of a statement: which they are, for one outer row, at every level limited to the scope."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import sqlalchemy as sa

from portico.engines.sql.predicates import Columns, Condition, Expression, predicate, table_of
from portico.engines.sqlite.grammar import Found, SqliteGrammar
from portico.engines.sqlite.scoping import Scoping
from portico.engines.sqlite.statement import Binder
from portico.model.collection import Collection
from portico.model.scope import Scope
from portico.query.bound import Embedded, Target
from portico.query.scoped import Rules

_ONE: Expression = sa.literal_column("1")


class EmbeddingGrammar(SqliteGrammar):
    """SQLite's way of writing, for the statements of a plan that looks at related documents, which `rules` limit to `scope`."""

    def __init__(self, rules: Rules, scope: Scope, binder: Binder, *, safe: bool = False) -> None:
        super().__init__(safe=safe)
        self._rules = rules
        self._binder = binder
        self._scoping = Scoping(scope, self, binder)

    def comparable(self, target: Target, columns: Columns) -> Expression:
        """The value of `target` as it is compared and sorted."""
        return self._reached(target, columns, super().comparable)

    def output(self, target: Target, columns: Columns) -> Expression:
        """The value of `target` as a member of `json_object`."""
        return self._reached(target, columns, super().output)

    def _reached(self, target: Target, columns: Columns, value: Callable[[Target, Columns], Expression]) -> Expression:
        if target.within is None:
            return value(target, columns)
        found = self.found(target.within, columns)
        inner = value(replace(target, within=None), found.columns)
        return cast("Expression", found.select(inner).limit(_ONE).scalar_subquery())

    def related(self, embedded: Embedded, columns: Columns) -> Condition:
        """Whether a row of `columns` has a related one, within the scope."""
        return sa.exists(self.found(embedded, columns).select(_ONE))

    def found(self, embedded: Embedded, columns: Columns) -> Found:
        """The documents that are related to a row of `columns`."""
        query, relation = embedded.query, embedded.relation
        source: sa.FromClause = self.table(query.collection, self._binder.alias("r"))
        theirs = self.columns(query.collection, source)
        conditions = self._within(query.collection, theirs)
        if relation.through is None:
            conditions += [theirs[foreign] == columns[local] for local, foreign in zip(relation.local, relation.foreign, strict=True)]
        else:
            source, links = self._joined(embedded, source, columns, theirs)
            conditions += links
        if query.filter is not None:
            conditions.append(predicate(query.filter, theirs, self._binder, self))
        return Found(theirs, source, conditions, table_of(columns))

    def _joined(
        self, embedded: Embedded, source: sa.FromClause, columns: Columns, theirs: Columns
    ) -> tuple[sa.FromClause, list[Condition]]:
        """The join collection's part: its documents are limited as any others are."""
        relation, join = embedded.relation, embedded.join
        assert relation.through is not None and join is not None, "a relation through a join collection has it"  # noqa: PT018
        _, towards_this, towards_other = relation.through
        table = self.table(join.collection, self._binder.alias("j"))
        between = self.columns(join.collection, table)
        conditions = self._within(join.collection, between)
        conditions += [between[name] == columns[local] for name, local in zip(towards_this, relation.local, strict=True)]
        meet = [between[name] == theirs[foreign] for name, foreign in zip(towards_other, relation.foreign, strict=True)]
        if join.filter is not None:
            conditions.append(predicate(join.filter, between, self._binder, self))
        return source.join(table, sa.and_(*meet)), conditions

    def _within(self, collection: Collection, columns: Columns) -> list[Condition]:
        limit = self._scoping.predicate(self._rules[collection], collection, columns, by_key=True)
        return [] if limit is None else [limit]
