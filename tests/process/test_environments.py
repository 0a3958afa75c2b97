"""What `ENVIRONMENT` means to the real process: who is let in where, and what it refuses to start on, with a sentence for each."""

from pathlib import Path

import httpx2
import pytest

from tests.conftest import StartPortico
from tests.servers.postgres import PASSWORDS, PostgresServer

_REMOTE = "postgresql://appuser@db.example:5432/app"
_UNSAFE: dict[str, tuple[dict[str, str], dict[str, object], str]] = {
    "no secret": ({}, {}, "secret_key is not set"),
    "a default secret": ({"PORTICO_SECRET_KEY": "changeme"}, {}, "secret_key is a default one"),
    "calls without a credential": ({"PORTICO_AUTH__REQUIRED": "false"}, {}, "auth.required is false"),
    "a password in a plain variable": (
        {"DATABASE_URL": "postgresql://appuser:a-long-and-random-one@127.0.0.1/app"},
        {},
        "has a password in a plain variable (DATABASE_URL)",
    ),
    "a plain connection to a remote database": (
        {},
        {"databases": {"main": {"type": "postgresql", "connection_string": _REMOTE}}},
        "reaches db.example in plain text",
    ),
}


@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_outside_of_development_unsafe_settings_are_refused_with_a_sentence_each(portico: StartPortico, environment: str) -> None:
    for name, (variables, config, sentence) in _UNSAFE.items():
        process = portico(config=config, environment={"ENVIRONMENT": environment} | variables, start=False)
        ended = process.run("serve", within=30)
        assert (ended.returncode, sentence in ended.stderr) == (2, True), f"{name}: {ended.stderr}"
        assert "a-long-and-random-one" not in ended.stderr + ended.stdout


def test_any_other_environment_is_an_error_that_names_those_there_are(portico: StartPortico) -> None:
    ended = portico(environment={"ENVIRONMENT": "test"}, start=False).run("serve", within=30)
    assert ended.returncode == 2
    assert "ENVIRONMENT" in ended.stderr
    assert "development" in ended.stderr


@pytest.mark.database
def test_production_refuses_a_role_that_bypasses_row_level_security(
    portico: StartPortico, postgres: PostgresServer, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("k3" * 24)
    (tmp_path / "password").write_text(PASSWORDS["migrator"])
    database = postgres.new_database()
    # A member of the owner's role may become the owner, and switch the policies off.
    database.execute("CREATE SCHEMA app AUTHORIZATION appowner")
    database.execute("CREATE TABLE app.things (id int PRIMARY KEY); ALTER TABLE app.things OWNER TO appowner")
    postgres.execute("CREATE ROLE bypasser LOGIN BYPASSRLS PASSWORD 'bypasser-of-rules-1'")
    (tmp_path / "other").write_text("bypasser-of-rules-1")
    try:
        for role, password, sentence in (("migrator", "password", "owns tables"), ("bypasser", "other", "bypasses row-level security")):
            url = f"postgresql://{role}@127.0.0.1:{postgres.port}/{database.name}"
            main = {"type": "postgresql", "connection_string": url, "password_file": str(tmp_path / password)}
            settings = {"ENVIRONMENT": "production", "PORTICO_SECRET_KEY_FILE": str(tmp_path / "key")}
            ended = portico(config={"databases": {"main": main}}, environment=settings, start=False).run("serve", within=30)
            assert (ended.returncode, sentence in ended.stderr) == (2, True), f"{role}: {ended.stderr}"
    finally:
        database.drop()
        postgres.execute("DROP ROLE bypasser")


def test_on_an_address_that_others_reach_development_needs_credentials(portico: StartPortico) -> None:
    ended = portico(config={"http": {"host": "0.0.0.0"}}, start=False).run("serve", within=30)
    assert ended.returncode == 2
    assert "auth.required" in ended.stderr
    process = portico(config={"http": {"host": "0.0.0.0"}, "auth": {"required": True}})
    assert process.client.get("/api/db/clients").status_code == httpx2.codes.UNAUTHORIZED
    assert process.client.get("/health/live").status_code == httpx2.codes.OK


def test_dev_means_development_and_listens_on_this_machine_only(portico: StartPortico) -> None:
    process = portico(environment={"ENVIRONMENT": "dev"})
    log = process.log_text()
    assert "(development)" in log
    assert "act as the service dev" in log
    assert process.client.get("/api/db/clients").status_code == httpx2.codes.OK
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"]
    ours = [address for address in listening if int(address.partition(":")[2], 16) == process.port]
    assert ours
    assert all(address.startswith("0100007F") for address in ours)
