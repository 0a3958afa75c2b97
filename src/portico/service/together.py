"""Several writes as one: inside of the transaction that the call has, or in one of its own, which is committed or undone here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar, cast

from portico.engines.base import Call, Engine, Isolation, Transaction
from portico.errors import DocumentNotFound, PorticoError, StaleSnapshot
from portico.model.page import Document
from portico.service.caller import Caller
from portico.service.write_plan import WritePlan

T = TypeVar("T")
MOST_COLLISIONS = 3
"""How often writes that the database rolled back for another's sake are begun again."""


async def together(
    caller: Caller,
    engine: Engine,
    work: Callable[[Transaction], Awaitable[T]],
    *,
    isolation: Isolation = "read_committed",
    writer: bool = False,
) -> T:
    """What `work` gives, all of it written or nothing.

    Args:
        isolation, writer: of a transaction of its own; a `writer` may take at its first call what writing needs.
        work: the writes; begun anew where the database chose them to end a deadlock, but for those of the caller's own transaction.
    """
    if caller.transaction is not None:
        return await work(caller.transaction)
    for _ in range(MOST_COLLISIONS):
        try:
            return await _committed(engine, work, isolation, writer=writer)
        except StaleSnapshot:
            continue
    return await _committed(engine, work, isolation, writer=writer)


@contextmanager
def body_at(place: int) -> Iterator[None]:
    """What fails is about the body at this place of the call, which the error's index then says."""
    try:
        yield
    except PorticoError as error:
        error.details.setdefault("index", place)
        raise


@dataclass(slots=True)
class _Group:
    """Calls of one plan, and the places of their bodies."""

    plan: WritePlan
    places: list[int] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)


class Groups:
    """The writes of so many bodies, those of one plan by one call of the engine. With `found`, each is of a document that is there."""

    def __init__(self, bodies: int, *, found: bool = False) -> None:
        self._bodies = bodies
        self._found = found
        self._groups: dict[int, _Group] = {}

    def __bool__(self) -> bool:
        return bool(self._groups)

    def add(self, place: int, plan: WritePlan, call: Call) -> None:
        """Take the write of the body at a place."""
        group = self._groups.setdefault(id(plan), _Group(plan))
        group.places.append(place)
        group.calls.append(call)

    async def run(self, transaction: Transaction) -> list[Document | None]:
        """Run them all; gives the answers at the places of their bodies.

        Raises:
            DocumentNotFound: there is none to change. PorticoError: what else fails; both with the body's index.
        """
        answers: list[Document | None] = [None] * self._bodies
        for group in self._groups.values():
            with _placed(group.places, self._bodies):
                made = await transaction.run_all(group.plan.lane.plan, group.calls, timeout=group.plan.lane.timeout)
            for place, answer in zip(group.places, made, strict=True):
                if answer is None and self._found:
                    raise DocumentNotFound("There is no such document.", details={"index": place})
                answers[place] = cast("Document | None", answer)
        return answers


@contextmanager
def _placed(places: Sequence[int], bodies: int) -> Iterator[None]:
    """An error's index among the calls of a group becomes that of its body."""
    try:
        yield
    except PorticoError as error:
        place = error.details.get("index", 0 if len(places) == 1 < bodies else None)
        if isinstance(place, int):
            error.details["index"] = places[place]
        raise


async def _committed(engine: Engine, work: Callable[[Transaction], Awaitable[T]], isolation: Isolation, *, writer: bool) -> T:
    transaction = await engine.begin(isolation, unit=writer)
    try:
        answer = await work(transaction)
    except BaseException:
        await asyncio.shield(asyncio.ensure_future(transaction.rollback()))
        raise
    await transaction.commit()
    return answer
