"""A batch that takes too long is ended, and nothing of it is written."""

import pytest

from tests.conftest import StartPortico
from tests.servers.prepared import ENGINES


@pytest.mark.database
@pytest.mark.parametrize("engine", ENGINES)
def test_a_batch_that_takes_too_long_is_undone(portico: StartPortico, engine: str) -> None:
    limits = {"life_seconds": 0.001, "embedded_life_seconds": 0.001}
    process = portico("sqlite" if engine == "sqlite" else "postgres", {"transactions": limits})
    operations = [{"op": "insert", "collection": "clients", "document": {"id": f"long-{n}", "name": "L"}} for n in range(200)]
    answer = process.client.post("/api/db/transaction", json={"operations": operations})
    assert answer.status_code == 504, answer.text
    assert answer.json()["error"]["code"] == "statement_timeout"
    assert process.client.get("/api/db/clients/count?id=like.long-*").json()["data"] == 0
    assert process.client.post("/api/db/clients", json={"id": "short", "name": "S"}).status_code == 201
