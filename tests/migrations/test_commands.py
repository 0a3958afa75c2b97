"""`portico init-db` and `portico verify-schema`, as they are run."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresDatabase

pytestmark = pytest.mark.migrations

INVOICES = {
    "name": "invoices",
    "fields": [{"name": "id", "type": "uuid", "constraints": ["primary_key"]}, {"name": "client_id", "type": "string(255)"}],
    "security": {"tenant_field": "client_id"},
}
SHARED_EVENTS = {"name": "events", "security": {"access_control": "shared"}}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.database)])
def command(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PorticoProcess]:
    config: dict[str, object] = {"collections": [INVOICES, SHARED_EVENTS]}
    if request.param == "sqlite":
        config["databases"] = {"main": {"connection_string": f"sqlite:///{tmp_path}/app.db"}}
    else:
        database: PostgresDatabase = request.getfixturevalue("postgres_database")
        logins = {"connection_string": database.dsn(), "migration_connection_string": database.dsn("migrator")}
        config["databases"] = {"main": {"type": "postgresql"} | logins}
    process = PorticoProcess(config)
    yield process
    process.close()


def test_init_db_makes_a_database_that_verify_schema_accepts(command: PorticoProcess):
    assert command.run("verify-schema").returncode == 1
    made = command.run("init-db", "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout) == {"main": {"before": None, "after": "005_row_level_security", "created": ["invoices"]}}
    assert command.run("init-db").stdout == "main: ready at 005_row_level_security\n"
    verified = command.run("verify-schema")
    assert (verified.returncode, verified.stdout) == (0, "main: as declared\n")


def test_init_db_makes_the_tables_of_control_data_that_keys_need(command: PorticoProcess):
    command.run("init-db")
    created = command.run("key", "create", "--service", "billing", "--allow", "*:read", "--clients", "*", "--json")
    assert created.returncode == 0, created.stderr


def test_a_database_that_nobody_can_reach_is_said_and_has_its_own_exit_code(tmp_path: Path):
    process = PorticoProcess({"databases": {"main": {"connection_string": "postgresql://nobody@127.0.0.1:9/none"}}})
    try:
        done = process.run("init-db", "--wait", "0.3")
    finally:
        process.close()
    assert done.returncode == 3
    assert "did not answer" in done.stderr
