"""The first lock: a scope's rule as a predicate of the statement, and the value that every row carries so that it can be compared again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa

from portico.engines.sql.predicates import Columns, Condition, Expression
from portico.engines.sqlite.grammar import SqliteGrammar
from portico.engines.sqlite.statement import Binder
from portico.engines.sqlite.storage import Stored, scope_value
from portico.model.collection import Collection
from portico.model.field import Base, FieldType
from portico.model.scope import Scope
from portico.query.scoped import OwnerRule, ParentRule, ScopeRule, TenantRule


@dataclass(frozen=True, slots=True)
class Carried:
    """What each row carries: the id of the client that it belongs to, itself or through its owner or parent."""

    kind: FieldType

    def allowed(self, scope: Scope) -> tuple[Stored, ...]:
        """The values that rows of this scope may carry, as they are stored."""
        if self.kind.base in {Base.STRING, Base.TEXT}:
            return scope.clients
        return tuple([value for value in [scope_value(self.kind, text) for text in scope.clients] if value is not None])


class Scoping:
    """One rule for scopes of one kind. `everything` scopes reach nothing here: their plans have another rule, so it fails closed."""

    def __init__(self, scope: Scope, grammar: SqliteGrammar, binder: Binder) -> None:
        self._users = bool(scope.users)
        self._one = len(scope.clients) == 1
        self._closed = scope.everything
        self._grammar = grammar
        self._binder = binder

    def carried_kind(self, rule: ScopeRule, collection: Collection) -> Carried | None:
        """What rows carry under `rule`; None where everybody sees every document."""
        match rule:
            case TenantRule(field):
                return Carried(collection.by_name[field].type)
            case OwnerRule():
                return Carried(rule.users.by_name[rule.user_client].type)
            case ParentRule():
                return self.carried_kind(rule.rule, rule.parent)
            case _:
                return None

    def predicate(self, rule: ScopeRule, collection: Collection, columns: Columns, *, by_key: bool) -> Condition | None:
        """The condition that limits `columns` to the scope. `by_key`: one row is looked at, so parents are looked up from it."""
        if self._closed and isinstance(rule, TenantRule | OwnerRule | ParentRule):
            return sa.literal_column("0") == sa.literal_column("1")
        match rule:
            case TenantRule(field):
                return self._clients(collection, field, columns)
            case OwnerRule():
                return self._owner(rule, collection, columns, by_key=by_key)
            case ParentRule():
                return self._parent(rule, collection, columns, by_key=by_key)
            case _:
                return None

    def _owner(self, rule: OwnerRule, collection: Collection, columns: Columns, *, by_key: bool) -> Condition:
        """Rows whose owner is a user of the scope's clients; with users in the scope, one of those."""
        owner = self._column(collection, rule.field, columns)
        users = self._source(rule.users, "u")
        theirs = self._grammar.columns(rule.users, users)
        key = self._column(rule.users, rule.user_key, theirs)
        conditions = [self._clients(rule.users, rule.user_client, theirs)]
        if self._users:
            conditions.append(self._among(key, self._binder.users(rule.users.by_name[rule.user_key].type)))
        if by_key:
            return sa.exists(sa.select(sa.literal_column("1")).select_from(users).where(key == owner, *conditions))
        return owner.in_(sa.select(key).where(*conditions))

    def _parent(self, rule: ParentRule, collection: Collection, columns: Columns, *, by_key: bool) -> Condition:
        parent = self._source(rule.parent, "p")
        theirs = self._grammar.columns(rule.parent, parent)
        inside = self.predicate(rule.rule, rule.parent, theirs, by_key=by_key)
        conditions = [] if inside is None else [inside]
        if len(rule.local) == 1 and not by_key:
            key = self._column(rule.parent, rule.foreign[0], theirs)
            return self._column(collection, rule.local[0], columns).in_(sa.select(key).where(*conditions))
        joined = self._joined(rule, collection, columns, theirs)
        return sa.exists(sa.select(sa.literal_column("1")).select_from(parent).where(*joined, *conditions))

    def _joined(self, rule: ParentRule, collection: Collection, columns: Columns, theirs: Columns) -> list[Condition]:
        return [
            self._column(rule.parent, foreign, theirs) == self._column(collection, local, columns)
            for foreign, local in zip(rule.foreign, rule.local, strict=True)
        ]

    def carried(self, rule: ScopeRule, collection: Collection, columns: Columns) -> Expression:
        """The value that a row carries, read from the stored rows; NULL without a rule."""
        match rule:
            case TenantRule(field):
                return self._column(collection, field, columns)
            case OwnerRule(field):
                owner = self._column(collection, field, columns)
                users = self._source(rule.users, "u")
                theirs = self._grammar.columns(rule.users, users)
                client = self._column(rule.users, rule.user_client, theirs)
                return _first(sa.select(client).where(self._column(rule.users, rule.user_key, theirs) == owner))
            case ParentRule():
                parent = self._source(rule.parent, "p")
                theirs = self._grammar.columns(rule.parent, parent)
                inner = self.carried(rule.rule, rule.parent, theirs)
                return _first(sa.select(inner).select_from(parent).where(*self._joined(rule, collection, columns, theirs)))
            case _:
                return cast("Expression", sa.null())

    def owner(self, rule: ScopeRule, collection: Collection, columns: Columns) -> Expression:
        """The user that a row belongs to, itself or through its parent; NULL without a rule about users."""
        match rule:
            case OwnerRule(field):
                return self._column(collection, field, columns)
            case ParentRule():
                parent = self._source(rule.parent, "p")
                theirs = self._grammar.columns(rule.parent, parent)
                inner = self.owner(rule.rule, rule.parent, theirs)
                return _first(sa.select(inner).select_from(parent).where(*self._joined(rule, collection, columns, theirs)))
            case _:
                return cast("Expression", sa.null())

    def _source(self, collection: Collection, prefix: str) -> sa.Alias:
        return self._grammar.table(collection, self._binder.alias(prefix))

    def _column(self, collection: Collection, field: str, columns: Columns) -> Expression:
        return self._grammar.compared(columns[field], collection.by_name[field].type)

    def _clients(self, collection: Collection, field: str, columns: Columns) -> Condition:
        kind = collection.by_name[field].type
        column = self._column(collection, field, columns)
        return column == self._binder.client(kind) if self._one else self._among(column, self._binder.clients(kind))

    @staticmethod
    def _among(column: Expression, values: Expression) -> Condition:
        each = sa.func.json_each(values).table_valued("value")
        return column.in_(sa.select(each.c.value))


def _first(query: sa.Select[Any]) -> Expression:
    return cast("Expression", query.limit(sa.literal_column("1")).scalar_subquery())
