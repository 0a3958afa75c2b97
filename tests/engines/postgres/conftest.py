"""A PostgreSQL with row-level security on, a collection of notes of many tenants, and callers who wait at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
import pytest_asyncio
import sqlalchemy as sa

from portico.engines.base import Answer, Call
from portico.engines.postgres.engine import PostgresEngine
from portico.engines.postgres.pool import PoolOptions
from portico.engines.sql.companions_ddl import create_companions
from portico.engines.sql.ddl import build_metadata
from portico.engines.sql.identifiers import APP_SCHEMA
from portico.engines.sql.policies import enable_policy
from portico.events import Event
from portico.model.collection import Collection
from portico.model.identity import Actor
from portico.model.scope import EVERYTHING, Scope
from portico.query.scoped import GetByKey, ListPage
from portico.service.coalesce import Coalescer, Lane
from tests.engines.harness import Harness, declared
from tests.servers.postgres import PostgresDatabase, PostgresServer
from tests.servers.waiting import wait_until_async

NOTES: dict[str, Any] = {
    "name": "notes",
    "fields": [
        {"name": "id", "type": "integer", "required": True, "constraints": ["primary_key"]},
        {"name": "client_id", "type": "string(255)", "required": True},
        {"name": "title", "type": "text", "required": False, "constraints": ["unique"]},
    ],
    "security": {"access_control": "tenant", "tenant_field": "client_id"},
    "audit": True,
}
A, B = Scope(clients=("a",)), Scope(clients=("b",))
SECRET = b"a secret of the tests, 32 bytes!"


def prepare(database: PostgresDatabase) -> None:
    """Create the table of notes under its policy, the companion tables, and two notes of each tenant."""
    (notes,) = collections()
    engine = sa.create_engine(database.dsn("postgres").replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {APP_SCHEMA}; GRANT USAGE ON SCHEMA {APP_SCHEMA} TO appuser"))
        build_metadata((notes,), dialect="postgresql").create_all(connection)
        for text in enable_policy(notes, {}):
            connection.exec_driver_sql(text)
        connection.execute(sa.text(f"GRANT ALL ON ALL TABLES IN SCHEMA {APP_SCHEMA} TO appuser"))
        create_companions(connection)
        connection.execute(sa.text("INSERT INTO app.notes VALUES (1, 'a', 'a1'), (2, 'b', 'b1'), (3, 'a', 'a2'), (4, 'b', 'b2')"))
        connection.execute(sa.text("ANALYZE app.notes"))
    engine.dispose()


def collections() -> tuple[Collection, ...]:
    """The collection of notes."""
    return tuple(replace(item, schema=APP_SCHEMA) for item in declared(NOTES))


@dataclass
class Notes:
    """An engine over the notes, a coalescer in front of it, and the events of both."""

    database: PostgresDatabase
    engine: PostgresEngine
    coalescer: Coalescer
    harness: Harness
    events: list[Event] = field(default_factory=list)

    def lane(self, plan: Any) -> Lane:
        """A lane for the calls of a plan."""
        return Lane(self.engine, plan, 30.0, "notes", "test")

    def reading(self, scope: Scope = A) -> Lane:
        """The lane of reads by key for callers of such scopes."""
        bound, _ = self.harness.bound("notes", "")
        key, _ = self.harness.key("notes", (1,), 0)
        return self.lane(self.engine.compile(GetByKey(bound, key, self.harness.within(scope).rule("notes"))))

    def listing(self, scope: Scope = A, query: str = "limit=10") -> tuple[Lane, tuple[object, ...]]:
        """The lane of a page for callers of such scopes, and the values of a call."""
        bound, values = self.harness.bound("notes", query)
        return self.lane(self.engine.compile(ListPage(bound, self.harness.within(scope).rule("notes")))), values

    def creating(self, scope: Scope = A) -> Lane:
        """The lane of creates with an id, a client and a title."""
        plan, _ = self.harness.within(scope).created("notes", {"id": 1, "client_id": "a", "title": "x"}, audit=True)
        return self.lane(plan)

    def changing(self, scope: Scope = A) -> Lane:
        """The lane of changes of a title by key."""
        plan, _ = self.harness.within(scope).changed("notes", (1,), {"title": "x"}, audit=True)
        return self.lane(plan)

    async def run(self, lane: Lane, values: Sequence[object], scope: Scope = A, *, service: str = "billing") -> Answer:
        """Run one call in a lane."""
        return await self.coalescer.run(lane, Call(tuple(values), scope, Actor(service, None, None, "correlation")))

    async def run_at_once(self, lane: Lane, calls: Sequence[tuple[Sequence[object], Scope]]) -> list[Any]:
        """Run calls that all arrive at the same moment; errors stand among the answers."""
        return await asyncio.gather(*(self.run(lane, values, scope) for values, scope in calls), return_exceptions=True)

    def statements(self, like: str = "%") -> list[str]:
        """The statements that the service's role runs now."""
        rows = self.database.execute(
            "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND usename = 'appuser' AND state = 'active' "
            f"AND query LIKE '{like}'"
        )
        return [cast("str", query) for (query,) in rows]

    async def until_running(self, count: int = 1, like: str = "%notes%", within: float = 10) -> None:
        """Wait until so many statements run at the server."""

        async def holds() -> bool:
            return len(await asyncio.to_thread(self.statements, like)) == count

        await wait_until_async(holds, within, f"{count} statements")


StartNotes = Callable[..., Awaitable[Notes]]


@pytest.fixture
def notes_database(postgres: PostgresServer) -> Any:
    """A fresh database of notes."""
    database = postgres.new_database(template=postgres.create_template("notes_of_tenants", prepare))
    yield database
    database.drop()


@pytest_asyncio.fixture
async def start_notes() -> AsyncIterator[StartNotes]:
    """Starts an engine over a database of notes; it is closed with the test."""
    opened: list[Notes] = []

    async def start(database: PostgresDatabase, dsn: str | None = None, **options: Any) -> Notes:
        events: list[Event] = []
        engine = PostgresEngine(
            "main", PoolOptions(dsn or database.dsn(), **options), schemas=[APP_SCHEMA], secret=SECRET, emit=events.append
        )
        await engine.start()
        harness = Harness(engine, {item.name: item for item in collections()}, cast("Any", None), scope=EVERYTHING)
        opened.append(Notes(database, engine, Coalescer(events.append), harness, events))
        return opened[-1]

    yield start
    for notes in opened:
        await notes.coalescer.drain()
        await notes.engine.close()


@pytest_asyncio.fixture
async def notes(notes_database: PostgresDatabase, start_notes: StartNotes) -> Notes:
    """An engine over notes, with ten connections."""
    return await start_notes(notes_database, maximum=10)
