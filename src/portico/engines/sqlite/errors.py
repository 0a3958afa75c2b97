"""SQLite's errors as Portico's, at the one place where they cross. What SQLite says of a failure is never answered."""

from __future__ import annotations

import re
import sqlite3

from portico.errors import (
    ConstraintViolated,
    DatabaseReadOnly,
    DatabaseUnavailable,
    DiskFull,
    DuplicateDocument,
    InternalError,
    InvalidValue,
    MissingValue,
    OutOfRange,
    PorticoError,
    ReferencedDocument,
    SchemaChanged,
    StaleSnapshot,
    StatementTimeout,
    Unavailable,
    UnknownReference,
)
from portico.model.collection import Collection

DUPLICATE = "A document with this key or unique value exists already."
_PRIMARY = 0xFF
_CONSTRAINT_DATATYPE = 3091
_NO_BLOB_IN_JSON = "JSON cannot hold BLOB values"
_NOT_UTF8 = "Could not decode to UTF-8"
_FUNCTION_FAILED = "user-defined function raised exception"
_MISSING = re.compile(r"no such (?:column|table)|has no column named|values were supplied", re.IGNORECASE)
_TOO_DEEP = re.compile("parser stack overflow|Expression tree is too large")
_PLACE = re.compile(r"([^\s.,:]+)\.([^\s,]+)")


def code_of(error: sqlite3.Error) -> int:
    """SQLite's extended result code, or 0 where the driver raised by itself."""
    return getattr(error, "sqlite_errorcode", 0) or 0


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection holds a lock that was needed."""
    return code_of(error) & _PRIMARY in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def is_interrupted(error: sqlite3.Error) -> bool:
    """Whether the statement was cancelled."""
    return code_of(error) & _PRIMARY == sqlite3.SQLITE_INTERRUPT


def is_unshowable(error: sqlite3.Error) -> bool:
    """Whether a stored value does not fit its declared type so badly that it has to be shown by a function that takes any."""
    message = str(error)
    return any(sign in message for sign in (_NO_BLOB_IN_JSON, "malformed JSON", _NOT_UTF8, _FUNCTION_FAILED))


def unstorable(error: OverflowError | UnicodeEncodeError) -> PorticoError:
    """Portico's error for a value that the driver cannot hand to SQLite."""
    if isinstance(error, OverflowError):
        return OutOfRange("A number does not fit an integer of 64 bits.")
    return InvalidValue("A text holds a character that the database cannot store.")


def fault(error: Exception) -> InternalError:
    """A fault of Portico's own while a write ran: its caller is answered, and the writer goes on."""
    return InternalError("The write failed.", details={"type": type(error).__name__})


def translate(error: sqlite3.Error, collection: Collection | None = None, *, deleting: bool = False) -> PorticoError:
    """Portico's error for SQLite's.

    Args:
        error: what the driver raised. collection: what the statement was about, to name fields.
        deleting: a foreign key that fails is then a document that is still referred to.
    """
    code = code_of(error)
    if code & _PRIMARY == sqlite3.SQLITE_CONSTRAINT:
        return _constraint(error, code, collection, deleting=deleting)
    if code == sqlite3.SQLITE_BUSY_SNAPSHOT:
        return StaleSnapshot("The transaction read what has been changed since.", hint="Begin it anew.")
    translated = _BY_CODE.get(code & _PRIMARY)
    if translated is not None:
        kind, message = translated
        return kind(message)
    if _MISSING.search(str(error)):
        return SchemaChanged("The database's schema is newer than what is known of it.")
    if isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error):
        return DatabaseUnavailable("The database is closed.")
    if _TOO_DEEP.search(str(error)):
        return OutOfRange("The request nests deeper than SQLite reads.", hint="Include fewer levels, or compute less in one stage.")
    return InternalError("The database refused a statement.", details={"type": type(error).__name__})


_BY_CODE: dict[int, tuple[type[PorticoError], str]] = {
    sqlite3.SQLITE_BUSY: (Unavailable, "The database is busy: another writer did not finish in time."),
    sqlite3.SQLITE_LOCKED: (Unavailable, "The database is busy: another writer did not finish in time."),
    sqlite3.SQLITE_FULL: (DiskFull, "The database has no room left."),
    sqlite3.SQLITE_READONLY: (DatabaseReadOnly, "The database takes no writes now."),
    sqlite3.SQLITE_PERM: (DatabaseReadOnly, "The database takes no writes now."),
    sqlite3.SQLITE_IOERR: (DatabaseUnavailable, "The database's file cannot be read or written."),
    sqlite3.SQLITE_CORRUPT: (DatabaseUnavailable, "The database's file is damaged."),
    sqlite3.SQLITE_NOTADB: (DatabaseUnavailable, "The database's file is not one of SQLite's."),
    sqlite3.SQLITE_CANTOPEN: (DatabaseUnavailable, "The database's file cannot be opened."),
    sqlite3.SQLITE_INTERRUPT: (StatementTimeout, "The statement ran longer than allowed and was cancelled."),
    sqlite3.SQLITE_SCHEMA: (SchemaChanged, "The database's schema is newer than what is known of it."),
    sqlite3.SQLITE_TOOBIG: (OutOfRange, "A value is larger than the database takes."),
    sqlite3.SQLITE_MISMATCH: (InvalidValue, "A value is not of the type that its field takes."),
}


def _constraint(error: sqlite3.Error, code: int, collection: Collection | None, *, deleting: bool) -> PorticoError:
    fields = _fields(error, collection)
    details: dict[str, object] = {"fields": fields} if fields else {}
    if code in {sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID}:
        return DuplicateDocument(DUPLICATE, details=details)
    if code == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
        if deleting:
            return ReferencedDocument("Other documents refer to this one.")
        return UnknownReference(
            "The document refers to one that does not exist.", hint="Create that first: its client, or what another field refers to."
        )
    if code == sqlite3.SQLITE_CONSTRAINT_NOTNULL:
        name = fields[0] if fields else "a field"
        return MissingValue(f"{name} is required.", details={"field": name} if fields else {})
    if code == _CONSTRAINT_DATATYPE:
        return InvalidValue("A value is not of the type that its field takes.")
    return ConstraintViolated("A value breaks a constraint of the collection.")


def _fields(error: sqlite3.Error, collection: Collection | None) -> list[str]:
    """The fields that SQLite's message names as ``table.column``, by the names that callers use."""
    if collection is None:
        return []
    names = {field.column: field.name for field in collection.fields}
    return [names[column] for table, column in _PLACE.findall(str(error)) if table == collection.table and column in names]
