"""The contract of an engine that keeps companion records: it gives them positions, and reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from portico.model.positions import Advance, AuditQuery, AuditRow, Chain, FeedPage, Placed


class Positions(Protocol):
    """Gives committed companion rows their positions, in the order in which they became visible. It belongs to one task."""

    async def advance(self) -> Advance:
        """One round: what became visible since the last one gets its positions, at most a few thousand rows. Raises PorticoError."""
        ...


class Records(Protocol):
    """The companion records of one database: gives them positions, and reads them. Every method raises PorticoError."""

    def positions(self, chain: Chain) -> Positions:
        """What gives positions in this database, chaining the audit rows."""
        ...

    async def audited(self, query: AuditQuery) -> Sequence[AuditRow]:
        """Audit rows, the newest first."""
        ...

    async def placed(self, after: int, limit: int) -> Sequence[Placed]:
        """The positions after one, in order, each audit row's with the SHA-256 of its content as it is now."""
        ...

    async def last_hash(self, position: int) -> bytes | None:
        """The hash of the last audit row at or before a position; None where there is none."""
        ...

    async def newest_position(self) -> int:
        """The last position that was given; 0 for none."""
        ...

    async def settled(self) -> int:
        """The id up to which every audit row that ever comes has its position."""
        ...

    async def unplaced(self, after: int, limit: int) -> tuple[Sequence[int], int | None]:
        """Of the next `limit` audit rows beyond an id, the ids of those without a position; and the last id, None where no row was left."""
        ...

    async def changes(self, after: int, collections: Sequence[str], limit: int) -> FeedPage:
        """Changes of these collections after a position, in order: of the next `limit` positions at most."""
        ...

    async def aged(self, position: int) -> float | None:
        """How many seconds ago the first change after a position was made; None where there is none, infinity where it is not kept."""
        ...


@runtime_checkable
class Recording(Protocol):
    """An engine that keeps companion records, where `init-db` made their tables."""

    @property
    def records(self) -> Records:
        """Them."""
        ...


__all__ = ["Positions", "Recording", "Records"]
