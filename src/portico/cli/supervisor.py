"""The process that keeps the workers: replaces those that end by themselves, and ends them all without losing a request."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from granian.server.mp import MPServer

from portico.cli.draining import DRAIN, ENDS

DRAIN_SECONDS = 0.25
"""How long busy connections may take to hear that they are to be closed."""

MOST_ENDS = 5
WITHIN_SECONDS = 30.0
"""A service whose workers end more than `MOST_ENDS` times within so long does not get better by new ones."""


class Supervisor(MPServer):
    """Granian's server with patience for workers that are killed, and an end in two steps."""

    respawned_wrks: dict[int, float]

    def __init__(self, target: str, **options: object) -> None:
        # A worker that has not begun to serve must not end from being told to.
        signal.signal(DRAIN, signal.SIG_IGN)
        super().__init__(target, **options)  # type: ignore[arg-type]
        self.respawned_wrks = _Respawned()

    def _spawn_workers(self, spawn_target: Callable[..., None], target_loader: Callable[..., object]) -> None:
        with _held_back():
            super()._spawn_workers(spawn_target, target_loader)  # type: ignore[no-untyped-call]

    def _respawn_workers(
        self, workers: Sequence[int], spawn_target: Callable[..., None], target_loader: Callable[..., object], delay: float = 0
    ) -> None:
        with _held_back():
            super()._respawn_workers(workers, spawn_target, target_loader, delay)

    def _stop_workers(self) -> None:
        for worker in self.wrks:
            with suppress(ProcessLookupError):
                os.kill(worker.inner.pid, DRAIN)
        time.sleep(DRAIN_SECONDS)
        super()._stop_workers()  # type: ignore[no-untyped-call]


@contextmanager
def _held_back() -> Iterator[None]:
    """Hold signals to end back, for the processes that are made meanwhile too: in these they would meet this process's handlers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Respawned(dict[int, float]):
    """When workers were replaced, as Granian asks: it gives the service up where one ended within seconds of that.

    Two ends of the same worker in a row can be bad luck (an operator, the kernel short of memory), so they are told only from
    the sixth within half a minute.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ends: deque[float] = deque()

    def get(self, key: int, default: float = 0.0) -> float:  # type: ignore[override]  # noqa: ARG002 - a mapping's signature
        """When the worker was replaced, where there is no hope; else `default`."""
        now = time.monotonic()
        self._ends.append(now)
        while now - self._ends[0] > WITHIN_SECONDS:
            self._ends.popleft()
        return now if len(self._ends) > MOST_ENDS else default
