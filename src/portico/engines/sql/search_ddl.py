"""What makes collections searchable: the table of what is searched, and for each collection the triggers that keep its rows there.

Triggers follow whoever writes the collection, in the same transaction. The rows stand beside the collections because row-level security
keeps an index from being used for what may leak, and finding words may. Each row holds its collection, its client and its owner as words
that nobody can type, so that one index finds the documents of one tenant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import sqlalchemy as sa

from portico.engines.sql.search_postgres import PostgresSearch
from portico.engines.sql.search_sqlite import SqliteSearch
from portico.model.collection import Collection


def create_search(connection: sa.Connection, collections: Sequence[Collection], known: Mapping[str, Collection]) -> tuple[Collection, ...]:
    """Make the triggers of the searchable ones among `collections` what they should be, in one transaction; those of others are removed.

    Args:
        collections: every collection of the database that has a table. known: all collections by name, to find owners and parents.
    Returns:
        the collections whose documents are not indexed yet, or not as they should be: for `fill_search`.
    """
    wanted = [item for item in collections if item.search is not None and item.primary_key and item.kind == "table"]
    return _kind(connection).prepare(connection, wanted, known)


def fill_search(connection: sa.Connection, collection: Collection, known: Mapping[str, Collection]) -> Iterator[None]:
    """Index the documents that are there, and note that it is done. Safe to run again.

    Stops after every few thousand documents for its caller to commit.
    """
    yield from _kind(connection).fill(connection, collection, known)


def _kind(connection: sa.Connection) -> PostgresSearch | SqliteSearch:
    return PostgresSearch() if connection.dialect.name == "postgresql" else SqliteSearch()
