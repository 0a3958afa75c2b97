"""What an operation makes of the collections, and which operation leads back: pure functions over the model."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, NoReturn

from portico.catalog.names import nearest
from portico.errors import MigrationError
from portico.model import migration as m
from portico.model.collection import Collection, Index, IndexField, Security
from portico.model.field import Base, Default, Field, Reference
from portico.model.migration import Change, Checks, Operation, collection_of

Collections = Mapping[str, Collection]

_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_PLAIN = frozenset({Base.INTEGER, Base.BIGINT, Base.FLOAT, Base.DECIMAL, Base.BOOLEAN})
_QUOTED = re.compile(r"'((?:[^']|'')*)'(?:::[a-z ]+)?(?:\(\d+\))?")


def changes(operations: Iterable[Operation], collections: Collections, checks: Checks | None = None) -> list[Change]:
    """Each operation with its collections before and after, in order.

    Raises:
        MigrationError: an operation does not fit the collections: it names what is missing, or there already.
    """
    found: list[Change] = []
    fresh: frozenset[str] = frozenset()
    for operation in operations:
        after = evolve(operation, collections)
        found.append(Change(operation, collections, after, fresh, checks or {}))
        collections = after
        if isinstance(operation, m.CreateCollection):
            fresh |= {operation.collection.name}
        elif isinstance(operation, m.AddField):
            fresh |= {f"{operation.collection}.{operation.field.name}"}
    return found


def evolve(operation: Operation, collections: Collections) -> Collections:
    """The collections after an operation. Raises MigrationError as `changes`."""
    if isinstance(operation, m.RunSql):
        return collections
    if isinstance(operation, m.CreateCollection):
        made = operation.collection
        if made.name in collections:
            _refuse(f"The collection {made.name} exists already.")
        for field in made.fields:
            _check_reference(field, {**collections, made.name: made})
        return {**collections, made.name: made}
    name = collection_of(operation) or ""
    if name not in collections:
        _refuse(f"There is no collection {name[:100]}.", nearest(name, collections))
    if isinstance(operation, m.DropCollection):
        _check_unreferenced(name, collections)
        return {key: value for key, value in collections.items() if key != name}
    old = collections[name]
    if old.kind == "view":
        _refuse(f"{name} is a view, which migrations change only by run_sql.")
    return {**collections, name: _CHANGES[type(operation)](operation, old, collections)}


def _add_field(operation: m.AddField, old: Collection, collections: Collections) -> Collection:
    field = operation.field
    if field.name in old.by_name or any(known.column == field.column for known in old.fields):
        _refuse(f"The field {old.name}.{field.name} exists already.")
    _check_reference(field, collections)
    return replace(old, fields=(*old.fields, field))


def _alter_field(operation: m.AlterField, old: Collection, collections: Collections) -> Collection:
    known = _field(old, operation.field.name)
    _check_reference(operation.field, collections)
    altered = replace(operation.field, column=known.column)
    return replace(old, fields=tuple(altered if item is known else item for item in old.fields))


def _add_index(operation: m.AddIndex, old: Collection, _: Collections) -> Collection:
    index = operation.index
    if any(known.name == index.name for known in old.indexes):
        _refuse(f"The index {index.name} exists already.")
    for part in index.fields:
        _field(old, part.name)
    return replace(old, indexes=(*old.indexes, index))


def _drop_index(operation: m.DropIndex, old: Collection, _: Collections) -> Collection:
    name = operation.name
    if all(known.name != name for known in old.indexes):
        _refuse(f"The collection {old.name} has no index {name[:100]}.", nearest(name, [item.name for item in old.indexes]))
    return replace(old, indexes=tuple(known for known in old.indexes if known.name != name))


def _set_security(operation: m.SetSecurity, old: Collection, _: Collections) -> Collection:
    _check_security(old, operation.security)
    return replace(old, security=operation.security)


def _set_partitioning(operation: m.SetPartitioning, old: Collection, _: Collections) -> Collection:
    if operation.partitioning is not None:
        _field(old, operation.partitioning.key)
    return replace(old, partitioning=operation.partitioning)


def _update_data(operation: m.UpdateData, old: Collection, _: Collections) -> Collection:
    for name in [*operation.values, *operation.where]:
        _field(old, name)
    keys = [name for name in operation.values if name in old.primary_key]
    if keys:
        _refuse(f"{old.name}.{keys[0]} belongs to the primary key, which no document changes.")
    return old


def _add_relation(operation: m.AddRelation, old: Collection, collections: Collections) -> Collection:
    relation = operation.relation
    if any(known.name == relation.name for known in old.relations) or relation.name in old.by_name:
        _refuse(f"{old.name} has something named {relation.name} already.")
    if relation.collection not in collections:
        _refuse(f"There is no collection {relation.collection[:100]}.", nearest(relation.collection, collections))
    other = collections[relation.collection]
    for name in relation.local:
        _field(old, name)
    for name in relation.foreign if relation.through is None else ():
        _field(other, name)
    if relation.through is None and relation.foreign == other.primary_key and relation.local != old.primary_key:
        # No more than one document has a key.
        relation = replace(relation, many=False)
    fields = old.fields
    if not relation.many and len(relation.local) == 1 and _field(old, relation.local[0]).references is None:
        reference = Reference(relation.collection, relation.foreign[0], operation.on_delete)
        fields = tuple(replace(field, references=reference) if field.name == relation.local[0] else field for field in fields)
    return replace(old, relations=(*old.relations, relation), fields=fields)


def _drop_relation(operation: m.DropRelation, old: Collection, _: Collections) -> Collection:
    name = operation.name
    relation = next((known for known in old.relations if known.name == name), None)
    if relation is None:
        _refuse(f"The collection {old.name} has no relation {name[:100]}.", nearest(name, [known.name for known in old.relations]))
    held = relation.local[0] if not relation.many and len(relation.local) == 1 else None
    fields = tuple(replace(field, references=None) if field.name == held else field for field in old.fields)
    return replace(old, relations=tuple(known for known in old.relations if known is not relation), fields=fields)


def _drop_field(operation: m.DropField, old: Collection, _: Collections) -> Collection:
    field = _field(old, operation.name)
    if field.name in old.primary_key:
        _refuse(f"{old.name}.{field.name} belongs to the primary key.")
    security = old.security
    if field.name in (security.tenant_field, security.owner_field):
        _refuse(f"{old.name}.{field.name} says whose a document is.", "Change that first, by set_security.")
    return replace(
        old,
        fields=tuple(item for item in old.fields if item is not field),
        indexes=tuple(index for index in old.indexes if all(part.name != field.name for part in index.fields)),
        relations=tuple(relation for relation in old.relations if field.name not in relation.local),
        security=_named(security, {field.name: ""}),
    )


def _rename_field(operation: m.RenameField, old: Collection, _: Collections) -> Collection:
    field, to = _field(old, operation.name), operation.to
    if to in old.by_name or any(known.column == to for known in old.fields if known is not field):
        _refuse(f"The field {old.name}.{to} exists already.")
    names = {field.name: to}
    indexes = [replace(index, fields=_parts(index, names)) for index in old.indexes]
    return replace(
        old,
        fields=tuple(replace(item, name=to, column=to) if item is field else item for item in old.fields),
        primary_key=tuple(names.get(name, name) for name in old.primary_key),
        indexes=tuple(indexes),
        relations=tuple(replace(item, local=tuple(names.get(name, name) for name in item.local)) for item in old.relations),
        security=_named(old.security, names),
        partitioning=replace(old.partitioning, key=names.get(old.partitioning.key, old.partitioning.key)) if old.partitioning else None,
    )


def _parts(index: Index, names: Mapping[str, str]) -> tuple[IndexField, ...]:
    return tuple(replace(part, name=names.get(part.name, part.name)) for part in index.fields)


def _named(security: Security, names: Mapping[str, str]) -> Security:
    """The security with fields renamed; those renamed to nothing are left out."""

    def of(fields: frozenset[str]) -> frozenset[str]:
        return frozenset(new for name in fields if (new := names.get(name, name)))

    return replace(
        security,
        tenant_field=names.get(security.tenant_field or "", security.tenant_field),
        owner_field=names.get(security.owner_field or "", security.owner_field),
        hidden=of(security.hidden),
        read_only=of(security.read_only),
        encrypted=of(security.encrypted),
    )


_CHANGES: dict[type[object], Callable[[Any, Collection, Collections], Collection]] = {
    m.AddField: _add_field,
    m.AlterField: _alter_field,
    m.DropField: _drop_field,
    m.RenameField: _rename_field,
    m.AddIndex: _add_index,
    m.DropIndex: _drop_index,
    m.AddRelation: _add_relation,
    m.DropRelation: _drop_relation,
    m.SetSecurity: _set_security,
    m.SetPartitioning: _set_partitioning,
    m.UpdateData: _update_data,
}


def reverse(change: Change) -> Operation | None:
    """The operation that leads back to the structure before; None where nothing does. Dropped documents and values do not come back."""
    found = _REVERSE.get(type(change.operation))
    return found(change.operation, change) if found is not None else None


def _add_index_again(operation: m.DropIndex, change: Change) -> Operation:
    return m.AddIndex(operation.collection, next(index for index in change.old.indexes if index.name == operation.name))


_REVERSE: dict[type[object], Callable[[Any, Change], Operation | None]] = {
    m.CreateCollection: lambda operation, _: m.DropCollection(operation.collection.name),
    m.DropCollection: lambda operation, change: m.CreateCollection(replace(change.before[operation.name], relations=())),
    m.AddField: lambda operation, _: m.DropField(operation.collection, operation.field.name),
    m.DropField: lambda operation, change: m.AddField(operation.collection, _restorable(change.old.by_name[operation.name])),
    m.AlterField: lambda operation, change: m.AlterField(operation.collection, _portable(change.old.by_name[operation.field.name])),
    m.RenameField: lambda operation, _: m.RenameField(operation.collection, operation.to, operation.name),
    m.AddIndex: lambda operation, _: m.DropIndex(operation.collection, operation.index.name),
    m.DropIndex: _add_index_again,
    m.AddRelation: lambda operation, _: m.DropRelation(operation.collection, operation.relation.name),
    m.SetSecurity: lambda operation, change: m.SetSecurity(operation.collection, change.old.security),
    m.SetPartitioning: lambda operation, change: m.SetPartitioning(operation.collection, change.old.partitioning),
    m.RunSql: lambda operation, _: m.RunSql(operation.down) if operation.down is not None else None,
}


def way_back(made: Iterable[Change]) -> tuple[Operation, ...] | None:
    """The operations that undo all of these, last first; None where one cannot be undone."""
    found = [reverse(change) for change in made]
    if any(operation is None for operation in found):
        return None
    back = [operation for operation in reversed(found) if operation is not None]
    # A field whose type changes is followed by its indexes: those that go have to go first.
    return tuple(sorted(back, key=lambda operation: not isinstance(operation, m.DropIndex)))


def _restorable(field: Field) -> Field:
    """A dropped field as it can be added again: it has no values any more, so without a default it cannot be required."""
    kept = _portable(field)
    return kept if kept.default is not None and kept.default.kind != "database" else replace(kept, nullable=True)


def _portable(field: Field) -> Field:
    """The field with a default that a schema document can carry: the database's own expression where that is a plain text."""
    default = field.default
    if default is None or default.kind != "database" or not isinstance(default.value, str):
        return field
    text = _QUOTED.fullmatch(default.value)
    if text is not None and field.type.base in (Base.STRING, Base.TEXT, Base.ENUM):
        return replace(field, default=Default("literal", text[1].replace("''", "'")))
    if field.type.base in _PLAIN and (default.value in ("true", "false") or _NUMBER.fullmatch(default.value)):
        return replace(field, default=Default("literal", json.loads(default.value)))
    return replace(field, default=None if field.type.base in (Base.STRING, Base.TEXT, Base.ENUM) else Default("database"))


def _field(collection: Collection, name: str) -> Field:
    if name not in collection.by_name:
        _refuse(f"The collection {collection.name} has no field {name[:100]}.", nearest(name, collection.by_name))
    return collection.by_name[name]


def _check_reference(field: Field, collections: Collections) -> None:
    reference = field.references
    if reference is None:
        return
    if reference.collection not in collections:
        _refuse(f"{field.name} refers to {reference.collection[:100]}, which does not exist.", nearest(reference.collection, collections))
    _field(collections[reference.collection], reference.field)


def _check_unreferenced(name: str, collections: Collections) -> None:
    users = [
        f"{other.name}.{field.name}"
        for other in collections.values()
        for field in other.fields
        if other.name != name and field.references is not None and field.references.collection == name
    ]
    if users:
        _refuse(f"{', '.join(users)} refer to {name}.", "Drop those first.")


def _check_security(collection: Collection, security: Security) -> None:
    for name in (security.tenant_field, security.owner_field, *security.hidden, *security.read_only, *security.encrypted):
        if name is not None:
            _field(collection, name)


def _refuse(message: str, hint: str | None = None) -> NoReturn:
    raise MigrationError(message, hint=hint)
