"""Migration files: one YAML document each, in a folder beside the configuration, named by the time that they were written."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import yaml

from portico.catalog.operations import read_operations, write_operations
from portico.catalog.reading import Reader
from portico.errors import ConfigurationError
from portico.model.migration import Migration, Operation

FOLDER = "migrations"
"""The folder's name, beside ``portico.yaml``."""

IRREVERSIBLE = "irreversible"
_FILE = re.compile(r"\d{8}_\d{6}_[a-z0-9_]+")
_KEYS = frozenset({"description", "database", "dependencies", "operations", "up", "down", "script", "collection_or_table"})


def checksum(up: object, down: object, dependencies: Sequence[str]) -> str:
    """The checksum of a migration's content: comments and layout do not count."""
    text = json.dumps([up, down, list(dependencies)], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def read_folder(folder: Path, *, databases: Sequence[str]) -> list[Migration]:
    """The migrations of a folder, in the order of their names, with those that others depend on before them; none without a folder.

    Args:
        databases: the configured SQL databases; the first is meant where a file names none.

    Raises:
        ConfigurationError: a file is not one, or depends on itself.
    """
    if not folder.is_dir():
        return []
    found = [_read(path, databases) for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])]
    return _ordered(found)


def _read(path: Path, databases: Sequence[str]) -> Migration:
    if _FILE.fullmatch(path.stem) is None:
        raise ConfigurationError(
            f"{path.name} is not the name of a migration.",
            hint="Names are like 20260102_101500_add_invoices.yaml; portico migrate new makes them.",
        )
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ConfigurationError(f"{path.name} is not YAML.") from None
    reader = Reader(data if data is not None else {}, path.name, _KEYS)
    database = reader.text("database") or (databases[0] if databases else "")
    if database not in databases:
        raise ConfigurationError(f"{path.name} names the database {database!r}, which is not a configured SQL database.")
    script, given = reader.text("script"), reader.raw("operations") if "operations" in reader else reader.raw("up")
    if (script is None) is (given is None):
        raise ConfigurationError(f"{path.name} needs either operations or a script.")
    given = given if script is None else [{"run_sql": script}]
    down = reader.raw("down")
    operations = read_operations(given, f"{path.name}: operations")
    way_back = None if down in (None, IRREVERSIBLE) else read_operations(down, f"{path.name}: down")
    dependencies = reader.names("dependencies")
    return Migration(
        id=path.stem,
        name=path.stem[16:],
        database=database,
        operations=operations,
        down=way_back,
        dependencies=dependencies,
        description=reader.text("description") or "",
        version=path.stem[:15],
        collection_or_table=reader.text("collection_or_table"),
        script=script,
        checksum=checksum(given, down, dependencies),
        irreversible=down == IRREVERSIBLE,
    )


def _ordered(migrations: Sequence[Migration]) -> list[Migration]:
    known = {name: migration for migration in migrations for name in (migration.id, migration.name)}
    done: dict[str, Migration] = {}
    on_the_way: set[str] = set()

    def visit(migration: Migration) -> None:
        if migration.id in done:
            return
        if migration.id in on_the_way:
            raise ConfigurationError(f"The migration {migration.id} depends on itself.")
        on_the_way.add(migration.id)
        for name in migration.dependencies:
            if name in known:
                visit(known[name])
        done[migration.id] = migration

    for migration in migrations:
        visit(migration)
    return list(done.values())


def new_id(message: str, now: dt.datetime | None = None) -> str:
    """The id of a new migration: the time in UTC, and the message in letters, digits and underscores."""
    slug = re.sub(r"[^a-z0-9]+", "_", message.lower()).strip("_")[:60] or "migration"
    return f"{(now or dt.datetime.now(dt.UTC)):%Y%m%d_%H%M%S}_{slug}"


def write_file(
    folder: Path,
    message: str,
    operations: Sequence[Operation],
    down: Sequence[Operation] | None,
    *,
    database: str,
    notes: Iterable[str] = (),
) -> Path:
    """Write a migration file for review; gives its path.

    Args:
        down: the way back; None writes that there is none. notes: what the reviewer should look at, a line each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{new_id(message)}.yaml"
    document: Mapping[str, object] = {
        "description": message,
        "database": database,
        "operations": [_trimmed(item) for item in write_operations(operations)],
        "down": [_trimmed(item) for item in write_operations(down)] if down is not None else IRREVERSIBLE,
    }
    head = "".join(f"# {note}\n" for note in ("Review this file: it is applied as it stands by portico migrate up.", *notes))
    with path.open("x", encoding="utf-8") as handle:
        handle.write(head + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120))
    return path


def _trimmed(operation: dict[str, object]) -> dict[str, object]:
    """A created collection without what is the default."""
    created = operation.get("create_collection")
    if not isinstance(created, dict):
        return operation
    plain = {"relations": [], "indexes": [], "timestamps": False, "audit": False, "versioned": False}
    kept = {key: value for key, value in created.items() if key not in plain or value != plain[key]}
    if isinstance(kept.get("security"), dict):
        kept["security"] = {key: value for key, value in kept["security"].items() if value != []}
    kept.pop("database", None)
    return {"create_collection": kept}
