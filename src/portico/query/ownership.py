"""Whose the documents of a collection are, by its declaration: the rule that scopes are laid against, and that companion rows tell."""

from __future__ import annotations

from collections.abc import Callable

from portico.errors import CollectionNotFound, ConfigurationError
from portico.model.collection import Collection
from portico.query.scoped import EverythingRule, OwnerRule, ParentRule, ScopeRule, SharedRule, TenantRule

Resolve = Callable[[str], Collection | None]
"""Finds a collection of the catalog by name."""

USERS, USER_KEY, USER_CLIENT = "users", "user_id", "client_id"


def limiting_rule(collection: Collection, resolve: Resolve) -> ScopeRule:
    """How `collection` is limited for callers whose scope is not ``*``.

    Raises:
        CollectionNotFound: nobody declared whose documents they are.
        ConfigurationError: the declaration names a field or relation that is not there.
    """
    security = collection.security
    match security.access_control:
        case "shared":
            return SharedRule()
        case "tenant" if security.tenant_field in collection.by_name:
            return TenantRule(security.tenant_field or "")
        case "owner" if security.owner_field in collection.by_name:
            users = resolve(USERS)
            if users is None:
                raise ConfigurationError(f"The collection {collection.name} is owned by users, and there is no collection of users.")
            return OwnerRule(security.owner_field or "", users, USER_KEY, USER_CLIENT)
        case "relation":
            return _through_parent(collection, resolve)
        case "undeclared":
            raise CollectionNotFound(f"There is no collection {collection.name}.", details={"collection": collection.name})
    raise ConfigurationError(f"The collection {collection.name} declares a field for its tenancy that it does not have.")


def _through_parent(collection: Collection, resolve: Resolve) -> ScopeRule:
    relation = next((item for item in collection.relations if item.name == collection.security.relation), None)
    parent = resolve(relation.collection) if relation is not None else None
    if relation is None or parent is None:
        raise ConfigurationError(f"The collection {collection.name} is scoped through a relation that it does not have.")
    return ParentRule(parent, relation.local, relation.foreign, limiting_rule(parent, resolve))


def belongs(collection: Collection, resolve: Resolve) -> ScopeRule:
    """Whose the documents of `collection` are, whoever asks: what companion rows say of them. Nobody's where nobody declared it."""
    return EverythingRule() if collection.security.access_control == "undeclared" else limiting_rule(collection, resolve)
