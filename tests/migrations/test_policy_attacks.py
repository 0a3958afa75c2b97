"""Ways around row-level security, each tried as the application's role that acts for acme: none shows or changes what globex has."""

import psycopg
import pytest

from tests.migrations.test_policies import BOB, GINA, count, database, scope, session
from tests.servers.postgres import PostgresDatabase

pytestmark = [pytest.mark.migrations, pytest.mark.database]

__all__ = ["database", "session"]

REFUSED = psycopg.errors.InsufficientPrivilege


@pytest.fixture
def acme(session: psycopg.Connection) -> psycopg.Connection:
    """The application's role, in a transaction that acts for acme."""
    scope(session, clients='{"acme"}')
    return session


def rows(session: psycopg.Connection, statement: str) -> list[tuple[object, ...]]:
    return session.execute(statement.encode()).fetchall()


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE app.users CASCADE",
        "SET LOCAL ROLE appowner",
        "ALTER TABLE app.users NO FORCE ROW LEVEL SECURITY",
        "CREATE POLICY mine ON app.users USING (true)",
        "DROP POLICY portico_scope ON app.users",
        "CREATE TABLE app.mine (id int)",
        "CREATE FUNCTION app.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER ROLE appuser BYPASSRLS",
        "CREATE TRIGGER mine AFTER INSERT ON app.users EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "COPY app.users TO PROGRAM 'cat'",
        "SELECT pg_read_file('PG_VERSION')",
    ],
)
def test_what_only_the_owner_may_do_is_refused(acme: psycopg.Connection, statement: str):
    with pytest.raises(REFUSED):
        acme.execute(statement.encode())


def test_policies_cannot_be_switched_off_by_the_setting_that_dumps_use(acme: psycopg.Connection):
    acme.execute("SET LOCAL row_security = off")
    with pytest.raises(REFUSED, match="row-level security"):
        acme.execute("SELECT * FROM app.users")


def test_copy_out_gives_the_scopes_rows_alone(acme: psycopg.Connection):
    with acme.cursor().copy("COPY app.users (client_id) TO STDOUT") as copied:
        assert {bytes(line) for line in copied} == {b"acme\n"}


def test_copy_in_is_no_way_past_a_policy(acme: psycopg.Connection):
    with (
        pytest.raises(psycopg.errors.FeatureNotSupported),
        acme.cursor().copy("COPY app.users (client_id, full_name) FROM STDIN") as copied,
    ):
        copied.write("globex\tMallory\n")


def test_a_function_in_a_filter_is_asked_of_the_scopes_rows_alone(acme: psycopg.Connection):
    body = "BEGIN RAISE NOTICE 'saw %', $1; RETURN true; END"
    acme.execute(
        f"CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS '{body.replace(chr(39), chr(39) * 2)}'"
    )
    seen: list[str] = []
    acme.add_notice_handler(lambda notice: seen.append(notice.message_primary or ""))
    assert len(rows(acme, "SELECT * FROM app.users WHERE pg_temp.leak(full_name)")) == 2
    assert sorted(seen) == ["saw Alice", "saw Bob"]


def test_an_error_of_a_value_that_another_client_holds_does_not_show_it(acme: psycopg.Connection, database: PostgresDatabase):
    database.execute(f"UPDATE app.users SET username = 'gina' WHERE user_id = '{GINA}'")
    with pytest.raises(psycopg.errors.UniqueViolation) as raised:
        acme.execute("INSERT INTO app.users (client_id, full_name, username) VALUES ('acme', 'x', 'gina')")
    assert raised.value.diag.message_detail is None


def test_an_upsert_onto_another_clients_row_is_refused(acme: psycopg.Connection):
    taken = "INSERT INTO app.clients (id, name) VALUES ('globex', 'Mine') ON CONFLICT (id) DO UPDATE SET name = 'Mine' RETURNING name"
    with pytest.raises(REFUSED):
        acme.execute(taken)


