"""`verify_schema` says every difference between the database and the declarations, a line each."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from portico.builtin.connect import sync_engine
from portico.builtin.init import init_database
from portico.builtin.verify import verify_schema
from portico.catalog.declare import declare
from tests.migrations.conftest import Target
from tests.migrations.test_init import INVOICES, LINES

pytestmark = pytest.mark.migrations


def kinds(target: Target, *declared: object) -> dict[str, str]:
    with target.begin() as connection:
        return {item.where.removeprefix(target.prefix): item.kind for item in verify_schema(connection, declared)}  # type: ignore[arg-type]


@pytest.fixture
def ready(target: Target) -> Target:
    init_database(target.url, declared=[LINES, INVOICES])
    return target


def execute(target: Target, *statements: str) -> None:
    with target.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement.format(target.prefix))
        connection.commit()


def test_a_database_that_was_initialized_has_no_difference(ready: Target):
    assert kinds(ready, INVOICES, LINES) == {}


def test_an_empty_database_lacks_every_table(target: Target):
    found = kinds(target)
    assert set(found.values()) <= {"missing_table", "missing_policy"}
    assert found["clients"] in ("missing_table", "missing_policy")


def test_a_missing_table_column_and_index_are_each_said(ready: Target):
    execute(
        ready, "DROP TABLE {}diagrams", "ALTER TABLE {}wireframes DROP COLUMN preview_url", f"DROP INDEX {ready.prefix}idx_users_active"
    )
    found = kinds(ready, INVOICES, LINES)
    assert found["wireframes.preview_url"] == "missing_column"
    assert found["users.idx_users_active"] == "missing_index"
    assert found["diagrams"] in ("missing_table", "missing_policy")


def test_a_declared_collection_that_changed_differs_by_type_default_and_key(ready: Target):
    fields = [
        {"name": "id", "type": "uuid", "default_value": "uuid7", "constraints": ["primary_key"]},
        {"name": "client_id", "type": "string(255)", "constraints": ["references:clients.id:cascade"]},
        {"name": "total", "type": "decimal(14,2)", "default_value": 1.5},
        {"name": "status", "type": "enum(draft,sent)", "default_value": "sent"},
        {"name": "tags", "type": "string[]", "constraints": ["unique"]},
    ]
    changed = declare({"name": "invoices", "fields": fields, "security": {"tenant_field": "client_id"}}, source="t")
    with ready.begin() as connection:
        found = {(item.where.removeprefix(ready.prefix), item.kind) for item in verify_schema(connection, [changed, LINES])}
    assert found == {
        ("invoices.total", "wrong_type"),
        ("invoices.status", "wrong_default"),
        ("invoices.client_id", "not_nullable"),
        ("invoices.client_id", "missing_foreign_key"),
        ("invoices.tags", "missing_unique"),
        ("invoices.ck_invoices_total_min", "extra_check"),
    }


def test_a_check_that_says_something_else_and_one_that_is_missing_are_named(ready: Target):
    total = {"name": "total", "type": "decimal(12,2)", "required": True, "constraints": ["min:1", "max:9"]}
    fields = [{"name": "id", "type": "uuid", "constraints": ["primary_key"]}, total]
    changed = declare({"name": "invoices", "fields": fields, "security": {"access_control": "shared"}}, source="t")
    with ready.begin() as connection:
        found = [(item.where.removeprefix(ready.prefix), item.kind) for item in verify_schema(connection, [changed, LINES])]
    assert ("invoices.ck_invoices_total_min", "wrong_check") in found
    assert ("invoices.ck_invoices_total_max", "missing_check") in found


def test_values_with_signs_that_mean_something_in_sql_are_no_difference(target: Target):
    fields = [
        {"name": "id", "type": "uuid", "default_value": "uuid7", "constraints": ["primary_key"]},
        {"name": "share", "type": "string(20)", "default_value": "100%", "constraints": ["in:100%,50 %,it's (all)"]},
    ]
    shares = declare({"name": "shares", "fields": fields, "security": {"access_control": "shared"}}, source="t")
    init_database(target.url, declared=[shares])
    assert kinds(target, shares) == {}


@pytest.mark.parametrize(
    ("statement", "where", "kind"),
    [
        ("CREATE TABLE app.stranger (id int)", "stranger", "extra_table"),
        ("ALTER TABLE app.documents NO FORCE ROW LEVEL SECURITY", "documents", "missing_policy"),
        ("ALTER TABLE app.users ALTER role DROP DEFAULT", "users.role", "wrong_default"),
        ("ALTER TABLE app.users ALTER full_name DROP NOT NULL", "users.full_name", "nullable"),
        ('ALTER TABLE app.documents ALTER status TYPE text COLLATE "C"', "documents.status", "wrong_type"),
        ("ALTER TABLE app.messages DROP CONSTRAINT fk_messages_conversation_id", "messages.conversation_id", "missing_foreign_key"),
        ("ALTER TABLE app.users DROP CONSTRAINT uq_users_username", "users.username", "missing_unique"),
        ("ALTER TABLE app.messages DROP CONSTRAINT ck_messages_role_in", "messages.ck_messages_role_in", "missing_check"),
        ("ALTER TABLE app.users ADD CONSTRAINT named CHECK (full_name <> 'x')", "users.named", "extra_check"),
        ('ALTER TABLE app.users ALTER organization TYPE varchar(255) COLLATE "default"', "users.organization", "wrong_collation"),
    ],
)
def test_what_somebody_altered_by_hand_is_said(ready: Target, statement: str, where: str, kind: str):
    if ready.postgres is None:
        # SQLite cannot alter a column; what it can is tested above.
        assert kinds(ready, INVOICES, LINES) == {}
        return
    execute(ready, statement)
    assert kinds(ready, INVOICES, LINES) == {where: kind}


def test_a_collation_that_somebody_changed_on_sqlite_is_said(tmp_path: Path):
    file = tmp_path / "app.db"
    target = Target(f"sqlite:///{file}", sync_engine(f"sqlite:///{file}"))
    init_database(target.url)
    assert kinds(target) == {}
    with closing(sqlite3.connect(file)) as editor, editor:
        editor.execute("PRAGMA writable_schema = ON")
        for old, new in (("organization VARCHAR(255)", "NOCASE"), ("full_name VARCHAR(255)", "RTRIM")):
            changed = "UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE name = 'users' AND instr(sql, ?) > 0"
            assert editor.execute(changed, (old, f"{old} COLLATE {new}", old)).rowcount == 1
    with target.begin() as connection:
        found = verify_schema(connection)
    assert {item.where: item.kind for item in found} == {"users.organization": "wrong_collation", "users.full_name": "wrong_collation"}
    assert "NOCASE, not BINARY" in " ".join(item.text for item in found)


def test_a_declaration_over_a_table_of_another_program_makes_none_and_asks_for_its_columns_alone(target: Target):
    if target.postgres is None:
        # There is one schema, so a table of that name is the declared one.
        assert target.prefix == ""
        return
    target.postgres.execute("CREATE TABLE public.orders (id int PRIMARY KEY, owner text)")
    fields = [{"name": "id", "type": "bigint", "constraints": ["primary_key"]}, {"name": "owner", "type": "string(20)"}]
    orders = declare({"name": "orders", "fields": fields, "security": {"tenant_field": "owner"}}, source="t")
    more = declare({"name": "orders", "fields": [*fields, {"name": "total", "type": "float"}]}, source="t")
    assert init_database(target.url, declared=[orders], discover=["public"]).created == ()
    with target.begin() as connection:
        assert verify_schema(connection, [orders], discover=["public"]) == []
        assert [item.where for item in verify_schema(connection, [more], discover=["public"])] == ["public.orders.total"]
