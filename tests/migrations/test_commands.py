"""`portico init-db` and `portico verify-schema`, as they are run."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from portico.builtin.connect import sync_engine
from portico.builtin.init import init_database
from portico.builtin.migrate import downgrade
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
        logins["backup_connection_string"] = database.dsn("postgres")
        config["databases"] = {"main": {"type": "postgresql"} | logins}
    process = PorticoProcess(config, warm=True)
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


def test_what_a_migration_made_is_known_to_verify_schema(command: PorticoProcess):
    command.run("init-db")
    folder = command.folder / "migrations"
    folder.mkdir()
    made = "{name: lines, fields: [{name: id, type: uuid, constraints: [primary_key]}], security: {access_control: shared}}"
    (folder / "20260101_000000_lines.yaml").write_text(f"operations: [create_collection: {made}]\n")
    assert command.run("migrate", "up", "--backup").returncode == 0
    assert list((command.folder / "backups").iterdir())
    assert command.run("verify-schema").stdout == "main: as declared\n"
    assert command.run("migrate", "down").returncode == 0
    assert command.run("verify-schema").stdout == "main: as declared\n"


def test_up_with_a_backup_says_where_the_schema_is_another_afterwards(command: PorticoProcess):
    command.run("init-db")
    folder = command.folder / "migrations"
    folder.mkdir()
    (folder / "20260101_000000_gone.yaml").write_text("operations: [drop_index: {collection: documents, name: idx_documents_status}]\n")
    done = command.run("migrate", "up", "--backup")
    assert done.returncode == 1
    assert "idx_documents_status" in done.stderr


def test_up_brings_the_built_in_collections_up_to_date_where_they_are(command: PorticoProcess):
    assert command.run("migrate", "up").stdout == "Nothing is pending.\n"
    url = yaml.safe_load(command.config_file.read_text())["databases"]["main"]
    address = url.get("migration_connection_string", url["connection_string"])
    init_database(address)
    with sync_engine(address).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL ROLE appowner")
        downgrade(connection, "003_add_metadata")
    assert [item["status"] for item in json.loads(command.run("migrate", "status", "--json").stdout)] == ["pending"] * 2
    assert "-- 005_row_level_security on main" in command.run("migrate", "plan").stdout
    # The way down took the table of messages with it, so what is searched of them is indexed anew.
    assert command.run("migrate", "up").stdout == "main: built-in collections to 005_row_level_security\nmessages: indexed for search\n"
    assert command.run("migrate", "status").stdout == "There are no migrations.\n"
    # What is only declared is for a migration of one's own, or for init-db.
    assert command.run("init-db").stdout.endswith("created invoices\n")
