"""The boundary where asyncpg's errors become Portico's. No driver's text, SQL or value passes it."""

from __future__ import annotations

import re
from collections.abc import Iterable

import asyncpg

from portico.errors import (
    ConstraintViolated,
    DatabaseReadOnly,
    DatabaseUnavailable,
    DiskFull,
    DuplicateDocument,
    Forbidden,
    InternalError,
    InvalidParameter,
    InvalidValue,
    MissingValue,
    OutcomeUnknown,
    OutOfRange,
    PoolExhausted,
    PorticoError,
    ReferencedDocument,
    SchemaChanged,
    StaleSnapshot,
    StatementTimeout,
    Unavailable,
    UnknownReference,
    WrongType,
)
from portico.model.collection import Collection
from portico.model.companions import SCHEMA, VERSIONS

_KEY_COLUMNS = re.compile(r"^Key \(([^)]*)\)")
SCHEMA_CHANGED = frozenset({"42703", "42P01", "0A000", "26000"})
"""SQLSTATEs that say that a plan is older than the schema: unknown column, unknown table, cached plan, lost prepared statement."""

MAYBE_CHANGED = frozenset({"42804", "42883"})
"""SQLSTATEs that an older plan meets where a field's type was changed. Where none was, the caller asked for what the type does not have."""

ADMIN_SHUTDOWN = "57P01"
LOCK_NOT_AVAILABLE = "55P03"

LOST = (
    ConnectionError,
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
)
"""Exceptions after which a connection is not used again. (Where a server ends an idle connection, asyncpg raises InternalClientError.)"""


def fields_of(error: asyncpg.PostgresError, collection: Collection | None) -> list[str]:
    """The names of the fields that an error is about, as callers know them. Never their values.

    Where row-level security is on, PostgreSQL leaves out the detail, so the constraint's name is asked first.
    """
    if collection is None:
        return []
    if error.constraint_name and (known := _constrained(collection, error.constraint_name)):
        return list(known)
    columns: list[str] = []
    if error.column_name:
        columns = [error.column_name]
    elif error.detail and (match := _KEY_COLUMNS.match(error.detail)):
        columns = [part.strip().strip('"') for part in match[1].split(",")]
    names = {field.column: field.name for field in collection.fields}
    return [names[column] for column in columns if column in names]


def _constrained(collection: Collection, constraint: str) -> tuple[str, ...]:
    """The fields of a key, unique index or foreign key of that name."""
    for relation in collection.relations:
        if relation.constraint == constraint and relation.through is None:
            return relation.local
    for index in collection.indexes:
        if index.name == constraint:
            return tuple(item.name for item in index.fields)
    return collection.primary_key if constraint == f"{collection.table}_pkey" else ()


def _named(fields: list[str]) -> str:
    return f" ({', '.join(fields)})" if fields else ""


def reported(error: asyncpg.PostgresError, collection: Collection | None, *, deleting: bool = False) -> PorticoError:
    """What an error that the server reported means. The statement was rolled back."""
    state = error.sqlstate or ""
    fields = fields_of(error, collection)
    details: dict[str, object] = {"fields": fields} if fields else {}
    if state == "23503" and (deleting or "is still referenced" in (error.detail or "")):
        return ReferencedDocument("Other documents refer to this one.", hint="Delete or change those first.")
    if state == "23505" and (error.schema_name, error.table_name) == (SCHEMA, VERSIONS.table):
        # Two changes numbered their version alike.
        return StaleSnapshot("The change collided with another one that came first.")
    if state in _ABOUT_FIELDS:
        kind, text = _ABOUT_FIELDS[state]
        return kind(text.format(_named(fields)), details=details)
    if state in SCHEMA_CHANGED:
        return SchemaChanged(_CHANGED, hint="Try again.")
    if state in MAYBE_CHANGED:
        kind, text = _PLAIN[state]
        changed = SchemaChanged(_CHANGED, hint="Try again.")
        changed.otherwise = kind(text)
        return changed
    known = _PLAIN.get(state) or _PLAIN.get(state[:3]) or _PLAIN.get(state[:2])
    if known is not None:
        kind, text = known
        return kind(text)
    kind_of_fault = {"sqlstate": state, "type": type(error).__name__}
    return InternalError(f"The database reported an error of class {state[:2] or 'unknown'}.", details=kind_of_fault)


