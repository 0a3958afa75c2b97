"""What an engine accepts, and nothing else: a bound operation together with the rule that limits it to a scope.

Only `service/tenancy.py` builds these. An engine has no way to run a `BoundQuery`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from portico.model.collection import Collection
from portico.model.function import Function
from portico.query.bound import BoundQuery, Parameter, Predicate
from portico.query.bound_pipeline import BoundPipeline
from portico.query.search import SearchText


@dataclass(frozen=True, slots=True)
class TenantRule:
    """Documents whose `field` is one of the scope's clients."""

    field: str


@dataclass(frozen=True, slots=True)
class OwnerRule:
    """Documents whose `field` is one of the scope's users, or, without users, a user of one of the scope's clients.

    `users` is the collection of users; `user_key` and `user_client` are its fields.
    """

    field: str
    users: Collection
    user_key: str
    user_client: str


@dataclass(frozen=True, slots=True)
class ParentRule:
    """Documents whose parent (``parent[foreign] == document[local]``) is in scope by `rule`."""

    parent: Collection
    local: tuple[str, ...]
    foreign: tuple[str, ...]
    rule: ScopeRule


@dataclass(frozen=True, slots=True)
class SharedRule:
    """Every document, for every caller."""


@dataclass(frozen=True, slots=True)
class EverythingRule:
    """Every document, because the scope is ``*``."""


ScopeRule = TenantRule | OwnerRule | ParentRule | SharedRule | EverythingRule
"""How a collection's documents are limited. The values come with each call's `Scope`, never with the plan."""

Rules = Mapping[Collection, ScopeRule]
"""How each collection is limited whose documents are embedded or joined on the way, at any level."""

NO_RULES: Rules = MappingProxyType({})


@dataclass(frozen=True)
class GetByKey:
    """One document by its key. `key` has a parameter for each key field. `etag`: answer the content's hash as well."""

    query: BoundQuery
    key: tuple[Parameter, ...]
    rule: ScopeRule
    etag: bool = True
    embedded: Rules = field(default_factory=dict)


@dataclass(frozen=True)
class ListPage:
    """A page of documents. `etag` members are not answered. Its cost is bounded by `limit`."""

    query: BoundQuery
    rule: ScopeRule
    embedded: Rules = field(default_factory=dict)


@dataclass(frozen=True)
class Count:
    """How many documents match `query.filter`."""

    query: BoundQuery
    rule: ScopeRule
    embedded: Rules = field(default_factory=dict)


@dataclass(frozen=True)
class Export:
    """Every document that matches, one JSON object text each, streamed in bounded memory."""

    query: BoundQuery
    rule: ScopeRule
    embedded: Rules = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limited:
    """How the documents of a collection that is looked up in are limited: to a scope, and by the service's row filters."""

    rule: ScopeRule
    filter: Predicate | None = None


@dataclass(frozen=True)
class Aggregate:
    """An aggregation, answered as a `Page` without a cursor. `lookups` limit those of the pipeline, in the same order."""

    query: BoundPipeline
    rule: ScopeRule
    lookups: tuple[Limited, ...] = ()
    embedded: Rules = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Assignment:
    """`field = value`: a parameter of the call."""

    field: str
    value: Parameter


Resolution = Literal["merge", "ignore"]
"""What becomes of a document that a new one would duplicate: it is changed, or left as it is and the new one left out."""


