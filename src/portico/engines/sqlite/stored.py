"""The schema documents that migrations keep in the file, for what its tables cannot say."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping

from portico.model.companions import COLLECTIONS, for_sqlite

_TABLE = for_sqlite(COLLECTIONS).table
_THERE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
_MARK = f"SELECT count(*) || '@' || coalesce(max(updated_at), '') FROM {_TABLE}"  # noqa: S608  # a name of ours
_DOCUMENTS = f"SELECT document FROM {_TABLE} ORDER BY name"  # noqa: S608


def stored_mark(connection: sqlite3.Connection) -> str:
    """A short text that changes when the documents do."""
    return str(connection.execute(_MARK).fetchone()[0]) if _there(connection) else ""


def stored_documents(connection: sqlite3.Connection) -> tuple[Mapping[str, object], ...]:
    """The documents; none where no migration made the table."""
    return tuple(json.loads(row[0]) for row in connection.execute(_DOCUMENTS)) if _there(connection) else ()


def _there(connection: sqlite3.Connection) -> bool:
    return connection.execute(_THERE, (_TABLE,)).fetchone() is not None
