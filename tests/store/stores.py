"""A store that has its tables, for the tests of whatever reads or changes keys."""

from dataclasses import dataclass

from sqlalchemy import Engine, text

from portico.store import schema
from portico.store.repositories import KeyRepository
from tests.servers.postgres import PostgresDatabase

PEPPER = b"a pepper for the tests"


@dataclass(frozen=True)
class Store:
    """A store that has its tables, as tools see it and as a service does."""

    url: str
    engine: Engine
    keys: KeyRepository


def prepare(database: PostgresDatabase) -> None:
    """Create the tables as the owner."""
    engine = schema.open_store(database.dsn("migrator"))
    with engine.begin() as connection:
        connection.execute(text("SET ROLE appowner"))
        schema.create(connection)
    engine.dispose()
