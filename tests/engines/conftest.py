"""Engines for the compliance suite: each test runs on every engine, over tables of the collections that it declares."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa

from portico.engines.base import Engine
from portico.engines.postgres.engine import PostgresEngine
from portico.engines.postgres.pool import PoolOptions
from portico.engines.sql.companions_ddl import create_companions
from portico.engines.sql.ddl import build_metadata
from portico.engines.sql.identifiers import APP_SCHEMA
from portico.engines.sqlite.engine import SqliteEngine
from portico.events import discard
from portico.model.collection import Collection
from portico.model.scope import EVERYTHING
from tests.engines.declarations import ANN, BEN, EVE, FAMILY, OF_ANN, OF_BEN, OF_EVE, ROWS, THINGS
from tests.engines.harness import Harness, OpenHarness, declared
from tests.servers.postgres import PostgresDatabase, PostgresServer

SECRET = b"a secret of the tests, 32 bytes!"


def create_tables(url: str, dialect: str, collections: tuple[Collection, ...]) -> None:
    """Create the tables of collections, and the companion tables."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        if dialect == "postgresql":
            connection.execute(sa.text(f"CREATE SCHEMA IF NOT EXISTS {APP_SCHEMA}"))
            connection.execute(sa.text(f"GRANT USAGE ON SCHEMA {APP_SCHEMA} TO appuser"))
        build_metadata(collections, dialect=dialect).create_all(connection)
        if dialect == "postgresql":
            connection.execute(sa.text(f"GRANT ALL ON ALL TABLES IN SCHEMA {APP_SCHEMA} TO appuser"))
            connection.execute(sa.text(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {APP_SCHEMA} TO appuser"))
        create_companions(connection)
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    """The kinds of engines that every test of the suite runs on."""
    return str(request.param)


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, tuple[Collection, ...]], Path]:
    """Gives an SQLite file with the tables of collections, made once for each name, to be copied."""
    folder = tmp_path_factory.mktemp("empty")

    def made(name: str, collections: tuple[Collection, ...]) -> Path:
        path = folder / f"{name}.db"
        if not path.exists():
            create_tables(f"sqlite:///{path}", "sqlite", collections)
        return path

    return made


@pytest_asyncio.fixture
async def open_harness(
    backend: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    empty_file: Callable[[str, tuple[Collection, ...]], Path],
) -> AsyncIterator[OpenHarness]:
    """Opens an engine over fresh tables of the declared collections; it is closed with the test."""
    opened: list[Engine] = []
    databases: list[PostgresDatabase] = []

    async def open_one(*documents: Mapping[str, object], **options: Any) -> Harness:
        collections = declared(*documents)
        name = f"engines_{hashlib.sha256(repr(documents).encode()).hexdigest()[:12]}"
        engine: Engine
        if backend == "sqlite":
            path = tmp_path / "main.db"
            shutil.copyfile(empty_file(name, collections), path)

            async def fetch(sql: str) -> Sequence[Sequence[Any]]:
                with closing(sqlite3.connect(path)) as connection:
                    return connection.execute(sql).fetchall()

            engine = SqliteEngine("main", path, secret=SECRET, emit=discard)
        else:
            server: PostgresServer = request.getfixturevalue("postgres")
            collections = tuple(replace(item, schema=APP_SCHEMA) for item in collections)

            def prepare(empty: PostgresDatabase) -> None:
                create_tables(empty.dsn("postgres").replace("postgresql://", "postgresql+psycopg://"), "postgresql", collections)

            database = server.new_database(template=server.create_template(name, prepare))
            databases.append(database)

            async def fetch(sql: str) -> Sequence[Sequence[Any]]:
                return database.execute(sql)

            engine = PostgresEngine("main", PoolOptions(database.dsn()), schemas=[APP_SCHEMA], secret=SECRET, emit=discard)
        await engine.start()
        opened.append(engine)
        return Harness(engine, {item.name: item for item in collections}, fetch, **options)

    yield open_one
    for engine in opened:
        await engine.close()
    for database in databases:
        database.drop()


@pytest_asyncio.fixture
async def things(open_harness: OpenHarness) -> Harness:
    """An engine with the collection that has a field of each type, and its rows."""
    harness = await open_harness(THINGS)
    for row in ROWS:
        await harness.create("things", row)
    return harness


async def fill_family(harness: Harness) -> None:
    """Two tenants: Ann and Ben of one, Eve of the other, with a conversation and two messages each."""
    for client in ("home", "away", "a", "b"):
        await harness.create("clients", {"id": client, "name": client})
    for number, (user, client) in enumerate([(ANN, "home"), (BEN, "home"), (EVE, "away")]):
        await harness.create("users", {"user_id": user, "client_id": client, "email": f"user{number}@example.org"})
    for number, (user, conversation) in enumerate([(ANN, OF_ANN), (BEN, OF_BEN), (EVE, OF_EVE)]):
        await harness.create("conversations", {"conversation_id": conversation, "user_id": user, "title": f"talk {number}"})
        for message in (1, 2):
            await harness.create(
                "messages", {"message_id": number * 10 + message, "conversation_id": conversation, "content": f"hello {message}"}
            )


@pytest_asyncio.fixture
async def family(open_harness: OpenHarness) -> Harness:
    """An engine with the family of tenants, owners and parents."""
    harness = await open_harness(*FAMILY, scope=EVERYTHING)
    await fill_family(harness)
    return harness
