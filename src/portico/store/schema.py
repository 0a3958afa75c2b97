"""Opens the store's database for tools, and creates its tables."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.schema import CreateSchema

from portico.errors import ConfigurationError
from portico.store.tables import SCHEMA, generations, metadata

SUFFIX = ".portico"
_CONNECT_SECONDS = 10
# Keys are revoked and never deleted: the audit names them.
_PRIVILEGES = {"appuser": "SELECT, INSERT, UPDATE", "backupuser": "SELECT"}


def store_path(database_file: str) -> Path:
    """The file that holds the control data of an SQLite database: beside it, so that neither locks the other."""
    return Path(database_file + SUFFIX)


def open_store(url: str) -> Engine:
    """An engine for the store of the database at `url` (`postgresql://…`, or `sqlite:///file`, whose store is `file.portico`).

    The SQLite store is created on demand. Raises ConfigurationError for a database that cannot hold control data.
    """
    parsed = make_url(url)
    kind = parsed.get_backend_name()
    if kind == "sqlite" and parsed.database not in {None, "", ":memory:"}:
        return _open_sqlite(store_path(str(parsed.database)))
    if kind == "postgresql":
        return create_engine(parsed.set(drivername="postgresql+psycopg"), connect_args={"connect_timeout": _CONNECT_SECONDS})
    message = "Control data needs PostgreSQL or an SQLite file."
    raise ConfigurationError(message, hint="Name such a database in store.database.")


def create(connection: Connection) -> None:
    """Create what is missing of the store's tables, in the caller's transaction, and grant the roles that exist. Right to repeat.

    On PostgreSQL it is a step of `init-db`, which acts as the owner. An SQLite store has a file of its own: see `prepare_sqlite`.
    """
    if connection.dialect.name != "sqlite" and not inspect(connection).has_schema(SCHEMA):
        # CREATE SCHEMA IF NOT EXISTS asks for the privilege to create even where there is nothing to do.
        connection.execute(CreateSchema(SCHEMA))
    metadata.create_all(connection, checkfirst=True)
    if connection.dialect.name != "sqlite":
        _grant(connection)


def _grant(connection: Connection) -> None:
    found = connection.scalars(text("SELECT rolname FROM pg_roles WHERE rolname = ANY (:names)"), {"names": list(_PRIVILEGES)})
    for role in found.all():
        connection.execute(text(f"GRANT USAGE ON SCHEMA {SCHEMA} TO {role}"))
        for table in metadata.sorted_tables:
            connection.execute(text(f"GRANT {_PRIVILEGES[role]} ON {table.fullname} TO {role}"))


def exists(connection: Connection) -> bool:
    """Whether the store's tables are there."""
    schema = None if connection.dialect.name == "sqlite" else SCHEMA
    return inspect(connection).has_table(generations.name, schema=schema)


def prepare_sqlite(path: Path) -> None:
    """Create an SQLite store where it is missing. Several processes may do so at once."""
    engine = _open_sqlite(path)
    engine.dispose()


def _open_sqlite(path: Path) -> Engine:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Nobody but the owner reads the hashes of keys; SQLite gives its journals the mode of the file.
    path.touch(mode=0o600, exist_ok=True)
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": _CONNECT_SECONDS}).execution_options(
        schema_translate_map={SCHEMA: None}
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    with engine.begin() as connection:
        create(connection)
    return engine


def _configure(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    # The driver would begin transactions by itself, too late to lock before the first read.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL").close()
    connection.execute("PRAGMA synchronous=FULL").close()
    connection.execute("PRAGMA foreign_keys=ON").close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
