"""Companion rows of a change, written in the statement of the change itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import LateralFromClause

from portico.engines.postgres.statement import fixed
from portico.engines.sql.predicates import Columns, Grammar
from portico.model.collection import Collection
from portico.query.bound import Target
from portico.query.scoped import OwnerRule, ParentRule, ScopeRule, TenantRule

MASK: ColumnElement[Any] = sa.literal_column("'***'")
NULL_TEXT: ColumnElement[Any] = sa.literal_column("NULL::text")
_WHO = ("service", "client_id", "user_id", "correlation_id", "collection", "operation", "document_key", "document_client", "document_user")
AUDIT = sa.table("audit", *(sa.column(name) for name in (*_WHO, "before", "after")), schema="portico")
VERSIONS = sa.table("versions", *(sa.column(name) for name in (*_WHO, "version", "document")), schema="portico")


@dataclass(frozen=True, slots=True)
class Happened:
    """What companion rows say of a change, the same in each of them.

    Attributes:
        rows: what was changed, a row for each document. tables: more tables that the columns below refer to.
        operation: create, update or delete. actor: who asked, as `actor_columns` gives it. key: the document's key as text.
        whose: its client and user, as `whose_document` gives them.
    """

    rows: sa.FromClause
    tables: tuple[sa.FromClause, ...]
    collection: Collection
    operation: str | ColumnElement[Any]
    actor: list[ColumnElement[Any]]
    key: ColumnElement[Any]
    whose: tuple[ColumnElement[Any], ColumnElement[Any]]

    @property
    def columns(self) -> list[ColumnElement[Any]]:
        """The values of `_WHO`."""
        operation = sa.literal(self.operation, sa.Text) if isinstance(self.operation, str) else self.operation
        return [*self.actor, sa.literal(self.collection.name, sa.Text), operation, self.key, *self.whose]


def whose_document(
    rule: ScopeRule, columns: Columns, grammar: Grammar, *outer: sa.FromClause, depth: int = 0
) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """The client and the user that a document belongs to, as text: its own, or its owner's or parent's. `outer`: where `columns` are."""
    match rule:
        case TenantRule(name):
            return sa.cast(columns[name], sa.Text), NULL_TEXT
        case OwnerRule():
            source = grammar.table(rule.users, f"whose{depth}")
            owners = grammar.columns(rule.users, source)
            theirs = sa.select(sa.cast(owners[rule.user_client], sa.Text)).where(owners[rule.user_key] == columns[rule.field])
            return theirs.correlate(*outer).scalar_subquery(), sa.cast(columns[rule.field], sa.Text)
        case ParentRule(parent, local, foreign, above):
            source = grammar.table(parent, f"whose{depth}")
            parents = grammar.columns(parent, source)
            link = [parents[their] == columns[our] for our, their in zip(local, foreign, strict=True)]
            found = whose_document(above, parents, grammar, source, depth=depth + 1)
            client, user = (sa.select(part).select_from(source).where(*link).correlate(*outer).scalar_subquery() for part in found)
            return client, user
        case _:
            return NULL_TEXT, NULL_TEXT


def image(collection: Collection, columns: Columns, grammar: Grammar, outer: sa.FromClause, name: str = "image") -> LateralFromClause:
    """A row as the audit keeps it: every field, with the values of hidden and encrypted ones masked."""
    masked = collection.security.hidden | collection.security.encrypted
    members = []
    for field in collection.fields:
        shown: ColumnElement[Any] = grammar.output(Target(field, field.type), columns)
        if field.name in masked:
            shown = sa.case((columns[field.name].is_not(None), MASK))
        members.append(shown.label(field.name))
    return sa.select(*members).correlate(outer).lateral(name)


def key_text(collection: Collection, columns: Columns) -> ColumnElement[Any]:
    """A document's key as its address writes it: parts joined by a comma, each percent-encoded where it holds one."""
    parts = [_part(sa.cast(columns[name], sa.Text)) for name in collection.primary_key]
    joined = parts[0]
    for part in parts[1:]:
        joined = joined.op("||")(sa.literal_column("','")).op("||")(part)
    return joined


def _part(text: ColumnElement[Any]) -> ColumnElement[Any]:
    percent = sa.func.replace(text, sa.literal_column("'%'"), sa.literal_column("'%25'"))
    return sa.func.replace(percent, sa.literal_column("','"), sa.literal_column("'%2C'"))


def actor_columns(source: sa.FromClause | None) -> list[ColumnElement[Any]]:
    """Who made the change: from the joint statement's source, or of the one call."""
    if source is not None:
        return [source.c.service, source.c.actor_client, source.c.actor_user, source.c.correlation]
    return [fixed(name, sa.Text()) for name in ("service", "actor_client", "actor_user", "correlation")]


def audit_insert(happened: Happened, before: ColumnElement[Any] | None, after: ColumnElement[Any] | None) -> sa.CTE:
    """The CTE that writes an audit row for each changed document: its JSON before and after, hidden fields masked."""
    nothing = sa.cast(sa.null(), pg.JSONB)
    chosen = sa.select(
        *happened.columns,
        sa.cast(before, pg.JSONB) if before is not None else nothing,
        sa.cast(after, pg.JSONB) if after is not None else nothing,
    ).select_from(happened.rows, *happened.tables)
    return sa.insert(AUDIT).from_select([column.name for column in AUDIT.c], chosen).cte("audit_row")


def version_insert(happened: Happened, document: ColumnElement[Any] | None) -> sa.CTE:
    """The CTE that keeps a version of each changed document: its whole JSON, null where it was deleted.

    Who changes a document holds its lock since before this statement began, or else what another one kept meanwhile would not be seen
    here; two that number the same version all the same collide in the table's unique index, and one of them runs again.
    """
    kept = sa.table("versions", *(sa.column(name) for name in ("collection", "document_key", "version")), schema="portico").alias("kept")
    own = (kept.c.collection == sa.literal(happened.collection.name, sa.Text), kept.c.document_key == happened.key)
    last = sa.select(sa.func.max(kept.c.version)).where(*own).correlate_except(kept).scalar_subquery()
    number = sa.func.coalesce(last, sa.literal_column("0")) + sa.literal_column("1")
    whole = sa.cast(document if document is not None else sa.null(), pg.JSONB)
    chosen = sa.select(*happened.columns, number, whole).select_from(happened.rows, *happened.tables)
    return sa.insert(VERSIONS).from_select([column.name for column in VERSIONS.c], chosen).cte("version_row")
