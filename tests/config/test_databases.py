"""Databases: the ways to name one, connection strings, pools."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.errors import ConfigurationError
from portico.settings import ConnectionUrl


@pytest.mark.parametrize(
    ("url", "kind", "text"),
    [
        ("sqlite:///relative.db", "sqlite", "sqlite:///relative.db"),
        ("sqlite:////var/lib/a b.db", "sqlite", "sqlite:////var/lib/a b.db"),
        ("sqlite+aiosqlite:///a.db", "sqlite", "sqlite:///a.db"),
        ("sqlite:///:memory:", "sqlite", "sqlite:///:memory:"),
        ("postgres://u:p@h/db", "postgresql", "postgresql://u:p@h/db"),
        (
            "postgresql+asyncpg://u:p%40%2F@h:5433/db?sslmode=verify-full",
            "postgresql",
            "postgresql://u:p%40%2F@h:5433/db?sslmode=verify-full",
        ),
        (
            "postgresql://u@a:5432,b:5433/db?target_session_attrs=read-write",
            "postgresql",
            "postgresql://u@a:5432,b:5433/db?target_session_attrs=read-write",
        ),
        ("postgresql://[::1]:5432/db", "postgresql", "postgresql://[::1]:5432/db"),
        ("postgresql:///db?host=/run/postgresql", "postgresql", "postgresql:///db?host=/run/postgresql"),
        ("postgresql:///db?host=/tmp/sockets&port=5499", "postgresql", "postgresql:///db?host=/tmp/sockets&port=5499"),
        ("mongodb+srv://u:p@cluster.example/db", "mongodb", "mongodb+srv://u:p@cluster.example/db"),
        ("mongodb://a,b:27018/db?replicaSet=rs0", "mongodb", "mongodb://a,b:27018/db?replicaSet=rs0"),
        ("rediss://:p@h:6379/0", "redis", "rediss://:p@h:6379/0"),
    ],
)
def test_connection_strings_are_understood_without_their_driver(url, kind, text):
    parsed = ConnectionUrl.parse(url)
    assert (parsed.type, parsed.text()) == (kind, text)


@given(user=st.text(min_size=1), password=st.text(), database=st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))
def test_no_character_of_a_password_is_lost_or_shown(user, password, database):
    url = ConnectionUrl("postgresql", "postgresql", user, password, (("db", 5432),), database)
    assert ConnectionUrl.parse(url.text()) == url
    assert ConnectionUrl.parse(url.masked()).password == "********"
    assert "password=" not in repr(url)


@pytest.mark.parametrize(
    ("url", "encrypted"),
    [
        ("postgresql://db/app", False),
        ("postgresql://db/app?sslmode=prefer", False),
        ("postgresql://db/app?sslmode=require", True),
        ("postgresql://db/app?ssl=verify-full", True),
        ("mongodb://db/app", False),
        ("mongodb://db/app?tls=true", True),
        ("mongodb+srv://db/app", True),
        ("mongodb+srv://db/app?tls=false", False),
        ("redis://db", False),
        ("rediss://db", True),
    ],
)
def test_a_connection_counts_as_encrypted_only_when_it_insists(url, encrypted):
    assert ConnectionUrl.parse(url).encrypted is encrypted


@pytest.mark.parametrize("url", ["nonsense", "postgresql://h:99999/db", "sqlite://host/a.db", "postgresql://u:p/w@h/db"])
def test_a_broken_connection_string_is_an_error_without_its_text(url):
    with pytest.raises(ConfigurationError) as raised:
        ConnectionUrl.parse(url)
    assert url not in raised.value.message


def test_database_url_makes_the_database_main(settings):
    found = settings(DATABASE_URL="postgresql+psycopg://appuser@db/app?sslmode=require")
    assert list(found.databases) == ["main"]
    assert found.databases["main"].type == "postgresql"
    assert found.databases["main"].connection.text() == "postgresql://appuser@db/app?sslmode=require"


def test_its_parts_make_the_database_main_where_it_is_unset(settings):
    parts = {"DB_USER": "app user", "DB_PASSWORD": "p@ss:/word", "DB_HOST": "db", "DB_PORT": "5433", "DB_NAME": "appdb"}
    assert settings(**parts).databases["main"].connection.text() == "postgresql://app%20user:p%40ss%3A%2Fword@db:5433/appdb"
    assert settings(**parts, DATABASE_URL="sqlite:///a.db").databases["main"].connection.text() == "sqlite:///a.db"


def test_parts_without_a_name_are_an_error(settings):
    with pytest.raises(ConfigurationError, match="DB_HOST is set without DB_NAME"):
        settings(DB_HOST="db")


def test_parts_outside_development_insist_on_tls(settings):
    url = settings(DB_HOST="db", DB_NAME="app", ENVIRONMENT="production").databases["main"].connection
    assert url.options == {"sslmode": "require"}


def test_a_part_changes_only_its_part_of_the_files_url(settings):
    yaml = "database: {url: 'postgresql://appuser:old@db:5432/app?sslmode=require'}"
    found = settings(yaml, DB_HOST="db-2", DB_PASSWORD="new").databases["main"]
    assert found.connection.text() == "postgresql://appuser:new@db-2:5432/app?sslmode=require"
    assert found.current_password() == "new"


def test_a_password_alone_completes_the_files_url_and_rotates(settings, folder):
    (folder / "password").write_text("first")
    main = settings("database: {url: 'postgresql://appuser@db/app'}", DB_PASSWORD_FILE=str(folder / "password")).databases["main"]
    assert main.connection.text() == "postgresql://appuser:first@db/app"
    (folder / "password").write_text("the-second")
    assert main.connection.text() == "postgresql://appuser:the-second@db/app"


def test_a_replica_is_reached_with_the_primarys_login_and_options(settings):
    yaml = """
        databases:
          main:
            connection_string: postgresql://appuser:word@a,b/app?sslmode=require&target_session_attrs=read-write
            replicas: [{host: replica-1, port: 5433}]
        """
    main = settings(yaml).databases["main"]
    assert main.connection_to(main.replicas[0]).text() == "postgresql://appuser:word@replica-1:5433/app?sslmode=require"


def test_the_short_form_is_the_database_main(settings):
    found = settings(
        "database: {url: 'postgresql://db/app', migration_url: 'postgresql://owner@db/app', pool_timeout: 3, echo: true, discover: [app]}"
    )
    main = found.databases["main"]
    assert main.connection.hosts == (("db", None),)
    assert main.migration_connection.user == "owner"
    assert (main.pool_settings.timeout_seconds, main.echo, main.discover) == (3, True, ("app",))


def test_both_forms_of_the_same_database_are_an_error(settings):
    with pytest.raises(ConfigurationError, match=r"database and databases\.main"):
        settings("database: {url: 'sqlite:///a.db'}\ndatabases: {main: {connection_string: 'sqlite:///b.db'}}")


def pool(found):
    sizes = found.databases["main"].pool_settings
    return sizes.min_connections, sizes.max_connections, sizes.pool_size, sizes.max_overflow, sizes.timeout_seconds, sizes.recycle_seconds


@pytest.mark.parametrize(
    ("yaml", "environ", "expected"),
    [
        ("", {}, (2, 10, 5, 5, 30, 1800)),
        ("", {"ENVIRONMENT": "staging"}, (2, 30, 20, 10, 30, 1800)),
        ("database: {pool_size: 8, max_overflow: 0, pool_timeout: 2, pool_recycle: 60}", {}, (2, 8, 8, 0, 2, 60)),
        ("database: {pool_size: 8}", {"ENVIRONMENT": "production"}, (2, 18, 8, 10, 30, 1800)),
        ("database: {pool_size: 8, max_overflow: 3}", {"DB_POOL_SIZE": "4"}, (2, 7, 4, 3, 30, 1800)),
        ("databases: {main: {connection_string: 'sqlite:///a.db', pool_settings: {max_connections: 20}}}", {}, (2, 20, 20, 0, 30, 1800)),
        (
            "databases: {main: {connection_string: 'sqlite:///a.db', pool_settings: {max_connections: 20}}}",
            {"DB_POOL_SIZE": "3"},
            (2, 8, 3, 5, 30, 1800),
        ),
        ("database: {pool_size: 3}", {"PORTICO_DATABASES__MAIN__POOL_SETTINGS__MAX_CONNECTIONS": "9"}, (2, 9, 9, 0, 30, 1800)),
        ("database: {pool_size: 1, max_overflow: 0}", {}, (1, 1, 1, 0, 30, 1800)),
        ("", {"DB_POOL_SIZE": "3", "DB_MAX_OVERFLOW": "1"}, (2, 4, 3, 1, 30, 1800)),
    ],
)
def test_pool_sizes_follow_the_environment_and_agree(settings, yaml, environ, expected):
    assert pool(settings(yaml, **environ)) == expected


def test_pool_sizes_that_disagree_are_an_error(settings):
    with pytest.raises(ConfigurationError, match="max_connections must be pool_size"):
        settings(
            "databases: {main: {connection_string: 'sqlite:///a.db', pool_settings: {max_connections: 9, pool_size: 3, max_overflow: 1}}}"
        )


def test_statements_are_echoed_in_development_only(settings):
    assert settings(DB_ECHO="true").databases["main"].echo
    assert not settings(DB_ECHO="true", ENVIRONMENT="production").databases["main"].echo


def test_redis_url_is_the_cache_unless_the_file_names_another(settings):
    assert settings(REDIS_URL="redis://localhost/0").cache.database == "redis"
    yaml = "databases: {redis-main: {connection_string: 'redis://a/0'}}\ncache: {database: redis-main}"
    found = settings(yaml, REDIS_URL="redis://b/0")
    assert found.cache.database == "redis-main"
    assert found.databases["redis-main"].connection.hosts == (("b", None),)


def test_mongodb_url_adds_a_database_and_control_data_stays_in_an_sql_one(settings):
    found = settings(MONGODB_URL="mongodb://localhost/app")
    assert found.databases["mongodb"].type == "mongodb"
    assert found.databases["mongodb"].write_concern == "majority"
    assert found.store_database.type == "sqlite"


def test_a_variable_reaches_a_database_whose_name_has_a_hyphen(settings):
    yaml = "databases: {main-db: {connection_string: 'postgresql://db/app'}}"
    assert settings(yaml, PORTICO_DATABASES__MAIN_DB__DISCOVER="public,app").databases["main-db"].discover == ("public", "app")


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("databases: {main: {type: mongodb, connection_string: 'postgresql://db/app'}}", "the type is mongodb"),
        ("databases: {main: {type: postgres, connection_string: 'postgresql://db/app'}}", "there is no engine postgres"),
        ("databases: {main: {type: postgresql}}", r"databases\.main has no connection_string"),
        ("databases: {main: {connection_string: 'redis://db'}}\nstore: {database: main}", "main is not an SQL database"),
        ("cache: {database: main}", "main is not a Redis database"),
    ],
)
def test_databases_that_do_not_fit_are_an_error(settings, yaml, message):
    with pytest.raises(ConfigurationError, match=message):
        settings(yaml)
