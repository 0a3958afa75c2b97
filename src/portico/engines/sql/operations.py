"""How the SQL engines carry out operations of migrations: as steps, which are data, by what each registers for an operation's type.

A step is kept in the journal before it runs, so that another run, or another version, finishes exactly what this one began.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable

from portico.engines.sql.ddl import referenced_stubs, table
from portico.engines.sql.identifiers import APP_SCHEMA
from portico.errors import MigrationError
from portico.model.collection import Collection
from portico.model.migration import AlterField, Change, DropIndex, collection_of, fields_of

UNRECORDED = "run SQL (what it changes leaves no audit rows and no versions)"
"""The title of a step of the author's own SQL."""

PARTITIONED = " ON ONLY "
"""What the statement of an index says that is built partition by partition."""

Kind = Literal["sql", "index", "batches", "rebuild", "script"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a step that changes documents leaves in the companion tables: a row of the audit, a version, or both, for each that changed.

    Attributes:
        collection: its name. audit, versioned: which rows it leaves.
        columns: every column, as SQL names it. rows: SQL that gives what the rows say of the documents, as the engine's runner reads it.
    """

    collection: str
    audit: bool
    versioned: bool
    columns: tuple[str, ...]
    rows: str


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens as a whole, or is taken up where it stopped.

    Attributes:
        title: what it does, for people. statements: SQL; of `batches` the one that changes a batch.
        kind: `sql` runs in one short transaction. `index` is built beside the traffic, outside of a transaction. `batches` changes rows a
            few thousand at a time. `rebuild` replaces a table of SQLite, whose triggers and further indexes are kept. `script` is several
            statements in one text.
        undo: SQL that undoes it; None where nothing does.
        table: the table it is about, as SQL names it; whoever owns that runs the step. Without one Portico's owner does.
        apart: it has a transaction of its own. final: it comes after everything that can be undone.
        index: the index's name, as SQL names it.
        key: the columns that batches go along, in order. condition: which rows they change.
        saved: a table that takes the key and `columns` of each row as they were, from which batches are undone.
        parameters: bound values of the statements. recorded: what the changed documents leave in the companion tables.
    """

    title: str
    statements: tuple[str, ...]
    kind: Kind = "sql"
    undo: tuple[str, ...] | None = ()
    table: str | None = None
    apart: bool = False
    final: bool = False
    index: str | None = None
    key: tuple[str, ...] = ()
    condition: str = "true"
    saved: str | None = None
    columns: tuple[str, ...] = ()
    parameters: Mapping[str, object] = field(default_factory=dict)
    recorded: Recorded | None = None


def step_to_data(step: Step) -> dict[str, object]:
    """A step as JSON's plain data."""
    return asdict(step)


def step_from_data(data: Mapping[str, Any]) -> Step:
    """The step of `step_to_data`."""
    values = {part.name: data[part.name] for part in fields(Step) if part.name in data}
    for name in ("statements", "undo", "key", "columns"):
        if isinstance(values.get(name), list):
            values[name] = tuple(values[name])
    recorded = values.get("recorded")
    if recorded is not None:
        values["recorded"] = Recorded(**{**recorded, "columns": tuple(recorded["columns"])})
    return Step(**values)


Maker = Callable[[Any, Change], Iterable[Step]]
Made = TypeVar("Made", bound=Maker)


class Operations:
    """What one engine does for each type of operation. Makers register themselves with `register`."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._makers: dict[type[object], Maker] = {}

    def register(self, kind: type[object]) -> Callable[[Made], Made]:
        """A decorator: the function makes the steps of operations of this type, from the operation and its `Change`."""

        def remember(maker: Made) -> Made:
            self._makers[kind] = maker
            return maker

        return remember

    def steps(self, changes: Sequence[Change]) -> list[Step]:
        """The steps of a migration, in order; those that can share a transaction do.

        Raises:
            MigrationError: the engine cannot do it, or could not undo it if a later step failed.
        """
        made: list[Step] = []
        late: set[tuple[str | None, str]] = set()
        for change in changes:
            own = list(self._makers[type(change.operation)](change.operation, change))
            fields = {(collection_of(change.operation), name) for name in _fields(change)}
            if fields & late:
                names = ", ".join(sorted(f"{collection}.{name}" for collection, name in fields & late))
                raise MigrationError(
                    f"{names} changes at the end of the migration.", hint="Put what builds on that into the next migration."
                )
            late |= fields if any(step.final for step in own) and isinstance(change.operation, AlterField) else set()
            made += own
        joined = _joined([step for step in made if not step.final] + [step for step in made if step.final])
        stuck = next((step for step in joined[:-1] if step.undo is None), None)
        if stuck is not None:
            raise MigrationError(
                f"What follows could fail, and this could not be undone then: {stuck.title}.",
                hint="Put what cannot be undone into a migration of its own, after the others.",
            )
        return joined


def _fields(change: Change) -> tuple[str, ...]:
    operation = change.operation
    if isinstance(operation, DropIndex):
        return tuple(part.name for index in change.old.indexes if index.name == operation.name for part in index.fields)
    return fields_of(operation)


def _joined(steps: Sequence[Step]) -> list[Step]:
    joined: list[Step] = []
    for step in steps:
        last = joined[-1] if joined else None
        if last is None or last.kind != "sql" or step.kind != "sql" or last.apart or step.apart or _schema(step) != _schema(last):
            joined.append(step)
            continue
        undo = None if last.undo is None or step.undo is None else (*step.undo, *last.undo)
        table = last.table or step.table
        statements = (*last.statements, *step.statements)
        joined[-1] = replace(last, title=f"{last.title}; {step.title}", statements=statements, undo=undo, table=table)
    return joined


def _schema(step: Step) -> str:
    """Tables of one schema have one owner, as far as anybody can plan."""
    return (step.table or APP_SCHEMA).partition(".")[0].strip('"')


def table_of(collection: Collection, known: Mapping[str, Collection], dialect: Dialect) -> sa.Table:
    """The table of a collection as the model would create it; defaults that only the database knows are kept as they are."""
    metadata = sa.MetaData()
    others = [other for other in known.values() if other.name != collection.name and other.fields]
    made = table(collection, metadata, dialect=dialect.name, known={**known, collection.name: collection})
    referenced_stubs(metadata, others, dialect=dialect.name)
    for item in collection.fields:
        if item.default is not None and item.default.kind == "database" and isinstance(item.default.value, str) and not item.generated:
            made.c[item.column].server_default = sa.DefaultClause(sa.text(item.default.value.replace(":", "\\:")))
    return made


def create_statements(made: sa.Table, dialect: Dialect) -> list[str]:
    """What creates a table with its indexes."""
    indexes = sorted(made.indexes, key=lambda index: str(index.name))
    return [compiled(CreateTable(made), dialect), *(compiled(CreateIndex(index), dialect) for index in indexes)]


def column_text(column: sa.Column[object], dialect: Dialect) -> str:
    """A column's name, type, default and NOT NULL, as ``ADD COLUMN`` takes it."""
    return compiled(CreateColumn(column), dialect)


def column_default(column: sa.Column[Any], dialect: Dialect) -> str | None:
    """The SQL of a column's default."""
    compiler = cast("Any", dialect).ddl_compiler(dialect, None)
    return cast("str | None", compiler.get_column_default_string(column))


def compiled(element: sa.schema.ExecutableDDLElement | CreateColumn, dialect: Dialect) -> str:
    """The SQL of a DDL element."""
    return str(cast("Any", element).compile(dialect=dialect)).strip()
