"""The test servers themselves: each is real, and does what tests of faults need."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psycopg
import pymongo
import pytest
from redis import exceptions

from tests.servers.certificates import CertificateAuthority
from tests.servers.mongodb import MongoServer
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgres import PostgresDatabase, PostgresServer
from tests.servers.process import answers
from tests.servers.redis import RedisServer
from tests.servers.waiting import wait_until

pytestmark = pytest.mark.database


@pytest.fixture(scope="module")
def secure_postgres() -> Iterator[PostgresServer]:
    server = PostgresServer.start(tls=True)
    yield server
    server.stop()


async def test_the_application_role_neither_owns_tables_nor_bypasses_row_security(postgres_database: PostgresDatabase) -> None:
    postgres_database.execute("SET ROLE appowner; CREATE TABLE owned (id int)", "migrator")
    connection = await asyncpg.connect(postgres_database.dsn())
    try:
        assert await connection.fetchval("SELECT NOT (rolsuper OR rolbypassrls) FROM pg_roles WHERE rolname = current_user")
        assert await connection.fetchval("SELECT tableowner FROM pg_tables WHERE tablename = 'owned'") == "appowner"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("SELECT * FROM owned")
    finally:
        await connection.close()


def test_a_database_from_a_template_has_what_the_template_has(postgres: PostgresServer) -> None:
    template = postgres.create_template("with_colours", _fill)
    assert postgres.create_template("with_colours", lambda database: pytest.fail("prepared twice")) == template
    database = postgres.new_database(template=template)
    assert database.execute("SELECT name FROM colours") == [("red",)]
    database.drop()


def _fill(database: PostgresDatabase) -> None:
    database.execute("CREATE TABLE colours AS SELECT 'red' AS name")


def test_what_was_committed_survives_a_crash_and_a_restart() -> None:
    server = PostgresServer.start(durable=True)
    try:
        server.execute("CREATE TABLE kept AS SELECT 1 AS id")
        server.kill()
        assert not answers(server.port)
        server.restart()
        assert server.execute("SELECT id FROM kept") == [(1,)]
    finally:
        server.stop()


def test_a_synchronous_standby_shows_a_commit_at_once_and_can_take_over() -> None:
    server = PostgresServer.start()
    try:
        standby = server.start_standby(synchronous=True)
        server.execute("CREATE TABLE replicated AS SELECT 1 AS id")
        server.wait_for_standbys()
        assert standby.execute("SELECT id, pg_is_in_recovery() FROM replicated") == [(1, True)]
        server.kill()
        standby.promote()
        standby.execute("INSERT INTO replicated VALUES (2)")
    finally:
        server.stop()


def test_tls_is_verified_against_the_servers_own_authority(secure_postgres: PostgresServer, tmp_path: Path) -> None:
    with psycopg.connect(secure_postgres.dsn()) as connection:
        assert connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone() == (True,)
    other = CertificateAuthority(tmp_path)
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        psycopg.connect(secure_postgres.dsn(sslrootcert=str(other.certificate)))


def test_a_server_with_tls_refuses_plain_text(secure_postgres: PostgresServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        psycopg.connect(secure_postgres.dsn(sslmode="disable"))


def test_pgbouncer_gives_a_server_connection_for_one_transaction(postgres_database: PostgresDatabase, pgbouncer: PgBouncer) -> None:
    with psycopg.connect(pgbouncer.dsn(database=postgres_database.name), autocommit=True) as one:
        row = one.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        assert row[0] != one.info.backend_pid
        with psycopg.connect(pgbouncer.dsn(database=postgres_database.name), autocommit=True) as two:
            assert two.execute("SELECT pg_backend_pid()").fetchone() == row


def test_redis_forgets_everything_between_tests_and_gets_a_new_run_id_by_a_restart(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.set("colour", "red")
        redis_server.clear()
        assert client.get("colour") is None
        before = client.info("server")["run_id"]
        redis_server.kill()
        with pytest.raises(exceptions.ConnectionError):
            client.ping()
        redis_server.restart()
        assert client.info("server")["run_id"] != before


def test_the_mongodb_server_answers_pymongo(mongo_server: MongoServer) -> None:
    with pymongo.MongoClient[dict[str, object]](mongo_server.url()) as client:
        colours = client[mongo_server.new_database()]["colours"]
        colours.insert_many([{"_id": number, "name": name} for number, name in enumerate(["red", "green"])])
        assert [colour["name"] for colour in colours.find().sort("name")] == ["green", "red"]


_START_AND_TELL = """
from tests.servers.redis import RedisServer
server = RedisServer()
print(server.port, flush=True)
input()
"""


def test_a_server_ends_when_the_tests_are_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", _START_AND_TELL], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tests:
        assert tests.stdout is not None
        port = int(tests.stdout.readline())
        assert answers(port)
        os.kill(tests.pid, signal.SIGKILL)
        wait_until(lambda: not answers(port), what="the end of the server")
