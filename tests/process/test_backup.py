"""Backups: taken while writers write, proven, and restored to the same rows on both engines."""

import gzip
import json
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from portico.backup.tools import find_program
from portico.errors import BackupError
from portico.settings.keyring import MasterKey
from tests.conftest import StartPortico
from tests.process.backups import SECRET, Place, backup_server, hashes, place_on_postgres, place_on_sqlite
from tests.servers.postgres import PostgresServer
from tests.servers.waiting import wait_until

pytestmark = pytest.mark.database

POLICIES = "SELECT tablename, policyname, qual, with_check FROM pg_policies ORDER BY 1, 2"
OWNERSHIP = """
SELECT c.oid::regclass::text, pg_get_userbyid(c.relowner), c.relrowsecurity, c.relforcerowsecurity, c.relacl::text
FROM pg_class c WHERE c.relnamespace::regnamespace::text IN ('app', 'portico') AND c.relkind IN ('r', 'S') ORDER BY 1"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with backup_server() as started:
        yield started


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, portico: StartPortico) -> Place:
    return place_on_sqlite(portico) if request.param == "sqlite" else place_on_postgres(portico, request.getfixturevalue("server"))


@pytest.fixture
def on_postgres(portico: StartPortico, server: PostgresServer) -> Place:
    return place_on_postgres(portico, server)


def fill(place: Place) -> str:
    """Sample data, documents with awkward texts written through the API, and a key; gives the key."""
    assert place.process.run("seed", "--size", "small").returncode == 0
    place.process.start()
    client = place.process.client
    assert (
        client.post("/api/db/clients", json={"id": "acme", "name": "Acme 'quoted' \"twice\" \\ \\. \t \n;\r\n-- Ünïcödé 🎈"}).status_code
        == 201
    )
    for number in range(3):
        document = {
            "filename": f"a\n'{number}.txt",
            "file_size": number,
            "file_type": "t",
            "file_path": "\\N",
            "metadata": {"x": [0.1, None]},
        }
        assert client.post("/clients/acme/documents", json=document).status_code == 201
    assert client.delete("/clients/acme/documents/21").status_code == 204
    place.process.stop()
    made = place.process.run("key", "create", "--service", "billing", "--allow", "*:read", "--clients", "acme", "--json")
    return str(json.loads(made.stdout)["key"])


def test_a_restored_backup_has_every_row_and_serves_them(place: Place, portico: StartPortico, record_property):
    key = fill(place)
    before = hashes(place.url())
    assert len(before) > 15
    started = time.monotonic()
    file = place.backup()
    target = place.empty()
    code, said = place.restore(file, target)
    record_property("seconds", time.monotonic() - started)
    assert code == 0, said
    assert hashes(target) == before

    served = portico(config={"databases": {"main": {"connection_string": target}}}, environment=SECRET, start=False)
    assert served.run("verify-schema").returncode == 0
    served.start()
    answer = served.client.get("/clients/acme/documents", headers={"X-API-Key": key})
    assert [row["filename"] for row in answer.json()["data"]] == ["a\n'1.txt", "a\n'2.txt"]
    made = served.client.post("/clients/acme/documents", json={"filename": "n", "file_size": 1, "file_type": "t", "file_path": "/n"})
    assert made.status_code == 201
    assert made.json()["data"]["id"] > 23


def test_a_backup_taken_while_others_write_is_of_one_moment(place: Place):
    place.process.start()
    client = place.process.client
    client.post("/api/db/clients", json={"id": "acme", "name": "Acme"})
    done = threading.Event()
    written = 0

    def write() -> None:
        nonlocal written
        while not done.is_set():
            pair = [
                {"filename": f"{written}-{part}", "file_size": 1, "file_type": "t", "file_path": "/", "summary": "x" * 2000}
                for part in "ab"
            ]
            assert client.post("/clients/acme/documents", json=pair).status_code == 201
            written += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        files = [place.backup()]
        at_first = written
    finally:
        done.set()
        writer.join()
    assert written > at_first - 1 > 0
    target = place.empty()
    assert place.restore(files[0], target)[0] == 0
    statement = "SELECT count(*), count(DISTINCT substr(filename, 1, length(filename) - 2)) FROM {}document_metadata"
    if target.startswith("sqlite"):
        with closing(sqlite3.connect(target.removeprefix("sqlite:///"))) as file:
            rows, pairs = file.execute(statement.format("")).fetchone()
    else:
        with psycopg.connect(target) as connection:
            rows, pairs = connection.execute(statement.format("app.").encode()).fetchone() or (0, 0)
    assert rows == 2 * pairs > 0


def test_a_file_that_is_cut_or_changed_or_not_ours_is_refused_before_anything_is_touched(place: Place):
    assert place.process.run("seed").returncode == 0
    file = place.backup()
    whole = file.read_bytes()
    target = place.empty()
    text = gzip.decompress(whole)
    damaged = {
        "cut": whole[: len(whole) // 2],
        "one byte less": whole[:-1],
        "nothing": b"",
        "one bit": whole[:500] + bytes([whole[500] ^ 1]) + whole[501:],
        "another row": gzip.compress(text.replace(b"example.com", b"example.org", 1)),
        "without its end": gzip.compress(text[: text.rindex(b"-- Portico")]),
        "more at its end": gzip.compress(text + b"DROP TABLE users;\n"),
        "somebody else's": gzip.compress(b"CREATE TABLE a (b int);\n"),
        "no archive": b"CREATE TABLE a (b int);\n",
    }
    for what, content in damaged.items():
        other = file.with_name(f"damaged.{file.name}")
        other.write_bytes(content)
        code, said = place.restore(other, target)
        assert code == 1, what
        assert re.search("truncated|changed|not a backup", said), (what, said)
        assert "Traceback" not in said
    file.write_bytes(gzip.compress(text))
    code, said = place.restore(file, target)
    assert code == 1
    assert "checksum" in said
    assert hashes(target) == {}
    assert place.restore(file.with_name("missing.sql.gz"), target)[0] == 1


def test_a_target_with_something_in_it_is_kept_unless_force_is_named(place: Place):
    assert place.process.run("seed").returncode == 0
    file = place.backup()
    old = hashes(place.url())
    assert place.process.run("seed", "--again").returncode == 0
    changed = hashes(place.url())
    code, said = place.restore(file, place.url())
    assert code == 1
    assert "not empty" in said
    assert hashes(place.url()) == changed != old
    code, said = place.restore(file, place.url(), "--force")
    assert code == 0, said
    assert hashes(place.url()) == old


def test_an_encrypted_backup_shows_nothing_and_needs_its_key(place: Place):
    assert place.process.run("seed").returncode == 0
    refused = place.process.run("backup", "--encrypt")
    assert refused.returncode == 2
    assert "master key" in refused.stderr
    key, other = MasterKey.generate("old"), MasterKey.generate("new")
    place.process.environment["PORTICO_MASTER_KEY"] = key.text()
    file = place.backup("--encrypt")
    assert file.name.endswith(".sql.gz.enc")
    assert not file.read_bytes().startswith(b"\x1f\x8b")
    target = place.empty()
    place.process.environment["PORTICO_MASTER_KEY"] = other.text()
    code, said = place.restore(file, target)
    assert code == 2
    assert "master key 'old'" in said
    place.process.environment["PORTICO_MASTER_KEY"] = f"{other.text()},{key.text()}"
    whole = file.read_bytes()
    cut = file.with_name(f"cut.{file.name}")
    for content in (whole[:-20], whole[:-1] + bytes([whole[-1] ^ 1]), whole[:30]):
        cut.write_bytes(content)
        code, said = place.restore(cut, target)
        assert code == 1
        assert re.search("truncated|changed", said), said
    assert place.restore(file, target)[0] == 0
    assert hashes(target) == hashes(place.url())


def test_old_backups_go_once_the_new_one_is_proven_and_nothing_else_does(place: Place):
    place.backups.mkdir()
    now = datetime.now(UTC)
    names = {days: f"main_backup_{now - timedelta(days=days):%Y%m%d_%H%M%S}.sql.gz" for days in (40, 31, 29)}
    for name in (*names.values(), f"other{names[40][4:]}", "main_backup_notes.sql.gz", f"{names[40]}.sha256"):
        (place.backups / name).write_text("old")
    file = place.backup()
    assert re.fullmatch(r"main_backup_\d{8}_\d{6}\.sql\.gz", file.name)
    left = {item.name for item in place.backups.iterdir()}
    assert left == {file.name, f"{file.name}.sha256", names[29], f"other{names[40][4:]}", "main_backup_notes.sql.gz"}
    assert file.stat().st_mode & 0o077 == 0


def test_a_backup_that_fails_leaves_nothing_and_removes_nothing(on_postgres: Place):
    place = on_postgres
    place.backups.mkdir()
    (place.backups / "main_backup_20200101_000000.sql.gz").write_text("old")
    assert place.database is not None
    place.database.execute("CREATE TABLE public.secrets (a int)")
    result = place.process.run("backup", "--output", str(place.backups))
    assert result.returncode == 1
    assert "backupuser may not read secrets" in result.stderr
    assert [item.name for item in place.backups.iterdir()] == ["main_backup_20200101_000000.sql.gz"]


def test_a_login_that_would_not_see_every_row_is_refused_by_name(portico: StartPortico, on_postgres: Place):
    assert on_postgres.database is not None
    main = {"connection_string": on_postgres.database.dsn(), "backup_connection_string": on_postgres.database.dsn("appuser")}
    process = portico(config={"databases": {"main": {"type": "postgresql"} | main}}, start=False)
    result = process.run("backup")
    assert result.returncode == 1
    assert re.search("appuser (would not see every row|may not read)", result.stderr), result.stderr


def test_roles_owners_grants_and_policies_come_back_on_a_server_that_has_none_of_them(on_postgres: Place):
    place = on_postgres
    assert place.process.run("seed").returncode == 0
    file = place.backup()
    other = PostgresServer.start()
    try:
        for role in ("migrator", "appuser", "appowner"):
            other.execute(f"DROP ROLE {role}")
        database = other.new_database(owner="postgres")
        code, said = place.restore(file, database.dsn("postgres"))
        assert code == 0, said
        assert place.database is not None
        assert database.execute(POLICIES) == place.database.execute(POLICIES)
        assert database.execute(OWNERSHIP) == place.database.execute(OWNERSHIP)
        assert database.execute("SELECT rolcanlogin, rolbypassrls FROM pg_roles WHERE rolname = 'appuser'") == [(True, False)]
        with database.connect() as connection:
            connection.execute("SET ROLE appuser")
            assert connection.execute("SELECT count(*) FROM app.users").fetchone() == (0,)
            connection.execute("SELECT set_config('portico.all', 'on', false)")
            assert connection.execute("SELECT count(*) FROM app.users").fetchone() == (8,)
    finally:
        other.stop()


def test_the_migrating_login_restores_into_an_empty_database_of_its_owner(on_postgres: Place):
    assert on_postgres.server is not None
    assert on_postgres.process.run("seed").returncode == 0
    file = on_postgres.backup()
    target = on_postgres.server.new_database()
    code, said = on_postgres.restore(file, target.dsn("migrator"))
    assert code == 0, said
    assert hashes(target.dsn("postgres")) == hashes(on_postgres.url())
    assert on_postgres.database is not None
    assert target.execute(OWNERSHIP) == on_postgres.database.execute(OWNERSHIP)


def test_programs_that_are_missing_or_too_old_are_named_with_what_to_install():
    with pytest.raises(BackupError, match=r"pg_dump is of version \d+, older than the server's 99"):
        find_program("pg_dump", 990_000)
    with pytest.raises(BackupError, match="pg_nothing is not installed"):
        find_program("pg_nothing", 140_000)


def test_a_database_that_is_in_use_is_not_replaced(portico: StartPortico):
    place = place_on_sqlite(portico)
    file = place.backup()
    place.process.start()
    code, said = place.restore(file, place.url(), "--force")
    assert code == 1
    assert "in use" in said
    assert place.process.client.get("/api/db/clients").status_code == 200


def test_a_file_that_others_made_comes_back_byte_for_byte(portico: StartPortico, tmp_path: Path):
    source, target = tmp_path / "theirs.db", tmp_path / "again.db"
    with closing(sqlite3.connect(source)) as connection:
        connection.executescript(
            "CREATE TABLE t (a INTEGER PRIMARY KEY, b, c AS (a + 1));  -- a comment\n"
            "CREATE TABLE log (x);\n"
            "CREATE TRIGGER note AFTER INSERT ON t BEGIN\nINSERT INTO log VALUES (';\n'); END;\n"
            "CREATE VIRTUAL TABLE words USING fts5(body);\n"
            "CREATE VIEW v AS SELECT a FROM t; PRAGMA user_version = 7;"
        )
        values = [0.1, 1e300, -0.0, 1e-320, float("inf"), 2**62, b"\0\xff", "a\r\nb\0c", "'quoted'", None, 123456789.123456789]
        connection.executemany("INSERT INTO t (b) VALUES (?)", [(value,) for value in values])
        connection.execute("INSERT INTO t (b) VALUES (CAST(X'ff27' AS TEXT))")
        connection.execute("INSERT INTO words VALUES ('the blue door')")
        connection.commit()
    process = portico(config={"databases": {"main": {"connection_string": f"sqlite:///{source}"}}}, start=False)
    assert process.run("backup").returncode == 0
    (file,) = (process.folder / "backups").glob("*.gz")
    result = process.run("restore", str(file), "--into", f"sqlite:///{target}")
    assert result.returncode == 0, result.stderr
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as two:
        for statement in ("SELECT *, typeof(b), CAST(b AS BLOB) FROM t WHERE a <> 12", "SELECT * FROM log", "PRAGMA user_version"):
            assert repr(one.execute(statement).fetchall()) == repr(two.execute(statement).fetchall())
        assert two.execute("SELECT hex(b) FROM t WHERE a = 12").fetchone() == ("FF27",)
        assert two.execute("SELECT rowid FROM words WHERE words MATCH 'blue'").fetchall() == [(1,)]


def test_a_backup_that_is_ended_half_way_leaves_nothing(portico: StartPortico):
    place = place_on_sqlite(portico)
    with closing(sqlite3.connect(place.url().removeprefix("sqlite:///"))) as connection:
        connection.execute("CREATE TABLE blobs (b BLOB)")
        connection.executemany("INSERT INTO blobs VALUES (randomblob(1000000))", [()] * 60)
        connection.commit()
    command = [sys.executable, "-m", "portico", "backup", "--config", str(place.process.config_file), "--output", str(place.backups)]
    running = subprocess.Popen(command, cwd=place.process.folder, env=place.process.environment, stderr=subprocess.DEVNULL)
    wait_until(lambda: list(place.backups.glob(".main_backup_*")), what="the unfinished backup")
    running.terminate()
    assert running.wait(30) == 143
    assert list(place.backups.iterdir()) == []
