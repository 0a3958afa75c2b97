"""Lays a declared collection over the table that the database has: the database says what is stored, the declaration what it means."""

from __future__ import annotations

from dataclasses import dataclass, replace

from portico.model.collection import Collection, Index, IndexField, Relation
from portico.model.field import Base, Constraints, Field, FieldType

_TEXTUAL = frozenset({Base.STRING, Base.TEXT, Base.ENUM})
_WHOLE = frozenset({Base.INTEGER, Base.BIGINT})
_NUMBERS = _WHOLE | {Base.FLOAT, Base.DECIMAL}


@dataclass(frozen=True, slots=True)
class Overlaid:
    """The collection as it is served, and the declared fields that its table lacks."""

    collection: Collection
    missing: tuple[str, ...]


def overlay(declared: Collection, found: Collection) -> Overlaid:
    """`declared` as the table `found` stores it. Columns that are not declared are kept; declared fields without a column are left out.

    Its relations are the declared ones, and the table's foreign keys, still named by their constraints.
    """
    columns = {field.column: field for field in found.fields}
    names = {field.column: field.name for field in declared.fields if field.column in columns}
    fields = [_field(field, columns[field.column]) for field in declared.fields if field.column in columns]
    fields += [field for field in found.fields if field.column not in names]
    missing = tuple(field.name for field in declared.fields if field.column not in columns)

    def renamed(columns: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(names.get(column, column) for column in columns)

    indexes = [_index(index, names) for index in found.indexes]
    keys = [replace(relation, local=renamed(relation.local)) for relation in found.relations]
    served = replace(
        declared,
        schema=found.schema,
        table=found.table,
        kind=found.kind,
        fields=tuple(fields),
        primary_key=_key(declared, renamed(found.primary_key)),
        indexes=tuple(indexes),
        relations=(*declared.relations, *keys),
        insertable_jointly=found.insertable_jointly,
    )
    return Overlaid(served, missing)


def _key(declared: Collection, found: tuple[str, ...]) -> tuple[str, ...]:
    """The key of the table; of a partitioned one the declared key, to which the table's only adds the partition's key."""
    parts = declared.partitioning
    added = set(found) - set(declared.primary_key)
    return declared.primary_key if not found or (parts is not None and added <= {parts.key} and declared.primary_key) else found


def _index(index: Index, names: dict[str, str]) -> Index:
    return replace(index, fields=tuple(IndexField(names.get(part.name, part.name), part.descending) for part in index.fields))


def _field(declared: Field, found: Field) -> Field:
    if not (declared.type.array or found.type.array) and _estranged(declared.type.base, found.type.base):
        # A migration made texts of numbers, or the reverse, and this process has not the declaration that goes with it: its default and its
        # rules are about values that the column does not hold.
        return replace(found, name=declared.name, references=declared.references or found.references)
    default = (
        declared.default if declared.default is not None and declared.default.kind != "database" else found.default or declared.default
    )
    constraints: Constraints = replace(declared.constraints, unique=declared.constraints.unique or found.constraints.unique)
    return replace(
        declared,
        type=_type(declared.type, found.type),
        nullable=declared.nullable and found.nullable,
        default=default,
        constraints=constraints,
        references=declared.references or found.references,
        generated=declared.generated or found.generated,
    )


def _estranged(declared: Base, found: Base) -> bool:
    return (declared in _TEXTUAL and found in _NUMBERS) or (declared in _NUMBERS and found in _TEXTUAL)


def _type(declared: FieldType, found: FieldType) -> FieldType:
    if found.base is Base.ENUM and declared.base in _TEXTUAL:
        return found
    if declared.base is found.base or {declared.base, found.base} <= _TEXTUAL:
        return replace(declared, native=found.native)
    if {declared.base, found.base} <= _WHOLE:
        # The narrower of the two is what both accept.
        return replace(found, base=Base.INTEGER)
    # A declaration may say more than the column's type: that a text is JSON, say. It is stored as what the column is.
    return replace(declared, native=found.native or str(found))


def foreign_keys(collection: Collection) -> tuple[Relation, ...]:
    """The foreign keys of a reflected or overlaid collection: relations that are still named by their constraint."""
    return tuple(relation for relation in collection.relations if relation.constraint is not None and relation.name == relation.constraint)
