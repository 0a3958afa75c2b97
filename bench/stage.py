"""Setting the stage: databases with their documents, and targets, each started when it is first needed."""

import sqlite3
import sys
import tempfile
from contextlib import ExitStack, closing
from functools import cached_property
from pathlib import Path
from typing import Self

from bench import portico
from bench.data import COLUMNS, documents
from bench.load import Call
from bench.peers import start_pocketbase, start_prest
from bench.postgres import create_database
from bench.processes import start, wait_until_answers
from bench.target import Target
from tests.servers.postgres import PostgresDatabase, PostgresServer
from tests.servers.process import find_free_port

_DOCUMENTS = "/clients/{client}/documents"
_HAND_CALLS = {
    "get": Call("GET", f"{_DOCUMENTS}/{{id}}"),
    "list": Call("GET", f"{_DOCUMENTS}?limit=50"),
    "create": Call("POST", _DOCUMENTS, (("Content-Type", "application/json"),)),
    "bulk": Call("POST", "/clients/{client}/bulk", (("Content-Type", "application/json"),)),
    "export": Call("GET", "/clients/archive/export"),
}
_SQLITE_TABLE = """
    CREATE TABLE document_metadata (
        id INTEGER PRIMARY KEY, client_id TEXT NOT NULL, filename TEXT NOT NULL, file_size INTEGER NOT NULL, file_type TEXT NOT NULL,
        content_type TEXT, upload_timestamp TEXT NOT NULL, file_path TEXT NOT NULL, summary TEXT, metadata TEXT NOT NULL, uploaded_by TEXT,
        UNIQUE (client_id, filename));
    CREATE INDEX document_client ON document_metadata (client_id, id);
    CREATE INDEX document_upload ON document_metadata (upload_timestamp);
    PRAGMA journal_mode = WAL;
"""


class Stage:
    """What one run of the benchmark has started; leaving it ends everything.

    Targets are those of `portico.OPTIONS`, `by hand/postgres`, `idiomatic/postgres`, `pREST/postgres`,
    `portico/sqlite`, `by hand/sqlite` and `PocketBase/sqlite`.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="portico-bench-")))
        self._targets: dict[str, Target] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @cached_property
    def database(self) -> PostgresDatabase:
        """The PostgreSQL database, its commits durable as in production."""
        server = PostgresServer.start(durable=True, settings={"shared_buffers": "'256MB'", "log_min_messages": "error"})
        self._stack.callback(server.stop)
        return create_database(server)

    def target(self, name: str) -> Target:
        """The target of this name, started if it is not there, with every other one frozen.

        A frozen one takes no processor time from the one that is measured.
        """
        if name not in self._targets:
            folder = self._folder / name.replace("/", "-").replace(" ", "-")
            folder.mkdir(exist_ok=True)
            target = self._start(name, folder)
            self._targets[name] = target
            self._stack.callback(_end, target)
        for other in self._targets.values():
            if other.name != name:
                other.process.pause()
        self._targets[name].process.resume()
        return self._targets[name]

    def state(self, name: str) -> str:
        """Whether a target runs, and how its log ends; for messages."""
        if name not in self._targets:
            return "It was not started."
        process = self._targets[name].process
        return f"It {'runs' if process.is_running else 'has ended'}; its log ends:\n{process.log_tail(10)}"

    def _start(self, name: str, folder: Path) -> Target:
        match name:
            case _ if name in portico.OPTIONS:
                return portico.start_on_postgres(name, folder, self.database)
            case "portico/sqlite":
                return portico.start_on_sqlite(name, folder)
            case "pREST/postgres":
                return start_prest(name, folder, self.database)
            case "PocketBase/sqlite":
                return start_pocketbase(name, folder)
            case "by hand/postgres":
                return _serve_by_hand(name, folder, "bench.by_hand.postgres:app", {"BENCH_DSN": self.database.dsn()})
            case "by hand/sqlite":
                return _serve_by_hand(name, folder, "bench.by_hand.sqlite:app", {"BENCH_FILE": _create_sqlite_file(folder)})
            case "idiomatic/postgres":
                return _serve_idiomatic(name, folder, self.database.dsn())
            case _:
                raise ValueError(name)


def _end(target: Target) -> None:
    if target.process.is_running:
        target.process.resume()
        target.process.stop()


def _serve_by_hand(name: str, folder: Path, app: str, env: dict[str, str]) -> Target:
    port = find_free_port()
    argv = [sys.executable, "-m", "granian", "--interface", "asgi", "--workers", "1", "--loop", "uvloop", "--port", str(port), app]
    process = start(folder, argv, env)
    wait_until_answers(process, port, "/clients/client-001/documents/1")
    return Target(name, process, port, _HAND_CALLS)


def _serve_idiomatic(name: str, folder: Path, dsn: str) -> Target:
    port = find_free_port()
    argv = [sys.executable, "-m", "uvicorn", "--no-access-log", "--port", str(port), "bench.idiomatic.app:app"]
    process = start(folder, argv, {"BENCH_DSN": dsn})
    wait_until_answers(process, port, "/clients/client-001/documents/1")
    return Target(name, process, port, _HAND_CALLS)


def _create_sqlite_file(folder: Path) -> str:
    file = folder / "bench.db"
    with closing(sqlite3.connect(file)) as database, database:
        database.executescript(_SQLITE_TABLE)
        rows = (
            tuple(each.body()[column] if column == "upload_timestamp" else getattr(each, column) for column in COLUMNS)
            for each in documents()
        )
        places = ", ".join("?" * len(COLUMNS))
        database.executemany(f"INSERT INTO document_metadata ({', '.join(COLUMNS)}) VALUES ({places})", rows)
    return str(file)
