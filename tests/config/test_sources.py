"""The file, the environment over it, and where each value came from."""

from pathlib import Path

import pytest

from portico.errors import ConfigurationError
from portico.settings import load


def test_with_nothing_set_an_embedded_database_is_served_on_loopback(settings):
    found = settings()
    assert (found.http.host, found.http.port, found.http.workers) == ("127.0.0.1", 8001, 1)
    assert found.databases["main"].type == "sqlite"
    assert found.databases["main"].connection.text() == "sqlite:///./portico.db"
    assert found.store.database == "main"
    assert found.cache.database is None


def test_the_environment_wins_over_the_file_and_the_file_over_the_defaults(settings):
    found = settings("http: {port: 9000, workers: 3}", PORTICO_HTTP__PORT="9100")
    assert (found.http.port, found.http.workers, found.http.host) == (9100, 3, "127.0.0.1")
    assert found.source(("http", "port")) == "env PORTICO_HTTP__PORT"
    assert found.source(("http", "workers")) == "file portico.yaml"
    assert found.source(("http", "host")) == "default"


def test_the_file_is_the_one_that_the_call_or_the_variable_names(folder: Path):
    (folder / "a.yaml").write_text("service_name: from-call")
    (folder / "b.yaml").write_text("service_name: from-variable")
    (folder / "portico.yaml").write_text("service_name: from-folder")
    named = {"PORTICO_CONFIG": str(folder / "b.yaml")}
    assert load(folder / "a.yaml", named).service_name == "from-call"
    assert load(None, named).service_name == "from-variable"
    assert load(None, {}).service_name == "from-folder"


def test_a_named_file_that_is_not_there_is_an_error(folder: Path):
    with pytest.raises(ConfigurationError, match=r"none\.yaml"):
        load(folder / "none.yaml", {})


@pytest.mark.parametrize(
    ("variable", "value", "path", "expected"),
    [
        ("LOG_LEVEL", "debug", "observe.log_level", "DEBUG"),
        ("OTEL_ENDPOINT", "http://collector:4317", "observe.otel_endpoint", "http://collector:4317"),
        (
            "PORTICO_HTTP__CORS_ORIGINS",
            "https://a.example, https://b.example",
            "http.cors_origins",
            ("https://a.example", "https://b.example"),
        ),
        ("PORTICO_HTTP__DOCS", "false", "http.docs", False),
        ("PORTICO_LIMITS__STATEMENT_TIMEOUT_SECONDS", "2.5", "limits.statement_timeout_seconds", 2.5),
        ("PORTICO_OBSERVE__SLOW_QUERY_MS", "250", "observe.slow_query_ms", 250),
    ],
)
def test_a_variable_sets_its_setting(settings, variable, value, path, expected):
    found = settings(**{variable: value})
    group, name = path.split(".")
    assert getattr(getattr(found, group), name) == expected
    assert found.source((group, name)) == f"env {variable}"


def test_any_variable_may_name_a_file_that_holds_the_value(settings, folder: Path):
    (folder / "level").write_text("WARNING\n")
    (folder / "port").write_text("9200\n")
    found = settings(LOG_LEVEL_FILE=str(folder / "level"), PORTICO_HTTP__PORT_FILE=str(folder / "port"))
    assert (found.observe.log_level, found.http.port) == ("WARNING", 9200)
    assert found.source(("observe", "log_level")) == "env LOG_LEVEL_FILE"


def test_a_variable_and_its_file_together_are_an_error(settings, folder: Path):
    (folder / "url").write_text("sqlite:///a.db")
    with pytest.raises(ConfigurationError, match="Both DATABASE_URL and DATABASE_URL_FILE"):
        settings(DATABASE_URL="sqlite:///b.db", DATABASE_URL_FILE=str(folder / "url"))


def test_a_file_value_that_is_not_there_is_an_error_that_names_variable_and_file(settings):
    with pytest.raises(ConfigurationError, match=r"DB_PASSWORD_FILE names the file /nowhere/secret"):
        settings(DB_HOST="db", DB_NAME="app", DB_PASSWORD_FILE="/nowhere/secret")


def test_an_empty_variable_counts_as_unset(settings):
    assert settings(DATABASE_URL="", LOG_LEVEL="", PORTICO_HTTP__PORT="").http.port == 8001


def test_lists_of_groups_are_given_as_json(settings):
    found = settings(DATABASE_URL="postgresql://db/app", PORTICO_DATABASES__MAIN__REPLICAS='[{"host": "replica-1", "role": "analytics"}]')
    replica = found.databases["main"].replicas[0]
    assert (replica.host, replica.port, replica.role) == ("replica-1", 5432, "analytics")


