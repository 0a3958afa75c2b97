"""Units of work: what one request does, in one transaction that opens with its first statement and is committed before the answer.

A batch is one, and so is a write that carries an idempotency key or asks to be undone. Until it is committed nothing was answered, so that
a unit which collides with others is begun anew.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from portico.engines.base import Answer, Call, Compiled, Engine, Isolation, Keyed, Transaction
from portico.errors import (
    DatabaseUnavailable,
    InvalidParameter,
    KeyReused,
    NotSupported,
    PorticoError,
    SchemaChanged,
    StaleSnapshot,
)
from portico.model.collection import Collection
from portico.model.idempotency import Answered, RequestKey, tenant_of
from portico.query.capabilities import Capability
from portico.query.scoped import Change, Create, Delete, Runnable

MOST_COLLISIONS = 3
"""How often a unit that the database rolled back for another's sake is begun anew."""
MOST_RELOADS = 4
FIRST_PAUSE_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class AskedOnce:
    """That a request is applied once. `request_hash` gives the hash of method, address and body, known when the body was read."""

    key: str
    request_hash: Callable[[], bytes]
    life_seconds: float


class Replay(Exception):
    """No error, but how a unit ends whose request was applied before; `answer` is what it was answered then."""

    def __init__(self, answer: Answered) -> None:
        super().__init__("replayed")
        self.answer = answer


class Unit:
    """A transaction that opens with its first call, in that call's database, and that every call of a request runs in.

    `isolation` and `read_only` may be set until then. With `once`, the key is claimed before the first call.
    """

    def __init__(self, engines: Mapping[str, Engine], once: AskedOnce | None = None) -> None:
        self.isolation: Isolation = "read_committed"
        self.read_only = False
        self._engines = engines
        self._once = once
        self._key: RequestKey | None = None
        self._database = ""
        self._wrote = False
        self._transaction: Transaction | None = None

    async def run(self, plan: Compiled, call: Call, *, timeout: float | None = None) -> Answer:
        """Run one call inside. Raises InvalidParameter for a collection of another database, and `Replay`."""
        transaction = await self._in(plan, call)
        return await transaction.run(plan, call, timeout=timeout)

    async def run_all(self, plan: Compiled, calls: Sequence[Call], *, timeout: float | None = None) -> Sequence[Answer]:
        """Run the calls of one create plan inside; as `run`."""
        transaction = await self._in(plan, calls[0])
        return await transaction.run_all(plan, calls, timeout=timeout)

    async def stream(self, plan: Compiled, call: Call) -> AsyncIterator[bytes]:
        """Run an export inside; as `run`."""
        transaction = await self._in(plan, call)
        async for chunk in transaction.stream(plan, call):
            yield chunk

    async def _in(self, plan: Compiled, call: Call) -> Transaction:
        database = collection_of(plan.query).database
        if self._transaction is None:
            self._transaction = await self._begin(self._engines[database], call)
            self._database = database
            await self._claim(self._transaction, call)
        elif database != self._database:
            raise InvalidParameter("A transaction is of one database: its collections are of several.")
        self._wrote = self._wrote or plan.writes
        return self._transaction

    async def _begin(self, engine: Engine, call: Call) -> Transaction:
        if self._once is not None:
            if Capability.IDEMPOTENCY not in engine.capabilities:
                raise NotSupported(Capability.IDEMPOTENCY, engine.kind, hint="Run portico init-db on the database.")
            once = self._once
            self._key = RequestKey(call.actor.service, tenant_of(call.scope), once.key, once.request_hash(), once.life_seconds)
        if Capability.TRANSACTIONS not in engine.capabilities:
            raise NotSupported(Capability.TRANSACTIONS, engine.kind)
        return await engine.begin(self.isolation, read_only=self.read_only, unit=True)

    async def _claim(self, transaction: Transaction, call: Call) -> None:
        if self._key is None:
            return
        kept = await cast("Keyed", transaction).claim(self._key, call.scope)
        if kept is None:
            return
        if kept.request_hash != self._key.request_hash:
            raise KeyReused("The idempotency key was used for another request.", hint="Send each new request with a key of its own.")
        raise Replay(kept.answer)

    async def savepoint(self, name: str) -> None:
        """Set a savepoint. Raises InvalidParameter before the first call."""
        await self._opened().savepoint(name)

    async def rollback_to(self, name: str) -> None:
        """Undo what came after the savepoint."""
        await self._opened().rollback_to(name)

    async def release(self, name: str) -> None:
        """Forget the savepoint, and keep what came after it."""
        await self._opened().release(name)

    def _opened(self) -> Transaction:
        if self._transaction is None:
            raise InvalidParameter("The transaction has no such savepoint.")
        return self._transaction

    async def commit(self) -> None:
        """Make it durable. Raises OutcomeUnknown where the connection was lost after COMMIT was sent."""
        if self._transaction is not None:
            await self._transaction.commit()
            self._transaction = None

    async def rollback(self) -> None:
        """Undo everything; does nothing to a unit that has ended."""
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            # It goes on when its caller leaves.
            await asyncio.shield(asyncio.ensure_future(transaction.rollback()))

    async def keep(self, answer: Answered) -> None:
        """Store the answer under the key that was claimed, if one was. Of a unit that only read, nothing is kept: what it read changes."""
        if self._transaction is not None and self._key is not None and self._wrote:
            await cast("Keyed", self._transaction).keep(self._key, answer)


