"""`portico migrate` as it is run: killed at every step, cut off, by many at once, beside traffic, and with files that were changed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import httpx2
import psycopg
import pytest
import yaml

from tests.conftest import StartPortico
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresDatabase
from tests.servers.waiting import wait_until

pytestmark = pytest.mark.migrations

INVOICES: dict[str, Any] = {
    "name": "invoices",
    "fields": [
        {"name": "id", "type": "uuid", "default_value": "uuid7", "constraints": ["primary_key"]},
        {"name": "client_id", "type": "string(255)", "required": True},
        {"name": "number", "type": "integer", "required": True, "default_value": 7},
    ],
    "indexes": [{"name": "idx_invoices_number", "fields": ["number"]}],
    "security": {"tenant_field": "client_id"},
}
ADD_NOTE = {"add_field": {"collection": "invoices", "field": {"name": "note", "type": "text", "required": True, "default_value": "-"}}}
ADD_TOKEN = {
    "add_field": {
        "collection": "invoices",
        "field": {"name": "token", "type": "uuid", "required": True, "default_value": "uuid7", "constraints": ["unique"]},
    }
}
ADD_INDEX = {"add_index": {"collection": "invoices", "index": {"name": "idx_invoices_client", "fields": ["client_id", "-number"]}}}
NUMBER_AS_TEXT = {
    "alter_field": {
        "collection": "invoices",
        "field": {"name": "number", "type": "string(20)", "required": True, "default_value": "7", "constraints": ["min_length:1"]},
    }
}
ONLINE = [ADD_NOTE, ADD_TOKEN, ADD_INDEX, NUMBER_AS_TEXT]
HOLD = 4_242
"""An advisory lock that tests hold where a migration is to stop."""


class Project:
    """A configuration with its folder of migrations, over one database."""

    def __init__(self, config: dict[str, object]) -> None:
        self.process = PorticoProcess(config, warm=True)
        self.folder = self.process.folder / "migrations"
        self.database = Path()
        self.started: list[subprocess.Popen[str]] = []

    def write(self, name: str, *operations: object, **more: object) -> Path:
        self.folder.mkdir(exist_ok=True)
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"operations": list(operations), **more}))
        return path

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = self.process.run("migrate", *arguments, within=120)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "portico", "migrate", *arguments, "--config", str(self.process.config_file)]
        environment = self.process.environment
        started = subprocess.Popen(
            command, cwd=self.process.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.started.append(started)
        return started

    def close(self) -> None:
        """End what still runs."""
        for started in self.started:
            started.kill()
            started.wait(20)
        self.process.close()

    def states(self) -> dict[str, str]:
        done = self.process.run("migrate", "history", "--json")
        return {item["id"]: item["status"] for item in json.loads(done.stdout)}


def project_over(database: PostgresDatabase, **config: object) -> Project:
    logins = {"connection_string": database.dsn(), "migration_connection_string": database.dsn("migrator")}
    return Project({"databases": {"main": {"type": "postgresql"} | logins}, **config})


@pytest.fixture
def project(postgres_database: PostgresDatabase) -> Iterator[Project]:
    """A project over PostgreSQL, with the collection `invoices`."""
    made = project_over(postgres_database)
    made.write("20260101_000000_invoices", {"create_collection": INVOICES})
    made.run("up")
    yield made
    made.close()


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Project]:
    """A project over SQLite."""
    made = Project({"databases": {"main": {"connection_string": f"sqlite:///{tmp_path}/app.db"}}, "collections": [INVOICES]})
    made.database = tmp_path / "app.db"
    yield made
    made.close()


def fill(database: PostgresDatabase, rows: int) -> None:
    database.execute(f"INSERT INTO app.invoices (client_id, number) SELECT 'c' || i % 10, i FROM generate_series(1, {rows}) AS i")


def shape(database: PostgresDatabase) -> dict[str, list[tuple[object, ...]]]:
    """Everything that a migration of the table could leave: columns, constraints, indexes, triggers, functions, tables."""
    facts = "column_name, data_type, is_nullable, column_default"
    columns = f"SELECT {facts} FROM information_schema.columns WHERE table_name = 'invoices'"
    return {
        "columns": sorted(database.execute(columns), key=str),
        "constraints": database.execute(
            "SELECT conname, convalidated, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE conrelid = 'app.invoices'::regclass ORDER BY 1"
        ),
        "indexes": database.execute(
            "SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid = 'app.invoices'::regclass ORDER BY 1"
        ),
        "triggers": database.execute("SELECT tgname FROM pg_trigger WHERE tgrelid = 'app.invoices'::regclass AND NOT tgisinternal"),
        "functions": database.execute("SELECT proname FROM pg_proc WHERE pronamespace = 'app'::regnamespace"),
        "tables": database.execute("SELECT relname FROM pg_class WHERE relnamespace = 'app'::regnamespace AND relkind = 'r' ORDER BY 1"),
    }


def steps_done(database: PostgresDatabase, key: str) -> int:
    found = database.execute(f"SELECT steps FROM portico.migrations WHERE id = '{key}' AND status = 'executing'")
    return int(str(found[0][0])) if found else -1


def stop_at(database: PostgresDatabase, key: str, step: int) -> psycopg.Connection[tuple[object, ...]]:
    """Make the migration stand still in the transaction that marks a step as done, until the connection is closed."""
    database.execute(f"""
        CREATE OR REPLACE FUNCTION portico.hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          IF NEW.id = '{key}' AND NEW.steps = {step} AND OLD.steps < {step} THEN PERFORM pg_advisory_xact_lock({HOLD}); END IF;
          RETURN NEW; END $$""")
    database.execute("CREATE OR REPLACE TRIGGER hold BEFORE UPDATE ON portico.migrations FOR EACH ROW EXECUTE FUNCTION portico.hold()")
    holder = database.connect()
    holder.execute(f"SELECT pg_advisory_lock({HOLD})".encode())
    return holder


def stands_still(database: PostgresDatabase) -> bool:
    return bool(database.execute(f"SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = {HOLD} AND NOT granted"))


def release(database: PostgresDatabase, holder: psycopg.Connection[tuple[object, ...]]) -> None:
    holder.close()
    database.execute("DROP TRIGGER IF EXISTS hold ON portico.migrations")
    database.execute("DROP FUNCTION IF EXISTS portico.hold()")


def kill(database: PostgresDatabase, running: subprocess.Popen[str]) -> None:
    del database
    running.send_signal(signal.SIGKILL)
    running.wait(20)


def cut(database: PostgresDatabase, running: subprocess.Popen[str]) -> None:
    database.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    assert running.wait(60) == 3, running.stdout.read() if running.stdout else ""


def migrators_gone(database: PostgresDatabase) -> bool:
    return not database.execute("SELECT 1 FROM pg_stat_activity WHERE usename = 'migrator' AND datname = current_database()")


@pytest.mark.database
@pytest.mark.parametrize("end", [kill, cut])
def test_killed_at_any_step_the_next_run_finishes(
    postgres_database: PostgresDatabase, project: Project, end: Callable[[PostgresDatabase, subprocess.Popen[str]], None]
):
    key = "20260102_000000_online"
    project.write("20260102_000000_online", *ONLINE)
    fill(postgres_database, 5_000)
    steps = len(json.loads(project.run("plan", "--json").stdout)[0]["steps"])
    assert steps > 15
    step = 1
    while step <= steps:
        holder = stop_at(postgres_database, key, step)
        running = project.start("up")
        wait_until(lambda: stands_still(postgres_database), 60, f"step {step}")
        end(postgres_database, running)
        release(postgres_database, holder)
        wait_until(lambda: migrators_gone(postgres_database), what="the end of the migrator's connection")
        assert steps_done(postgres_database, key) < step
        step += 4
    project.run("up")
    assert project.states()[key] == "completed"
    found = shape(postgres_database)
    assert [row[1] for row in found["indexes"]] == [True] * len(found["indexes"])
    assert {str(row[0]) for row in found["indexes"]} == {
        "app.pk_invoices", "app.idx_invoices_number", "app.idx_invoices_client", "app.uq_invoices_token",
    }  # fmt: skip
    assert (found["triggers"], found["functions"], [row[0] for row in found["tables"]]) == ([], [], ["invoices"])
    facts = "count(*), count(DISTINCT token), count(note), sum(number::int), min(pg_typeof(number)::text)"
    rows = postgres_database.execute(f"SELECT {facts} FROM app.invoices")
    assert rows == [(5_000, 5_000, 5_000, 12_502_500, "character varying")]


@pytest.mark.database
@pytest.mark.parametrize("killed", [True, False])
def test_an_index_that_was_left_half_built_is_built_anew(postgres_database: PostgresDatabase, project: Project, killed: bool):
    key = "20260102_000000_index"
    project.write(key, ADD_INDEX)
    fill(postgres_database, 1_000)

    def valid() -> list[tuple[object, ...]]:
        return postgres_database.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('app.idx_invoices_client')")

    with postgres_database.connect() as writer:
        # A concurrent build waits for whoever writes to the table.
        writer.execute("BEGIN")
        writer.execute("INSERT INTO app.invoices (client_id) VALUES ('c1')")
        running = project.start("up")
        wait_until(lambda: valid() == [(False,)], 60, "the build")
        if killed:
            kill(postgres_database, running)
        postgres_database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'migrator'")
        assert running.wait(60) == (-signal.SIGKILL if killed else 3)
        wait_until(lambda: migrators_gone(postgres_database), what="the end of the migrator's connection")
        assert valid() == [(False,)]
        writer.execute("ROLLBACK")
    project.run("up")
    assert (project.states()[key], valid()) == ("completed", [(True,)])


@pytest.mark.database
def test_an_index_of_a_partitioned_table_waits_for_no_lock_that_others_wait_for(postgres_database: PostgresDatabase):
    project = project_over(postgres_database)
    parts = {"strategy": "hash", "key": "client_id", "partitions": 4}
    try:
        project.write("20260101_000000_invoices", {"create_collection": INVOICES | {"partitioning": parts}})
        project.run("up")
        fill(postgres_database, 1_000)
        project.write("20260102_000000_index", ADD_INDEX)
        own = "indexrelid::regclass::text NOT LIKE '%pk%' AND indexrelid::regclass::text NOT LIKE '%number%'"
        of_table = "indrelid IN (SELECT relid FROM pg_partition_tree('app.invoices'))"
        indexes = f"SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE {own} AND {of_table} ORDER BY 1"
        refusing = "SELECT mode FROM pg_locks WHERE relation = 'app.invoices'::regclass AND mode NOT IN ({})".format(
            "'AccessShareLock', 'RowExclusiveLock', 'ShareUpdateExclusiveLock'"
        )
        with postgres_database.connect() as writer:
            # The concurrent build of a partition waits for whoever writes to it, and keeps nobody from the table meanwhile.
            writer.execute("BEGIN")
            writer.execute("UPDATE app.invoices_p2 SET number = number")
            running = project.start("up")
            wait_until(lambda: len(postgres_database.execute(indexes)) == 4, 60, "the part of the third partition")
            assert postgres_database.execute(refusing) == []
            fill(postgres_database, 10)
            kill(postgres_database, running)
            postgres_database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'migrator'")
            wait_until(lambda: migrators_gone(postgres_database), what="the end of the migrator's connection")
            assert False in [valid for _, valid in postgres_database.execute(indexes)]
            writer.execute("ROLLBACK")
        project.run("up")
        built = postgres_database.execute(indexes)
        assert [valid for _, valid in built] == [True] * 5
        once = {"name": "once", "fields": ["client_id"], "unique": True}
        wrong = project.write("20260103_000000_once", {"add_index": {"collection": "invoices", "index": once}})
        assert "same value" in project.run("up", code=1).stderr
        assert postgres_database.execute(indexes) == built
        wrong.unlink()
        project.run("down")
        assert postgres_database.execute(indexes) == []
    finally:
        project.close()


@pytest.mark.database
def test_killed_between_batches_the_audit_tells_exactly_what_changed(postgres_database: PostgresDatabase):
    project = project_over(postgres_database)
    try:
        project.process.run("init-db")
        project.write("20260101_000000_invoices", {"create_collection": INVOICES | {"audit": True, "versioned": True}})
        project.run("up")
        fill(postgres_database, 5_000)
        key = "20260102_000000_update"
        project.write(key, {"update_data": {"collection": "invoices", "set": {"number": -1}, "where": {}}})

        def changed() -> list[int]:
            """How many documents are changed; how many of these the audit tells, and how many have a version."""
            documents = "SELECT count(*) FROM app.invoices WHERE number = -1"
            told = "SELECT count(DISTINCT document_key), count(*) FROM portico.{} WHERE correlation_id = '{}' AND operation = 'update'"
            audited, versions = (postgres_database.execute(told.format(table, key))[0] for table in ("audit", "versions"))
            return [int(str(count)) for count in (*postgres_database.execute(documents)[0], *audited, *versions)]

        with postgres_database.connect() as writer:
            writer.execute("BEGIN")
            writer.execute("SELECT FROM app.invoices WHERE id = (SELECT id FROM app.invoices ORDER BY id OFFSET 4500 LIMIT 1) FOR UPDATE")
            running = project.start("up")
            wait_until(lambda: changed()[0] == 4_000, 60, "the second batch")
            kill(postgres_database, running)
            wait_until(lambda: migrators_gone(postgres_database), what="the end of the migrator's connection")
            assert changed() == [4_000] * 5
            writer.execute("ROLLBACK")
        project.run("up")
        assert (project.states()[key], changed()) == ("completed", [5_000] * 5)
        assert project.process.run("audit", "verify").returncode == 0
    finally:
        project.close()


@pytest.mark.database
def test_a_failed_one_leaves_nothing_and_keeps_its_error(postgres_database: PostgresDatabase, project: Project):
    fill(postgres_database, 100)
    before = shape(postgres_database)
    unique = {"name": "client_id", "type": "string(255)", "required": True, "constraints": ["unique"]}
    key = "20260102_000000_wrong"
    project.write(key, *ONLINE[:3], {"alter_field": {"collection": "invoices", "field": unique}})
    failed = project.run("up", code=1)
    assert "same value" in failed.stderr
    assert shape(postgres_database) == before
    history = json.loads(project.run("history", "--json").stdout)
    assert "same value" in next(item["error"] for item in history if item["id"] == key)
    project.run("status", code=1)
    project.write(key, *ONLINE[:3])
    project.run("up")
    assert project.states()[key] == "completed"


@pytest.mark.database
def test_twenty_at_once_one_runs_and_nineteen_find_it_done(postgres_database: PostgresDatabase):
    project = project_over(postgres_database)
    try:
        project.write("20260101_000000_invoices", {"create_collection": INVOICES})
        project.write("20260102_000000_online", *ONLINE)
        running = [project.start("up", "--json") for _ in range(20)]
        outputs = [process.communicate(timeout=240)[0] for process in running]
        assert [process.returncode for process in running] == [0] * 20, outputs
        ran = sorted(len(json.loads(output)) for output in outputs)
        assert ran == [0] * 19 + [2]
    finally:
        project.close()


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.database)])
def test_new_writes_what_is_missing_and_up_and_down_run_it(request: pytest.FixtureRequest, kind: str):
    if kind == "sqlite":
        project: Project = request.getfixturevalue("embedded")
    else:
        project = project_over(request.getfixturevalue("postgres_database"), collections=[INVOICES])
    written = project.run("new", "add invoices").stdout.strip()
    assert written.endswith("_add_invoices.yaml")
    document = yaml.safe_load((project.process.folder / written).read_text())
    assert document["operations"][0]["create_collection"]["name"] == "invoices"
    assert document["down"] == [{"drop_collection": {"name": "invoices"}}]
    assert "CREATE TABLE" in project.run("plan").stdout
    project.run("up")
    assert "Nothing to do" in project.run("new", "nothing").stdout
    assert json.loads(project.run("status", "--json").stdout)[0]["status"] == "completed"
    project.run("down")
    assert list(project.states().values()) == ["rolled_back"]
    project.run("up")
    assert list(project.states().values()) == ["completed"]
    project.close()


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.database)])
def test_new_sees_a_reference_that_was_declared_since(request: pytest.FixtureRequest, kind: str, tmp_path: Path):
    key = {"name": "id", "type": "uuid", "default_value": "uuid7", "constraints": ["primary_key"]}
    security = {"access_control": "shared"}
    lines: dict[str, Any] = {"name": "lines", "fields": [key, {"name": "invoice_id", "type": "uuid"}], "security": security}
    collections = [{"name": "bills", "fields": [key], "security": security}, lines]
    database = {"connection_string": f"sqlite:///{tmp_path}/app.db"}
    if kind == "postgresql":
        made: PostgresDatabase = request.getfixturevalue("postgres_database")
        database = {"connection_string": made.dsn(), "migration_connection_string": made.dsn("migrator")}
    project = Project({"databases": {"main": database}, "collections": collections})
    project.run("new", "all")
    project.run("up")
    lines["fields"][1]["constraints"] = ["references:bills.id:cascade"]
    config = yaml.safe_load(project.process.config_file.read_text()) | {"collections": collections}
    project.process.config_file.write_text(yaml.safe_dump(config))
    assert "Nothing to do" not in project.run("new", "refer").stdout
    project.run("up")
    assert "Nothing to do" in project.run("new", "nothing").stdout
    project.close()


@pytest.mark.database
def test_new_sees_that_somebody_else_is_to_reach_the_documents(postgres_database: PostgresDatabase):
    bills = {**INVOICES, "fields": [*INVOICES["fields"], {"name": "buyer", "type": "string(255)"}]}
    project = project_over(postgres_database, collections=[bills])

    def declare(security: dict[str, object]) -> str:
        """Declare it, and give what `new` writes."""
        config = yaml.safe_load(project.process.config_file.read_text()) | {"collections": [bills | {"security": security}]}
        project.process.config_file.write_text(yaml.safe_dump(config))
        return project.run("new", "secure").stdout.strip()

    def policy() -> str:
        found = postgres_database.execute("SELECT pg_get_expr(polqual, polrelid) FROM pg_policy WHERE polrelid = 'app.invoices'::regclass")
        return str(found[0][0]) if found else ""

    try:
        declare({"tenant_field": "client_id"})
        project.run("up")
        assert "Nothing to do" in declare({"tenant_field": "client_id", "hidden": ["number"]})
        document = yaml.safe_load((project.process.folder / declare({"tenant_field": "buyer"})).read_text())
        (operation,) = document["operations"]
        assert operation["set_security"]["security"]["tenant_field"] == "buyer"
        assert document["down"][0]["set_security"]["security"]["tenant_field"] == "client_id"
        project.run("up")
        assert ("buyer" in policy(), "client_id" in policy()) == (True, False)
        assert "Nothing to do" in declare({"tenant_field": "buyer"})
        project.write("99990101_000000_rename", {"rename_field": {"collection": "invoices", "name": "buyer", "to": "payer"}})
        project.run("up")
        bills["fields"][-1]["name"] = "payer"
        assert "Nothing to do" in declare({"tenant_field": "payer"})
        assert "Nothing to do" not in declare({"access_control": "shared"})
        project.run("up")
        assert policy() == ""
        assert "Nothing to do" in declare({"access_control": "shared"})
        project.run("down")
        assert "payer" in policy()
    finally:
        project.close()


def test_a_file_that_was_changed_after_it_ran_is_named(embedded: Project):
    embedded.write("20260101_000000_invoices", {"create_collection": INVOICES})
    embedded.run("up")
    embedded.write("20260101_000000_invoices", {"create_collection": INVOICES}, ADD_NOTE)
    refused = embedded.run("up", code=1)
    assert "20260101_000000_invoices" in refused.stderr
    assert "20260101_000000_invoices" in embedded.run("status", code=1).stderr


def test_what_depends_on_a_missing_one_is_refused(embedded: Project):
    embedded.write("20260101_000000_invoices", {"create_collection": INVOICES}, dependencies=["20250101_000000_clients"])
    assert "20250101_000000_clients" in embedded.run("up", code=1).stderr


def test_sqlite_killed_while_it_migrates_has_nothing_to_undo(embedded: Project):
    embedded.write("20260101_000000_invoices", {"create_collection": INVOICES})
    embedded.run("up")
    numbers = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000)"
    endless = f"{numbers} INSERT INTO invoices (client_id) SELECT 'x' FROM n WHERE i < 0"
    embedded.write("20260102_000000_slow", ADD_NOTE, {"run_sql": {"sql": endless}})
    running = embedded.start("up")
    wait_until(lambda: embedded.states().get("20260102_000000_slow") == "executing", 60, "the migration")
    running.send_signal(signal.SIGKILL)
    running.wait(20)
    with closing(sqlite3.connect(embedded.database)) as connection:
        assert "note" not in [row[1] for row in connection.execute("PRAGMA table_info(invoices)")]
        # What it was about to do is in the journal; here it ends sooner.
        connection.execute("UPDATE portico_migrations SET plan = replace(plan, '1000000000', '10')")
        connection.commit()
    embedded.run("up")
    assert embedded.states()["20260102_000000_slow"] == "completed"
    with closing(sqlite3.connect(embedded.database)) as connection:
        assert "note" in [row[1] for row in connection.execute("PRAGMA table_info(invoices)")]


class Traffic:
    """Reads and writes of a service while it is migrated; every answer that is not right is kept."""

    def __init__(self, process: PorticoProcess) -> None:
        self.failures: list[str] = []
        self.answers = 0
        self.slowest = 0.0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(process.url, number)) for number in range(4)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, url: str, number: int) -> None:
        with httpx2.Client(base_url=url, timeout=20, headers={"X-Client-ID": f"c{number}"}) as client:
            while not self._stop.is_set():
                made = self._told(client.post("/api/db/invoices", json={}))
                self._told(client.get("/api/db/invoices", params={"limit": 5}))
                if made.status_code == 201:
                    self._told(client.patch(f"/api/db/invoices/{made.json()['data']['id']}", json={"client_id": f"c{number}"}))
                # The field whose type changes: it takes numbers, and then texts; a filter on it is always right.
                if self._told(client.post("/api/db/invoices", json={"number": self.answers}), or_else=422).status_code == 422:
                    self._told(client.post("/api/db/invoices", json={"number": str(self.answers)}))
                self._told(client.get("/api/db/invoices", params={"number": "gte.0", "order": "number", "limit": 5}))

    def _told(self, answer: httpx2.Response, *, or_else: int = 200) -> httpx2.Response:
        if answer.status_code not in (200, 201, or_else):
            self.failures.append(answer.text)
        self.answers += 1
        self.slowest = max(self.slowest, answer.elapsed.total_seconds())
        return answer


class LockWatch:
    """Watches `pg_locks`: how long a lock that keeps reads or writes of the table away was held."""

    STATEMENT = """SELECT l.pid, l.mode FROM pg_locks l WHERE l.relation = 'app.invoices'::regclass AND l.granted
                   AND l.mode IN ('AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock', 'ShareLock')"""

    def __init__(self, database: PostgresDatabase) -> None:
        self.longest = 0.0
        self.seen: set[str] = set()
        self._database = database
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        since: dict[tuple[object, object], float] = {}
        with self._database.connect() as connection:
            while not self._stop.wait(0.005):
                now = time.monotonic()
                held = {(row[0], row[1]) for row in connection.execute(self.STATEMENT.encode()).fetchall()}
                since = {lock: since.get(lock, now) for lock in held}
                self.seen |= {str(mode) for _, mode in held}
                self.longest = max([self.longest, *(now - begun for begun in since.values())])


def migrate_under_load(postgres_database: PostgresDatabase, portico: StartPortico, rows: int) -> tuple[Traffic, LockWatch]:
    service_config = {"collections": [INVOICES], "http": {"workers": 2}}
    project = project_over(postgres_database, **service_config)
    assert project.process.run("init-db").returncode == 0
    fill(postgres_database, rows)
    logins = {"connection_string": postgres_database.dsn(), "migration_connection_string": postgres_database.dsn("migrator")}
    process = portico(config={"databases": {"main": {"type": "postgresql"} | logins}, **service_config})
    project.write("20260102_000000_add", ADD_NOTE, ADD_TOKEN, ADD_INDEX)
    project.write("20260103_000000_rename", {"rename_field": {"collection": "invoices", "name": "note", "to": "remark"}})
    project.write("20260104_000000_type", NUMBER_AS_TEXT)
    with Traffic(process) as traffic, LockWatch(postgres_database) as watch:
        wait_until(lambda: traffic.answers > 40, what="traffic")
        running = project.start("up")
        output = running.communicate(timeout=1800)[0]
        assert running.returncode == 0, output
        before = traffic.answers
        wait_until(lambda: traffic.answers > before + 40, what="traffic afterwards")
    project.close()
    return traffic, watch


@pytest.mark.database
def test_no_request_fails_and_no_lock_is_held_for_long_while_a_table_is_migrated(
    postgres_database: PostgresDatabase, portico: StartPortico, record_property
):
    """A million rows: MIGRATED_ROWS=1000000."""
    traffic, watch = migrate_under_load(postgres_database, portico, int(os.environ.get("MIGRATED_ROWS", "100000")))
    record_property("longest_lock_seconds", round(watch.longest, 3))
    record_property("slowest_answer_seconds", round(traffic.slowest, 3))
    print(f"longest lock {watch.longest:.3f} s, slowest answer {traffic.slowest:.3f} s, {traffic.answers} answers")
    assert traffic.failures == []
    assert "AccessExclusiveLock" in watch.seen
    assert watch.longest < 1.0
