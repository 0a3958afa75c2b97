"""The audit as its readers have it: chained soon after the commit, verified by the command, and shown by `GET /api/db/audit`."""

import json
import sqlite3
from contextlib import closing
from typing import Any, Literal

import pytest

from tests.conftest import StartPortico
from tests.servers.portico import PorticoProcess
from tests.servers.waiting import wait_until

ENGINES = ["sqlite", "postgres"]
Kind = Literal["sqlite", "postgres"]


def verified(process: PorticoProcess, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code of `portico audit verify`, and what it says of the database."""
    done = process.run("audit", "verify", "--json", *arguments)
    return done.returncode, json.loads(done.stdout)["main"] if done.stdout else {"error": done.stderr}


def make_clients(process: PorticoProcess, many: int) -> None:
    """Create clients, each with its audit row."""
    made = process.client.post("/api/db/clients", json=[{"id": f"c{at}", "name": f"Client {at}"} for at in range(many)])
    assert made.status_code == 201, made.text


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_are_chained_while_the_service_runs_and_the_command_verifies_them(portico: StartPortico, engine: Kind) -> None:
    process = portico(engine)
    before = verified(process)[1]["rows"]
    make_clients(process, 20)
    wait_until(lambda: (found := verified(process)[1])["pending"] == 0 and found["rows"] == before + 20, 10, "every row is chained")
    code, verdict = verified(process)
    assert (code, verdict["verified"], verdict["problems"]) == (0, True, [])
    code, verdict = verified(process, "--head", verdict["head"]["hash"])
    assert (code, verdict["verified"]) == (0, True)
    code, verdict = verified(process, "--head", "11" * 32)
    assert (code, [item["kind"] for item in verdict["problems"]]) == (1, ["head_missing"])
    plain = process.run("audit", "verify")
    assert plain.returncode == 0
    assert "all as written" in plain.stdout


def test_a_changed_row_is_said_with_its_place_and_an_exit_code(portico: StartPortico) -> None:
    process = portico("sqlite")
    make_clients(process, 3)
    wait_until(lambda: not verified(process)[1]["pending"], 10, "every row is chained")
    with closing(sqlite3.connect(process.folder / "portico.db")) as connection:
        (row_id,) = connection.execute("SELECT max(id) - 1 FROM portico_audit").fetchone()
        connection.execute("UPDATE portico_audit SET document_key = 'other' WHERE id = ?", (row_id,))
        connection.commit()
    done = process.run("audit", "verify")
    assert done.returncode == 1
    assert f"The audit row {row_id} is not what was written." in done.stdout


def test_without_an_audit_and_with_a_wrong_head_the_command_says_what_to_do(portico: StartPortico) -> None:
    process = portico("sqlite", start=False)
    done = process.run("audit", "verify")
    assert (done.returncode, "portico init-db" in done.stderr) == (2, True)
    assert process.run("audit", "verify", "--head", "beef").returncode == 2
    assert process.run("audit", "verify", "--database", "nowhere").returncode == 2
