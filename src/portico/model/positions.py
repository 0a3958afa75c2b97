"""Positions of companion records: the order in which committed rows became visible, the hash chain over the audit, and what reads them."""

from __future__ import annotations

import datetime as dt
import hmac
from collections.abc import Iterable
from dataclasses import dataclass

AUDIT_KIND, MARK_KIND = "audit", "mark"
"""What a position is of: an audit row, or the low-water mark, up to whose id every audit row has its position or never comes."""

CHAIN_PURPOSE = "audit-chain"
"""What the chain's key is derived for."""

FIRST_HASH = bytes(32)
"""What stands for the hash before the first one."""


@dataclass(frozen=True, slots=True)
class Chain:
    """The keyed hash chain over the audit rows, in the order of their positions.

    A hash is HMAC-SHA-256 (RFC 2104) over the hash before it, the position, the row's id, and the SHA-256 of the row's content. With the
    key, which never reaches the database, nobody who can only write its tables can make the hashes of rows that they changed.
    """

    key: bytes

    def link(self, previous: bytes, position: int, row_id: int, content: bytes) -> bytes:
        """The hash of one row. `content` is the SHA-256 of the row as the engine writes it out."""
        return hmac.digest(self.key, previous + position.to_bytes(8, "big") + row_id.to_bytes(8, "big", signed=True) + content, "sha256")

    def links(self, previous: bytes, first: int, rows: Iterable[tuple[int, bytes]]) -> list[bytes]:
        """The hashes of rows (id, content) that have the positions from `first` on."""
        found: list[bytes] = []
        for position, (row_id, content) in enumerate(rows, start=first):
            previous = self.link(previous, position, row_id, content)
            found.append(previous)
        return found


@dataclass(frozen=True, slots=True)
class Advance:
    """What one round of giving positions did.

    Attributes:
        given: how many rows got their position. more: whether others wait already.
        contested: whether somebody else gives them at the moment.
    """

    given: int = 0
    more: bool = False
    contested: bool = False


@dataclass(slots=True)
class Placed:
    """A position as it is stored. `content` is the SHA-256 of the audit row that it names, None where there is none.

    One is made for every row that is verified, so it is not frozen, which would treble the time that takes; nobody changes one.
    """

    position: int
    kind: str
    row_id: int
    hash: bytes | None
    content: bytes | None


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which audit rows are asked for; None is no condition.

    Attributes:
        limit: rows at most. below: rows with a smaller id.
        collections: those that may be shown. clients, users: whose documents may be shown; with `clients`, documents that are nobody's
            are shown where the change was made for one of them, and with `users`, documents that no user owns.
        since, until: from then on, and before then.
    """

    limit: int
    below: int | None = None
    collections: tuple[str, ...] | None = None
    clients: tuple[str, ...] | None = None
    users: tuple[str, ...] | None = None
    document_key: str | None = None
    service: str | None = None
    client_id: str | None = None
    user_id: str | None = None
    operation: str | None = None
    correlation_id: str | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An audit row as it is shown. `before` and `after` are JSON texts; `position` is None until it has one."""

    id: int
    position: int | None
    at: str
    service: str
    client_id: str | None
    user_id: str | None
    correlation_id: str
    collection: str
    operation: str
    document_key: str
    document_client: str | None
    document_user: str | None
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class FeedRow:
    """A committed change. `document_client` and `document_user` say whose the document is; `before` and `after` are JSON texts."""

    position: int
    at: str
    correlation_id: str
    collection: str
    operation: str
    document_key: str
    document_client: str | None
    document_user: str | None
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class FeedPage:
    """The changes of a stretch of positions: every one up to `until` was looked at. `lost`: the row of one of them is not there."""

    rows: tuple[FeedRow, ...]
    until: int
    lost: bool
