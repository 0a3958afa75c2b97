"""Related documents inside of a statement: which they are, for one outer row, at every level limited to the scope."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import sqlalchemy as sa

from portico.engines.sql.embedding import Reaching
from portico.engines.sql.pipelines import Compiler, Rows
from portico.engines.sql.predicates import Columns, Condition, Expression, predicate, table_of
from portico.engines.sqlite.documents import Documents
from portico.engines.sqlite.grammar import Found, SqliteGrammar
from portico.engines.sqlite.pipelines import SqliteDialect
from portico.engines.sqlite.scoping import Scoping
from portico.engines.sqlite.statement import Binder
from portico.model.collection import Collection
from portico.model.scope import Scope
from portico.query.bound import Embedded
from portico.query.grouped import as_pipeline
from portico.query.scoped import Rules, ScopeRule

_ONE: Expression = sa.literal_column("1")


class EmbeddingGrammar(Reaching, SqliteGrammar):
    """SQLite's way of writing, for the statements of a plan that looks at related documents, which `rules` limit to `scope`."""

    def __init__(self, rules: Rules, scope: Scope, binder: Binder, *, safe: bool = False) -> None:
        super().__init__(safe=safe)
        self._rules = rules
        self._binder = binder
        self._scope = scope
        self._scoping = Scoping(scope, self, binder)

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

    def document(self, embedded: Embedded, columns: Columns) -> Expression:
        """What is answered of the related documents, as the text of its JSON."""
        return Documents(self, self._binder).related(embedded, columns)

    def groups(self, embedded: Embedded, columns: Columns) -> sa.Select[Any]:
        """The groups of the related documents, in order, each as its `body`."""
        pipeline = replace(as_pipeline(embedded.query), filter=None)
        dialect = _RelatedDialect(self, self._binder, self._scope, self.found(embedded, columns))
        rule = self._rules[pipeline.collection]
        rows = Compiler(pipeline, rule, (), dialect, prefix=f"{self._binder.alias('g')}_").answered(marked=False)
        return rows.add_cte(*dialect.made, nest_here=True)

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


class _RelatedDialect(SqliteDialect):
    """Expressions of groups of related documents, which are found already."""

    def __init__(self, grammar: EmbeddingGrammar, binder: Binder, scope: Scope, found: Found) -> None:
        super().__init__(grammar, binder, scope)
        self._found = found
        self.made: list[sa.CTE] = []

    def rows(self, collection: Collection, rule: ScopeRule, number: int) -> Rows:  # noqa: ARG002 - they are limited already
        """The related documents."""
        return Rows((self._found.source,), self._found.columns, tuple(self._found.conditions), cast("Expression", sa.null()))

    def within(self, query: sa.Select[Any]) -> sa.Select[Any]:
        """A query that looks at the outer row."""
        return query.correlate(self._found.outer)

    def named(self, query: sa.Select[Any], name: str) -> sa.CTE:
        """A common table expression of the sub-select itself: one at the top could not look at the outer row."""
        self.made.append(super().named(query, name))
        return self.made[-1]
