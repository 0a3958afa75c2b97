"""What `init-db` and `verify-schema` share: the SQL databases of the settings, with the collections that belong in each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from portico.builtin.declarations import builtin_database
from portico.errors import ConfigurationError
from portico.model.collection import Collection
from portico.settings import Settings
from portico.wiring import declared_collections

SQL_TYPES = ("postgresql", "sqlite")


@dataclass(frozen=True, slots=True)
class SqlDatabase:
    """One SQL database.

    Attributes:
        url: the migrating login's address. file: SQLite's file, None elsewhere.
        declared: the configuration's collections in it. discover: the schemas whose tables are served.
        builtin: whether it holds the built-in collections. holds_store: the control data.
    """

    name: str
    type: str
    url: str
    file: str | None
    declared: tuple[Collection, ...]
    discover: tuple[str, ...]
    builtin: bool
    holds_store: bool


def sql_databases(settings: Settings, only: str | None) -> Iterator[SqlDatabase]:
    """The SQL databases in the order of the settings, or the one named `only`.

    Raises:
        ConfigurationError: a declaration is wrong, or there is no such SQL database.
    """
    types = {name: database.type for name, database in settings.databases.items()}
    # A declaration that is laid over a built-in collection makes no table of its own.
    declared = [item for item in declared_collections(settings) if item.origin != "builtin"]
    chosen = [name for name, kind in types.items() if kind in SQL_TYPES and only in (None, name)]
    if not chosen:
        raise ConfigurationError(f"There is no SQL database {only!r}." if only else "No SQL database is configured.")
    for name in chosen:
        connection = settings.databases[name].migration_connection
        yield SqlDatabase(
            name=name,
            type=types[name],
            url=connection.text(),
            file=str(Path(connection.database)) if types[name] == "sqlite" else None,
            declared=tuple(item for item in declared if item.database == name),
            discover=settings.databases[name].discover,
            builtin=name == builtin_database(types),
            holds_store=name == settings.store.database,
        )
