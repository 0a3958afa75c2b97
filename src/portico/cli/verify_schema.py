"""`portico verify-schema`: compares the databases with the built-in and declared collections."""

from __future__ import annotations

import typer
from sqlalchemy.exc import SQLAlchemyError

from portico.builtin.connect import sync_engine
from portico.builtin.declarations import builtin_collections
from portico.builtin.verify import Difference, verify_schema
from portico.cli.common import ConfigOption, ExitCode, JsonOption, load_settings, print_json
from portico.cli.init_db import DatabaseOption
from portico.cli.sql_databases import SqlDatabase, sql_databases
from portico.errors import DatabaseUnavailable
from portico.migrations.journal import made_by_migrations


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("verify-schema")(verify)


def verify(config: ConfigOption = None, database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Compare the databases with what is declared: prints a line for each difference, and exits with 1 where there is one."""
    found = {item.name: differences_of(item) for item in sql_databases(load_settings(config), database)}
    if as_json:
        print_json({name: [{"kind": item.kind, "where": item.where, "text": item.text} for item in items] for name, items in found.items()})
    else:
        for name, items in found.items():
            for item in items:
                typer.echo(f"{name}: {item.text}")
            if not items:
                typer.echo(f"{name}: as declared")
    if any(found.values()):
        raise typer.Exit(ExitCode.PROBLEM)


def differences_of(database: SqlDatabase) -> list[Difference]:
    """Every difference between one database and its declarations. Raises DatabaseUnavailable."""
    try:
        engine = sync_engine(database.url, wait_seconds=5)
        with engine.begin() as connection:
            known = {item.name for item in (*database.declared, *builtin_collections(""))}
            stored = [item for name, item in made_by_migrations(connection, database.name).items() if name not in known]
        with engine.connect() as connection:
            return verify_schema(connection, (*database.declared, *stored), discover=database.discover, builtin=database.builtin)
    except SQLAlchemyError:
        raise DatabaseUnavailable(f"The database {database.name} cannot be read.", hint="Is it running, and is the login right?") from None
