"""`portico doctor` and `portico status`: what they find, and the exit codes that a script reads."""

import json

from tests.conftest import StartPortico
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresServer


def findings(process: PorticoProcess, *arguments: str) -> dict[str, str]:
    """What doctor says, by subject."""
    found: dict[str, str] = {}
    for item in json.loads(process.run("doctor", "--json", *arguments).stdout):
        found[item["subject"]] = f"{found.get(item['subject'], '')}{item['severity']}: {item['text']}\n"
    return found


def test_doctor_says_what_it_will_not_do_with_discovered_tables(portico: StartPortico, postgres: PostgresServer) -> None:
    database = postgres.new_database()
    database.execute("""
        CREATE TABLE log (at timestamptz, text text);
        CREATE TABLE places (id bigint PRIMARY KEY, spot point, size bigint GENERATED ALWAYS AS (id * 2) STORED);
        CREATE VIEW recent AS SELECT * FROM places;
        GRANT SELECT ON ALL TABLES IN SCHEMA public TO appuser; GRANT INSERT, UPDATE ON log TO appuser;
    """)
    main = {"type": "postgresql", "connection_string": database.dsn(), "discover": ["public"]}
    found = findings(portico(config={"databases": {"main": main}}, start=False))
    database.drop()
    assert "no primary key" in found["collection log"]
    assert "scope *" in found["collection places"]
    assert "own type point" in found["collection places.spot"]
    assert "computes it" in found["collection places.size"]
    assert "owner's rights" in found["collection recent"]
    assert "not served" in found["built-in collections"]


def test_doctor_finds_a_tenant_column_that_takes_different_clients_for_the_same(portico: StartPortico, postgres: PostgresServer) -> None:
    database = postgres.new_database()
    database.execute("""
        CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        CREATE TABLE notes (id bigint PRIMARY KEY, client text COLLATE loose); GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO appuser;
    """)
    notes = {"name": "notes", "security": {"access_control": "tenant", "tenant_field": "client"}}
    main = {"type": "postgresql", "connection_string": database.dsn(), "discover": ["public"]}
    process = portico(config={"databases": {"main": main}, "collections": [notes]}, start=False)
    found = findings(process)
    assert found["collection notes.client"].startswith("error: its collation")
    assert "row-level security" in found["collection notes"]
    assert process.run("doctor").returncode == 1
    database.drop()


def test_doctor_answers_what_an_auditor_asks(portico: StartPortico) -> None:
    process = portico()
    process.run("key", "create", "--service", "billing", "--allow", "*:read", "--clients", "acme", "--expires", "90d")
    found = findings(process, "--security")
    assert "act as the service dev" in found["credentials"]
    assert any("of billing" in subject and "1 clients" in text for subject, text in found.items())


def test_doctor_tells_a_database_that_is_away_from_one_that_is_wrong(portico: StartPortico) -> None:
    main = {"type": "postgresql", "connection_string": "postgresql://nobody@127.0.0.1:1/none"}
    assert portico(config={"databases": {"main": main}}, start=False).run("doctor").returncode == 3


def test_status_tells_how_the_databases_and_the_service_are(portico: StartPortico) -> None:
    process = portico()
    running = process.run("status", "--service", "--json")
    report = json.loads(running.stdout)
    assert running.returncode == 0
    assert (report["service"]["status"], report["databases"]["main"]["status"]) == ("healthy", "healthy")
    process.stop()
    assert process.run("status").returncode == 0
    assert process.run("status", "--service").returncode == 3


def test_status_changes_nothing_and_says_that_a_database_is_missing_or_away(portico: StartPortico) -> None:
    missing = portico(start=False)
    assert missing.run("status").returncode == 1
    assert not (missing.folder / "portico.db").exists()
    main = {"type": "postgresql", "connection_string": "postgresql://nobody@127.0.0.1:1/none"}
    assert portico(config={"databases": {"main": main}}, start=False).run("status").returncode == 3


def test_doctor_names_what_is_set_and_has_no_effect_yet(portico: StartPortico) -> None:
    letters = {
        "name": "letters",
        "fields": [{"name": "id", "type": "bigint"}, {"name": "body", "type": "text"}],
        "primary_key": ["id"],
        "security": {"access_control": "shared", "encrypted": ["body"]},
    }
    process = portico(config={"limits": {"rate": {"reads_per_minute": 60}}, "collections": [letters]}, start=False)
    process.run("init-db")
    found = findings(process)
    assert "no effect yet" in found["setting limits.rate.reads_per_minute"]
    assert [subject for subject in found if subject.startswith("setting")] == ["setting limits.rate.reads_per_minute"]
    assert "stored as they are: body" in found["collection letters"]
