"""Writes collections as schema documents: what `GET /api/db/schema/{collection}` answers and migrations carry."""

from __future__ import annotations

from portico.catalog.constraints import write_constraints, write_default
from portico.model.collection import Collection, Relation, Security
from portico.model.field import Base, Field


def describe(collection: Collection) -> dict[str, object]:
    """The schema document of a collection, as plain data: what `declare` reads back as an equal one (but for its origin)."""
    document: dict[str, object] = {"name": collection.name, "database": collection.database}
    if collection.schema is not None:
        document["schema"] = collection.schema
    if collection.table != collection.name.rpartition(".")[2]:
        document["table"] = collection.table
    if collection.kind != "table":
        document["kind"] = collection.kind
    document["fields"] = [_describe_field(field, in_key=field.name in collection.primary_key) for field in collection.fields]
    if collection.primary_key != tuple(field.name for field in collection.fields if field.name in collection.primary_key):
        document["primary_key"] = list(collection.primary_key)
    document["indexes"] = [
        {
            "name": index.name,
            "fields": [("-" if part.descending else "") + part.name for part in index.fields],
            "unique": index.unique,
            "kind": index.kind,
        }
        for index in collection.indexes
    ]
    document["relations"] = [_describe_relation(relation) for relation in collection.relations]
    if collection.partitioning is not None:
        parts = collection.partitioning
        document["partitioning"] = {"strategy": parts.strategy, "key": parts.key, **dict(parts.options)}
    document["security"] = _describe_security(collection.security)
    document |= {"timestamps": collection.timestamps, "audit": collection.audit, "versioned": collection.versioned}
    if collection.search is not None:
        search = collection.search
        weights = {"weights": dict(search.weights)} if search.weights else {}
        document["search"] = {"fields": list(search.fields), "language": search.language, **weights}
    if collection.cache_ttl_seconds is not None:
        document["cache"] = {"ttl_seconds": collection.cache_ttl_seconds}
    if collection.additional_fields:
        document["additional_fields"] = "allow"
    if collection.at_least_one:
        document["at_least_one"] = list(collection.at_least_one)
    return document


def _describe_field(field: Field, *, in_key: bool) -> dict[str, object]:
    native = field.type.base is Base.NATIVE and not field.type.array
    described: dict[str, object] = {"name": field.name, "type": f"native({field.type.native})" if native else str(field.type)}
    if not field.nullable:
        described["required"] = True
    if field.default is not None:
        described["default_value"] = write_default(field.default)
    if constraints := write_constraints(field.constraints, primary_key=in_key, references=field.references):
        described["constraints"] = constraints
    if field.column != field.name:
        described["column"] = field.column
    if field.generated:
        described["generated"] = True
    return described


def _describe_relation(relation: Relation) -> dict[str, object]:
    def names(parts: tuple[str, ...]) -> str | list[str]:
        return parts[0] if len(parts) == 1 else list(parts)

    described: dict[str, object] = {"name": relation.name, "collection": relation.collection}
    described |= {"local": names(relation.local), "foreign": names(relation.foreign), "many": relation.many}
    if relation.constraint is not None:
        described["constraint"] = relation.constraint
    if relation.through is not None:
        collection, local, foreign = relation.through
        described["through"] = {"collection": collection, "local": names(local), "foreign": names(foreign)}
    return described


def _describe_security(security: Security) -> dict[str, object]:
    named = {"tenant_field": security.tenant_field, "owner_field": security.owner_field, "relation": security.relation}
    lists = {"hidden": sorted(security.hidden), "read_only": sorted(security.read_only), "encrypted": sorted(security.encrypted)}
    passwords = {"passwords": dict(security.passwords)} if security.passwords else {}
    return {"access_control": security.access_control, **{key: value for key, value in named.items() if value}, **lists, **passwords}
