"""Commands that are forked do what those do that are started as a user starts them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.portico import PorticoProcess
from tests.servers.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the process that forks needs Linux")


def commands(config: dict[str, object], *arguments: str) -> list[subprocess.CompletedProcess[str]]:
    """What a command does when it is started, and when it is forked."""
    found = []
    for warm in (False, True):
        process = PorticoProcess(config, warm=warm, environment={"PORTICO_SERVICE_NAME": "by-variable"})
        found.append(process.run(*arguments))
        process.close()
    return found


def test_a_forked_command_answers_as_a_started_one() -> None:
    started, forked = (json.loads(done.stdout)["settings"] for done in commands({}, "config", "--json"))
    assert started["service_name"]["value"] == "by-variable"
    assert {name: one["value"] for name, one in started.items() if name != "http.port"} == {
        name: one["value"] for name, one in forked.items() if name != "http.port"
    }


def test_it_fails_with_the_same_code_and_words() -> None:
    started, forked = commands({"no_such_setting": 1}, "init-db")
    assert started.returncode == forked.returncode == 2
    assert "no_such_setting" in forked.stderr
    assert started.stderr.count("\n") == forked.stderr.count("\n")


def test_it_runs_in_its_folder_with_its_variables_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTICO_HTTP__PORT", "1")
    process = PorticoProcess(warm=True).start()
    try:
        assert Path(f"/proc/{process.process.pid}/cwd").resolve() == process.folder
        assert os.getsid(process.process.pid) == process.process.pid
        assert (process.folder / "portico.db").exists()
    finally:
        process.close()


def test_its_end_is_told_whatever_it_was() -> None:
    process = PorticoProcess(warm=True).start()
    try:
        assert process.stop() == 0
        process.start()
        pid = process.process.pid
        process.kill()
        assert process.process.stop() == -9
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), what="the end of the process")
    finally:
        process.close()
