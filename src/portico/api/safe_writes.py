"""Writes that are more than their statement: applied once (`Idempotency-Key`), undone (`Prefer: tx=rollback`), or a batch.

Their handler runs in a unit of work, with its answer held back until the unit is committed. Other calls do not come here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from portico.api.exchange import Exchange
from portico.errors import InvalidParameter
from portico.model.idempotency import Answered
from portico.service.idempotency import RequestHash, asked_once
from portico.service.units import Unit, Units

KEY, PREFER = b"idempotency-key", b"prefer"
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
SPOOL_BYTES = 1_048_576
CHUNK_BYTES = 65_536
REPLAYED = (b"idempotency-replayed", b"true")
UNDONE = (b"preference-applied", b"tx=rollback")
_OF_THE_REQUEST = frozenset({b"x-correlation-id", b"content-length"})


class SafeWrites:
    """Runs handlers in units of work. `life_seconds` is how long the answer of a keyed write is kept."""

    def __init__(self, units: Units, *, life_seconds: float) -> None:
        self._units = units
        self._life_seconds = life_seconds

    async def run(self, exchange: Exchange, handle: Callable[[], Awaitable[None]], *, always: bool = False) -> None:
        """Run a handler, in a unit of work where the request asks for that or its call is `always` one.

        Raises:
            InvalidParameter: the key or the preference `tx` is malformed; and what the unit and the handler raise.
        """
        undo = _is_undone(exchange)
        key = exchange.headers.get(KEY)
        if not (undo or always or key is not None):
            await handle()
            return
        request = RequestHash(exchange.method, _address(exchange))
        once = asked_once(key.decode("latin-1"), request.digest, life_seconds=self._life_seconds) if key is not None else None
        send, receive = exchange.send, exchange.receive
        with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
            body = _Body(receive, spool, request)

            async def work(unit: Unit) -> Answered:
                held = _Held()
                body.rewind()
                exchange.begin_again(unit, body.receive, held.send)
                await handle()
                return held.answer()

            try:
                answer, replayed = await self._units.run(work, once=once, undo=undo)
            finally:
                exchange.started = False
                exchange.send, exchange.receive = send, receive
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
        if replayed:
            headers.append(REPLAYED)
        elif undo and not any(name == UNDONE[0] and b"tx=rollback" in value for name, value in headers):
            headers.append(UNDONE)
        await exchange.answer(answer.status, answer.body, *headers)


def _is_undone(exchange: Exchange) -> bool:
    wish = exchange.prefer().get("tx", "commit")
    if wish not in {"commit", "rollback"}:
        raise InvalidParameter("The preference tx is commit or rollback.", details={"header": "Prefer"})
    return wish == "rollback"


def _address(exchange: Exchange) -> bytes:
    path: bytes = exchange.scope.get("raw_path") or exchange.scope["path"].encode()
    query: bytes = exchange.scope["query_string"]
    return path.partition(b"?")[0] + b"?" + query


class _Body:
    """A request's body as it arrives, hashed and written down, so that a handler that runs again reads it again."""

    def __init__(
        self, receive: Callable[[], Awaitable[MutableMapping[str, Any]]], spool: tempfile.SpooledTemporaryFile[bytes], request: RequestHash
    ) -> None:
        self._receive = receive
        self._spool = spool
        self._request = request
        self._complete = False
        self._written = 0
        self._place: int | None = None

    def rewind(self) -> None:
        """Give what has arrived once more, from the beginning."""
        self._place = 0 if self._written or self._complete else None

    async def receive(self) -> MutableMapping[str, Any]:
        """ASGI's receive."""
        if self._place is not None:
            return self._again(self._place)
        message = await self._receive()
        if message["type"] == "http.request" and not self._complete:
            chunk = message.get("body", b"")
            self._request.update(chunk)
            self._spool.write(chunk)
            self._written += len(chunk)
            self._complete = not message.get("more_body")
        return message

    def _again(self, place: int) -> MutableMapping[str, Any]:
        self._spool.seek(place)
        chunk = self._spool.read(CHUNK_BYTES)
        more = place + len(chunk) < self._written
        # What follows has not arrived yet, or is the end of the connection.
        self._place = place + len(chunk) if more else None
        return {"type": "http.request", "body": chunk, "more_body": more or not self._complete}


class _Held:
    """An answer that is held back."""

    def __init__(self) -> None:
        self._start: MutableMapping[str, Any] = {}
        self._chunks: list[bytes] = []

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """ASGI's send."""
        if message["type"] == "http.response.start":
            self._start = message
        else:
            self._chunks.append(message.get("body", b""))

    def answer(self) -> Answered:
        """The whole answer, without the headers that are each request's own."""
        headers = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in self._start["headers"] if name not in _OF_THE_REQUEST
        ]
        return Answered(self._start["status"], tuple(headers), b"".join(self._chunks))
