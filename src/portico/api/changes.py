"""`GET /api/db/{collection}/changes`: committed changes as server-sent events (WHATWG HTML, section 9.2), for as long as the caller may."""

from __future__ import annotations

import asyncio
import time

import orjson

from portico.api.exchange import VARY, ClientGoneError, Exchange
from portico.errors import InvalidParameter, PorticoError
from portico.service.authenticate import Authenticator
from portico.service.caller import Caller
from portico.service.changes import Changes, Follower
from portico.service.feed_view import View

HEARTBEAT_SECONDS = 15.0
CHECK_SECONDS = 0.5
"""How often the credentials of open streams are looked up. With the second in which a revocation is heard of, less than two."""

MOST_BYTES = 262_144
_MOST_DIGITS = 18


class _Stream:
    """One open stream, and what has to be looked at again."""

    __slots__ = ("exchange", "follower", "view")

    def __init__(self, exchange: Exchange, follower: Follower, view: View) -> None:
        self.exchange = exchange
        self.follower = follower
        self.view = view


class ChangeFeeds:
    """Answers followers.

    Args:
        changes: the feeds. authenticator: says who calls. send_timeout: seconds that one who does not read is waited for.
    """

    def __init__(self, changes: Changes, authenticator: Authenticator, *, send_timeout: float) -> None:
        self._changes = changes
        self._authenticator = authenticator
        self._send_timeout = send_timeout
        self._streams: set[_Stream] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._ending = False

    def end(self) -> None:
        """End every stream, so that the service can stop: its callers come back to another worker and resume."""
        self._ending = True
        for stream in self._streams:
            stream.follower.woken.set()

    async def follow(self, exchange: Exchange, caller: Caller, name: str) -> None:
        """Send events until the caller leaves, may no longer read, or reads nothing for too long."""
        exchange.allow("GET")
        if caller.transaction is not None:
            raise InvalidParameter("Changes cannot be followed inside of a transaction.", hint="Leave X-Transaction-ID out.")
        after = _position(exchange)
        view = self._changes.view(caller, name)
        stream = _Stream(exchange, await self._changes.follow(view, after), view)
        self._streams.add(stream)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CHECK_SECONDS, self._look)
        try:
            await self._begin(stream)
            await self._send_all(stream)
        finally:
            self._streams.discard(stream)
            stream.follower.close()

    async def _begin(self, stream: _Stream) -> None:
        exchange = stream.exchange
        exchange.started = True
        exchange.status = 200
        headers = [
            (b"content-type", b"text/event-stream"),
            (b"cache-control", b"private, no-cache, no-store"),
            (b"x-accel-buffering", b"no"),
            VARY,
            (b"x-correlation-id", exchange.correlation_id.encode()),
        ]
        await exchange.send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send(stream, b"retry: 1000\n" + _heartbeat(stream))

    async def _send_all(self, stream: _Stream) -> None:
        exchange, follower = stream.exchange, stream.follower
        beat = time.monotonic() + HEARTBEAT_SECONDS
        while not self._ending:
            try:
                if self._stale(stream):
                    caller = await exchange.caller(self._authenticator)
                    stream.view = self._changes.view(caller, follower.name)
                found = await follower.next()
            except PorticoError as error:
                await self._send(stream, _error(error))
                break
            events = [event for change in found if (event := stream.view.event(change)) is not None]
            for chunk in _chunks(events):
                await self._send(stream, chunk)
            if events:
                beat = time.monotonic() + HEARTBEAT_SECONDS
            elif time.monotonic() >= beat:
                await self._send(stream, _heartbeat(stream))
                beat = time.monotonic() + HEARTBEAT_SECONDS
            if not found:
                await _wait(follower.woken, beat - time.monotonic())
        await exchange.send({"type": "http.response.body", "body": b""})

    async def _send(self, stream: _Stream, chunk: bytes) -> None:
        try:
            async with asyncio.timeout(self._send_timeout):
                await stream.exchange.send({"type": "http.response.body", "body": chunk, "more_body": True})
        except TimeoutError:
            raise ClientGoneError from None

    def _stale(self, stream: _Stream) -> bool:
        """Whether the credential is not what it was, or the collections are not."""
        known = self._authenticator.lookup(stream.exchange.headers)
        return known is None or known != stream.exchange.identity or stream.view.version != self._changes.version

    def _look(self) -> None:
        """Wake those whose stream may have to end. Everybody's credential is looked at here, so that nobody needs a timer for it."""
        for stream in self._streams:
            if self._stale(stream):
                stream.follower.woken.set()
        self._timer = asyncio.get_running_loop().call_later(CHECK_SECONDS, self._look) if self._streams else None


async def _wait(woken: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(max(seconds, 0)):
            await woken.wait()
    except TimeoutError:
        return


def _position(exchange: Exchange) -> int | None:
    """Where to resume: `Last-Event-ID`, which a client sends by itself, goes before `after`."""
    exchange.takes("after")
    given = exchange.headers.get(b"last-event-id", b"").decode("latin-1").strip() or exchange.parameters(("after",)).get("after")
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= _MOST_DIGITS):
        raise InvalidParameter("The position is not one of a change feed.", hint="Send the id of the last event.")
    return int(given)


def _heartbeat(stream: _Stream) -> bytes:
    """A comment that keeps the connection, with how far the feed has come, so that who resumes has little to catch up with."""
    return b": following\nid: %d\n\n" % stream.follower.position


def _error(error: PorticoError) -> bytes:
    return b"event: error\ndata: " + orjson.dumps({"code": error.code, "message": error.message, "hint": error.hint}) + b"\n\n"


def _chunks(events: list[bytes]) -> list[bytes]:
    """The events together, a bounded number of bytes at a time."""
    chunks: list[bytes] = []
    held: list[bytes] = []
    size = 0
    for event in events:
        if held and size + len(event) > MOST_BYTES:
            chunks.append(b"".join(held))
            held, size = [], 0
        held.append(event)
        size += len(event)
    return [*chunks, b"".join(held)] if held else chunks
