"""Reads schema documents, the one shape that configuration, migrations and the API share, as collections."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import cast, get_args

from portico.catalog.constraints import read_constraints, read_default
from portico.catalog.names import check_name, nearest
from portico.catalog.reading import Reader
from portico.errors import ConfigurationError
from portico.model.collection import AccessControl, Collection, Index, IndexField, Kind, Partitioning, Relation, Search, Security
from portico.model.field import Base, Default, Field, FieldType, parse_type

_COLLECTION = frozenset({
    "name", "database", "schema", "table", "kind", "fields", "primary_key", "indexes", "relations", "partitioning", "security",
    "timestamps", "audit", "versioned", "search", "cache", "additional_fields", "at_least_one",
})  # fmt: skip
_FIELD = frozenset({"name", "type", "required", "default_value", "constraints", "column", "generated"})
_INDEX = frozenset({"name", "fields", "unique", "kind"})
_RELATION = frozenset({"name", "collection", "local", "foreign", "many", "through", "constraint"})
_THROUGH = frozenset({"collection", "local", "foreign"})
_SECURITY = frozenset({"access_control", "tenant_field", "owner_field", "relation", "hidden", "read_only", "encrypted", "passwords"})
_SEARCH = frozenset({"fields", "language", "weights"})
_OPTIONS = frozenset({"partitions", "interval", "retention", "ahead", "ranges", "lists", "reference", "colocate_with"})
_STRATEGIES = frozenset({"hash", "range", "list", "time", "distributed"})
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_$-]{0,62}")
_NATIVE = re.compile(r"native\((.+)\)")

CREATED_AT, UPDATED_AT = "created_at", "updated_at"
"""The fields that `timestamps: true` adds where they are not declared."""


def declare(document: Mapping[str, object], *, source: str, database: str = "") -> Collection:
    """The collection that a schema document declares.

    Args:
        document: plain data, as YAML or JSON gives it.
        source: where it came from, for errors (``portico.yaml``).
        database: the database of a document that names none.

    Raises:
        ConfigurationError: an unknown key (named with the nearest known one), a value of a wrong type, a name that is reserved.
    """
    reader = Reader(document, source, _COLLECTION)
    name = check_name(reader.required_text("name"), source=source)
    reader.where = where = f"{source}: {name}"
    fields, key = _fields(reader)
    timestamps = reader.flag("timestamps")
    schema, _, table = name.rpartition(".")
    return Collection(
        name=name,
        database=reader.text("database") or database,
        schema=reader.text("schema") or schema or None,
        table=reader.text("table") or table,
        fields=_with_timestamps(fields) if timestamps else fields,
        primary_key=reader.names("primary_key") or key,
        kind=cast("Kind", _one_of(reader, "kind", frozenset(get_args(Kind)), "table")),
        indexes=tuple(_index(item, f"{where}.indexes[{number}]", name) for number, item in enumerate(reader.items("indexes"))),
        relations=tuple(_relation(item, f"{where}.relations[{number}]") for number, item in enumerate(reader.items("relations"))),
        security=_security(reader),
        partitioning=_partitioning(reader),
        search=_search(reader),
        cache_ttl_seconds=_cache(reader),
        timestamps=timestamps,
        audit=reader.flag("audit"),
        versioned=reader.flag("versioned"),
        additional_fields=_additional_fields(reader),
        at_least_one=reader.names("at_least_one"),
    )


def declare_all(documents: Iterable[tuple[str, Mapping[str, object]]], databases: Sequence[str]) -> tuple[Collection, ...]:
    """The collections of a configuration.

    Args:
        documents: each with its source. databases: the names of the databases, of which the first holds what names none.

    Raises:
        ConfigurationError: as `declare`; also for a name that is declared twice and a database that is not configured.
    """
    found: dict[str, Collection] = {}
    for source, document in documents:
        collection = declare(document, source=source, database=databases[0] if databases else "")
        if collection.name in found:
            raise ConfigurationError(f"{source}: the collection {collection.name!r} is declared twice.")
        if collection.database not in databases:
            hint = nearest(collection.database, databases)
            raise ConfigurationError(
                f"{source}: {collection.name} names the database {collection.database!r}, which is not configured.", hint=hint
            )
        found[collection.name] = collection
    return tuple(found.values())


def _fields(reader: Reader) -> tuple[tuple[Field, ...], tuple[str, ...]]:
    fields: list[Field] = []
    key: list[str] = []
    for number, item in enumerate(reader.items("fields")):
        field, in_key = _field(item, f"{reader.where}.fields[{number}]")
        if any(other.name == field.name for other in fields):
            raise ConfigurationError(f"{reader.where} declares the field {field.name!r} twice.")
        fields.append(field)
        key += [field.name] if in_key else []
    return tuple(fields), tuple(key)


def _field(data: object, where: str) -> tuple[Field, bool]:
    reader = Reader(data, where, _FIELD)
    name = reader.required_text("name")
    if _IDENTIFIER.fullmatch(name) is None:
        raise ConfigurationError(f"{where}: {name!r} cannot name a field.", hint="Use letters, digits and underscores, up to 63 of them.")
    text = reader.required_text("type")
    try:
        kind = _type(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error.message}", hint=error.hint) from None
    rules = read_constraints(reader.names("constraints"), kind, where)
    field = Field(
        name=name,
        type=kind,
        column=reader.text("column") or name,
        nullable=not (reader.flag("required") or rules.primary_key),
        default=read_default(reader.raw("default_value"), kind, where),
        constraints=rules.constraints,
        references=rules.references,
        generated=reader.flag("generated"),
    )
    return field, rules.primary_key


def _type(text: str) -> FieldType:
    native = _NATIVE.fullmatch(text)
    return FieldType(Base.NATIVE, native=native[1]) if native is not None else parse_type(text)


def _with_timestamps(fields: tuple[Field, ...]) -> tuple[Field, ...]:
    present = {field.name for field in fields}
    kind = FieldType(Base.DATETIME)
    added = [Field(name, kind, nullable=False, default=Default("now")) for name in (CREATED_AT, UPDATED_AT) if name not in present]
    return (*fields, *added)


def _index(data: object, where: str, collection: str) -> Index:
    reader = Reader(data, where, _INDEX)
    fields = tuple(IndexField(text.removeprefix("-"), text.startswith("-")) for text in reader.names("fields"))
    if not fields:
        raise ConfigurationError(f"{where} needs the key 'fields'.", details={"key": "fields"})
    name = reader.text("name") or f"idx_{collection.rpartition('.')[2]}_{'_'.join(field.name for field in fields)}"
    return Index(name, fields, reader.flag("unique"), reader.text("kind") or "btree")


def _relation(data: object, where: str) -> Relation:
    reader = Reader(data, where, _RELATION)
    local, foreign = reader.names("local"), reader.names("foreign")
    through: tuple[str, tuple[str, ...], tuple[str, ...]] | None = None
    if "through" in reader:
        join = Reader(reader.raw("through"), f"{where}.through", _THROUGH)
        through = (join.required_text("collection"), join.names("local"), join.names("foreign"))
    if not local or not foreign or len(local) != len(foreign):
        raise ConfigurationError(f"{where} needs as many local as foreign fields.", hint="Write local: id and foreign: invoice_id.")
    many = reader.flag("many") if "many" in reader else True
    return Relation(
        reader.required_text("name"), reader.required_text("collection"), local, foreign, many, reader.text("constraint"), through
    )


def _security(parent: Reader) -> Security:
    if "security" not in parent:
        return Security()
    reader = Reader(parent.raw("security"), f"{parent.where}.security", _SECURITY)
    tenant, owner, relation = reader.text("tenant_field"), reader.text("owner_field"), reader.text("relation")
    implied = "tenant" if tenant else "owner" if owner else "relation" if relation else "undeclared"
    control = _one_of(reader, "access_control", frozenset(get_args(AccessControl)), implied)
    needed = {"tenant": ("tenant_field", tenant), "owner": ("owner_field", owner), "relation": ("relation", relation)}.get(control)
    if needed is not None and not needed[1]:
        raise ConfigurationError(
            f"{reader.where} needs the key {needed[0]!r}, because access_control is {control}.", details={"key": needed[0]}
        )
    stated = reader.raw("passwords") or {}
    members = tuple(str(member) for member in stated) if isinstance(stated, Mapping) else ()
    hashes = Reader(stated, f"{reader.where}.passwords", frozenset(members))
    passwords = tuple((member, hashes.required_text(member)) for member in members)
    return Security(
        cast("AccessControl", control),
        tenant,
        owner,
        relation,
        # What is kept of a password shows nowhere, whether that was asked for or not.
        hidden=frozenset((*reader.names("hidden"), *(stored for _, stored in passwords))),
        read_only=frozenset(reader.names("read_only")),
        encrypted=frozenset(reader.names("encrypted")),
        passwords=passwords,
    )


def _partitioning(parent: Reader) -> Partitioning | None:
    if "partitioning" not in parent:
        return None
    reader = Reader(parent.raw("partitioning"), f"{parent.where}.partitioning", _OPTIONS | {"strategy", "key"})
    strategy = _one_of(reader, "strategy", _STRATEGIES, "")
    return Partitioning(strategy, reader.required_text("key"), tuple(sorted(reader.rest(_OPTIONS).items())))


def _search(parent: Reader) -> Search | None:
    if "search" not in parent:
        return None
    reader = Reader(parent.raw("search"), f"{parent.where}.search", _SEARCH)
    fields = reader.names("fields")
    weights = Reader(reader.raw("weights") or {}, f"{reader.where}.weights", frozenset(fields))
    found = tuple((name, weight) for name in fields if (weight := weights.number(name)) is not None)
    return Search(fields, reader.text("language") or "simple", found)


def _cache(parent: Reader) -> float | None:
    if "cache" not in parent:
        return None
    return Reader(parent.raw("cache"), f"{parent.where}.cache", frozenset({"ttl_seconds"})).number("ttl_seconds")


def _additional_fields(reader: Reader) -> bool:
    if isinstance(reader.raw("additional_fields"), bool):
        return reader.flag("additional_fields")
    return _one_of(reader, "additional_fields", frozenset({"allow", "forbid"}), "forbid") == "allow"


def _one_of(reader: Reader, key: str, known: frozenset[str], missing: str) -> str:
    value = reader.text(key) or missing
    if value not in known:
        raise ConfigurationError(f"{reader.where}: {key} cannot be {value!r}.", hint=nearest(value, known), details={"key": key})
    return value
