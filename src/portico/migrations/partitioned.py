"""Builds an index of a partitioned table beside the traffic: one that is not valid on the table alone, one on each partition, attached."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import sqlalchemy as sa

from portico.engines.sql.identifiers import quote
from portico.engines.sql.operations import PARTITIONED, Step
from portico.errors import MigrationError

_TABLE = """SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE format('"%s"."%s"', replace(n.nspname, '"', '""'), replace(c.relname, '"', '""')) = :name"""
_STATE = f"SELECT i.indisvalid FROM pg_index i WHERE i.indexrelid = ({_TABLE})"  # noqa: S608  # constants
_PARTITIONS = f"""SELECT n.nspname, c.relname, c.relkind = 'p', EXISTS (
  SELECT FROM pg_index i JOIN pg_inherits a ON a.inhrelid = i.indexrelid
  WHERE i.indrelid = c.oid AND a.inhparent = ({_TABLE.replace(":name", ":index")}))
FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE h.inhparent = ({_TABLE}) ORDER BY 1, 2"""  # noqa: S608  # constants

Run = Callable[[str], None]
"""Runs one statement."""


def build(connection: sa.Connection, step: Step, *, shortly: Run, alone: Run) -> None:
    """Build what is missing of it; what an attempt before left half-built is built anew.

    Args:
        shortly: in a transaction that waits for its locks as briefly as any. alone: outside of a transaction.
    Raises:
        MigrationError: a partition is partitioned itself.
    """
    (statement,) = step.statements
    state = connection.scalar(sa.text(_STATE), {"name": step.index})
    if state is None:
        shortly(statement)
    head, _, rest = statement.partition(f"{PARTITIONED}{step.table} ")
    unique = "UNIQUE " if head.startswith("CREATE UNIQUE ") else ""
    for part, name, attached in _partitions(connection, step):
        if attached:
            continue
        valid = connection.scalar(sa.text(_STATE), {"name": name})
        if valid is False:
            alone(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        if not valid:
            alone(f"CREATE {unique}INDEX CONCURRENTLY {name.rpartition('.')[2]} ON {part} {rest}")
        shortly(f"ALTER INDEX {step.index} ATTACH PARTITION {name}")


def remove(connection: sa.Connection, step: Step, *, shortly: Run, alone: Run) -> None:
    """Remove it, and what was built of it without being attached."""
    for _, name, attached in _partitions(connection, step):
        if not attached:
            alone(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
    shortly(f"DROP INDEX IF EXISTS {step.index}")


def _partitions(connection: sa.Connection, step: Step) -> list[tuple[str, str, bool]]:
    """Each partition, its part of the index by name, and whether that, or another that fits, is attached."""
    found: list[tuple[str, str, bool]] = []
    for schema, table, deeper, attached in connection.execute(sa.text(_PARTITIONS), {"name": step.table, "index": step.index}):
        if deeper:
            raise MigrationError(f"{table} is a partition that is partitioned itself.", hint="Write run_sql for its indexes.")
        index = str(step.index).rpartition(".")[2].strip('"')
        name = f"{index[:40]}_{zlib.crc32(f'{index} {table}'.encode()):08x}"
        found.append((f"{quote(schema)}.{quote(table)}", f"{quote(schema)}.{quote(name)}", bool(attached)))
    return found
