"""Row-level security: the second lock lets a role see its scope, fails closed, and leaves the indexes in use."""

from collections.abc import Iterator

import psycopg
import pytest

from portico.builtin.init import init_database
from portico.catalog.declare import declare
from tests.servers.postgres import PostgresDatabase, PostgresServer

pytestmark = [pytest.mark.migrations, pytest.mark.database]

ALICE, BOB, GINA = (f"01890000-0000-7000-8000-00000000000{number}" for number in (1, 2, 3))
TABLES = ("clients", "users", "user_identities", "document_metadata", "documents", "wireframes", "conversations", "messages", "diagrams")
KEY = {"name": "id", "type": "bigint", "default_value": "database", "constraints": ["primary_key"]}
PROJECTS = declare(
    {"name": "projects", "fields": [KEY, {"name": "tenant", "type": "uuid"}], "security": {"tenant_field": "tenant"}}, source="test"
)
OPEN = declare({"name": "currencies", "fields": [KEY], "security": {"access_control": "shared"}}, source="test")
CLOSED = declare({"name": "internals", "fields": [KEY]}, source="test")


def fill(database: PostgresDatabase) -> None:
    statements = f"""
    SELECT set_config('portico.all', 'on', false);
    INSERT INTO app.clients (id, name) VALUES ('acme', 'Acme'), ('globex', 'Globex'), ('a,b', 'Comma');
    INSERT INTO app.users (user_id, client_id, full_name)
    VALUES ('{ALICE}', 'acme', 'Alice'), ('{BOB}', 'acme', 'Bob'), ('{GINA}', 'globex', 'Gina');
    INSERT INTO app.user_identities (user_id, provider, subject) SELECT user_id, 'p', user_id::text FROM app.users;
    INSERT INTO app.document_metadata (client_id, filename, file_size, file_type, file_path) SELECT id, 'f', 1, 't', '/' FROM app.clients;
    INSERT INTO app.documents (user_id, project_name, content) SELECT user_id, 'p', 'c' FROM app.users;
    INSERT INTO app.wireframes (user_id, title) SELECT user_id, 't' FROM app.users;
    INSERT INTO app.diagrams (user_id, title, diagram_type, mermaid_code) SELECT user_id, 't', 'sequence', 'm' FROM app.users;
    INSERT INTO app.conversations (conversation_id, user_id, title) SELECT user_id, user_id, 't' FROM app.users;
    INSERT INTO app.messages (conversation_id, role, content) SELECT conversation_id, 'user', 'c' FROM app.conversations;
    INSERT INTO app.projects (tenant) VALUES ('{ALICE}');
    INSERT INTO app.internals DEFAULT VALUES;
    INSERT INTO app.currencies DEFAULT VALUES;
    """
    with database.connect("postgres") as connection:
        connection.execute(statements.encode())


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> Iterator[PostgresDatabase]:
    made = postgres.new_database()
    init_database(made.dsn("migrator"), declared=[PROJECTS, OPEN, CLOSED])
    fill(made)
    yield made
    made.drop()


@pytest.fixture
def session(database: PostgresDatabase) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database.dsn("appuser")) as connection:
        yield connection
        connection.rollback()


def scope(session: psycopg.Connection, *, clients: str = "{}", users: str = "{}", everything: str = "") -> None:
    parts = {"clients": clients, "users": users, "all": everything}
    for name, value in parts.items():
        session.execute("SELECT set_config(%s, %s, true)", [f"portico.{name}", value])


def count(session: psycopg.Connection, table: str) -> object:
    row = session.execute(f"SELECT count(*) FROM app.{table}".encode()).fetchone()
    return row[0] if row else None


@pytest.mark.parametrize("table", [*TABLES, "projects", "internals"])
def test_without_a_scope_nothing_is_seen_and_it_is_no_error(session, table):
    assert count(session, table) == 0
    scope(session, clients="", users="", everything="")
    assert count(session, table) == 0
    scope(session)
    assert count(session, table) == 0


@pytest.mark.parametrize("table", TABLES)
def test_a_client_sees_its_own_rows(session, table):
    scope(session, clients='{"acme"}')
    of_acme = 1 if table in ("clients", "document_metadata") else 2
    assert count(session, table) == of_acme
    scope(session, clients='{"globex"}')
    assert count(session, table) == 1
    scope(session, clients='{"acme","globex"}')
    assert count(session, table) == of_acme + 1


@pytest.mark.parametrize("table", ["user_identities", "documents", "wireframes", "conversations", "messages", "diagrams"])
def test_with_a_user_only_that_users_rows_are_seen(session, table):
    scope(session, clients='{"acme"}', users=f'{{"{ALICE}"}}')
    assert count(session, table) == 1
    scope(session, clients='{"globex"}', users=f'{{"{ALICE}"}}')
    assert count(session, table) == 0


