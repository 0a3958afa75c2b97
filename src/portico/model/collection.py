"""A collection: the schema, rules and origin of one table or document collection."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from portico.model.field import Cascade, Field

AccessControl = Literal["tenant", "owner", "relation", "shared", "undeclared"]


@dataclass(frozen=True, slots=True)
class Security:
    """Who reaches the documents of a collection.

    Attributes:
        access_control: `tenant`: `tenant_field` holds the client's id. `owner`: `owner_field` holds the user's id, and the user's
            client is that of the `users` collection. `relation`: the parent document's scope holds, found through the
            relation named `relation`. `shared`: everybody. `undeclared`: only scope ``*``.
        hidden: fields that no caller sees, in any clause. read_only: fields that callers do not write.
        encrypted: fields that are stored encrypted.
        passwords: members of bodies that are only ever written, each with the hidden field that holds the password's hash.
    """

    access_control: AccessControl = "undeclared"
    tenant_field: str | None = None
    owner_field: str | None = None
    relation: str | None = None
    hidden: frozenset[str] = frozenset()
    read_only: frozenset[str] = frozenset()
    encrypted: frozenset[str] = frozenset()
    passwords: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class IndexField:
    """One field of an index, with its direction."""

    name: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Index:
    """An index. `kind` is `btree`, `gin`, `hash` or an engine's own; `fields` are in order."""

    name: str
    fields: tuple[IndexField, ...]
    unique: bool = False
    kind: str = "btree"


@dataclass(frozen=True, slots=True)
class Relation:
    """A named way from a document to others: where ``other[foreign] == this[local]``, field by field.

    Attributes:
        name: what callers include. collection: the other collection.
        local, foreign: field names, of equal length.
        many: whether several documents may be on the other side.
        constraint: the foreign key's name in the database, where it has one; through a join collection, that towards the other.
        through: for many-to-many, the join collection with its two field tuples (towards this, towards the other).
        on_delete: on the side that is referred to, what becomes of the other documents when this one is deleted; None elsewhere.
    """

    name: str
    collection: str
    local: tuple[str, ...]
    foreign: tuple[str, ...]
    many: bool
    constraint: str | None = None
    through: tuple[str, tuple[str, ...], tuple[str, ...]] | None = None
    on_delete: Cascade | None = None


@dataclass(frozen=True, slots=True)
class Partitioning:
    """How the table is split: `strategy` is hash, range, list, time or distributed, over the field `key`."""

    strategy: str
    key: str
    options: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class Search:
    """Full-text search: the fields with their weights, and the language (a PostgreSQL text search configuration)."""

    fields: tuple[str, ...]
    language: str = "simple"
    weights: tuple[tuple[str, float], ...] = ()


Kind = Literal["table", "view"]
Origin = Literal["builtin", "declared", "discovered"]


@dataclass(frozen=True)
class Collection:
    """What Portico knows of one collection. Immutable: a change of schema makes a new one.

    Attributes:
        name: what callers use; `database`: the configured database that holds it.
        schema: the database's schema (PostgreSQL) or None; `table`: the table's name there.
        fields: in order. primary_key: names of the key's fields in key order; empty means readable only, paged by offset.
        kind: table or view. origin: where its declaration came from.
        timestamps: `created_at` and `updated_at` are kept by Portico. audit, versioned: companion rows written with each change.
        insertable_jointly: False where joint creates would not be right (BEFORE INSERT triggers, key defaults that Portico cannot make).
        additional_fields: undeclared fields are kept (MongoDB).
        at_least_one: fields of which a document has at least one that is not null; empty for no such rule.
    """

    name: str
    database: str
    table: str
    fields: tuple[Field, ...]
    primary_key: tuple[str, ...]
    schema: str | None = None
    kind: Kind = "table"
    origin: Origin = "declared"
    indexes: tuple[Index, ...] = ()
    relations: tuple[Relation, ...] = ()
    security: Security = field(default_factory=Security)
    partitioning: Partitioning | None = None
    search: Search | None = None
    cache_ttl_seconds: float | None = None
    timestamps: bool = False
    audit: bool = False
    versioned: bool = False
    additional_fields: bool = False
    at_least_one: tuple[str, ...] = ()
    insertable_jointly: bool = True

    @cached_property
    def by_name(self) -> dict[str, Field]:
        """The fields by their name."""
        return {item.name: item for item in self.fields}

    @cached_property
    def key_fields(self) -> tuple[Field, ...]:
        """The fields of the primary key, in key order."""
        return tuple(self.by_name[name] for name in self.primary_key)

    @cached_property
    def read_only(self) -> bool:
        """Whether documents can only be read: views, and tables without a key."""
        return self.kind == "view" or not self.primary_key

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other
