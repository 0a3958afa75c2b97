"""The built-in collections as the model knows them; tables, API and models derive from these or are tested equal to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from portico.builtin.collections.conversations import CONVERSATIONS, MESSAGES
from portico.builtin.collections.events import EVENTS
from portico.builtin.collections.people import CLIENTS, USER_IDENTITIES, USERS
from portico.builtin.collections.work import DIAGRAMS, DOCUMENT_METADATA, DOCUMENTS, WIREFRAMES
from portico.catalog.declare import declare
from portico.model.collection import Collection

SCHEMA = "app"
"""PostgreSQL's schema of the built-in collections."""

DOCUMENTS_OF_ALL: tuple[dict[str, object], ...] = (
    CLIENTS,
    USERS,
    USER_IDENTITIES,
    DOCUMENT_METADATA,
    DOCUMENTS,
    WIREFRAMES,
    CONVERSATIONS,
    MESSAGES,
    DIAGRAMS,
    EVENTS,
)
"""Their schema documents, referenced collections before those that refer to them."""


def builtin_collections(database: str, *, schema: str | None = SCHEMA) -> tuple[Collection, ...]:
    """The built-in collections of one database, without relations: the catalog derives those from the references.

    Args:
        database: the configured database's name.
        schema: `SCHEMA` on PostgreSQL, None on SQLite.
    """
    made = [declare(document, source="built-in", database=database) for document in DOCUMENTS_OF_ALL]
    return tuple(replace(collection, schema=schema, origin="builtin") for collection in made)


def builtin_database(types: Mapping[str, str]) -> str | None:
    """The database that holds the built-in collections: the first SQL one, as configured (name to type); None where there is none."""
    return next((name for name, kind in types.items() if kind in ("postgresql", "sqlite")), None)
