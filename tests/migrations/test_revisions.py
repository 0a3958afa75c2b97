"""The built-in migrations on data: up, down and up again, each loses what it says and nothing else, and they arrive at the declarations."""

from io import StringIO

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from portico.builtin.migrate import alembic_config, current_revision, downgrade, upgrade
from portico.builtin.tables import builtin_metadata
from portico.builtin.verify import verify_schema
from tests.migrations.conftest import Target

pytestmark = pytest.mark.migrations

REVISIONS = ["001_initial", "002_add_client_id", "003_add_metadata", "004_add_indexes", "005_row_level_security"]
USER = "01890000-0000-7000-8000-000000000001"
OTHER = "01890000-0000-7000-8000-000000000002"


def migrate(target: Target, revision: str, *, down: bool = False) -> None:
    with target.engine.begin() as connection:
        (downgrade if down else upgrade)(connection, revision)


def fill(target: Target) -> None:
    """Rows in every table, of two clients."""
    prefix = target.prefix
    statements = [
        "INSERT INTO {}clients (id, name) VALUES ('acme', 'Acme'), ('globex', 'Globex')",
        (
            "INSERT INTO {}users (user_id, client_id, full_name, username) "
            f"VALUES ('{USER}', 'acme', 'A', 'a'), ('{OTHER}', 'globex', 'G', 'g')"
        ),
        f"INSERT INTO {{}}user_identities (user_id, provider, subject) VALUES ('{USER}', 'google', '1')",
        (
            "INSERT INTO {}document_metadata (client_id, filename, file_size, file_type, file_path) "
            "VALUES ('acme', 'a.txt', 1, 'text/plain', '/a')"
        ),
        f"INSERT INTO {{}}documents (user_id, project_name, content) VALUES ('{USER}', 'p', 'c')",
        f"INSERT INTO {{}}wireframes (user_id, title) VALUES ('{USER}', 't')",
        f"INSERT INTO {{}}conversations (conversation_id, user_id, title) VALUES ('{OTHER}', '{USER}', 't')",
        f"INSERT INTO {{}}messages (conversation_id, role, content) VALUES ('{OTHER}', 'user', 'hello')",
        f"INSERT INTO {{}}diagrams (user_id, title, diagram_type, mermaid_code) VALUES ('{USER}', 't', 'sequence', 'm')",
        "INSERT INTO {}events (data) VALUES ('{{\"a\": 1}}')",
    ]
    with target.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement.format(prefix))
        connection.commit()


def count(target: Target, table: str) -> int:
    with target.begin() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {target.prefix}{table}").scalar_one())


def tables(target: Target) -> set[str]:
    inspector = sa.inspect(target.engine)
    names = inspector.get_table_names(schema="app" if target.postgres else None)
    return {name for name in names if not name.startswith("portico_")}


def columns(target: Target, table: str) -> set[str]:
    return {column["name"] for column in sa.inspect(target.engine).get_columns(table, schema="app" if target.postgres else None)}


def test_the_revisions_are_one_line_in_this_order():
    script = ScriptDirectory.from_config(alembic_config())
    assert [revision.revision for revision in script.walk_revisions()] == REVISIONS[::-1]
    assert all("What a downgrade loses" in (revision.doc + str(revision.module.__doc__)) for revision in script.walk_revisions())


def test_the_migrations_arrive_at_what_is_declared(target: Target):
    migrate(target, "head")
    with target.begin() as connection:
        differences = [item for item in verify_schema(connection) if "portico" not in item.where]
    assert differences == []


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
def test_alembic_itself_finds_no_difference_on_postgresql(target: Target):
    if target.postgres is None:
        # SQLAlchemy reflects SQLite's own type names as numbers; `verify_schema` compares them exactly.
        assert target.engine.dialect.name == "sqlite"
        return
    migrate(target, "head")
    with target.begin() as connection:
        options = {
            "include_schemas": True,
            "include_name": lambda name, kind, _: kind != "schema" or name == "app",
            "compare_server_default": True,
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, builtin_metadata("postgresql")) == []


@pytest.mark.parametrize("revision", REVISIONS)
def test_each_revision_goes_up_down_and_up_again(target: Target, revision: str):
    migrate(target, revision)
    before = REVISIONS[REVISIONS.index(revision) - 1] if revision != REVISIONS[0] else "base"
    migrate(target, before, down=True)
    migrate(target, revision)
    with target.engine.begin() as connection:
        if target.postgres:
            connection.exec_driver_sql("SET ROLE appowner")
        assert current_revision(connection) == revision


def test_a_downgrade_loses_what_it_says_and_keeps_the_rest(target: Target):
    migrate(target, "head")
    fill(target)
    migrate(target, "004_add_indexes", down=True)
    migrate(target, "003_add_metadata", down=True)
    assert count(target, "document_metadata") == 1
    migrate(target, "002_add_client_id", down=True)
    assert "document_metadata" not in tables(target)
    assert "metadata" not in columns(target, "documents")
    assert count(target, "clients") == 2
    migrate(target, "001_initial", down=True)
    assert "clients" not in tables(target)
    assert "client_id" not in columns(target, "users")
    assert {table: count(target, table) for table in ("users", "documents", "messages", "events")} == {
        "users": 2, "documents": 1, "messages": 1, "events": 1,
    }  # fmt: skip
    migrate(target, "head")
    assert count(target, "users") == 2
    with target.begin() as connection:
        texts = connection.exec_driver_sql(f"SELECT metadata FROM {target.prefix}documents").scalars().all()
    assert [str(text) for text in texts] == ["{}"]


def test_going_down_to_nothing_leaves_no_table(target: Target):
    migrate(target, "head")
    fill(target)
    migrate(target, "base", down=True)
    assert tables(target) <= {"sqlite_sequence"}
    migrate(target, "head")
    assert count(target, "users") == 0


def test_the_sql_can_be_read_without_a_database():
    output = StringIO()
    command.upgrade(alembic_config(output=output), "head", sql=True)
    assert "CREATE TABLE app.document_metadata" in output.getvalue()
    assert "FORCE ROW LEVEL SECURITY" in output.getvalue()


def test_a_migration_that_fails_leaves_nothing(target: Target):
    def migrate_and_fail() -> None:
        with target.engine.begin() as connection:
            upgrade(connection, "003_add_metadata")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        migrate_and_fail()
    assert tables(target) <= {"sqlite_sequence"}
