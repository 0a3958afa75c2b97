"""What would make a database's tables as the configuration declares them: the operations that `portico migrate new` writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect

from portico.builtin.verify import plain_default
from portico.engines.postgres.alterations import changed_checks
from portico.engines.sql.identifiers import APP_SCHEMA
from portico.engines.sql.operations import column_default, table_of
from portico.engines.sql.policies import marked_security
from portico.migrations.planning import ENGINES
from portico.migrations.stored import type_text
from portico.model import migration as m
from portico.model.collection import Collection, Index, Security
from portico.model.field import Field
from portico.model.migration import Checks, Operation, Policies


@dataclass(frozen=True, slots=True)
class Differences:
    """The operations, those that lose nothing first, what a reviewer should look at, and what the database's policies say of collections.

    `guarded` are the collections whose policy is another than the declared one, with the security that it was made of, where that is known.
    """

    operations: tuple[Operation, ...]
    notes: tuple[str, ...]
    guarded: Mapping[str, Collection]


def compare(
    declared: Sequence[Collection],
    tables: Sequence[Collection],
    known: Mapping[str, Collection],
    *,
    dialect: str,
    discover: Sequence[str],
    checks: Checks | None,
    policies: Policies | None = None,
) -> Differences:
    """The differences between declared collections and the tables that reflection found.

    Args:
        declared: the configuration's, of this database. tables: as the engine reflects them. known: the collections as they are served.
        checks: the check constraints that the database has. policies: those that are in force; None where there are none to have.
        discover: schemas of tables that are not Portico's own: of those only missing fields are added.
    """
    made: list[Operation] = []
    indexed: list[Operation] = []
    changed: list[Operation] = []
    secured: list[Operation] = []
    dropped: list[Operation] = []
    notes: list[str] = []
    guarded: dict[str, Collection] = {}
    missing = [item for item in declared if item.kind == "table" and item.fields and _find(item, tables, discover, dialect) is None]
    made += [m.CreateCollection(item) for item in _by_reference(missing)]
    engine = ENGINES[dialect].dialect
    for item in declared:
        table = _find(item, tables, discover, dialect)
        if table is None or item.kind != "table" or not item.fields:
            continue
        foreign = table.schema is not None and table.schema in discover and table.schema != APP_SCHEMA
        known_checks = checks.get((table.schema, table.table), {}) if checks is not None else None
        comparison = _Comparison(item, table, {**known, item.name: item}, engine, known_checks)
        added, gone = comparison.added(), [] if foreign else comparison.gone()
        made += [m.AddField(item.name, field) for field in added]
        if not foreign:
            changed += [m.AlterField(item.name, field) for field in comparison.altered()]
            dropped += [m.DropIndex(item.name, name) for name in comparison.extra_indexes()]
            if policies is not None and (before := _guarded_otherwise(item, table, policies)) is not None:
                guarded[item.name] = replace(known.get(item.name, item), security=before)
                secured.append(m.SetSecurity(item.name, item.security))
                notes.append(f"{item.name}: who reaches its documents changes at once.")
        indexed += [m.AddIndex(item.name, index) for index in comparison.missing_indexes()]
        dropped += [m.DropField(item.name, name) for name in gone]
        if gone:
            notes.append(f"{item.name}: {', '.join(gone)} will be lost with the values.")
        if gone and added:
            notes.append(f"{item.name}: if {gone[0]} was only renamed, write rename_field instead of adding and dropping.")
    return Differences((*made, *indexed, *changed, *secured, *dropped), tuple(notes), guarded)


def _find(declared: Collection, tables: Sequence[Collection], discover: Sequence[str], dialect: str) -> Collection | None:
    by_place = {(table.schema, table.table): table for table in tables}
    if dialect == "sqlite":
        return by_place.get((None, declared.table))
    schemas = (declared.schema,) if declared.schema else (*discover, APP_SCHEMA)
    return next((by_place[schema, declared.table] for schema in schemas if (schema, declared.table) in by_place), None)


def _guarded_otherwise(declared: Collection, table: Collection, policies: Policies) -> Security | None:
    """The security that the table's policy was made of, where that is another than the declared one."""
    security, place = declared.security, (table.schema, table.table)
    if place not in policies:
        scoped = security.access_control in ("tenant", "owner", "relation")
        return replace(security, access_control="shared", tenant_field=None, owner_field=None, relation=None) if scoped else None
    before = marked_security(policies[place], security)
    if security.access_control == "shared":
        return before if before != security else replace(security, access_control="undeclared")
    return before if before != security else None


