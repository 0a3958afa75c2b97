"""Reads the companion records: audit rows, positions in their order, and changes for the feed."""

from __future__ import annotations

from collections.abc import Sequence

from portico.engines.postgres.positions import CONTENT, Asking, PostgresPositions
from portico.model.positions import AUDIT_KIND, MARK_KIND, AuditQuery, AuditRow, Chain, FeedPage, FeedRow, Placed

_AT = """to_char({0}.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
_AUDITED = f"""SELECT r.id, p.position, {_AT.format("r")} AS at, r.service, r.client_id, r.user_id, r.correlation_id, r.collection,
 r.operation, r.document_key, r.document_client, r.document_user, r.before::text AS before, r.after::text AS after
FROM portico.audit r LEFT JOIN portico.positions p ON p.kind = '{AUDIT_KIND}' AND p.row_id = r.id
WHERE {{}} ORDER BY r.id DESC LIMIT $1"""  # noqa: S608  # constants
_CONDITIONS = {
    "below": "r.id < ${0}",
    "collections": "r.collection = ANY(${0}::text[])",
    "clients": "(r.document_client = ANY(${0}::text[]) OR r.document_client IS NULL AND r.client_id = ANY(${0}::text[]))",
    "users": "(r.document_user IS NULL OR r.document_user = ANY(${0}::text[]))",
    **{name: f"r.{name} = ${{0}}" for name in ("document_key", "service", "client_id", "user_id", "operation", "correlation_id")},
    "since": "r.at >= ${0}",
    "until": "r.at < ${0}",
}
_PLACED = f"""SELECT p.position, p.kind, p.row_id, p.hash, CASE WHEN r.id IS NOT NULL THEN {CONTENT} END AS content
FROM (SELECT * FROM portico.positions WHERE position > $1 ORDER BY position LIMIT $2) p
LEFT JOIN portico.audit r ON p.kind = '{AUDIT_KIND}' AND r.id = p.row_id ORDER BY p.position"""  # noqa: S608  # constants
_LAST_HASH = f"""SELECT hash FROM portico.positions WHERE kind = '{AUDIT_KIND}' AND position <= $1
ORDER BY position DESC LIMIT 1"""  # noqa: S608  # constants
_SETTLED = f"SELECT coalesce(max(row_id), 0) FROM portico.positions WHERE kind = '{MARK_KIND}'"  # noqa: S608  # constants
_UNPLACED = f"""WITH part AS MATERIALIZED (SELECT id FROM portico.audit WHERE id > $1 ORDER BY id LIMIT $2)
SELECT ARRAY(SELECT id FROM part WHERE NOT EXISTS (
 SELECT FROM portico.positions p WHERE p.kind = '{AUDIT_KIND}' AND p.row_id = part.id) ORDER BY id), max(id) FROM part
"""  # noqa: S608  # constants
_CHANGES = f"""SELECT p.position, {_AT.format("r")} AS at, r.correlation_id, r.collection, r.operation, r.document_key,
 r.document_client, r.document_user, r.before::text AS before, r.after::text AS after, r.id IS NULL AS lost
FROM portico.positions p LEFT JOIN portico.audit r ON r.id = p.row_id
WHERE p.position > $1 AND p.position <= $2 AND p.kind = '{AUDIT_KIND}' AND (r.id IS NULL OR r.collection = ANY($3::text[]))
ORDER BY p.position"""  # noqa: S608  # constants
_AGED = f"""SELECT coalesce(extract(epoch FROM clock_timestamp() - (SELECT r.at FROM portico.audit r WHERE r.id = p.row_id)), 'infinity')
FROM portico.positions p WHERE p.position > $1 AND p.kind = '{AUDIT_KIND}' ORDER BY p.position LIMIT 1"""  # noqa: S608  # constants
_NEWEST = "SELECT coalesce(max(position), 0) FROM portico.positions"


class PostgresRecords:
    """The companion records of one database; `asking` gives a connection for one question."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def positions(self, chain: Chain) -> PostgresPositions:
        """What gives rows their positions."""
        return PostgresPositions(self._asking, chain)

    async def audited(self, query: AuditQuery) -> list[AuditRow]:
        """Audit rows, the newest first."""
        conditions, values = ["true"], list[object]()
        for name, condition in _CONDITIONS.items():
            value = getattr(query, name)
            if value is not None:
                values.append(list(value) if isinstance(value, tuple) else value)
                conditions.append(condition.format(len(values) + 1))
        async with self._asking() as connection:
            rows = await connection.fetch(_AUDITED.format(" AND ".join(conditions)), query.limit, *values)
        return [AuditRow(*row) for row in rows]

    async def placed(self, after: int, limit: int) -> list[Placed]:
        """The positions after one, in order."""
        async with self._asking() as connection:
            return [Placed(*row) for row in await connection.fetch(_PLACED, after, limit)]

    async def last_hash(self, position: int) -> bytes | None:
        """The hash of the last audit row at or before a position."""
        async with self._asking() as connection:
            found: bytes | None = await connection.fetchval(_LAST_HASH, position)
        return found

    async def newest_position(self) -> int:
        """The last position."""
        async with self._asking() as connection:
            return int(await connection.fetchval(_NEWEST))

    async def settled(self) -> int:
        """The stored low-water mark of the audit."""
        async with self._asking() as connection:
            return int(await connection.fetchval(_SETTLED))

    async def unplaced(self, after: int, limit: int) -> tuple[list[int], int | None]:
        """The ids of audit rows without a position, among the next rows."""
        async with self._asking() as connection:
            row = await connection.fetchrow(_UNPLACED, after, limit)
        assert row is not None, "an aggregate has one row"
        return row[0], row[1]

    async def changes(self, after: int, collections: Sequence[str], limit: int) -> FeedPage:
        """Changes of the next `limit` positions. What is seen of the positions has no gaps: rounds commit one after the other."""
        async with self._asking() as connection:
            until = min(after + limit, int(await connection.fetchval(_NEWEST)))
            rows = await connection.fetch(_CHANGES, after, until, list(collections)) if until > after else []
        found = tuple(FeedRow(*tuple(row)[:-1]) for row in rows if not row["lost"])
        return FeedPage(found, max(until, after), lost=any(row["lost"] for row in rows))

    async def aged(self, position: int) -> float | None:
        """How many seconds ago the first change after a position was made."""
        async with self._asking() as connection:
            age = await connection.fetchval(_AGED, position)
        return None if age is None else float(age)
