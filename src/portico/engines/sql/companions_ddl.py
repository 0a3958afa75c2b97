"""Creates the companion tables and says who may do what with them."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from portico.engines.sql.ddl import build_metadata
from portico.model.collection import Collection
from portico.model.companions import COMPANIONS, SCHEMA, for_sqlite

APPLICATION_ROLE = "appuser"
BACKUP_ROLE = "backupuser"


def companion_metadata(dialect: str) -> sa.MetaData:
    """The companion tables for ``postgresql`` or ``sqlite``."""
    if dialect == "sqlite":
        return build_metadata([for_sqlite(companion.collection) for companion in COMPANIONS], dialect=dialect)
    metadata = build_metadata([companion.collection for companion in COMPANIONS], dialect=dialect)
    for table in metadata.tables.values():
        if "transaction" in table.c:
            table.c["transaction"].server_default = sa.DefaultClause(sa.text("pg_current_xact_id()"))
    return metadata


def create_companions(connection: sa.Connection, only: Iterable[Collection] | None = None) -> None:
    """Create the companion tables that are missing, or those of `only`, and grant the application's role what it needs of them."""
    dialect = connection.dialect.name
    if dialect == "postgresql" and not _has_schema(connection):
        connection.execute(sa.schema.CreateSchema(SCHEMA))
    metadata = companion_metadata(dialect)
    chosen = list(metadata.tables.values()) if only is None else [companion_table(metadata, item) for item in only]
    metadata.create_all(connection, tables=chosen)
    if dialect == "postgresql":
        _grant(connection, {table.name for table in chosen})


def companion_table(metadata: sa.MetaData, collection: Collection) -> sa.Table:
    """A companion's table among those of `companion_metadata`."""
    name = f"{SCHEMA}.{collection.table}"
    return metadata.tables[name] if name in metadata.tables else metadata.tables[for_sqlite(collection).table]


def _has_schema(connection: sa.Connection) -> bool:
    # CREATE SCHEMA IF NOT EXISTS asks for the privilege to create even where there is nothing to do.
    return bool(connection.scalar(sa.text("SELECT 1 FROM pg_namespace WHERE nspname = :name"), {"name": SCHEMA}))


def _grant(connection: sa.Connection, tables: set[str]) -> None:
    roles = set(connection.scalars(sa.text("SELECT rolname FROM pg_roles WHERE rolname IN ('appuser', 'backupuser')")))
    statements: list[str] = []
    if APPLICATION_ROLE in roles:
        statements.append(f"GRANT USAGE ON SCHEMA {SCHEMA} TO {APPLICATION_ROLE}")
        for companion in [item for item in COMPANIONS if item.collection.table in tables]:
            table = f"{SCHEMA}.{companion.collection.table}"
            statements += [
                f"REVOKE ALL ON {table} FROM {APPLICATION_ROLE}",
                f"GRANT {', '.join(companion.privileges)} ON {table} TO {APPLICATION_ROLE}",
            ]
    if BACKUP_ROLE in roles:
        statements += [
            f"GRANT USAGE ON SCHEMA {SCHEMA} TO {BACKUP_ROLE}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {SCHEMA} TO {BACKUP_ROLE}",
            # A backup holds the state of the sequences too, and what is added to the schema later.
            f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA {SCHEMA} TO {BACKUP_ROLE}",
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA {SCHEMA} GRANT SELECT ON TABLES TO {BACKUP_ROLE}",
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA {SCHEMA} GRANT SELECT ON SEQUENCES TO {BACKUP_ROLE}",
        ]
    for statement in statements:
        connection.execute(sa.text(statement))
