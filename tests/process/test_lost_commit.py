"""A connection to the database that is lost at COMMIT: the caller is told that nobody knows, and a retry with the key finds out."""

import asyncio

import httpx2
import pytest

from tests.conftest import StartPortico
from tests.servers.commit_cutter import CommitCutter
from tests.servers.postgres import PostgresDatabase


@pytest.fixture
def engine() -> str:
    """The engine that has connections to lose."""
    return "postgres"


@pytest.mark.database
def test_a_retry_with_its_key_finds_out_what_became_of_a_lost_commit(portico: StartPortico, process_database: PostgresDatabase) -> None:
    async def lost_and_found() -> None:
        async with CommitCutter(process_database.server.port).running() as cutter:
            through = process_database.dsn().replace(f":{process_database.server.port}/", f":{cutter.port}/")
            config = {"databases": {"main": {"type": "postgresql", "connection_string": through}}}
            process = await asyncio.to_thread(portico, config=config)
            async with httpx2.AsyncClient(base_url=process.url, timeout=30) as client:

                async def create(key: str) -> httpx2.Response:
                    return await client.post("/api/db/clients", json={"id": key, "name": "A"}, headers={"Idempotency-Key": key})

                assert (await create("first")).status_code == 201
                cutter.cuts = 1
                lost = await create("lost")
                assert lost.status_code == 503, lost.text
                assert lost.json()["error"]["code"] == "outcome_unknown"
                assert lost.headers["retry-after"]
                found = await create("lost")
                assert (found.status_code, found.headers.get("idempotency-replayed")) == (201, "true")
                assert (await client.get("/api/db/clients/count?id=eq.lost")).json()["data"] == 1

    asyncio.run(lost_and_found())
