"""The way in: requests that other workers carry to this one, and those of other nodes for the workers of this one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from portico.cluster.frames import (
    App,
    FrameError,
    Kind,
    Message,
    next_frame,
    scope_of,
    start_of,
    write_body,
    write_frame,
)
from portico.cluster.links import Link, Place, connect, notice_death, showing_life
from portico.errors import ConfigurationError

if TYPE_CHECKING:
    from portico.cluster.trust import Trust

DRAIN_SECONDS = 10.0
REST_SECONDS = 5.0
_BROKEN = (OSError, ssl.SSLError, FrameError)


class Listener:
    """Listens on the worker's own Unix socket, and together with its siblings on the node's address.

    `app` gives what answers: the application, once there is one. `address` is `host:port` to listen on, with `trust`.
    """

    def __init__(self, place: Place, app: Callable[[], App], *, address: str | None = None, trust: Trust | None = None) -> None:
        self._place = place
        self._app = app
        self._address = address
        self._trust = trust
        self._servers: list[asyncio.Server] = []
        self._running: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Begin to listen. Raises ConfigurationError where the node's address cannot be listened on."""
        path = self._place.socket_of(self._place.worker)
        self._servers.append(await asyncio.start_unix_server(partial(self._accept, relays=False), str(path)))
        path.chmod(0o600)
        if self._address is None or self._trust is None:
            return
        host, _, port = self._address.rpartition(":")
        try:
            server = await asyncio.start_server(
                partial(self._accept, relays=True), host.strip("[]"), int(port), ssl=self._trust.serving, reuse_port=True
            )
        except OSError as error:
            raise ConfigurationError(
                f"Nobody can listen on {self._address}, where other nodes are to reach this one.",
                hint="cluster.listen names the address of this machine, where cluster.advertise is another's.",
            ) from error
        self._servers.append(server)

    async def close(self) -> None:
        """Stop listening, and let what was carried here come to its end, for ten seconds."""
        for server in self._servers:
            server.close()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=DRAIN_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        with contextlib.suppress(OSError):
            self._place.socket_of(self._place.worker).unlink(missing_ok=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, relays: bool) -> None:
        task = asyncio.current_task()
        assert task is not None, "the server runs each connection in a task"
        self._running.add(task)
        link = Link(reader, writer)
        try:
            notice_death(writer)
            with showing_life(writer):
                kind, payload = await next_frame(reader)
                if kind is Kind.PING:
                    await self._answer_ping(link, payload.decode("ascii", "replace"), relays=relays)
                    return
                other = await self._serve(link, payload, relays=relays) if kind is Kind.HEAD else None
            if other is not None:
                await _splice(link, other)
        except (*_BROKEN, TimeoutError):
            return
        finally:
            self._running.discard(task)
            await link.close()

    async def _answer_ping(self, link: Link, worker: str, *, relays: bool) -> None:
        found = worker == self._place.worker
        if not found and relays and worker.isalnum():
            other = await connect(self._place, None, self._place.node, worker)
            found = other is not None
            if other is not None:
                await other.close()
        write_frame(link.writer, Kind.HERE if found else Kind.NOBODY)
        await link.writer.drain()

    async def _serve(self, link: Link, payload: bytes, *, relays: bool) -> Link | None:
        """Answer a request that is for this worker; for another one of this node, give the connection to it that was handed the head."""
        head = json.loads(payload)
        worker = str(head["to"])
        if worker == self._place.worker:
            body, answer = _Body(link), _Answer(link)
            try:
                await self._app()(scope_of(head), body.receive, answer.send)
                if answer.complete:
                    await body.take_rest()
            finally:
                body.close()
            return None
        other = await connect(self._place, None, self._place.node, worker) if relays and worker.isalnum() else None
        if other is None:
            write_frame(link.writer, Kind.NOBODY)
            await link.writer.drain()
            await _Body(link).take_rest()
            return None
        write_frame(other.writer, Kind.HEAD, payload)
        return other


class _Body:
    """The request's body, and after it the end of the connection, as ASGI's receive tells them."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._complete = False
        self._end: asyncio.Task[bytes] | None = None

    async def receive(self) -> Message:
        """ASGI's receive."""
        if self._complete:
            await self._ended()
            return {"type": "http.disconnect"}
        try:
            kind, payload = await next_frame(self._link.reader)
        except _BROKEN:
            return {"type": "http.disconnect"}
        self._complete = kind is not Kind.PIECE
        return {"type": "http.request", "body": payload, "more_body": not self._complete}

    async def take_rest(self) -> None:
        """After the answer: wait for the other side to close, because what it still sends would cut the answer short."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REST_SECONDS):
                while not self._complete and (await self.receive())["type"] != "http.disconnect":
                    continue
                await self._ended()

    def close(self) -> None:
        """Nobody asks any more."""
        if self._end is not None and not self._end.cancel() and not self._end.cancelled():
            self._end.exception()  # how it ended is no matter

    async def _ended(self) -> None:
        """Wait for the connection's end, which alone follows a body. Several may wait."""
        if self._end is None:
            self._end = asyncio.ensure_future(self._link.reader.read(1))
        await asyncio.wait([self._end])


class _Answer:
    """The answer, written as it is made."""

    def __init__(self, link: Link) -> None:
        self._writer = link.writer
        self.complete = False

    async def send(self, message: Message) -> None:
        """ASGI's send."""
        if message["type"] == "http.response.start":
            write_frame(self._writer, Kind.START, start_of(message))
            return
        more = bool(message.get("more_body"))
        await write_body(self._writer, message.get("body", b""), more=more, kind=Kind.BODY, last=Kind.LAST_BODY)
        self.complete = not more


async def _splice(one: Link, other: Link) -> None:
    """Pass bytes both ways until a side ends; then end the other."""
    ways = [asyncio.ensure_future(_pass(one.reader, other.writer)), asyncio.ensure_future(_pass(other.reader, one.writer))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        await other.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(*_BROKEN):
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
