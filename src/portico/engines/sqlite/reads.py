"""Statements of reads: one document by its key, pages, counts and exports, each limited to a scope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa

from portico.engines.sql.predicates import Columns, Condition, Expression, keyset_branches, nullable_key, predicate
from portico.engines.sqlite.documents import Documents, directed, sort_keys, whole_row
from portico.engines.sqlite.embedding import EmbeddingGrammar
from portico.engines.sqlite.grammar import SqliteGrammar
from portico.engines.sqlite.scoping import Carried, Scoping
from portico.engines.sqlite.statement import Binder, Statement
from portico.model.collection import Collection
from portico.model.field import FieldType
from portico.model.scope import Scope
from portico.query.bound import BoundQuery, Parameter, Predicate
from portico.query.scoped import NO_RULES, Count, Export, GetByKey, ListPage, Rules, ScopeRule

BODY, CARRIED, ETAG = 0, 1, 2
"""Places of a document's parts in a row of `GetByKey`; a page's rows have the ordering values from 2 on."""


@dataclass(frozen=True, slots=True)
class ReadStatements:
    """What a read runs, for scopes of one kind.

    Attributes:
        main: the statement of documents (None for a count alone). total: the statement that counts all that match, if it was asked for.
        carried: what each row carries, to be compared with the call's scope.
        ordered: the types of the ordering values that follow, for the cursor. etag: whether rows have the content's hash.
        pairs: of an aggregation, what the smallest and largest carried values of each of its collections are compared with.
    """

    main: Statement | None
    total: Statement | None
    carried: Carried | None
    ordered: tuple[FieldType, ...] = ()
    etag: bool = False
    pairs: tuple[Carried | None, ...] = ()


class Source:
    """A collection's rows in scope: the table, its columns, and the conditions that every statement over it has."""

    def __init__(
        self,
        collection: Collection,
        rule: ScopeRule,
        scope: Scope,
        *,
        safe: bool = False,
        by_key: bool = False,
        bare: bool = False,
        embedded: Rules = NO_RULES,
    ) -> None:
        self.binder = Binder()
        self.grammar = EmbeddingGrammar(embedded, scope, self.binder, safe=safe) if embedded else SqliteGrammar(safe=safe)
        self.collection = collection
        self.table: sa.TableClause | sa.Alias = self.grammar.bare(collection) if bare else self.grammar.table(collection, "d")
        self.columns: Columns = self.grammar.columns(collection, self.table)
        scoping = self._scoping = Scoping(scope, self.grammar, self.binder)
        self.documents = Documents(self.grammar, self.binder)
        self.carried_kind = scoping.carried_kind(rule, collection)
        self.carried: Expression = scoping.carried(rule, collection, self.columns)
        within = scoping.predicate(rule, collection, self.columns, by_key=by_key)
        self.conditions: list[Condition] = [] if within is None else [within]

    def whose(self, rule: ScopeRule) -> tuple[Expression, Expression]:
        """The client and the user that a row belongs to by `rule`, as text."""
        parts = (self._scoping.carried(rule, self.collection, self.columns), self._scoping.owner(rule, self.collection, self.columns))
        client, user = (cast("Expression", sa.cast(part, sa.Text)) for part in parts)
        return client, user

    def filtered(self, node: Predicate | None) -> None:
        """Add a filter."""
        if node is not None:
            self.conditions.append(predicate(node, self.columns, self.binder, self.grammar))

    def keyed(self, key: Sequence[Parameter]) -> None:
        """Add the key's equality."""
        for field, parameter in zip(self.collection.key_fields, key, strict=True):
            self.conditions.append(self.grammar.compared(self.columns[field.name], field.type) == self.binder(parameter))

    def select(self, *values: Expression) -> sa.Select[Any]:
        """The rows in scope."""
        return cast("sa.Select[Any]", sa.select(*values).select_from(self.table).where(*self.conditions))


