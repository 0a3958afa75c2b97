"""Idempotency keys on SQLite: a lock that the processes of one file share, and the answers in `portico_idempotency`.

A key's lock is one byte of an empty file beside the database: the system gives it up with the process, however that ends.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import os
import sqlite3
from pathlib import Path

from portico.engines.sql.types import stored_datetime
from portico.engines.sqlite.storage import Stored
from portico.errors import DatabaseUnavailable, RequestInFlight, StaleSnapshot
from portico.model.companions import IDEMPOTENCY, for_sqlite
from portico.model.idempotency import Answered, Kept, RequestKey, answer_from, headers_json

TABLE = for_sqlite(IDEMPOTENCY).table
_PLACES = (1 << 62) - 1
_FIND = f'SELECT request_hash, status, headers, body FROM "{TABLE}" WHERE service = ? AND tenant = ? AND key = ? AND created_at > ?'  # noqa: S608
# A row that is too old to count is replaced; one that is not was stored since the key was claimed.
_KEEP = (
    f'INSERT INTO "{TABLE}" AS k (service, tenant, key, request_hash, status, headers, body, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) '  # noqa: S608
    "ON CONFLICT (service, tenant, key) DO UPDATE SET request_hash = excluded.request_hash, status = excluded.status, "
    "headers = excluded.headers, body = excluded.body, created_at = excluded.created_at WHERE k.created_at <= ?"
)
_FORGET = f'DELETE FROM "{TABLE}" WHERE rowid IN (SELECT rowid FROM "{TABLE}" WHERE created_at <= ? ORDER BY created_at LIMIT ?)'  # noqa: S608


class KeyLocks:
    """The keys that transactions of this process hold. `database` is the file's path."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + "-keys")
        self._file: int | None = None
        self._held: set[int] = set()

    def take(self, key: RequestKey) -> int:
        """Lock a key; gives what `release` takes. Raises RequestInFlight where a transaction, of any process, has it."""
        place = key.lock & _PLACES
        file = self._opened()
        try:
            if place in self._held:
                raise BlockingIOError
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except (BlockingIOError, PermissionError):
            raise RequestInFlight("A request with this idempotency key is still running.", hint="Try again in a moment.") from None
        except OSError as error:
            raise _unusable() from error
        self._held.add(place)
        return place

    def _opened(self) -> int:
        if self._file is None:
            try:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise _unusable() from error
        return self._file

    def release(self, place: int) -> None:
        """Give a key up."""
        self._held.discard(place)
        if self._file is not None:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)

    def close(self) -> None:
        """Give every key up."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._held.clear()


def _unusable() -> DatabaseUnavailable:
    return DatabaseUnavailable("The file of the idempotency keys, beside the database, cannot be used.")


def _moment(ago: float = 0.0) -> str:
    return stored_datetime(dt.datetime.now(dt.UTC) - dt.timedelta(seconds=ago))


def find(connection: sqlite3.Connection, key: RequestKey) -> Kept | None:
    """What is stored under a key."""
    row = connection.execute(_FIND, (key.service, key.tenant, key.key, _moment(key.life_seconds))).fetchone()
    if row is None:
        return None
    request_hash, status, headers, body = row
    return Kept(request_hash, answer_from(status, headers, body))


def keep(connection: sqlite3.Connection, key: RequestKey, answer: Answered) -> None:
    """Store an answer. Raises StaleSnapshot where there is one already."""
    name = (key.service, key.tenant, key.key)
    values: tuple[Stored, ...] = (key.request_hash, answer.status, headers_json(answer), answer.body.decode(), _moment())
    stored = connection.execute(_KEEP, (*name, *values, _moment(key.life_seconds)))
    if stored.rowcount != 1:
        raise StaleSnapshot("Another request with this idempotency key came first.", hint="Try again.")


def forget(connection: sqlite3.Connection, older_than: float, most: int) -> int:
    """Remove answers older than these seconds, oldest first; how many."""
    return connection.execute(_FORGET, (_moment(older_than), most)).rowcount
