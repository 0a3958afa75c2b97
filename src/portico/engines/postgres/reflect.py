"""Reads the tables and views of PostgreSQL's schemas as discovered collections, by a few queries of its system catalogs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import asyncpg

from portico.engines.postgres.reflect_types import field_type
from portico.model.collection import Collection, Index, IndexField, Relation
from portico.model.field import Cascade, Constraints, Default, Field, Reference

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    # Generic in the stubs only.
    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]

# Partitions belong to their parent, and an extension's tables to the extension.
_SERVED = """
  n.nspname = ANY ($1::text[]) AND n.nspname <> 'portico' AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')"""

_TABLES = f"""
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind IN ('v', 'm') AS is_view,
       EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgtype & 6 = 6) AS intercepted
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE {_SERVED} AND has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT')
ORDER BY array_position($1::text[], n.nspname::text), c.relname"""  # noqa: S608  # text of this module

# A domain is followed to its base type, so that a domain over text is compared and rendered as text.
# What a migration builds beside a column, to take its place, is nobody's field.
_COLUMNS = """
WITH RECURSIVE base (oid, type, depth) AS (
  SELECT t.oid, t.oid, 0 FROM pg_type t WHERE t.oid IN (SELECT atttypid FROM pg_attribute WHERE attrelid = ANY ($1::oid[]) AND attnum > 0)
  UNION ALL
  SELECT b.oid, t.typbasetype, b.depth + 1 FROM base b JOIN pg_type t ON t.oid = b.type WHERE t.typtype = 'd'
), resolved AS (SELECT DISTINCT ON (oid) oid, type, depth FROM base ORDER BY oid, depth DESC)
SELECT a.attrelid AS table, a.attnum AS number, a.attname AS name, a.attnotnull OR d.typnotnull AS required, a.attidentity AS identity,
       a.attgenerated <> '' AS computed, pg_get_expr(f.adbin, f.adrelid) AS default,
       CASE WHEN a.attidentity <> '' THEN pg_get_serial_sequence(a.attrelid::regclass::text, a.attname) END AS sequence,
       a.attidentity <> '' AND has_sequence_privilege(pg_get_serial_sequence(a.attrelid::regclass::text, a.attname), 'USAGE') AS may_count,
       format_type(a.atttypid, a.atttypmod) AS declared, r.depth > 0 AS is_domain,
       t.typname AS type, t.typtype = 'e' AS is_enum, t.typcategory = 'A' AND t.typelem <> 0 AS is_array, a.attndims > 1 AS is_nested,
       CASE WHEN r.depth > 0 THEN d.typtypmod ELSE a.atttypmod END AS modifier,
       e.typname AS element, e.typtype = 'e' AS element_is_enum,
       format_type(e.oid, CASE WHEN r.depth > 0 THEN d.typtypmod ELSE a.atttypmod END) AS element_declared,
       (SELECT array_agg(v.enumlabel::text ORDER BY v.enumsortorder) FROM pg_enum v WHERE v.enumtypid IN (t.oid, e.oid)) AS labels
FROM pg_attribute a
JOIN pg_type d ON d.oid = a.atttypid
JOIN resolved r ON r.oid = a.atttypid
JOIN pg_type t ON t.oid = r.type
LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped AND NOT starts_with(a.attname, 'portico_new_')
  AND has_column_privilege(a.attrelid, a.attnum, 'SELECT')
ORDER BY a.attrelid, a.attnum"""

_CONSTRAINTS = """
SELECT c.conrelid AS table, c.conname AS name, c.contype::text AS kind, c.conkey AS columns,
       c.confrelid AS target, c.confkey AS target_columns, c.confdeltype::text AS on_delete
FROM pg_constraint c
WHERE c.conrelid = ANY ($1::oid[]) AND c.contype IN ('p', 'u', 'f') AND c.conparentid = 0
ORDER BY c.conrelid, c.conname"""

# Indexes over expressions, and partial ones, serve questions that the model cannot describe.
_INDEXES = """
SELECT i.indrelid AS table, c.relname AS name, m.amname AS kind, i.indisunique AS unique,
       (i.indkey::int2[])[0:i.indnkeyatts - 1] AS columns, (i.indoption::int2[])[0:i.indnkeyatts - 1] AS options
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
WHERE i.indrelid = ANY ($1::oid[]) AND i.indisvalid AND NOT i.indisprimary AND i.indpred IS NULL AND NOT 0 = ANY (i.indkey)
ORDER BY i.indrelid, c.relname"""

# A row version's xmin changes with every change of the row, and summing hashes needs no sort.
_FINGERPRINT = """
WITH served AS (SELECT c.oid, c.relname, c.relnamespace, c.relkind, c.relacl FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = ANY ($1::text[]) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')),
parts (part) AS (
  SELECT concat('t', oid, relname, relnamespace, relkind, relacl::text) FROM served
  UNION ALL SELECT concat('a', attrelid, ',', attnum, ',', a.xmin) FROM pg_attribute a JOIN served s ON s.oid = attrelid WHERE attnum > 0
  UNION ALL SELECT concat('d', d.oid, ',', d.xmin) FROM pg_attrdef d JOIN served s ON s.oid = adrelid
  UNION ALL SELECT concat('c', c.oid, ',', c.xmin) FROM pg_constraint c JOIN served s ON s.oid = conrelid
  UNION ALL SELECT concat('i', indexrelid, ',', i.xmin, indisvalid) FROM pg_index i JOIN served s ON s.oid = indrelid
  UNION ALL SELECT concat('p', p.oid, ',', p.xmin) FROM pg_policy p JOIN served s ON s.oid = polrelid
  UNION ALL SELECT concat('g', t.oid, ',', t.xmin) FROM pg_trigger t JOIN served s ON s.oid = tgrelid WHERE NOT tgisinternal
  UNION ALL SELECT concat('e', e.oid, ',', e.xmin) FROM pg_enum e
)
SELECT concat(count(*), ':', sum(hashtextextended(part, 0))) FROM parts"""

