"""One service over SQLite and one over PostgreSQL, for all tests of a module; each test works on ids of its own."""

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg
import pytest
import yaml

from tests.servers.portico import PorticoProcess
from tests.servers.prepared import ENGINES, running

_NUMBERS = itertools.count()


@pytest.fixture(scope="module", params=[pytest.param(engine, marks=pytest.mark.database) for engine in ENGINES])
def service(request: pytest.FixtureRequest) -> Iterator[PorticoProcess]:
    """The service."""
    server = request.getfixturevalue("postgres") if request.param == "postgres" else None
    with running(request.param, {"http": {"workers": 1}}, server) as process:
        yield process


@pytest.fixture
def companions(service: PorticoProcess) -> Callable[[], dict[str, int]]:
    """Counts the rows of the companion tables, beside the service."""
    names = ("audit", "versions", "idempotency")

    def count() -> dict[str, int]:
        database = yaml.safe_load(service.config_file.read_text()).get("databases", {}).get("main")
        if database is None:
            with closing(sqlite3.connect(service.folder / "portico.db")) as file:
                return {name: file.execute(f"SELECT count(*) FROM portico_{name}").fetchone()[0] for name in names}
        with psycopg.connect(database["connection_string"]) as connection:
            return {name: connection.execute(f"SELECT count(*) FROM portico.{name}").fetchall()[0][0] for name in names}

    return count


@pytest.fixture
def fresh() -> Callable[[], str]:
    """Gives ids that no other test has."""
    return lambda: f"id-{next(_NUMBERS)}"
