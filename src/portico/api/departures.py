"""Callers who leave while their call takes long: its task is cancelled, and with it the statement that runs for nobody.

Listening costs a task, and most calls are answered before it would have begun: so those that run are looked at a few times a second, and
only one that was there the last time gets a listener.
"""

from __future__ import annotations

import asyncio

from portico.api.exchange import Exchange

PERIOD_SECONDS = 0.2


class Departures:
    """The calls that run. One for each process; it lives on the event loop."""

    __slots__ = ("_listeners", "_running", "_seen", "_timer")

    def __init__(self) -> None:
        self._running: dict[Exchange, asyncio.Task[object] | None] = {}
        self._seen: set[Exchange] = set()
        self._listeners: dict[Exchange, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, exchange: Exchange) -> None:
        """A call begins, in the task that runs now."""
        self._running[exchange] = asyncio.current_task()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PERIOD_SECONDS, self._look)

    def leave(self, exchange: Exchange) -> None:
        """The call has ended."""
        del self._running[exchange]
        if self._listeners:
            listener = self._listeners.pop(exchange, None)
            if listener is not None:
                listener.cancel()

    def _look(self) -> None:
        for exchange in self._seen & self._running.keys():
            # While a body is being read, whoever reads it hears of the end.
            if not exchange.reading and exchange not in self._listeners:
                self._listeners[exchange] = asyncio.ensure_future(self._listen(exchange))
        self._seen = set(self._running)
        self._timer = asyncio.get_running_loop().call_later(PERIOD_SECONDS, self._look) if self._running else None

    async def _listen(self, exchange: Exchange) -> None:
        while (await exchange.receive())["type"] != "http.disconnect":
            continue
        task = self._running.get(exchange)
        if task is not None:
            exchange.gone = True
            task.cancel()
