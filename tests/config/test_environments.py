"""Environments, and what keeps Portico from starting in them."""

from pathlib import Path

import pytest

from portico.errors import ConfigurationError
from portico.settings import Keyring, MasterKey, unsafe_reasons


@pytest.mark.parametrize(
    ("value", "environment"),
    [("development", "development"), ("dev", "development"), ("staging", "staging"), ("production", "production"), ("prod", "production")],
)
def test_the_environment_goes_by_its_names(settings, value, environment):
    assert settings(ENVIRONMENT=value).environment == environment


@pytest.mark.parametrize("value", ["test", "productive", "development2"])
def test_any_other_environment_is_an_error(settings, value):
    with pytest.raises(ConfigurationError, match="ENVIRONMENT: the environment must be development"):
        settings(ENVIRONMENT=value)


def test_in_development_on_loopback_calls_without_a_credential_act_as_dev(settings):
    found = settings()
    assert unsafe_reasons(found) == []
    assert found.anonymous_service == "dev"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_every_loopback_address_is_loopback(settings, host):
    assert unsafe_reasons(settings(PORTICO_HTTP__HOST=host)) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "portico.internal"])
def test_in_development_another_address_needs_credentials(settings, host):
    (reason,) = unsafe_reasons(settings(PORTICO_HTTP__HOST=host))
    assert "set auth.required to true" in reason
    required = settings(PORTICO_HTTP__HOST=host, PORTICO_AUTH__REQUIRED="true")
    assert unsafe_reasons(required) == []
    assert required.anonymous_service is None


@pytest.fixture
def safe(folder: Path) -> dict[str, str]:
    """Variables with which production starts."""
    (folder / "key").write_text("q8Xr" * 10)
    (folder / "url").write_text("postgresql://appuser:Zk3vPq9s@db:5432/app?sslmode=verify-full")
    return {"ENVIRONMENT": "production", "PORTICO_SECRET_KEY_FILE": str(folder / "key"), "DATABASE_URL_FILE": str(folder / "url")}


def test_production_starts_with_secrets_from_files_and_tls(settings, safe):
    found = settings(**safe)
    assert unsafe_reasons(found) == []
    assert found.auth.required
    assert found.anonymous_service is None


def test_production_starts_with_encrypted_secrets(settings, safe):
    key = MasterKey.generate()
    del safe["DATABASE_URL_FILE"]
    url = Keyring((key,)).encrypt("postgresql://appuser:Zk3vPq9s@db/app?sslmode=require")
    assert unsafe_reasons(settings(f"database: {{url: '{url}'}}", **safe, PORTICO_MASTER_KEY=key.text())) == []


@pytest.mark.parametrize("environment", ["production", "staging"])
@pytest.mark.parametrize(
    ("yaml", "changed", "words"),
    [
        ("", {"PORTICO_SECRET_KEY_FILE": ""}, ["secret_key is not set", "PORTICO_SECRET_KEY_FILE"]),
        ("", {"PORTICO_SECRET_KEY_FILE": "short"}, ["secret_key has 5 characters", "32"]),
        ("", {"PORTICO_SECRET_KEY_FILE": "change-me-in-production"}, ["secret_key is a default one"]),
        (
            "",
            {"PORTICO_SECRET_KEY_FILE": "", "PORTICO_SECRET_KEY": "q8Xr" * 10},
            ["plain variable (PORTICO_SECRET_KEY)", "PORTICO_SECRET_KEY_FILE"],
        ),
        ("", {"DATABASE_URL_FILE": "", "DATABASE_URL": "postgresql://u:Zk3vPq9s@db/a?sslmode=require"}, ["plain variable (DATABASE_URL)"]),
        ("", {"DATABASE_URL_FILE": "postgresql://u:Zk3vPq9s@db/a"}, ["db in plain text", "sslmode"]),
        ("", {"DATABASE_URL_FILE": "postgresql://u:Zk3vPq9s@localhost,db2/a?sslmode=prefer"}, ["db2 in plain text"]),
        ("", {"DATABASE_URL_FILE": "postgresql://u:postgres@db/a?sslmode=require"}, ["default password"]),
        (
            "",
            {"DATABASE_URL_FILE": "", "DB_HOST": "db", "DB_NAME": "a", "DB_PASSWORD": "Zk3vPq9s"},
            ["plain variable (DB_PASSWORD)", "DB_PASSWORD_FILE"],
        ),
        ("", {"REDIS_URL": "redis://cache:6379/0"}, ["cache in plain text", "rediss://"]),
        ("", {"MONGODB_URL": "mongodb://docs/app"}, ["docs in plain text", "tls=true"]),
        ("", {"PORTICO_AUTH__REQUIRED": "false"}, ["auth.required is false"]),
        ("cluster: {secret: abc}", {}, ["cluster.secret has a password in plain text (file portico.yaml)", "secret_file"]),
        (
            "database: {migration_url: 'postgresql://o:Zk3vPq9s@localhost/a'}",
            {},
            ["migration_connection_string has a password in plain text"],
        ),
        ("auth: {issuers: [{issuer: i, audience: a, jwks_url: 'http://idp/keys'}]}", {}, ["auth.issuers", "https"]),
    ],
)
def test_an_unsafe_setting_is_refused_with_a_sentence_that_says_what_to_change(settings, safe, folder, environment, yaml, changed, words):
    for variable, value in changed.items():
        in_file = variable.endswith("_FILE") and value
        if in_file:
            (folder / variable).write_text(value)
        safe[variable] = str(folder / variable) if in_file else value
    (reason,) = unsafe_reasons(settings(yaml, **{**safe, "ENVIRONMENT": environment}))
    for word in words:
        assert word in reason
    assert reason.endswith(".")
    assert "Zk3vPq9s" not in reason


@pytest.mark.parametrize("url", ["postgresql:///a?host=/run/postgresql", "postgresql://localhost/a", "sqlite:////data/a.db"])
def test_a_database_on_the_same_machine_needs_no_tls(settings, safe, url):
    del safe["DATABASE_URL_FILE"]
    assert unsafe_reasons(settings(**safe, DATABASE_URL=url)) == []
