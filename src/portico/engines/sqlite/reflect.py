"""Reads the tables and views of an SQLite file as discovered collections, from its pragmas."""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from portico.engines.sql.types import SCALED_DECIMAL, SQLITE_NAMES
from portico.model.collection import Collection, Index, IndexField, Relation
from portico.model.companions import SQLITE_PREFIX
from portico.model.field import Base, Cascade, Constraints, Default, Field, FieldType, Reference

_TYPE = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_ ]*?)\s*(?:\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?\s*")
_ARRAY_NAME = re.compile(r"([A-Z]+)_ARRAY_TEXT")
_INTERCEPTED = re.compile(r"\b(BEFORE|INSTEAD\s+OF)\s+INSERT\b", re.IGNORECASE)
_ON_DELETE: dict[str, Cascade] = {"CASCADE": "cascade", "SET NULL": "set_null"}
_OWN = {name: base for base, name in SQLITE_NAMES.items() if base not in (Base.ENUM, Base.INTEGER, Base.BIGINT)}
_FOREIGN = {
    "DATETIME": Base.DATETIME,
    "TIMESTAMP": Base.DATETIME,
    "TIMESTAMPTZ": Base.DATETIME,
    "UUID": Base.UUID,
    "GUID": Base.UUID,
    "JSON": Base.JSON,
    "BOOL": Base.BOOLEAN,
    "DECIMAL": Base.DECIMAL,
    "NUMERIC": Base.DECIMAL,
}
"""Names that other programs use: what is stored there may have another form than Portico's."""


def fingerprint(connection: sqlite3.Connection) -> str:
    """A short text that changes with the schema: SQLite's own counter of schema changes."""
    ((version,),) = connection.execute("PRAGMA schema_version")
    return str(version)


def reflect(connection: sqlite3.Connection, database: str) -> tuple[Collection, ...]:
    """The tables and views of the main file, by name, without SQLite's and Portico's own and without virtual tables and their shadows.

    Foreign keys are relations named ``fk_table_columns``, because SQLite does not tell their names.
    """
    tables = connection.execute(
        "SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'view') ORDER BY name"
    ).fetchall()
    served = [_read(connection, name, kind, bool(wr)) for name, kind, wr in tables if not _is_internal(name)]
    known = {table.name.lower(): table for table in served}
    return tuple(_collection(table, known, database) for table in served)


def _is_internal(name: str) -> bool:
    return name.lower().startswith(("sqlite_", SQLITE_PREFIX))


@dataclass(frozen=True, slots=True)
class _ForeignKey:
    target: str
    local: tuple[str, ...]
    foreign: tuple[str, ...]
    on_delete: Cascade


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    is_view: bool
    fields: tuple[Field, ...]
    key: tuple[str, ...]
    indexes: tuple[Index, ...]
    foreign_keys: tuple[_ForeignKey, ...]
    intercepted: bool


def _read(connection: sqlite3.Connection, name: str, kind: str, without_rowid: bool) -> _Table:
    columns = connection.execute('SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?)', (name,)).fetchall()
    ordered = sorted((row for row in columns if row[4]), key=lambda row: int(row[4]))
    key = tuple(str(row[0]) for row in ordered)
    # A lone key column declared INTEGER is the row's id, which SQLite counts up by itself.
    counted = len(ordered) == 1 and str(ordered[0][1]).upper() == "INTEGER" and not without_rowid
    fields = [_field(row, key, counted=counted) for row in columns if row[5] != 1]
    indexes = _indexes(connection, name)
    unique = {index.fields[0].name for index in indexes if index.unique and len(index.fields) == 1}
    triggers = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?", (name,)).fetchall()
    return _Table(
        name=name,
        is_view=kind == "view",
        fields=tuple(replace(field, constraints=Constraints(unique=True)) if field.name in unique else field for field in fields),
        key=key,
        indexes=indexes,
        foreign_keys=_foreign_keys(connection, name),
        intercepted=any(_INTERCEPTED.search(sql) for (sql,) in triggers),
    )


def _field(row: Sequence[object], key: tuple[str, ...], *, counted: bool) -> Field:
    name, declared, required, default, _, hidden = row
    in_key = name in key
    made: Default | None = None
    if in_key and counted:
        made = Default("database")
    elif default is not None and hidden == 0:
        made = Default("database", str(default))
    return Field(
        name=str(name), type=field_type(str(declared)), nullable=not (required or in_key), default=made, generated=hidden in (2, 3)
    )


def field_type(declared: str) -> FieldType:
    """The field type of a declared column type: by its name, else by SQLite's rules of affinity.

    A type that another program writes in its own way (``DATETIME``, ``NUMERIC(5,2)``) has its declared name as `native`. What may hold
    anything, such as a column without a type, is `NATIVE` and travels as text.
    """
    match = _TYPE.fullmatch(declared)
    name = match[1].upper() if match is not None else ""
    first, second = (int(part) if part is not None else None for part in (match[2], match[3])) if match is not None else (None, None)
    array = _ARRAY_NAME.fullmatch(name)
    if array is not None and array[1].lower() in Base._value2member_map_:
        return FieldType(Base(array[1].lower()), array=True)
    if name == SCALED_DECIMAL:
        return FieldType(Base.DECIMAL, precision=first, scale=second or 0)
    if name in _OWN:
        return FieldType(_OWN[name])
    if name in _FOREIGN:
        base = _FOREIGN[name]
        digits = (first, second or 0) if base is Base.DECIMAL and first is not None else (None, None)
        return FieldType(base, precision=digits[0], scale=digits[1], native=declared)
    return _by_affinity(name, first, declared)


def _by_affinity(name: str, length: int | None, declared: str) -> FieldType:
    if "INT" in name:
        # Whatever its name says, it holds 64 bits.
        return FieldType(Base.BIGINT)
    if "CHAR" in name:
        return FieldType(Base.STRING, length=length)
    if "TEXT" in name or "CLOB" in name:
        return FieldType(Base.TEXT)
    if name == "BLOB":
        return FieldType(Base.BINARY)
    if any(part in name for part in ("REAL", "FLOA", "DOUB")):
        return FieldType(Base.FLOAT)
    return FieldType(Base.NATIVE, native=declared or "ANY")


def _indexes(connection: sqlite3.Connection, table: str) -> tuple[Index, ...]:
    """Indexes over plain columns; partial ones, and those over expressions, serve questions that the model cannot describe."""
    found: list[Index] = []
    for name, unique, origin, partial in connection.execute(
        'SELECT name, "unique", origin, partial FROM pragma_index_list(?) ORDER BY name', (table,)
    ).fetchall():
        parts = connection.execute("SELECT name, desc FROM pragma_index_xinfo(?) WHERE key ORDER BY seqno", (name,)).fetchall()
        if origin != "pk" and not partial and all(column is not None for column, _ in parts):
            found.append(Index(name, tuple(IndexField(column, bool(descending)) for column, descending in parts), unique=bool(unique)))
    return tuple(found)


def _foreign_keys(connection: sqlite3.Connection, table: str) -> tuple[_ForeignKey, ...]:
    rows = connection.execute('SELECT id, "table", "from", "to", on_delete FROM pragma_foreign_key_list(?) ORDER BY id, seq', (table,))
    grouped: dict[int, list[Sequence[object]]] = defaultdict(list)
    for row in rows.fetchall():
        grouped[row[0]].append(row)
    return tuple(
        _ForeignKey(
            target=str(parts[0][1]),
            local=tuple(str(part[2]) for part in parts),
            # Without columns it refers to the key.
            foreign=tuple(str(part[3]) for part in parts if part[3] is not None),
            on_delete=_ON_DELETE.get(str(parts[0][4]), "restrict"),
        )
        for parts in grouped.values()
    )


def _collection(table: _Table, known: dict[str, _Table], database: str) -> Collection:
    relations: list[Relation] = []
    references: dict[str, Reference] = {}
    own = {field.name.lower(): field.name for field in table.fields}
    for key in table.foreign_keys:
        target = known.get(key.target.lower())
        if target is None:
            continue
        theirs = {field.name.lower(): field.name for field in target.fields}
        local = tuple(own[name.lower()] for name in key.local if name.lower() in own)
        foreign = tuple(theirs[name.lower()] for name in key.foreign if name.lower() in theirs) or target.key
        if not local or len(local) != len(foreign):
            continue
        name = f"fk_{table.name}_{'_'.join(local)}"
        relations.append(Relation(name, target.name, local, foreign, many=False, constraint=name, on_delete=key.on_delete))
        if len(local) == 1:
            references[local[0]] = Reference(target.name, foreign[0], key.on_delete)
    return Collection(
        name=table.name,
        database=database,
        table=table.name,
        fields=tuple(replace(field, references=references.get(field.name)) for field in table.fields),
        primary_key=table.key,
        kind="view" if table.is_view else "table",
        origin="discovered",
        indexes=table.indexes,
        relations=tuple(relations),
        insertable_jointly=not table.intercepted and not table.is_view,
    )
