"""Calls of one plan that wait at the same moment go out as one statement.

A call never joins a statement that was sent before it arrived; at most two statements of a plan are under way, of at most 256
calls each; a call that is alone goes out as the plain statement. A plan whose joint statements turn out slow is taken out for a
while, and so are a service's creates when they often fail.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field

from portico.engines.base import APART, Answer, Apart, Call, Compiled, Engine, Outcome
from portico.errors import PorticoError
from portico.events import Emit, PlanDisjoined

MOST_CALLS = 256
MOST_UNDER_WAY = 2
SLOW_SECONDS = 0.1
"""A joint statement that runs longer holds back those who wait: they go alone at once."""

STRIKES = 3
"""Slow joint statements within `APART_SECONDS` after which a plan's calls go alone for a while. One alone may be the machine's fault."""

APART_SECONDS = 10.0
FAILURES_APART = 20
"""Creates of a service that failed within joint statements, each taking one success to forgive, until it is taken out."""

Waiting = tuple[Call, "asyncio.Future[Outcome]"]


@dataclass(slots=True, eq=False)
class Sent:
    """A statement under way, and the calls that wait for it."""

    batch: list[Waiting]
    task: asyncio.Task[None] | None = None


@dataclass(slots=True)
class Lane:
    """The calls of one plan that wait, and how its joint statements have gone.

    `apart_until` and the values of `apart` are moments of the monotonic clock until when calls (of a service) go alone.
    """

    engine: Engine
    plan: Compiled
    timeout: float | None
    collection: str
    operation: str
    waiting: list[Waiting] = field(default_factory=list)
    under_way: list[Sent] = field(default_factory=list)
    scheduled: bool = False
    apart_until: float = 0.0
    strikes: list[float] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)
    apart: dict[str, float] = field(default_factory=dict)


class Coalescer:
    """Gathers the calls of each lane. One for each process; it lives on the event loop."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, lane: Lane, call: Call) -> Answer:
        """The answer to `call`; raises its own error. A caller who leaves ends only its own waiting."""
        if not lane.plan.joint or self._goes_alone(lane, call):
            return answered((await lane.engine.run(lane.plan, [call], timeout=lane.timeout))[0])
        if not lane.under_way and not lane.waiting:
            return await self._first(lane, call)
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        lane.waiting.append((call, future))
        if not lane.scheduled and len(lane.under_way) < MOST_UNDER_WAY:
            lane.scheduled = True
            # Calls that become ready in this turn of the loop gather first.
            asyncio.get_running_loop().call_soon(self._send, lane)
        try:
            return answered(await future)
        except asyncio.CancelledError:
            _end_unwanted(lane, future)
            raise

    async def _first(self, lane: Lane, call: Call) -> Answer:
        """A call that finds nobody waiting and nothing under way goes out at once, without a task or a turn of the loop in between."""
        sent = Sent([])
        lane.under_way.append(sent)
        try:
            return answered((await lane.engine.run(lane.plan, [call], timeout=lane.timeout, gathered=True))[0])
        finally:
            lane.under_way.remove(sent)
            self._go_on(lane)

    def _go_on(self, lane: Lane) -> None:
        """A statement has ended: what has come meanwhile is sent in the next turn of the loop."""
        if lane.waiting and not lane.scheduled:
            lane.scheduled = True
            asyncio.get_running_loop().call_soon(self._send, lane)

    @staticmethod
    def _goes_alone(lane: Lane, call: Call) -> bool:
        if not lane.apart_until and not lane.apart:
            return False
        now = time.monotonic()
        if lane.apart_until:
            if now < lane.apart_until:
                return True
            lane.apart_until = 0.0
        until = lane.apart.get(call.actor.service)
        if until is None:
            return False
        if now < until:
            return True
        del lane.apart[call.actor.service]
        return False

    def _send(self, lane: Lane) -> None:
        """Send what waits, as far as statements may be under way."""
        lane.scheduled = False
        while lane.waiting and len(lane.under_way) < MOST_UNDER_WAY:
            batch = [item for item in lane.waiting[:MOST_CALLS] if not item[1].done()]
            del lane.waiting[:MOST_CALLS]
            if batch:
                sent = Sent(batch)
                lane.under_way.append(sent)
                sent.task = self._start(self._run(lane, sent))

    def _start(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(self, lane: Lane, sent: Sent) -> None:
        """One statement for a batch, and its outcomes to those who still wait. Who must run apart keeps nobody else waiting."""
        batch = sent.batch
        slow = asyncio.get_running_loop().call_later(SLOW_SECONDS, self._is_slow, lane)
        try:
            calls = [call for call, _ in batch]
            outcomes: Sequence[Outcome] = await lane.engine.run(lane.plan, calls, timeout=lane.timeout, gathered=True)
        except PorticoError as error:
            outcomes = [error] if len(batch) == 1 else [_twin(error) for _ in batch]
        except BaseException as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
            raise
        finally:
            slow.cancel()
            lane.under_way.remove(sent)
            self._go_on(lane)
        for (call, future), outcome in zip(batch, outcomes, strict=True):
            if outcome is APART:
                self._start(self._alone(lane, call, future))
                continue
            if not future.done():
                future.set_result(outcome)
            if lane.plan.writes and len(batch) > 1:
                self._note(lane, call.actor.service, failed=isinstance(outcome, PorticoError))

    def _is_slow(self, lane: Lane) -> None:
        """A statement under way is slow: those who wait go alone now, and after a few such statements so do all who come, for a while."""
        waiting, lane.waiting = lane.waiting, []
        for call, future in waiting:
            self._start(self._alone(lane, call, future))
        now = time.monotonic()
        lane.strikes = [*(strike for strike in lane.strikes if now - strike < APART_SECONDS), now]
        if len(lane.strikes) >= STRIKES:
            lane.strikes.clear()
            lane.apart_until = now + APART_SECONDS
            self._emit(PlanDisjoined(lane.collection, lane.operation, "slow"))

    async def _alone(self, lane: Lane, call: Call, future: asyncio.Future[Outcome]) -> None:
        """A call that waited with others goes by itself. A read ends when its caller leaves."""
        if future.done():
            return
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        if not lane.plan.writes:
            future.add_done_callback(lambda ended: task.cancel() if ended.cancelled() else None)
        try:
            outcome = (await lane.engine.run(lane.plan, [call], timeout=lane.timeout))[0]
        except PorticoError as error:
            outcome = error
        except Exception as error:  # noqa: BLE001 - it is the waiting caller's to handle
            if not future.done():
                future.set_exception(error)
            return
        if not future.done():
            future.set_result(outcome)
        if lane.plan.writes:
            self._note(lane, call.actor.service, failed=isinstance(outcome, PorticoError))

    def _note(self, lane: Lane, service: str, *, failed: bool) -> None:
        """Remember how a service's joint creates go: each failure made its statement run twice."""
        score = lane.failures.get(service, 0) + (1 if failed else -1)
        if score <= 0:
            lane.failures.pop(service, None)
            return
        lane.failures[service] = score
        if score >= FAILURES_APART:
            lane.apart[service] = time.monotonic() + APART_SECONDS
            del lane.failures[service]
            self._emit(PlanDisjoined(lane.collection, lane.operation, "failing"))

    async def drain(self) -> None:
        """Wait for what is under way."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)


def _end_unwanted(lane: Lane, future: asyncio.Future[Outcome]) -> None:
    """A read whose callers have all left is cancelled at the server; a write is left to end."""
    if lane.plan.writes:
        return
    for sent in lane.under_way:
        if any(waiting is future for _, waiting in sent.batch) and all(waiting.done() for _, waiting in sent.batch):
            assert sent.task is not None, "what is under way has its task"
            sent.task.cancel()


def _twin(error: PorticoError) -> PorticoError:
    """The same error for another caller: what one adds to its own is not the others'."""
    twin = error.__class__.__new__(error.__class__, *error.args)
    twin.__dict__.update(error.__dict__, details=dict(error.details))
    twin.__cause__ = error.__cause__
    return twin


def answered(outcome: Outcome) -> Answer:
    """The answer that an outcome is, or its error raised."""
    if isinstance(outcome, PorticoError):
        raise outcome
    assert not isinstance(outcome, Apart), "a call that runs by itself has an outcome"
    return outcome
