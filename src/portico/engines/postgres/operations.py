"""What each operation of a migration is on PostgreSQL: short transactions, indexes built concurrently, batches, changes in two halves."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import cast

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.schema import CreateIndex

from portico.engines.postgres.alterations import (
    constraint_kinds,
    constraint_steps,
    default_text,
    index_step,
    not_null_steps,
    qualified,
    type_steps,
)
from portico.engines.postgres.recording import recorded_of
from portico.engines.sql.identifiers import APP_SCHEMA, quote
from portico.engines.sql.operations import PARTITIONED, UNRECORDED, Operations, Step, column_text, compiled, create_statements, table_of
from portico.engines.sql.partitions import create_partitions, is_partitioned
from portico.engines.sql.policies import POLICY, disable_policy, enable_policy, mark_policy
from portico.engines.sql.updates import update_parts
from portico.errors import MigrationError
from portico.model import migration as m
from portico.model.collection import Collection
from portico.model.field import Field
from portico.model.migration import Change

DIALECT = cast("Dialect", PGDialect(paramstyle="named"))  # type: ignore[no-untyped-call]
OPERATIONS = Operations(DIALECT)
"""The operations as PostgreSQL carries them out."""

_MOST_REBUILT_ROWS = 10_000


@OPERATIONS.register(m.CreateCollection)
def _create(operation: m.CreateCollection, change: Change) -> Iterator[Step]:
    collection = operation.collection
    statements = [
        *create_statements(table_of(collection, change.before, DIALECT), DIALECT),
        *create_partitions(collection),
        *enable_policy(collection, change.after),
        _grants(collection),
    ]
    yield Step(f"create {collection.name}", tuple(statements), undo=(f"DROP TABLE IF EXISTS {qualified(collection)}",))


def _grants(collection: Collection) -> str:
    """Let the application change rows and the backup read them, where those roles exist; sequences of keys as well."""
    table = qualified(collection)
    literal = table.replace("'", "''")
    grants = []
    for role, rows, sequences in (("appuser", "SELECT, INSERT, UPDATE, DELETE", "USAGE, SELECT"), ("backupuser", "SELECT", "SELECT")):
        counted = "".join(
            f" IF pg_get_serial_sequence('{literal}', '{field.column}') IS NOT NULL THEN EXECUTE "
            f"'GRANT {sequences} ON SEQUENCE ' || pg_get_serial_sequence('{literal}', '{field.column}') || ' TO {role}'; END IF;"
            for field in collection.key_fields
        )
        grants.append(
            f"IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN "  # constants and quoted names
            f"GRANT USAGE ON SCHEMA {quote(collection.schema or APP_SCHEMA)} TO {role}; GRANT {rows} ON {table} TO {role};{counted} END IF;"
        )
    return f"DO $grants$ BEGIN {' '.join(grants)} END $grants$"


@OPERATIONS.register(m.DropCollection)
def _drop(operation: m.DropCollection, change: Change) -> Iterator[Step]:
    table = qualified(change.before[operation.name])
    yield Step(f"drop {operation.name}", (f"DROP TABLE {table}",), undo=None, table=table)


@OPERATIONS.register(m.AddField)
def _add_field(operation: m.AddField, change: Change) -> Iterator[Step]:
    collection, field = change.new, operation.field
    table, column = qualified(collection), quote(field.column)
    made = table_of(collection, change.after, DIALECT)
    title = f"add {collection.name}.{field.name}"
    undo = (f"ALTER TABLE {table} DROP COLUMN IF EXISTS {column}",)
    each = field.default is not None and field.default.kind == "uuid7"
    if collection.name in change.fresh or (not each and (field.nullable or field.default is not None)):
        # A constant default is kept beside the table by PostgreSQL: no row is written.
        text = column_text(made.c[field.column], DIALECT)
        yield Step(title, (f"ALTER TABLE {table} ADD COLUMN {text}",), undo=undo, table=table)
    else:
        yield from _add_filled(collection, field, made, title, undo, each=each)
    yield from constraint_steps(collection, field, made, fresh=collection.name in change.fresh)


def _add_filled(collection: Collection, field: Field, made: sa.Table, title: str, undo: tuple[str, ...], *, each: bool) -> Iterator[Step]:
    table, column = qualified(collection), quote(field.column)
    empty = sa.Column(field.column, made.c[field.column].type)
    statements = [f"ALTER TABLE {table} ADD COLUMN {column_text(empty, DIALECT)}"]
    default = default_text(made, field)
    if default is not None:
        statements.append(f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT {default}")
    yield Step(title, tuple(statements), undo=undo, table=table)
    if each and default is not None:
        yield Step(
            f"fill {collection.name}.{field.name}",
            (f"SET {column} = {default}",),
            kind="batches",
            table=table,
            key=tuple(quote(item.column) for item in collection.key_fields),
            condition=f"{column} IS NULL",
        )
    if not field.nullable:
        yield from not_null_steps(collection, field)


@OPERATIONS.register(m.DropField)
def _drop_field(operation: m.DropField, change: Change) -> Iterator[Step]:
    table = qualified(change.old)
    column = quote(change.old.by_name[operation.name].column)
    title = f"drop {operation.collection}.{operation.name}"
    yield Step(title, (f"ALTER TABLE {table} DROP COLUMN {column}",), undo=None, table=table)


@OPERATIONS.register(m.AlterField)
def _alter_field(operation: m.AlterField, change: Change) -> Iterator[Step]:
    old, new = change.old.by_name[operation.field.name], change.new.by_name[operation.field.name]
    return type_steps(change, old, new)


@OPERATIONS.register(m.RenameField)
def _rename(operation: m.RenameField, change: Change) -> Iterator[Step]:
    table = qualified(change.old)
    field, old, new = change.new.by_name[operation.to], change.old.by_name[operation.name].column, operation.to
    title = f"rename {operation.collection}.{operation.name} to {operation.to}"
    there, back = (tuple(_renaming(change.old, field, *names)) for names in ((old, new), (new, old)))
    if change.old.security != change.new.security:
        # The policy follows its column by itself, what is told of it does not.
        there, back = (*there, _marked(change.new)), (*back, _marked(change.old))
    yield Step(title, there, undo=back, table=table)


def _marked(collection: Collection) -> str:
    table = qualified(collection).replace("'", "''")
    found = f"SELECT FROM pg_policy WHERE polname = '{POLICY}' AND polrelid = '{table}'::regclass"  # a quoted name
    return f"DO $mark$ BEGIN IF EXISTS ({found}) THEN {mark_policy(collection)}; END IF; END $mark$"


def _renaming(collection: Collection, field: Field, old: str, new: str) -> Iterator[str]:
    table = qualified(collection)
    yield f"ALTER TABLE {table} RENAME COLUMN {quote(old)} TO {quote(new)}"
    # Constraints are found by the names that the column gave them; tables of others name theirs otherwise.
    kinds = [f"ck_{{}}_{{}}_{kind}" for kind in constraint_kinds(field)] + (["fk_{}_{}"] if field.references else [])
    for kind in kinds + (["uq_{}_{}"] if field.constraints.unique else []):
        before, after = kind.format(collection.table, old), kind.format(collection.table, new)
        regclass, name = table.replace("'", "''"), before.replace("'", "''")
        yield (
            f"DO $rename$ BEGIN IF EXISTS (SELECT FROM pg_constraint WHERE conrelid = '{regclass}'::regclass AND conname = '{name}') "
            f"THEN ALTER TABLE {table} RENAME CONSTRAINT {quote(before)} TO {quote(after)}; END IF; END $rename$"
        )


@OPERATIONS.register(m.AddIndex)
def _add_index(operation: m.AddIndex, change: Change) -> Iterator[Step]:
    made = table_of(change.new, change.after, DIALECT)
    index = next(item for item in made.indexes if item.name == operation.index.name)
    table = qualified(change.new)
    name = f"{quote(change.new.schema or APP_SCHEMA)}.{quote(operation.index.name)}"
    dropped = f"DROP INDEX IF EXISTS {name}"
    text, title = compiled(CreateIndex(index), DIALECT), f"index {operation.index.name}"
    if operation.collection in change.fresh:
        yield Step(title, (text,), undo=(dropped,), table=table)
        return
    if is_partitioned(change.new, DIALECT.name):
        # A partitioned table cannot have an index built concurrently, its partitions can.
        head, _, rest = text.partition(f" ON {DIALECT.identifier_preparer.format_table(made)} ")
        yield Step(title, (f"{head}{PARTITIONED}{table} {rest}",), kind="index", undo=(dropped,), table=table, index=name)
        return
    yield index_step(change.new, index)


@OPERATIONS.register(m.DropIndex)
def _drop_index(operation: m.DropIndex, change: Change) -> Iterator[Step]:
    name = f"{quote(change.old.schema or APP_SCHEMA)}.{quote(operation.name)}"
    made = table_of(change.old, change.before, DIALECT)
    index = next((item for item in made.indexes if item.name == operation.name), None)
    undo: tuple[str, ...] | None = None
    if index is not None:
        split = is_partitioned(change.old, DIALECT.name)
        undo = (compiled(CreateIndex(index), DIALECT),) if split else index_step(change.old, index).statements
    yield Step(f"drop index {operation.name}", (f"DROP INDEX {name}",), undo=undo, table=qualified(change.old))


@OPERATIONS.register(m.AddRelation)
def _add_relation(operation: m.AddRelation, change: Change) -> Iterable[Step]:
    (name, *_), old = operation.relation.local, change.old
    field = change.new.by_name[name]
    if field.references is None or old.by_name[name].references is not None:
        return ()
    made = table_of(change.new, change.after, DIALECT)
    referring = replace(field, constraints=type(field.constraints)())
    return constraint_steps(change.new, referring, made, fresh=operation.collection in change.fresh)


@OPERATIONS.register(m.DropRelation)
def _drop_relation(operation: m.DropRelation, change: Change) -> Iterator[Step]:
    table = qualified(change.old)
    for field in change.old.fields:
        if field.references is not None and change.new.by_name[field.name].references is None:
            dropped = f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {quote(f'fk_{change.old.table}_{field.column}')}"
            yield Step(f"drop relation {operation.name}", (dropped,), undo=None, table=table, final=True)


@OPERATIONS.register(m.SetSecurity)
def _set_security(operation: m.SetSecurity, change: Change) -> Iterator[Step]:
    def guard(collection: Collection, known: Change) -> tuple[str, ...]:
        among = known.after if collection is known.new else known.before
        return tuple(disable_policy(collection) if collection.security.access_control == "shared" else enable_policy(collection, among))

    title = f"security of {operation.collection}"
    yield Step(title, guard(change.new, change), undo=guard(change.old, change), table=qualified(change.new))


@OPERATIONS.register(m.SetPartitioning)
def _set_partitioning(operation: m.SetPartitioning, change: Change) -> Iterator[Step]:
    old, new = change.old, change.new
    if any(field.references and field.references.collection == old.name for other in change.before.values() for field in other.fields):
        raise MigrationError(f"{old.name} is referred to by others, so its table cannot be replaced by a partitioned one.")
    table, moved = qualified(old), quote(f"{old.table}_before")
    schema = quote(old.schema or APP_SCHEMA)
    columns = ", ".join(quote(field.column) for field in old.fields if not field.generated)
    made = table_of(new, change.after, DIALECT)
    names = [str(index.name) for index in made.indexes]
    constraints = [str(item.name) for item in made.constraints if item.name]
    statements = [
        _at_most(table),
        f"ALTER TABLE {table} RENAME TO {moved}",
        # The old table's indexes and constraints go with it: the new one takes their names.
        *(f"ALTER INDEX IF EXISTS {schema}.{quote(name)} RENAME TO {quote(name + '_before')}" for name in names),
        *(f"ALTER TABLE {schema}.{moved} DROP CONSTRAINT IF EXISTS {quote(name)} CASCADE" for name in constraints),
        *create_statements(made, DIALECT),
        *create_partitions(new),
        *enable_policy(new, change.after),
        _grants(new),
        f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {schema}.{moved}",  # noqa: S608  # quoted names
        f"DROP TABLE {schema}.{moved}",
    ]
    yield Step(f"partition {operation.collection}", tuple(statements), undo=None, table=table)


def _at_most(table: str) -> str:
    counted = f"SELECT count(*) FROM (SELECT FROM {table} LIMIT {_MOST_REBUILT_ROWS + 1}) AS rows"  # noqa: S608  # quoted names
    condition = f"({counted}) > {_MOST_REBUILT_ROWS}"
    return f"DO $rows$ BEGIN IF {condition} THEN RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded'; END IF; END $rows$"


@OPERATIONS.register(m.UpdateData)
def _update(operation: m.UpdateData, change: Change) -> Iterator[Step]:
    assignments, condition, parameters = update_parts(change.old, operation, DIALECT)
    key = tuple(quote(item.column) for item in change.old.key_fields)
    if not key:
        raise MigrationError(f"{operation.collection} has no primary key, so its documents cannot be changed batch by batch.")
    table, title, recorded = qualified(change.old), f"update {operation.collection}", recorded_of(change, DIALECT)
    if all(f"{operation.collection}.{name}" in change.fresh for name in operation.values):
        # Fields that the same migration added go as a whole if it fails.
        yield Step(
            title, (f"SET {assignments}",), kind="batches", table=table, key=key, condition=condition, parameters=parameters,
            recorded=recorded,
        )  # fmt: skip
        return
    columns = tuple(quote(change.old.by_name[name].column) for name in operation.values)
    # One migration may change a collection several times.
    mark = zlib.crc32(repr((operation.values, operation.where)).encode())
    saved = f"{quote(change.old.schema or APP_SCHEMA)}.{quote(f'portico_undo_{mark:08x}_{change.old.table}'[:63])}"
    revoked = f"IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'appuser') THEN REVOKE ALL ON {saved} FROM appuser; END IF;"  # noqa: S608
    copied = f"CREATE TABLE {saved} AS SELECT {', '.join([*key, *columns])} FROM {table} WITH NO DATA"  # noqa: S608  # quoted names
    kept = (copied, f"DO $saved$ BEGIN {revoked} END $saved$")
    yield Step(f"{title}: prepare", kept, undo=(f"DROP TABLE IF EXISTS {saved}",), table=table)
    yield Step(
        title, (f"SET {assignments}",), kind="batches", table=table, key=key, condition=condition, parameters=parameters,
        saved=saved, columns=columns, recorded=recorded,
    )  # fmt: skip
    yield Step(f"{title}: done", (f"DROP TABLE {saved}",), undo=None, table=table, final=True)


@OPERATIONS.register(m.RunSql)
def _run_sql(operation: m.RunSql, _: Change) -> Iterator[Step]:
    yield Step(UNRECORDED, (operation.sql,), undo=None if operation.down is None else (operation.down,))
