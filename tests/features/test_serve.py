"""`portico serve` as a user runs it: what it prints, whom it lets in, how it ends, and what keeps it from starting."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from tests.conftest import StartPortico
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PASSWORDS, PostgresServer
from tests.servers.process import answers
from tests.servers.waiting import wait_until


@pytest.fixture
def warm() -> bool:
    """Here the start itself is tested."""
    return False


def workers_of(process: PorticoProcess) -> list[int]:
    """The process ids of the workers."""
    children = subprocess.run(["pgrep", "-P", str(process.process.pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in children.stdout.split()]


def test_it_prints_where_everything_is_and_as_whom_calls_act(portico: StartPortico) -> None:
    process = portico()
    log = process.log_text()
    assert f"{process.url}/api/db" in log
    assert f"{process.url}/docs" in log
    assert "act as the service dev" in log


def test_the_embedded_database_is_ready_with_a_little_sample_data(portico: StartPortico) -> None:
    client = portico(prepared=False).client
    names = [item["filename"] for item in client.get("/clients/demo/documents").raise_for_status().json()["data"]]
    assert "welcome.txt" in names


def test_a_database_of_somebody_else_is_served_as_it_is(portico: StartPortico, tmp_path: Path) -> None:
    file = tmp_path / "theirs.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE books (id INTEGER PRIMARY KEY, title TEXT)")
        connection.commit()
    main = {"type": "sqlite", "connection_string": f"sqlite:///{file}", "discover": ["main"]}
    process = portico(config={"databases": {"main": main}})
    assert process.client.get("/health").json()["tables"]["clients"] == "missing"
    with closing(sqlite3.connect(file)) as connection:
        assert [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")] == ["books"]


def test_on_another_address_it_starts_only_when_calls_need_a_credential(portico: StartPortico) -> None:
    process = portico(config={"http": {"host": "0.0.0.0"}}, start=False)
    result = process.run("serve", within=20)
    assert result.returncode == 2
    assert "auth.required" in result.stderr


def test_production_refuses_unsafe_settings_with_a_sentence_each(portico: StartPortico) -> None:
    process = portico(environment={"ENVIRONMENT": "production"}, config={"auth": {"required": False}}, start=False)
    result = process.run("serve", within=20)
    assert result.returncode == 2
    assert "secret_key is not set" in result.stderr
    assert "auth.required is false" in result.stderr


def test_production_refuses_a_role_that_owns_the_tables(portico: StartPortico, postgres: PostgresServer, tmp_path: Path) -> None:
    secret, password = tmp_path / "key", tmp_path / "password"
    secret.write_text("k3" * 24)
    password.write_text(PASSWORDS["postgres"])
    database = postgres.new_database()
    url = f"postgresql://postgres@127.0.0.1:{postgres.port}/{database.name}"
    main = {"type": "postgresql", "connection_string": url, "password_file": str(password)}
    settings = {"ENVIRONMENT": "production", "PORTICO_SECRET_KEY_FILE": str(secret)}
    process = portico(config={"databases": {"main": main}}, environment=settings, start=False)
    result = process.run("serve", within=30)
    database.drop()
    assert result.returncode == 2, result.stderr
    assert "superuser" in result.stderr
    assert PASSWORDS["postgres"] not in result.stderr + result.stdout


def test_production_starts_on_safe_settings_and_refuses_calls_without_a_credential(
    portico: StartPortico, postgres: PostgresServer, tmp_path: Path
) -> None:
    database = postgres.new_database()
    migrating = {"connection_string": database.dsn(), "migration_connection_string": database.dsn("migrator")}
    assert portico(config={"databases": {"main": migrating}}, start=False).run("init-db").returncode == 0
    (tmp_path / "key").write_text("k3" * 24)
    (tmp_path / "password").write_text(PASSWORDS["appuser"])
    url = f"postgresql://appuser@127.0.0.1:{postgres.port}/{database.name}"
    main = {"type": "postgresql", "connection_string": url, "password_file": str(tmp_path / "password")}
    settings = {"ENVIRONMENT": "production", "PORTICO_SECRET_KEY_FILE": str(tmp_path / "key")}
    process = portico(config={"databases": {"main": main}}, environment=settings)
    try:
        assert process.client.get("/health/ready").status_code == 200
        assert process.client.get("/api/db/clients").status_code == 401
        assert process.client.get("/api/db/stats").status_code == 401
        assert process.client.get("/health").json()["tables"]["users"] == "healthy"
    finally:
        process.kill()
        database.drop()


def test_sigterm_ends_it_with_exit_code_0(portico: StartPortico) -> None:
    assert portico().stop() == 0


def test_a_call_that_runs_when_sigterm_comes_is_finished(portico: StartPortico) -> None:
    process = portico()
    body = json.dumps({"id": "late", "name": "Late"}).encode()
    head = f"POST /api/db/clients HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", process.port), timeout=10) as connection:
        connection.sendall(head.encode() + body[:5])
        # Another request that is answered shows that the first half has been read.
        process.client.get("/health/live").raise_for_status()
        os.kill(process.process.pid, signal.SIGTERM)
        connection.sendall(body[5:])
        assert connection.recv(65536).startswith(b"HTTP/1.1 201")


def test_a_worker_that_is_killed_is_replaced(portico: StartPortico) -> None:
    process = portico(config={"http": {"workers": 2}})
    wait_until(lambda: len(workers_of(process)) == 2, what="two workers")
    victim = workers_of(process)[0]
    os.kill(victim, signal.SIGKILL)

    def replaced() -> bool:
        found = workers_of(process)
        return len(found) == 2 and victim not in found

    wait_until(replaced, what="a new worker")
    assert "Unexpected exit from worker" in process.log_text()
    wait_until(lambda: answers(process.port), what="a worker that listens")
    with httpx2.Client(base_url=process.url) as fresh:
        assert fresh.get("/health/live").status_code == 200


def test_a_name_that_is_not_this_machine_is_refused_where_no_credential_is_needed(portico: StartPortico) -> None:
    client = portico().client
    answer = client.get("/api/db/clients", headers={"Host": "evil.example", "X-Correlation-ID": "abc"})
    assert (answer.status_code, answer.headers["x-correlation-id"]) == (403, "abc")


def test_an_unknown_path_is_404_and_a_wrong_method_405_in_the_envelope(portico: StartPortico) -> None:
    client = portico().client
    unknown = client.get("/nowhere")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "route_not_found")
    wrong = client.post("/health")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "GET, HEAD"
    assert wrong.json()["correlation_id"] == wrong.headers["x-correlation-id"]
