"""The interactive transactions that this worker holds: begun, used, ended, and remembered for those who ask afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import TypeVar, cast
from uuid import UUID

from portico.engines.base import Engine, Interactive, Isolation, LedgerEntry, LedgerState
from portico.errors import (
    InvalidParameter,
    NotSupported,
    OutcomeUnknown,
    PoolExhausted,
    PorticoError,
    StaleSnapshot,
    TransactionGone,
    Unavailable,
)
from portico.events import Emit, TransactionBegan, TransactionEnded
from portico.query.capabilities import Capability
from portico.service.caller import Caller
from portico.service.transactions.held import Held, Inside, Limits
from portico.service.transactions.ids import Holder, Ids, Token
from portico.service.transactions.lost import POLL_SECONDS, RESOLVE_SECONDS, last_word
from portico.service.transactions.reasons import (
    COMMITTED,
    EXPIRED,
    FAILED,
    ROLLED_BACK,
    STARTED,
    gone,
    unreachable,
)

T = TypeVar("T")

REMEMBERED_SECONDS = 900.0
"""How long a worker knows how a transaction ended without asking the ledger."""

FORGET_EVERY_SECONDS = 600.0
KEPT_SECONDS = 86_400.0
"""How long the ledger keeps what ended, beside the longest life."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a transaction: `expires_at` while it is open, `reason` once it is not."""

    id: str
    state: str
    reason: str | None = None
    expires_at: dt.datetime | None = None


