"""Databases that Portico serves in tests: prepared once for each configuration, as `init-db` does it, and copied for each test.

They are prepared in the tests' own process, which has imported long ago what a process for it would import first.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from portico.cli.embedded import needs_preparing, prepare
from portico.cli.init_db import initialize
from portico.cli.sql_databases import sql_databases
from portico.errors import PorticoError
from portico.settings import Settings, load
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresDatabase, PostgresServer
from tests.servers.process import create_folder

ENGINES = ("sqlite", "postgres")
_EMBEDDED: dict[str, Path] = {}


def over(database: PostgresDatabase) -> dict[str, object]:
    """The part of a configuration that serves this database."""
    logins = {"connection_string": database.dsn(), "migration_connection_string": database.dsn("migrator")}
    return {"databases": {"main": {"type": "postgresql"} | logins}}


def prepared_database(server: PostgresServer, config: Mapping[str, object]) -> PostgresDatabase:
    """A fresh database that `init-db` has prepared for this configuration; it ran once for all tests of the same one."""

    def prepare_one(database: PostgresDatabase) -> None:
        process = PorticoProcess(dict(config) | over(database))
        try:
            _do(process, _initialize)
        finally:
            process.close()

    return server.new_database(template=server.create_template(f"portico_{_digest(config)}", prepare_one))


def give_embedded(process: PorticoProcess, config: Mapping[str, object], environment: Mapping[str, str] | None = None) -> None:
    """Put what a first start would make into the folder of a process that has not started: the embedded database, and its secret.

    Nothing is put there where such a process makes none; why it does not start with settings that are wrong is left for it to say.
    """
    name = _digest([config, environment])
    if name not in _EMBEDDED:
        with suppress(PorticoError):
            _do(process, lambda settings: prepare(settings) if needs_preparing(settings) else None)
        _EMBEDDED[name] = create_folder("embedded")
        shutil.copytree(process.folder, _EMBEDDED[name], dirs_exist_ok=True, ignore=shutil.ignore_patterns("portico-*.yaml"))
    else:
        shutil.copytree(_EMBEDDED[name], process.folder, dirs_exist_ok=True)


def _do(process: PorticoProcess, work: Callable[[Settings], object]) -> None:
    """Do it with the settings and in the folder of a process; in a thread, since the caller's may run an event loop."""
    before = Path.cwd()
    os.chdir(process.folder)
    try:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(lambda: work(load(process.config_file, process.environment))).result()
    finally:
        os.chdir(before)


def _initialize(settings: Settings) -> None:
    for database in sql_databases(settings, None):
        initialize(database, wait_seconds=10)


def _digest(content: object) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()[:12]


@contextmanager
def running(
    engine: str, config: Mapping[str, object], server: PostgresServer | None, *, environment: Mapping[str, str] | None = None
) -> Iterator[PorticoProcess]:
    """The real service over SQLite, or over a fresh database of `server`, for as long as the context lasts."""
    content = dict(config)
    database = prepared_database(server, config) if engine == "postgres" and server is not None else None
    process = PorticoProcess(content | (over(database) if database is not None else {}), environment=environment, warm=True)
    try:
        if database is None:
            give_embedded(process, config, environment)
        yield process.start()
    finally:
        process.close()
        if database is not None:
            database.drop()
