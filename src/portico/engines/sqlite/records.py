"""Reads the companion records: audit rows, positions in their order, and changes for the feed."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from portico.engines.sql.types import stored_datetime
from portico.engines.sqlite.connections import Threads
from portico.engines.sqlite.errors import translate
from portico.engines.sqlite.gate import Gate
from portico.engines.sqlite.positions import AUDIT_TABLE, CONTENT, POSITIONS_TABLE, SqlitePositions, digest
from portico.model.positions import AUDIT_KIND, AuditQuery, AuditRow, Chain, FeedPage, FeedRow, Placed

T = TypeVar("T")

_AUDITED = f"""SELECT r.id, p.position, r.at, r.service, r.client_id, r.user_id, r.correlation_id, r.collection, r.operation,
 r.document_key, r.document_client, r.document_user, r.before, r.after
FROM "{AUDIT_TABLE}" r LEFT JOIN "{POSITIONS_TABLE}" p ON p.kind = '{AUDIT_KIND}' AND p.row_id = r.id
WHERE {{}} ORDER BY r.id DESC LIMIT ?1"""  # noqa: S608  # constants
_AMONG = "(SELECT value FROM json_each(?{0}))"
_CONDITIONS = {
    "below": "r.id < ?{0}",
    "collections": f"r.collection IN {_AMONG}",
    "clients": f"(r.document_client IN {_AMONG} OR r.document_client IS NULL AND r.client_id IN {_AMONG})",
    "users": f"(r.document_user IS NULL OR r.document_user IN {_AMONG})",
    **{name: f"r.{name} = ?{{0}}" for name in ("document_key", "service", "client_id", "user_id", "operation", "correlation_id")},
    "since": "r.at >= ?{0}",
    "until": "r.at < ?{0}",
}
_PLACED = f"""SELECT p.position, p.kind, p.row_id, CAST(p.hash AS BLOB), {CONTENT}
FROM (SELECT * FROM "{POSITIONS_TABLE}" WHERE position > ? ORDER BY position LIMIT ?) p
LEFT JOIN "{AUDIT_TABLE}" r ON p.kind = '{AUDIT_KIND}' AND r.id = p.row_id ORDER BY p.position"""  # noqa: S608  # constants
# A `+` keeps SQLite from the index that begins with the kind, which almost every row shares.
_LAST_HASH = f"""SELECT hash FROM "{POSITIONS_TABLE}" WHERE +kind = '{AUDIT_KIND}' AND position <= ?
ORDER BY position DESC LIMIT 1"""  # noqa: S608  # constants
_NEWEST = f'SELECT coalesce(max(position), 0) FROM "{POSITIONS_TABLE}"'  # noqa: S608  # constants
_SETTLED = f"""SELECT coalesce(max(row_id), 0) FROM "{POSITIONS_TABLE}" WHERE kind = '{AUDIT_KIND}'"""  # noqa: S608  # constants
_UNPLACED = f"""SELECT part.id, EXISTS (SELECT 1 FROM "{POSITIONS_TABLE}" p WHERE p.kind = '{AUDIT_KIND}' AND p.row_id = part.id)
FROM (SELECT id FROM "{AUDIT_TABLE}" WHERE id > ? ORDER BY id LIMIT ?) part"""  # noqa: S608  # constants
_CHANGES = f"""SELECT p.position, r.at, r.correlation_id, r.collection, r.operation, r.document_key, r.document_client, r.document_user,
 r.before, r.after, r.id IS NULL FROM "{POSITIONS_TABLE}" p LEFT JOIN "{AUDIT_TABLE}" r ON r.id = p.row_id
WHERE p.position > ? AND p.position <= ? AND +p.kind = '{AUDIT_KIND}' ORDER BY p.position"""  # noqa: S608  # constants
_AGED = f"""SELECT (SELECT r.at FROM "{AUDIT_TABLE}" r WHERE r.id = p.row_id) FROM "{POSITIONS_TABLE}" p
WHERE p.position > ? AND +p.kind = '{AUDIT_KIND}' ORDER BY p.position LIMIT 1"""  # noqa: S608  # constants


class SqliteRecords:
    """The companion records of one file.

    Args:
        threads: gives the connections for it; raises DatabaseUnavailable where the engine is closed. gate: who may write.
        timeout: seconds for a statement.
    """

    def __init__(self, threads: Callable[[], Threads], gate: Gate, *, timeout: float) -> None:
        self._threads = threads
        self._gate = gate
        self._timeout = timeout

    def positions(self, chain: Chain) -> SqlitePositions:
        """What gives rows their positions."""
        return SqlitePositions(self._threads, self._gate, chain, timeout=self._timeout)

    async def audited(self, query: AuditQuery) -> list[AuditRow]:
        """Audit rows, the newest first."""
        conditions, values = ["1"], list[object]([query.limit])
        for name, condition in _CONDITIONS.items():
            value = getattr(query, name)
            if value is not None:
                values.append(_stored(value))
                conditions.append(condition.format(len(values)))
        return [AuditRow(*row) for row in await self._fetch(_AUDITED.format(" AND ".join(conditions)), *values)]

    async def placed(self, after: int, limit: int) -> list[Placed]:
        """The positions after one, in order."""

        def read(connection: sqlite3.Connection) -> list[Placed]:
            rows = connection.execute(_PLACED, (after, limit))
            return [Placed(row[0], row[1], row[2], row[3], None if row[4] is None else digest(row[4:])) for row in rows]

        return await self._run(read)

    async def last_hash(self, position: int) -> bytes | None:
        """The hash of the last audit row at or before a position."""
        rows = await self._fetch(_LAST_HASH, position)
        return rows[0][0] if rows else None

    async def newest_position(self) -> int:
        """The last position."""
        return int((await self._fetch(_NEWEST))[0][0])

    async def settled(self) -> int:
        """The last audit row that has a position: with one writer at a time, those before it have theirs."""
        return int((await self._fetch(_SETTLED))[0][0])

    async def unplaced(self, after: int, limit: int) -> tuple[list[int], int | None]:
        """The ids of audit rows without a position, among the next rows."""
        rows = await self._fetch(_UNPLACED, after, limit)
        return [row[0] for row in rows if not row[1]], max((row[0] for row in rows), default=None)

    async def changes(self, after: int, collections: Sequence[str], limit: int) -> FeedPage:
        """Changes of the next `limit` positions."""
        until = min(after + limit, await self.newest_position())
        rows = await self._fetch(_CHANGES, after, until) if until > after else []
        wanted = frozenset(collections)
        found = tuple(FeedRow(*row[:-1]) for row in rows if row[3] in wanted)
        return FeedPage(found, max(until, after), lost=any(row[-1] for row in rows))

    async def aged(self, position: int) -> float | None:
        """How many seconds ago the first change after a position was made."""
        rows = await self._fetch(_AGED, position)
        if not rows or rows[0][0] is None:
            return float("inf") if rows else None
        return (dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(rows[0][0])).total_seconds()

    async def _fetch(self, text: str, *values: object) -> list[tuple[Any, ...]]:
        return await self._run(lambda connection: connection.execute(text, values).fetchall())

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await self._threads().run(work, timeout=self._timeout, wait=self._timeout)
        except sqlite3.Error as error:
            raise translate(error) from error


def _stored(value: object) -> object:
    """A condition's value as SQLite compares it: moments as the tables hold them, lists as JSON."""
    if isinstance(value, dt.datetime):
        return stored_datetime(value)
    return json.dumps(value) if isinstance(value, tuple) else value
