"""Which rows of an insert-only table may have become visible since it was last read: they do so out of the order of their ids.

A transaction takes its ids after its transaction id. So what is not visible yet has an id above the largest one that was visible before
its transaction began: each transaction in progress has such a mark, and only one that has ended since makes ids below the newest be
read again. A row is never looked for by `id > last` alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What `pg_current_snapshot()` says: ids below `xmax` have ended, but for those `running`."""

    xmax: int
    running: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Read PostgreSQL's text, ``xmin:xmax:running,…``."""
        _, xmax, running = text.split(":")
        return cls(int(xmax), frozenset(int(item) for item in running.split(",") if item))


@dataclass(slots=True)
class Trail:
    """How far one table was read. Every row that is not read yet has an id above `high`, or above the mark of a transaction in `marks`.

    Attributes:
        mark: the id above which everything is to be read at first. high: the largest id that was read.
        marks: transactions that were in progress, each with the id above which its rows are.
    """

    mark: int
    high: int = field(init=False)
    marks: dict[int, int] = field(init=False, default_factory=dict)
    _before: int = field(init=False)
    _seen: Snapshot | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.high = self._before = self.mark

    def lower(self, now: Snapshot) -> int:
        """The id above which to read, when this is the snapshot."""
        # One round of slack: a server process may have been stopped between taking an id and its transaction id.
        ended = [mark for xid, mark in self.marks.items() if xid not in now.running]
        return min([self._before, *ended])

    def read(self, lower: int, now: Snapshot, high: int) -> None:
        """Everything above `lower` that was visible in the snapshot `now` was read, up to the id `high`."""
        kept = {xid: mark for xid, mark in self.marks.items() if xid in now.running or mark < lower}
        known = self._seen.xmax if self._seen is not None else 0
        new = {xid: self._before for xid in now.running if xid >= known}
        self.marks = {**new, **kept}
        self._before, self.high, self._seen = min(self.high, high), high, now

    @property
    def settled(self) -> int:
        """The id up to which every row that ever comes was read."""
        return min([self._before, *self.marks.values()])
