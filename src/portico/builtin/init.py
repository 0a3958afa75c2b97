"""Makes a database ready for Portico: built-in collections, companion tables, and what else it is handed; as often as one likes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from portico.builtin.connect import migration_lock, sync_engine, wait_for_database
from portico.builtin.declarations import SCHEMA, builtin_collections
from portico.builtin.migrate import current_revision, upgrade
from portico.builtin.migrations.roles import assume_owner, grant_tables
from portico.builtin.searching import index_search
from portico.engines.sql.companions_ddl import create_companions
from portico.engines.sql.ddl import build_metadata, referenced_stubs
from portico.engines.sql.partitions import create_partitions
from portico.engines.sql.policies import enable_policy
from portico.model.collection import Collection

Step = Callable[[sa.Connection], None]
"""Something else that is created in the same transaction, such as the tables of the control data."""


@dataclass(frozen=True, slots=True)
class Initialized:
    """What `init_database` did: the revisions before and after (None: none), and the declared collections it created."""

    before: str | None
    after: str | None
    created: tuple[str, ...]


def init_database(
    url: str,
    *,
    declared: Sequence[Collection] = (),
    discover: Sequence[str] = (),
    further: Iterable[Step] = (),
    builtin: bool = True,
    wait_seconds: float = 60,
) -> Initialized:
    """Create what Portico needs in one database: all of it, or nothing where it fails. Safe to run again, and many at once.

    Args:
        url: the migrating login's address, direct and not through a pooler.
        declared: the configuration's collections of this database; those without a table get one, under its policy.
        discover: schemas whose existing tables are served: a declared collection may be laid over one of them.
        further: what else to create, in order.
        builtin: whether the built-in collections belong here; the companion tables always do.
        wait_seconds: how long to wait for the database, and then for another migrator.

    Raises:
        DatabaseUnavailable, ConfigurationError: it cannot be reached, or not with this login.
        MigrationError: another migrator did not end in time.
    """
    engine = sync_engine(url, wait_seconds=wait_seconds)
    wait_for_database(engine, wait_seconds=wait_seconds)
    with migration_lock(engine, wait_seconds=wait_seconds), engine.begin() as connection:
        postgresql = connection.dialect.name == "postgresql"
        if postgresql:
            assume_owner(connection)
        before = current_revision(connection)
        if builtin:
            upgrade(connection)
        if postgresql:
            # The first migration may just have made the owner.
            assume_owner(connection)
        create_companions(connection)
        for step in further:
            step(connection)
        created = create_declared(connection, declared, discover=discover, builtin=builtin)
        served = _with_tables(connection, declared, discover=discover, builtin=builtin)
        done = Initialized(before, current_revision(connection), created)
    index_search(engine, served)
    return done


def _with_tables(
    connection: sa.Connection, declared: Sequence[Collection], *, discover: Sequence[str], builtin: bool
) -> dict[str, Collection]:
    """The collections that have a table, by name; a declaration that is laid over a built-in one counts instead of it."""
    own = builtin_collections("", schema=SCHEMA if connection.dialect.name == "postgresql" else None) if builtin else ()
    inspector = sa.inspect(connection)
    found = (locate(inspector, item, discover) for item in declared)
    return {item.name: item for item in (*own, *found) if item is not None}


def create_declared(
    connection: sa.Connection, declared: Sequence[Collection], *, discover: Sequence[str] = (), builtin: bool = True
) -> tuple[str, ...]:
    """Create the tables of declared collections that have none, with their policies on PostgreSQL; gives their names."""
    dialect = connection.dialect.name
    own = builtin_collections("", schema=SCHEMA if dialect == "postgresql" else None) if builtin else ()
    inspector = sa.inspect(connection)
    found = {item.name: locate(inspector, item, discover) for item in declared}
    missing = [item for item in declared if found[item.name] is None and item.kind == "table" and item.fields]
    existing = [*own, *[item for item in found.values() if item is not None]]
    metadata = build_metadata(missing, dialect=dialect, referenced=existing)
    made = list(metadata.tables.values())
    referenced_stubs(metadata, existing, dialect=dialect)
    metadata.create_all(connection, tables=made, checkfirst=False)
    if dialect == "postgresql":
        known = {item.name: item for item in [*existing, *missing]}
        for collection in missing:
            for statement in [*create_partitions(collection), *enable_policy(collection, known)]:
                connection.exec_driver_sql(statement)
        grant_tables(connection, [table for table in made if table.schema != SCHEMA])
    return tuple(item.name for item in missing)


def locate(inspector: sa.Inspector, collection: Collection, discover: Sequence[str]) -> Collection | None:
    """A declared collection with the schema in which its table is, by the catalog's rule; None where there is no table."""
    if inspector.dialect.name != "postgresql":
        return collection if inspector.has_table(collection.table) else None
    schemas = (collection.schema,) if collection.schema else (*discover, SCHEMA)
    found = next((schema for schema in schemas if inspector.has_table(collection.table, schema=schema)), None)
    return None if found is None else replace(collection, schema=found)
