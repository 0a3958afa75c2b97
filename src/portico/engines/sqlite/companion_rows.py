"""The rows that a change leaves in the companion tables, in its own transaction."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from portico.engines.sql.types import stored_datetime
from portico.engines.sqlite.storage import Stored
from portico.model.companions import AUDIT, VERSIONS, for_sqlite
from portico.model.identity import Actor

AUDIT_TABLE = for_sqlite(AUDIT).table
VERSIONS_TABLE = for_sqlite(VERSIONS).table

_WHO = "at, service, client_id, user_id, correlation_id, collection, operation, document_key, document_client, document_user"
_AUDIT = f'INSERT INTO "{AUDIT_TABLE}" ({_WHO}, before, after) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)'  # noqa: S608  # constants
_VERSION = (
    f'INSERT INTO "{VERSIONS_TABLE}" ({_WHO}, document, version) SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '  # noqa: S608  # constants
    f'1 + coalesce((SELECT max(version) FROM "{VERSIONS_TABLE}" WHERE collection = ? AND document_key = ?), 0)'
)


@dataclass(frozen=True, slots=True)
class Companion:
    """Writes the companion rows of one changed document of `collection`, on behalf of `actor`."""

    connection: sqlite3.Connection
    actor: Actor
    collection: str
    audit: bool
    versioned: bool

    def write(self, operation: str, key: Sequence[Stored], whose: Sequence[Stored], before: Stored, after: Stored, whole: Stored) -> None:
        """Write them.

        Args:
            operation: create, update or delete. key: the stored values of the document's key. whose: its client and its user.
            before, after: the masked record as JSON text. whole: the document as its version keeps it; None for a deletion.
        """
        if not (self.audit or self.versioned):
            return
        place = path_of(key)
        who = (*self._actor(), operation, place, *whose)
        if self.audit:
            self.connection.execute(_AUDIT, (*who, before, after))
        if self.versioned:
            self.connection.execute(_VERSION, (*who, whole, self.collection, place))

    def write_created(self, rows: Iterable[tuple[Sequence[Stored], Sequence[Stored], Stored, Stored]]) -> None:
        """Write those of many documents that were created at once: of each its key, whose it is, its record and the whole, as above."""
        actor = self._actor()
        created = [((*actor, "create", path_of(key), *whose), after, whole) for key, whose, after, whole in rows]
        if self.audit:
            self.connection.executemany(_AUDIT, [(*who, None, after) for who, after, _ in created])
        if self.versioned:
            self.connection.executemany(_VERSION, [(*who, whole, self.collection, who[7]) for who, _, whole in created])

    def _actor(self) -> tuple[Stored, ...]:
        at = stored_datetime(dt.datetime.now(dt.UTC))
        actor = self.actor
        return (at, actor.service, actor.client_id, actor.user_id, actor.correlation_id, self.collection)


def path_of(values: Sequence[Stored]) -> str:
    """A document's key as its address writes it: parts joined by a comma, each percent-encoded where it holds one."""
    return ",".join([str(value).replace("%", "%25").replace(",", "%2C") for value in values])
