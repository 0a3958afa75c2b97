"""Starting, weighing and ending the programs that are measured."""

import http.client
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.servers.process import ServerProcess, descendants

ROOT = Path(__file__).resolve().parent.parent


class BenchError(RuntimeError):
    """A measurement that would not be a fair one: a program that failed, or answers that differ."""


def start(folder: Path, argv: Sequence[str], env: Mapping[str, str] | None = None) -> ServerProcess:
    """Start a server program that runs, and logs, in a folder of its own."""
    process = ServerProcess(argv, folder, environment={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})})
    process.start()
    return process


def wait_until_answers(process: ServerProcess, port: int, path: str, headers: Mapping[str, str] | None = None, seconds: float = 30) -> None:
    """Wait until a program answers 200.

    Raises:
        BenchError: the program ended or did not answer in time; the end of its log is in the message.
    """
    deadline = time.monotonic() + seconds
    seen: object = "nothing"
    while time.monotonic() < deadline and process.is_running:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path, headers=dict(headers or {}))
            answer = connection.getresponse()
            seen = (answer.status, answer.read(500))
            if answer.status == 200:
                return
        except OSError as error:
            seen = error
        finally:
            connection.close()
        time.sleep(0.005)
    raise BenchError(f"{process.command[:4]} did not answer {path}, but {seen}; its log ends:\n{process.log_tail()}")


def run(argv: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> str:
    """Run a command to its end and give what it printed.

    Raises:
        BenchError: it failed; its last lines are in the message.
    """
    done = subprocess.run(argv, env={**os.environ, **(env or {})}, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{' '.join(argv)} failed with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def memory(process: ServerProcess) -> int:
    """The bytes of memory of a program and its children, pages that they share counted once (Linux's PSS)."""
    return sum(_bytes(pid, "smaps_rollup", "Pss:") for pid in [process.pid, *descendants(process.pid)])


def peak_memory(process: ServerProcess) -> int:
    """The largest resident set, in bytes, that a program and its children have had, added up."""
    return sum(_bytes(pid, "status", "VmHWM:") for pid in [process.pid, *descendants(process.pid)])


def _bytes(pid: int, file: str, field: str) -> int:
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    return 0
