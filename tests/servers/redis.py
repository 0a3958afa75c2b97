"""A real Redis for tests, in memory."""

import shutil

from redis import Redis

from tests.servers.install import REDIS, get_program
from tests.servers.process import ServerProcess, create_folder, find_free_port


class RedisServer:
    """A running Redis with 16 databases and nothing on disk."""

    def __init__(self) -> None:
        """Start it on a free port."""
        self.port = find_free_port()
        self.folder = create_folder("redis")
        options = {"bind": "127.0.0.1", "port": str(self.port), "save": "", "appendonly": "no", "dir": str(self.folder)}
        arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
        self.process = ServerProcess([str(get_program(REDIS)), *arguments], self.folder)
        self._launch()

    def url(self, database: int = 0) -> str:
        """The address of one of the databases."""
        return f"redis://127.0.0.1:{self.port}/{database}"

    def client(self, database: int = 0) -> Redis:
        """A synchronous client."""
        return Redis.from_url(self.url(database))

    def clear(self) -> None:
        """Forget everything in every database."""
        with self.client() as client:
            client.flushall()

    def restart(self) -> None:
        """Stop Redis, if it runs, and start it empty on the same port (it has another `run_id` then)."""
        if self.process.is_running:
            self.process.stop()
        self._launch()

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()

    def stop(self) -> None:
        """Stop it and remove its files."""
        if self.process.is_running:
            self.process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _launch(self) -> None:
        self.process.start()
        self.process.wait_for_port(self.port)
