"""Whose a document is and what its key is, as SQL over one of its rows: the search of both SQL engines writes it beside the words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from portico.engines.sql.identifiers import quote
from portico.model.collection import Collection

MOST_PARENTS = 8


@dataclass(frozen=True, slots=True)
class Writing:
    """How an engine writes it. The text of what is made of it is compared with what the database has: another one indexes anew."""

    text: Callable[[str], str]
    """A value as text."""

    table: Callable[[Collection, str], str]
    """A collection's table under another name."""

    nothing: str | None
    """What stands for nobody."""


def whose(
    collection: Collection, known: Mapping[str, Collection], row: str, writing: Writing, depth: int = 0
) -> tuple[str | None, str | None]:
    """The client and the owner of a row, as SQL that gives text or null; `writing.nothing` where nobody is."""
    security = collection.security
    if security.access_control == "tenant" and security.tenant_field is not None:
        return writing.text(_column(collection, security.tenant_field, row)), writing.nothing
    if security.access_control == "owner" and security.owner_field is not None and "users" in known:
        owner, users = _column(collection, security.owner_field, row), known["users"]
        client = writing.text(_column(users, users.security.tenant_field or "client_id", "u"))
        found = f"SELECT {client} FROM {writing.table(users, 'u')} WHERE u.{quote(users.key_fields[0].column)} = {owner}"  # noqa: S608  # names
        return f"({found})", writing.text(owner)
    relation = next((item for item in collection.relations if item.name == security.relation), None)
    parent = known.get(relation.collection) if relation is not None else None
    if security.access_control == "relation" and relation is not None and parent is not None and depth < MOST_PARENTS:
        above = f"p{depth}"
        pairs = zip(relation.local, relation.foreign, strict=True)
        link = " AND ".join(f"{_column(parent, theirs, above)} = {_column(collection, ours, row)}" for ours, theirs in pairs)
        found_client, found_owner = (
            None if part is None else f"(SELECT {part} FROM {writing.table(parent, above)} WHERE {link})"  # noqa: S608  # names
            for part in whose(parent, known, above, writing, depth + 1)
        )
        return found_client, found_owner
    return writing.nothing, writing.nothing


def document_key(collection: Collection, row: str, writing: Writing) -> str:
    """The key of the row `row` as one text, written as in a path."""
    texts = (writing.text(f"{row}.{quote(field.column)}") for field in collection.key_fields)
    return " || ',' || ".join(f"replace(replace({text}, '%', '%25'), ',', '%2C')" for text in texts)


def _column(collection: Collection, field: str, row: str) -> str:
    return f"{row}.{quote(collection.by_name[field].column)}"
