"""The SQL and the settings that set PostgreSQL up, run on a real server."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.servers.postgres import PostgresServer
from tests.servers.process import create_folder, unprivileged_user

SQL = Path(__file__).parents[2] / "deploy" / "sql"
NAMES = ("APPUSER_PASSWORD_FILE", "MIGRATOR_PASSWORD_FILE", "BACKUPUSER_PASSWORD_FILE", "TEMPORAL_PASSWORD_FILE")

pytestmark = pytest.mark.database


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of our own, with the settings of production: its roles are changed."""
    folder = create_folder("deploy", unprivileged_user())
    for name in ("postgresql.conf", "pg_hba.conf"):
        shutil.copyfile(SQL / name, folder / name)
        (folder / name).chmod(0o644)
    settings = {"include": f"'{folder / 'postgresql.conf'}'", "hba_file": f"'{folder / 'pg_hba.conf'}'"}
    started = PostgresServer.start(tls=True, settings=settings)
    yield started
    started.stop()
    shutil.rmtree(folder, ignore_errors=True)


def run(server: PostgresServer, database: str, script: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = ["psql", "--no-psqlrc", "--quiet", server.dsn("postgres", database), "--file", str(SQL / script)]
    return subprocess.run(command, env=dict(os.environ) | (environment or {}), capture_output=True, text=True, timeout=60, check=False)


def passwords(folder: Path, length: int = 32) -> dict[str, str]:
    """A file with a password for each login, by the variable that names it."""
    for name in NAMES:
        (folder / name).write_text((name.lower() + "-" + "x" * 40)[:length] + "\n")
    return {name: str(folder / name) for name in NAMES}


def test_the_settings_are_understood_and_in_force(server: PostgresServer):
    assert server.execute("SELECT name, error FROM pg_file_settings WHERE error IS NOT NULL") == []
    assert server.execute("SELECT line_number, error FROM pg_hba_file_rules WHERE error IS NOT NULL") == []
    wanted = {
        "ssl_min_protocol_version": "TLSv1.2",
        "ssl_max_protocol_version": "TLSv1.3",
        "log_statement": "mod",
        "log_min_duration_statement": "1000",
        "log_checkpoints": "on",
        "log_connections": "on",
        "log_disconnections": "on",
        "log_lock_waits": "on",
        "log_line_prefix": "%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
        "password_encryption": "scram-sha-256",
        "pg_stat_statements.track": "all",
        "pg_stat_statements.track_utility": "on",
        "pg_stat_statements.track_planning": "on",
        "random_page_cost": "1.1",
        "jit": "off",
    }
    names = ", ".join(f"'{name}'" for name in wanted)
    found = {str(name): str(value) for name, value in server.execute(f"SELECT name, setting FROM pg_settings WHERE name IN ({names})")}
    assert found == wanted


def test_connections_without_tls_are_refused(server: PostgresServer):
    with pytest.raises(psycopg.OperationalError, match=r"no encryption|no pg_hba.conf entry|rejects connection"):
        psycopg.connect(server.dsn("appuser", sslmode="disable", sslrootcert="")).close()


def test_the_development_script_makes_roles_schemas_and_extensions_and_runs_again(server: PostgresServer):
    database = server.new_database(owner="postgres")
    for _ in range(2):
        done = run(server, database.name, "init.sql")
        assert done.returncode == 0, done.stderr
    assert database.execute("SELECT extname FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1") == [
        ("pg_stat_statements",),
        ("pg_trgm",),
        ("uuid-ossp",),
    ]
    owners = database.execute("SELECT nspname, nspowner::regrole::text FROM pg_namespace WHERE nspname IN ('app', 'portico') ORDER BY 1")
    assert owners == [("app", "appowner"), ("portico", "appowner")]


def test_the_production_script_gives_each_role_what_it_needs_and_runs_again(server: PostgresServer, tmp_path: Path):
    database = server.new_database(owner="postgres")
    for _ in range(2):
        done = run(server, database.name, "production-init.sql", passwords(tmp_path))
        assert done.returncode == 0, done.stderr
    roles = "SELECT rolname, rolcanlogin, rolsuper, rolbypassrls FROM pg_roles WHERE rolname IN {} ORDER BY 1"
    assert database.execute(roles.format("('appowner', 'appuser', 'backupuser', 'migrator', 'temporal')")) == [
        ("appowner", False, False, False),
        ("appuser", True, False, False),
        ("backupuser", True, False, True),
        ("migrator", True, False, False),
        ("temporal", True, False, False),
    ]
    scram = "SELECT count(*) FROM pg_authid WHERE rolname IN ('appuser', 'migrator', 'backupuser') AND rolpassword LIKE 'SCRAM-SHA-256$%'"
    assert database.execute(scram) == [(3,)]
    assert database.execute("SELECT datname, datdba::regrole::text FROM pg_database WHERE datname LIKE 'temporal%' ORDER BY 1") == [
        ("temporal", "temporal"),
        ("temporal_visibility", "temporal"),
    ]
    assert database.execute("SELECT has_database_privilege('appuser', 'temporal', 'CONNECT')") == [(False,)]
    assert "password_file" not in server.process.log_text(), "a password is in the server's log"


def test_the_production_script_refuses_short_passwords_before_it_changes_anything(server: PostgresServer, tmp_path: Path):
    database = server.new_database(owner="postgres")
    done = run(server, database.name, "production-init.sql", passwords(tmp_path, length=8))
    assert done.returncode != 0
    assert "16 characters or more" in done.stderr
    assert database.execute("SELECT count(*) FROM pg_namespace WHERE nspname IN ('app', 'portico')") == [(0,)]
