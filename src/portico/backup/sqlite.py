"""SQLite as SQL text and back: every table, index, trigger and view of one file, each row on a line of its own.

The text is made of a copy that SQLite's online backup took, so writers go on meanwhile and it is of one moment.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from portico.backup.file import Advance
from portico.errors import BackupError

_PAGES = 2048
_BUFFER = 1 << 18
_EXACT_INTEGERS = 1 << 53
_LARGEST = 1 << 62
_WAIT_SECONDS = 30.0
_UNPRINTED = re.compile(rb"[\x00-\x1f\x7f]")


class _Text(bytes):
    """A stored text, as its bytes: they need not be UTF-8 in a file that others wrote."""

    __slots__ = ()


def copy_database(source: Path, target: Path, advance: Advance) -> None:
    """Copy a database that others may be writing, as it is at one moment. `advance` is told of the bytes that are copied.

    Raises:
        BackupError: there is no such file, or it is no database.
    """
    if not source.exists():
        raise BackupError(f"There is no database file {source}.", hint="Run `portico init-db`, or name another --database.")
    seen = 0

    def progressed(_: int, remaining: int, total: int) -> None:
        nonlocal seen
        advance((total - remaining - seen) * size)
        seen = total - remaining

    try:
        with closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=_WAIT_SECONDS)) as reading:
            # An open read transaction holds the moment: without it, a write between two steps would begin the copy anew.
            reading.isolation_level = None
            reading.execute("BEGIN")
            reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
            (size,) = reading.execute("PRAGMA page_size").fetchone()
            with closing(sqlite3.connect(target)) as writing:
                writing.execute("PRAGMA synchronous=OFF").close()
                reading.backup(writing, pages=_PAGES, progress=progressed)
    except sqlite3.Error:
        raise BackupError(f"The database file {source} cannot be read.", hint="Is it an SQLite database, and may you read it?") from None


def dump(file: Path) -> Iterator[bytes]:
    """The SQL text of a database that nobody writes, in chunks of whole lines."""
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        connection.text_factory = _Text
        held = bytearray()
        for line in _lines(connection):
            held += line + b"\n"
            if len(held) >= _BUFFER:
                yield bytes(held)
                held.clear()
        yield bytes(held)


def _lines(connection: sqlite3.Connection) -> Iterator[bytes]:
    for pragma in ("application_id", "user_version"):
        (value,) = connection.execute(f"PRAGMA {pragma}").fetchone()
        yield f"PRAGMA {pragma}={int(value)};".encode()
    kinds = {bytes(row[1]): row[2] for row in connection.execute("PRAGMA table_list") if row[0] == b"main"}
    found = connection.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid").fetchall()
    own = [(kind, name, sql) for kind, name, sql in found if not name.startswith(b"sqlite_") and kinds.get(name) != b"shadow"]
    tables = [item for item in own if item[0] == b"table"]
    # What a virtual table keeps may be made of other tables' rows, so these come first.
    for _, name, sql in sorted(tables, key=lambda item: kinds.get(item[1]) == b"virtual"):
        yield bytes(sql) + b"\n;"
        yield from _virtual_rows(connection, name, sql) if kinds.get(name) == b"virtual" else _rows(connection, name)
    if any(name == b"sqlite_sequence" for _, name, _ in found):
        yield b"DELETE FROM sqlite_sequence;"
        yield from _rows(connection, b"sqlite_sequence")
    for wanted in (b"index", b"view", b"trigger"):
        yield from (bytes(sql) + b"\n;" for kind, _, sql in own if kind == wanted)


def _virtual_rows(connection: sqlite3.Connection, name: bytes, sql: bytes) -> Iterator[bytes]:
    lowered = bytes(sql).lower()
    if b"fts5" in lowered and b"content" in lowered:
        table = _quoted(name)
        yield b"INSERT INTO " + table + b"(" + table + b") VALUES('rebuild');"
    else:
        yield from _rows(connection, name, key=b"rowid," if b"fts" in lowered else b"")


def _rows(connection: sqlite3.Connection, name: bytes, key: bytes = b"") -> Iterator[bytes]:
    table = _quoted(name)
    described = connection.execute((b"PRAGMA table_xinfo(" + table + b")").decode()).fetchall()
    # Generated and hidden columns are not inserted.
    columns = key + b",".join(_quoted(bytes(row[1])) for row in described if row[6] == 0)
    begin = b"INSERT INTO " + table + b"(" + columns + b") VALUES("
    for row in connection.execute((b"SELECT " + columns + b" FROM " + table).decode()):
        yield begin + b",".join([_literal(value) for value in row]) + b");"


def _quoted(name: bytes) -> bytes:
    return b'"' + name.replace(b'"', b'""') + b'"'


def _literal(value: object) -> bytes:
    """A value as SQL that gives exactly it, on one line."""
    if value is None:
        return b"NULL"
    if isinstance(value, _Text):
        if _UNPRINTED.search(value) is not None or not _is_utf8(value):
            return b"CAST(X'" + value.hex().encode() + b"' AS TEXT)"
        return b"'" + value.replace(b"'", b"''") + b"'"
    if isinstance(value, bytes):
        return b"X'" + value.hex().encode() + b"'"
    return _float(value).encode() if isinstance(value, float) else str(value).encode()


def _float(value: float) -> str:
    if math.isinf(value):
        return "9e999" if value > 0 else "-9e999"
    if value == 0 or abs(value) >= _LARGEST:
        return repr(value)
    if value.is_integer() and abs(value) < _EXACT_INTEGERS:
        return f"{int(value)}.0"
    # SQLite reads decimals with a small error at times; a quotient by a power of two is exact.
    above, below = value.as_integer_ratio()
    return f"(CAST({above} AS REAL)/{below})" if below <= _LARGEST else repr(value)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def load(lines: Iterator[bytes], file: Path) -> None:
    """Make a new database of SQL text's lines, and check it.

    Raises:
        BackupError: the text does not make a sound database.
    """
    try:
        with closing(sqlite3.connect(file, isolation_level=None, cached_statements=0)) as connection:
            for pragma in ("journal_mode=OFF", "synchronous=OFF", "foreign_keys=OFF"):
                connection.execute(f"PRAGMA {pragma}").close()
            connection.execute("BEGIN")
            held = b""
            for line in lines:
                if not held and line.startswith(b"INSERT INTO "):
                    connection.execute(line.decode())
                    continue
                held += line + b"\n"
                text = held.decode()
                if sqlite3.complete_statement(text):
                    connection.execute(text)
                    held = b""
            connection.execute("COMMIT")
            (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if result != "ok" or held.strip():
                raise BackupError("The restored database is not sound, so nothing was put in its place.")
    except (sqlite3.Error, UnicodeDecodeError):
        raise BackupError("The backup's statements cannot be run by this SQLite, so nothing was restored.") from None


def check_target(file: Path, *, force: bool) -> None:
    """Refuse to restore over a database: one that has tables and is not to be removed by `force`, or one that somebody has open.

    Raises BackupError.
    """
    if not file.exists() or not file.stat().st_size:
        return
    try:
        with closing(sqlite3.connect(file, isolation_level=None, timeout=0)) as connection:
            found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' LIMIT 1").fetchone()
            if found is not None and not force:
                hint = "Restore into a new file, or add --force, which removes everything that is in it."
                raise BackupError(f"The target {file.name} is not empty: it has {found[0]}.", hint=hint)
            # Leaving WAL mode needs the file for oneself, and puts all of it into the one file.
            (mode,) = connection.execute("PRAGMA journal_mode=DELETE").fetchone()
            if mode != "delete":
                raise sqlite3.OperationalError("locked")
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise BackupError(f"The database {file.name} is in use.", hint="Stop Portico and whatever else has it open first.") from None
        if not force:
            raise BackupError(f"The target {file.name} is a file, but no database.", hint="Add --force to replace it.") from None


def remove(file: Path) -> None:
    """Remove a database's file, with what belongs to it."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
