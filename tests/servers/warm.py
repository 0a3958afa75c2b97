"""A process that has imported what the program `portico` imports, and forks itself for each of its commands.

It does what `python -m portico` does, without the second of imports before it: it serves the tests of what the program does. Those of
how it starts, ends and breaks start it as a user does.
"""

from __future__ import annotations

import array
import ctypes
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile

from portico.cli import VERBS, main

REPOSITORY = Path(__file__).parents[2]
_MODULES = (
    "portico.app",
    "portico.cli.draining",
    "portico.cli.sample",
    "portico.cli.supervisor",
    "portico.engines.postgres.engine",
    "portico.engines.sqlite.engine",
)
"""What verbs import when they are called; beside their own modules."""
_DESCRIPTORS = 3
_MOST_BYTES = 1 << 17
_PR_SET_PDEATHSIG = 1


class WarmProcess:
    """A command that was forked, to be waited for and signalled like a `subprocess.Popen`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.pid = int(connection.recv(64))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; gives the exit code, negative for a signal. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("portico", timeout or 0)
            # Left to be read, since other threads may wait too. Nothing is said where who would say it was killed.
            said = self._connection.recv(64, socket.MSG_PEEK)
            self.returncode = int(said) if said else -signal.SIGKILL
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to it, where it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


class WarmStarter:
    """The process that forks. It ends with this one."""

    def __init__(self) -> None:
        assert threading.current_thread() is threading.main_thread(), "it ends with the thread that started it"
        # A name without a file, known to nobody but the two.
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind("")
        self._address: bytes = listener.getsockname()
        listener.listen(16)
        environment = os.environ | {"PYTHONPATH": f"{REPOSITORY / 'src'}{os.pathsep}{REPOSITORY}", "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "tests.servers.warm", str(os.getpid())]
        self._process = subprocess.Popen(command, stdin=listener.fileno(), env=environment, cwd=REPOSITORY, start_new_session=True)
        listener.close()

    def start(self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], output: int, errors: int) -> WarmProcess:
        """Start `portico` with these arguments in a folder, with these variables alone, writing to these descriptors."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * _MOST_BYTES)
        connection.connect(self._address)
        asked = json.dumps({"arguments": list(arguments), "folder": str(folder), "environment": dict(environment)}).encode()
        with Path(os.devnull).open("rb") as nothing:
            socket.send_fds(connection, [asked], [nothing.fileno(), output, errors])
        return WarmProcess(connection)

    def run(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], within: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, as `subprocess.run` does; one that takes longer than `within` seconds is killed."""
        with TemporaryFile() as output, TemporaryFile() as errors:
            process = self.start(arguments, folder, environment, output.fileno(), errors.fileno())
            try:
                code = process.wait(within)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                raise
            output.seek(0)
            errors.seek(0)
            return subprocess.CompletedProcess(["portico", *arguments], code, output.read().decode(), errors.read().decode())


_STARTERS: list[WarmStarter] = []


def starter() -> WarmStarter | None:
    """The one of this process, started where it is needed first; None where there is no such thing."""
    if sys.platform != "linux":
        return None
    if not _STARTERS:
        _STARTERS.append(WarmStarter())
    return _STARTERS[0]


def _end_with(parent: int) -> None:
    """Let the kernel end this process with its parent."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _serve(listener: socket.socket) -> list[str]:
    """Fork for each connection. Returns in the forked process alone: the arguments of its command."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    own = os.getpid()
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            break
        connection.close()
    listener.close()
    _end_with(own)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    content, ancillary, _, _ = connection.recvmsg(_MOST_BYTES, socket.CMSG_SPACE(_DESCRIPTORS * array.array("i").itemsize))
    descriptors = array.array("i", ancillary[0][2])
    own = os.getpid()
    command = os.fork()
    if command:
        for descriptor in descriptors:
            os.close(descriptor)
        connection.send(str(command).encode())
        _, status = os.waitpid(command, 0)
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    connection.close()
    os.setsid()
    _end_with(own)
    for place, descriptor in enumerate(descriptors):
        os.dup2(descriptor, place)
        os.close(descriptor)
    asked = json.loads(content)
    os.environ.clear()
    os.environ.update(asked["environment"])
    time.tzset()
    os.chdir(asked["folder"])
    sys.path[:] = [asked["folder"], *(path for path in sys.path if Path(path or ".") != REPOSITORY)]
    return list(asked["arguments"])


def _main() -> None:
    _end_with(int(sys.argv[1]))
    listener = socket.socket(fileno=os.dup(0))
    verbs = (verb.module for verb in VERBS.values() if find_spec(verb.module) is not None)
    for name in (*_MODULES, *verbs):
        import_module(name)
    assert threading.active_count() == 1, "a process with threads cannot be forked"
    gc.collect()
    gc.freeze()
    arguments = _serve(listener)
    sys.argv = ["portico", *arguments]
    main(arguments)


if __name__ == "__main__":
    _main()
