"""A column is dropped beside the service: calls that meet it before the catalog is read anew are run again."""

from __future__ import annotations

import pytest

from tests.conftest import StartPortico
from tests.servers.postgres import PostgresServer

NEW = [{"id": 3, "name": "c"}, {"id": 4, "name": "d"}]
TABLE = "CREATE TABLE notes (id int PRIMARY KEY, name text, extra text); GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO appuser;"


@pytest.mark.parametrize(
    ("method", "headers", "before", "after", "status"),
    [
        ("POST", {}, [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}], NEW, 201),
        ("POST", {"Prefer": "resolution=merge-duplicates"}, [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}], NEW, 201),
        ("PATCH", {"Prefer": "return=representation"}, [{"id": 0, "name": "a"}], [{"id": 0, "name": "z"}], 200),
    ],
    ids=["create", "upsert", "change"],
)
def test_an_array_that_meets_a_new_schema_is_run_again(
    portico: StartPortico, postgres: PostgresServer, method: str, headers: dict[str, str], before: object, after: object, status: int
) -> None:
    database = postgres.new_database()
    database.execute(TABLE + "INSERT INTO notes VALUES (0, 'n', 'e')")
    client = portico(config={"databases": {}}, environment={"DATABASE_URL": database.dsn()}).client
    with database.connect() as connection:
        assert client.request(method, "/api/db/notes", json=before, headers=headers).status_code == status
        connection.execute("ALTER TABLE notes DROP COLUMN extra")
        answer = client.request(method, "/api/db/notes", json=after, headers=headers)
    assert answer.status_code == status, answer.text
    rows = answer.json()["data"]
    rows = rows if isinstance(rows, list) else rows["documents"]
    assert [set(row) for row in rows] == [{"id", "name"}] * len(rows)
