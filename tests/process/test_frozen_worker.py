"""A worker over SQLite that is frozen while others answer for it, and then goes on: what they said stays true."""

from __future__ import annotations

import os
import signal

import httpx2

from tests.conftest import StartPortico
from tests.process.nodes import Nodes, client_body
from tests.process.workers import workers_of
from tests.servers.waiting import wait_until

LIMITS = {"idle_seconds": 60, "embedded_idle_seconds": 60, "embedded_life_seconds": 120}


def test_a_transaction_that_was_given_up_cannot_be_committed_by_a_worker_that_goes_on(portico: StartPortico) -> None:
    node = portico(config={"http": {"workers": 2}, "transactions": LIMITS})
    wait_until(lambda: len(workers_of(node)) == 2, what="the workers")
    service = Nodes([node], node.url)
    transaction = service.begin()
    _, frozen = service.holder(transaction)
    os.kill(frozen, signal.SIGSTOP)
    try:
        wait_until(lambda: told(node.url, transaction) == ("rolled_back", "holder_lost"), 60, "the other worker's word")
    finally:
        os.kill(frozen, signal.SIGCONT)
    # It holds the transaction still, and takes its calls.
    wait_until(lambda: service.call("POST", "/api/db/clients", transaction, json=client_body("given-up")).status_code == 201, 30)
    for _ in range(3):
        answer = service.end(transaction, "commit")
        assert (answer.status_code, answer.json()["error"]["details"]["reason"]) == (410, "holder_lost"), answer.text
    assert service.state(transaction)["state"] == "rolled_back"
    assert service.call("GET", "/api/db/clients/given-up").status_code == 404
    assert service.call("POST", "/api/db/clients", json=client_body("given-up")).status_code == 201


def told(url: str, transaction: str) -> tuple[str, str] | None:
    """What a worker that answers says of a transaction; None where the connection went to the one that does not."""
    try:
        answer = httpx2.get(f"{url}/api/db/transaction/{transaction}", headers={"Connection": "close"}, timeout=8)
    except httpx2.TransportError:
        return None
    data = answer.json()["data"]
    return data["state"], data["reason"]
