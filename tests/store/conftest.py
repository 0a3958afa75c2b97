"""Stores for the tests: one on SQLite, one on PostgreSQL whose tables `appowner` holds."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from portico.store import schema
from portico.store.connect import open_reader
from portico.store.readers import KeyReader
from portico.store.repositories import KeyRepository
from tests.servers.postgres import PostgresDatabase
from tests.store.stores import Store, prepare


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.database)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store with its tables and no keys."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/app.db"
    else:
        database: PostgresDatabase = request.getfixturevalue("postgres_database")
        prepare(database)
        url = database.dsn()
    engine = schema.open_store(url)
    yield Store(url, engine, KeyRepository(engine))
    engine.dispose()


@pytest_asyncio.fixture
async def reader(store: Store) -> AsyncIterator[KeyReader]:
    """How a service reads `store`."""
    opened = open_reader(lambda: store.url)
    yield opened
    await opened.close()
