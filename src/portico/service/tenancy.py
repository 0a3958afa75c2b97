"""Builds scoped queries: the one place where a bound operation meets the rule that limits it to its caller's documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from portico.model.collection import Collection
from portico.model.scope import Scope
from portico.query.bound import BoundQuery, Parameter, Predicate, embeds_in
from portico.query.bound_pipeline import BoundPipeline
from portico.query.ownership import Resolve, belongs, limiting_rule
from portico.query.scoped import (
    NO_RULES,
    Aggregate,
    Assignment,
    Cascade,
    Change,
    Count,
    Create,
    Delete,
    EverythingRule,
    Export,
    GetByKey,
    Limited,
    ListPage,
    ParentRule,
    Resolution,
    Rules,
    ScopeRule,
    Search,
    Searched,
    SharedRule,
)
from portico.query.search import SearchText


def rule_for(collection: Collection, scope: Scope, resolve: Resolve) -> ScopeRule:
    """How `collection` is limited for callers of this kind of scope.

    Raises:
        CollectionNotFound: nobody declared whose documents they are, and the scope is not ``*``.
        ConfigurationError: the declaration names a field or relation that is not there.
    """
    if scope.everything:
        return EverythingRule()
    return limiting_rule(collection, resolve)


def embedded_rules(query: BoundQuery, scope: Scope, resolve: Resolve) -> Rules:
    """What limits each collection that `query` includes or joins on the way, at any level. Raises as `rule_for`."""
    found: dict[Collection, ScopeRule] = {}
    for embedded in embeds_in(query):
        reached = [embedded.query.collection, *([embedded.join.collection] if embedded.join is not None else [])]
        found.update({collection: rule_for(collection, scope, resolve) for collection in reached})
        found.update(embedded_rules(embedded.query, scope, resolve))
    return found or NO_RULES


def search(text: SearchText, collections: Iterable[tuple[Collection, ScopeRule, ScopeRule]], *, fuzzy: bool) -> Search:
    """A search of collections, each with its caller's rule and with whose its documents are."""
    limited = (Searched(item, None if isinstance(rule, EverythingRule | SharedRule) else whose) for item, rule, whose in collections)
    return Search(text, tuple(limited), fuzzy)


def get_by_key(query: BoundQuery, key: tuple[Parameter, ...], rule: ScopeRule, *, etag: bool, embedded: Rules = NO_RULES) -> GetByKey:
    """One document by its key. A filter (a service's row filter) must hold as well. With related documents in it there is no ETag."""
    return GetByKey(replace(query, order=(), limit=None, offset=None, keyset=None, count=None), key, rule, etag and not embedded, embedded)


def list_page(query: BoundQuery, rule: ScopeRule, embedded: Rules = NO_RULES) -> ListPage:
    """A page."""
    return ListPage(query, rule, embedded)


def count(query: BoundQuery, rule: ScopeRule, embedded: Rules = NO_RULES) -> Count:
    """How many match."""
    return Count(replace(query, order=(), limit=None, offset=None, keyset=None), rule, embedded)


def export(query: BoundQuery, rule: ScopeRule, embedded: Rules = NO_RULES) -> Export:
    """All that match, in order."""
    return Export(replace(query, limit=None, offset=None, keyset=None, count=None), rule, embedded)


def aggregate(query: BoundPipeline, rule: ScopeRule, lookups: tuple[Limited, ...], embedded: Rules = NO_RULES) -> Aggregate:
    """An aggregation.

    Args:
        lookups: limit the collections that it looks up in, each with the service's row filters. embedded: those that its values are of.
    """
    assert len(lookups) == len(query.lookups), "every collection that is looked up in is limited"
    return Aggregate(query, rule, lookups, embedded)


def limited(rule: ScopeRule, predicate: Predicate | None) -> Limited:
    """How a collection that is looked up in is limited."""
    return Limited(rule, predicate)


