"""A scope inside of a statement: the row-level-security settings, and the predicate that is the first lock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.sql.elements import ColumnElement

from portico.engines.postgres.statement import fixed
from portico.engines.postgres.types import Native, wire_type
from portico.engines.sql.predicates import Columns, Grammar
from portico.model.collection import Collection
from portico.model.field import Base
from portico.query.scoped import EverythingRule, OwnerRule, ParentRule, ScopeRule, SharedRule, TenantRule

NOBODY: ColumnElement[Any] = sa.literal_column("NULL::text")


JOINT_LOCK_TIMEOUT = "10ms"


def settings(kind: str, *, impatient: bool = False) -> sa.CTE:
    """The CTE `s` that sets the scope for this transaction, and gives `v`, on which what it guards depends.

    Only what this kind of scope has is set: outside of a transaction that somebody else began nothing else is, and inside of one
    `set_scope` comes first wherever the scope changes.

    Args:
        kind: a `Scope.kind`.
        impatient: wait for no lock longer than a few milliseconds: a joint write goes apart then, so that a lock delays one call alone.
    """
    wanted = ["all"] if kind == "all" else ["clients", "users"] if kind.endswith("+user") else ["clients"]
    on: ColumnElement[Any] = sa.literal_column("true")
    parts = [sa.func.set_config(sa.literal_column(f"'portico.{name}'"), fixed(f"set_{name}", sa.Text()), on) for name in wanted]
    if impatient:
        parts.append(sa.func.set_config(sa.literal_column("'lock_timeout'"), sa.literal_column(f"'{JOINT_LOCK_TIMEOUT}'"), on))
    value: ColumnElement[Any] = parts[0]
    for part in parts[1:]:
        value = value.op("||")(part)
    return sa.select(value.label("v")).cte("s").prefix_with("MATERIALIZED", dialect="postgresql")


@dataclass(frozen=True, slots=True)
class Whose:
    """Where a statement finds the scope of the call that it runs.

    Attributes:
        client, clients: one client's id, or an array of them; `clients` None where there is exactly one.
        users: an array of user ids, or None where the call acts for every user.
    """

    client: ColumnElement[Any] | None
    clients: ColumnElement[Any] | None
    user: ColumnElement[Any] | None = None
    users: ColumnElement[Any] | None = None

    def client_is(self, column: ColumnElement[Any], kind: sa.types.TypeEngine[Any] | None) -> ColumnElement[bool]:
        """Whether `column`, of the type `kind` (None is text), holds a client of the scope."""
        if self.clients is not None:
            value = sa.cast(self.clients, pg.ARRAY(kind)) if kind is not None else self.clients
            return column == sa.func.any(value)
        assert self.client is not None, "a scope has a client or clients"
        return column == (sa.cast(self.client, kind) if kind is not None else self.client)

    def user_is(self, column: ColumnElement[Any], kind: sa.types.TypeEngine[Any] | None) -> ColumnElement[bool] | None:
        """Whether `column` holds a user of the scope; None where the scope has no users."""
        if self.users is not None:
            return column == sa.func.any(sa.cast(self.users, pg.ARRAY(kind)) if kind is not None else self.users)
        if self.user is not None:
            return column == (sa.cast(self.user, kind) if kind is not None else self.user)
        return None


@dataclass(frozen=True, slots=True)
class EachWhose(Whose):
    """The scope of each call of a joint statement: its clients and users are columns. No users means every user."""

    def user_is(self, column: ColumnElement[Any], kind: sa.types.TypeEngine[Any] | None) -> ColumnElement[bool] | None:
        """Whether `column` holds a user of the scope, or the scope has none."""
        assert self.users is not None, "each call has a list of users"
        users = sa.cast(self.users, pg.ARRAY(kind)) if kind is not None else self.users
        return sa.or_(sa.func.cardinality(self.users) == sa.literal_column("0"), column == sa.func.any(users))


def whose(kind: str) -> Whose:
    """The scope of a statement that runs one call whose `Scope.kind` is `kind`."""
    single = kind.startswith("client+") or kind == "client"
    users = fixed("users", pg.ARRAY(sa.Text())) if kind.endswith("+user") else None
    if single:
        return Whose(fixed("client", sa.Text()), None, users=users)
    return Whose(None, fixed("clients", pg.ARRAY(sa.Text())), users=users)


@dataclass(slots=True)
class Guard:
    """What limits a table to a scope: more tables to join, conditions, and whose row it is, as text."""

    tables: list[sa.FromClause] = field(default_factory=list)
    conditions: list[ColumnElement[bool]] = field(default_factory=list)
    tenant: ColumnElement[Any] = NOBODY


def guard(rule: ScopeRule, collection: Collection, columns: Columns, scope: Whose, grammar: Grammar, depth: int = 0) -> Guard:
    """The conditions under which a row of `collection` is in `scope`."""
    match rule:
        case SharedRule() | EverythingRule():
            return Guard()
        case TenantRule(name):
            column = columns[name]
            return Guard([], [scope.client_is(column, _own_type(collection, name))], sa.cast(column, sa.Text))
        case OwnerRule():
            return _owned(rule, collection, columns, scope, grammar, depth)
        case ParentRule(parent, local, foreign, above):
            source = grammar.table(parent, f"parent{depth}")
            parents = grammar.columns(parent, source)
            outer = guard(above, parent, parents, scope, grammar, depth + 1)
            link = [parents[theirs] == columns[ours] for ours, theirs in zip(local, foreign, strict=True)]
            return Guard([source, *outer.tables], [*link, *outer.conditions], outer.tenant)


def _owned(rule: OwnerRule, collection: Collection, columns: Columns, scope: Whose, grammar: Grammar, depth: int) -> Guard:
    source = grammar.table(rule.users, f"owner{depth}")
    owners = grammar.columns(rule.users, source)
    conditions = [owners[rule.user_key] == columns[rule.field], scope.client_is(owners[rule.user_client], None)]
    mine = scope.user_is(cast("ColumnElement[Any]", columns[rule.field]), _own_type(collection, rule.field))
    if mine is not None:
        conditions.append(mine)
    return Guard([source], conditions, sa.cast(owners[rule.user_client], sa.Text))


def _own_type(collection: Collection, name: str) -> sa.types.TypeEngine[Any] | None:
    """The type that a scope's id is cast to for this field; None where the field is text."""
    kind = collection.by_name[name].type
    if kind.base in {Base.STRING, Base.TEXT}:
        return None
    return Native(kind.native) if kind.native else wire_type(kind)


