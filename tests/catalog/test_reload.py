"""The catalog in force: replaced when a schema changes, kept when it does not, and while a database is away."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from portico.catalog.catalog import LiveCatalog, Served
from portico.catalog.declare import declare
from portico.catalog.watch import watch
from portico.engines.sqlite import reflect as sqlite_reflect
from portico.errors import CollectionNotFound, ConfigurationError, DatabaseUnavailable
from portico.events import CatalogChanged, ConnectionFailed, Event
from portico.model.collection import Collection


class File:
    """A database file, as the part of an engine that the catalog reads; it can be taken away."""

    name = "main"

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, client_id TEXT)")
        self.away = False
        self.meanwhile: list[str] = []

    async def fingerprint(self) -> str:
        if self.away:
            raise DatabaseUnavailable("It is away.")
        return sqlite_reflect.fingerprint(self.connection)

    async def reflect(self) -> tuple[Collection, ...]:
        found = sqlite_reflect.reflect(self.connection, self.name)
        if self.meanwhile:
            self.connection.execute(self.meanwhile.pop(0))
        return found


class Record(list[Event]):
    """Events as they come; `until` waits for one that meets a condition."""

    def __init__(self) -> None:
        super().__init__()
        self.told = asyncio.Event()

    def append(self, event: Event) -> None:
        super().append(event)
        self.told.set()

    async def until(self, condition: Callable[[Event], bool]) -> None:
        async with asyncio.timeout(5):
            while not any(condition(event) for event in self):
                self.told.clear()
                await self.told.wait()


@pytest.fixture
def file(tmp_path):
    return File(tmp_path / "app.db")


@pytest.fixture
def events() -> Record:
    return Record()


@pytest.fixture
def live(file, events):
    return LiveCatalog((), [Served(file, ("main",))], emit=events.append)


async def test_a_new_column_is_served_after_a_reload_and_the_old_snapshot_stays_as_it_was(file, live, events):
    before = await live.load()
    file.connection.execute("ALTER TABLE orders ADD COLUMN total INTEGER")
    after = await live.reload(seen=before.version)
    assert "total" in after.get("orders").by_name
    assert "total" not in before.get("orders").by_name
    assert events == [CatalogChanged(1, 1), CatalogChanged(2, 1)]


async def test_a_schema_that_changes_while_it_is_read_is_read_again(file, live):
    file.meanwhile = [f"ALTER TABLE orders ADD COLUMN c{number} INTEGER" for number in range(3)]
    assert {"c0", "c1", "c2"} <= set((await live.load()).get("orders").by_name)


async def test_a_look_again_reads_a_database_only_where_its_schema_is_another(file, live, events):
    await live.load()
    await live.look_again("main")
    assert len(events) == 1
    file.connection.execute("ALTER TABLE orders ADD COLUMN total INTEGER")
    await live.look_again("main")
    assert "total" in live.current.get("orders").by_name


async def test_a_collection_that_did_not_change_stays_the_same_object(file, live):
    before = await live.load()
    file.connection.execute("CREATE TABLE others (id INTEGER PRIMARY KEY)")
    after = await live.reload(seen=before.version)
    assert after.names == ("orders", "others")
    assert after.get("orders") is before.get("orders")


async def test_a_reload_that_finds_nothing_new_keeps_the_catalog(live):
    before = await live.load()
    assert await live.reload(seen=before.version) is before


async def test_many_who_find_the_catalog_out_of_date_read_the_database_once(file, live, events):
    before = await live.load()
    file.connection.execute("ALTER TABLE orders ADD COLUMN total INTEGER")
    catalogs = await asyncio.gather(*(live.reload(seen=before.version) for _ in range(10)))
    assert {catalog.version for catalog in catalogs} == {2}
    assert len(events) == 2


async def test_a_database_that_is_away_keeps_its_collections(file, live):
    before = await live.load()
    file.away = True
    assert await live.reload(seen=before.version) is before


async def test_a_collection_of_a_database_that_was_never_reached_is_unavailable_and_not_missing(file, live):
    file.away = True
    unread = await live.reload(seen=0)
    with pytest.raises(DatabaseUnavailable):
        unread.find("orders")
    file.away = False
    read = await live.reload(seen=unread.version)
    assert read.find("orders").name == "orders"
    with pytest.raises(CollectionNotFound):
        read.find("nowhere")


async def test_declarations_that_do_not_fit_are_refused_at_start_but_not_while_serving(file, events):
    declared = declare({"name": "orders", "database": "main", "fields": [{"name": "client_id", "type": "text"}]}, source="t")
    live = LiveCatalog([declared], [Served(file)], emit=events.append)
    before = await live.load()
    file.connection.execute("ALTER TABLE orders DROP COLUMN client_id")
    after = await live.reload(seen=before.version)
    assert list(after.collections["orders"].by_name) == ["id"]
    assert after.problems
    with pytest.raises(ConfigurationError):
        await LiveCatalog([declared], [Served(file)], emit=events.append).load()


async def test_the_watcher_picks_up_a_change_and_outlives_a_database_that_is_away(file, live, events):
    await live.load()
    watching = asyncio.create_task(watch(live, emit=events.append, period=0.02))
    try:
        file.connection.execute("ALTER TABLE orders ADD COLUMN total INTEGER")
        await events.until(lambda event: event == CatalogChanged(2, 1))
        file.away = True
        await events.until(lambda event: isinstance(event, ConnectionFailed))
        file.connection.execute("ALTER TABLE orders ADD COLUMN rest INTEGER")
        file.away = False
        await events.until(lambda event: event == CatalogChanged(3, 1))
    finally:
        watching.cancel()
    assert sum(isinstance(event, ConnectionFailed) for event in events) == 1