_ON_DELETE: dict[str, Cascade] = {"c": "cascade", "n": "set_null"}


async def fingerprint(connection: Connection, schemas: Sequence[str]) -> str:
    """A short text that changes when a table, column, key, index, policy, trigger or enumeration of `schemas` does."""
    return str(await connection.fetchval(_FINGERPRINT, list(schemas)))


async def reflect(connection: Connection, schemas: Sequence[str], database: str) -> tuple[Collection, ...]:
    """The tables and views of `schemas` that the current role may read, in the order of the schemas.

    Each is named ``schema.table`` and its foreign keys are relations named by their constraint; the catalog gives the final names.
    A key's `Default` of kind `database` holds the database's own expression, so that a create can evaluate it first.
    """
    tables = await connection.fetch(_TABLES, list(schemas))
    oids = [row["oid"] for row in tables]
    columns = _grouped(await connection.fetch(_COLUMNS, oids))
    constraints = _grouped(await connection.fetch(_CONSTRAINTS, oids))
    indexes = _grouped(await connection.fetch(_INDEXES, oids))
    names = {row["oid"]: f"{row['schema']}.{row['name']}" for row in tables}
    numbers = {oid: {row["number"]: str(row["name"]) for row in columns[oid]} for oid in oids}
    return tuple(
        _collection(row, names[row["oid"]], database, columns[row["oid"]], constraints[row["oid"]], indexes[row["oid"]], numbers, names)
        for row in tables
    )


def _grouped(rows: Sequence[asyncpg.Record]) -> dict[int, list[asyncpg.Record]]:
    found: dict[int, list[asyncpg.Record]] = defaultdict(list)
    for row in rows:
        found[row["table"]].append(row)
    return found


def _collection(
    table: asyncpg.Record,
    name: str,
    database: str,
    columns: list[asyncpg.Record],
    constraints: list[asyncpg.Record],
    indexes: list[asyncpg.Record],
    numbers: dict[int, dict[int, str]],
    names: dict[int, str],
) -> Collection:
    own = numbers[table["oid"]]
    # A constraint over a column that the role may not read is left out with that column.
    readable = [row for row in constraints if all(number in own for number in row["columns"])]
    key = next((tuple(own[number] for number in row["columns"]) for row in readable if row["kind"] == "p"), ())
    unique = {own[row["columns"][0]] for row in readable if row["kind"] == "u" and len(row["columns"]) == 1}
    foreign = [row for row in readable if row["kind"] == "f" and row["target"] in names]
    foreign = [row for row in foreign if all(number in numbers[row["target"]] for number in row["target_columns"])]
    references = {
        own[row["columns"][0]]: Reference(
            names[row["target"]], numbers[row["target"]][row["target_columns"][0]], _ON_DELETE.get(row["on_delete"], "restrict")
        )
        for row in foreign
        if len(row["columns"]) == 1
    }
    fields = [_field(row, unique=row["name"] in unique, reference=references.get(row["name"])) for row in columns]
    relations = [
        Relation(
            row["name"],
            names[row["target"]],
            tuple(own[number] for number in row["columns"]),
            tuple(numbers[row["target"]][number] for number in row["target_columns"]),
            many=False,
            constraint=row["name"],
            on_delete=_ON_DELETE.get(row["on_delete"], "restrict"),
        )
        for row in foreign
    ]
    return Collection(
        name=name,
        database=database,
        table=table["name"],
        schema=table["schema"],
        fields=tuple(replace(field, nullable=False) if field.name in key else field for field in fields),
        primary_key=key,
        kind="view" if table["is_view"] else "table",
        origin="discovered",
        indexes=tuple(_index(row, own) for row in indexes if all(number in own for number in row["columns"])),
        relations=tuple(relations),
        insertable_jointly=not table["intercepted"] and not table["is_view"],
    )


def _field(row: asyncpg.Record, *, unique: bool, reference: Reference | None) -> Field:
    default: Default | None = None
    if row["computed"]:
        default = None
    elif row["sequence"] is not None and not row["may_count"]:
        # An insert counts an identity up by itself, whoever asks; to ask for the number first needs a right to the sequence.
        default = Default("database")
    elif row["sequence"] is not None:
        default = Default("database", "nextval('" + row["sequence"].replace("'", "''") + "'::regclass)")
    elif row["default"] is not None:
        default = Default("database", row["default"])
    return Field(
        name=row["name"],
        type=field_type(dict(row)),
        nullable=not row["required"],
        default=default,
        constraints=Constraints(unique=unique),
        references=reference,
        generated=row["computed"] or row["identity"] == b"a",
    )


def _index(row: asyncpg.Record, names: dict[int, str]) -> Index:
    parts = tuple(
        IndexField(names[number], descending=bool(option & 1)) for number, option in zip(row["columns"], row["options"], strict=True)
    )
    return Index(row["name"], parts, unique=row["unique"], kind=row["kind"])
