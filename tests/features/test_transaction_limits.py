"""What bounds interactive transactions: whose they are, how long they live, and which databases have them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx2
import pytest

from tests.conftest import StartPortico
from tests.process.nodes import worker_of
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresDatabase, PostgresServer
from tests.servers.prepared import ENGINES, over, prepared_database, running
from tests.servers.waiting import wait_until

LIMITS = {"idle_seconds": 4, "life_seconds": 6, "embedded_idle_seconds": 2, "embedded_life_seconds": 4}
BEGIN = "/api/db/transaction/begin"


@pytest.fixture(scope="module", params=ENGINES)
def service(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[PorticoProcess]:
    """The service over each engine, which asks for keys, with short limits."""
    with running(request.param, {"auth": {"required": True}, "transactions": LIMITS}, postgres) as process:
        yield process


def key(service: PorticoProcess, name: str, clients: str = "*") -> dict[str, str]:
    """The headers of a service with a key of its own."""
    made = service.run("key", "create", "--service", name, "--clients", clients, "--allow", "*:*", "--json")
    assert made.returncode == 0, made.stderr
    return {"X-API-Key": json.loads(made.stdout)["key"]}


def begin(service: PorticoProcess, headers: dict[str, str]) -> str:
    answer = service.client.post(BEGIN, headers=headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["data"]["transaction_id"])


def statuses(service: PorticoProcess, transaction: str, headers: dict[str, str]) -> list[int]:
    """What one caller gets for a transaction's id, by every way to name it."""
    inside = {"X-Transaction-ID": transaction}
    path = f"/api/db/transaction/{transaction}"
    return [
        service.client.get("/api/db/clients", headers=headers | inside).status_code,
        service.client.get(path, headers=headers).status_code,
        service.client.post(f"{path}/savepoint", json={"name": "a"}, headers=headers).status_code,
        service.client.post(f"{path}/rollback", headers=headers).status_code,
        service.client.post(f"{path}/commit", headers=headers).status_code,
    ]


def test_a_transaction_belongs_to_the_service_and_client_that_began_it(service: PorticoProcess) -> None:
    mine, other, again = key(service, "mine"), key(service, "other"), key(service, "mine")
    for client in ("north", "south"):
        service.client.post("/api/db/clients", json={"id": client, "name": client}, headers=mine).raise_for_status()
    north, south = mine | {"X-Client-ID": "north"}, mine | {"X-Client-ID": "south"}
    transaction = begin(service, north)
    for headers in (other, other | {"X-Client-ID": "north"}, south, mine):
        assert statuses(service, transaction, headers) == [404] * 5, headers
    assert statuses(service, transaction, {})[0] == 401
    assert service.client.get(f"/api/db/transaction/{transaction}", headers=again | {"X-Client-ID": "north"}).status_code == 200
    assert service.client.post(f"/api/db/transaction/{transaction}/commit", headers=north).status_code == 200
    wide = begin(service, mine)
    seen = service.client.get("/api/db/clients", headers=north | {"X-Transaction-ID": wide}).json()["data"]
    assert [row["id"] for row in seen] == ["north"]
    assert service.client.post(f"/api/db/transaction/{wide}/rollback", headers=mine).status_code == 200


def test_one_that_nobody_uses_is_rolled_back_and_says_so_afterwards(service: PorticoProcess) -> None:
    mine = key(service, "idle")
    transaction = begin(service, mine)
    body = {"id": "idle-one", "name": "one"}
    inside = mine | {"X-Transaction-ID": transaction}
    assert service.client.post("/api/db/clients", json=body, headers=inside).status_code == 201

    def expired() -> bool:
        state = service.client.get(f"/api/db/transaction/{transaction}", headers=mine).json()["data"]
        return (state["state"], state["reason"]) == ("expired", "idle")

    wait_until(expired, within=10, what="the idle limit")
    # The lock on the key is gone: others may take it.
    assert service.client.post("/api/db/clients", json=body, headers=mine).status_code == 201
    for path in ("/api/db/clients", "/api/db/clients/idle-one"):
        answer = service.client.get(path, headers=inside)
        assert (answer.status_code, answer.json()["error"]["details"]) == (410, {"state": "expired", "reason": "idle"})
    assert service.client.post(f"/api/db/transaction/{transaction}/commit", headers=mine).status_code == 410


def test_one_that_is_used_all_the_time_ends_with_its_life(service: PorticoProcess) -> None:
    mine = key(service, "life")
    transaction = begin(service, mine)
    inside = mine | {"X-Transaction-ID": transaction}
    answers: list[httpx2.Response] = []

    def over() -> bool:
        answers.append(service.client.get("/api/db/clients?limit=1", headers=inside))
        return answers[-1].status_code == 410

    wait_until(over, within=15, what="the life limit")
    assert {answer.status_code for answer in answers[:-1]} == {200}
    assert answers[-1].json()["error"]["details"] == {"state": "expired", "reason": "life"}


@pytest.mark.database
def test_a_database_without_companion_tables_says_that_it_cannot(portico: StartPortico, postgres_database: PostgresDatabase) -> None:
    postgres_database.execute("CREATE TABLE public.plain (id integer PRIMARY KEY); GRANT ALL ON public.plain TO appuser")
    config: dict[str, Any] = {"databases": {"main": {"connection_string": postgres_database.dsn()}}}
    process = portico(config=config)
    answer = process.client.post(BEGIN)
    assert answer.status_code == 501, answer.text
    assert answer.json()["error"]["details"]["capability"] == "interactive_transactions"


@pytest.mark.database
def test_the_fifth_of_a_service_in_one_worker_is_refused_and_another_service_is_not_hindered(postgres: PostgresServer) -> None:
    config: dict[str, Any] = {"auth": {"required": True}, "http": {"workers": 2}}
    database = prepared_database(postgres, config)
    main = over(database)["databases"]["main"] | {"pool_settings": {"max_connections": 30, "timeout_seconds": 0.5}}  # type: ignore[index]
    with closing(PorticoProcess(config | {"databases": {"main": main}})) as service:
        service.start()
        busy, other = key(service, "busy"), key(service, "other")
        open_in = Counter[str]()
        refused: list[httpx2.Response] = []

        def is_full() -> bool:
            answer = service.client.post(BEGIN, headers=busy | {"Connection": "close"})
            if answer.status_code == 201:
                open_in[worker_of(answer.json()["data"]["transaction_id"])] += 1
            else:
                refused.append(answer)
            return len(open_in) == 2 and sum(open_in.values()) == 8 and len(refused) > 2

        wait_until(is_full, 60, "both workers to be full")
        assert set(open_in.values()) == {4}
        for answer in refused:
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "pool_exhausted"), answer.text
            assert "4 transactions open" in answer.json()["message"]
            assert int(answer.headers["retry-after"]) >= 1
        for _ in range(4):
            begin(service, other)
        assert service.client.post("/api/db/clients", json={"id": "c", "name": "n"}, headers=busy).status_code == 201
    database.drop()
