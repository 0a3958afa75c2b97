"""Writes sample data in one transaction: COPY on PostgreSQL, one statement for many rows on SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from itertools import islice
from typing import cast

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from portico.builtin.connect import sync_engine
from portico.builtin.declarations import SCHEMA, builtin_collections
from portico.builtin.migrations.roles import OWNER
from portico.engines.sqlite.storage import canonical_json, written
from portico.errors import ConfigurationError, Conflict, DatabaseUnavailable
from portico.model.collection import Collection
from portico.model.field import Base
from portico.seeding.plan import SeedPlan, plan_of
from portico.seeding.rows import Row, rows

Advance = Callable[[int], None]
_TOGETHER = 20_000
_MOST_SETS = 1_000
_STAGE = "portico_seed"


def seed(url: str, *, size: str, seed: int, clients: tuple[str, ...], again: bool, advance: Advance) -> SeedPlan:
    """Add one set of sample data to the built-in collections: all of it, or nothing.

    Args:
        url: the migrating login's address. clients: whose data it is; made where they are missing. Without any, the set has its own.
        again: add a further set where this seed's is there. advance: told of rows.

    Raises:
        Conflict: this seed's set is there already. ConfigurationError: the collections are not there. DatabaseUnavailable.
    """
    try:
        with sync_engine(url, wait_seconds=10).begin() as connection:
            _prepare(connection)
            plan = _free_plan(connection, size, seed, clients, again=again)
            postgresql = connection.dialect.name == "postgresql"
            known = {item.name: item for item in builtin_collections("", schema=SCHEMA if postgresql else None)}
            write = _copy if postgresql else _insert
            for name in plan.counts:
                write(connection, known[name], plan, advance)
            return plan
    except (SQLAlchemyError, psycopg.Error, sqlite3.Error):
        raise DatabaseUnavailable("The sample data could not be written, and nothing was.", hint="The database's log says why.") from None


def _prepare(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        # Row-level security holds for the owner too: these rows are of every client.
        connection.execute(sa.text("SELECT set_config('portico.all', 'on', true)"))
        member = sa.text("SELECT 1 FROM pg_roles WHERE rolname = :owner AND pg_has_role(session_user, oid, 'MEMBER')")
        if connection.scalar(member, {"owner": OWNER}):
            connection.execute(sa.text(f"SET LOCAL ROLE {OWNER}"))
    schema = SCHEMA if connection.dialect.name == "postgresql" else None
    if not sa.inspect(connection).has_table("events", schema=schema):
        raise ConfigurationError("The built-in collections are not there.", hint="Run `portico init-db` first.")


def _free_plan(connection: sa.Connection, size: str, seed: int, clients: tuple[str, ...], *, again: bool) -> SeedPlan:
    table = f"{SCHEMA}.users" if connection.dialect.name == "postgresql" else "users"
    statement = sa.text(f"SELECT 1 FROM {table} WHERE user_id = :key")  # noqa: S608 - a constant
    for number in range(_MOST_SETS if again else 1):
        plan = plan_of(size, seed, number, clients)
        key: object = plan.key("users", 0)
        if connection.scalar(statement, {"key": key if table != "users" else str(key)}) is None:
            return plan
    raise Conflict(
        f"The sample data of size {size} and seed {seed} is there already.", hint="Add --again for a further set, or another --seed."
    )


def _batches(plan: SeedPlan, name: str) -> Iterator[list[Row]]:
    made = rows(plan, name)
    while batch := list(islice(made, _TOGETHER)):
        yield batch


def _names(plan: SeedPlan, collection: Collection) -> list[str]:
    first = next(rows(plan, collection.name))
    return [field.name for field in collection.fields if field.name in first]


def _copy(connection: sa.Connection, collection: Collection, plan: SeedPlan, advance: Advance) -> None:
    # COPY does not go into a table under row-level security, so the rows pass through a temporary one.
    names = _names(plan, collection)
    table, listed = f"{SCHEMA}.{collection.table}", ", ".join(names)
    driver = cast("psycopg.Connection[tuple[object, ...]]", connection.connection.driver_connection)
    conflict = " ON CONFLICT DO NOTHING" if plan.clients and collection.name == "clients" else ""
    stage = f"{_STAGE}_{collection.table}"
    cursor = driver.cursor()
    cursor.execute(f"CREATE TEMPORARY TABLE {stage} ON COMMIT DROP AS SELECT {listed} FROM {table} WITH NO DATA".encode())  # noqa: S608
    for batch in _batches(plan, collection.name):
        with cursor.copy(f"COPY {stage} ({listed}) FROM STDIN".encode()) as copy:
            for row in batch:
                copy.write_row([_for_postgres(row[name]) for name in names])
        cursor.execute(f"INSERT INTO {table} ({listed}) SELECT {listed} FROM {stage}{conflict}".encode())  # noqa: S608 - names of constants
        cursor.execute(f"TRUNCATE {stage}".encode())
        advance(len(batch))
    cursor.execute(f"ANALYZE {table}".encode())


def _for_postgres(value: object) -> object:
    return json.dumps(value) if isinstance(value, dict) else value


def _insert(connection: sa.Connection, collection: Collection, plan: SeedPlan, advance: Advance) -> None:
    names = _names(plan, collection)
    encoders = [
        canonical_json if collection.by_name[name].type.base is Base.JSON else written(collection.by_name[name].type) for name in names
    ]
    driver = cast("sqlite3.Connection", connection.connection.driver_connection)
    verb = "INSERT OR IGNORE" if plan.clients and collection.name == "clients" else "INSERT"
    marks = ", ".join("?" for _ in names)
    statement = f"{verb} INTO {collection.table} ({', '.join(names)}) VALUES ({marks})"
    for batch in _batches(plan, collection.name):
        stored = (
            [row[name] if encode is None else encode(row[name]) for name, encode in zip(names, encoders, strict=True)] for row in batch
        )
        driver.executemany(statement, stored)
        advance(len(batch))
