"""Databases to migrate: a fresh SQLite file, and a fresh PostgreSQL database as the login that may become the owner."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from portico.builtin.connect import sync_engine
from tests.servers.postgres import PostgresDatabase


@dataclass(frozen=True)
class Target:
    """A database to migrate. `postgres` is None on SQLite."""

    url: str
    engine: sa.Engine
    postgres: PostgresDatabase | None = None

    @property
    def prefix(self) -> str:
        """What the names of the built-in tables begin with."""
        return "app." if self.postgres else ""

    def begin(self) -> sa.Connection:
        """A connection in a transaction that sees every tenant; on PostgreSQL as the owner."""
        connection = self.engine.connect()
        if self.postgres:
            connection.exec_driver_sql("SET ROLE appowner")
            connection.exec_driver_sql("SELECT set_config('portico.all', 'on', false)")
        return connection


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.database)])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    """A fresh database of each SQL engine."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/app.db"
        yield Target(url, sync_engine(url))
        return
    database: PostgresDatabase = request.getfixturevalue("postgres_database")
    yield Target(database.dsn("migrator"), sync_engine(database.dsn("migrator")), database)