def _by_reference(collections: Sequence[Collection]) -> Iterator[Collection]:
    """Collections after those that they refer to."""
    waiting = {item.name: item for item in collections}
    while waiting:
        still_open = set(waiting)
        ready = [item for item in waiting.values() if not _referred(item) & (still_open - {item.name})] or list(waiting.values())
        for item in ready:
            del waiting[item.name]
            yield item


def _referred(collection: Collection) -> set[str]:
    return {field.references.collection for field in collection.fields if field.references is not None}


class _Comparison:
    """One declared collection beside its table."""

    def __init__(
        self, declared: Collection, table: Collection, known: Mapping[str, Collection], dialect: Dialect, checks: Mapping[str, str] | None
    ) -> None:
        self.declared = declared
        self.table = table
        self.columns = {field.name: field for field in table.fields}
        self.dialect = dialect
        self.checks = checks
        self.made = table_of(replace(declared, schema=table.schema), known, dialect)

    def added(self) -> list[Field]:
        return [field for field in self.declared.fields if field.column not in self.columns]

    def gone(self) -> list[str]:
        columns = {field.column for field in self.declared.fields}
        return [name for name in self.columns if name not in columns]

    def altered(self) -> list[Field]:
        return [
            field for field in self.declared.fields if field.column in self.columns and self._differs(field, self.columns[field.column])
        ]

    def _differs(self, field: Field, found: Field) -> bool:
        column = self.made.c[field.column]
        counted = column.autoincrement is True or column.identity is not None
        if field.name in self.declared.primary_key or counted or field.generated or found.generated:
            return False
        wanted = plain_default(column_default(column, self.dialect))
        default = found.default.value if found.default is not None else None
        had = plain_default(default if isinstance(default, str) else None)
        other_default = (field.default is None or field.default.kind != "database") and wanted != had
        unique = field.constraints.unique != found.constraints.unique and not self._indexed(field)
        return (
            type_text(field.type, self.dialect) != type_text(found.type, self.dialect)
            or field.nullable is not found.nullable
            or other_default
            or unique
            or self._checked(field)
            or self._refers_elsewhere(field, found)
        )

    def _checked(self, field: Field) -> bool:
        """Whether the checks that the database has are other than those of the field; not asked where it cannot say."""
        return self.checks is not None and changed_checks(field, self.made, self.checks)

    def _refers_elsewhere(self, field: Field, found: Field) -> bool:
        """Whether the declared foreign key is missing, leads elsewhere, or acts otherwise on a delete. One more is left alone."""
        wanted = next((key for key in self.made.foreign_key_constraints if key.column_keys == [field.column]), None)
        if wanted is None or field.references is None:
            return False
        if found.references is None:
            return True
        target, (element,) = wanted.referred_table, wanted.elements
        place = target.name if found.references.collection == target.name else f"{target.schema}.{target.name}"
        action = (wanted.ondelete or "restrict").lower().replace(" ", "_").replace("no_action", "restrict")
        return (found.references.collection, found.references.field, found.references.on_delete) != (place, element.column.name, action)

    def _indexed(self, field: Field) -> bool:
        """Whether a declared unique index makes it unique."""
        return any(index.unique and [part.name for part in index.fields] == [field.name] for index in self.declared.indexes)

    def missing_indexes(self) -> list[Index]:
        there = {index.name for index in self.table.indexes}
        creatable = {str(index.name) for index in self.made.indexes}
        return [index for index in self.declared.indexes if index.name not in there and index.name in creatable]

    def extra_indexes(self) -> list[str]:
        wanted = {index.name for index in self.declared.indexes}
        constraints = {str(item.name) for item in self.made.constraints if isinstance(item, sa.UniqueConstraint)}
        kept = (*constraints, "uq_", "sqlite_autoindex")
        return [index.name for index in self.table.indexes if index.name not in wanted and not index.name.startswith(kept)]
