"""How a running service reads keys: few, small queries, on a connection of the store's own."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import asyncpg
from sqlalchemy.exc import SQLAlchemyError

from portico.errors import DatabaseUnavailable, Unavailable
from portico.store.records import KeyRecord, ServiceRecord, clients_from, rules_from
from portico.store.schema import prepare_sqlite
from portico.store.tables import KEYS_GENERATION

_TIMEOUT_SECONDS = 2.0
_BUSY_SECONDS = 0.25

_KEY_COLUMNS = """
    k.id, k.service, k.secret_hash, k.rules, k.clients, k.created_at, k.label, k.expires_at, k.revoked_at, k.last_used_at,
    s.statement_timeout, s.rate_limit
"""
_SERVICE_COLUMNS = "name, rules, clients, statement_timeout, rate_limit"


class KeyReader(Protocol):
    """What authentication needs of the store. Every method raises Unavailable where the store cannot be used."""

    async def get_keys(self, ids: Sequence[str]) -> Mapping[str, KeyRecord]:
        """The keys of these ids, revoked and expired ones too; ids that are unknown are left out."""
        ...

    async def get_service(self, name: str) -> ServiceRecord | None:
        """A service by its name."""
        ...

    async def generation(self) -> int:
        """A number that rises with every change of a key or service; 0 before the first."""
        ...

    async def mark_used(self, used: Mapping[str, datetime]) -> None:
        """Record when keys were last used, by id. It never moves a time back."""
        ...

    async def close(self) -> None:
        """Give up the connection."""
        ...


Connect = Callable[[], Awaitable["asyncpg.Connection[asyncpg.Record]"]]


class PostgresKeyReader:
    """Reads schema `portico` on one connection, which is opened at need and anew after an error.

    Args:
        connect: opens a connection (asked each time, so that a rotated password is picked up). Give it `statement_cache_size=0`:
            every read is one short transaction, which is right behind a pooler as well.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._lock = asyncio.Lock()

    async def get_keys(self, ids: Sequence[str]) -> Mapping[str, KeyRecord]:
        """See `KeyReader`."""
        query = f"SELECT {_KEY_COLUMNS} FROM portico.api_keys k JOIN portico.services s ON s.name = k.service WHERE k.id = ANY($1::text[])"  # noqa: S608
        rows = await self._fetch(query, list(ids))
        return {row["id"]: _key(row) for row in rows}

    async def get_service(self, name: str) -> ServiceRecord | None:
        """See `KeyReader`."""
        rows = await self._fetch(f"SELECT {_SERVICE_COLUMNS} FROM portico.services WHERE name = $1", name)  # noqa: S608
        return _service(rows[0]) if rows else None

    async def generation(self) -> int:
        """See `KeyReader`."""
        rows = await self._fetch("SELECT value FROM portico.generations WHERE name = $1", KEYS_GENERATION)
        return int(rows[0]["value"]) if rows else 0

    async def mark_used(self, used: Mapping[str, datetime]) -> None:
        """See `KeyReader`."""
        # The rows are locked in the order of their ids, so that two workers never wait for each other in a circle.
        query = """
            WITH used AS (SELECT * FROM unnest($1::text[], $2::timestamptz[]) AS u(id, at)),
                 locked AS (SELECT k.id FROM portico.api_keys k JOIN used USING (id) ORDER BY k.id FOR NO KEY UPDATE OF k)
            UPDATE portico.api_keys k SET last_used_at = greatest(k.last_used_at, used.at)
            FROM used JOIN locked USING (id) WHERE k.id = used.id
        """
        await self._fetch(query, list(used), list(used.values()), read_only=False)

    async def close(self) -> None:
        """See `KeyReader`."""
        async with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.terminate()

    async def _fetch(self, query: str, *values: object, read_only: bool = True) -> list[asyncpg.Record]:
        async with self._lock:
            try:
                async with asyncio.timeout(_TIMEOUT_SECONDS):
                    if self._connection is None or self._connection.is_closed():
                        self._connection = await self._connect()
                    async with self._connection.transaction(readonly=read_only):
                        return await self._connection.fetch(query, *values)
            except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError) as error:
                raise Unavailable("The store has no tables yet.", hint="Run `portico init-db`.") from error
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                self._give_up()
                raise DatabaseUnavailable("The store of keys cannot be reached.") from error
            except asyncio.CancelledError:
                # What the connection was about to answer belongs to nobody now.
                self._give_up()
                raise

    def _give_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


class SqliteKeyReader:
    """Reads an SQLite store, which it creates where it is missing. Its queries take microseconds, so they run on the loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    async def get_keys(self, ids: Sequence[str]) -> Mapping[str, KeyRecord]:
        """See `KeyReader`."""
        marks = ",".join("?" * len(ids))
        query = f"SELECT {_KEY_COLUMNS} FROM api_keys k JOIN services s ON s.name = k.service WHERE k.id IN ({marks})"  # noqa: S608
        return {row["id"]: _key(row) for row in self._run(query, ids)}

    async def get_service(self, name: str) -> ServiceRecord | None:
        """See `KeyReader`."""
        rows = self._run(f"SELECT {_SERVICE_COLUMNS} FROM services WHERE name = ?", (name,))  # noqa: S608
        return _service(rows[0]) if rows else None

    async def generation(self) -> int:
        """See `KeyReader`."""
        rows = self._run("SELECT value FROM generations WHERE name = ?", (KEYS_GENERATION,))
        return int(rows[0]["value"]) if rows else 0

    async def mark_used(self, used: Mapping[str, datetime]) -> None:
        """See `KeyReader`."""
        with self._translating():
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            query = "UPDATE api_keys SET last_used_at = max(coalesce(last_used_at, ''), ?) WHERE id = ?"
            connection.executemany(query, [(at.astimezone(UTC).isoformat(timespec="microseconds"), key) for key, at in used.items()])
            connection.execute("COMMIT")

    async def close(self) -> None:
        """See `KeyReader`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _run(self, query: str, values: Sequence[str]) -> list[sqlite3.Row]:
        with self._translating():
            return self._opened().execute(query, values).fetchall()

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error, SQLAlchemyError) as error:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            raise DatabaseUnavailable("The store of keys cannot be used.") from error

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            prepare_sqlite(self._path)
            connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
            connection.row_factory = sqlite3.Row
            # Of what is written here, the time of a key's last use, a power cut may take the last minute.
            connection.execute("PRAGMA synchronous=NORMAL")
            self._connection = connection
        return self._connection


def _key(row: asyncpg.Record | sqlite3.Row) -> KeyRecord:
    return KeyRecord(
        id=row["id"],
        service=row["service"],
        secret_hash=bytes(row["secret_hash"]),
        rules=rules_from(row["rules"]),
        clients=clients_from(row["clients"]),
        created_at=_required_moment(row["created_at"]),
        label=row["label"],
        expires_at=_moment(row["expires_at"]),
        revoked_at=_moment(row["revoked_at"]),
        last_used_at=_moment(row["last_used_at"]),
        statement_timeout=row["statement_timeout"],
        rate_limit=row["rate_limit"],
    )


def _service(row: asyncpg.Record | sqlite3.Row) -> ServiceRecord:
    return ServiceRecord(row["name"], rules_from(row["rules"]), clients_from(row["clients"]), row["statement_timeout"], row["rate_limit"])


def _moment(value: datetime | str | None) -> datetime | None:
    return None if value is None else _required_moment(value)


def _required_moment(value: datetime | str) -> datetime:
    return datetime.fromisoformat(value) if isinstance(value, str) else value
