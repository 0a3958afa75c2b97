"""What PostgreSQL says of itself, for reports and for the checks at start: sizes of tables, and a role that may too much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

from portico.engines.base import TableSize
from portico.engines.postgres.errors import LOST, lost

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    # Generic in the stubs only.
    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]

_SIZES = """
SELECT n.nspname AS schema, c.relname AS name, s.n_dead_tup AS dead, pg_total_relation_size(c.oid) AS bytes,
       CASE WHEN c.relkind = 'p' THEN NULL ELSE greatest(c.reltuples::bigint, s.n_live_tup) END AS rows
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
WHERE n.nspname = ANY ($1::text[]) AND c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition"""

_ROLE = "SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user"

# A member of the owner's role may alter the table and switch its policies off, if only after SET ROLE.
_OWNED = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY ($1::text[]) AND c.relkind IN ('r', 'p') AND pg_has_role(current_user, c.relowner, 'MEMBER')
ORDER BY 1 LIMIT 1"""


# A view runs with its owner's rights unless it is told otherwise, and so past the policies of what it reads.
_GUARDS = """
SELECT n.nspname AS schema, c.relname AS name, c.relkind IN ('v', 'm') AS is_view, c.relkind = 'm' AS is_kept,
       has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT') AS readable,
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             AND NOT has_column_privilege(c.oid, a.attnum, 'SELECT') ORDER BY a.attnum) AS unreadable,
       ARRAY(SELECT k.conname::text FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.conparentid = 0
             AND k.confdeltype <> 'a' AND k.confdeltype <> 'r' AND cardinality(k.conkey) > 1 ORDER BY k.conname) AS cascading,
       c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced,
       coalesce('security_invoker=true' = ANY (c.reloptions) OR 'security_invoker=on' = ANY (c.reloptions), false) AS invoker,
       (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid) AS policies,
       ARRAY(SELECT a.attname::text FROM pg_attribute a JOIN pg_collation k ON k.oid = a.attcollation
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT k.collisdeterministic ORDER BY a.attnum) AS loose,
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             AND a.attgenerated = '' AND NOT has_column_privilege(c.oid, a.attnum, 'INSERT, UPDATE') ORDER BY a.attnum) AS unwritable
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY ($1::text[]) AND c.relkind IN ('r', 'p', 'v', 'm') AND NOT c.relispartition"""


@dataclass(frozen=True, slots=True)
class Guards:
    """How a table or view is guarded.

    Attributes:
        is_kept: a materialized view. readable: the role may read some of it; unreadable: the columns that it may not.
        cascading: foreign keys of several columns that the database itself performs on a delete.
        enabled, forced: row-level security is on, and binds the owner too. policies: how many it has.
        invoker: a view runs with the rights of who asks.
        loose: columns whose collation takes different texts for equal. unwritable: columns that the role may neither insert nor update.
    """

    schema: str
    table: str
    is_view: bool
    is_kept: bool
    readable: bool
    unreadable: tuple[str, ...]
    cascading: tuple[str, ...]
    enabled: bool
    forced: bool
    policies: int
    invoker: bool
    loose: tuple[str, ...]
    unwritable: tuple[str, ...]


async def guards(connection: Connection, schemas: Sequence[str]) -> tuple[Guards, ...]:
    """How the tables and views of `schemas` are guarded. Raises DatabaseUnavailable."""
    try:
        rows = await connection.fetch(_GUARDS, list(schemas))
    except LOST as error:
        raise lost(error, writing=False) from error
    return tuple(
        Guards(
            row["schema"], row["name"], row["is_view"], row["is_kept"], row["readable"], tuple(row["unreadable"]), tuple(row["cascading"]),
            row["enabled"], row["forced"], row["policies"], row["invoker"],
            tuple(row["loose"]), tuple(row["unwritable"]),
        )
        for row in rows
    )  # fmt: skip


async def measure(connection: Connection, schemas: Sequence[str]) -> tuple[TableSize, ...]:
    """The sizes of the tables of `schemas`, from the statistics: rows are an estimate. Raises DatabaseUnavailable."""
    try:
        rows = await connection.fetch(_SIZES, list(schemas))
    except LOST as error:
        raise lost(error, writing=False) from error
    return tuple(TableSize(row["schema"], row["name"], row["rows"], row["bytes"], row["dead"]) for row in rows)


async def unsafe_reasons(connection: Connection, schemas: Sequence[str]) -> list[str]:
    """Why the role of this connection must not serve, a sentence each that says what to change. Raises DatabaseUnavailable."""
    try:
        role = await connection.fetchrow(_ROLE)
        owned = await connection.fetchval(_OWNED, [*schemas, "portico"])
    except LOST as error:
        raise lost(error, writing=False) from error
    if role is None:
        return []
    name = role["rolname"]
    if role["rolsuper"]:
        return [f"The role {name} is a superuser, whom row-level security does not bind: connect as an application role (appuser)."]
    reasons = []
    if role["rolbypassrls"]:
        reasons.append(f"The role {name} bypasses row-level security: ALTER ROLE {name} NOBYPASSRLS, or connect as appuser.")
    if owned is not None:
        reasons.append(f"The role {name} owns tables ({owned}), or is a member of who does: give them to appowner, and connect as appuser.")
    return reasons
