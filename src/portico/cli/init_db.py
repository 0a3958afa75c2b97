"""`portico init-db`: creates the built-in collections, declared ones, the companion tables and the control data's tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer

from portico.builtin.init import Initialized, Step, init_database
from portico.builtin.migrations.roles import grant_tables
from portico.cli.common import ConfigOption, JsonOption, load_settings, print_json
from portico.cli.sql_databases import SqlDatabase, sql_databases
from portico.store.schema import prepare_sqlite, store_path
from portico.store.tables import metadata as store_metadata

WaitOption = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for the database, and for another migrator.")]
DatabaseOption = Annotated[str | None, typer.Option("--database", help="Only this database; by default every SQL one.")]


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("init-db")(init_db)


def init_db(config: ConfigOption = None, database: DatabaseOption = None, wait: WaitOption = 60, as_json: JsonOption = False) -> None:
    """Create the built-in collections and Portico's own tables. Safe to run again, and on many machines at once."""
    done = {item.name: initialize(item, wait_seconds=wait) for item in sql_databases(load_settings(config), database)}
    if as_json:
        print_json(
            {name: {"before": result.before, "after": result.after, "created": list(result.created)} for name, result in done.items()}
        )
        return
    for name, result in done.items():
        typer.echo(f"{name}: {_said(result)}")


def initialize(database: SqlDatabase, *, wait_seconds: float) -> Initialized:
    """Make one database ready, with the control data's tables where it holds them."""
    if database.file is not None:
        Path(database.file).parent.mkdir(parents=True, exist_ok=True)
    steps: list[Step] = [_create_store] if database.holds_store and database.file is None else []
    done = init_database(
        database.url,
        declared=database.declared,
        discover=database.discover,
        further=steps,
        builtin=database.builtin,
        wait_seconds=wait_seconds,
    )
    if database.holds_store and database.file is not None:
        prepare_sqlite(store_path(database.file))
    return done


def _create_store(connection: sa.Connection) -> None:
    store_metadata.create_all(connection)
    grant_tables(connection, store_metadata.tables.values())


def _said(result: Initialized) -> str:
    if result.before == result.after and not result.created:
        return f"ready at {result.after or 'no revision'}"
    created = f", created {', '.join(result.created)}" if result.created else ""
    return f"migrated from {result.before or 'nothing'} to {result.after or 'nothing'}{created}"
