"""Reports of what the service holds: pools, capabilities, and how many rows each collection has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from portico.catalog.catalog import Catalog
from portico.engines.base import Engine, Measuring, PoolStatus, TableSize
from portico.errors import PorticoError
from portico.model.collection import Collection
from portico.model.identity import Actor, Identity, Permission, Rule
from portico.model.scope import EVERYTHING
from portico.service.authorize import effective, fingerprint
from portico.service.caller import Caller
from portico.service.documents import Documents

EXACT_ROWS = 50_000
"""Tables that have more rows, as far as the database knows, are not counted but estimated."""

_COUNT_SECONDS = 2.0
_RULES = (Rule("*", frozenset({Permission.READ})),)
_COUNTER = Caller(
    identity=Identity(
        "portico", "monitor", _RULES, None, statement_timeout=_COUNT_SECONDS, fingerprint=fingerprint(_RULES, _COUNT_SECONDS)
    ),
    scope=EVERYTHING,
    actor=Actor("portico", None, None, ""),
)


@dataclass(frozen=True, slots=True)
class CollectionSize:
    """How large a collection is: `rows` and `bytes` (on disk) are None where not known cheaply; `exact` tells a count from an estimate."""

    collection: str
    database: str
    rows: int | None
    exact: bool
    bytes: int | None
    dead_rows: int | None


class Monitor:
    """Gives the reports. `engines` are by database; `catalog` gives the snapshot in force; `documents` counts."""

    def __init__(self, engines: Mapping[str, Engine], *, catalog: Callable[[], Catalog], documents: Documents) -> None:
        self._engines = engines
        self._catalog = catalog
        self._documents = documents

    def pools(self) -> dict[str, PoolStatus]:
        """The pool of each database, in this process."""
        return {name: engine.pool_status() for name, engine in self._engines.items()}

    def capabilities(self) -> dict[str, tuple[str, list[str]]]:
        """The kind of each database, and the names of what it can do."""
        return {name: (engine.kind, sorted(engine.capabilities)) for name, engine in self._engines.items()}

    async def sizes(self, identity: Identity) -> list[CollectionSize]:
        """The sizes of the collections that the caller may read; a service of some clients alone learns no counts, which are of all."""
        collections = [item for item in self._catalog().collections.values() if _may_read(identity, item)]
        if not identity.may_ask_everything:
            return [CollectionSize(item.name, item.database, None, False, None, None) for item in collections]
        measured = await self._measured()
        return list(
            await asyncio.gather(*(self._size(item, measured.get((item.database, item.schema, item.table))) for item in collections))
        )

    async def _measured(self) -> dict[tuple[str, str | None, str], TableSize]:
        found: dict[tuple[str, str | None, str], TableSize] = {}
        for name, engine in self._engines.items():
            if isinstance(engine, Measuring):
                try:
                    found |= {(name, size.schema, size.table): size for size in await engine.measure()}
                except PorticoError:
                    # A database that is away has sizes that nobody knows; the others are still told.
                    continue
        return found

    async def _size(self, collection: Collection, measured: TableSize | None) -> CollectionSize:
        rows = measured.rows if measured is not None else None
        size, dead = (measured.bytes, measured.dead_rows) if measured is not None else (None, None)
        exact = False
        if rows is None or rows <= EXACT_ROWS:
            try:
                rows, exact = await self._documents.count(_COUNTER, collection.name), True
            except PorticoError:
                exact = False
        return CollectionSize(collection.name, collection.database, rows, exact, size, dead)


def _may_read(identity: Identity, collection: Collection) -> bool:
    access = effective(identity, collection)
    return access.visible and Permission.READ in access.permissions
