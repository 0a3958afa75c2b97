"""Companion rows of a change, written in the statement of the change itself."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import LateralFromClause

from portico.engines.postgres.statement import fixed
from portico.engines.sql.predicates import Columns, Grammar
from portico.model.collection import Collection
from portico.query.bound import Target

MASK: ColumnElement[Any] = sa.literal_column("'***'")
AUDIT = sa.table(
    "audit",
    *(
        sa.column(name)
        for name in ("service", "client_id", "user_id", "correlation_id", "collection", "operation", "document_key", "before", "after")
    ),
    schema="portico",
)


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


def audit_insert(
    rows: sa.FromClause,
    collection: Collection,
    operation: str | ColumnElement[Any],
    *,
    actor: list[ColumnElement[Any]],
    key: ColumnElement[Any],
    before: ColumnElement[Any] | None,
    after: ColumnElement[Any] | None,
    tables: tuple[sa.FromClause, ...] = (),
) -> sa.CTE:
    """The CTE that writes one audit row for each of `rows`."""
    nothing = sa.cast(sa.null(), pg.JSONB)
    chosen = sa.select(
        *actor,
        sa.literal(collection.name, sa.Text),
        sa.literal(operation, sa.Text) if isinstance(operation, str) else operation,
        key,
        sa.cast(before, pg.JSONB) if before is not None else nothing,
        sa.cast(after, pg.JSONB) if after is not None else nothing,
    ).select_from(rows, *tables)
    return sa.insert(AUDIT).from_select([column.name for column in AUDIT.c], chosen).cte("audit_row")
