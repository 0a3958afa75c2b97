"""What a service may do with a collection: its matching rules made into one `Access`, and the check of a permission."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from portico.errors import CollectionNotFound, Forbidden
from portico.model.collection import Collection
from portico.model.identity import Identity, Permission, Rule

_SYSTEM_SCHEMAS = frozenset({"portico", "information_schema"})
_SYSTEM_PREFIXES = ("pg_", "sqlite_")
_MAX_CACHED = 20_000


@dataclass(frozen=True, slots=True)
class Access:
    """What one set of rules allows on one collection.

    Attributes:
        collection: its name. visible: False where nothing of it may show, not even that it exists.
        permissions: the union of what the matching rules grant.
        hidden, read_only: the fields that the collection or any matching rule takes away.
        row_filters: filters in the JSON syntax that every document must match, all of them.
    """

    collection: str
    visible: bool
    permissions: frozenset[Permission]
    hidden: frozenset[str]
    read_only: frozenset[str]
    row_filters: tuple[str, ...]


_cache: dict[tuple[str, bool, Collection], tuple[tuple[Rule, ...], Access]] = {}


def fingerprint(rules: Iterable[Rule], statement_timeout: float | None) -> str:
    """A short text, equal for equal rules and timeout: services that share it share plans."""
    values = [[r.pattern, sorted(r.permissions), sorted(r.hidden), sorted(r.read_only), r.row_filter] for r in rules]
    text = json.dumps([values, statement_timeout], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def effective(identity: Identity, collection: Collection) -> Access:
    """What `identity` may do with `collection`; remembered by fingerprint. It raises nothing: see `require`."""
    everything = identity.may_ask_everything
    key = (identity.fingerprint, everything, collection)
    known = _cache.get(key)
    # The rules are compared as well: an identity whose fingerprint was not made by `fingerprint` never gets another's access.
    if known is not None and known[0] == identity.rules:
        return known[1]
    access = _decide(identity.rules, everything, collection)
    while len(_cache) >= _MAX_CACHED:
        del _cache[next(iter(_cache))]
    _cache[key] = (identity.rules, access)
    return access


def require(access: Access, permission: Permission) -> None:
    """Check one permission.

    Raises:
        CollectionNotFound: the caller may not know of the collection.
        Forbidden: it may, but lacks the permission; the error names both.
    """
    if permission in access.permissions:
        return
    if not access.visible:
        raise CollectionNotFound(f"There is no collection {access.collection}.", details={"collection": access.collection})
    raise Forbidden(
        f"The permission {permission.value} on {access.collection} is not granted.",
        hint="Ask who runs Portico for a key that has it.",
        details={"permission": permission.value, "collection": access.collection},
    )


def _decide(rules: tuple[Rule, ...], everything: bool, collection: Collection) -> Access:
    security = collection.security
    if _is_system(collection) or (security.access_control == "undeclared" and not everything):
        return Access(collection.name, False, frozenset(), security.hidden, security.read_only, ())
    matching = [rule for rule in rules if fnmatchcase(collection.name, rule.pattern)]
    return Access(
        collection=collection.name,
        visible=True,
        permissions=frozenset().union(*(rule.permissions for rule in matching)),
        hidden=security.hidden.union(*(rule.hidden for rule in matching)),
        read_only=security.read_only.union(*(rule.read_only for rule in matching)),
        row_filters=tuple(dict.fromkeys(rule.row_filter for rule in matching if rule.row_filter is not None)),
    )


def _is_system(collection: Collection) -> bool:
    schema = collection.schema or ""
    return schema in _SYSTEM_SCHEMAS or schema.startswith("pg_") or collection.table.startswith(_SYSTEM_PREFIXES)
