"""Chooses how a service reads its keys, from the connection string of the store's database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import asyncpg
from sqlalchemy import make_url

from portico.errors import ConfigurationError
from portico.store.readers import KeyReader, PostgresKeyReader, SqliteKeyReader
from portico.store.records import KeyRecord, ServiceRecord
from portico.store.schema import store_path

_CONNECT_SECONDS = 2.0


class NoKeys:
    """The store of a database in memory, which no tool can reach: it has no keys."""

    async def get_keys(self, ids: Sequence[str]) -> Mapping[str, KeyRecord]:
        """See `KeyReader`."""
        del ids
        return {}

    async def get_service(self, name: str) -> ServiceRecord | None:
        """See `KeyReader`."""
        del name
        return None

    async def generation(self) -> int:
        """See `KeyReader`."""
        return 0

    async def mark_used(self, used: Mapping[str, datetime]) -> None:
        """See `KeyReader`."""
        del used

    async def close(self) -> None:
        """See `KeyReader`."""


def open_reader(url: Callable[[], str]) -> KeyReader:
    """A reader of the store of the database at `url()`, which is asked again for each connection: its password may be replaced.

    Raises ConfigurationError for a database that cannot hold control data.
    """
    parsed = make_url(url())
    kind = parsed.get_backend_name()
    if kind == "sqlite":
        return NoKeys() if parsed.database in {None, "", ":memory:"} else SqliteKeyReader(store_path(str(parsed.database)))
    if kind == "postgresql":
        return PostgresKeyReader(lambda: asyncpg.connect(url(), timeout=_CONNECT_SECONDS, statement_cache_size=0))
    raise ConfigurationError("Control data needs PostgreSQL or an SQLite file.", hint="Name such a database in store.database.")
