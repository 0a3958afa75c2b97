"""Makes a database's collections searchable, and indexes what they hold: after `init-db`, and after each migration."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from portico.builtin.connect import SEARCH_LOCK
from portico.builtin.migrations.roles import assume_owner
from portico.engines.sql.search_ddl import create_search, fill_search
from portico.engines.sql.search_sqlite import TABLE
from portico.model.collection import Collection
from portico.model.companions import SCHEMA


def index_search(engine: sa.Engine, collections: Mapping[str, Collection]) -> tuple[str, ...]:
    """Make the triggers of the searchable collections what they should be, then index the documents that are there.

    Triggers come first, each for a moment alone, so that no change is missed while the documents are indexed batch by batch. A run that is
    killed between is finished by the next one.

    Args:
        engine: of the migrating login. collections: those of this database that have a table, by name.
    Returns:
        the names of the collections that were indexed.
    """
    with engine.connect() as connection:
        if not any(item.search is not None for item in collections.values()) and not _was_made(connection):
            return ()
        _own(connection)
        unfilled = create_search(connection, list(collections.values()), collections)
        connection.commit()
        for collection in unfilled:
            _own(connection)
            for _ in fill_search(connection, collection, collections):
                connection.commit()
                _own(connection)
            connection.commit()
    return tuple(item.name for item in unfilled)


def _was_made(connection: sa.Connection) -> bool:
    postgresql = connection.dialect.name == "postgresql"
    return sa.inspect(connection).has_table("search" if postgresql else TABLE, schema=SCHEMA if postgresql else None)


def _own(connection: sa.Connection) -> None:
    """Begin a transaction as the owner, and alone: others that run at once would lock what is searched and the tables in another order."""
    if connection.dialect.name == "postgresql":
        assume_owner(connection)
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": SEARCH_LOCK})
