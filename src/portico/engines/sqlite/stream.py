"""Exports: the rows of one statement as NDJSON, a chunk at a time, each fetched in a thread when the one before was taken."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncGenerator
from typing import cast

from portico.engines.base import Call
from portico.engines.sqlite.connections import Lease
from portico.engines.sqlite.errors import is_unshowable, translate
from portico.engines.sqlite.perform import compare
from portico.engines.sqlite.plan import SqlitePlan
from portico.errors import StatementTimeout

CHUNK_BYTES = 256 * 1024
LIFE_SECONDS = 600.0


async def export_chunks(lease: Lease, plan: SqlitePlan, call: Call, *, inside: bool = False) -> AsyncGenerator[bytes, None]:
    """Chunks of whole lines. Nothing runs between them, so a consumer that stays away costs a snapshot and no memory.

    Args:
        inside: the connection's transaction is a caller's, and stays.
    Raises:
        StatementTimeout: it took longer than ten minutes in all. PorticoError of what SQLite reported.
    """
    end = time.monotonic() + LIFE_SECONDS
    cursor = _Rows(plan, call, inside=inside)
    try:
        while chunk := await lease.run(cursor.chunk, timeout=max(end - time.monotonic(), 0.001)):
            yield chunk
            if time.monotonic() > end:
                raise StatementTimeout("The export took longer than ten minutes.")
    except sqlite3.Error as error:
        raise translate(error, plan.collection) from error
    finally:
        cursor.close()


class _Rows:
    """The statement's rows. Where one cannot be shown plainly, the export begins anew, with care, behind those that were sent."""

    def __init__(self, plan: SqlitePlan, call: Call, *, inside: bool) -> None:
        self._inside = inside
        self._plan = plan
        self._call = call
        self._cursor: sqlite3.Cursor | None = None
        self._safe = False
        self._sent = 0

    def chunk(self, connection: sqlite3.Connection) -> bytes:
        """The next whole lines; nothing at the end."""
        try:
            return self._fetch(connection)
        except sqlite3.Error as error:
            if self._safe or not is_unshowable(error):
                raise
        self._safe, self._cursor = True, None
        return self._fetch(connection, skip=self._sent)

    def _fetch(self, connection: sqlite3.Connection, *, skip: int = 0) -> bytes:
        statements = self._plan.read(self._call.scope, safe=self._safe)
        assert statements.main is not None, "an export has a statement"
        if self._cursor is None:
            connection.text_factory = _readable if self._safe else str
            if not connection.in_transaction:
                connection.execute("BEGIN")
            self._cursor = connection.execute(statements.main.sql, statements.main.arguments(self._call.values, self._call.scope))
        for _ in range(skip):
            self._cursor.fetchone()
        lines: list[bytes] = []
        size = 0
        while size < CHUNK_BYTES:
            row = self._cursor.fetchone()
            if row is None:
                break
            compare(statements, (row[1],), self._call)
            line = cast("str", row[0]).encode()
            lines.append(line)
            size += len(line) + 1
        self._sent += len(lines)
        return b"".join([line + b"\n" for line in lines])

    def close(self) -> None:
        """Let go of the snapshot."""
        if self._cursor is not None:
            connection = self._cursor.connection
            self._cursor.close()
            connection.text_factory = str
            if connection.in_transaction and not self._inside:
                connection.execute("ROLLBACK")


def _readable(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