def references_of(collection: Collection, assignments: tuple[Assignment, ...], rule: ScopeRule, resolve: Resolve) -> tuple[ParentRule, ...]:
    """The references that a write sets to documents which have tenants: what they name must be in scope as well.

    A database's own foreign keys look past row-level security, so that they would tell whether another tenant's document exists. The
    tenant's own field is left out: it is compared with the scope.
    """
    if isinstance(rule, EverythingRule):
        return ()
    found: list[ParentRule] = []
    for name in (assignment.field for assignment in assignments):
        reference = collection.by_name[name].references
        if reference is None or name == collection.security.tenant_field:
            continue
        parent = resolve(reference.collection)
        if parent is None or parent.security.access_control in {"shared", "undeclared"} or reference.field not in parent.by_name:
            continue
        found.append(ParentRule(parent, (name,), (reference.field,), limiting_rule(parent, resolve)))
    return tuple(found)


def create(
    assignments: tuple[Assignment, ...],
    answer: BoundQuery,
    rule: ScopeRule,
    *,
    audit: bool,
    versioned: bool,
    references: tuple[ParentRule, ...] = (),
    belongs: ScopeRule,
    counted: bool = False,
) -> Create:
    """A new document."""
    return Create(answer.collection, assignments, answer, rule, audit, versioned, references=references, belongs=belongs, counted=counted)


def upsert(
    new: Create, on_conflict: tuple[str, ...], resolution: Resolution, *, merge: tuple[str, ...], mergeable: Predicate | None
) -> Create:
    """A new document, or what becomes of the one that has the same values of `on_conflict`. `mergeable` is the service's row filter."""
    return replace(new, on_conflict=on_conflict, resolution=resolution, merge=merge, mergeable=mergeable)


def change(
    collection: Collection,
    assignments: tuple[Assignment, ...],
    rule: ScopeRule,
    *,
    key: tuple[Parameter, ...] = (),
    predicate: Predicate | None = None,
    etag: Parameter | None = None,
    answer: BoundQuery | None = None,
    limit: Parameter | None = None,
    audit: bool,
    versioned: bool,
    references: tuple[ParentRule, ...] = (),
    belongs: ScopeRule,
) -> Change:
    """A change by key, or of every match; a filter-wide change without a filter is a fault of the caller's code."""
    assert key or predicate is not None, "a change of everything was never asked for"
    return Change(collection, assignments, rule, key, predicate, etag, answer, limit, audit, versioned, references, belongs)


def delete(
    collection: Collection,
    rule: ScopeRule,
    *,
    key: tuple[Parameter, ...] = (),
    predicate: Predicate | None = None,
    etag: Parameter | None = None,
    answer: BoundQuery | None = None,
    limit: Parameter | None = None,
    audit: bool,
    versioned: bool,
    cascades: tuple[Cascade, ...] = (),
    belongs: ScopeRule,
) -> Delete:
    """A delete by key, or of every match, with what it does to the documents that refer to them."""
    assert key or predicate is not None, "a delete of everything was never asked for"
    return Delete(collection, rule, key, predicate, etag, answer, limit, audit, versioned, cascades, belongs)


def cascades_of(collection: Collection, collections: tuple[Collection, ...], audited: Callable[[Collection], bool]) -> tuple[Cascade, ...]:
    """What a delete of a document of `collection` does, children first, as deep as references go (a cycle ends where it began)."""
    by_name = {item.name: item for item in collections}
    return _cascades(collection, by_name, audited, (collection.name,))


def _cascades(
    collection: Collection, collections: Mapping[str, Collection], audited: Callable[[Collection], bool], above: tuple[str, ...]
) -> tuple[Cascade, ...]:
    found: list[Cascade] = []
    for child in collections.values():
        if child.database != collection.database or child.read_only:
            continue
        for field in child.fields:
            reference = field.references
            if reference is None or reference.collection != collection.name or reference.field not in collection.by_name:
                continue
            deeper = (
                _cascades(child, collections, audited, (*above, child.name))
                if reference.on_delete == "cascade" and child.name not in above
                else ()
            )
            action, whose = reference.on_delete, belongs(child, collections.get)
            found.append(Cascade(child, (field.name,), (reference.field,), action, audited(child), child.versioned, deeper, whose))
    return tuple(found)