def compile_get(query: GetByKey, scope: Scope, *, safe: bool) -> ReadStatements:
    """One document by its key."""
    source = Source(query.query.collection, query.rule, scope, safe=safe, by_key=True, embedded=query.embedded)
    source.keyed(query.key)
    source.filtered(query.query.filter)
    values = [source.documents.body(query.query, source.columns), source.carried]
    if query.etag:
        values.append(whole_row(source.collection, source.columns, source.grammar))
    main = source.binder.statement(source.select(*values))
    return ReadStatements(main, None, source.carried_kind, etag=query.etag)


def compile_list(query: ListPage, scope: Scope, *, safe: bool) -> ReadStatements:
    """A page of documents, and one more row where more follow."""
    bound = query.query
    source = Source(bound.collection, query.rule, scope, safe=safe, embedded=query.embedded)
    source.filtered(bound.filter)
    keys = [source.grammar.comparable(item.target, source.columns) for item in bound.order]
    labelled = [cast("Expression", key.label(f"o{at}")) for at, key in enumerate(keys)]
    body = source.documents.body(bound, source.columns).label("body")
    rows = source.select(body, source.carried.label("carried"), *labelled)
    statement = _after_keyset(bound, source, rows) if bound.keyset is not None else _ordered(bound, source, rows)
    if bound.offset is not None:
        statement = statement.offset(source.binder(bound.offset))
    total = compile_count(Count(bound, query.rule, query.embedded), scope).total if bound.count is not None else None
    # Without a key nothing says which of equal rows come after a page: no cursor follows it.
    kinds = tuple(item.target.type for item in bound.order) if bound.collection.primary_key else ()
    return ReadStatements(source.binder.statement(statement), total, source.carried_kind, kinds)


def _limited(statement: Any, query: BoundQuery, source: Source) -> Any:
    return statement if query.limit is None else statement.limit(source.binder(query.limit) + sa.literal_column("1"))


def _ordered(query: BoundQuery, source: Source, rows: sa.Select[Any]) -> Any:
    return _limited(rows.order_by(*sort_keys(query.order, source.columns, source.grammar)), query, source)


def _after_keyset(query: BoundQuery, source: Source, rows: sa.Select[Any]) -> Any:
    """The rows after the keyset's: one limited range of an index for each equal prefix, put in order again."""
    assert query.keyset is not None, "only pages after the first have a keyset"
    order = sort_keys(query.order, source.columns, source.grammar)
    branches = keyset_branches(query.keyset, query.order, source.columns, source.binder, source.grammar)
    parts = [_limited(rows.where(branch).order_by(*order), query, source) for branch in branches]
    if not parts:
        return rows.where(sa.literal_column("0") == sa.literal_column("1"))
    if len(parts) == 1:
        return parts[0]
    every = sa.union_all(*(sa.select(part.subquery(source.binder.alias("b"))) for part in parts)).subquery("page")
    keys = [directed(every.c[f"o{at}"], item, nullable=nullable_key(item)) for at, item in enumerate(query.order)]
    return _limited(sa.select(every).order_by(*keys), query, source)


def compile_count(query: Count, scope: Scope) -> ReadStatements:
    """How many documents match."""
    source = Source(query.query.collection, query.rule, scope, embedded=query.embedded)
    source.filtered(query.query.filter)
    return ReadStatements(None, source.binder.statement(source.select(cast("Expression", sa.func.count()))), source.carried_kind)


def compile_export(query: Export, scope: Scope, *, safe: bool) -> ReadStatements:
    """Every document that matches, in order."""
    bound = query.query
    source = Source(bound.collection, query.rule, scope, safe=safe, embedded=query.embedded)
    source.filtered(bound.filter)
    rows = source.select(source.documents.body(bound, source.columns), source.carried).order_by(
        *sort_keys(bound.order, source.columns, source.grammar)
    )
    if bound.limit is not None:
        rows = rows.limit(source.binder(bound.limit))
    return ReadStatements(source.binder.statement(rows), None, source.carried_kind)