class Transactions:
    """Begins transactions and holds them.

    Args:
        engines: by database. main: the database where a caller names none. key: signs the ids, the same on every node.
        holder: this worker. limits: of each transaction. emit: told of begins and ends.
    """

    def __init__(self, engines: Mapping[str, Engine], *, main: str, key: bytes, holder: Holder, limits: Limits, emit: Emit) -> None:
        self.ids = Ids(key)
        self.holder = holder
        self._engines = engines
        self._main = main
        self._limits = limits
        self._emit = emit
        self._held: dict[UUID, Held] = {}
        self._places: dict[str, asyncio.Semaphore] = {}
        self._tasks: set[asyncio.Task[object]] = set()
        self._forgot: dict[str, float] = {}
        self._stopping = False

    # --- begin -----------------------------------------------------------------------------------------------------------

    async def begin(self, caller: Caller, database: str | None, isolation: Isolation, *, read_only: bool) -> Known:
        """Open a transaction for the caller's service and scope.

        Raises:
            NotSupported: the database cannot. PoolExhausted: too many are open, here or of the service.
        """
        engine = self._engine(database or self._main)
        service = caller.identity.service
        identifier = UUID(bytes=os.urandom(16))
        token = Token(identifier, self.ids.owner(service, caller.scope), self.holder, cast("Engine", engine).name)
        entry = LedgerEntry(identifier, service, str(self.holder))
        held = await self._to_its_end(self._open(engine, token, entry, isolation, read_only=read_only))
        self._emit(TransactionBegan(token.database, service, caller.actor.correlation_id))
        self._forget_old(engine, token.database)
        return self._known(held)

    async def _open(self, engine: Interactive, token: Token, entry: LedgerEntry, isolation: Isolation, *, read_only: bool) -> Held:
        place = self._places.setdefault(entry.service, asyncio.Semaphore(self._limits.per_service))
        # One deadline for both queues: the service's own, and that for a connection.
        until = asyncio.get_running_loop().time() + self._limits.waits
        try:
            async with asyncio.timeout_at(until):
                await place.acquire()
        except TimeoutError:
            raise PoolExhausted(
                f"The service has {self._limits.per_service} transactions open here already.", hint="End one, or try again shortly."
            ) from None
        try:
            transaction = await engine.begin_interactive(entry, isolation, read_only=read_only, life=self._limits.life, until=until)
        except BaseException:
            place.release()
            raise
        held = self._held[token.id] = Held(token, entry, transaction, self._limits, self._expire, read_only=read_only)
        if self._stopping:
            await self._end(held, ROLLED_BACK, "service_stopped")
            raise gone(ROLLED_BACK, "service_stopped")
        return held

    def _engine(self, database: str) -> Interactive:
        engine = self._engines.get(database)
        if engine is None:
            raise InvalidParameter(f"There is no database {database[:100]!r}.", hint="GET /api/db/stats lists them.")
        if not isinstance(engine, Interactive) or Capability.INTERACTIVE_TRANSACTIONS not in engine.capabilities:
            hint = "portico init-db makes the tables that it needs." if Capability.TRANSACTIONS in engine.capabilities else None
            raise NotSupported(Capability.INTERACTIVE_TRANSACTIONS, engine.kind, hint=hint)
        return engine

    # --- calls -----------------------------------------------------------------------------------------------------------

    def find(self, token: Token, caller: Caller) -> Held | None:
        """The transaction, open or ended, where this worker knows it. Raises TransactionNotFound where it is not the caller's."""
        self.ids.require_owner(token, caller)
        return self._held.get(token.id)

    async def enter(self, token: Token, caller: Caller, deadline: asyncio.Timeout) -> Held:
        """Wait for a call's turn in its transaction, and hand the transaction to its caller. `leave` must follow.

        Args:
            deadline: of the call; it is set to the moment in which the transaction's life ends.
        Raises:
            TransactionNotFound, TransactionGone.
        """
        held = self.find(token, caller)
        if held is None:
            raise await self.gone(token, caller)
        held.enter()
        try:
            await held.turn.acquire()
        except BaseException:
            held.leave()
            raise
        if not held.is_open():
            held.turn.release()
            held.leave()
            raise gone(held.state, held.reason or "ended")
        held.calls += 1
        held.deadline = deadline
        held.transaction.begin_call()
        caller.transaction = Inside(held)
        return held

    async def leave(self, held: Held, *, failed: bool) -> None:
        """A call ended: what a failed one did is undone; where the transaction cannot go on, it ends here."""
        await self._to_its_end(self._leave(held, failed=failed))

    async def _leave(self, held: Held, *, failed: bool) -> None:
        held.deadline = None
        try:
            if failed and held.is_open() and held.transaction.failure is None:
                with contextlib.suppress(PorticoError):
                    await held.transaction.undo_call()
            if held.is_open() and held.transaction.failure is not None:
                self._ended(held, FAILED, held.transaction.failure)
            if not held.is_open():
                # It cannot go on, or its life ended while the call ran.
                await self._roll_back(held)
        finally:
            held.turn.release()
            held.leave()

    async def gone(self, token: Token, caller: Caller) -> TransactionGone | Unavailable:
        """The error of calls in a transaction whose holder does not answer, or does not know it."""
        known = await self.ask(token, caller)
        return unreachable() if known.state == STARTED else gone(known.state, known.reason or "ended")

    # --- the caller's control --------------------------------------------------------------------------------------------

    async def savepoint(self, held: Held, name: str) -> None:
        """Set a savepoint, in turn with the calls."""
        await self._in_turn(held, lambda: held.transaction.savepoint(name))

    async def roll_back_to(self, held: Held, name: str) -> None:
        """Undo what came after a savepoint."""
        await self._in_turn(held, lambda: held.transaction.rollback_to(name))

    async def roll_back(self, held: Held) -> Known:
        """Undo everything; again, it answers the same."""

        async def work() -> None:
            self._ended(held, ROLLED_BACK, "rolled_back")

        if held.state != ROLLED_BACK:
            await self._in_turn(held, work)
        return self._known(held)

    async def commit(self, held: Held) -> Known:
        """Make it durable; again, it answers the same.

        Raises:
            StaleSnapshot: it collided with others. OutcomeUnknown: the connection was lost, and the database cannot be asked.
        """
        if held.is_open() or held.committing:
            with contextlib.suppress(TransactionGone):
                await self._in_turn(held, lambda: self._commit(held))
        if held.state == "unknown":
            await self._resolve(held, 0.0)
        if held.state == "unknown":
            raise OutcomeUnknown(
                "The connection to the database was lost while the transaction was committed; whether it was is not known yet.",
                hint="Ask GET /api/db/transaction/{id}, or repeat the commit.",
            )
        if held.state != COMMITTED:
            raise gone(held.state, held.reason or "ended")
        return self._known(held)

    async def _in_turn(self, held: Held, work: Callable[[], Awaitable[None]]) -> None:
        await self._to_its_end(self._work(held, work))

    async def _work(self, held: Held, work: Callable[[], Awaitable[None]]) -> None:
        held.enter()
        try:
            async with held.turn:
                if not held.is_open():
                    raise gone(held.state, held.reason or "ended")
                held.calls += 1
                held.transaction.begin_call()
                try:
                    await work()
                finally:
                    if held.is_open() and held.transaction.failure is not None:
                        self._ended(held, FAILED, held.transaction.failure)
                    if not held.is_open():
                        await self._roll_back(held)
        finally:
            held.leave()

    async def _commit(self, held: Held) -> None:
        held.committing = True
        held.stop_watching()
        try:
            await held.transaction.commit()
        except OutcomeUnknown:
            self._ended(held, "unknown", "commit_unanswered")
            await self._resolve(held, RESOLVE_SECONDS)
        except TransactionGone as error:
            await self._end(held, ROLLED_BACK, str(error.details["reason"]))
            raise
        except PorticoError as error:
            reason = "serialization_failure" if isinstance(error, StaleSnapshot) else "commit_refused"
            await self._end(held, FAILED, reason)
            raise
        else:
            self._ended(held, COMMITTED, COMMITTED)
        finally:
            held.committing = False

    async def _resolve(self, held: Held, seconds: float) -> None:
        """Ask the database what became of a commit whose answer was lost, until it knows or the time is over."""
        engine = self._interactive(held.token)
        end = asyncio.get_running_loop().time() + seconds
        while True:
            with contextlib.suppress(PorticoError):
                found = await engine.recorded(held.token.id)
                if found is not None and found.state not in {STARTED, "unknown"}:
                    self._settle(held, found)
                    return
            if asyncio.get_running_loop().time() >= end:
                return
            await asyncio.sleep(POLL_SECONDS)

    def _settle(self, held: Held, found: LedgerState) -> None:
        state = COMMITTED if found.state == COMMITTED else FAILED
        held.end(state, COMMITTED if state == COMMITTED else "connection_lost")

    # --- state -----------------------------------------------------------------------------------------------------------

    async def state(self, held: Held) -> Known:
        """What is known of a transaction of this worker."""
        if held.state == "unknown":
            await self._resolve(held, 0.0)
        return self._known(held)

    async def ask(self, token: Token, caller: Caller) -> Known:
        """What the ledger says of a transaction whose holder does not answer."""
        entry = LedgerEntry(token.id, caller.identity.service, str(token.holder))
        found = await last_word(self._interactive(token), entry)
        return Known(self.ids.write(token), found.state, found.reason)

    def _interactive(self, token: Token) -> Interactive:
        engine = self._engines.get(token.database)
        if engine is None or not isinstance(engine, Interactive):
            raise InvalidParameter("The transaction's database is not served here.")
        return engine

    def _known(self, held: Held) -> Known:
        text = self.ids.write(held.token)
        if held.is_open():
            return Known(text, STARTED, None, dt.datetime.now(dt.UTC) + dt.timedelta(seconds=held.expires_in))
        return Known(text, held.state, held.reason)

    # --- the end ---------------------------------------------------------------------------------------------------------

    def _expire(self, held: Held, reason: str) -> None:
        """A limit is over. A call that runs is cut off, and rolls back as it ends."""
        if not held.is_open() or held.committing:
            return
        self._ended(held, EXPIRED, reason)
        if held.deadline is not None:
            held.deadline.reschedule(asyncio.get_running_loop().time())
        elif not held.turn.locked():
            self._spawn(self._roll_back(held))

    async def _end(self, held: Held, state: str, reason: str) -> None:
        self._ended(held, state, reason)
        await self._roll_back(held)

    async def _roll_back(self, held: Held) -> None:
        with contextlib.suppress(PorticoError):
            await held.transaction.rollback()

    def _ended(self, held: Held, state: str, reason: str) -> None:
        if not held.is_open():
            return
        held.end(state, reason)
        self._places[held.entry.service].release()
        self._emit(TransactionEnded(held.token.database, held.entry.service, state, reason, held.age, held.calls))
        if state != "unknown":
            self._spawn(self._record(held, state, reason))
        asyncio.get_running_loop().call_later(REMEMBERED_SECONDS, self._held.pop, held.token.id, None)

    async def _record(self, held: Held, state: str, reason: str) -> None:
        """Say in the ledger how it ended. Where that fails, the database knows whether it was committed all the same."""
        with contextlib.suppress(PorticoError):
            await self._interactive(held.token).record_end(held.entry, state, reason)

    def _forget_old(self, engine: Interactive, database: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._forgot.setdefault(database, now) > FORGET_EVERY_SECONDS:
            self._forgot[database] = now
            self._spawn(self._forget(engine))

    async def _forget(self, engine: Interactive) -> None:
        with contextlib.suppress(PorticoError):
            await engine.forget_ended(KEPT_SECONDS + self._limits.life)

    async def close(self) -> None:
        """Roll back every transaction that is open, and say so in the ledger."""
        self._stopping = True
        for held in list(self._held.values()):
            if held.is_open() and not held.committing:
                self._ended(held, ROLLED_BACK, "service_stopped")
                self._spawn(self._roll_back(held))
        while self._tasks:
            await asyncio.wait(self._tasks)

    # --- tasks -----------------------------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
        task = asyncio.ensure_future(work)
        kept = cast("asyncio.Task[object]", task)
        self._tasks.add(kept)
        kept.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # of work whose caller has gone: nobody's

    async def _to_its_end(self, work: Coroutine[object, object, T]) -> T:
        """Await work that goes on when its caller leaves: half of an end would leave a transaction nobody knows of."""
        return await asyncio.shield(self._spawn(work))


__all__ = ["Isolation", "Known", "Transactions"]
