"""The peers: pREST and PocketBase, built from their pinned sources with Go into a cached folder, as one would run them."""

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

from bench.data import documents
from bench.load import Call
from bench.processes import BenchError, run, start, wait_until_answers
from bench.target import Target
from tests.servers.install import cache_folder, get_go
from tests.servers.postgres import PASSWORDS, PostgresDatabase
from tests.servers.process import find_free_port

_SOURCES = {
    "prest": "github.com/prest/prest/cmd/prestd",
    "pocketbase": "github.com/pocketbase/pocketbase/examples/base",
}
_HERE = Path(__file__).with_name("peers")
_ADMIN = ("bench@example.com", "only-for-the-benchmark")
_FIELDS: tuple[dict[str, object], ...] = (
    {"name": "client_id", "type": "text", "required": True},
    {"name": "filename", "type": "text", "required": True},
    {"name": "file_size", "type": "number"},
    {"name": "file_type", "type": "text", "required": True},
    {"name": "content_type", "type": "text"},
    {"name": "upload_timestamp", "type": "autodate", "onCreate": True},
    {"name": "file_path", "type": "text", "required": True},
    {"name": "summary", "type": "text"},
    {"name": "metadata", "type": "json"},
    {"name": "uploaded_by", "type": "text"},
)
_INDEXES = (
    "CREATE INDEX document_client ON document_metadata (client_id, id)",
    "CREATE INDEX document_upload ON document_metadata (upload_timestamp)",
    "CREATE UNIQUE INDEX document_name ON document_metadata (client_id, filename)",
)
_INSERT = """
    INSERT INTO document_metadata (id, client_id, filename, file_size, file_type, content_type, upload_timestamp,
        file_path, summary, metadata, uploaded_by)
    VALUES (printf('%015d', ?), ?, ?, ?, ?, ?, ?, ?, ?, ?, '')
"""


def binary(peer: str) -> Path:
    """The peer's program, built once for each state of its `go.mod` and `go.sum`.

    Raises:
        ServerMissingError: there is no Go of at least 1.24.
        BenchError: the build failed.
    """
    module = _HERE / peer
    state = hashlib.sha256((module / "go.mod").read_bytes() + (module / "go.sum").read_bytes()).hexdigest()[:16]
    target = cache_folder() / "bench" / f"{peer}-{state}"
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        partial = target.with_suffix(".partial")
        run([str(get_go()), "build", "-mod=readonly", "-o", str(partial), _SOURCES[peer]], module, {"CGO_ENABLED": "0"})
        partial.rename(target)
    return target


def start_prest(name: str, folder: Path, database: PostgresDatabase) -> Target:
    """Start pREST on the table without row-level security: no cache, no JWT, and its ten connections kept open.

    By default it opens a connection for each request (`maxidleconn` is 0), which no one would run for speed.
    """
    port = find_free_port()
    settings = {
        "HTTP_HOST": "127.0.0.1", "HTTP_PORT": port, "JWT_DEFAULT": "false", "CACHE_ENABLED": "false", "JSON_AGG_TYPE": "json_agg",
        "PG_HOST": database.server.host, "PG_PORT": database.server.port, "PG_USER": "appuser", "PG_PASS": PASSWORDS["appuser"],
        "PG_DATABASE": database.name, "SSL_MODE": "disable", "PG_MAXOPENCONN": 10, "PG_MAXIDLECONN": 10,
        "QUERIES_LOCATION": folder / "queries", "CONF": folder / "prest.toml",
    }  # fmt: skip
    process = start(folder, [str(binary("prest"))], {f"PREST_{name}": str(value) for name, value in settings.items()})
    table = f"/{database.name}/plain/document_metadata"
    wait_until_answers(process, port, f"{table}?id=1")
    return Target(name, process, port, {
        "get": Call("GET", f"{table}?id={{id}}&client_id={{client}}"),
        "list": Call("GET", f"{table}?client_id={{client}}&_order=id&_page=1&_page_size=50"),
    })  # fmt: skip


def start_pocketbase(name: str, folder: Path) -> Target:
    """Start PocketBase with a collection of the same fields and indexes; reading and creating are open to everyone."""
    data = folder / "pb_data"
    base = [str(binary("pocketbase")), "--dir", str(data), "--migrationsDir", str(folder / "pb_migrations"), "--automigrate=false"]
    run([*base, "superuser", "upsert", *_ADMIN], folder)
    empty = _serve(name, base, folder)
    _create_collection(empty.port)
    empty.process.stop()
    with closing(sqlite3.connect(data / "data.db")) as database, database:
        rows = ((*row[:6], str(row[6])[:19] + ".000Z", *row[7:]) for row in (each.row() for each in documents()))
        database.executemany(_INSERT, rows)
    return _serve(name, base, folder)


def _serve(name: str, base: list[str], folder: Path) -> Target:
    port = find_free_port()
    process = start(folder, [*base, "serve", "--http", f"127.0.0.1:{port}"])
    wait_until_answers(process, port, "/api/health")
    records = "/api/collections/document_metadata/records"
    return Target(name, process, port, {
        "get": Call("GET", f"{records}/{{id15}}"),
        "list": Call("GET", f"{records}?filter=client_id%3D'{{client}}'&sort=id&perPage=50&skipTotal=1"),
        "create": Call("POST", records, (("Content-Type", "application/json"),)),
    })  # fmt: skip


def _create_collection(port: int) -> None:
    token = _post(port, "/api/collections/_superusers/auth-with-password", {"identity": _ADMIN[0], "password": _ADMIN[1]}, "")["token"]
    rules = dict.fromkeys(("listRule", "viewRule", "createRule"), "")
    collection = {"name": "document_metadata", "type": "base", "fields": _FIELDS, "indexes": _INDEXES, **rules}
    _post(port, "/api/collections", collection, str(token))


def _post(port: int, path: str, body: Mapping[str, object], token: str) -> dict[str, object]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", "Authorization": token})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise BenchError(f"PocketBase answered {answer.status} to {path}: {text[:500]!r}")
        found: dict[str, object] = json.loads(text)
        return found
    finally:
        connection.close()
