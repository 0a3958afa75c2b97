"""The real service as a child process: started as a user starts it, asked over HTTP, stopped by signals."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import httpx2
import yaml

from tests.servers.process import ServerFailedError, ServerProcess, create_folder, find_free_port
from tests.servers.waiting import wait_until
from tests.servers.warm import WarmProcess, WarmStarter, starter

REPOSITORY = Path(__file__).parents[2]
_PROGRAM = (sys.executable, "-m", "portico")

# What a developer may have set for a Portico of their own must not reach the one under test.
_FOREIGN = ("PORTICO_", "DB_", "DATABASE_URL", "REDIS_URL", "MONGODB_URL", "OTEL_", "ENVIRONMENT", "LOG_LEVEL")


class _WarmServer(ServerProcess):
    """One that is forked instead of started anew."""

    def __init__(self, starter: WarmStarter, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        super().__init__(command, folder, environment=environment)
        self._start = partial(starter.start, command[len(_PROGRAM) :], folder, environment)

    def _launch(self, log: int) -> WarmProcess:
        return self._start(log, log)


class PorticoProcess:
    """A running `portico serve` with a folder, a configuration file and a port of its own."""

    def __init__(
        self,
        config: Mapping[str, object] | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        arguments: Sequence[str] = (),
        warm: bool = False,
    ) -> None:
        """Write the configuration; `start` starts the service.

        Args:
            config: the content of `portico.yaml`; host and port are added, and the embedded SQLite is the default database.
            environment: variables beside those of the tests themselves, from which Portico's own are taken out.
            folder: where it runs; a new one unless given. Two processes of one folder are two nodes over the same files.
            arguments: more arguments of `portico serve`.
            warm: its commands are forked from a process that has imported everything; for tests in which starting is only the way.
        """
        self._owns_folder = folder is None
        self.folder = folder or create_folder("portico")
        self.port = find_free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config_file = self.folder / f"portico-{self.port}.yaml"
        http = (config or {}).get("http", {})
        content = dict(config or {}) | {"http": {"host": "127.0.0.1", "port": self.port} | (http if isinstance(http, dict) else {})}
        self.config_file.write_text(yaml.safe_dump(content))
        ours = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        self.environment = ours | {"PYTHONPATH": str(REPOSITORY / "src"), "PYTHONUNBUFFERED": "1"} | dict(environment or {})
        command = [*_PROGRAM, "serve", "--config", str(self.config_file), *arguments]
        self._warm = starter() if warm else None
        if self._warm is None:
            self.process = ServerProcess(command, self.folder, environment=self.environment)
        else:
            self.process = _WarmServer(self._warm, command, self.folder, self.environment)
        self.client = httpx2.Client(base_url=self.url, timeout=20)

    def start(self, within: float = 60.0) -> "PorticoProcess":
        """Start the service and wait until it says that it lives.

        Raises:
            ServerFailedError: it ended or did not answer in time; the text ends with its log.
        """
        self.process.start()
        try:
            wait_until(self._is_live, within, "GET /health/live")
        except TimeoutError as error:
            self.process.kill()
            raise ServerFailedError(f"{error}\n{self.log_tail()}") from error
        return self

    def run(self, *arguments: str, within: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run another verb of the command line with the same configuration, for example `run("init-db")`."""
        command = [*_PROGRAM, *arguments, "--config", str(self.config_file)]
        if self._warm is not None:
            return self._warm.run(command[len(_PROGRAM) :], self.folder, self.environment, within)
        return subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=within, check=False)

    def stop(self) -> int:
        """Ask the service to end (SIGTERM) and give its exit code."""
        return self.process.stop()

    def kill(self) -> None:
        """End the service and its workers at once."""
        self.process.kill()

    def restart(self) -> "PorticoProcess":
        """Stop the service, if it runs, and start it on the same port."""
        if self.process.is_running:
            self.stop()
        return self.start()

    def close(self) -> None:
        """End the service, if it runs, and remove its folder, if it is its own."""
        self.client.close()
        if self.process.is_running:
            self.process.kill()
        if self._owns_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def log_text(self) -> str:
        """Everything it wrote to its output."""
        return self.process.log_text()

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of its output."""
        return self.process.log_tail(lines)

    def _is_live(self) -> bool:
        self.process.check()
        try:
            return self.client.get("/health/live", timeout=2).status_code == httpx2.codes.OK
        except httpx2.TransportError:
            return False
