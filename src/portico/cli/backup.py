"""`portico backup`: backs up the SQL databases, and removes old backups once the new ones are proven."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from portico.backup.run import Source, Taken, size_of, take
from portico.cli.common import ConfigOption, JsonOption, end_tidily, load_settings, print_json
from portico.cli.init_db import DatabaseOption
from portico.cli.progress import progress
from portico.cli.sql_databases import sql_databases
from portico.errors import ConfigurationError
from portico.settings import Settings
from portico.settings.keyring import MasterKey

OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Folder for the backups; made where it is missing.")]
EncryptOption = Annotated[bool, typer.Option("--encrypt", help="Encrypt with the master key.")]
KeepOption = Annotated[float, typer.Option("--keep-days", min=0, help="Remove this database's backups that are older; 0 keeps all.")]


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("backup")(backup)


def backup(
    config: ConfigOption = None,
    database: DatabaseOption = None,
    output: OutputOption = Path("backups"),
    encrypt: EncryptOption = False,
    keep_days: KeepOption = 30,
    as_json: JsonOption = False,
) -> None:
    """Back up the SQL databases while they are in use: consistent, compressed, with checksums, and read again before old ones go."""
    end_tidily()
    settings = load_settings(config)
    key = master_key(settings) if encrypt else None
    answers = {}
    for source in sources(settings, database):
        started = time.monotonic()
        with progress(f"backing up {source.name}", size_of(source), unit="bytes", quiet=as_json) as advance:
            taken = take(source, output, key=key, keep_days=keep_days, advance=advance)
        seconds = round(time.monotonic() - started, 3)
        answers[source.name] = _described(taken, seconds)
        if not as_json:
            _say(source.name, taken, seconds)
    if as_json:
        print_json(answers)


def sources(settings: Settings, only: str | None) -> list[Source]:
    """The SQL databases to back up, as the login that reads everything. Raises ConfigurationError."""
    found = []
    for item in sql_databases(settings, only):
        url = settings.databases[item.name].backup_connection.text()
        found.append(Source(item.name, item.type, url, Path(item.file) if item.file is not None else None))
    return found


def master_key(settings: Settings) -> MasterKey:
    """The key that encrypts. Raises ConfigurationError where there is none."""
    if not settings.keyring.keys:
        hint = "Make a key with `portico secrets generate-key` and give it in PORTICO_MASTER_KEY_FILE (or PORTICO_MASTER_KEY)."
        raise ConfigurationError("A backup can be encrypted only with a master key.", hint=hint)
    return settings.keyring.keys[0]


def _described(taken: Taken, seconds: float) -> dict[str, object]:
    written = taken.written
    return {
        "file": str(written.file),
        "bytes": written.size,
        "sha256": written.sha256,
        "encrypted": written.encrypted,
        "seconds": seconds,
        "removed": list(taken.removed),
    }


def _say(name: str, taken: Taken, seconds: float) -> None:
    written = taken.written
    kind = "encrypted, " if written.encrypted else ""
    typer.echo(f"{name}: {written.file} ({kind}{written.size} bytes, {seconds:.1f} s, read again and unharmed)")
    for removed in taken.removed:
        typer.echo(f"{name}: removed {removed}")
