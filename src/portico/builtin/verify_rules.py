"""What a table says besides its columns, keys and indexes: its check constraints, and how its texts are ordered."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.engine.interfaces import Dialect

from portico.engines.sql.checks import check_text, essence
from portico.engines.sql.identifiers import quote

# Where parameters are named, a percent sign is a percent sign in what is compiled.
DIALECTS: Mapping[str, Dialect] = {
    "postgresql": PGDialect(paramstyle="named"),  # type: ignore[no-untyped-call]
    "sqlite": SQLiteDialect(paramstyle="named"),
}
"""The dialects that expected SQL is compiled for."""

_COLLATIONS = sa.text("""
SELECT a.attname, k.collname FROM pg_attribute a JOIN pg_collation k ON k.oid = a.attcollation
JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = :schema AND c.relname = :table AND a.attnum > 0 AND NOT a.attisdropped""")
_CHECKS = sa.text("""
SELECT k.conname, pg_get_constraintdef(k.oid) FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'c' AND n.nspname = :schema AND c.relname = :table""")
_COMPARES = frozenset({"Lt", "Le", "Gt", "Ge"})
_COLLATED = re.compile(r'COLLATE "(\w+)"')

Found = tuple[str, str, str]
"""A difference: its kind, where it is, and a sentence."""


def rule_differences(connection: sa.Connection, table: sa.Table) -> Iterator[Found]:
    """Each check that is missing, other than declared, or left over, and each column that is ordered by another collation."""
    yield from _checks(connection, table)
    yield from _collations(connection, table)


def _checks(connection: sa.Connection, table: sa.Table) -> Iterator[Found]:
    dialect = DIALECTS[connection.dialect.name]
    wanted = {str(item.name): check_text(item, dialect) for item in table.constraints if isinstance(item, sa.CheckConstraint)}
    actual = _actual_checks(connection, table)
    for name in sorted(wanted.keys() | actual.keys()):
        where = f"{table.fullname}.{name}"
        if name not in actual:
            yield "missing_check", where, f"the check {name} on {table.fullname} is missing"
        elif name not in wanted:
            yield "extra_check", where, f"the check {name} on {table.fullname} is not declared"
        elif essence(wanted[name]) != essence(actual[name]):
            yield "wrong_check", where, f"the check {name} on {table.fullname} is another than the declared one"


def _actual_checks(connection: sa.Connection, table: sa.Table) -> dict[str, str]:
    if connection.dialect.name == "postgresql":
        rows = connection.execute(_CHECKS, {"schema": table.schema, "table": table.name})
        return {str(name): str(text) for name, text in rows}
    found = sa.inspect(connection).get_check_constraints(table.name)
    return {str(item["name"]): f"CHECK ({item['sqltext']})" for item in found if item["name"] is not None}


def _collations(connection: sa.Connection, table: sa.Table) -> Iterator[Found]:
    dialect = connection.dialect.name
    actual = _of_postgresql(connection, table) if dialect == "postgresql" else _of_sqlite(connection, table)
    plain = "default" if dialect == "postgresql" else "BINARY"
    for column in table.columns:
        if column.name not in actual:
            continue
        text = _COLLATED.search(str(column.type.compile(dialect=DIALECTS[dialect])))
        wanted, has = text[1] if text else plain, actual[column.name]
        if wanted != has:
            where = f"{table.fullname}.{column.name}"
            yield "wrong_collation", where, f"the column {where} is ordered by the collation {has}, not {wanted}"


def _of_postgresql(connection: sa.Connection, table: sa.Table) -> dict[str, str]:
    rows = connection.execute(_COLLATIONS, {"schema": table.schema, "table": table.name})
    return {str(name): str(collation) for name, collation in rows}


def _of_sqlite(connection: sa.Connection, table: sa.Table) -> dict[str, str]:
    """SQLite has no catalog of collations, but shows by which one it would compare a column."""
    there = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
    found: dict[str, str] = {}
    for column in table.columns:
        if column.name not in there:
            continue
        # With the sign it is no index's order that is used.
        compared = f"EXPLAIN SELECT +{quote(column.name)} < '' FROM {quote(table.name)}"  # noqa: S608  # quoted names
        for step in connection.exec_driver_sql(compared):
            if step.opcode in _COMPARES and step.p4:
                found[column.name] = str(step.p4).rpartition("-")[0].upper()
    return found