@dataclass(frozen=True)
class Create:
    """Create one document from `assignments`; fields that are not there get the database's own default.

    Attributes:
        answer: what is answered of it.
        on_conflict: the unique fields that decide whether it is there already, and with `resolution` what becomes of the one that is.
        merge: the fields of `assignments` that a merge sets. mergeable: what must hold of a document that is there, beside the rule.
        rule: the new document must be in scope, or the create is refused.
        audit, versioned: companion rows to write in the same statement.
        references: what the document names must be in scope too, or the create is refused as if it did not exist.
        belongs: whose the document is, whoever asks, for its companion rows.
        counted: nobody reads what was created, so that engines write many by one statement and answer documents without a body.
    """

    collection: Collection
    assignments: tuple[Assignment, ...]
    answer: BoundQuery
    rule: ScopeRule
    audit: bool = False
    versioned: bool = False
    on_conflict: tuple[str, ...] = ()
    resolution: Resolution | None = None
    merge: tuple[str, ...] = ()
    mergeable: Predicate | None = None
    references: tuple[ParentRule, ...] = ()
    belongs: ScopeRule = EverythingRule()
    counted: bool = False


@dataclass(frozen=True)
class Change:
    """Update one document by key, or every document that matches `filter`.

    Attributes:
        key: parameters of the key fields; empty for a filter-wide change.
        etag: the parameter that must equal the locked row's hash, if the caller gave a condition.
        answer: what is answered of each changed document; None where only the count is.
        limit: at most this many documents, else `TooManyAffected` and nothing is changed.
        references, belongs: as in `Create`.
    """

    collection: Collection
    assignments: tuple[Assignment, ...]
    rule: ScopeRule
    key: tuple[Parameter, ...] = ()
    filter: Predicate | None = None
    etag: Parameter | None = None
    answer: BoundQuery | None = None
    limit: Parameter | None = None
    audit: bool = False
    versioned: bool = False
    references: tuple[ParentRule, ...] = ()
    belongs: ScopeRule = EverythingRule()


@dataclass(frozen=True)
class Cascade:
    """What a delete does to the documents that refer to the deleted ones, children first.

    ``child[foreign] == deleted[local]``: they are deleted, or their field is set to null; `restrict` fails the delete.
    """

    child: Collection
    foreign: tuple[str, ...]
    local: tuple[str, ...]
    action: Literal["cascade", "set_null", "restrict"]
    audit: bool
    versioned: bool
    cascades: tuple[Cascade, ...] = ()
    belongs: ScopeRule = EverythingRule()


@dataclass(frozen=True)
class Delete:
    """Delete one document by key, or every document that matches `filter`; arguments as in `Change`."""

    collection: Collection
    rule: ScopeRule
    key: tuple[Parameter, ...] = ()
    filter: Predicate | None = None
    etag: Parameter | None = None
    answer: BoundQuery | None = None
    limit: Parameter | None = None
    audit: bool = False
    versioned: bool = False
    cascades: tuple[Cascade, ...] = ()
    belongs: ScopeRule = EverythingRule()


@dataclass(frozen=True, slots=True)
class Searched:
    """A collection that is searched, and how its documents are limited: `belongs` says whose they are, None that the caller sees all."""

    collection: Collection
    belongs: ScopeRule | None


@dataclass(frozen=True, slots=True)
class Search:
    """A search of collections of one database.

    Attributes:
        fuzzy: words that are written a little differently count as well.
    """

    text: SearchText
    collections: tuple[Searched, ...]
    fuzzy: bool = False


ScopedQuery = GetByKey | ListPage | Count | Export | Aggregate | Create | Change | Delete


@dataclass(frozen=True)
class CallFunction:
    """A call of a function that the configuration names. The scope is set around it, for row-level security; it is no `ScopedQuery`.

    Attributes:
        arguments: names with their parameters. query: what is asked of the rows that it gives, bound to a collection of its columns.
        read_only: it may change nothing. rule: every row that it gives is answered; what it reads is limited by its own rights.
        zone: the time zone that the function runs in, an IANA name. embedded: what limits the related documents of its rows.
    """

    function: Function
    arguments: tuple[tuple[str, Parameter], ...]
    query: BoundQuery
    read_only: bool
    rule: SharedRule = SharedRule()
    zone: str = "UTC"
    embedded: Rules = field(default_factory=dict)


Runnable = ScopedQuery | CallFunction
"""What an engine makes ready to run."""
