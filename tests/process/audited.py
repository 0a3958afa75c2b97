"""What a database holds after a load: its documents, and the audit's account of them, read beside the service."""

import json
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.process.load import TOGETHER, Load
from tests.servers.postgres import PostgresDatabase


@dataclass(frozen=True, slots=True)
class Held:
    """`names` of the documents by their ids, how often the audit has a create of each, and the name that its last row for each gives."""

    names: dict[str, str]
    creates: Counter[str]
    last: dict[str, str]


def held_by_sqlite(folder: Path, prefix: str) -> Held:
    """What the embedded database in this folder holds of the ids with this prefix."""
    with closing(sqlite3.connect(f"file:{folder / 'portico.db'}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        documents = connection.execute("SELECT id, name FROM clients").fetchall()
        audited = connection.execute(
            "SELECT document_key, operation, after FROM portico_audit WHERE collection = 'clients' ORDER BY id"
        ).fetchall()
    return _held(documents, audited, prefix)


def held_by_postgres(database: PostgresDatabase, prefix: str) -> Held:
    """What this database holds of the ids with this prefix."""
    documents = database.execute("SELECT id, name FROM app.clients")
    # Changes of one document follow each other by its lock, and so do the moments of their transactions' statements.
    audited = database.execute(
        "SELECT document_key, operation, after::text FROM portico.audit WHERE collection = 'clients' ORDER BY transaction, id"
    )
    return _held(documents, audited, prefix)


def _held(documents: list[tuple[object, ...]], audited: list[tuple[object, ...]], prefix: str) -> Held:
    names = {str(key): str(name) for key, name in documents if str(key).startswith(prefix)}
    creates: Counter[str] = Counter()
    last: dict[str, str] = {}
    for written, operation, after in audited:
        key = _key(str(written))
        if key.startswith(prefix):
            creates[key] += operation == "create"
            last[key] = str(json.loads(str(after))["name"])
    return Held(names, creates, last)


def _key(written: str) -> str:
    return str(json.loads(written)[0]) if written.startswith("[") else written


def require_nothing_half_done(load: Load, held: Held) -> None:
    """See that what was answered is there, that arrays are there whole or not at all, and that the audit agrees with the documents."""
    for sent in load.created(201):
        assert held.names.keys() >= set(sent.ids), "a create that was answered is not there"
    for sent in load.created(None):
        assert len(held.names.keys() & set(sent.ids)) in {0, len(sent.ids)}, "an array of documents is there in part"
    assert any(len(sent.ids) == TOGETHER for sent in load.created(201)), "the load has no arrays"
    assert held.creates == Counter(held.names.keys()), "the audit has other creates than there are documents"
    assert held.last == held.names, "the audit tells other contents than the documents have"
