"""The SQL that changes, restores and records the documents of one batch on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from portico.engines.postgres.recording import NEW, OLD, alias
from portico.engines.sql.operations import Recorded, Step
from portico.errors import MigrationError
from portico.migrations.faults import unrecordable
from portico.model.identity import Actor

BATCH_ROWS = 2000
"""Rows that are changed in one transaction: some ten milliseconds of row locks; where each is recorded too, ten times that."""

_KEY, _CLIENT, _USER, _BEFORE, _AFTER, _WHOLE = range(6)
_RECORDED = 6
Told = tuple[object, ...]
"""What is told of a changed document: its key, its client and user, and its images before, after and whole, as text."""

_COUNTS = 2

_WHO = "service, client_id, user_id, correlation_id, collection, operation, document_key, document_client, document_user"
_GIVEN = """SELECT :service, :client, :user, :correlation, :collection, 'update', r.key, r.whose_client, r.whose_user"""
_FROM = """FROM unnest(
  CAST(:keys AS text[]), CAST(:clients AS text[]), CAST(:users AS text[]), CAST(:first AS text[]), CAST(:second AS text[])
) AS r (key, whose_client, whose_user, first, second)"""
_AUDIT = f"INSERT INTO portico.audit ({_WHO}, before, after) {_GIVEN}, CAST(r.first AS jsonb), CAST(r.second AS jsonb) {_FROM}"
_LAST = "SELECT max(kept.version) FROM portico.versions AS kept WHERE kept.collection = :collection AND kept.document_key = r.key"
_VERSION = f"""INSERT INTO portico.versions ({_WHO}, version, document)
{_GIVEN}, 1 + coalesce(({_LAST}), 0), CAST(r.first AS jsonb) {_FROM}"""
_THERE = """SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'portico' AND c.relname IN ('audit', 'versions')"""


def change(connection: sa.Connection, step: Step, types: Sequence[str], last: Sequence[str] | None) -> tuple[list[str], list[Told]] | None:
    """Change the next documents that match, along the key, and lock them. Gives the last key and what is to be recorded; None at the end.

    Raises:
        MigrationError: documents that were found were not changed.
    """
    names = ", ".join(step.key)
    parameters, after = dict(step.parameters), ""
    if last is not None:
        after = f"({names}) > ({', '.join(f'CAST(:k{number} AS {kind})' for number, kind in enumerate(types))}) AND "
        parameters |= {f"k{number}": value for number, value in enumerate(last)}
    columns = _columns(step)
    keys = [alias(columns.index(name)) for name in step.key]
    kept = ", ".join([*keys, *(alias(columns.index(name)) for name in step.columns)])
    saved = f", saved AS (INSERT INTO {step.saved} SELECT {kept} FROM {OLD})" if step.saved else ""  # noqa: S608
    (assignments,) = step.statements
    statement = (
        f"WITH {OLD} AS MATERIALIZED (SELECT {_named(columns)} FROM {step.table} WHERE {after}({step.condition}) "  # noqa: S608
        f"ORDER BY {names} LIMIT {BATCH_ROWS} FOR UPDATE){saved}, {_changed(step, columns, assignments)}, "
        f"met AS (SELECT (SELECT count(*) FROM {OLD}), (SELECT count(*) FROM {NEW}), {', '.join(f'{key}::text' for key in keys)} "
        f"FROM {OLD} ORDER BY {', '.join(f'{key} DESC' for key in keys)} LIMIT 1) {_answer(step)}"
    )
    rows = [tuple(row) for row in connection.execute(sa.text(statement), parameters)]
    if not rows:
        return None
    if rows[0][0] != rows[0][1]:
        raise MigrationError("Fewer rows were changed than were found: a policy or a trigger of the table keeps the others.")
    return [str(value) for value in rows[0][_COUNTS : _COUNTS + len(keys)]], _recorded(step, rows)


def restore(connection: sa.Connection, step: Step) -> list[Told] | None:
    """Set the next of the saved documents back, and forget what was saved of them. Gives what is to be recorded; None at the end."""
    columns = _columns(step)
    back = [f"portico_back_{number}" for number in range(len(step.columns))]
    taken = ", ".join([_named(columns, "held."), *(f"taken.{column} AS {name}" for column, name in zip(step.columns, back, strict=True))])
    same = " AND ".join(f"held.{name} = taken.{name}" for name in step.key)
    assignments = "SET " + ", ".join(f"{column} = {OLD}.{name}" for column, name in zip(step.columns, back, strict=True))
    statement = (
        f"WITH taken AS (DELETE FROM {step.saved} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {step.saved} LIMIT {BATCH_ROWS})) "  # noqa: S608
        f"RETURNING *), {OLD} AS MATERIALIZED (SELECT {taken} FROM {step.table} AS held JOIN taken ON {same} FOR UPDATE OF held), "
        f"{_changed(step, columns, assignments)}, met AS (SELECT count(*), (SELECT count(*) FROM {NEW}) FROM taken) {_answer(step)}"
    )
    rows = [tuple(row) for row in connection.execute(sa.text(statement))]
    return _recorded(step, rows) if rows[0][0] else None


def record(connection: sa.Connection, recorded: Recorded, actor: Actor, rows: Sequence[Told]) -> None:
    """Write what the changed documents leave. In a statement of its own, so that it sees each version that was kept before their locks."""
    if not rows:
        return
    who = {"service": actor.service, "client": actor.client_id, "user": actor.user_id, "correlation": actor.correlation_id}
    parts = {"collection": recorded.collection, "keys": _part(rows, _KEY), "clients": _part(rows, _CLIENT), "users": _part(rows, _USER)}
    if recorded.audit:
        connection.execute(sa.text(_AUDIT), who | parts | {"first": _part(rows, _BEFORE), "second": _part(rows, _AFTER)})
    if recorded.versioned:
        whole = _part(rows, _WHOLE)
        connection.execute(sa.text(_VERSION), who | parts | {"first": whole, "second": whole})


def require_companions(connection: sa.Connection, recorded: Recorded) -> None:
    """See that what is to be recorded has a place. Raises MigrationError."""
    there = set(connection.scalars(sa.text(_THERE)))
    if (recorded.audit and "audit" not in there) or (recorded.versioned and "versions" not in there):
        raise unrecordable(recorded.collection)


def _columns(step: Step) -> list[str]:
    if step.recorded is not None:
        return list(step.recorded.columns)
    return [*step.key, *(name for name in step.columns if name not in step.key)]


def _named(columns: Sequence[str], of: str = "") -> str:
    # Names that no column has, so that those of the assignments mean the table's own.
    return ", ".join(f"{of}{column} AS {alias(number)}" for number, column in enumerate(columns))


def _changed(step: Step, columns: Sequence[str], assignments: str) -> str:
    same = " AND ".join(f"changed.{name} = {OLD}.{alias(columns.index(name))}" for name in step.key)
    update = f"UPDATE {step.table} AS changed {assignments} FROM {OLD} WHERE {same}"  # quoted names, bound values
    return f"{NEW} AS ({update} RETURNING {_named(columns, 'changed.')})"


def _answer(step: Step) -> str:
    if step.recorded is None:
        return "SELECT * FROM met"
    # What looks like a parameter in it is none: it has no values but those of the rows.
    rows = step.recorded.rows.replace("\\", "\\\\").replace(":", "\\:")
    return f"SELECT met.*, recorded.* FROM met LEFT JOIN ({rows}) AS recorded ON true"  # noqa: S608  # made of quoted names


def _recorded(step: Step, rows: Sequence[Told]) -> list[Told]:
    if step.recorded is None:
        return []
    return [row[-_RECORDED:] for row in rows if row[-_RECORDED] is not None]


def _part(rows: Sequence[Told], place: int) -> list[object]:
    return [row[place] for row in rows]
