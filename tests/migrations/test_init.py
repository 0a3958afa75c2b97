"""`init_database`: as often as one likes, by many at once, by each kind of login, and nothing where it fails."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from portico.builtin.connect import MIGRATION_LOCK
from portico.builtin.init import init_database
from portico.builtin.verify import verify_schema
from portico.catalog.declare import declare
from portico.errors import ConfigurationError, DatabaseUnavailable, MigrationError
from tests.migrations.conftest import Target
from tests.servers.postgres import PostgresDatabase
from tests.servers.process import find_free_port

pytestmark = pytest.mark.migrations

HEAD = "005_row_level_security"
KEY = {"name": "id", "type": "uuid", "default_value": "uuid7", "constraints": ["primary_key"]}
INVOICES = declare(
    {
        "name": "invoices",
        "fields": [
            KEY,
            {"name": "client_id", "type": "string(255)", "required": True, "constraints": ["references:clients.id"]},
            {"name": "total", "type": "decimal(12,2)", "default_value": 1.5, "constraints": ["min:0"]},
            {"name": "status", "type": "enum(draft,sent)", "default_value": "draft"},
            {"name": "tags", "type": "string[]"},
        ],
        "indexes": [{"fields": ["client_id", "-created_at"]}],
        "security": {"tenant_field": "client_id"},
        "timestamps": True,
    },
    source="test",
)
LINES = declare(
    {
        "name": "invoice_lines",
        "fields": [KEY, {"name": "invoice_id", "type": "uuid", "required": True, "constraints": ["references:invoices.id:cascade"]}],
        "security": {"relation": "invoice"},
    },
    source="test",
)


def table_names(target: Target) -> set[str]:
    inspector = sa.inspect(target.engine)
    schemas = ("app", "portico") if target.postgres else (None,)
    return {name for schema in schemas for name in inspector.get_table_names(schema=schema)}


def test_it_creates_everything_once_and_finds_it_the_next_time(target: Target):
    first = init_database(target.url, declared=[LINES, INVOICES])
    assert (first.before, first.after, set(first.created)) == (None, HEAD, {"invoices", "invoice_lines"})
    again = init_database(target.url, declared=[LINES, INVOICES])
    assert (again.before, again.after, again.created) == (HEAD, HEAD, ())
    companion = "audit" if target.postgres else "portico_audit"
    assert {"clients", "invoices", companion} <= table_names(target)


def test_twenty_at_once_do_it_once(target: Target):
    with ThreadPoolExecutor(20) as executor:
        done = list(executor.map(lambda _: init_database(target.url, declared=[INVOICES]), range(20)))
    assert sorted(str(result.before) for result in done) == [HEAD] * 19 + ["None"]
    assert sum(len(result.created) for result in done) == 1


def test_it_creates_all_or_nothing(target: Target):
    def fail(_: sa.Connection) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        init_database(target.url, further=[fail])
    assert table_names(target) <= {"sqlite_sequence"}


def test_a_declaration_that_refers_to_nothing_is_refused_and_leaves_nothing(target: Target):
    lost = declare({"name": "lost", "fields": [KEY, {"name": "a", "type": "uuid", "constraints": ["references:nowhere.id"]}]}, source="t")
    with pytest.raises(ConfigurationError):
        init_database(target.url, declared=[lost])
    assert table_names(target) <= {"sqlite_sequence"}


def test_the_databases_own_defaults_are_those_of_portico(target: Target):
    init_database(target.url, declared=[INVOICES])
    with target.begin() as connection:
        connection.exec_driver_sql(f"INSERT INTO {target.prefix}clients (id, name) VALUES ('a', 'A')")
        connection.exec_driver_sql(f"INSERT INTO {target.prefix}invoices (client_id) VALUES ('a')")
        ((key, total, status, created),) = connection.exec_driver_sql(
            f"SELECT id, total, status, created_at FROM {target.prefix}invoices"
        ).all()
    assert len(str(key)) == 36
    assert status == "draft"
    if target.postgres:
        assert str(total) == "1.50"
    else:
        # Decimals are scaled integers, datetimes texts whose order is the order of time.
        assert total == 150
        assert created[10] == "T"
        assert created.endswith("000Z")


@pytest.mark.parametrize(
    ("columns", "values"), [("client_id, total", "'a', -1"), ("client_id, status", "'a', 'lost'"), ("client_id", "'nobody'")]
)
def test_the_database_refuses_what_the_declaration_does(target: Target, columns: str, values: str):
    init_database(target.url, declared=[INVOICES])
    with target.begin() as connection:
        if not target.postgres:
            connection.rollback()
            connection.connection.driver_connection.execute("PRAGMA foreign_keys = ON")  # type: ignore[union-attr]
        connection.exec_driver_sql(f"INSERT INTO {target.prefix}clients (id, name) VALUES ('a', 'A')")
        with pytest.raises(sa.exc.IntegrityError):
            connection.exec_driver_sql(f"INSERT INTO {target.prefix}invoices ({columns}) VALUES ({values})")


@pytest.mark.database
@pytest.mark.parametrize("login", ["migrator", "postgres"])
def test_everything_belongs_to_the_owner_whoever_migrates(postgres_database: PostgresDatabase, login: str):
    init_database(postgres_database.dsn(login), declared=[INVOICES])
    owners = postgres_database.execute("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname IN ('app', 'portico')")
    assert owners == [("appowner",)]


@pytest.mark.database
def test_a_login_that_owns_its_database_and_nothing_else_can_do_it_too(postgres_database: PostgresDatabase):
    postgres_database.execute(f"ALTER DATABASE {postgres_database.name} OWNER TO appuser")
    init_database(postgres_database.dsn("appuser"))
    owners = postgres_database.execute("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname IN ('app', 'portico')")
    assert owners == [("appuser",)]


@pytest.mark.database
def test_the_application_role_changes_rows_and_nothing_else(postgres_database: PostgresDatabase):
    init_database(postgres_database.dsn("migrator"), declared=[INVOICES])
    granted = """SELECT string_agg(DISTINCT privilege_type, ',' ORDER BY privilege_type) FROM information_schema.role_table_grants
                 WHERE grantee = 'appuser' AND table_schema = '{}' AND table_name = '{}'"""
    for table in ("clients", "document_metadata", "invoices"):
        assert postgres_database.execute(granted.format("app", table)) == [("DELETE,INSERT,SELECT,UPDATE",)]
    for table in ("audit", "versions", "positions"):
        assert postgres_database.execute(granted.format("portico", table)) == [("INSERT,SELECT",)]


@pytest.mark.database
def test_another_migrator_that_does_not_end_is_an_error_and_not_a_wait_for_ever(postgres_database: PostgresDatabase):
    with postgres_database.connect() as other:
        other.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
        with pytest.raises(MigrationError):
            init_database(postgres_database.dsn("migrator"), wait_seconds=0.3)
    init_database(postgres_database.dsn("migrator"))


def test_a_database_that_does_not_answer_is_waited_for_and_then_an_error():
    with pytest.raises(DatabaseUnavailable):
        init_database(f"postgresql://nobody@127.0.0.1:{find_free_port()}/none", wait_seconds=0.3)


@pytest.mark.database
def test_a_wrong_password_or_database_is_an_error_at_once(postgres_database: PostgresDatabase):
    for url in (
        postgres_database.dsn("migrator").replace("migrator-secret", "wrong"),
        postgres_database.server.dsn("migrator", "no_such_database"),
    ):
        with pytest.raises(ConfigurationError) as raised:
            init_database(url, wait_seconds=30)
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize("strategy", ["hash", "range", "list", "time"])
def test_a_partitioned_collection_takes_rows_and_keeps_its_declared_key(target: Target, strategy: str):
    document = {
        "name": "readings",
        "fields": [
            KEY,
            {"name": "client_id", "type": "string(255)", "required": True},
            {"name": "code", "type": "text", "constraints": ["unique"]},
        ],
        "partitioning": {"strategy": strategy, "key": "client_id"} | ({"partitions": 3} if strategy == "hash" else {}),
        "security": {"tenant_field": "client_id"},
    }
    readings = declare(document, source="test")
    init_database(target.url, declared=[readings])
    with target.begin() as connection:
        connection.exec_driver_sql(f"INSERT INTO {target.prefix}readings (client_id) VALUES ('a'), ('b'), ('c')")
        assert connection.exec_driver_sql(f"SELECT count(*) FROM {target.prefix}readings").scalar_one() == 3
        connection.commit()
        assert verify_schema(connection, [readings]) == []
    if target.postgres:
        partition = "readings_p0" if strategy == "hash" else "readings_default"
        with target.postgres.connect("appuser") as application:
            application.execute("SELECT set_config('portico.all', 'on', false)")
            assert application.execute("SELECT count(*) FROM app.readings").fetchone() == (3,)
            # Named by itself, a partition shows nothing: the policy is its table's.
            assert application.execute(f"SELECT count(*) FROM app.{partition}".encode()).fetchone() == (0,)
