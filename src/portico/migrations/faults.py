"""What a database's error means for a migration, in words without SQL or values."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

from portico.errors import ConfigurationError, DatabaseUnavailable, MigrationError, PorticoError

_STATES = {
    "23502": "A required field has no value in some documents",
    "23505": "Some documents have the same value",
    "23514": "Some documents break the rule",
    "23503": "Some documents refer to others that do not exist",
    "22001": "Some texts are longer than the new type allows",
    "2BP01": "Something else in the database depends on it",
    "42P01": "There is no such table",
    "42703": "There is no such column",
    "42P07": "It exists already",
    "42701": "The column exists already",
    "42710": "It exists already",
    "42601": "The SQL has a mistake",
    "53100": "The database has no room left",
    "54000": "The table has too many rows to be rebuilt while it is locked",
    "57014": "The statement was cancelled",
}
_CLASSES = {"22": "Some values cannot be converted", "23": "Some documents break a rule", "42": "The SQL cannot be run"}


def state_of(error: DBAPIError) -> str:
    """PostgreSQL's SQLSTATE; an empty text where there is none."""
    return getattr(error.orig, "sqlstate", None) or ""


def is_lost(error: DBAPIError) -> bool:
    """Whether the connection is gone, and with it what the transaction did."""
    return error.connection_invalidated or state_of(error).startswith(("57P", "08"))


def translate(error: DBAPIError, doing: str) -> PorticoError:
    """Portico's error for a database's.

    Args:
        doing: the title of the step.
    """
    if is_lost(error):
        return DatabaseUnavailable(
            "The connection to the database was lost during a migration.", hint="Run it again: it goes on where it stopped."
        )
    state = state_of(error)
    if state == "42501":
        return ConfigurationError(
            f"The login may not do this: {doing}.",
            hint="Configure migration_connection_string with a login that may SET ROLE to the owner of the tables.",
        )
    said = _STATES.get(state) or _CLASSES.get(state[:2]) or _sqlite(error)
    diagnosis = getattr(error.orig, "diag", None)
    names = [getattr(diagnosis, part, None) for part in ("table_name", "column_name", "constraint_name")]
    where = ", ".join(name for name in names if name)
    return MigrationError(f"{said}{f' ({where})' if where else ''}: {doing}.", details={"sqlstate": state} if state else None)


def unrecordable(collection: str) -> MigrationError:
    """The error of a change of documents that has to be recorded where the database keeps no records."""
    return MigrationError(
        f"Changes of {collection} have to leave audit rows or versions, and the database has no tables for them.",
        hint="Run portico init-db on the database.",
    )


def _sqlite(error: DBAPIError) -> str:
    text = str(error.orig)
    signs = {
        "NOT NULL constraint": _STATES["23502"],
        "UNIQUE constraint": _STATES["23505"],
        "CHECK constraint": _STATES["23514"],
        "FOREIGN KEY constraint": _STATES["23503"],
        "integer overflow": _CLASSES["22"],
        "no such table": _STATES["42P01"],
        "no such column": _STATES["42703"],
        "already exists": _STATES["42P07"],
        "duplicate column": _STATES["42701"],
        "syntax error": _STATES["42601"],
        "disk is full": _STATES["53100"],
        "locked": "Another writer did not finish in time",
    }
    return next((said for sign, said in signs.items() if sign in text), "The database refused it")
