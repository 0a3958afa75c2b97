"""Idempotency keys on PostgreSQL: an advisory lock until the transaction ends, and the answers in `portico.idempotency`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg

from portico.engines.postgres.errors import reported
from portico.engines.postgres.statement import array_literal
from portico.errors import RequestInFlight, StaleSnapshot
from portico.model.idempotency import Answered, Kept, RequestKey, answer_from, headers_json
from portico.model.scope import Scope

if TYPE_CHECKING:
    from portico.engines.postgres.pool import Connection

_CLAIM = """
SELECT pg_try_advisory_xact_lock($1::bigint) AS mine, set_config('portico.clients', $2, true), set_config('portico.users', $3, true),
       set_config('portico.all', $4, true), k.request_hash, k.status, k.headers::text AS headers, k.body
FROM (SELECT) AS one
LEFT JOIN portico.idempotency AS k
  ON k.service = $5 AND k.tenant = $6 AND k.key = $7 AND k.created_at > now() - make_interval(secs => $8)"""

# A row that is too old to count is replaced; one that is not was stored by a transaction that ended after this one had looked.
_KEEP = """
INSERT INTO portico.idempotency AS k (service, tenant, key, request_hash, status, headers, body)
VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7)
ON CONFLICT (service, tenant, key) DO UPDATE
  SET request_hash = excluded.request_hash, status = excluded.status, headers = excluded.headers, body = excluded.body, created_at = now()
  WHERE k.created_at <= now() - make_interval(secs => $8)
RETURNING true"""

_FORGET = """
DELETE FROM portico.idempotency WHERE (service, tenant, key) IN (
  SELECT service, tenant, key FROM portico.idempotency
  WHERE created_at <= now() - make_interval(secs => $1) ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)
AND (SELECT pg_try_advisory_xact_lock($3::bigint))"""

_FORGETTING = 7_235_101_140_812
"""The advisory lock of whoever removes old answers: one node does it at a time."""


async def claim(connection: Connection, key: RequestKey, scope: Scope) -> Kept | None:
    """Lock the key, set the scope of the calls that follow, and give what is stored under the key: one round trip.

    The row is read in the snapshot of a moment before the lock. Where it was stored in between, `keep` finds out.
    """
    scoped = (array_literal(scope.clients), array_literal(scope.users), "on" if scope.everything else "")
    try:
        row = await connection.fetchrow(_CLAIM, key.lock, *scoped, key.service, key.tenant, key.key, key.life_seconds)
    except asyncpg.PostgresError as error:
        raise reported(error, None) from error
    assert row is not None, "the statement gives one row"
    if not row["mine"]:
        raise RequestInFlight("A request with this idempotency key is still running.", hint="Try again in a moment.")
    if row["request_hash"] is None:
        return None
    return Kept(row["request_hash"], answer_from(row["status"], row["headers"], row["body"]))


async def keep(connection: Connection, key: RequestKey, answer: Answered) -> None:
    """Store an answer."""
    values = (key.service, key.tenant, key.key, key.request_hash, answer.status, headers_json(answer), answer.body.decode())
    try:
        stored = await connection.fetchval(_KEEP, *values, key.life_seconds)
    except asyncpg.PostgresError as error:
        raise reported(error, None) from error
    if not stored:
        raise StaleSnapshot("Another request with this idempotency key came first.", hint="Try again.")


async def forget(connection: Connection, older_than: float, most: int) -> int:
    """Remove answers, oldest first; how many."""
    status = await connection.execute(_FORGET, older_than, most, _FORGETTING)
    return int(status.rpartition(" ")[2])
