"""Alembic's environment of the built-in collections: runs on the connection that it is handed, or on one that the settings name."""

from __future__ import annotations

import os

import sqlalchemy as sa
from alembic import context

from portico.builtin.connect import sync_engine
from portico.builtin.declarations import builtin_database
from portico.builtin.migrations.roles import assume_owner
from portico.builtin.tables import builtin_metadata
from portico.errors import ConfigurationError
from portico.settings import load

VERSION_TABLE = "alembic_version"


def _configure(dialect: str, connection: sa.Connection | None) -> None:
    postgresql = dialect == "postgresql"
    context.configure(
        connection=connection,
        dialect_name=None if connection is not None else dialect,
        target_metadata=builtin_metadata(dialect),
        version_table=VERSION_TABLE if postgresql else f"portico_{VERSION_TABLE}",
        version_table_schema="portico" if postgresql else None,
        compare_type=True,
        compare_server_default=True,
        include_schemas=postgresql,
        literal_binds=connection is None,
        include_name=lambda name, kind, _: name == "app" if kind == "schema" and postgresql else True,
    )


def _migrate(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        # Under FORCEd row-level security the owner, too, would change nothing without the scope of everything.
        connection.execute(sa.text("SELECT set_config('portico.all', 'on', true)"))
        assume_owner(connection)
    _configure(connection.dialect.name, connection)
    with context.begin_transaction():
        context.run_migrations()


def _run() -> None:
    if context.is_offline_mode():
        _configure(context.config.attributes.get("dialect", "postgresql"), None)
        with context.begin_transaction():
            context.run_migrations()
        return
    connection = context.config.attributes.get("connection")
    if connection is not None:
        _migrate(connection)
        return
    settings = load(None, os.environ)
    name = builtin_database({key: database.type for key, database in settings.databases.items()})
    if name is None:
        raise ConfigurationError("No SQL database is configured.")
    with sync_engine(settings.databases[name].migration_connection.text()).begin() as own:
        _migrate(own)


_run()
