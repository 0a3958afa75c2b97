"""The ledger of interactive transactions in an SQLite file: a commit writes its own row, so a missing one says that nothing was written."""

from __future__ import annotations

import datetime as dt
import sqlite3
from uuid import UUID

from portico.engines.base import LedgerEntry, LedgerState
from portico.engines.sql.types import stored_datetime
from portico.model.companions import LEDGER, for_sqlite

LEDGER_TABLE = for_sqlite(LEDGER).table

_WRITE = (
    f"INSERT INTO {LEDGER_TABLE} (transaction_id, service, holder, begun_at, ended_at, state, reason) VALUES (?, ?, ?, ?, ?, ?, ?) "  # noqa: S608
    "ON CONFLICT (transaction_id) DO NOTHING"
)
_ASK = f"SELECT state, reason FROM {LEDGER_TABLE} WHERE transaction_id = ?"  # noqa: S608  # a name of ours
_FORGET = f"DELETE FROM {LEDGER_TABLE} WHERE begun_at < ?"  # noqa: S608


def now() -> str:
    """This moment as the file stores it."""
    return stored_datetime(dt.datetime.now(dt.UTC))


def write(connection: sqlite3.Connection, entry: LedgerEntry, begun_at: str, state: str, reason: str) -> bool:
    """Record how a transaction ended; False where another word on it was there before, which stays. Raises sqlite3.Error."""
    written = connection.execute(_WRITE, (str(entry.id), entry.service, entry.holder, begun_at, now(), state, reason))
    return written.rowcount == 1


def recorded(connection: sqlite3.Connection, id: UUID) -> LedgerState | None:  # noqa: A002 - what it is called everywhere
    """How it ended; None where it was never committed, and nobody said why."""
    row = connection.execute(_ASK, (str(id),)).fetchone()
    return None if row is None else LedgerState(row[0], row[1])


def forget_ended(connection: sqlite3.Connection, seconds: float) -> None:
    """Remove the rows of transactions that began longer ago."""
    connection.execute(_FORGET, (stored_datetime(dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds)),))
