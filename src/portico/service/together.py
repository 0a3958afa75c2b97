"""Several writes as one: inside of the transaction that the call has, or in one of its own, which is committed or undone here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from portico.engines.base import Engine, Isolation, Transaction
from portico.errors import PorticoError, StaleSnapshot
from portico.service.caller import Caller

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
def placed(places: Sequence[int], of: int) -> Iterator[None]:
    """Calls that are run together, and stand at `places` among the bodies `of` a call: an error's index becomes its body's."""
    try:
        yield
    except PorticoError as error:
        place = error.details.get("index", 0 if len(places) == 1 < of else None)
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
