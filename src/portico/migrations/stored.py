"""Collections as the database has them now, under the names that callers know: what operations start from.

A declaration may be ahead of its table, so what it says of types, defaults and whether a field is required does not count here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sqlalchemy.engine.interfaces import Dialect

from portico.builtin.verify import plain_default
from portico.catalog.constraints import read_constraints
from portico.engines.postgres.checks import check_texts
from portico.engines.sql.operations import column_default, table_of
from portico.engines.sql.types import column_type
from portico.errors import ConfigurationError
from portico.model.collection import Collection
from portico.model.field import Base, Constraints, Field, FieldType
from portico.model.migration import Checks


def as_stored(
    collections: Iterable[Collection], tables: Iterable[Collection], dialect: Dialect, checks: Checks | None = None
) -> dict[str, Collection]:
    """The served collections by name, each field as its column is.

    Args:
        collections: as the catalog serves them. tables: as the engine reflects them.
        checks: the check constraints that the database has; None: what is declared is believed.
    """
    by_place = {(table.schema, table.table): table for table in tables}
    known = {item.name: item for item in collections}
    found: dict[str, Collection] = {}
    for name, item in known.items():
        table = by_place.get((item.schema, item.table))
        found[name] = _stored(item, table, known, dialect, checks) if table is not None and item.origin != "discovered" else item
    return found


def _stored(item: Collection, table: Collection, known: Mapping[str, Collection], dialect: Dialect, checks: Checks | None) -> Collection:
    columns = {field.column: field for field in table.fields}
    declared = table_of(item, known, dialect) if item.primary_key else None

    def stored(field: Field) -> Field:
        column = columns[field.column]
        default = field.default
        if declared is not None and field.column in declared.c:
            wanted = plain_default(column_default(declared.c[field.column], dialect))
            had = column.default.value if column.default is not None else None
            if wanted != plain_default(had if isinstance(had, str) else None):
                default = column.default
        kind = _type(field.type, column.type, dialect)
        rules = field.constraints if checks is None else _rules(field, kind, table, checks.get((table.schema, table.table), {}))
        return replace(
            field,
            type=kind,
            nullable=column.nullable,
            default=default,
            constraints=replace(rules, unique=column.constraints.unique),
            references=field.references if column.references is not None else None,
        )

    return replace(item, fields=tuple(stored(field) for field in item.fields))


def _rules(field: Field, kind: FieldType, table: Collection, known: Mapping[str, str]) -> Constraints:
    """The rules that the table's checks hold, and the pattern, which only Portico holds."""
    texts = check_texts(table.table, field.column, known)
    try:
        rules = read_constraints(tuple(texts), kind, field.name).constraints
    except ConfigurationError:
        rules = Constraints()
    if kind.base is Base.ENUM:
        rules = replace(rules, choices=field.constraints.choices)
    return replace(rules, pattern=field.constraints.pattern)


def _type(served: FieldType, column: FieldType, dialect: Dialect) -> FieldType:
    """What is declared, where the column is what that would be stored as."""
    declared = served if served.base is Base.NATIVE else replace(served, native=None)
    return declared if type_text(declared, dialect) == type_text(column, dialect) else column


def type_text(kind: FieldType, dialect: Dialect) -> str:
    """A type as its DDL, in one form for those that are stored alike."""
    text = str(column_type(kind).compile(dialect=dialect)).replace(' COLLATE "C"', "").replace(", ", ",").lower()
    # SQLite's integers have 64 bits whatever they are called.
    return "integer" if dialect.name == "sqlite" and text == "bigint" else text
