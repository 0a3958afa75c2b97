"""Changes documents one by one for a migration, and leaves of each what any other change of it leaves: an audit row, a version."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect

from portico.engines.sql.identifiers import quote
from portico.engines.sql.operations import Recorded, Step
from portico.engines.sqlite.companion_rows import AUDIT_TABLE, VERSIONS_TABLE, Companion
from portico.engines.sqlite.documents import whole_row
from portico.engines.sqlite.functions import register
from portico.engines.sqlite.reads import Source
from portico.engines.sqlite.storage import Stored
from portico.engines.sqlite.writes import key_columns
from portico.model.collection import Collection
from portico.model.identity import Actor
from portico.model.migration import Change
from portico.model.scope import Scope
from portico.query.ownership import belongs
from portico.query.scoped import EverythingRule

_CONTENT, _RECORD, _WHOLE, _CLIENT, _USER, _KEY = range(6)
_THERE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
_CHOSEN = "portico_chosen"


def recorded_of(change: Change, dialect: Dialect) -> Recorded | None:
    """What a change of the documents of `change.old` leaves; None where nobody asked for an audit or versions.

    `rows` gives (content, record, whole, client, user, key…) of the document whose key is bound to ``?1`` and on.
    """
    collection = change.old
    if not (collection.audit or collection.versioned):
        return None
    source = Source(collection, EverythingRule(), Scope(), safe=True, by_key=True)
    nothing: Any = sa.null()
    record = source.documents.record(collection, source.columns, masked=True) if collection.audit else nothing
    whole = source.documents.record(collection, source.columns, masked=False) if collection.versioned else nothing
    content = whole_row(collection, source.columns, source.grammar)
    keys = key_columns(source)
    whose = source.whose(belongs(collection, change.before.get))
    here = [column == sa.literal_column(f"?{at}") for at, column in enumerate(keys, 1)]
    rows = source.select(content, record, whole, *whose, *keys).where(*here)
    text = str(rows.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    columns = tuple(quote(field.column) for field in collection.fields)
    return Recorded(collection.name, collection.audit, collection.versioned, columns, text)


def keys_of(collection: Collection) -> tuple[str, ...]:
    """What tells a row from the others, as SQL names it."""
    return tuple(quote(field.column) for field in collection.key_fields) or ("rowid",)


def lacks_companions(connection: sqlite3.Connection, recorded: Recorded) -> bool:
    """Whether the database has no place for what is to be recorded."""
    needed = [*([AUDIT_TABLE] if recorded.audit else []), *([VERSIONS_TABLE] if recorded.versioned else [])]
    return any(connection.execute(_THERE, (name,)).fetchone() is None for name in needed)


def change_recorded(connection: sqlite3.Connection, step: Step, recorded: Recorded, actor: Actor) -> None:
    """Run the step's statement for each document that its condition chooses, in the transaction that is open."""
    register(connection, b"migration")
    (assignments,) = step.statements
    same = " AND ".join(f"{name} = :k{number}" for number, name in enumerate(step.key))
    kept = ", ".join(f"{name} AS k{number}" for number, name in enumerate(step.key))
    update = f"UPDATE {step.table} {assignments} WHERE {same}"  # quoted names, bound values
    parameters = cast("Mapping[str, Stored]", step.parameters)
    # The keys stand aside before anything changes: a change may make a document match, or match no more.
    connection.execute(f"DROP TABLE IF EXISTS temp.{_CHOSEN}")
    connection.execute(f"CREATE TEMP TABLE {_CHOSEN} AS SELECT {kept} FROM {step.table} WHERE {step.condition}", parameters)  # noqa: S608
    companion = Companion(connection, actor, recorded.collection, audit=recorded.audit, versioned=recorded.versioned)
    for key in connection.execute(f"SELECT * FROM temp.{_CHOSEN} ORDER BY rowid"):  # noqa: S608  # constants
        before = connection.execute(recorded.rows, key).fetchone()
        connection.execute(update, {**parameters, **{f"k{number}": value for number, value in enumerate(key)}})
        after = connection.execute(recorded.rows, key).fetchone()
        if before is None or after is None or before[_CONTENT] == after[_CONTENT]:
            continue
        whose = [now if now is not None else was for now, was in zip(after[_CLIENT:_KEY], before[_CLIENT:_KEY], strict=True)]
        companion.write("update", after[_KEY:], whose, before[_RECORD], after[_RECORD], after[_WHOLE])
    connection.execute(f"DROP TABLE temp.{_CHOSEN}")
