"""Restores SQL text into a PostgreSQL database, in one transaction: all of it, with its owners and policies, or nothing."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import BinaryIO, cast

import psycopg
from psycopg import sql

from portico.backup.file import Header
from portico.backup.postgres import NOT_OF_EXTENSIONS, USER_SCHEMA, connect
from portico.backup.tools import connection_of, find_program
from portico.builtin.connect import sync_engine
from portico.builtin.migrations.roles import OWNER, create_roles
from portico.errors import BackupError

_FIRST = f"""
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND {USER_SCHEMA} AND {NOT_OF_EXTENSIONS.format(oid="c.oid")}
UNION ALL SELECT n.nspname FROM pg_namespace n WHERE {USER_SCHEMA} AND n.nspname <> 'public' AND {NOT_OF_EXTENSIONS.format(oid="n.oid")}
LIMIT 1"""  # noqa: S608  # constants of these modules
_SCHEMAS = f"SELECT n.nspname FROM pg_namespace n WHERE {USER_SCHEMA} AND {NOT_OF_EXTENSIONS.format(oid='n.oid')}"  # noqa: S608  # constants
_MAY_BECOME_OWNER = """
SELECT 1 FROM pg_roles r WHERE r.rolname = %s AND pg_has_role(session_user, r.oid, 'MEMBER')
AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = session_user)"""
_OWNED_PUBLIC = 150_000

# Transaction ids belong to the server that gave them. One that this server has not reached yet would look as if it were still to come.
_SETTLE = """
DO $$ DECLARE t regclass; BEGIN
FOR t IN SELECT c.oid FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'portico' AND a.attname = 'transaction' AND a.atttypid = 'xid8'::regtype AND c.relkind IN ('r', 'p') LOOP
EXECUTE format('UPDATE %s SET "transaction" = ''1'' WHERE "transaction" >= pg_current_xact_id()', t); END LOOP;
IF to_regclass('portico.ledger') IS NOT NULL THEN
UPDATE portico.ledger SET xid = NULL WHERE xid >= pg_current_xact_id(); END IF; END $$;
"""
_REASONS = {
    "42501": ("The login may not create everything that is in the backup.", "Restore with a superuser, or as the owner of the database."),
    "42704": ("The server lacks a type, role or extension that the backup needs.", "Install the extension, or create the role."),
    "0A000": ("The server lacks an extension that the backup needs.", "Install the extension's package."),
    "58P01": ("The server lacks an extension that the backup needs.", "Install the extension's package."),
    "53100": ("The server has no room left.", "Make room."),
}


def check_target(url: str, header: Header, *, force: bool) -> bool:
    """Refuse a target that the backup cannot be restored into; gives whether there is something to remove first.

    The three roles of Portico are created where they are missing and the login may.

    Raises:
        BackupError: the target is not empty and not `force`; a role is missing; the login cannot act for an owner.
    """
    with connect(url) as connection:
        found = connection.execute(_FIRST.encode()).fetchone()
    if found is not None and not force:
        hint = "Restore into an empty database, or add --force, which removes everything that is in it."
        raise BackupError(f"The target is not empty: it has {found[0]}.", hint=hint)
    with sync_engine(url).begin() as roles_connection:
        create_roles(roles_connection)
    with connect(url) as connection:
        missing = _names(connection, "SELECT name FROM unnest(%s::text[]) name WHERE to_regrole(quote_ident(name)) IS NULL", header.roles)
        if missing:
            raise BackupError(f"The server has no role {', '.join(missing)}.", hint="Create the roles of the backup first (CREATE ROLE).")
        _act(connection)
        foreign = _names(
            connection, "SELECT name FROM unnest(%s::text[]) name WHERE NOT pg_has_role(current_user, name, 'MEMBER')", header.owners
        )
        if foreign:
            raise BackupError(
                f"The login cannot make {', '.join(foreign)} the owner of anything.",
                hint="Restore with a superuser, or grant it that role.",
            )
    return found is not None


def restore(url: str, chunks: Iterator[bytes], *, clear: bool) -> None:
    """Run the SQL text of a backup in one transaction, which is committed only if `chunks` ends without an error.

    Args:
        clear: first remove every schema of the target with all that is in it.

    Raises:
        BackupError: psql is missing or too old, or a statement failed. Nothing was changed then.
    """
    with connect(url) as connection:
        program = find_program("psql", connection.info.server_version)
        role = _act(connection)
        preamble = [f"SET ROLE {quote(role)};"] if role is not None else []
        preamble += _removals(connection) if clear else []
    shown, environment = connection_of(url)
    command = [str(program), "--no-psqlrc", "--quiet", "--no-password", "--single-transaction", "--output=/dev/null", "--file=-"]
    command += ["--set=ON_ERROR_STOP=1", "--set=VERBOSITY=sqlstate", "--dbname", shown]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors, env=environment)  # noqa: S603
        target = cast("BinaryIO", process.stdin)
        try:
            _feed(target, chain(["\n".join([*preamble, ""]).encode()], chunks, [_SETTLE.encode()]))
        except BaseException:
            # Were its input to end, it would commit.
            process.kill()
            raise
        finally:
            with suppress(BrokenPipeError):
                target.close()
            code = process.wait()
        if code != 0:
            raise _failure(cast("BinaryIO", errors))
    with connect(url) as connection:
        _act(connection)
        connection.execute("ANALYZE")


def _feed(target: BinaryIO, chunks: Iterable[bytes]) -> None:
    """Write every chunk. A program that met an error and ended says so by its exit code; the chunks are read to their end all the same."""
    listening = True
    for chunk in chunks:
        if listening:
            try:
                target.write(chunk)
            except BrokenPipeError:
                listening = False


def _act(connection: psycopg.Connection[tuple[object, ...]]) -> str | None:
    """Act as the owner where the login is no superuser and may; gives the role then."""
    row = connection.execute(_MAY_BECOME_OWNER.encode(), (OWNER,)).fetchone()
    if row is None:
        return None
    connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(OWNER)))
    return OWNER


def _removals(connection: psycopg.Connection[tuple[object, ...]]) -> list[str]:
    schemas = [str(row[0]) for row in connection.execute(_SCHEMAS.encode())]
    statements = [f"DROP SCHEMA {quote(name)} CASCADE;" for name in schemas]
    if "public" in schemas:
        open_to_all = connection.info.server_version < _OWNED_PUBLIC
        statements += ["CREATE SCHEMA public;", f"GRANT {'ALL' if open_to_all else 'USAGE'} ON SCHEMA public TO PUBLIC;"]
        statements += [] if open_to_all else ["ALTER SCHEMA public OWNER TO pg_database_owner;"]
    return statements


def quote(name: str) -> str:
    """A name as an identifier of SQL."""
    return sql.Identifier(name).as_string()


def _names(connection: psycopg.Connection[tuple[object, ...]], statement: str, names: Sequence[str]) -> list[str]:
    return [str(row[0]) for row in connection.execute(statement.encode(), (list(names),))]


def _failure(errors: BinaryIO) -> BackupError:
    errors.seek(0)
    match = re.search(r"ERROR:  ([0-9A-Z]{5})", errors.read(65_536).decode(errors="replace"))
    state = match[1] if match is not None else "unknown"
    message, hint = _REASONS.get(state, (f"The server refused a statement of the backup ({state}).", "The server's log says which."))
    return BackupError(f"{message} Nothing was restored.", hint=hint)
