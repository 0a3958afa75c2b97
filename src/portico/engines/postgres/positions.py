"""Gives committed companion rows their positions: rounds of one statement each to read and to write, under an advisory lock.

Any process may do it, and nobody holds anything between two rounds: whoever sees that positions were given by another one begins anew at
the low-water mark, which is stored with the positions.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from portico.engines.postgres.pool import Connection
from portico.engines.postgres.trail import Snapshot, Trail
from portico.model.positions import AUDIT_KIND, FIRST_HASH, MARK_KIND, Advance, Chain

MOST_AT_ONCE = 2000
MARK_EVERY = 10_000
"""A new low-water mark is stored when it has risen by so many ids: what a successor reads again at most, but for long transactions."""

CONTENT = """sha256(convert_to(jsonb_build_array(r.id, (extract(epoch FROM r.at) * 1000000)::bigint, r.service, r.client_id, r.user_id,
 r.correlation_id, r.collection, r.operation, r.document_key, r.document_client, r.document_user, r.before,
 r.after)::text, 'UTF8'))"""
"""The SHA-256 of an audit row's content, by the database. Its transaction id is left out: a restored row has another."""

_LOOK = "SELECT pg_current_snapshot()::text AS now, coalesce((SELECT max(position) FROM portico.positions), 0) AS newest"
_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('portico.positions', 0))"
_BEGIN_ANEW = f"""SELECT coalesce((SELECT max(row_id) FROM portico.positions WHERE kind = '{MARK_KIND}'), 0) AS mark,
 (SELECT hash FROM portico.positions WHERE kind = '{AUDIT_KIND}' ORDER BY position DESC LIMIT 1) AS hash"""  # noqa: S608  # constants
# The subquery has a limit so that it stays a look into an index: an anti-join might be planned as one over both tables.
_READ = f"""WITH found AS MATERIALIZED (SELECT r.id, {CONTENT} AS content FROM portico.audit r WHERE r.id > $1 AND (
 SELECT true FROM portico.positions p WHERE p.kind = '{AUDIT_KIND}' AND p.row_id = r.id LIMIT 1) IS NULL ORDER BY r.id LIMIT $2)
SELECT pg_current_snapshot()::text AS now, array_agg(id ORDER BY id) AS ids, array_agg(content ORDER BY id) AS contents
FROM found"""  # noqa: S608  # constants
_WRITE = """INSERT INTO portico.positions (position, kind, row_id, hash)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bytea[])"""

Asking = Callable[[], AbstractAsyncContextManager[Connection]]


@dataclass(slots=True)
class _State:
    """What is known since the last round of ours: the newest position, the last hash, how far the rows were read, and the stored mark."""

    newest: int
    hash: bytes
    trail: Trail
    mark: int
    waiting: bool = True
    seen: Snapshot | None = None


class PostgresPositions:
    """Gives positions. It belongs to one task; `asking` gives a connection for one round."""

    def __init__(self, asking: Asking, chain: Chain) -> None:
        self._asking = asking
        self._chain = chain
        self._state: _State | None = None
        self._newest: int | None = None

    async def advance(self) -> Advance:
        """One round. An idle one costs a statement that reads no table but the end of an index."""
        state, self._state = self._state, None  # an error on the way leaves nothing that could be wrong
        async with self._asking() as connection:
            row = await connection.fetchrow(_LOOK)
            assert row is not None, "a query without a table has one row"
            newest, now = int(row["newest"]), Snapshot.parse(row["now"])
            others, self._newest = self._newest not in (None, newest), newest
            if others:
                return Advance(contested=True)
            if state is not None and not state.waiting and state.seen == now:
                self._state = state
                return Advance()
            async with connection.transaction():
                if not await connection.fetchval(_LOCK):
                    return Advance(contested=True)
                done, state = await self._round(connection, state)
        self._state = state
        if state is not None:
            self._newest = state.newest
        return done

    async def _round(self, connection: Connection, state: _State | None) -> tuple[Advance, _State | None]:
        """The lock is held: nobody else adds positions."""
        row = await connection.fetchrow(_LOOK)
        assert row is not None, "a query without a table has one row"
        if state is None or state.newest != row["newest"]:
            if self._newest != row["newest"]:
                return Advance(contested=True), None
            state = await self._begin_anew(connection, int(row["newest"]))
        now = Snapshot.parse(row["now"])
        ids, contents, more = await self._read(connection, state.trail, now)
        made = self._chain.links(state.hash, state.newest + 1, zip(ids, contents, strict=True))
        state.hash = made[-1] if made else state.hash
        hashes: list[bytes | None] = [*made]
        kinds, given, settled = [AUDIT_KIND] * len(ids), len(ids), state.trail.settled
        if settled - state.mark >= MARK_EVERY:
            kinds, ids, hashes, state.mark = [*kinds, MARK_KIND], [*ids, settled], [*hashes, None], settled
        if ids:
            await connection.execute(_WRITE, range(state.newest + 1, state.newest + 1 + len(ids)), kinds, ids, hashes)
        state.newest, state.waiting, state.seen = state.newest + len(ids), more, now
        return Advance(given, more), state

    @staticmethod
    async def _begin_anew(connection: Connection, newest: int) -> _State:
        row = await connection.fetchrow(_BEGIN_ANEW)
        assert row is not None, "a query without a table has one row"
        return _State(newest, row["hash"] or FIRST_HASH, Trail(int(row["mark"])), int(row["mark"]))

    @staticmethod
    async def _read(connection: Connection, trail: Trail, now: Snapshot) -> tuple[list[int], list[bytes], bool]:
        """The rows that have no position yet, in order of their ids; whether there may be more."""
        lower = trail.lower(now)
        row = await connection.fetchrow(_READ, lower, MOST_AT_ONCE)
        assert row is not None, "an aggregate has one row"
        ids: list[int] = row["ids"] or []
        full = len(ids) == MOST_AT_ONCE
        trail.read(lower, Snapshot.parse(row["now"]), ids[-1] if full else max([trail.high, *ids[-1:]]))
        return ids, row["contents"] or [], full
