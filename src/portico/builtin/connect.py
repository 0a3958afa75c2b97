"""Connections for migrations: synchronous and direct, waiting for the database, with the lock that lets one migrator work at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from portico.errors import ConfigurationError, DatabaseUnavailable, MigrationError

MIGRATION_LOCK = 7_161_637_311_520_005
"""The key of the advisory lock that every migrator of a PostgreSQL database takes."""

SEARCH_LOCK = MIGRATION_LOCK + 1
"""The key of the one for a transaction that makes or fills what is searched."""

_PAUSE_SECONDS = 0.2


def sync_engine(url: str, *, wait_seconds: float = 60) -> sa.Engine:
    """A synchronous engine without a pool, for ``postgresql://`` and ``sqlite://`` addresses, whatever driver they name.

    On SQLite a transaction begins by taking the writer, waiting up to `wait_seconds` for it.

    Raises:
        ConfigurationError: the address is not one of a SQL database.
    """
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError):
        raise ConfigurationError(
            "The database's address cannot be read.", hint="Write postgresql://user@host/name or sqlite:///file.db."
        ) from None
    if backend in ("postgresql", "postgres"):
        return sa.create_engine(_postgres_url(parsed), poolclass=NullPool)
    if backend != "sqlite":
        raise ConfigurationError(f"Tables are created on PostgreSQL and SQLite, not on {backend}.")
    engine = sa.create_engine(parsed.set(drivername="sqlite"), poolclass=NullPool, connect_args={"timeout": wait_seconds})
    # The driver would commit before each CREATE; with these two the whole of it is one transaction.
    sa.event.listen(engine, "connect", _leave_transactions_alone)
    sa.event.listen(engine, "begin", _begin_immediate)
    return engine


def _postgres_url(url: URL) -> URL:
    return url.set(drivername="postgresql+psycopg")


def _leave_transactions_alone(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None


def _begin_immediate(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def wait_for_database(engine: sa.Engine, *, wait_seconds: float) -> None:
    """Return once the database answers.

    Raises:
        DatabaseUnavailable: it did not within `wait_seconds`.
        ConfigurationError: it answers, but refuses the login or has no such database.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql("SELECT 1")
        except OperationalError as error:
            if _is_final(error):
                raise ConfigurationError(
                    "The database refuses the login, or does not exist.", hint="Check user, password and database name."
                ) from None
            if time.monotonic() >= deadline:
                raise DatabaseUnavailable(f"The database did not answer within {wait_seconds:g} seconds.") from None
            time.sleep(_PAUSE_SECONDS)
        else:
            return


def _is_final(error: DBAPIError) -> bool:
    """Whether waiting cannot help: a wrong password (28P01), a refused login (28000), no such database (3D000)."""
    text = str(error.orig)
    return (
        getattr(error.orig, "sqlstate", None) in ("28P01", "28000", "3D000")
        or "password authentication failed" in text
        or "does not exist" in text
    )


@contextmanager
def migration_lock(engine: sa.Engine, *, wait_seconds: float = 60) -> Iterator[sa.Connection]:
    """Hold the lock of migrations on PostgreSQL; gives the connection that holds it, in autocommit.

    On SQLite the writer is the lock, so there is nothing to do. What has to stop with the lock runs on the connection that holds it.

    It polls with no statement open: one that waits inside of the database holds a snapshot, on which ``CREATE INDEX CONCURRENTLY``
    of the lock's holder would wait in turn.

    Raises:
        MigrationError: another migrator held it for longer than `wait_seconds`.
    """
    if engine.dialect.name != "postgresql":
        with engine.connect() as connection:
            yield connection
        return
    deadline = time.monotonic() + wait_seconds
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not connection.scalar(sa.text("SELECT pg_try_advisory_lock(:key)"), {"key": MIGRATION_LOCK}):
            if time.monotonic() >= deadline:
                raise MigrationError(
                    "Another migration is running.", hint="Wait for it, or look for a session that holds the advisory lock."
                )
            time.sleep(_PAUSE_SECONDS)
        try:
            yield connection
        finally:
            # A connection that was lost has lost the lock as well.
            with suppress(SQLAlchemyError):
                connection.execute(sa.text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})
