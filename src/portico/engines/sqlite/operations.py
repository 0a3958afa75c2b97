"""What each operation of a migration is on SQLite: all of it in one transaction, by `ALTER TABLE` where that can, else by a new table.

The new table is made as SQLite's documentation says: created beside the old one, filled from it, and put in its place while foreign
keys are not enforced; they are checked before the transaction ends (https://sqlite.org/lang_altertable.html#otheralter).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.schema import CreateIndex, CreateTable

from portico.engines.sql.identifiers import quote
from portico.engines.sql.operations import UNRECORDED, Operations, Step, column_default, column_text, compiled, create_statements, table_of
from portico.engines.sql.updates import update_parts
from portico.engines.sqlite.conversions import conversion
from portico.engines.sqlite.recording import keys_of, recorded_of
from portico.errors import MigrationError
from portico.model import migration as m
from portico.model.collection import Collection
from portico.model.field import Field
from portico.model.migration import Change

DIALECT = SQLiteDialect(paramstyle="named")
OPERATIONS = Operations(DIALECT)
"""The operations as SQLite carries them out."""

_NEW = "portico_new_"


@OPERATIONS.register(m.CreateCollection)
def _create(operation: m.CreateCollection, change: Change) -> Iterator[Step]:
    made = table_of(operation.collection, change.before, DIALECT)
    yield Step(f"create {operation.collection.name}", tuple(create_statements(made, DIALECT)))


@OPERATIONS.register(m.DropCollection)
def _drop(operation: m.DropCollection, change: Change) -> Iterator[Step]:
    yield Step(f"drop {operation.name}", (f"DROP TABLE {quote(change.before[operation.name].table)}",))


@OPERATIONS.register(m.AddField)
def _add_field(operation: m.AddField, change: Change) -> Iterator[Step]:
    collection, field = change.new, operation.field
    title = f"add {collection.name}.{field.name}"
    plain = not field.constraints.unique and field.references is None and not _checked(field)
    constant = field.default is None or field.default.kind == "literal"
    if plain and constant and (field.nullable or field.default is not None):
        text = column_text(table_of(collection, change.after, DIALECT).c[field.column], DIALECT)
        yield Step(title, (f"ALTER TABLE {quote(collection.table)} ADD COLUMN {text}",))
    else:
        yield _rebuild(title, change)


def _checked(field: Field) -> bool:
    rules = field.constraints
    bounds = (rules.minimum, rules.maximum, rules.min_length, rules.max_length)
    return bool(rules.choices or field.type.values) or any(bound is not None for bound in bounds)


@OPERATIONS.register(m.DropField)
def _drop_field(operation: m.DropField, change: Change) -> Iterator[Step]:
    yield _rebuild(f"drop {operation.collection}.{operation.name}", change)


@OPERATIONS.register(m.AlterField)
def _alter_field(operation: m.AlterField, change: Change) -> Iterator[Step]:
    yield _rebuild(f"change {operation.collection}.{operation.field.name}", change)


@OPERATIONS.register(m.RenameField)
def _rename(operation: m.RenameField, change: Change) -> Iterator[Step]:
    old = quote(change.old.by_name[operation.name].column)
    title = f"rename {operation.collection}.{operation.name} to {operation.to}"
    yield Step(title, (f"ALTER TABLE {quote(change.old.table)} RENAME COLUMN {old} TO {quote(operation.to)}",))


@OPERATIONS.register(m.AddIndex)
def _add_index(operation: m.AddIndex, change: Change) -> Iterator[Step]:
    made = table_of(change.new, change.after, DIALECT)
    # An index of a kind that SQLite has not is left out, as it is where the table is created.
    for index in made.indexes:
        if index.name == operation.index.name:
            yield Step(f"index {index.name}", (compiled(CreateIndex(index), DIALECT),))


@OPERATIONS.register(m.DropIndex)
def _drop_index(operation: m.DropIndex, _: Change) -> Iterator[Step]:
    yield Step(f"drop index {operation.name}", (f"DROP INDEX IF EXISTS {quote(operation.name)}",))


@OPERATIONS.register(m.AddRelation)
def _add_relation(operation: m.AddRelation, change: Change) -> Iterator[Step]:
    if change.new.by_name != change.old.by_name:
        yield _rebuild(f"relate {operation.collection} by {operation.relation.name}", change)


@OPERATIONS.register(m.DropRelation)
def _drop_relation(operation: m.DropRelation, change: Change) -> Iterator[Step]:
    if change.new.by_name != change.old.by_name:
        yield _rebuild(f"drop relation {operation.name}", change)


@OPERATIONS.register(m.SetSecurity)
def _set_security(operation: m.SetSecurity, _: Change) -> Iterator[Step]:
    # The predicate that Portico adds is the only lock here: the declaration says it all.
    yield Step(f"security of {operation.collection}", ())


@OPERATIONS.register(m.SetPartitioning)
def _set_partitioning(operation: m.SetPartitioning, _: Change) -> NoReturn:
    raise MigrationError(f"{operation.collection} is in SQLite, which has no partitions.")


@OPERATIONS.register(m.UpdateData)
def _update(operation: m.UpdateData, change: Change) -> Iterator[Step]:
    assignments, condition, parameters = update_parts(change.old, operation, DIALECT)
    title, table, recorded = f"update {operation.collection}", quote(change.old.table), recorded_of(change, DIALECT)
    if recorded is None:
        statement = f"UPDATE {table} SET {assignments} WHERE {condition}"  # noqa: S608  # quoted names, bound values
        yield Step(title, (statement,), parameters=parameters, apart=True)
        return
    yield Step(
        title, (f"SET {assignments}",), kind="batches", table=table, key=keys_of(change.old), condition=condition, parameters=parameters,
        recorded=recorded,
    )  # fmt: skip


@OPERATIONS.register(m.RunSql)
def _run_sql(operation: m.RunSql, _: Change) -> Iterator[Step]:
    yield Step(UNRECORDED, (operation.sql,), kind="script")


def _rebuild(title: str, change: Change) -> Step:
    old, new = change.old, change.new
    if old.origin == "discovered":
        raise MigrationError(
            f"The table {old.table} is not Portico's own: what a new one would have to keep of it is not known.",
            hint="Declare the collection with all its rules first, or write run_sql.",
        )
    made = table_of(new, change.after, DIALECT)
    table, fresh = quote(old.table), quote(f"{_NEW}{old.table}")
    head = f"CREATE TABLE {DIALECT.identifier_preparer.format_table(made)}"
    before = {field.name: field for field in old.fields}
    copied: dict[str, str] = {}
    for field in new.fields:
        if field.generated:
            continue
        was = before.get(field.name)
        if was is not None:
            copied[quote(field.column)] = conversion(was, field, quote(was.column))
        elif field.default is not None:
            copied[quote(field.column)] = f"({_default(new, field, change)})"
    columns, values = ", ".join(copied), ", ".join(copied.values())
    statements = [
        f"CREATE TABLE {fresh}{compiled(CreateTable(made), DIALECT).removeprefix(head)}",
        f"INSERT INTO {fresh} ({columns}) SELECT {values} FROM {table}",  # noqa: S608  # quoted names
        *_counted(old.table, fresh_name=f"{_NEW}{old.table}", counts=bool(made.dialect_kwargs.get("sqlite_autoincrement"))),
        f"DROP TABLE {table}",
        f"ALTER TABLE {fresh} RENAME TO {table}",
        *(compiled(CreateIndex(index), DIALECT) for index in sorted(made.indexes, key=lambda index: str(index.name))),
    ]
    return Step(title, tuple(statements), kind="rebuild", table=old.table, apart=True)


def _default(collection: Collection, field: Field, change: Change) -> str:
    return column_default(table_of(collection, change.after, DIALECT).c[field.column], DIALECT) or "NULL"


def _counted(table: str, *, fresh_name: str, counts: bool) -> list[str]:
    """Numbers that were given once are not given again."""
    if not counts:
        return []
    old, new = (name.replace("'", "''") for name in (table, fresh_name))
    return [
        f"DELETE FROM sqlite_sequence WHERE name = '{new}'",  # noqa: S608  # a quoted name
        f"INSERT INTO sqlite_sequence (name, seq) SELECT '{new}', seq FROM sqlite_sequence WHERE name = '{old}'",  # noqa: S608
    ]
