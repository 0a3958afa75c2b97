"""A Portico that serves the library over each engine, one for a module; a test that writes puts the library back."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx2
import pytest

from tests.rest.library import CONFIG, OF_POSTGRES, ROWS_OF_POSTGRES, VOLUMES, WRITERS
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresServer
from tests.servers.prepared import over, prepared_database

Wire = httpx2.Client


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def served(request: pytest.FixtureRequest) -> Iterator[tuple[str, PorticoProcess, Callable[[], None]]]:
    """The engine, a running Portico, and what puts the library back."""
    if request.param == "sqlite":
        process = PorticoProcess(CONFIG, warm=True)
        try:
            yield "sqlite", process.start(), lambda: fill(process)
        finally:
            process.close()
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    database = prepared_database(server, CONFIG)
    database.execute(OF_POSTGRES)
    main = over(database)["databases"]["main"] | {"discover": ["public", "annex"]}  # type: ignore[index]
    process = PorticoProcess(CONFIG | {"databases": {"main": main}}, warm=True)

    def refill() -> None:
        database.execute("TRUNCATE public.loans")
        fill(process)
        database.execute(ROWS_OF_POSTGRES)

    try:
        yield "postgres", process.start(), refill
    finally:
        process.close()
        database.drop()


def fill(process: PorticoProcess) -> None:
    """Put the library into its first state."""
    for name, rows in (("books", []), ("authors", WRITERS), ("books", VOLUMES)):
        process.client.delete(f"/rest/v1/{name}?id=gte.0").raise_for_status()
        if rows:
            process.client.post(f"/rest/v1/{name}", json=rows).raise_for_status()


@pytest.fixture
def engine(served: tuple[str, PorticoProcess, Callable[[], None]]) -> str:
    """Which engine is behind it."""
    return served[0]


@pytest.fixture
def library(served: tuple[str, PorticoProcess, Callable[[], None]]) -> PorticoProcess:
    """Portico with the library in its first state."""
    served[2]()
    return served[1]


@pytest.fixture
def rest(library: PorticoProcess) -> Iterator[Wire]:
    """A plain HTTP client whose paths begin at `/rest/v1`."""
    with httpx2.Client(base_url=library.url + "/rest/v1", timeout=20) as client:
        yield client
