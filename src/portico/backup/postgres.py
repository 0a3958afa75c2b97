"""PostgreSQL as SQL text: what pg_dump writes for a login that may read every row, and what makes that complete."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, cast

import psycopg

from portico.backup.file import CHUNK
from portico.backup.tools import connection_of, find_program
from portico.errors import BackupError, DatabaseUnavailable

_CONNECT_SECONDS = 10
_NAMED = 5

USER_SCHEMA = "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'"
"""The condition on `pg_namespace n` that keeps PostgreSQL's own schemas out."""

NOT_OF_EXTENSIONS = "NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = {oid} AND d.deptype = 'e')"

_GUARDED = f"""
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relrowsecurity AND {USER_SCHEMA}
AND (c.relforcerowsecurity OR NOT pg_has_role(c.relowner, 'USAGE')) ORDER BY 1"""  # noqa: S608  # constants of these modules
_UNREADABLE = f"""
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'S', 'm') AND {USER_SCHEMA} AND {NOT_OF_EXTENSIONS.format(oid="c.oid")}
AND NOT (has_schema_privilege(n.oid, 'USAGE')
AND CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'SELECT') ELSE has_table_privilege(c.oid, 'SELECT') END) ORDER BY 1"""  # noqa: S608  # constants of these modules
_OWNERS = f"""
SELECT pg_get_userbyid(c.relowner) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND {USER_SCHEMA} AND {NOT_OF_EXTENSIONS.format(oid="c.oid")}
UNION SELECT pg_get_userbyid(n.nspowner) FROM pg_namespace n
WHERE {USER_SCHEMA} AND n.nspname <> 'public' AND {NOT_OF_EXTENSIONS.format(oid="n.oid")}
UNION SELECT pg_get_userbyid(p.proowner) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE {USER_SCHEMA} AND {NOT_OF_EXTENSIONS.format(oid="p.oid")}"""  # noqa: S608  # constants of these modules
_ROLES = """
SELECT DISTINCT r.rolname::text FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid AND d.refclassid = 'pg_authid'::regclass
WHERE d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"""
_DENIED = re.compile(r"permission denied for (\w+) (\S+)")


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What is known of a database before it is dumped. `size` is in bytes, as it lies on disk."""

    version: int
    size: int
    owners: tuple[str, ...]
    roles: tuple[str, ...]


@contextmanager
def connect(url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A connection in autocommit. Raises DatabaseUnavailable, without the driver's text."""
    shown, environment = connection_of(url)
    try:
        connection = psycopg.connect(shown, password=environment.get("PGPASSWORD"), autocommit=True, connect_timeout=_CONNECT_SECONDS)
    except psycopg.OperationalError:
        hint = "Is it running, does the database exist, and are login and password right?"
        raise DatabaseUnavailable("The PostgreSQL database cannot be reached with this login.", hint=hint) from None
    with connection:
        yield connection


def survey(url: str) -> Surveyed:
    """Look at a database with the login that will dump it.

    Raises:
        BackupError: the login would not see every row, so a backup would be incomplete.
    """
    with connect(url) as connection:
        version, size, login, everything = _row(
            connection,
            "SELECT current_setting('server_version_num')::int, pg_database_size(current_database()), current_user::text,"
            " rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user",
        )
        unreadable = _texts(connection, _UNREADABLE)
        if unreadable:
            hint = "Set backup_connection_string to a login that reads everything, such as backupuser, or grant it SELECT."
            raise BackupError(f"The login {login} may not read {_named(unreadable)}.", hint=hint)
        guarded = [] if everything else _texts(connection, _GUARDED)
        if guarded:
            hint = "Set backup_connection_string to a login with BYPASSRLS, such as backupuser."
            raise BackupError(
                f"The login {login} would not see every row of {_named(guarded)}, which row-level security guards.", hint=hint
            )
        owners = _texts(connection, _OWNERS)
        roles = sorted({*owners, *_texts(connection, _ROLES)})
        return Surveyed(cast("int", version), cast("int", size), tuple(sorted(owners)), tuple(roles))


def dump(url: str, surveyed: Surveyed) -> Iterator[bytes]:
    """The SQL text of a database, as it is at one moment, in chunks; writers go on meanwhile.

    Raises:
        BackupError: pg_dump is missing, older than the server, or failed.
    """
    program = find_program("pg_dump", surveyed.version)
    shown, environment = connection_of(url)
    command = [str(program), "--format=plain", "--encoding=UTF8", "--no-password", "--no-tablespaces", "--dbname", shown]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL, env=environment)  # noqa: S603
        assert process.stdout is not None, "it is a pipe"
        try:
            while chunk := process.stdout.read(CHUNK):
                yield chunk
            code = process.wait()
        finally:
            process.stdout.close()
            if process.poll() is None:
                process.kill()
            process.wait()
        if code != 0:
            raise _failure(code, cast("BinaryIO", errors))


def _failure(code: int, errors: BinaryIO) -> BackupError:
    errors.seek(0)
    text = errors.read(65_536).decode(errors="replace")
    denied = _DENIED.search(text)
    if denied is not None:
        return BackupError(f"pg_dump's login may not read the {denied[1]} {denied[2]}.", hint="Grant it SELECT, or use backupuser.")
    if "row-level security" in text:
        return BackupError("pg_dump's login would not see every row of a table.", hint="Use a login with BYPASSRLS, such as backupuser.")
    if "server version mismatch" in text:
        return BackupError("pg_dump is older than the server.", hint="Install the client programs of the server's version.")
    return BackupError(f"pg_dump ended with exit code {code}.", hint="The server's log says why.")


def _row(connection: psycopg.Connection[tuple[object, ...]], statement: str) -> tuple[object, ...]:
    row = connection.execute(statement.encode()).fetchone()
    assert row is not None, "the login is a role"
    return row


def _texts(connection: psycopg.Connection[tuple[object, ...]], statement: str) -> list[str]:
    return [str(row[0]) for row in connection.execute(statement.encode())]


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
