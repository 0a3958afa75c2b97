"""Runs the Alembic migrations of the built-in collections on a connection."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from portico.builtin.migrations.roles import act_as_owner

_HERE = Path(__file__).parent / "migrations"


def alembic_config(connection: sa.Connection | None = None, *, dialect: str = "postgresql", output: StringIO | None = None) -> Config:
    """Alembic's configuration: for a connection, whose transaction the caller commits, or for SQL text of a dialect."""
    config = Config(output_buffer=output) if output is not None else Config()
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["dialect"] = dialect
    return config


def upgrade(connection: sa.Connection, revision: str = "head") -> None:
    """Migrate up to a revision, within the connection's transaction."""
    command.upgrade(alembic_config(connection), revision)


def downgrade(connection: sa.Connection, revision: str) -> None:
    """Migrate down to a revision (``base`` is below the first), within the connection's transaction."""
    command.downgrade(alembic_config(connection), revision)


def pending_revisions(connection: sa.Connection) -> tuple[str, ...]:
    """The revisions that the database's built-in collections lack, in order; none where it has none of them: that is for `init-db`.

    Args:
        connection: in a transaction, which ends with another role where the login may act as the owner.
    """
    if connection.dialect.name == "postgresql":
        act_as_owner(connection)
    current = current_revision(connection)
    if current is None:
        return ()
    newer = ScriptDirectory.from_config(alembic_config()).iterate_revisions("head", current)
    return tuple(script.revision for script in newer)[::-1]


def current_revision(connection: sa.Connection) -> str | None:
    """The revision that the database is at; None where no migration ran."""
    postgresql = connection.dialect.name == "postgresql"
    options = (
        {"version_table": "alembic_version", "version_table_schema": "portico"}
        if postgresql
        else {"version_table": "portico_alembic_version"}
    )
    return MigrationContext.configure(connection, opts=options).get_current_revision()
