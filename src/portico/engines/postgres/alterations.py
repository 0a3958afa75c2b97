"""Changes of existing columns on PostgreSQL that never hold a lock for long: constraints validated afterwards, types changed in two halves.

A new type is a new column beside the old one: a trigger keeps it up with what is written meanwhile, the rows from before are copied in
batches, and one short transaction swaps the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import cast

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.schema import AddConstraint, CreateIndex
from sqlalchemy.sql import quoted_name

from portico.engines.postgres.checks import KINDS, check_name
from portico.engines.sql.checks import essence
from portico.engines.sql.identifiers import APP_SCHEMA, quote
from portico.engines.sql.operations import Step, column_default, column_text, compiled, table_of
from portico.errors import MigrationError
from portico.model.collection import Collection
from portico.model.field import Base, Field, FieldType
from portico.model.migration import Change, Checks

_DIALECT = cast("Dialect", PGDialect(paramstyle="named"))  # type: ignore[no-untyped-call]
_MOST_NAME = 63


def qualified(collection: Collection) -> str:
    """The collection's table, as SQL names it."""
    return f"{quote(collection.schema or APP_SCHEMA)}.{quote(collection.table)}"


def default_text(made: sa.Table, field: Field) -> str | None:
    """The SQL of the column's default."""
    return column_default(made.c[field.column], _DIALECT)


