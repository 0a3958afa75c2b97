"""The one writer: writes that wait at the same moment share a transaction, each in a savepoint of its own, and one durable commit.

Cheap writes run on the loop and only their COMMIT in a thread, because a write of a few microseconds loses more by changing threads than
it takes. What may touch many documents runs in the thread, in a transaction of its own.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from portico.engines.base import Answer, Call
from portico.engines.sqlite.connections import closed, interruptible
from portico.engines.sqlite.errors import fault, translate
from portico.engines.sqlite.gate import WAIT_SECONDS, Gate, begin_immediate, in_savepoint
from portico.engines.sqlite.plan import SqlitePlan
from portico.errors import PorticoError, Unavailable
from portico.events import Emit, TransactionFailed

MOST_TOGETHER = 256
LONGEST_TOGETHER_SECONDS = 0.02


@dataclass(slots=True)
class Waiting:
    """A write in the queue. `deadline` is the loop's time until which it waits for the writer."""

    plan: SqlitePlan
    call: Call
    future: asyncio.Future[Answer]
    deadline: float
    timeout: float


@dataclass(slots=True)
class Writer:
    """Runs writes on one connection (opened without waiting for locks), behind the gate that transactions share."""

    connection: sqlite3.Connection
    gate: Gate
    name: str
    emit: Emit
    queue: deque[Waiting] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None
    stopped: bool = False
    executor: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer"))

    def submit(self, plan: SqlitePlan, call: Call, timeout: float) -> asyncio.Future[Answer]:
        """Queue a write; the future has its answer once it is committed, or its error."""
        loop = asyncio.get_running_loop()
        if self.stopped:
            raise closed()
        future: asyncio.Future[Answer] = loop.create_future()
        self.queue.append(Waiting(plan, call, future, loop.time() + WAIT_SECONDS, timeout))
        if self.task is None or self.task.done():
            self.task = loop.create_task(self._drain())
        return future

    async def _drain(self) -> None:
        while self.queue:
            async with self._turn() as mine:
                if not mine:
                    continue
                if self.queue and self.queue[0].plan.heavy:
                    await self._alone(self.queue.popleft())
                else:
                    await self._together()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[bool]:
        """The gate, held; False where the first in the queue waited in vain, and was told so."""
        loop = asyncio.get_running_loop()
        first = self.queue[0]
        try:
            await self.gate.enter("other writes", max(first.deadline - loop.time(), 0.001))
        except Unavailable as error:
            self._fail_late(error)
            yield False
            return
        try:
            yield True
        finally:
            self.gate.leave()

    def _fail_late(self, error: PorticoError) -> None:
        """Tell those whose time is over."""
        now = asyncio.get_running_loop().time() + 0.002
        while self.queue and self.queue[0].deadline <= now:
            _fail(self.queue.popleft().future, error)

    async def _begin(self) -> bool:
        try:
            await begin_immediate(self.connection, self.queue[0].deadline if self.queue else 0.0, self._busy)
        except Unavailable as error:
            if error.code == Unavailable.code:
                self._fail_late(error)
            else:
                self._fail_all(error)
            return False
        except PorticoError as error:
            self._fail_all(error)
            return False
        return True

    @staticmethod
    def _busy() -> PorticoError:
        return Unavailable("The database's writer was held for too long by another process.", details={"cause": "another process"})

    def _fail_all(self, error: PorticoError) -> None:
        while self.queue:
            _fail(self.queue.popleft().future, error)

    async def _together(self) -> None:
        """The cheap writes at the head of the queue: one transaction, one commit, then every answer."""
        if not await self._begin():
            return
        loop = asyncio.get_running_loop()
        end = loop.time() + LONGEST_TOGETHER_SECONDS
        done: list[tuple[asyncio.Future[Answer], Answer]] = []
        failed: list[tuple[asyncio.Future[Answer], PorticoError]] = []
        while self.queue and not self.queue[0].plan.heavy and len(done) < MOST_TOGETHER and loop.time() < end:
            waiting = self.queue.popleft()
            if waiting.future.done():
                continue
            try:
                done.append((waiting.future, in_savepoint(self.connection, waiting.plan, waiting.call)))
            except PorticoError as refused:
                failed.append((waiting.future, refused))
            except Exception as broken:  # noqa: BLE001  # the other writes of the group must have their answers
                failed.append((waiting.future, fault(broken)))
            if not self.connection.in_transaction:
                # SQLite undid the whole transaction (no room, a broken file): none of these was written.
                lost = failed[-1][1] if failed else Unavailable("The write was undone.")
                failed += [(future, lost) for future, _ in done]
                done.clear()
                break
        for future, error in failed:
            _fail(future, error)
        await self._commit(done)

    async def _commit(self, done: list[tuple[asyncio.Future[Answer], Answer]]) -> None:
        if not done:
            self._rollback()
            return
        try:
            await asyncio.get_running_loop().run_in_executor(self.executor, self.connection.execute, "COMMIT")
        except sqlite3.Error as error:
            translated = translate(error)
            self.emit(TransactionFailed(self.name, type(translated).__name__, translated.message))
            self._rollback()
            for future, _ in done:
                _fail(future, translated)
            return
        for future, answer in done:
            if not future.done():
                future.set_result(answer)

    def _rollback(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    async def _alone(self, waiting: Waiting) -> None:
        """A write that may touch many documents: in the thread, interrupted at its timeout or when its caller leaves."""
        if waiting.future.done():
            return
        self.queue.appendleft(waiting)
        if not await self._begin():
            return
        self.queue.popleft()
        work = asyncio.ensure_future(self._heavy(waiting))
        waiting.future.add_done_callback(lambda future: work.cancel() if future.cancelled() else None)
        try:
            answer = await work
        except asyncio.CancelledError:
            self._rollback()
        except PorticoError as error:
            self._rollback()
            _fail(waiting.future, error)
        except Exception as broken:  # noqa: BLE001  # the writes that wait must have their turn
            self._rollback()
            _fail(waiting.future, fault(broken))
        else:
            await self._commit([(waiting.future, answer)])

    async def _heavy(self, waiting: Waiting) -> Answer:
        work = self.executor.submit(in_savepoint, self.connection, waiting.plan, waiting.call)
        return await interruptible(self.connection, work, waiting.timeout)

    async def write_apart(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Run a small write of Portico's own, committed on return. Raises Unavailable where the writer is not free in time."""
        if self.stopped:
            raise closed()
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        await self.gate.enter("the ledger", WAIT_SECONDS)
        try:
            await begin_immediate(self.connection, deadline, self._busy)
            work(self.connection)
            await asyncio.get_running_loop().run_in_executor(self.executor, self.connection.execute, "COMMIT")
        except sqlite3.Error as error:
            raise translate(error) from error
        finally:
            self._rollback()
            self.gate.leave()

    async def close(self) -> None:
        """Finish what is queued, then close."""
        self.stopped = True
        if self.task is not None:
            await self.task
        self.executor.shutdown()
        self.connection.close()


def _fail(future: asyncio.Future[Answer], error: PorticoError) -> None:
    if not future.done():
        future.set_exception(error)
