"""The sequencer in a service of two workers: when one is killed the other one goes on, without gaps and doubles."""

import os
import signal
import time
from functools import partial

import httpx2

from tests.conftest import StartPortico
from tests.process.workers import is_alive, workers_of
from tests.servers.portico import PorticoProcess
from tests.servers.waiting import wait_until


def test_when_a_worker_is_killed_the_other_one_goes_on_within_two_seconds(portico: StartPortico) -> None:
    process = portico("postgres", {"http": {"workers": 2}})
    made = 0
    # Whichever gives the positions, it is one of those that are killed.
    for worker in serving(process):
        made = create(process, made)
        os.kill(worker, signal.SIGKILL)
        wait_until(partial(is_gone, worker), 5, "the worker is gone")
        made = create(process, made)
        began = time.monotonic()
        wait_until(lambda: unchained(process) == 0, 10, "every row is chained")
        print(f"chained {time.monotonic() - began:.2f} s after the worker was gone")
        wait_until(lambda: len(serving(process)) == 2, 20, "there are two workers again")
    done = process.run("audit", "verify")
    assert (done.returncode, f"{made} audit rows verified, all as written." in done.stdout) == (0, True), done.stdout


def is_gone(worker: int) -> bool:
    """Whether the worker's process has ended."""
    return not is_alive(worker)


def serving(process: PorticoProcess) -> list[int]:
    """The workers that answer: each was asked for its pools."""
    seen: set[int] = set()
    for _ in range(40):
        answer = process.client.get("/api/db/connections", headers={"Connection": "close"})
        if answer.status_code == 200:
            seen.add(answer.json()["data"]["worker"])
    return [worker for worker in workers_of(process) if worker in seen]


def create(process: PorticoProcess, made: int) -> int:
    """Create some clients, through whichever worker answers; how many there are then."""
    for at in range(made, made + 10):

        def sent(at: int = at) -> bool:
            headers = {"If-None-Match": "*"}
            try:
                return process.client.put(f"/api/db/clients/c{at}", json={"name": "n"}, headers=headers).status_code in {201, 412}
            except httpx2.TransportError:
                return False

        wait_until(sent, 10, "the client is created")
    return made + 10


def unchained(process: PorticoProcess) -> int:
    """How many audit rows have no position yet."""
    rows = process.client.get("/api/db/audit?collection=clients&limit=1000").json()["data"]
    return sum(row["position"] is None for row in rows)