@pytest.mark.parametrize(
    "statement",
    [
        f"SELECT * FROM app.users WHERE user_id = '{GINA}' FOR UPDATE",
        f"SELECT u.* FROM app.documents d FULL JOIN app.users u ON true WHERE u.user_id = '{GINA}'",
        "SELECT * FROM app.documents d WHERE (SELECT client_id FROM app.users u WHERE u.user_id = d.user_id) IS DISTINCT FROM 'acme'",
        f"UPDATE app.users SET full_name = full_name WHERE user_id = '{GINA}' RETURNING *",
        f"DELETE FROM app.users WHERE user_id = '{GINA}' RETURNING *",
        "SELECT * FROM pg_stats WHERE schemaname = 'app'",
        "SELECT * FROM pg_stats_ext WHERE schemaname = 'app'",
    ],
)
def test_no_statement_gives_another_clients_rows_nor_what_was_counted_of_them(acme: psycopg.Connection, statement: str):
    assert rows(acme, statement) == []


def test_a_prepared_statement_follows_the_scope_of_each_transaction(acme: psycopg.Connection):
    acme.execute("PREPARE everyone AS SELECT count(*) FROM app.users")
    counted = []
    for clients in ('{"acme"}', '{"globex"}', "{}") * 3:
        scope(acme, clients=clients)
        counted += rows(acme, "EXECUTE everyone")
    assert counted == [(2,), (1,), (0,)] * 3
    acme.execute("DEALLOCATE everyone")


def test_sequences_give_numbers_and_cannot_be_turned_back(acme: psycopg.Connection):
    sequence = rows(acme, "SELECT pg_get_serial_sequence('app.document_metadata', 'id')")[0][0]
    assert rows(acme, f"SELECT nextval('{sequence}')")
    with pytest.raises(REFUSED):
        acme.execute(f"SELECT setval('{sequence}', 1)".encode())


@pytest.fixture
def definers(database: PostgresDatabase):
    """Views and functions of a superuser and of the owner over the users, that the application may use."""
    made = []
    for owner in ("postgres", "appowner"):
        for name, options in ((f"{owner}_plain", ""), (f"{owner}_invoker", "WITH (security_invoker = true)")):
            made.append(f"CREATE VIEW app.{name} {options} AS SELECT * FROM app.users; ALTER VIEW app.{name} OWNER TO {owner}")
        made.append(
            f"CREATE FUNCTION app.{owner}_counts() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM app.users';"
            f"ALTER FUNCTION app.{owner}_counts() OWNER TO {owner}"
        )
    made += ["CREATE MATERIALIZED VIEW app.kept AS SELECT * FROM app.users", "GRANT SELECT ON ALL TABLES IN SCHEMA app TO appuser"]
    database.execute("; ".join(made))
    yield
    database.execute(
        "DROP MATERIALIZED VIEW app.kept; DROP VIEW app.postgres_plain, app.postgres_invoker, app.appowner_plain, app.appowner_invoker; "
        "DROP FUNCTION app.postgres_counts, app.appowner_counts"
    )


@pytest.mark.usefixtures("definers")
def test_views_and_functions_of_the_owner_are_under_its_policies_and_so_are_views_that_ask_as_who_asks(acme: psycopg.Connection):
    for view in ("appowner_plain", "appowner_invoker", "postgres_invoker"):
        assert count(acme, view) == 2
    assert rows(acme, "SELECT app.appowner_counts()") == [(2,)]


@pytest.mark.usefixtures("definers")
def test_a_superusers_views_and_functions_go_past_every_policy_which_is_why_portico_does_not_serve_them_to_a_client(
    acme: psycopg.Connection,
):
    assert count(acme, "postgres_plain") == 3
    assert rows(acme, "SELECT app.postgres_counts()") == [(3,)]


def test_a_foreign_key_sees_every_row_which_is_why_portico_looks_at_references_first(acme: psycopg.Connection):
    columns = "client_id, filename, file_size, file_type, file_path, uploaded_by"
    document = f"INSERT INTO app.document_metadata ({columns}) VALUES ('acme', {{}}, 1, 't', '/', '{{}}')"
    acme.execute(document.format("'mine'", BOB).encode())
    acme.execute(document.format("'probe'", GINA).encode())
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        acme.execute(document.format("'nobody'", GINA.replace("3", "9")).encode())
