"""A migrator as the service runs it, for the calls of the API: it blocks, so it runs in a thread of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from portico.catalog.operations import read_operations
from portico.errors import NotFound
from portico.migrations.migrator import Migrator
from portico.migrations.showing import shown_steps
from portico.model.migration import Migration, Operation, Record


class ServedMigrator:
    """Runs migrations of one database. A database that is away is not waited for: the caller is."""

    def __init__(self, migrator: Migrator) -> None:
        self._migrator = migrator

    def run(self, migration: Migration) -> Record:
        """Run one migration."""
        return self._migrator.run(migration)

    def rollback(self, key: str, by: str) -> Record:
        """Run the way down of one, for `by`."""
        return self._migrator.rollback(key, by)

    def records(self) -> Sequence[Record]:
        """Every migration that the journal knows."""
        return [entry.record for entry in self._migrator.entries()]

    def operations(self, key: str) -> tuple[tuple[Operation, ...], tuple[Operation, ...]]:
        """The operations up and down of a migration in the journal. Raises NotFound."""
        entry = next((item for item in self._migrator.entries() if item.record.id == key), None)
        if entry is None:
            raise NotFound(f"There is no migration {key[:100]}.")
        return read_operations(entry.operations, key), read_operations(entry.down or (), key)

    def show(self, migration: Migration) -> Sequence[Mapping[str, object]]:
        """The steps that it would take, with their SQL."""
        return [step for _, planned in self._migrator.plan([migration]) for step in shown_steps(planned)]
