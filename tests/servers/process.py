"""One server as a child process: a free port, a folder, a log, and an end that comes even when the tests are killed."""

import ctypes
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.servers.waiting import wait_until
from tests.servers.warm import WarmProcess

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
# Below the range from which the kernel takes the ports of outgoing connections, so that a server finds its port free when it is restarted.
_PORTS = range(15_000, 32_000)


class ServerFailedError(RuntimeError):
    """A server did not start, or ended by itself; the text ends with the tail of its log."""


def find_free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def answers(port: int) -> bool:
    """Whether somebody accepts connections on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def unprivileged_user() -> str | None:
    """The account for servers that refuse to run as root, or None when the tests do not run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    return None


def create_folder(name: str, owner: str | None = None) -> Path:
    """A new folder for one server's files; folders that killed test runs left behind are removed first."""
    base = Path(tempfile.gettempdir()) / f"portico-tests-{os.getuid()}"
    base.mkdir(mode=0o711, exist_ok=True)
    for old in base.iterdir():
        if not _is_alive(int(old.name.partition("-")[0])):
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-{name}-", dir=base))
    folder.chmod(0o755)
    if owner is not None:
        shutil.chown(folder, owner)
    return folder


def run_program(command: Sequence[str], folder: Path, user: str | None) -> None:
    """Run a server's tool to its end under the server's account.

    Raises:
        ServerFailedError: it failed.
    """
    groups: list[str] | None = None if user is None else []
    result = subprocess.run(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        user=user,
        group=_group(user),
        extra_groups=groups,
        check=False,
    )
    if result.returncode != 0:
        raise ServerFailedError(f"{command[0]} ended with exit code {result.returncode}\n{result.stdout}")


class ServerProcess:
    """A child process that writes to a log file, can be stopped, killed, paused and started again, and dies with its parent.

    On Linux the kernel ends it when the thread that started it ends, so start it from the main thread.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        """Describe the process.

        Args:
            command: the program and its arguments.
            folder: where it runs and where `server.log` is.
            user: the account it runs under, for servers that refuse root.
            environment: its whole environment; ours where it is None.
            stop_signal: what `stop` sends.
        """
        self.command = list(command)
        self.folder = folder
        self.log = folder / "server.log"
        self._user = user
        self._environment = dict(environment) if environment is not None else None
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | WarmProcess | None = None

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process; it may not be ready yet."""
        with self.log.open("ab") as log:
            self._process = self._launch(log.fileno())

    def wait_for_port(self, port: int, within: float = 20.0) -> None:
        """Wait until the server accepts connections on this port.

        Raises:
            ServerFailedError: it ended, or did not listen in time.
        """

        def is_up() -> bool:
            self.check()
            return answers(port)

        try:
            wait_until(is_up, within, f"{self.command[0]} on port {port}")
        except TimeoutError as error:
            raise ServerFailedError(f"{error}\n{self.log_tail()}") from error

    def check(self) -> None:
        """Raise ServerFailedError when the process has ended."""
        if not self.is_running:
            code = None if self._process is None else self._process.poll()
            raise ServerFailedError(f"{self.command[0]} ended with exit code {code}\n{self.log_tail()}")

    def stop(self, within: float = 20.0) -> int:
        """Ask the process to end and wait for it.

        Returns:
            Its exit code, negative for a signal; one that does not end in time is killed and gives -9.
        """
        process = self._running()
        if process.poll() is None:
            process.send_signal(self._stop_signal)
            try:
                process.wait(within)
            except subprocess.TimeoutExpired:
                self.kill()
        return process.wait()

    def kill(self) -> None:
        """End the process and all its descendants at once, as a power cut would."""
        process = self._running()
        if process.poll() is None:
            for pid in [process.pid, *descendants(process.pid)]:
                _send(pid, signal.SIGKILL)
        process.wait()

    def pause(self) -> None:
        """Freeze the process and its descendants: connections stay open and nothing answers."""
        for pid in [self.pid, *descendants(self.pid)]:
            _send(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        for pid in [self.pid, *descendants(self.pid)]:
            _send(pid, signal.SIGCONT)

    def send_signal(self, number: signal.Signals) -> None:
        """Send one signal to the process itself."""
        self._running().send_signal(number)

    def log_text(self) -> str:
        """Everything the process wrote so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of the log."""
        return "\n".join(self.log_text().splitlines()[-lines:])

    def _launch(self, log: int) -> subprocess.Popen[bytes] | WarmProcess:
        return subprocess.Popen(
            self.command,
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            user=self._user,
            group=_group(self._user),
            extra_groups=[] if self._user else None,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call, and nothing that could wait for a lock
        )

    def _running(self) -> subprocess.Popen[bytes] | WarmProcess:
        if self._process is None:
            raise ServerFailedError(f"{self.command[0]} was never started")
        return self._process


def descendants(pid: int) -> list[int]:
    """The ids of the processes below this one, parents first (Linux; elsewhere empty)."""
    found: list[int] = []
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in listing.read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended meanwhile, which is what the caller wants or will notice


def _group(user: str | None) -> int | None:
    return None if user is None else pwd.getpwnam(user).pw_gid


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _die_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
