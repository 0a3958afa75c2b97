"""Fixtures that every test may ask for: real servers, one of each kind for a test session, and the service itself."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Literal, Protocol

import hypothesis
import pytest

from tests.servers.mongodb import MongoServer
from tests.servers.pgbouncer import PgBouncer
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresDatabase, PostgresServer
from tests.servers.prepared import give_embedded, over, prepared_database
from tests.servers.redis import RedisServer

# The tests start the service hundreds of times. Each start would compile it anew where its bytecode is not kept.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A gate that fails by chance is not trusted: with CI set, the examples are the same each time. Elsewhere they are new, to find more.
# No example has a deadline, because speed is measured and never tested by time.
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("search", deadline=None, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "search")

# At the end of a run, a test that takes long would keep one of its workers while the others wait.
_LONG = ("process", "histories", "docs", "features/test_schemathesis.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the tests that take long."""
    long = [config.rootpath / "tests" / name for name in _LONG]
    items.sort(key=lambda item: not any(item.path.is_relative_to(path) for path in long))


class StartPortico(Protocol):
    """Starts the real service for one test; it ends with the test."""

    def __call__(
        self,
        engine: Literal["sqlite", "postgres"] = "sqlite",
        config: Mapping[str, object] | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        start: bool = True,
        prepared: bool = True,
    ) -> PorticoProcess:
        """Start a process.

        Args:
            engine: "sqlite" for the embedded database, "postgres" for a fresh database with Portico's own schema.
            config: the content of `portico.yaml`; its `databases`, where there are any, replace the one that `engine` means.
            environment: more environment variables.
            start: False gives a process that is configured and not started.
            prepared: False lets the service itself make the embedded database, as its first start does.
        """


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--observability`, which also checks what is exported to a collector, and `--calls`."""
    parser.addoption("--calls", default="300", help="how many random calls each tenant makes in test_tenants_apart.py")
    parser.addoption("--observability", action="store_true", help="also check exported logs, metrics and traces")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL for the session, without durability."""
    server = PostgresServer.start()
    yield server
    server.stop()


@pytest.fixture
def postgres_database(postgres: PostgresServer) -> Iterator[PostgresDatabase]:
    """A fresh, empty database that `appowner` owns."""
    database = postgres.new_database()
    yield database
    database.drop()


@pytest.fixture(scope="session")
def pgbouncer(postgres: PostgresServer) -> Iterator[PgBouncer]:
    """A PgBouncer in transaction mode in front of `postgres`."""
    pooler = PgBouncer(postgres)
    yield pooler
    pooler.stop()


@pytest.fixture(scope="session")
def _redis() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.stop()


@pytest.fixture
def redis_server(_redis: RedisServer) -> RedisServer:
    """A Redis for the session, empty at the start of the test."""
    _redis.clear()
    return _redis


@pytest.fixture(scope="session")
def mongo_server() -> Iterator[MongoServer]:
    """A server of the MongoDB protocol for the session; take `new_database()` for a test's own."""
    server = MongoServer()
    yield server
    server.stop()


@pytest.fixture
def warm() -> bool:
    """Whether `portico` may fork the service instead of starting it as a user does; where its processes are tested, it may not."""
    return True


@pytest.fixture
def portico(request: pytest.FixtureRequest, warm: bool) -> Iterator[StartPortico]:
    """Start the real service, as often as the test likes, over SQLite or PostgreSQL."""
    with ExitStack() as stack:

        def start_portico(
            engine: Literal["sqlite", "postgres"] = "sqlite",
            config: Mapping[str, object] | None = None,
            *,
            environment: Mapping[str, str] | None = None,
            start: bool = True,
            prepared: bool = True,
        ) -> PorticoProcess:
            content = dict(config or {})
            if engine == "postgres" and "databases" not in content:
                database = prepared_database(request.getfixturevalue("postgres"), content)
                stack.callback(database.drop)
                content |= over(database)
            process = PorticoProcess(content, environment=environment, warm=warm)
            stack.callback(process.close)
            if not start:
                return process
            if prepared and engine == "sqlite":
                give_embedded(process, content, environment)
            return process.start()

        yield start_portico
