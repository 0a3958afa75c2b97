"""Fifty writers change one document that each has read, held to its ETag or, by a filter, to its version: no change is lost."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import httpx2
import pytest

from tests.conftest import StartPortico
from tests.servers.portico import PorticoProcess

WRITERS = 50
CHANGES = 2
"""How many changes each of them makes."""

Add = Callable[[httpx2.AsyncClient, str], Awaitable[int]]


async def _by_etag(client: httpx2.AsyncClient, path: str) -> int:
    """Add one to the version of the document as it was read."""
    read = await client.get(path)
    body = {"version": read.json()["data"]["version"] + 1}
    return (await client.patch(path, json=body, headers={"If-Match": read.headers["etag"]})).status_code


async def _by_filter(client: httpx2.AsyncClient, path: str) -> int:
    """The same by a filter that the version is part of; 412 stands for nothing that matches."""
    version = (await client.get(path)).json()["data"]["version"]
    collection, _, key = path.rpartition("/")
    answer = await client.patch(f"{collection}?document_id=eq.{key}&version=eq.{version}", json={"version": version + 1})
    return 412 if answer.status_code == 200 and answer.json()["data"]["count"] == 0 else answer.status_code


async def _add(client: httpx2.AsyncClient, path: str, add: Add, statuses: Counter[int]) -> None:
    """Add one; begin again where the document was changed in between."""
    changed = False
    while not changed:
        status = await add(client, path)
        statuses[status] += 1
        assert status in {200, 412, 503}
        changed = status == 200


async def _all_of_them(process: PorticoProcess, path: str, add: Add) -> Counter[int]:
    statuses: Counter[int] = Counter()

    async def writer(client: httpx2.AsyncClient) -> None:
        for _ in range(CHANGES):
            await _add(client, path, add, statuses)

    async with httpx2.AsyncClient(base_url=process.url, timeout=60) as client:
        await asyncio.gather(*(writer(client) for _ in range(WRITERS)))
    return statuses


def _document(process: PorticoProcess) -> str:
    process.client.post("/api/db/clients", json={"id": "race", "name": "Race"}).raise_for_status()
    user = {"client_id": "race", "username": "race", "email": "race@example.com", "full_name": "Race"}
    owner = process.client.post("/api/db/users", json=user).raise_for_status().json()["data"]["user_id"]
    document = {"user_id": owner, "project_name": "race", "content": "c", "version": 0}
    return str(process.client.post("/api/db/documents", json=document).raise_for_status().headers["location"])


@pytest.mark.database
@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
@pytest.mark.parametrize("add", [_by_etag, _by_filter])
def test_no_change_of_fifty_writers_is_lost(portico: StartPortico, over: dict[str, object], add: Add) -> None:
    process = portico(config={"http": {"workers": 2}} | over)
    path = _document(process)
    statuses = asyncio.run(_all_of_them(process, path, add))
    found = process.client.get(path).json()["data"]["version"]
    print(f"{add.__name__}: changes: expected {WRITERS * CHANGES}, found {found}; answers {dict(statuses)}")
    assert statuses[200] == WRITERS * CHANGES
    assert found == WRITERS * CHANGES
    assert statuses[412], "nobody met another's change"


@pytest.mark.database
@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_of_fifty_who_create_one_document_one_does(portico: StartPortico, over: dict[str, object]) -> None:
    process = portico(config={"http": {"workers": 2}} | over)

    async def all_of_them() -> Counter[int]:
        async with httpx2.AsyncClient(base_url=process.url, timeout=60) as client:
            put = [client.put("/api/db/clients/one", json={"name": f"N{n}"}, headers={"If-None-Match": "*"}) for n in range(WRITERS)]
            return Counter([answer.status_code for answer in await asyncio.gather(*put)])

    assert asyncio.run(all_of_them()) == {201: 1, 412: WRITERS - 1}
