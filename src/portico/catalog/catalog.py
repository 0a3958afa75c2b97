"""The catalog: an immutable snapshot of the collections that are served, and the holder that replaces it when a schema changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Protocol, runtime_checkable

from portico.catalog.declare import declare
from portico.catalog.merge import Source, merge
from portico.errors import CollectionNotFound, DatabaseUnavailable, PorticoError
from portico.events import CatalogChanged, Emit
from portico.model.collection import Collection

_MOST_READINGS = 5
"""How often a schema is read again that changes while it is read; what was read last is then served, and the next look reads it anew."""


@dataclass(frozen=True)
class Catalog:
    """What is served at one moment.

    Attributes:
        version: grows with each change; 0 is the empty catalog before the first load.
        collections: by name, in order. missing: declared collections without a table. problems: what did not fit, a sentence each.
        unread: databases that could not be reached since the start, so that nobody knows what they have.
    """

    version: int = 0
    collections: Mapping[str, Collection] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    def get(self, name: str) -> Collection | None:
        """The collection of that name, or None."""
        return self.collections.get(name)

    def find(self, name: str) -> Collection:
        """The collection of that name.

        Raises:
            CollectionNotFound: there is none. DatabaseUnavailable: it may be in a database that was not read yet.
        """
        found = self.collections.get(name)
        if found is not None:
            return found
        if self.unread:
            raise DatabaseUnavailable("A database cannot be reached, so its collections are not known yet.")
        raise CollectionNotFound(f"There is no collection {name[:100]}.", details={"collection": name[:100]})

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of all collections, in order."""
        return tuple(self.collections)

    def of_database(self, database: str) -> tuple[Collection, ...]:
        """The collections that one database holds."""
        return tuple(item for item in self.collections.values() if item.database == database)

    @cached_property
    def by_table(self) -> Mapping[tuple[str, str | None, str], Collection]:
        """The collections by database, schema and table."""
        return {(item.database, item.schema, item.table): item for item in self.collections.values()}


class Reflecting(Protocol):
    """The part of an engine that the catalog needs."""

    @property
    def name(self) -> str:
        """The configured database's name."""
        ...

    async def reflect(self) -> tuple[Collection, ...]:
        """Its tables and views."""
        ...

    async def fingerprint(self) -> str:
        """A short text that changes when they do."""
        ...


@runtime_checkable
class Remembering(Protocol):
    """An engine whose database keeps the schema documents of collections that migrations created."""

    async def stored_documents(self) -> Sequence[Mapping[str, object]]:
        """The documents."""
        ...


@dataclass(frozen=True, slots=True)
class Served:
    """A database that the catalog reads: its engine, the schemas that `discover` names, and whether collections need no creation."""

    engine: Reflecting
    schemas: tuple[str, ...] = ()
    schemaless: bool = False


class LiveCatalog:
    """Holds the catalog in force. Readers take `current` once for a request; a reload replaces it in one step.

    Args:
        declared: built-in and declared collections. databases: where they and the discovered ones are.
        emit: is told of each change.
    """

    def __init__(self, declared: Sequence[Collection], databases: Iterable[Served], *, emit: Emit) -> None:
        self._declared = tuple(declared)
        self._databases = {served.engine.name: served for served in databases}
        self._fingerprints: dict[str, str] = {}
        self._tables: dict[str, tuple[Collection, ...]] = {}
        self._stored: dict[str, tuple[Collection, ...]] = {}
        self._emit = emit
        self._lock = asyncio.Lock()
        self.current = Catalog()

    @property
    def databases(self) -> tuple[str, ...]:
        """The names of the databases that it reads."""
        return tuple(self._databases)

    def tables(self, database: str) -> tuple[Collection, ...]:
        """The tables of one database as its engine reflected them."""
        return self._tables.get(database, ())

    async def load(self) -> Catalog:
        """Read every database and refuse what does not fit.

        Raises:
            ConfigurationError: declarations that do not fit the databases. DatabaseUnavailable: one cannot be read.
        """
        async with self._lock:
            for name in self._databases:
                await self._read(name)
            self._replace(strict=True)
            return self.current

    async def reload(self, *, seen: int) -> Catalog:
        """The catalog after every database that can be reached was read anew; of the others, what was known of them stays.

        Args:
            seen: the version that the caller found out of date; if it is replaced already, nothing is read.
        """
        async with self._lock:
            if self.current.version == seen:
                for name in self._databases:
                    try:
                        await self._read(name)
                    except PorticoError:
                        # A database that is away now has not changed as far as anyone can say.
                        continue
                self._replace(strict=False)
            return self.current

    async def refresh(self, database: str) -> bool:
        """Compare one database's fingerprint and read it anew if it changed; gives whether the catalog did.

        Raises:
            PorticoError: the database cannot be read now.
        """
        fingerprint = await self._databases[database].engine.fingerprint()
        if fingerprint == self._fingerprints.get(database):
            return False
        async with self._lock:
            before = self.current.version
            await self._read(database)
            self._replace(strict=False)
            return self.current.version != before

    async def look_again(self, changed: str | None = None) -> None:
        """Read every database anew; or only the one that `changed` names, and only where its fingerprint is another than the known one."""
        if changed is None:
            await self.reload(seen=self.current.version)
        else:
            await self.refresh(changed)

    async def _read(self, name: str) -> None:
        engine = self._databases[name].engine
        # The fingerprint comes first: a change between the two is then seen next time.
        fingerprint = await engine.fingerprint()
        tables = await engine.reflect()
        for _ in range(_MOST_READINGS):
            # What was read while a table changed may be half of it: a column that is neither what it was nor what it is.
            now = await engine.fingerprint()
            if now == fingerprint:
                break
            fingerprint, tables = now, await engine.reflect()
        self._tables[name] = tables
        if isinstance(engine, Remembering):
            documents = await engine.stored_documents()
            self._stored[name] = tuple(declare(document, source=f"{name}: migrations", database=name) for document in documents)
        self._fingerprints[name] = fingerprint

    def _all_declared(self) -> tuple[Collection, ...]:
        """What is configured, and what migrations created besides; where both declare a name, the configuration counts."""
        found = {item.name: item for name in self._databases for item in self._stored.get(name, ())}
        return (*self._declared, *(item for name, item in found.items() if all(item.name != name for item in self._declared)))

    def _replace(self, *, strict: bool) -> None:
        sources = [Source(name, served.schemas, self._tables.get(name, ()), served.schemaless) for name, served in self._databases.items()]
        merged = merge(self._all_declared(), sources, strict=strict)
        current = self.current
        # A collection that did not change stays the same object, so that the plans made for it stay good.
        collections = {item.name: _kept(item, current.get(item.name)) for item in merged.collections}
        unchanged = list(collections.items()) == list(current.collections.items())
        unread = tuple(name for name in self._databases if name not in self._tables)
        rest = (merged.missing, merged.problems, unread)
        if current.version and unchanged and rest == (current.missing, current.problems, current.unread):
            return
        self.current = Catalog(current.version + 1, collections, *rest)
        self._emit(CatalogChanged(self.current.version, len(collections)))


def same_content(one: Collection, other: Collection) -> bool:
    """Whether two collections say the same; as objects they are equal to themselves alone."""
    return all(getattr(one, part.name) == getattr(other, part.name) for part in fields(one))


def _kept(made: Collection, known: Collection | None) -> Collection:
    return known if known is not None and same_content(made, known) else made
