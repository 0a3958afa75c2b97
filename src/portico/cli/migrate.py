"""`portico migrate`: writes migrations from the declared collections, shows their SQL, applies and undoes them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer
from sqlalchemy.pool import NullPool

from portico.builtin.connect import sync_engine
from portico.builtin.init import init_database
from portico.builtin.migrate import pending_revisions
from portico.catalog.evolve import changes, way_back
from portico.cli.common import ConfigOption, ExitCode, JsonOption, load_settings, print_json
from portico.cli.init_db import DatabaseOption, WaitOption
from portico.cli.migration_tables import described, lines, status_table
from portico.cli.sql_databases import SqlDatabase, sql_databases
from portico.cli.verify_schema import differences_of
from portico.errors import ConfigurationError, MigrationError
from portico.migrations.compare import compare
from portico.migrations.files import FOLDER, read_folder, write_file
from portico.migrations.migrator import Migrator, pending
from portico.migrations.planning import ENGINES
from portico.migrations.showing import shown_steps
from portico.migrations.stored import as_stored
from portico.model.collection import Collection
from portico.model.migration import Checks, Migration, Status
from portico.settings import Settings
from portico.settings.load import config_file
from portico.wiring import migration_target, read_collections

DirOption = Annotated[Path | None, typer.Option("--dir", help="Folder of the migrations; by default migrations/ beside the configuration.")]
StepsOption = Annotated[int, typer.Option("--steps", min=1, help="How many to undo.")]
BackupOption = Annotated[bool, typer.Option("--backup", help="Back up first, and compare the schema with its declarations afterwards.")]
LOCK_SECONDS = 3600.0
"""How long a migrator waits for another one: twenty that start at once all end well."""

migrate_app = typer.Typer(no_args_is_help=True, help="Make, plan, apply and undo migrations.")


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.add_typer(migrate_app, name="migrate")


@migrate_app.command("new")
def new(
    message: Annotated[str, typer.Argument(help="What it does, such as 'add invoices'.")],
    config: ConfigOption = None,
    directory: DirOption = None,
    database: DatabaseOption = None,
    empty: Annotated[bool, typer.Option("--empty", help="Write a file without operations, to be filled by hand.")] = False,
) -> None:
    """Compare the declared collections with the database and write what is missing as a migration, for review."""
    settings = load_settings(config)
    written: list[Path] = []
    for item in sql_databases(settings, database):
        if empty:
            written.append(write_file(_folder(directory, config), message, (), (), database=item.name))
            break
        catalog, tables = asyncio.run(read_collections(settings, item.name))
        migrator = _migrator(settings, item)
        checks, policies = migrator.checks(), migrator.policies()
        known = as_stored(catalog.of_database(item.name), tables, ENGINES[item.type].dialect, checks)
        found = compare(item.declared, tables, known, dialect=item.type, discover=item.discover, checks=checks, policies=policies)
        if found.operations:
            down = way_back(changes(found.operations, {**known, **found.guarded}))
            written.append(write_file(_folder(directory, config), message, found.operations, down, database=item.name, notes=found.notes))
    for path in written:
        typer.echo(str(path))
    if not written:
        typer.echo("Nothing to do: the database is as declared.")


@migrate_app.command("plan")
def plan(config: ConfigOption = None, directory: DirOption = None, database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Show the SQL of what is pending. Nothing is changed."""
    settings = load_settings(config)
    shown: list[dict[str, object]] = []
    for item, migrations in _migrations(settings, config, directory, database):
        plans = _migrator(settings, item).plan(migrations)
        steps = [{"title": "upgrade the built-in collections", "kind": "builtin", "sql": []}]
        shown += [{"id": name, "database": item.name, "reversible": True, "steps": steps} for name in lacking(item)]
        for migration, planned in plans:
            shown.append({"id": migration.id, "database": item.name, "reversible": planned.down is not None, "steps": shown_steps(planned)})
    if as_json:
        print_json(shown)
        return
    for found in shown:
        typer.echo("\n".join(lines(found)))
    if not shown:
        typer.echo("Nothing is pending.")


@migrate_app.command("up")
def up(
    config: ConfigOption = None,
    directory: DirOption = None,
    database: DatabaseOption = None,
    wait: WaitOption = 60,
    backup: BackupOption = False,
    as_json: JsonOption = False,
) -> None:
    """Apply every pending migration. What an earlier run left unfinished is finished first; one that fails leaves nothing behind."""
    settings = load_settings(config)
    told: Callable[[str], None] = (lambda _: None) if as_json else typer.echo
    ran: list[dict[str, object]] = []
    for item, migrations in _migrations(settings, config, directory, database):
        migrator = _migrator(settings, item, wait=wait, tell=told)
        entries, builtin = migrator.entries(), lacking(item)
        if backup and (builtin or pending(migrations, entries)):
            _back_up(item.name, config)
        if builtin:
            told(f"{item.name}: built-in collections to {builtin[-1]}")
            init_database(item.url, wait_seconds=wait)
            ran += builtin_rows(item, Status.COMPLETED, builtin)
        ran += [described(record) for record in migrator.up(migrations)]
        if backup:
            _verify(item)
    if as_json:
        print_json(ran)
    elif not ran:
        typer.echo("Nothing is pending.")


