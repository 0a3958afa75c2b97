"""The embedded database of a development machine: made ready by the service itself, with a little sample data."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import portico.builtin.migrations as shipped
from portico.settings import Environment, Settings
from portico.settings.root import DEFAULT

_REVISION = "SELECT version_num FROM portico_alembic_version"
_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table'"


def embedded(settings: Settings) -> str | None:
    """The name of the database that nobody configured: the SQLite file of a development machine."""
    if settings.environment is not Environment.DEVELOPMENT:
        return None
    for name, database in settings.databases.items():
        if database.type == "sqlite" and settings.source(("databases", name, "connection_string")) == DEFAULT:
            return name
    return None


def needs_preparing(settings: Settings) -> bool:
    """Whether the embedded database is new, older than this version, or lacks a declared collection. It looks, and changes nothing."""
    name = embedded(settings)
    if name is None:
        return False
    file = Path(settings.databases[name].connection.database)
    if not file.exists():
        return True
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            tables = {str(row[0]) for row in connection.execute(_TABLES)}
            revision = connection.execute(_REVISION).fetchone() if "portico_alembic_version" in tables else None
    except sqlite3.Error:
        return True
    declared = {str(item.document.get("name")) for item in settings.declarations if item.document.get("fields")}
    return revision is None or revision[0] != _newest() or not declared <= tables


def prepare(settings: Settings) -> None:
    """Create what is missing in the embedded database; a new one gets sample data. Raises PorticoError."""
    from portico.cli.init_db import initialize  # noqa: PLC0415 - Alembic is needed here alone
    from portico.cli.sample import create_samples  # noqa: PLC0415
    from portico.cli.sql_databases import sql_databases  # noqa: PLC0415

    for database in sql_databases(settings, embedded(settings)):
        done = initialize(database, wait_seconds=10)
        if done.before is None:
            asyncio.run(create_samples(settings))


def _newest() -> str:
    versions = Path(next(iter(shipped.__path__))) / "versions"
    return max(file.stem for file in versions.glob("[0-9]*.py"))
