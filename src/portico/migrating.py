"""The migrators that the service runs: made from the settings when a call first asks for one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from portico.catalog.catalog import LiveCatalog
from portico.model.collection import Collection
from portico.model.migration import Checks
from portico.settings import Settings
from portico.wiring import main_database, migration_target, types

if TYPE_CHECKING:
    from portico.migrations.service import ServedMigrator

_SQL = ("postgresql", "sqlite")
WAIT_SECONDS = 5.0
"""How long a call waits for a database that does not answer."""

LOCK_SECONDS = 30.0
"""How long a call waits for another migration."""


class LazyMigrators(Mapping[str, "ServedMigrator"]):
    """The migrators of the SQL databases by name, main one first. What they import is loaded when one is asked for."""

    def __init__(self, settings: Settings, catalog: LiveCatalog) -> None:
        self._settings = settings
        self._catalog = catalog
        found = [name for name, kind in types(settings).items() if kind in _SQL]
        self._names = sorted(found, key=lambda name: name != main_database(settings))

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._names)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        """Whether that is an SQL database."""
        return name in self._names

    def __getitem__(self, name: str) -> ServedMigrator:
        """The migrator of one database; to be asked for on the event loop."""
        from portico.migrations.migrator import Migrator  # noqa: PLC0415
        from portico.migrations.planning import ENGINES  # noqa: PLC0415
        from portico.migrations.service import ServedMigrator  # noqa: PLC0415
        from portico.migrations.stored import as_stored  # noqa: PLC0415

        if name not in self._names:
            raise KeyError(name)
        loop = asyncio.get_running_loop()
        database = self._settings.databases[name]

        def known(checks: Checks | None) -> Mapping[str, Collection]:
            # Another migrator may just have changed it: the loop reads it anew, this thread waits.
            asyncio.run_coroutine_threadsafe(self._catalog.refresh(name), loop).result()
            served = self._catalog.current.of_database(name)
            return as_stored(served, self._catalog.tables(name), ENGINES[database.type].dialect, checks)

        target = migration_target(self._settings, name, known)
        url = database.migration_connection.text()
        return ServedMigrator(Migrator(url, target, wait_seconds=WAIT_SECONDS, lock_seconds=LOCK_SECONDS))
