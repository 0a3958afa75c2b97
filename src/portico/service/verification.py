"""Verifies the audit: that no row was changed, removed or added since its position was given, in bounded memory however many there are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from portico.engines.records import Records
from portico.model.positions import AUDIT_KIND, FIRST_HASH, MARK_KIND, Chain, Placed

AT_ONCE = 5000
MOST_LISTED = 100
_PATIENCE = 3
_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and where: the position and the id of the audit row, as far as they are known.

    `kind` is `changed`, `removed`, `inserted`, `hash_changed`, `positions_removed` or `head_missing`.
    """

    kind: str
    text: str
    position: int | None = None
    row_id: int | None = None


@dataclass(slots=True)
class Verdict:
    """What was found.

    Attributes:
        rows: audit rows that were checked. problems: the first hundred; `found` counts all of them.
        position, hash: the head of the chain, which may be kept elsewhere; None where there is no row.
        pending: rows that have no position yet.
    """

    rows: int = 0
    problems: list[Problem] = field(default_factory=list)
    found: int = 0
    position: int | None = None
    hash: bytes | None = None
    pending: int = 0

    def add(self, problem: Problem) -> None:
        """Note a problem."""
        self.found += 1
        if len(self.problems) < MOST_LISTED:
            self.problems.append(problem)


class Verification:
    """One run over the audit of a database.

    Args:
        records: of the database. chains: with the key in force and those before it; the first one that fits a row is tried first.
        first: the position to begin at; the hash before it is then believed. head: a hash that the chain must have.
        advanced: told how many positions were checked.
    """

    def __init__(
        self, records: Records, chains: Sequence[Chain], *, first: int = 1, head: bytes | None = None, advanced: Callable[[int], None]
    ) -> None:
        self._records = records
        self._chains = list(chains)
        self._first = first
        self._head = head
        self._advanced = advanced
        self._verdict = Verdict()
        self._expected = first
        self._previous = FIRST_HASH
        self._believed = False  # the hash before is not known: positions are missing
        self._alternative: bytes | None = None  # what the hash before should have been
        self._head_seen = head is None
        self._ids: tuple[int, int] | None = None  # the smallest and the largest id of a row with a position

    async def run(self) -> Verdict:
        """Check everything. Raises PorticoError where the database fails."""
        self._previous = await self._records.last_hash(self._first - 1) or FIRST_HASH
        self._head_seen = self._head_seen or self._previous == self._head
        batch = await self._records.placed(self._first - 1, AT_ONCE)
        while batch:
            # The database reads on while these are hashed.
            following = asyncio.ensure_future(self._records.placed(batch[-1].position, AT_ONCE))
            await asyncio.sleep(0)
            for placed in batch:
                self._check(placed)
            self._advanced(len(batch))
            batch = await following
        await self._check_unplaced()
        if not self._head_seen:
            self._verdict.add(Problem("head_missing", "The chain does not have the given head: rows at its end were removed, or all anew."))
        return self._verdict

    def _check(self, placed: Placed) -> None:
        if placed.position != self._expected:
            until = placed.position - 1
            self._verdict.add(
                Problem("positions_removed", f"The positions {self._expected} to {until} were removed.", position=self._expected)
            )
            self._believed, self._alternative = True, None
        self._expected = placed.position + 1
        if placed.kind == AUDIT_KIND:
            self._check_row(placed)
        elif placed.kind != MARK_KIND:
            self._verdict.add(Problem("inserted", f"The position {placed.position} is of no known kind.", position=placed.position))
            self._believed, self._alternative = True, None

    def _check_row(self, placed: Placed) -> None:
        low, high = self._ids or (placed.row_id, placed.row_id)
        self._ids = min(low, placed.row_id), max(high, placed.row_id)
        where = {"position": placed.position, "row_id": placed.row_id}
        alternative = None
        if placed.content is None:
            self._verdict.add(Problem("removed", f"The audit row {placed.row_id} was removed.", **where))
        else:
            self._verdict.rows += 1
            fits = self._fits(self._previous, placed)
            if not fits and self._alternative is not None and self._fits(self._alternative, placed):
                # This row and its hash are what they were: of the one before, the hash alone was changed.
                self._rename_last()
            elif not fits and not self._believed:
                self._verdict.add(Problem("changed", f"The audit row {placed.row_id} is not what was written.", **where))
                alternative = self._chains[0].link(self._previous, placed.position, placed.row_id, placed.content)
        self._believed = placed.hash is None
        self._alternative = alternative
        self._previous = placed.hash or bytes(32)
        self._head_seen = self._head_seen or placed.hash == self._head
        self._verdict.position, self._verdict.hash = placed.position, placed.hash

    def _fits(self, previous: bytes, placed: Placed) -> bool:
        assert placed.content is not None, "only a row that is there can fit"
        for at, chain in enumerate(self._chains):
            if chain.link(previous, placed.position, placed.row_id, placed.content) == placed.hash:
                if at:
                    self._chains.insert(0, self._chains.pop(at))
                return True
        return False

    def _rename_last(self) -> None:
        before = self._verdict.problems[-1] if self._verdict.found == len(self._verdict.problems) else None
        if before is not None and before.position is not None:
            text = f"The hash at position {before.position}, of the audit row {before.row_id}, was changed."
            self._verdict.problems[-1] = Problem("hash_changed", text, before.position, before.row_id)

    async def _check_unplaced(self) -> None:
        """Rows without a position: those that came just now, and those that somebody added where positions were given long ago."""
        if self._ids is None:
            low, high = 0, -1
        else:
            low, high = (self._ids[0] - 1 if self._first > 1 else 0), self._ids[1]
        settled, after = await self._records.settled(), low
        while True:
            ids, until = await self._records.unplaced(after, AT_ONCE * 10)
            for row_id in ids:
                if row_id > high:
                    self._verdict.pending += 1
                elif row_id <= settled or not await self._comes(row_id):
                    text = f"The audit row {row_id} has no position: it was added, or its position was removed."
                    self._verdict.add(Problem("inserted", text, row_id=row_id))
            if until is None:
                return
            after = until

    async def _comes(self, row_id: int) -> bool:
        """Whether a row of a transaction that was long in progress gets its position while we wait."""
        for _ in range(_PATIENCE):
            ids, _until = await self._records.unplaced(row_id - 1, 1)
            if row_id not in ids:
                return True
            await asyncio.sleep(_PAUSE_SECONDS)
        return False