def not_null_steps(collection: Collection, field: Field) -> Iterator[Step]:
    """Make a column NOT NULL without a scan under a lock: a check is validated beside the traffic, and proves it."""
    table, column = qualified(collection), quote(field.column)
    name = quote(_short(f"portico_{collection.table}_{field.column}_required"))
    title = f"require {collection.name}.{field.name}"
    added = f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({column} IS NOT NULL) NOT VALID"
    dropped = f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}"
    yield Step(title, (added,), undo=(dropped,), table=table)
    yield Step(f"{title}: look at every document", (f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}",), table=table, apart=True)
    undo = (f"ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL",)
    yield Step(f"{title}: done", (f"ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL", dropped), undo=undo, table=table)


def constraint_steps(collection: Collection, field: Field, made: sa.Table, *, fresh: bool = False) -> Iterator[Step]:
    """Add the checks, the foreign key and the uniqueness of a column that is there."""
    table = qualified(collection)
    added = _guards(field, made)
    if not field.references:
        added = [item for item in added if isinstance(item, sa.CheckConstraint)]
    for constraint in added:
        name = quote(str(constraint.name))
        text = compiled(AddConstraint(constraint), _DIALECT)
        undo = (f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}",)
        yield Step(f"constrain {collection.name}.{field.name}", (text if fresh else f"{text} NOT VALID",), undo=undo, table=table)
    for constraint in () if fresh else added:
        validate = f"ALTER TABLE {table} VALIDATE CONSTRAINT {quote(str(constraint.name))}"
        yield Step(f"check {collection.name}.{field.name}: look at every document", (validate,), table=table, apart=True)
    if field.constraints.unique:
        yield from _unique_steps(collection, field)


def _guards(field: Field, made: sa.Table) -> list[sa.CheckConstraint | sa.ForeignKeyConstraint]:
    """The checks and the foreign key of a field, by name."""
    found = [item for item in made.constraints if isinstance(item, sa.CheckConstraint | sa.ForeignKeyConstraint)]
    return sorted((item for item in found if _about(item, field, made)), key=lambda item: str(item.name))


def _about(constraint: sa.CheckConstraint | sa.ForeignKeyConstraint, field: Field, made: sa.Table) -> bool:
    if isinstance(constraint, sa.ForeignKeyConstraint):
        return constraint.column_keys == [field.column]
    return str(constraint.name) in {f"ck_{made.name}_{field.column}_{kind}" for kind in constraint_kinds(field)}


def constraint_kinds(field: Field) -> list[str]:
    """The kinds of checks that a field's rules are made into, as their names end."""
    rules = field.constraints
    found = {
        "in": bool(rules.choices or field.type.values),
        "min": rules.minimum is not None,
        "max": rules.maximum is not None,
        "min_length": rules.min_length is not None,
        "max_length": rules.max_length is not None,
    }
    return [kind for kind, there in found.items() if there]


def _unique_steps(collection: Collection, field: Field) -> Iterator[Step]:
    table, column, name = qualified(collection), quote(field.column), f"uq_{collection.table}_{field.column}"
    if collection.partitioning is not None:
        raise MigrationError(f"{collection.name} is partitioned: a field can be made unique only where its table is created.")
    index = f"{quote(collection.schema or APP_SCHEMA)}.{quote(name)}"
    create = f"CREATE UNIQUE INDEX CONCURRENTLY {quote(name)} ON {table} ({column})"
    drop = f"DROP INDEX CONCURRENTLY IF EXISTS {index}"
    yield Step(f"unique {collection.name}.{field.name}", (create,), kind="index", undo=(drop,), table=table, index=index)
    constraint = f"ALTER TABLE {table} ADD CONSTRAINT {quote(name)} UNIQUE USING INDEX {quote(name)}"
    undo = (f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {quote(name)}",)
    yield Step(f"unique {collection.name}.{field.name}: declare it", (constraint,), undo=undo, table=table)


def index_step(collection: Collection, index: sa.Index) -> Step:
    """Build an index beside the traffic."""
    index.dialect_options["postgresql"]["concurrently"] = True
    name = f"{quote(collection.schema or APP_SCHEMA)}.{quote(str(index.name))}"
    return Step(
        f"index {index.name}", (compiled(CreateIndex(index), _DIALECT),), kind="index", undo=(f"DROP INDEX CONCURRENTLY IF EXISTS {name}",),
        table=qualified(collection), index=name,
    )  # fmt: skip


def type_steps(change: Change, old: Field, new: Field) -> Iterator[Step]:
    """Make a column as another field says: its type first, then default, constraints and whether it is required."""
    collection = change.new
    made, was = table_of(change.new, change.after, _DIALECT), table_of(change.old, change.before, _DIALECT)
    before, after = (str(table.c[new.column].type.compile(dialect=_DIALECT)) for table in (was, made))
    if before != after and not _widens(old.type, new.type):
        _refuse_keys(change, old)
        yield from _swap_steps(change, old, new)
        return
    if before != after:
        back = f"ALTER TABLE {qualified(collection)} ALTER COLUMN {quote(new.column)} TYPE {before}"
        title = f"widen {collection.name}.{new.name}"
        yield Step(title, (back.removesuffix(before) + after,), undo=(back,), table=qualified(collection))
    yield from _constraint_changes(change, old, new, made, was)


def _widens(old: FieldType, new: FieldType) -> bool:
    """Whether PostgreSQL changes the type without reading a row."""
    if old.array or new.array or old.native or new.native:
        return False
    textual = (Base.STRING, Base.TEXT, Base.ENUM)
    if old.base in textual and new.base in textual:
        return new.base is not Base.STRING or new.length is None or (old.length is not None and new.length >= old.length)
    if old.base is Base.DECIMAL and new.base is Base.DECIMAL and None not in (old.precision, new.precision):
        return (old.scale or 0) == (new.scale or 0) and (new.precision or 0) >= (old.precision or 0)
    return False


def _refuse_keys(change: Change, field: Field) -> None:
    name = change.old.name
    used = [
        f"{other.name}.{item.name}"
        for other in change.before.values()
        for item in other.fields
        if item.references is not None and (item.references.collection, item.references.field) == (name, field.name)
    ]
    if field.name in change.old.primary_key or used or field.references is not None or change.old.partitioning is not None:
        raise MigrationError(
            f"The type of {name}.{field.name} cannot be changed beside the traffic: it is part of a key or reference, or partitioned.",
            hint="Add a field of the new type, and move to it step by step; or write run_sql for a quiet hour.",
        )
    if field.name in (change.old.security.tenant_field, change.old.security.owner_field):
        raise MigrationError(f"{name}.{field.name} says whose a document is: its type stays.")


def _swap_steps(change: Change, old: Field, new: Field) -> Iterator[Step]:
    """The new column beside the old one, filled, guarded and indexed like it, and the swap."""
    collection, table = change.new, qualified(change.new)
    shadowed = replace(new, column=_short(f"portico_new_{new.column}"))
    over = replace(collection, fields=tuple(shadowed if field.name == new.name else field for field in collection.fields))
    made = table_of(over, change.after, _DIALECT)
    column, shadow = quote(new.column), quote(shadowed.column)
    title = f"change the type of {collection.name}.{new.name}"
    begin, end = _shadow_trigger(collection, old, new, made.c[shadowed.column])
    yield Step(f"{title}: begin", begin, undo=(*end, f"ALTER TABLE {table} DROP COLUMN IF EXISTS {shadow}"), table=table)
    yield Step(
        f"{title}: copy", (f"SET {shadow} = NULL",), kind="batches", table=table, condition=f"{shadow} IS NULL AND {column} IS NOT NULL",
        key=tuple(quote(item.column) for item in collection.key_fields),
    )  # fmt: skip
    checked = quote(_short(f"portico_{collection.table}_{new.column}_copied"))
    # A check looks at every row, whatever the policies hide.
    added = f"ALTER TABLE {table} ADD CONSTRAINT {checked} CHECK (({column} IS NULL) = ({shadow} IS NULL)) NOT VALID"
    dropped = f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {checked}"
    yield Step(f"{title}: prepare", (added,), undo=(dropped,), table=table)
    yield Step(f"{title}: look at every document", (f"ALTER TABLE {table} VALIDATE CONSTRAINT {checked}",), table=table, apart=True)
    if not new.nullable:
        yield from not_null_steps(collection, shadowed)
    guards = list(constraint_steps(over, shadowed, made))
    indexes = list(_index_copies(change, over, made, new.name))
    yield from [*guards, *(step for step, _ in indexes)]
    names = [str(item.name) for item in made.constraints if isinstance(item, sa.CheckConstraint) and _about(item, shadowed, made)]
    names += [f"uq_{collection.table}_{shadowed.column}"] if new.constraints.unique else []
    default = default_text(made, shadowed)
    swap = [
        *end,
        dropped,
        f"ALTER TABLE {table} DROP COLUMN {column}",
        f"ALTER TABLE {table} RENAME COLUMN {shadow} TO {column}",
        *([f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT {default}"] if default is not None else []),
        *(f"ALTER TABLE {table} RENAME CONSTRAINT {quote(name)} TO {quote(name.replace(shadowed.column, new.column))}" for name in names),
        *(rename for _, rename in indexes),
    ]
    yield Step(f"{title}: swap", tuple(swap), undo=None, table=table, final=True)


def _shadow_trigger(collection: Collection, old: Field, new: Field, shadow: sa.Column[object]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What adds the shadow column with the trigger that keeps it up, and what removes the trigger."""
    table = qualified(collection)
    kind = str(shadow.type.compile(dialect=_DIALECT))
    function = f"{quote(collection.schema or APP_SCHEMA)}.{quote(_short(f'portico_swap_{collection.table}_{new.column}'))}"
    trigger, name = quote(_short(f"portico_swap_{new.column}")), quote(shadow.name)
    value = f"NEW.{quote(new.column)}::{_through(old.type, new.type)}{kind.partition(' COLLATE ')[0]}"
    begin = (
        f"ALTER TABLE {table} ADD COLUMN {column_text(sa.Column(shadow.name, shadow.type), _DIALECT)}",
        f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $swap$ BEGIN NEW.{name} := {value}; RETURN NEW; END $swap$",
        f"CREATE TRIGGER {trigger} BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {function}()",
    )
    return begin, (f"DROP TRIGGER IF EXISTS {trigger} ON {table}", f"DROP FUNCTION IF EXISTS {function}()")


def _through(old: FieldType, new: FieldType) -> str:
    """A type between the two where PostgreSQL has no direct cast."""
    direct = {Base.INTEGER, Base.BIGINT, Base.FLOAT, Base.DECIMAL}
    if old.base in direct and new.base in direct:
        return ""
    if {old.base, new.base} in ({Base.BOOLEAN, Base.INTEGER}, {Base.DATE, Base.DATETIME}):
        return ""
    return "text::"


def _index_copies(change: Change, over: Collection, made: sa.Table, name: str) -> Iterator[tuple[Step, str]]:
    """Indexes that hold the field, built over its shadow under another name, and what gives each its own after the swap."""
    schema = quote(change.new.schema or APP_SCHEMA)
    for index in over.indexes:
        copied = next((item for item in made.indexes if item.name == index.name), None)
        if copied is None or all(part.name != name for part in index.fields):
            continue
        copied.name = quoted_name(_short(f"portico_new_{index.name}"), quote=None)
        yield index_step(change.new, copied), f"ALTER INDEX {schema}.{quote(str(copied.name))} RENAME TO {quote(index.name)}"


def _constraint_changes(change: Change, old: Field, new: Field, made: sa.Table, was: sa.Table) -> Iterator[Step]:
    collection, table, column = change.new, qualified(change.new), quote(new.column)
    wanted, had = default_text(made, new), default_text(was, old)
    if (new.default is None or new.default.kind != "database") and wanted != had:
        texts = [f"SET DEFAULT {text}" if text is not None else "DROP DEFAULT" for text in (wanted, had)]
        to, back = (f"ALTER TABLE {table} ALTER COLUMN {column} {text}" for text in texts)
        yield Step(f"default of {collection.name}.{new.name}", (to,), undo=(back,), table=table)
    if old.nullable and not new.nullable:
        yield from not_null_steps(collection, new)
    if new.nullable and not old.nullable:
        loosened = f"ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL"
        yield Step(f"{collection.name}.{new.name} may be null", (loosened,), undo=None, table=table, final=True)
    yield from _checks_changed(change, old, new, made, was)


def _checks_changed(change: Change, old: Field, new: Field, made: sa.Table, was: sa.Table) -> Iterator[Step]:
    """Constraints that are other, or new, are added anew; those that are gone are dropped."""
    collection, table = change.new, qualified(change.new)
    before, after = _constraint_texts(old, was, change.checks), _constraint_texts(new, made)
    changed = [name for name, text in after.items() if essence(before.get(name)) != essence(text)]
    gone = [name for name in before if name in changed or name not in after]
    if gone:
        dropped = tuple(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {quote(name)}" for name in gone)
        restored = tuple(f"{before[name]} NOT VALID" for name in gone)
        yield Step(f"constraints of {collection.name}.{new.name}", dropped, undo=restored, table=table)
    for name in changed:
        undo = (f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {quote(name)}",)
        yield Step(f"constrain {collection.name}.{new.name}", (f"{after[name]} NOT VALID",), undo=undo, table=table)
    for name in changed:
        validate = f"ALTER TABLE {table} VALIDATE CONSTRAINT {quote(name)}"
        yield Step(f"check {collection.name}.{new.name}: look at every document", (validate,), table=table, apart=True)
    if old.constraints.unique and not new.constraints.unique:
        loosened = f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {quote(f'uq_{collection.table}_{new.column}')}"
        yield Step(f"{collection.name}.{new.name} need not be unique", (loosened,), undo=None, table=table, final=True)
    if new.constraints.unique and not old.constraints.unique:
        yield from _unique_steps(collection, new)


def _constraint_texts(field: Field, made: sa.Table, checks: Checks | None = None) -> dict[str, str]:
    """What adds the constraints of a field: as the database has its checks, where it is asked, else as the field says."""
    guards = _guards(field, made)
    if checks is None:
        return {str(item.name): compiled(AddConstraint(item), _DIALECT) for item in guards}
    table = f"{quote(made.schema or APP_SCHEMA)}.{quote(made.name)}"
    known = checks.get((made.schema, made.name), {})
    found = {str(item.name): compiled(AddConstraint(item), _DIALECT) for item in guards if isinstance(item, sa.ForeignKeyConstraint)}
    for kind in KINDS:
        name = check_name(made.name, field.column, kind)
        if name in known:
            found[name] = f"ALTER TABLE {table} ADD CONSTRAINT {quote(name)} {known[name]}"
    return found


def changed_checks(field: Field, made: sa.Table, known: Mapping[str, str]) -> bool:
    """Whether the checks that the database has of a field are other than it says."""
    wanted = _constraint_texts(field, made)
    had = _constraint_texts(field, made, {(made.schema, made.name): known})
    checks = {name for name in (*wanted, *had) if name.startswith("ck_")}
    return any(essence(wanted.get(name)) != essence(had.get(name)) for name in checks)


def _short(name: str) -> str:
    return name[:_MOST_NAME]