@pytest.mark.parametrize(
    ("yaml", "unknown", "nearest"),
    [
        ("http: {prot: 1}", "http.prot", "http.port"),
        ("htttp: {port: 1}", "htttp", "http"),
        ("databases: {main: {conection_string: x}}", "databases.main.conection_string", "databases.main.connection_string"),
        ("databases: {main: {pool_settings: {max_conections: 3}}}", "databases.main.pool_settings.max_conections", "max_connections"),
        ("database: {pool_sise: 3}", "database.pool_sise", "database.pool_size"),
        ("log_level: DEBUG", "log_level", "observe.log_level"),
        ("limits: {rate: {reads_per_minut: 3}}", "limits.rate.reads_per_minut", "limits.rate.reads_per_minute"),
    ],
)
def test_an_unknown_key_of_the_file_is_named_with_the_nearest_known_one(settings, yaml, unknown, nearest):
    with pytest.raises(ConfigurationError) as raised:
        settings(yaml)
    assert f"file portico.yaml: unknown setting {unknown}." == raised.value.message
    assert nearest in (raised.value.hint or "")


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("PORTICO_HTTP__PROT", "PORTICO_HTTP__PORT"),
        ("PORTICO_HTTP_PORT", "PORTICO_HTTP"),
        ("PORTICO_DATABASES__MAIN__DISCOVR", "PORTICO_DATABASES__MAIN__DISCOVER"),
        ("PORTICO_DATABASE__POOL_SISE", "database.pool_size"),
        ("PORTICO_SECRET_KY_FILE", "PORTICO_SECRET_KEY"),
    ],
)
def test_an_unknown_variable_is_named_with_the_nearest_known_one(settings, variable, nearest):
    with pytest.raises(ConfigurationError, match=variable) as raised:
        settings(**{variable: "1"})
    assert nearest in (raised.value.hint or "")


def test_what_kubernetes_sets_for_a_service_named_portico_is_no_setting(settings):
    links = {
        "PORTICO_SERVICE_HOST": "10.0.0.9",
        "PORTICO_SERVICE_PORT": "8001",
        "PORTICO_SERVICE_PORT_HTTP": "8001",
        "PORTICO_PORT": "tcp://10.0.0.9:8001",
        "PORTICO_PORT_8001_TCP": "tcp://10.0.0.9:8001",
        "PORTICO_PORT_8001_TCP_ADDR": "10.0.0.9",
    }
    assert settings(**links).http.port == 8001


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("http: {port: many}", r"file portico.yaml: http.port: .*integer"),
        ("http: {port: 70000}", r"http.port: .*65535"),
        ("http: [1]", "http must be a mapping"),
        ("- http", "must be a mapping"),
        ("http: {port: 1\n", "not valid YAML"),
        ("http: {port: 1}\nhttp: {port: 2}", "the key http is given twice"),
        ("observe: {log_level: LOUD}", "observe.log_level"),
        ("store: {database: mian}", "there is no database mian"),
        ("databases: {9lives: {connection_string: 'sqlite:///a.db'}}", "9lives"),
        ("cluster: {advertise: '10.0.0.5:8002'}", "without a secret"),
        ("http: {tls_key: a.pem}", "belong together"),
        ("limits: {page_default: 2000}", "page_default"),
        ("secret_key: 12345", "put it in quotes"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_its_setting(settings, yaml, message):
    with pytest.raises(ConfigurationError, match=message):
        settings(yaml)


def test_errors_never_carry_the_value(settings):
    for variable in (
        "PORTICO_HTTP__PORT",
        "PORTICO_AUTH__ISSUERS",
        "DATABASE_URL",
        "ENVIRONMENT",
        "PORTICO_MASTER_KEY",
        "LOG_LEVEL",
        "DB_POOL_SIZE",
    ):
        with pytest.raises(ConfigurationError) as raised:
            settings(**{variable: "s3cr3t-v4lue"})
        assert "s3cr3t" not in f"{raised.value.message} {raised.value.hint} {raised.value.details}", variable


def test_declared_collections_keep_the_name_of_their_file(settings, folder: Path):
    (folder / "declared").mkdir()
    (folder / "declared" / "b.yaml").write_text("- {name: lines}\n- {name: notes}\n")
    (folder / "declared" / "a.yml").write_text("name: orders\n")
    found = settings("collections_dir: declared\ncollections: [{name: invoices}]")
    named = [(declaration.source, declaration.document["name"]) for declaration in found.declarations]
    assert named == [("portico.yaml", "invoices"), ("a.yml", "orders"), ("b.yaml", "lines"), ("b.yaml", "notes")]
