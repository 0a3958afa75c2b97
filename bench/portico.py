"""Portico as a target: its own `init-db`, `key create` and `serve`, everything on, every call with a key."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.data import DOCUMENTS, TENANTS, client_of, clients, document, documents
from bench.load import Call
from bench.postgres import holds_documents, load, require_same_indexes
from bench.processes import BenchError, wait_until_answers
from bench.target import Target
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresDatabase

_COLLECTION = "/api/db/document_metadata"
OPTIONS: Mapping[str, Mapping[str, object]] = {
    "portico/postgres": {},
    "portico cached/postgres": {"cache": {"ttl_seconds": 300}},
    "portico unaudited/postgres": {"audit": False},
}
"""What the collection of documents has beside what is built in, by target."""


def start_on_postgres(name: str, folder: Path, database: PostgresDatabase) -> Target:
    """Portico on the benchmark's PostgreSQL, one worker; its tables are made and filled the first time."""
    main = {"type": "postgresql", "connection_string": database.dsn(), "migration_connection_string": database.dsn("postgres")}
    portico = _configure(folder, main, collections=[{"name": "document_metadata", **OPTIONS[name]}] if OPTIONS[name] else [])
    _run(portico, "init-db")
    if not holds_documents(database, "app"):
        load(database, "app", documents(), clients())
        require_same_indexes(database)
    return _start(name, portico)


def start_on_sqlite(name: str, folder: Path) -> Target:
    """Portico on an embedded SQLite file, filled through its own API."""
    portico = _configure(folder, {"type": "sqlite", "connection_string": f"sqlite:///{folder / 'bench.db'}"}, collections=[])
    _run(portico, "init-db")
    target = _start(name, portico)
    for first in range(1, TENANTS + 1):
        client = client_of(first)
        _create(target, "/clients", {"id": client, "name": client}, first)
        _create(target, _COLLECTION, [document(number).body() for number in range(first, DOCUMENTS + 1, TENANTS)], first)
    return target


def create_key(portico: PorticoProcess, service: str) -> str:
    """A key of a service that may do everything for every client."""
    allow = "*:read,create,update,delete,export"
    return str(json.loads(_run(portico, "key", "create", "--service", service, "--allow", allow, "--clients", "*", "--json"))["key"])


def calls(key: str) -> Mapping[str, Call]:
    """How Portico is asked: the document paths of a client, and the collection paths with the client in a header."""
    ours = (("X-API-Key", key),)
    of_client = (*ours, ("X-Client-ID", ""))
    posted = (*ours, ("Content-Type", "application/json"))
    return {
        "get": Call("GET", "/clients/{client}/documents/{id}", ours),
        "get by collection": Call("GET", f"{_COLLECTION}/{{id}}", of_client),
        "list": Call("GET", f"{_COLLECTION}?order=id&limit=50", of_client),
        "create": Call("POST", "/clients/{client}/documents", posted),
        "create with key": Call("POST", "/clients/{client}/documents", (*posted, ("Idempotency-Key", ""))),
        "bulk": Call("POST", _COLLECTION, (*posted, ("X-Client-ID", ""))),
        "get of 1000": Call("GET", "/clients/{client}/documents/{id}", ours, documents=1000),
        "export": Call("GET", f"{_COLLECTION}/export", of_client),
        "health": Call("GET", "/health"),
    }


def _configure(folder: Path, main: Mapping[str, object], collections: Sequence[object]) -> PorticoProcess:
    config = {"databases": {"main": main}, "auth": {"required": True}, "collections": collections}
    return PorticoProcess(config, folder=folder, environment={"ENVIRONMENT": "development", "LOG_LEVEL": "WARNING"})


def _run(portico: PorticoProcess, *arguments: str) -> str:
    done = portico.run(*arguments)
    if done.returncode:
        raise BenchError(f"portico {' '.join(arguments)} failed with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def _start(name: str, portico: PorticoProcess) -> Target:
    keys = (create_key(portico, "bench"), create_key(portico, "quiet"))
    portico.process.start()
    target = Target(name, portico.process, portico.port, calls(keys[0]), keys)
    wait_until_answers(portico.process, portico.port, "/health/ready")
    return target


def _create(target: Target, path: str, body: object, document_id: int) -> None:
    """Create one or many for the tenant that this document falls to."""
    status, text = target.ask(Call("POST", path, target.calls["bulk"].headers), document_id, body)
    if status != 201:
        raise BenchError(f"{target.name} answered {status} to POST {path}: {text[:500]!r}")
