"""Checks a collection against itself and the others: the fields that its rules name, its parent, its tenant's type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from portico.catalog.names import nearest
from portico.model.collection import Collection
from portico.model.field import Base

TENANT_TYPES = frozenset({Base.UUID, Base.INTEGER, Base.BIGINT, Base.STRING, Base.TEXT})
"""Types by which tenants can be told apart safely: equal in the database means equal everywhere."""


def scope_problems(collection: Collection, served: Mapping[str, Collection]) -> list[str]:
    """Why a collection's tenancy cannot be followed: then it must not be served. Empty where it can."""
    security = collection.security
    control = security.access_control
    named = {"tenant": security.tenant_field, "owner": security.owner_field}.get(control)
    if named is not None:
        field = collection.by_name.get(named)
        if field is None:
            return [f"{collection.name}: its {control}'s field {named!r} does not exist. {nearest(named, collection.by_name)}"]
        if field.type.base not in TENANT_TYPES or field.type.array:
            return [f"{collection.name}: its {control}'s field {named!r} is {field.type}; it must be uuid, integer or text."]
    if control == "owner" and "users" not in served:
        return [f"{collection.name} is owned by users, but its database has no collection users."]
    if control == "relation" and find_parent(collection) is None:
        hint = nearest(security.relation or "", [relation.name for relation in collection.relations])
        return [f"{collection.name} is scoped by the relation {security.relation!r}, which it does not have. {hint}"]
    return []


def find_parent(collection: Collection) -> str | None:
    """The name of the relation that `security.relation` means: a relation's name, or the name of the collection that it leads to."""
    wanted = collection.security.relation
    forward = [relation for relation in collection.relations if not relation.many and relation.through is None]
    for relation in forward:
        if relation.name == wanted:
            return relation.name
    return next((relation.name for relation in forward if relation.collection == wanted), None)


def field_problems(collection: Collection, served: Mapping[str, Collection]) -> Iterator[str]:
    """Names of fields and collections that a declaration uses and that do not exist."""
    security = collection.security
    used = {"security.hidden": security.hidden, "security.read_only": security.read_only, "security.encrypted": security.encrypted}
    used["security.passwords"] = frozenset(stored for _, stored in security.passwords)
    used["at_least_one"] = frozenset(collection.at_least_one)
    lists = {**used, "search.fields": frozenset(collection.search.fields if collection.search else ())}
    for place, names in lists.items():
        for name in sorted(names - set(collection.by_name)):
            yield f"{collection.name}: {place} names the field {name!r}, which does not exist. {nearest(name, collection.by_name)}"
    yield from _member_problems(collection)
    if collection.partitioning is not None and collection.partitioning.key not in collection.by_name:
        yield f"{collection.name}: partitioning.key names the field {collection.partitioning.key!r}, which does not exist."
    for relation in collection.relations:
        other = served.get(relation.collection)
        if other is None:
            yield f"{collection.name}: the relation {relation.name!r} leads to {relation.collection!r}, which is not served."
            continue
        foreign = () if relation.through is not None else relation.foreign
        for owner, parts in ((collection, relation.local), (other, foreign)):
            for name in parts:
                if name not in owner.by_name:
                    yield f"{collection.name}: the relation {relation.name!r} uses {owner.name}.{name}, which does not exist."
    for field in collection.fields:
        reference = field.references
        if reference is not None and (reference.collection not in served or reference.field not in served[reference.collection].by_name):
            yield f"{collection.name}.{field.name} refers to {reference.collection}.{reference.field}, which does not exist."


def _member_problems(collection: Collection) -> Iterator[str]:
    for field in collection.fields:
        for name in cast("tuple[str, ...]", field.default.value) if field.default is not None and field.default.kind == "joined" else ():
            if name not in collection.by_name:
                yield f"{collection.name}.{field.name} is joined of the field {name!r}, which does not exist."
    for member, _ in collection.security.passwords:
        if member in collection.by_name:
            yield f"{collection.name}: security.passwords names the member {member!r}, which is a field."
