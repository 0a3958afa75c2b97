"""A database for the process under test, whichever engine a test is for."""

from collections.abc import Iterator

import pytest

from tests.conftest import StartPortico
from tests.servers.postgres import PostgresDatabase, PostgresServer

# What these kill, they start by themselves; of the other commands they test what is done.
_WARM = ("test_backup.py", "test_environments.py", "test_lost_updates.py", "test_seed.py")


@pytest.fixture
def warm(request: pytest.FixtureRequest) -> bool:
    """Here the processes themselves are tested, but for a few modules."""
    return request.path.name in _WARM


@pytest.fixture
def process_database(request: pytest.FixtureRequest, engine: str) -> Iterator[PostgresDatabase | None]:
    """The PostgreSQL database of a test for that engine, prepared by `init-db`; None for the embedded SQLite."""
    if engine == "sqlite":
        yield None
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    portico: StartPortico = request.getfixturevalue("portico")

    def prepare(database: PostgresDatabase) -> None:
        done = portico(config=_over(database), start=False).run("init-db")
        assert done.returncode == 0, done.stderr

    database = server.new_database(template=server.create_template("process", prepare))
    yield database
    database.drop()


@pytest.fixture
def over(process_database: PostgresDatabase | None) -> dict[str, object]:
    """The configuration that serves it."""
    return {} if process_database is None else _over(process_database)


def _over(database: PostgresDatabase) -> dict[str, object]:
    logins = {"connection_string": database.dsn(), "migration_connection_string": database.dsn("migrator")}
    return {"databases": {"main": {"type": "postgresql"} | logins}}
