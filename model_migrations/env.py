"""Alembic's environment for a service's own models: the address comes from Portico's settings, and each run has one connection."""

from __future__ import annotations

import os
from importlib import import_module

import sqlalchemy as sa
from alembic import context
from sqlmodel import SQLModel

from portico.builtin.connect import sync_engine, wait_for_database
from portico.settings import Settings, load
from portico.wiring import main_database

WAIT_SECONDS = 60.0
"""How long the database is waited for."""


def _metadata() -> sa.MetaData:
    """What the modules of `models` define: a `metadata` or `Base` of their own, else that of SQLModel."""
    for name in (context.config.get_main_option("models") or "").split():
        module = import_module(name)
        own = getattr(module, "metadata", None) or getattr(getattr(module, "Base", None), "metadata", None)
        if isinstance(own, sa.MetaData):
            return own
    return SQLModel.metadata


def _database() -> tuple[str, str]:
    settings: Settings = load(None, os.environ)
    database = settings.databases[main_database(settings)]
    return database.migration_connection.text(), database.type


def _own_tables_only(name: str | None, kind: str, parents: object) -> bool:
    """Leave out the tables that are not of these models: dropping them is nobody's wish."""
    del parents
    return kind != "table" or name in {table.name for table in _metadata().tables.values()}


def _run() -> None:
    url, dialect = _database()
    options = {"target_metadata": _metadata(), "compare_type": True, "compare_server_default": True, "include_name": _own_tables_only}
    if context.is_offline_mode():
        context.configure(dialect_name=dialect, literal_binds=True, **options)
        with context.begin_transaction():
            context.run_migrations()
        return
    # An engine without a pool: NullPool.
    engine = sync_engine(url, wait_seconds=WAIT_SECONDS)
    wait_for_database(engine, wait_seconds=WAIT_SECONDS)
    with engine.begin() as connection:
        context.configure(connection=connection, render_as_batch=dialect == "sqlite", **options)
        with context.begin_transaction():
            context.run_migrations()


_run()