@pytest.mark.parametrize("table", [*TABLES, "projects", "internals"])
def test_the_scope_of_everything_sees_every_row(session, table):
    scope(session, everything="on")
    assert count(session, table) in (1, 3)


def test_a_client_whose_id_has_a_comma_is_not_two_clients(session):
    scope(session, clients='{"acme,globex"}')
    assert count(session, "clients") == 0
    scope(session, clients='{"a,b"}')
    assert count(session, "clients") == 1


def test_an_id_that_is_not_of_the_tenants_type_matches_nothing(session):
    scope(session, clients='{"not a uuid"}')
    assert count(session, "projects") == 0
    scope(session, clients=f'{{"{ALICE}"}}')
    assert count(session, "projects") == 1


def test_a_shared_collection_is_seen_by_all(session):
    assert count(session, "currencies") == 1


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO app.users (client_id, full_name) VALUES ('globex', 'x')",
        f"INSERT INTO app.documents (user_id, project_name, content) VALUES ('{GINA}', 'p', 'c')",
        f"INSERT INTO app.messages (conversation_id, role, content) VALUES ('{GINA}', 'user', 'c')",
        "UPDATE app.users SET client_id = 'globex'",
    ],
)
def test_a_row_of_another_client_cannot_be_written(session, statement):
    scope(session, clients='{"acme"}')
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute(statement)


def test_rows_of_another_client_are_neither_changed_nor_deleted(session):
    scope(session, clients='{"acme"}')
    assert session.execute("UPDATE app.documents SET status = 'x' WHERE user_id = %s", [GINA]).rowcount == 0
    assert session.execute("DELETE FROM app.documents").rowcount == 2


def test_the_owner_is_held_by_the_policies_too(database):
    with psycopg.connect(database.dsn("migrator")) as connection:
        connection.execute("SET ROLE appowner")
        assert connection.execute("SELECT count(*) FROM app.documents").fetchone() == (0,)


@pytest.mark.parametrize("statement", ["UPDATE portico.audit SET service = 'x'", "DELETE FROM portico.audit", "TRUNCATE portico.audit"])
def test_the_audit_is_insert_only_for_the_application(session, statement):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute(statement)


def test_the_application_cannot_take_a_policy_away(session):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute("ALTER TABLE app.documents DISABLE ROW LEVEL SECURITY")


@pytest.fixture(scope="module")
def large(database: PostgresDatabase) -> PostgresDatabase:
    """The same database with enough rows that an index matters."""
    with database.connect("postgres") as connection:
        connection.execute("SELECT set_config('portico.all', 'on', false)")
        connection.execute("INSERT INTO app.clients (id, name) SELECT 'c' || n, 'n' FROM generate_series(1, 200) n")
        connection.execute(
            "INSERT INTO app.document_metadata (client_id, filename, file_size, file_type, file_path) "
            "SELECT 'c' || (n % 200 + 1), 'f' || n, 1, 't', '/' FROM generate_series(1, 20000) n"
        )
        connection.execute(
            f"INSERT INTO app.documents (user_id, project_name, content) SELECT '{BOB}', 'p', 'c' FROM generate_series(1, 20000)".encode()
        )
        connection.execute("ANALYZE")
    return database


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("SELECT * FROM app.document_metadata WHERE client_id = 'c7' ORDER BY id LIMIT 50", "idx_document_metadata_client_id"),
        ("SELECT * FROM app.document_metadata WHERE id = 77", "pk_document_metadata"),
        (f"SELECT * FROM app.documents WHERE user_id = '{ALICE}'", "idx_documents_user_id"),
        (f"SELECT * FROM app.documents WHERE document_id = '{ALICE}'", "pk_documents"),
    ],
)
def test_the_predicate_still_uses_its_index_under_the_policy(large, statement, index):
    with psycopg.connect(large.dsn("appuser")) as connection:
        scope(connection, clients='{"c7","acme"}')
        plan = "\n".join(str(row[0]) for row in connection.execute(f"EXPLAIN {statement}".encode()).fetchall())
    assert index in plan
    assert "Seq Scan on document" not in plan


def test_the_settings_are_read_once_for_a_statement(large):
    with psycopg.connect(large.dsn("appuser")) as connection:
        scope(connection, clients='{"c7"}')
        plan = "\n".join(str(row[0]) for row in connection.execute("EXPLAIN ANALYZE SELECT count(*) FROM app.document_metadata").fetchall())
    assert "InitPlan" in plan
    assert "SubPlan" not in plan
