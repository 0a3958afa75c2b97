"""A call that the database ends, so that another one can go on, is run again: nobody hears of the deadlock."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import yaml
from psycopg.conninfo import conninfo_to_dict

from tests.servers.postgres import PostgresServer
from tests.servers.prepared import running
from tests.servers.waiting import wait_until

BLOCKED = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
CREATE = "INSERT INTO app.clients (id, name) VALUES (%s, 'other')"


def test_an_array_of_creates_goes_on_after_a_deadlock(postgres: PostgresServer) -> None:
    # Of different members, so that they are two statements.
    bodies = [{"id": "first", "name": "ours"}, {"id": "second", "name": "ours", "email": "a@b.example"}]
    with running("postgres", {}, postgres) as process, ThreadPoolExecutor(1) as thread:
        dsn = yaml.safe_load(process.config_file.read_text())["databases"]["main"]["connection_string"]
        database = str(conninfo_to_dict(dsn)["dbname"])
        with postgres.connect(database) as writer:
            # The server ends who waited until it looked for a deadlock, which is never this one.
            writer.execute("SET deadlock_timeout = '60s'")
            writer.execute("BEGIN")
            writer.execute(CREATE, ("second",))
            creating = thread.submit(process.client.post, "/api/db/clients", json=bodies)
            wait_until(lambda: creating.done() or postgres.execute(BLOCKED, database), what="the call to wait for the other writer")
            assert not creating.done(), creating.result().text
            writer.execute(CREATE, ("first",))
            writer.execute("ROLLBACK")
        answer = creating.result(30)
        assert answer.status_code == 201, answer.text
        assert [row["name"] for row in answer.json()["data"]] == ["ours", "ours"]
