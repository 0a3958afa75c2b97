"""Sample data: believable, complete, and the same for the same seed on both engines."""

import json

import pytest

from tests.conftest import StartPortico
from tests.servers.portico import PorticoProcess

pytestmark = pytest.mark.database

COLLECTIONS = (
    "clients", "users", "user_identities", "document_metadata", "documents",
    "wireframes", "conversations", "messages", "diagrams", "events",
)  # fmt: skip


def prepared(portico: StartPortico, engine: str) -> PorticoProcess:
    if engine == "postgres":
        return portico("postgres", start=False)
    process = portico(config={"databases": {"main": {"connection_string": "sqlite:///./portico.db"}}}, start=False)
    assert process.run("init-db").returncode == 0
    return process


def everything(process: PorticoProcess) -> dict[str, list[str]]:
    """Every row by collection, as the service gives it."""
    process.start()
    found = {name: sorted(process.client.get(f"/api/db/{name}/export").text.splitlines()) for name in COLLECTIONS}
    process.stop()
    return found


def test_the_same_seed_gives_the_same_data_on_every_engine_and_another_seed_other_data(portico: StartPortico):
    answers = []
    for engine, seed in (("sqlite", "7"), ("postgres", "7"), ("sqlite", "8")):
        process = prepared(portico, engine)
        result = process.run("seed", "--size", "small", "--seed", seed, "--json")
        assert result.returncode == 0, result.stderr
        counted = json.loads(result.stdout)["rows"]
        rows = everything(process)
        assert {name: len(lines) for name, lines in rows.items()} == counted
        assert sum(counted.values()) == 100
        answers.append({name: [json.loads(line) for line in lines] for name, lines in rows.items()})
    assert answers[0] == answers[1] != answers[2]
    assert all("@" in row["email"] and " " in row["full_name"] for row in answers[0]["users"])


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_running_it_twice_is_refused_unless_a_further_set_is_asked_for(portico: StartPortico, engine):
    process = prepared(portico, engine)
    assert process.run("seed").returncode == 0
    again = process.run("seed")
    assert again.returncode == 1
    assert "there already" in again.stderr
    assert "--again" in again.stderr
    assert process.run("seed", "--again").returncode == 0
    assert process.run("seed", "--again").returncode == 0
    rows = everything(process)
    assert len(rows["users"]) == 24
    assert len(rows["clients"]) == 6


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_the_data_can_be_a_named_clients_own(portico: StartPortico, engine):
    process = prepared(portico, engine)
    assert process.run("seed", "--size", "medium", "--client", "acme").returncode == 0
    process.start()
    client = process.client
    client.headers["X-Client-ID"] = "acme"
    assert client.get("/api/db/clients").json()["data"][0]["id"] == "acme"
    assert client.get("/api/db/document_metadata/count").json()["data"] == 2000
    assert client.get("/api/db/messages/count").json()["data"] == 3000
    client.headers["X-Client-ID"] = "other"
    assert client.get("/api/db/messages/count").json()["data"] == 0
    made = client.post(
        "/clients/acme/documents",
        json={"filename": "n", "file_size": 1, "file_type": "t", "file_path": "/n"},
        headers={"X-Client-ID": "acme"},
    )
    assert made.status_code == 201


def test_a_database_without_the_collections_is_told_to_run_init_db(portico: StartPortico):
    process = portico(config={"databases": {"main": {"connection_string": "sqlite:///./portico.db"}}}, start=False)
    result = process.run("seed")
    assert result.returncode == 2
    assert "init-db" in result.stderr
    assert process.run("seed", "--size", "huge").returncode == 2
    assert process.run("seed", "--client", "a client").returncode == 2
