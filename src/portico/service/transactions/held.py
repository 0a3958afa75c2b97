"""One interactive transaction that this worker holds: its calls in order, its limits, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from portico.engines.base import Answer, Call, Compiled, InteractiveTransaction, LedgerEntry
from portico.errors import InvalidParameter
from portico.service.transactions.ids import Token
from portico.service.units import collection_of


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds: without a call, and in all; `exclusive_…` from when it keeps others from writing (SQLite).

    `per_service` is how many one service may have open in one worker, `waits` how long another one waits for its turn.
    """

    idle: float = 30.0
    life: float = 300.0
    exclusive_idle: float = 2.0
    exclusive_life: float = 10.0
    per_service: int = 4
    waits: float = 5.0


class Held:
    """An open transaction, with one timer for both limits. `expired` is called with the reason when one is over."""

    def __init__(
        self,
        token: Token,
        entry: LedgerEntry,
        transaction: InteractiveTransaction,
        limits: Limits,
        expired: Callable[[Held, str], None],
        *,
        read_only: bool,
    ) -> None:
        self.token = token
        self.read_only = read_only
        self.entry = entry
        self.transaction = transaction
        self.turn = asyncio.Lock()
        self.state = "started"
        self.reason: str | None = None
        self.calls = 0
        self.committing = False
        self.deadline: asyncio.Timeout | None = None
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._expired = expired
        self._active = 0
        self._exclusive = False
        self.began = self._loop.time()
        self._life_ends = self.began + limits.life
        self._idle_ends = self.began + limits.idle
        self._timer: asyncio.TimerHandle | None = None
        self._watch()

    def is_open(self) -> bool:
        """Whether calls may still come."""
        return self.state == "started"

    @property
    def expires_in(self) -> float:
        """Seconds until it is rolled back, where no call comes."""
        return max(0.0, min(self._life_ends, self._idle_ends) - self._loop.time())

    @property
    def age(self) -> float:
        """Seconds since its begin."""
        return self._loop.time() - self.began

    def enter(self) -> None:
        """A call came: while it waits or runs, the transaction is not idle."""
        self._active += 1
        self._watch()

    def leave(self) -> None:
        """A call ended."""
        self._active -= 1
        self._idle_ends = self._loop.time() + (self._limits.exclusive_idle if self._exclusive else self._limits.idle)
        self._watch()

    def write_begins(self) -> None:
        """A call is about to write: on an engine with one writer, the transaction's limits are shorter from then on."""
        if self.transaction.excludes and not self._exclusive:
            self._exclusive = True
            self._life_ends = min(self._life_ends, self._loop.time() + self._limits.exclusive_life)
            self._watch()

    def end(self, state: str, reason: str) -> None:
        """It is no longer open."""
        self.state, self.reason = state, reason
        self.stop_watching()

    def stop_watching(self) -> None:
        """No limit applies any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self) -> None:
        self.stop_watching()
        if self.is_open() and not self.committing:
            ends, reason = (self._life_ends, "life")
            if not self._active and self._idle_ends < ends:
                ends, reason = self._idle_ends, "idle"
            self._timer = self._loop.call_at(ends, self._expired, self, reason)


class Inside:
    """The transaction as one call's pipeline runs in it: an engine's `Transaction` that keeps to its own database."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._transaction = held.transaction

    async def run(self, plan: Compiled, call: Call, *, timeout: float | None = None) -> Answer:
        """Run one call inside."""
        self._prepare(plan)
        return await self._transaction.run(plan, call, timeout=timeout)

    async def run_all(self, plan: Compiled, calls: Sequence[Call], *, timeout: float | None = None) -> Sequence[Answer]:
        """Run the calls of one create plan."""
        self._prepare(plan)
        return await self._transaction.run_all(plan, calls, timeout=timeout)

    def stream(self, plan: Compiled, call: Call) -> AsyncIterator[bytes]:
        """Run an export."""
        self._prepare(plan)
        return self._transaction.stream(plan, call)

    async def savepoint(self, name: str) -> None:
        """Set a savepoint."""
        await self._transaction.savepoint(name)

    async def rollback_to(self, name: str) -> None:
        """Undo what came after a savepoint."""
        await self._transaction.rollback_to(name)

    async def release(self, name: str) -> None:
        """Forget a savepoint, and keep what came after it."""
        await self._transaction.release(name)

    async def commit(self) -> None:
        """Never: its caller alone ends the transaction."""
        raise AssertionError("an interactive transaction is ended by its caller")

    async def rollback(self) -> None:
        """Never: see `commit`."""
        raise AssertionError("an interactive transaction is ended by its caller")

    def _prepare(self, plan: Compiled) -> None:
        database = collection_of(plan.query).database
        if database != self._held.token.database:
            raise InvalidParameter(
                f"The collection is in the database {database}, and the transaction in {self._held.token.database}.",
                hint="A transaction is of one database; name it when it is begun.",
            )
        if plan.writes:
            if self._held.read_only:
                raise InvalidParameter("The transaction was begun to read only.", hint="Begin one without read_only.")
            self._held.write_begins()
