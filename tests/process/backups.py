"""A database with a configured Portico beside it, on either engine, for the tests of backups: what is in it, and places to restore into."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from tests.conftest import StartPortico
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresDatabase, PostgresServer
from tests.servers.process import create_folder

BACKUP_PASSWORD = "backup-secret"
SECRET = {"PORTICO_SECRET_KEY": "a secret of the tests, of forty characters"}
_TABLES = """
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') ORDER BY 1"""

Hashes = dict[str, str]


class Place:
    """One engine: a prepared database, its Portico, and as many empty databases as a test wants."""

    def __init__(self, engine: str, process: PorticoProcess, server: PostgresServer | None, database: PostgresDatabase | None) -> None:
        self.engine = engine
        self.process = process
        self.server = server
        self.database = database
        self.backups = process.folder / "backups"

    def url(self) -> str:
        """The database's own address."""
        return f"sqlite:///{self.process.folder / 'portico.db'}" if self.database is None else self.database.dsn("postgres")

    def empty(self) -> str:
        """The address of a database that has nothing."""
        if self.server is None:
            return f"sqlite:///{create_folder('restored') / 'restored.db'}"
        return self.server.new_database().dsn("postgres")

    def backup(self, *arguments: str) -> Path:
        """Take a backup; gives its file."""
        result = self.process.run("backup", "--output", str(self.backups), "--json", *arguments, within=120)
        assert result.returncode == 0, result.stderr
        (answer,) = json.loads(result.stdout).values()
        return self.process.folder / str(answer["file"])

    def restore(self, file: Path, into: str, *arguments: str) -> tuple[int, str]:
        """Restore a backup; gives the exit code and what was printed."""
        result = self.process.run("restore", str(file), "--into", into, *arguments, within=120)
        return result.returncode, result.stdout + result.stderr


def hashes(url: str) -> Hashes:
    """A hash of every table's rows, whatever their order."""
    if url.startswith("sqlite"):
        file = Path(url.removeprefix("sqlite:///"))
        return {**_sqlite_hashes(file), **_sqlite_hashes(file.with_name(file.name + ".portico"))}
    import psycopg

    with psycopg.connect(url) as connection:
        tables = [str(row[0]) for row in connection.execute(_TABLES.encode())]
        found: Hashes = {}
        for table in tables:
            text = f"SELECT coalesce(md5(string_agg(t::text, chr(10) ORDER BY t::text COLLATE \"C\")), 'none') FROM {table} t"
            row = connection.execute(text.encode()).fetchone()
            assert row is not None
            found[table] = str(row[0])
        return found


def _sqlite_hashes(file: Path) -> Hashes:
    if not file.exists():
        return {}
    found: Hashes = {}
    with closing(sqlite3.connect(file)) as connection:
        connection.text_factory = bytes
        # How FTS5 lays out its index is its own affair; what is searched stands in `portico_search`.
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB 'portico_search_*_*'"
        ).fetchall():
            rows = connection.execute(f'SELECT * FROM "{name.decode()}"')
            found[f"{file.suffix}/{name.decode()}"] = hashlib.sha256("\n".join(sorted(map(repr, rows))).encode()).hexdigest()
    return found


@contextmanager
def backup_server() -> Iterator[PostgresServer]:
    """A server of its own whose `backupuser` may log in."""
    server = PostgresServer.start()
    server.execute(f"CREATE ROLE backupuser LOGIN BYPASSRLS PASSWORD '{BACKUP_PASSWORD}'")
    yield server
    server.stop()


def place_on_postgres(portico: StartPortico, server: PostgresServer) -> Place:
    """A database that `init-db` has prepared, backed up by `backupuser`."""
    database = server.new_database()
    login = f"postgresql://backupuser:{quote(BACKUP_PASSWORD)}@{server.host}:{server.port}/{database.name}"
    main = {
        "type": "postgresql",
        "connection_string": database.dsn(),
        "migration_connection_string": database.dsn("migrator"),
        "backup_connection_string": login,
    }
    process = portico(config={"databases": {"main": main}}, environment=SECRET, start=False)
    assert process.run("init-db").returncode == 0
    return Place("postgresql", process, server, database)


def place_on_sqlite(portico: StartPortico) -> Place:
    """An embedded database that `init-db` has prepared."""
    process = portico(config={"databases": {"main": {"connection_string": "sqlite:///./portico.db"}}}, environment=SECRET, start=False)
    assert process.run("init-db").returncode == 0
    return Place("sqlite", process, None, None)
