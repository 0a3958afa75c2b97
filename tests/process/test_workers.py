"""Workers that end by themselves, and those whose keeper is gone."""

import os
import signal

import httpx2

from tests.conftest import StartPortico
from tests.process.workers import is_alive, workers_of
from tests.servers.portico import PorticoProcess
from tests.servers.waiting import wait_until


def _kill(process: PorticoProcess, victims: list[int]) -> None:
    """Kill workers and wait until as many others are there."""
    count = len(workers_of(process))
    for pid in victims:
        os.kill(pid, signal.SIGKILL)

    def replaced() -> bool:
        found = workers_of(process)
        return len(found) == count and not set(found) & set(victims)

    wait_until(replaced, what="new workers")


def _answers(process: PorticoProcess) -> bool:
    try:
        with httpx2.Client(base_url=process.url, timeout=2) as fresh:
            return fresh.get("/health/live").status_code == 200
    except httpx2.TransportError:
        return False


def test_a_worker_that_is_killed_again_and_again_does_not_end_the_service(portico: StartPortico) -> None:
    process = portico()
    for _ in range(3):
        _kill(process, workers_of(process))
    wait_until(lambda: _answers(process), what="an answer of the new worker")
    assert process.stop() == 0


def test_all_workers_killed_at_once_are_all_replaced(portico: StartPortico) -> None:
    process = portico(config={"http": {"workers": 3}})
    wait_until(lambda: len(workers_of(process)) == 3, what="three workers")
    _kill(process, workers_of(process))
    wait_until(lambda: _answers(process), what="an answer of the new workers")
    assert process.stop() == 0


def test_a_service_whose_workers_end_at_once_every_time_gives_up(portico: StartPortico) -> None:
    process = portico()

    def kill_whoever_is_there() -> bool:
        if not process.process.is_running:
            return True
        for pid in workers_of(process):
            os.kill(pid, signal.SIGKILL)
        return False

    wait_until(kill_whoever_is_there, within=30, what="the end of the service")
    assert process.stop() == 1
    assert "crash loop" in process.log_text()


def test_workers_end_with_the_process_that_keeps_them(portico: StartPortico) -> None:
    process = portico(config={"http": {"workers": 2}})
    wait_until(lambda: len(workers_of(process)) == 2, what="two workers")
    workers = workers_of(process)
    os.kill(process.process.pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, workers)), what="the end of the workers")


def test_workers_that_do_not_serve_yet_end_with_the_process_that_keeps_them(portico: StartPortico) -> None:
    process = portico(config={"http": {"workers": 2}}, start=False)
    process.process.start()
    wait_until(lambda: "Database engine initialized" in process.log_text(), within=60, what="a worker that starts")
    workers = workers_of(process)
    os.kill(process.process.pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, workers)), what="the end of the workers")


def test_ctrl_c_in_a_terminal_ends_all_processes_in_order(portico: StartPortico) -> None:
    process = portico(config={"http": {"workers": 2}})
    wait_until(lambda: len(workers_of(process)) == 2, what="two workers")
    # A terminal sends it to the whole group.
    os.killpg(process.process.pid, signal.SIGINT)
    wait_until(lambda: not process.process.is_running, what="the end")
    assert process.stop() == 0
    assert "Unexpected exit" not in process.log_text()
