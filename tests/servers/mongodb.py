"""A server of the MongoDB protocol for tests: the one that MONGODB_URL names, else FerretDB, built once and kept in the cache folder."""

import fcntl
import hashlib
import itertools
import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tests.servers.install import ServerMissingError, cache_folder, get_go
from tests.servers.process import ServerProcess, create_folder, find_free_port

_SOURCE = Path(__file__).parent / "ferretdb"
_VERSION = "1.24.2"


def get_ferretdb() -> Path:
    """The FerretDB program, built first where the cache folder does not have it (about a minute).

    Raises:
        ServerMissingError: it could not be built.
    """
    files = sorted(_SOURCE.iterdir())
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    program = cache_folder() / f"ferretdb-{_VERSION}-{digest}" / "ferretdb"
    with (cache_folder() / "ferretdb.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _build(program)
    return program


def _build(program: Path) -> None:
    sources = program.parent / "source"
    shutil.rmtree(program.parent, ignore_errors=True)
    shutil.copytree(_SOURCE, sources)
    unfinished = program.with_suffix(".new")
    command = [str(get_go()), "build", "-mod=mod", "-tags", "ferretdb_no_postgresql", "-o", str(unfinished), "."]
    result = subprocess.run(command, cwd=sources, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if result.returncode != 0:
        raise ServerMissingError(f"FerretDB could not be built; set MONGODB_URL to a MongoDB server instead.\n{result.stdout[-2000:]}")
    unfinished.rename(program)


class MongoServer:
    """A server of the MongoDB protocol. `is_real` says whether it is the one that MONGODB_URL names."""

    def __init__(self) -> None:
        """Start FerretDB on a free port, unless MONGODB_URL names a server."""
        self._numbers = itertools.count(1)
        self._given = os.environ.get("MONGODB_URL")
        self.is_real = bool(self._given)
        self._folder: Path | None = None
        self.process: ServerProcess | None = None
        self._port = 0
        if not self.is_real:
            self._port = find_free_port()
            self._folder = create_folder("ferretdb")
            (self._folder / "state").mkdir()
            command = [str(get_ferretdb()), f"127.0.0.1:{self._port}", str(self._folder / "state")]
            self.process = ServerProcess(command, self._folder)
            self._launch()

    def url(self, database: str = "") -> str:
        """The address of the server, or of one of its databases."""
        if self._given:
            return urlunsplit(urlsplit(self._given)._replace(path=f"/{database}"))
        return f"mongodb://127.0.0.1:{self._port}/{database}"

    def new_database(self) -> str:
        """The name of a database that no other test uses."""
        return f"test_{os.getpid()}_{next(self._numbers)}"

    def restart(self) -> None:
        """Stop FerretDB, if it runs, and start it on the same port."""
        if self.process is None:
            raise ServerMissingError("A server that MONGODB_URL names is not ours to restart.")
        if self.process.is_running:
            self.process.stop()
        self._launch()

    def stop(self) -> None:
        """Stop FerretDB and remove its files; a server that MONGODB_URL names goes on."""
        if self.process is not None and self.process.is_running:
            self.process.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _launch(self) -> None:
        if self.process is not None:
            self.process.start()
            self.process.wait_for_port(self._port)
