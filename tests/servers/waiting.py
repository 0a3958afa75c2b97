"""Waiting for a condition with a deadline: the only place of the tests that lets time pass."""

import asyncio
import time
from collections.abc import Awaitable, Callable

_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.1


def wait_until(condition: Callable[[], object], within: float = 20.0, what: str = "the condition") -> None:
    """Return as soon as `condition()` is true.

    Args:
        condition: asked again and again; an OSError from it counts as "not yet".
        within: seconds until the wait is given up.
        what: names the condition in the error.

    Raises:
        TimeoutError: the condition was not true in time.
    """
    deadline = time.monotonic() + within
    pause = _FIRST_PAUSE
    while not _holds(condition):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {within:g} s")
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


async def wait_until_async(condition: Callable[[], Awaitable[object]], within: float = 20.0, what: str = "the condition") -> None:
    """Like `wait_until`, for a condition that is awaited, without holding the event loop.

    Raises:
        TimeoutError: the condition was not true in time.
    """
    pause = _FIRST_PAUSE
    async with asyncio.timeout(within):
        while not await condition():
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)


def _holds(condition: Callable[[], object]) -> bool:
    try:
        return bool(condition())
    except OSError:
        return False