def in_scope(
    rule: ScopeRule, collection: Collection, columns: Columns, scope: Whose, grammar: Grammar,
    ready: ColumnElement[Any], *outer: sa.FromClause,
) -> list[ColumnElement[bool]]:  # fmt: skip
    """Conditions that a row with these values, not yet stored, is in scope.

    Args:
        ready: the settings' value, on which look-ups in other tables wait. outer: the tables that `columns` and `ready` refer to.
    """
    limits = guard(rule, collection, columns, scope, grammar)
    return [_found(limits, ready, outer)] if limits.tables else limits.conditions


def _found(limits: Guard, ready: ColumnElement[Any], outer: tuple[sa.FromClause, ...]) -> ColumnElement[bool]:
    found: sa.Select[Any] = sa.select(sa.literal_column("1")).select_from(*limits.tables).where(ready.is_not(None), *limits.conditions)
    # OFFSET keeps the planner from making a join of it, which could look before the scope is set and then find nothing.
    return sa.exists(found.correlate(*outer).offset(sa.literal_column("0")))


def references_in_scope(
    references: tuple[ParentRule, ...], collection: Collection, columns: Columns, scope: Whose, grammar: Grammar,
    ready: ColumnElement[Any], *outer: sa.FromClause,
) -> list[ColumnElement[bool]]:  # fmt: skip
    """Conditions that what a row refers to is null or in scope; `ready` is the settings' value, on which each look-up waits."""
    found: list[ColumnElement[bool]] = []
    for rule in references:
        limits = guard(rule, collection, columns, scope, grammar)
        found.append(sa.or_(columns[rule.local[0]].is_(None), _found(limits, ready, outer)))
    return found


def fields_of_rule(rule: ScopeRule) -> frozenset[str]:
    """The fields that decide whose a row is."""
    match rule:
        case TenantRule(field) | OwnerRule(field):
            return frozenset({field})
        case ParentRule():
            return frozenset(rule.local)
    return frozenset()
