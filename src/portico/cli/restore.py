"""`portico restore`: puts a backup into an empty database, after the whole file was proven."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from portico.backup.file import Header, read_header, verify
from portico.backup.run import Source, restore
from portico.cli.common import ConfigOption, JsonOption, end_tidily, load_settings, print_json
from portico.cli.progress import progress
from portico.cli.sql_databases import sql_databases
from portico.errors import ConfigurationError
from portico.settings import ConnectionUrl, Settings

FileArgument = Annotated[Path, typer.Argument(help="The backup.")]
IntoOption = Annotated[str | None, typer.Option("--into", help="URL of the database to restore into, instead of a configured one.")]
DatabaseOption = Annotated[str | None, typer.Option("--database", help="Configured database to restore into; by default the backup's own.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Remove everything that the target has.")]
CheckOption = Annotated[bool, typer.Option("--check", help="Only read the whole file and say whether it could be restored.")]


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("restore")(restore_backup)


def restore_backup(
    file: FileArgument,
    config: ConfigOption = None,
    into: IntoOption = None,
    database: DatabaseOption = None,
    force: ForceOption = False,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """Restore a backup into an empty database. A file that is truncated, changed or not Portico's is refused before anything is touched."""
    end_tidily()
    settings = load_settings(config)
    keys = settings.keyring.keys
    started = time.monotonic()
    if check:
        header, target = verify(file, keys), None
    else:
        target = _target(settings, file, into, database)
        with progress(f"restoring {file.name}", 0, unit="bytes", quiet=as_json) as advance:
            header = restore(file, target, keys=keys, force=force, advance=advance)
    seconds = round(time.monotonic() - started, 3)
    if as_json:
        print_json({**asdict(header), "restored": target is not None, "seconds": seconds})
    else:
        typer.echo(_said(file, header, target, seconds))


def _target(settings: Settings, file: Path, into: str | None, database: str | None) -> Source:
    if into is not None:
        url = ConnectionUrl.parse(into)
        if url.type not in ("postgresql", "sqlite"):
            raise ConfigurationError("A backup is restored into PostgreSQL or an SQLite file.", hint="See --into.")
        return Source("--into", url.type, url.text(), Path(url.database) if url.type == "sqlite" else None)
    name = database or read_header(file, settings.keyring.keys).database
    item = next(iter(sql_databases(settings, name)))
    return Source(item.name, item.type, item.url, Path(item.file) if item.file is not None else None)


def _said(file: Path, header: Header, target: Source | None, seconds: float) -> str:
    what = f"{file.name}: of {header.database} ({header.engine}), taken at {header.taken_at}"
    return f"{what}: unharmed" if target is None else f"{what}: restored into {target.name} in {seconds:.1f} s"
