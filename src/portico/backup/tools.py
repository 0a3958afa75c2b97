"""PostgreSQL's client programs: finding the ones that fit a server, and running them without a secret on their command line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from portico.errors import BackupError, ConfigurationError

_FOLDERS = "usr/lib/postgresql/*/bin"
_SECRETS = {"password": "PGPASSWORD"}


def find_program(name: str, server_version: int) -> Path:
    """`pg_dump` or `psql`, of at least the server's major version.

    Args:
        server_version: as ``server_version_num`` gives it, such as 150004.
    Raises:
        BackupError: it is missing or too old; the sentence says what to install.
    """
    wanted = server_version // 10_000
    found: dict[Path, int] = {}
    beside = sorted(Path("/").glob(_FOLDERS), key=lambda folder: folder.parent.name, reverse=True)
    for candidate in [name, *(str(folder / name) for folder in beside)]:
        program = shutil.which(candidate)
        if program is None:
            continue
        found[Path(program)] = version = _major(Path(program))
        if version >= wanted:
            return Path(program)
    hint = f"Install PostgreSQL's client programs of version {wanted} or newer (Debian, Ubuntu: apt install postgresql-client-{wanted})."
    if not found:
        raise BackupError(f"The program {name} is not installed.", hint=hint)
    raise BackupError(f"The program {name} is of version {max(found.values())}, older than the server's {wanted}.", hint=hint)


def _major(program: Path) -> int:
    result = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 - a program that was found
    match = re.search(r"\(PostgreSQL\) (\d+)", result.stdout)
    return int(match[1]) if match is not None else 0


def connection_of(url: str) -> tuple[str, dict[str, str]]:
    """How a client program connects: the connection string for its command line, and the environment that holds the password.

    Raises:
        ConfigurationError: the address is none of PostgreSQL's.
    """
    try:
        parts: Mapping[str, object] = conninfo_to_dict(url)
    except ProgrammingError:
        raise ConfigurationError("The address is not one of a PostgreSQL database.", hint="Write postgresql://user@host/name.") from None
    shown = {name: str(value) for name, value in parts.items() if name not in _SECRETS}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment |= {_SECRETS[name]: str(value) for name, value in parts.items() if name in _SECRETS}
    return make_conninfo("", application_name="portico", **shown), environment