@migrate_app.command("down")
def down(
    config: ConfigOption = None, database: DatabaseOption = None, steps: StepsOption = 1, wait: WaitOption = 60, as_json: JsonOption = False
) -> None:
    """Undo the last migrations that were applied, last first."""
    settings = load_settings(config)
    told: Callable[[str], None] = (lambda _: None) if as_json else typer.echo
    found = list(sql_databases(settings, database))
    if len(found) > 1:
        raise ConfigurationError("Say which database.", hint=f"--database {found[0].name}")
    undone = [described(record) for record in _migrator(settings, found[0], wait=wait, tell=told).down(steps)]
    if as_json:
        print_json(undone)
    elif not undone:
        typer.echo("Nothing is applied.")


@migrate_app.command("status")
def status(config: ConfigOption = None, directory: DirOption = None, database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Say which migrations are applied and which are pending; exits with 1 where one failed, was interrupted or was changed since."""
    settings = load_settings(config)
    shown: list[dict[str, object]] = []
    problem = False
    for item, migrations in _migrations(settings, config, directory, database):
        entries = _migrator(settings, item).entries()
        shown += builtin_rows(item, Status.PENDING, lacking(item))
        known = {entry.record.id for entry in entries}
        records = [described(entry.record) for entry in entries]
        records += [
            {"id": one.id, "name": one.name, "database": item.name, "status": "pending"} for one in migrations if one.id not in known
        ]
        shown += sorted(records, key=lambda record: str(record["id"]))
        problem |= any(entry.record.status in (Status.FAILED, Status.EXECUTING) for entry in entries)
        try:
            pending(migrations, entries)
        except MigrationError as error:
            problem = True
            typer.echo(error.message, err=True)
    if as_json:
        print_json(shown)
    else:
        status_table(shown)
    raise typer.Exit(ExitCode.PROBLEM if problem else ExitCode.OK)


@migrate_app.command("history")
def history(config: ConfigOption = None, database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """List every migration that was run, in the order of time, with what became of it."""
    settings = load_settings(config)
    entries = [entry for item in sql_databases(settings, database) for entry in _migrator(settings, item).entries()]
    found = sorted((described(entry.record) for entry in entries), key=lambda record: str(record["executed_at"] or record["created_at"]))
    if as_json:
        print_json(found)
    else:
        status_table(found)


def lacking(item: SqlDatabase) -> tuple[str, ...]:
    """The revisions of the built-in collections that a database lacks; none where it is not Portico's, or not there yet."""
    if not item.builtin or (item.file is not None and not Path(item.file).is_file()):
        return ()
    engine = sync_engine(item.url, wait_seconds=5)
    # The one for migrations takes SQLite's writer with each transaction.
    reader = engine if item.file is None else sa.create_engine(engine.url, poolclass=NullPool)
    with reader.begin() as connection:
        return pending_revisions(connection)


def builtin_rows(item: SqlDatabase, status: Status, revisions: tuple[str, ...]) -> list[dict[str, object]]:
    """Revisions of the built-in collections as migrations are listed."""
    return [{"id": name, "name": "built-in collections", "database": item.name, "status": status.value} for name in revisions]


def _folder(directory: Path | None, config: Path | None) -> Path:
    if directory is not None:
        return directory
    file = config_file(config, os.environ)
    return (file.parent if file is not None else Path()) / FOLDER


def _migrations(
    settings: Settings, config: Path | None, directory: Path | None, database: str | None
) -> list[tuple[SqlDatabase, list[Migration]]]:
    items = list(sql_databases(settings, database))
    names = [item.name for item in sql_databases(settings, None)]
    found = read_folder(_folder(directory, config), databases=names)
    return [(item, [migration for migration in found if migration.database == item.name]) for item in items]


def _migrator(settings: Settings, item: SqlDatabase, *, wait: float = 60, tell: Callable[[str], None] = lambda _: None) -> Migrator:
    def known(checks: Checks | None) -> dict[str, Collection]:
        catalog, tables = asyncio.run(read_collections(settings, item.name))
        return as_stored(catalog.of_database(item.name), tables, ENGINES[item.type].dialect, checks)

    if item.file is not None:
        Path(item.file).parent.mkdir(parents=True, exist_ok=True)
    return Migrator(item.url, migration_target(settings, item.name, known), wait_seconds=wait, lock_seconds=LOCK_SECONDS, tell=tell)


def _back_up(name: str, config: Path | None) -> None:
    command = [sys.executable, "-m", "portico", "backup", "--database", name, *(["--config", str(config)] if config is not None else [])]
    if subprocess.run(command, check=False).returncode != 0:  # noqa: S603 - our own program
        raise MigrationError(f"The backup of {name} failed, so nothing was migrated.")


def _verify(item: SqlDatabase) -> None:
    found = differences_of(item)
    for difference in found:
        typer.echo(f"{item.name}: {difference.text}", err=True)
    if found:
        raise MigrationError(f"After the migration {item.name} is not as declared.", hint="See portico verify-schema.")