class Units:
    """Runs units of work.

    Args:
        engines: by database. reload: reads the catalog anew, awaited when a statement finds the schema changed.
    """

    def __init__(self, engines: Mapping[str, Engine], *, reload: Callable[[], Awaitable[object]]) -> None:
        self._engines = engines
        self._reload = reload

    async def run(
        self, work: Callable[[Unit], Awaitable[Answered]], *, once: AskedOnce | None = None, undo: bool = False
    ) -> tuple[Answered, bool]:
        """Run `work` in a unit, and commit it, or roll it back where it is to be undone.

        `work` is run again where the unit collided with others (at most three times), was lost before COMMIT, or met a new schema.

        Returns:
            the answer, and whether it is the one of an earlier request with the same key.
        Raises:
            RequestInFlight, KeyReused, NotSupported; OutcomeUnknown where the connection was lost at COMMIT; what `work` raises.
        """
        tries = _Tries(self._reload)
        while True:
            unit = Unit(self._engines, None if undo else once)
            try:
                answer = await work(unit)
                if not undo:
                    await unit.keep(answer)
                    await unit.commit()
            except Replay as replay:
                return replay.answer, True
            except PorticoError as error:
                await unit.rollback()
                if not await tries.again(error):
                    raise
            else:
                return answer, False
            finally:
                await unit.rollback()


class _Tries:
    """How often one unit was begun anew, by reason."""

    def __init__(self, reload: Callable[[], Awaitable[object]]) -> None:
        self._reload = reload
        self._collisions = self._reloads = self._losses = 0

    async def again(self, error: PorticoError) -> bool:
        """Whether the unit is begun anew after this error, once that makes sense."""
        match error:
            case StaleSnapshot() if self._collisions < MOST_COLLISIONS:
                # Those who collided would meet again if all came back at once.
                await asyncio.sleep(random.random() * FIRST_PAUSE_SECONDS * 2**self._collisions)  # noqa: S311
                self._collisions += 1
            case SchemaChanged() if self._reloads < MOST_RELOADS:
                await self._reload()
                self._reloads += 1
            case DatabaseUnavailable() if not self._losses:
                self._losses += 1
            case _:
                return False
        return True


def collection_of(query: Runnable) -> Collection:
    """The collection that a query is about; of a function, that of what it gives."""
    return query.collection if isinstance(query, Create | Change | Delete) else query.query.collection


__all__ = ["AskedOnce", "Isolation", "Replay", "Unit", "Units", "collection_of"]
