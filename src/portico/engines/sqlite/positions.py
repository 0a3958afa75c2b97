"""Gives committed companion rows their positions. With one writer at a time rows become visible in the order of their ids, so the last one
that has a position says where to go on."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from portico.engines.sqlite.connections import Lease, Threads
from portico.engines.sqlite.errors import translate
from portico.engines.sqlite.gate import WAIT_SECONDS, Gate, begin_immediate
from portico.model.companions import AUDIT, POSITIONS, for_sqlite
from portico.model.positions import AUDIT_KIND, FIRST_HASH, Advance, Chain

T = TypeVar("T")

AUDIT_TABLE, POSITIONS_TABLE = for_sqlite(AUDIT).table, for_sqlite(POSITIONS).table
MOST_AT_ONCE = 2000
HOLDER = "the sequencer"

CONTENT = """CAST(r.id AS BLOB), CAST(r.at AS BLOB), CAST(r.service AS BLOB), CAST(r.client_id AS BLOB), CAST(r.user_id AS BLOB),
 CAST(r.correlation_id AS BLOB), CAST(r.collection AS BLOB), CAST(r.operation AS BLOB), CAST(r.document_key AS BLOB),
 CAST(r.document_client AS BLOB), CAST(r.document_user AS BLOB), CAST(r.before AS BLOB), CAST(r.after AS BLOB)"""
"""The columns of an audit row `r` whose bytes are its content."""

_LOOK = f"""SELECT (SELECT coalesce(max(position), 0) FROM "{POSITIONS_TABLE}"), (SELECT coalesce(max(id), 0) FROM "{AUDIT_TABLE}"),
 (SELECT coalesce(max(row_id), 0) FROM "{POSITIONS_TABLE}" WHERE kind = '{AUDIT_KIND}')"""  # noqa: S608  # constants
# A `+` keeps SQLite from the index that begins with the kind, which almost every row shares: it would sort them all for the last one.
_HASH = f"""SELECT hash FROM "{POSITIONS_TABLE}" WHERE +kind = '{AUDIT_KIND}' ORDER BY position DESC LIMIT 1"""  # noqa: S608  # constants
_AUDIT = f'SELECT {CONTENT} FROM "{AUDIT_TABLE}" r WHERE r.id > ? ORDER BY r.id LIMIT {MOST_AT_ONCE}'  # noqa: S608  # constants
_NEWEST = f'SELECT coalesce(max(position), 0) FROM "{POSITIONS_TABLE}"'  # noqa: S608  # constants
_WRITE = f'INSERT INTO "{POSITIONS_TABLE}" (position, kind, row_id, hash) VALUES (?, ?, ?, ?)'  # noqa: S608  # constants

_Row = tuple[int, str, int, bytes]


def digest(values: Sequence[bytes | None]) -> bytes:
    """The SHA-256 of an audit row's content: each column by its length and bytes, so that no two rows have one text."""
    return hashlib.sha256(b"".join([b"-" if value is None else b"%d:%b" % (len(value), value) for value in values])).digest()


@dataclass(frozen=True, slots=True)
class _Found:
    """What waits for a position: the rows to write behind the position `newest`; `more` where there was more than one round takes."""

    newest: int
    rows: list[_Row]
    more: bool


class SqlitePositions:
    """Gives positions. It belongs to one task.

    Args:
        threads: the connections that the rounds use. gate: who may write. chain: links the audit rows.
    """

    def __init__(self, threads: Callable[[], Threads], gate: Gate, chain: Chain, *, timeout: float) -> None:
        self._threads = threads
        self._gate = gate
        self._chain = chain
        self._timeout = timeout
        self._newest: int | None = None

    async def advance(self) -> Advance:
        """One round: reads and hashes beside the writers, and is the writer only while it adds the positions."""
        threads = self._threads()
        lease = await threads.take(self._timeout)
        try:
            found = await lease.run(self._find, timeout=self._timeout)
            others, self._newest = self._newest not in (None, found.newest), found.newest
            if others:
                return Advance(contested=True)
            if not found.rows:
                return Advance()
            if not await write(lease, self._gate, lambda connection: _add(connection, found), self._timeout):
                return Advance(contested=True)
        except sqlite3.Error as error:
            raise translate(error) from error
        finally:
            threads.give_back(lease)
        self._newest = found.newest + len(found.rows)
        return Advance(len(found.rows), found.more)

    def _find(self, connection: sqlite3.Connection) -> _Found:
        newest, written, placed = connection.execute(_LOOK).fetchone()
        if self._newest not in (None, newest) or written <= placed:
            return _Found(newest, [], more=False)
        contents = [(int(row[0]), digest(row)) for row in connection.execute(_AUDIT, (placed,))]
        last = connection.execute(_HASH).fetchone()
        hashes = self._chain.links(last[0] if last is not None else FIRST_HASH, newest + 1, contents)
        rows = [(newest + at, AUDIT_KIND, contents[at - 1][0], made) for at, made in enumerate(hashes, start=1)]
        return _Found(newest, rows, more=len(rows) == MOST_AT_ONCE)


async def write(lease: Lease, gate: Gate, work: Callable[[sqlite3.Connection], T], timeout: float) -> T:
    """Do `work`, which commits or rolls back, as the writer. Raises Unavailable where others write for too long, and sqlite3.Error."""
    await gate.enter(HOLDER, WAIT_SECONDS)
    try:
        loop = asyncio.get_running_loop()
        await begin_immediate(lease.connection, loop.time() + WAIT_SECONDS, gate.taken)
        return await lease.run(work, timeout=timeout)
    finally:
        gate.leave()


def _add(connection: sqlite3.Connection, found: _Found) -> bool:
    """Write the positions; False where another process was faster."""
    if connection.execute(_NEWEST).fetchone()[0] != found.newest:
        connection.execute("ROLLBACK")
        return False
    connection.executemany(_WRITE, found.rows)
    connection.execute("COMMIT")
    return True
