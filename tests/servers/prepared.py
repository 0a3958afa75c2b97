"""Databases that Portico serves in tests: prepared by `init-db` once for each configuration, and copied for each test."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresDatabase, PostgresServer

ENGINES = ("sqlite", "postgres")


def over(database: PostgresDatabase) -> dict[str, object]:
    """The part of a configuration that serves this database."""
    logins = {"connection_string": database.dsn(), "migration_connection_string": database.dsn("migrator")}
    return {"databases": {"main": {"type": "postgresql"} | logins}}


def prepared_database(server: PostgresServer, config: Mapping[str, object]) -> PostgresDatabase:
    """A fresh database that `init-db` has prepared for this configuration; it ran once for all tests of the same one."""

    def prepare(database: PostgresDatabase) -> None:
        process = PorticoProcess(dict(config) | over(database))
        try:
            result = process.run("init-db")
        finally:
            process.close()
        assert result.returncode == 0, f"init-db ended with exit code {result.returncode}\n{result.stdout}{result.stderr}"

    digest = hashlib.sha256(repr(config).encode()).hexdigest()[:12]
    return server.new_database(template=server.create_template(f"portico_{digest}", prepare))


@contextmanager
def running(
    engine: str, config: Mapping[str, object], server: PostgresServer | None, *, environment: Mapping[str, str] | None = None
) -> Iterator[PorticoProcess]:
    """The real service over SQLite, or over a fresh database of `server`, for as long as the context lasts."""
    content = dict(config)
    database = prepared_database(server, config) if engine == "postgres" and server is not None else None
    process = PorticoProcess(content | (over(database) if database is not None else {}), environment=environment)
    try:
        yield process.start()
    finally:
        process.close()
        if database is not None:
            database.drop()
