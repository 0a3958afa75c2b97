"""Compares a database with the tables that it should have, and says every difference in a line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import ReflectedForeignKeyConstraint

from portico.builtin.declarations import SCHEMA, builtin_collections
from portico.builtin.init import locate
from portico.builtin.verify_rules import DIALECTS, rule_differences
from portico.engines.sql.companions_ddl import companion_metadata
from portico.engines.sql.ddl import build_metadata, referenced_stubs
from portico.engines.sql.operations import column_default
from portico.engines.sql.policies import POLICY
from portico.model.collection import Collection


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference: `kind` is stable (``missing_table``, ``wrong_type`` …), `where` is a table, column or index, `text` says it."""

    kind: str
    where: str
    text: str


@dataclass(frozen=True, slots=True)
class _Column:
    type: str
    required: bool
    default: str | None


_PG_NAMES = {"varchar": "character varying", "timestamp": "timestamp without time zone"}
_PG_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid)
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = :schema AND c.relname = :table AND a.attnum > 0 AND NOT a.attisdropped"""


def verify_schema(
    connection: sa.Connection, declared: Sequence[Collection] = (), *, discover: Sequence[str] = (), builtin: bool = True
) -> list[Difference]:
    """Every difference between the database and its declarations; none where it is as it should be.

    Args:
        connection: to the database, as a role that may read its catalog.
        declared: the configuration's collections of this database. builtin: whether the built-in ones belong here.
        discover: schemas of tables that are not Portico's own: of a declaration that is laid over one of those, the columns must exist.
    """
    dialect = connection.dialect.name
    own = builtin_collections("", schema=SCHEMA if dialect == "postgresql" else None) if builtin else ()
    inspector = sa.inspect(connection)
    located = {item.name: locate(inspector, item, discover) or item for item in declared if item.kind == "table" and item.fields}
    laid_over = [item for item in located.values() if item.schema in discover and item.schema != SCHEMA]
    expected = [*own, *[item for item in located.values() if item not in laid_over]]
    metadata = build_metadata(expected, dialect=dialect, referenced=laid_over)
    referenced_stubs(metadata, laid_over, dialect=dialect)
    companions = companion_metadata(dialect)
    found = [difference for item in laid_over for difference in _missing_fields(inspector, item)]
    foreign = {(item.schema, item.table) for item in laid_over}
    for table in [*metadata.tables.values(), *companions.tables.values()]:
        if (table.schema, table.name) in foreign:
            continue
        found += _compare(connection, inspector, table)
    if dialect == "postgresql":
        found += _policies(connection, expected)
    return found + _extra(inspector, metadata, dialect)


def _missing_fields(inspector: sa.Inspector, collection: Collection) -> list[Difference]:
    present = {column["name"] for column in inspector.get_columns(collection.table, schema=collection.schema)}
    places = [f"{collection.schema}.{collection.table}.{field.column}" for field in collection.fields if field.column not in present]
    return [Difference("missing_column", place, f"the column {place} is missing") for place in places]


def _compare(connection: sa.Connection, inspector: sa.Inspector, table: sa.Table) -> list[Difference]:
    if not inspector.has_table(table.name, schema=table.schema):
        return [Difference("missing_table", table.fullname, f"the table {table.fullname} is missing")]
    actual = _READ[connection.dialect.name](connection, table)
    found: list[Difference] = []
    for column in table.columns:
        found += _compare_column(connection, table, column, actual.get(column.name))
    found += _missing_keys(inspector, table)
    found += [Difference(*parts) for parts in rule_differences(connection, table)]
    return found + _missing_indexes(inspector, table)


def _compare_column(connection: sa.Connection, table: sa.Table, column: sa.Column[object], actual: _Column | None) -> list[Difference]:
    where = f"{table.fullname}.{column.name}"
    if actual is None:
        return [Difference("missing_column", where, f"the column {where} is missing")]
    expected = _expected(connection, column)
    found: list[Difference] = []
    if expected.type != actual.type:
        found.append(Difference("wrong_type", where, f"the column {where} is {actual.type}, not {expected.type}"))
    if expected.required and not actual.required:
        found.append(Difference("nullable", where, f"the column {where} may be null"))
    if not expected.required and actual.required:
        found.append(Difference("not_nullable", where, f"the column {where} may not be null"))
    counted = column.autoincrement is True or column.identity is not None
    if not counted and expected.default != actual.default:
        shown = actual.default or "none"
        found.append(Difference("wrong_default", where, f"the default of {where} is {shown}, not {expected.default or 'none'}"))
    return found


def _expected(connection: sa.Connection, column: sa.Column[object]) -> _Column:
    dialect = DIALECTS[connection.dialect.name]
    compiled = str(column.type.compile(dialect=dialect))
    default = column_default(column, dialect)
    return _Column(_plain_type(compiled, dialect.name), not column.nullable, plain_default(default))


def _plain_type(text: str, dialect: str) -> str:
    plain = re.sub(r' COLLATE "\w+"', "", text).replace(", ", ",")
    if dialect == "sqlite":
        return plain.upper()
    lower = plain.lower()
    head = re.match(r"[a-z]+", lower)
    name = head[0] if head else ""
    if name in _PG_NAMES and "time zone" not in lower:
        lower = _PG_NAMES[name] + lower[len(name) :]
    return lower


def plain_default(text: str | None) -> str | None:
    """A default without the casts and parentheses that a database adds."""
    if text is None:
        return None
    plain = re.sub(r"::[a-z ]+(\[\])?$", "", text.strip())
    while plain.startswith("(") and plain.endswith(")"):
        plain = plain[1:-1].strip()
    return plain


def _read_postgresql(connection: sa.Connection, table: sa.Table) -> dict[str, _Column]:
    rows = connection.execute(sa.text(_PG_COLUMNS), {"schema": table.schema, "table": table.name})
    return {row[0]: _Column(row[1], row[2], plain_default(row[3])) for row in rows}


def _read_sqlite(connection: sa.Connection, table: sa.Table) -> dict[str, _Column]:
    rows = connection.execute(
        sa.text('SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_xinfo(:table)'), {"table": table.name}
    )
    return {row[0]: _Column(row[1].upper().replace(", ", ","), bool(row[2] or row[4]), plain_default(row[3])) for row in rows}


_READ: dict[str, Callable[[sa.Connection, sa.Table], dict[str, _Column]]] = {"postgresql": _read_postgresql, "sqlite": _read_sqlite}


def _missing_keys(inspector: sa.Inspector, table: sa.Table) -> list[Difference]:
    found: list[Difference] = []
    key = tuple(inspector.get_pk_constraint(table.name, schema=table.schema)["constrained_columns"])
    expected = tuple(column.name for column in table.primary_key)
    if key != expected:
        found.append(
            Difference(
                "wrong_key", table.fullname, f"the primary key of {table.fullname} is ({', '.join(key)}), not ({', '.join(expected)})"
            )
        )
    actual = {_key(item) for item in inspector.get_foreign_keys(table.name, schema=table.schema)}
    for constraint in sorted(table.foreign_key_constraints, key=lambda item: str(item.name)):
        target = constraint.referred_table
        wanted = (
            tuple(constraint.column_keys),
            target.name,
            tuple(element.column.name for element in constraint.elements),
            (constraint.ondelete or "").upper(),
        )
        if wanted not in actual:
            where = f"{table.fullname}.{', '.join(constraint.column_keys)}"
            action = f" on delete {wanted[3].lower()}" if wanted[3] else ""
            found.append(Difference("missing_foreign_key", where, f"the foreign key of {where} to {target.fullname}{action} is missing"))
    return found


def _key(item: ReflectedForeignKeyConstraint) -> tuple[tuple[str, ...], str, tuple[str, ...], str]:
    action = str(item.get("options", {}).get("ondelete") or "").upper()
    return (
        tuple(item["constrained_columns"]),
        item["referred_table"],
        tuple(item["referred_columns"]),
        "" if action == "NO ACTION" else action,
    )


def _missing_indexes(inspector: sa.Inspector, table: sa.Table) -> list[Difference]:
    present = [(tuple(item["column_names"]), bool(item["unique"])) for item in inspector.get_indexes(table.name, schema=table.schema)]
    present += [(tuple(item["column_names"]), True) for item in inspector.get_unique_constraints(table.name, schema=table.schema)]
    found: list[Difference] = []
    for index in sorted(table.indexes, key=lambda item: str(item.name)):
        columns = tuple(column.name for column in index.columns)
        if (columns, bool(index.unique)) not in present:
            kind = "unique index" if index.unique else "index"
            found.append(
                Difference("missing_index", f"{table.fullname}.{index.name}", f"the {kind} {index.name} on {table.fullname} is missing")
            )
    for constraint in table.constraints:
        if isinstance(constraint, sa.UniqueConstraint):
            columns = tuple(column.name for column in constraint.columns)
            if (columns, True) not in present:
                where = f"{table.fullname}.{', '.join(columns)}"
                found.append(Difference("missing_unique", where, f"{where} is not unique"))
    return found


def _policies(connection: sa.Connection, collections: Iterable[Collection]) -> list[Difference]:
    statement = sa.text("""
        SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_policy p ON p.polrelid = c.oid
        WHERE c.relrowsecurity AND c.relforcerowsecurity AND p.polname = :policy""")
    guarded = {(row[0], row[1]) for row in connection.execute(statement, {"policy": POLICY})}
    found: list[Difference] = []
    for collection in collections:
        table = (collection.schema or SCHEMA, collection.table)
        scoped = collection.security.access_control in ("tenant", "owner", "relation")
        if scoped and table not in guarded:
            name = ".".join(table)
            found.append(Difference("missing_policy", name, f"the table {name} is not under forced row-level security"))
    return found


def _extra(inspector: sa.Inspector, metadata: sa.MetaData, dialect: str) -> list[Difference]:
    if dialect != "postgresql" or SCHEMA not in inspector.get_schema_names():
        return []
    known = {table.name for table in metadata.tables.values() if table.schema == SCHEMA}
    partitions = set(inspector.bind.execute(_PARTITIONS).scalars()) if isinstance(inspector.bind, sa.Connection) else set()
    extra = sorted(set(inspector.get_table_names(schema=SCHEMA)) - known - partitions)
    return [Difference("extra_table", f"{SCHEMA}.{name}", f"the table {SCHEMA}.{name} is not declared") for name in extra]


_PARTITIONS = sa.text("SELECT relname FROM pg_class WHERE relispartition AND relnamespace = to_regnamespace('app')")
