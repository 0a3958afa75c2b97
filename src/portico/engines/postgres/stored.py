"""The schema documents that migrations keep in the database, for what its tables cannot say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import asyncpg

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    # Generic in the stubs only.
    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]

# A role that may not see the schema must not ask for the table by its name.
_READABLE = """
SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'portico' AND c.relname = 'collections'
               AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))"""
_MARK = "SELECT concat(count(*), '@', max(updated_at)) FROM portico.collections"
_DOCUMENTS = "SELECT document::text FROM portico.collections ORDER BY name"


async def stored_mark(connection: Connection) -> str:
    """A short text that changes when the documents do."""
    return str(await connection.fetchval(_MARK)) if await connection.fetchval(_READABLE) else ""


async def stored_documents(connection: Connection) -> tuple[Mapping[str, object], ...]:
    """The documents; none where no migration made the table."""
    if not await connection.fetchval(_READABLE):
        return ()
    return tuple(json.loads(row[0]) for row in await connection.fetch(_DOCUMENTS))
