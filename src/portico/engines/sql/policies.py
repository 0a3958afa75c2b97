"""Row-level security on PostgreSQL: the policy that lets a role see only the documents of its statement's scope.

The scope is in the settings `portico.clients` and `portico.users` (array literals) and `portico.all`. An unset or empty scope selects
nothing, without an error; no users stand for every user of the clients. Each setting is read in a sub-select, so that PostgreSQL
evaluates it once for a statement and not for each row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from portico.engines.sql.identifiers import APP_SCHEMA, quote
from portico.errors import ConfigurationError
from portico.model.collection import Collection, Security
from portico.model.field import Base, Field

POLICY = "portico_scope"
"""The policy's name on every table that has one."""

_EVERYTHING = "(SELECT current_setting('portico.all', true)) = 'on'"
_TEXTS = (Base.STRING, Base.TEXT)
_DEPTH = 8
_MARKED = ("access_control", "tenant_field", "owner_field", "relation")


def enable_policy(collection: Collection, known: Mapping[str, Collection], *, default_schema: str = APP_SCHEMA) -> list[str]:
    """Statements that put a collection's table under its policy, for the owner too; none where the collection is shared.

    Args:
        collection: what is guarded; where its tenancy is undeclared, only `portico.all` opens it.
        known: other collections by name: the parents, and `users` for owned ones.

    Raises:
        ConfigurationError: the declared parent or owner cannot be followed.
    """
    if collection.security.access_control == "shared":
        return []
    table = _table(collection, default_schema)
    rule = _rule(collection, table, known, default_schema, 0)
    condition = f"{_EVERYTHING} OR ({rule})" if rule else _EVERYTHING
    return [
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
        f"DROP POLICY IF EXISTS {POLICY} ON {table}",
        f"CREATE POLICY {POLICY} ON {table} USING ({condition}) WITH CHECK ({condition})",
        mark_policy(collection, default_schema=default_schema),
    ]


def mark_policy(collection: Collection, *, default_schema: str = APP_SCHEMA) -> str:
    """The statement that tells beside a collection's policy what it was made of: the database writes conditions in a form of its own."""
    mark = json.dumps({name: getattr(collection.security, name) for name in _MARKED}).replace("'", "''")
    return f"COMMENT ON POLICY {POLICY} ON {_table(collection, default_schema)} IS '{mark}'"


def marked_security(mark: str | None, security: Security) -> Security:
    """`security` with what the mark says of its policy; as it is where there is no mark."""
    try:
        told = json.loads(mark or "")
        return replace(security, **{name: told[name] for name in _MARKED})
    except (ValueError, KeyError, TypeError):
        return security


def disable_policy(collection: Collection, *, default_schema: str = APP_SCHEMA) -> list[str]:
    """Statements that undo `enable_policy`."""
    table = _table(collection, default_schema)
    return [
        f"DROP POLICY IF EXISTS {POLICY} ON {table}",
        f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
    ]


def _table(collection: Collection, default_schema: str) -> str:
    return f"{quote(collection.schema or default_schema)}.{quote(collection.table)}"


def _setting(name: str) -> str:
    return f"(SELECT nullif(current_setting('{name}', true), '')::text[])::text[]"


def _among(table: str, field: Field, setting: str) -> str:
    column = f"{table}.{quote(field.column)}"
    # Ids travel as texts; another type is compared as text, so that an id that is none of that type matches nothing.
    compared = column if field.type.base in _TEXTS else f"{column}::text"
    return f"{compared} = ANY ({_setting(setting)})"


def _rule(collection: Collection, table: str, known: Mapping[str, Collection], default_schema: str, depth: int) -> str | None:
    security = collection.security
    if security.access_control == "tenant":
        return _among(table, _field(collection, security.tenant_field), "portico.clients")
    if security.access_control == "owner":
        users = known.get("users")
        if users is None or users.security.tenant_field is None:
            raise ConfigurationError(f"The collection {collection.name} is owned by users, but there is no collection users with a tenant.")
        owner = _field(collection, security.owner_field)
        every_user = "(SELECT coalesce(nullif(current_setting('portico.users', true), ''), '{}')) = '{}'"
        inside = _exists(users, (owner.column,), (users.primary_key[0],), table, known, default_schema, depth)
        return f"({every_user} OR {_among(table, owner, 'portico.users')}) AND {inside}"
    if security.access_control == "relation":
        if depth >= _DEPTH:
            raise ConfigurationError(f"The relations that scope {collection.name} go in a circle.")
        parent, local, foreign = _parent(collection, known)
        return _exists(parent, local, foreign, table, known, default_schema, depth)
    return None


def _exists(
    parent: Collection,
    local: tuple[str, ...],
    foreign: tuple[str, ...],
    table: str,
    known: Mapping[str, Collection],
    default_schema: str,
    depth: int,
) -> str:
    alias = f"scope_{depth + 1}"
    joined = [
        f"{alias}.{quote(parent.by_name[theirs].column)} = {table}.{quote(ours)}" for ours, theirs in zip(local, foreign, strict=True)
    ]
    rule = "true" if parent.security.access_control == "shared" else _rule(parent, alias, known, default_schema, depth + 1) or "false"
    condition = " AND ".join([*joined, f"({rule})"])
    return f"EXISTS (SELECT 1 FROM {_table(parent, default_schema)} AS {alias} WHERE {condition})"  # noqa: S608  # quoted names, no values


def _parent(collection: Collection, known: Mapping[str, Collection]) -> tuple[Collection, tuple[str, ...], tuple[str, ...]]:
    """The parent that `security.relation` leads to, with the columns here and the fields there.

    A relation is declared, or named as the catalog names a reference: the field without ``_id``, or the referenced collection.
    """
    name = collection.security.relation
    for relation in collection.relations:
        if relation.name == name and relation.collection in known:
            return known[relation.collection], tuple(collection.by_name[field].column for field in relation.local), relation.foreign
    for field in collection.fields:
        reference = field.references
        if reference is not None and name in (field.name.removesuffix("_id"), reference.collection) and reference.collection in known:
            return known[reference.collection], (field.column,), (reference.field,)
    raise ConfigurationError(f"The collection {collection.name} is scoped by the relation {name!r}, which it does not have.")


def _field(collection: Collection, name: str | None) -> Field:
    if name is None or name not in collection.by_name:
        raise ConfigurationError(f"The collection {collection.name} is scoped by the field {name!r}, which it does not have.")
    return collection.by_name[name]