def duplicate_text(fields: Iterable[str]) -> str:
    """What is said where a document has these unique values already."""
    return _TAKEN.format(_named(list(fields)))


_TAKEN = "A document with this value{} exists already."
_CHANGED = "The table was changed while the call ran."
_ABOUT_FIELDS: dict[str, tuple[type[PorticoError], str]] = {
    "23505": (DuplicateDocument, _TAKEN),
    "23P01": (DuplicateDocument, "A document that excludes this one{} exists already."),
    "23503": (UnknownReference, "A value{} refers to a document that does not exist."),
    "23502": (MissingValue, "A required field{} has no value."),
    "42P10": (InvalidParameter, "The database holds no unique constraint over the fields of on_conflict."),
    "23514": (ConstraintViolated, "A value{} breaks a rule of the table."),
    "44000": (ConstraintViolated, "A value{} breaks a rule of the view."),
}
_OUT_OF_RANGE = (OutOfRange, "A number or date is outside of the range of its field.")
_WRONG_TYPE = (WrongType, "A value is not of its field's type.")
_BAD_PATTERN = (InvalidParameter, "A pattern or search expression is not valid.")
_PLAIN: dict[str, tuple[type[PorticoError], str]] = {
    "22003": _OUT_OF_RANGE,
    "22008": _OUT_OF_RANGE,
    "22012": _OUT_OF_RANGE,
    "22015": _OUT_OF_RANGE,
    "22001": (ConstraintViolated, "A text is longer than its field allows."),
    "22021": (InvalidValue, "A text holds a character that the database cannot store."),
    "22P05": (InvalidValue, "A text holds a character that the database cannot store."),
    "2201B": _BAD_PATTERN,
    "42601": _BAD_PATTERN,
    "22": _WRONG_TYPE,
    "42804": _WRONG_TYPE,
    "42704": (InvalidParameter, "The field's type does not have this operator, or the text search language is unknown."),
    "42883": (InvalidParameter, "The field's type does not have this operator."),
    "42501": (Forbidden, "The database refuses this to the service's role, or the document is outside of the caller's scope."),
    "57014": (StatementTimeout, "The statement ran longer than allowed and was cancelled."),
    "55P03": (Unavailable, "The document is locked by another change."),
    "40": (StaleSnapshot, "The change collided with another one that came first."),
    "25006": (DatabaseReadOnly, "The database takes no writes now."),
    "53100": (DiskFull, "The database has no room left."),
    "53200": (DiskFull, "The database has no memory left."),
    "58030": (DiskFull, "The database cannot write to its disk."),
    "53300": (PoolExhausted, "The database takes no more connections."),
    "08": (DatabaseUnavailable, "The database cannot be reached."),
    "57P": (DatabaseUnavailable, "The database cannot be reached."),
    "28": (DatabaseUnavailable, "The database refuses the service's login."),
}
"""By SQLSTATE, by its first three characters, or by its class."""


def lost(error: BaseException, *, writing: bool) -> PorticoError:
    """What a lost connection means: a write that was sent may have been applied, unless the error itself proves the contrary."""
    if writing and not _never_applied(error):
        return OutcomeUnknown(
            "The connection to the database was lost after the change was sent; whether it was applied is not known.",
            hint="Read the document, or repeat the call with the Idempotency-Key it was sent with.",
            details={"type": type(error).__name__},
        )
    return DatabaseUnavailable("The connection to the database was lost.", details={"type": type(error).__name__})


def _never_applied(error: BaseException) -> bool:
    """Whether the statement was never sent, or the server said that it ended the statement: it says so before a commit alone."""
    if isinstance(error, asyncpg.InternalClientError):
        return "cannot switch to state" in str(error)
    said = error.__cause__ if isinstance(error, asyncpg.ConnectionDoesNotExistError) else error
    return isinstance(error, asyncpg.InterfaceError) or (isinstance(said, asyncpg.PostgresError) and said.sqlstate == ADMIN_SHUTDOWN)
