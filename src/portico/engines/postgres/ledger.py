"""The ledger of interactive transactions: what any node can say of one, even when the process that held it is gone.

A row is written outside of the transaction when it begins, so that it is seen at once, and holds the number that the server gave the
transaction: whether that was committed, the server knows by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from portico.engines.base import LedgerEntry, LedgerState

if TYPE_CHECKING:
    from portico.engines.postgres.pool import Connection

_BEGIN = "INSERT INTO portico.ledger (transaction_id, xid, service, holder) VALUES ($1, $2::text::xid8, $3, $4)"
_END = "UPDATE portico.ledger SET state = $2, reason = $3, ended_at = clock_timestamp() WHERE transaction_id = $1"
_ASK = "SELECT state, reason, CASE WHEN state IS NULL THEN pg_xact_status(xid) END AS status FROM portico.ledger WHERE transaction_id = $1"
_FORGET = "DELETE FROM portico.ledger WHERE begun_at < now() - make_interval(secs => $1)"

_BY_STATUS = {
    "committed": LedgerState("committed", "committed"),
    "aborted": LedgerState("rolled_back", "holder_lost"),
    "in progress": LedgerState("started"),
}


async def record_begin(connection: Connection, entry: LedgerEntry, number: str) -> None:
    """Record a transaction and its number at the server."""
    await connection.execute(_BEGIN, entry.id, number, entry.service, entry.holder)


async def record_end(connection: Connection, entry: LedgerEntry, state: str, reason: str) -> None:
    """Record how it ended."""
    await connection.execute(_END, entry.id, state, reason)


async def recorded(connection: Connection, id: UUID) -> LedgerState | None:  # noqa: A002 - what it is called everywhere
    """What its holder recorded, else what the server knows; None where there is no such row."""
    row = await connection.fetchrow(_ASK, id)
    if row is None:
        return None
    if row["state"] is not None:
        return LedgerState(row["state"], row["reason"])
    return _BY_STATUS.get(row["status"], LedgerState("unknown", "too_long_ago"))


async def forget_ended(connection: Connection, seconds: float) -> None:
    """Remove the rows of transactions that began longer ago."""
    await connection.execute(_FORGET, seconds)
