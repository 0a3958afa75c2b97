"""The boundary where asyncpg's errors become Portico's. No driver's text, SQL or value passes it."""

from __future__ import annotations

import re

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

_KEY_COLUMNS = re.compile(r"^Key \(([^)]*)\)")
SCHEMA_CHANGED = frozenset({"42703", "42P01", "0A000", "26000"})
"""SQLSTATEs that say that a plan is older than the schema: unknown column, unknown table, cached plan, lost prepared statement."""

LOST = (ConnectionError, OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError)


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
        if relation.constraint == constraint:
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
    details = {"fields": fields} if fields else {}
    match state:
        case "23505" | "23P01":
            return DuplicateDocument(f"A document with this value{_named(fields)} exists already.", details=details)
        case "23503" if deleting or "is still referenced" in (error.detail or ""):
            return ReferencedDocument("Other documents refer to this one.", hint="Delete or change those first.")
        case "23503":
            return UnknownReference(f"A value{_named(fields)} refers to a document that does not exist.", details=details)
        case "23502":
            return MissingValue(f"A required field{_named(fields)} has no value.", details=details)
        case "23514" | "44000":
            return ConstraintViolated(
                "A value breaks a rule of the table.", details={"constraint": error.constraint_name} if error.constraint_name else {}
            )
        case "22003" | "22008" | "22015" | "22012":
            return OutOfRange("A number or date is outside of the range of its field.")
        case "22001":
            return ConstraintViolated("A text is longer than its field allows.")
        case "22P02" | "22007" | "22P03" | "42804" | "22018" | "22023" | "2200H":
            return WrongType("A value is not of its field's type.")
        case "22021" | "22P05":
            return InvalidValue("A text holds a character that the database cannot store.")
        case "2201B" | "42601" | "F0000":
            return InvalidParameter("A pattern or search expression is not valid.")
        case "42704" | "42883":
            return InvalidParameter("The field's type does not have this operator, or the text search language is unknown.")
        case "42501":
            return Forbidden("The database refuses this to the service's role, or the document is outside of the caller's scope.")
    return _operational(error, state)


def _operational(error: asyncpg.PostgresError, state: str) -> PorticoError:
    match state:
        case "57014":
            return StatementTimeout("The statement ran longer than allowed and was cancelled.")
        case "55P03":
            return Unavailable("The document is locked by another change.", hint="Try again.")
        case "40001" | "40P01":
            return StaleSnapshot("The change collided with another one that came first.", hint="Try again.")
        case _ if state in SCHEMA_CHANGED:
            return SchemaChanged("The table was changed while the call ran.", hint="Try again.")
        case "25006":
            return DatabaseReadOnly("The database takes no writes now.")
        case "53100" | "53200" | "58030":
            return DiskFull("The database has no room left.")
        case "53300":
            return PoolExhausted("The database takes no more connections.")
        case _ if state.startswith(("08", "57P")):
            return DatabaseUnavailable("The database cannot be reached.")
        case _ if state.startswith("28"):
            return DatabaseUnavailable("The database refuses the service's login.")
    return InternalError(
        f"The database reported an error of class {state[:2] or 'unknown'}.", details={"sqlstate": state, "type": type(error).__name__}
    )


def lost(error: BaseException, *, writing: bool) -> PorticoError:
    """What a lost connection means: a write that was sent may have been applied."""
    if writing:
        return OutcomeUnknown(
            "The connection to the database was lost after the change was sent; whether it was applied is not known.",
            hint="Read the document, or repeat the call with the Idempotency-Key it was sent with.",
            details={"type": type(error).__name__},
        )
    return DatabaseUnavailable("The connection to the database was lost.", details={"type": type(error).__name__})
