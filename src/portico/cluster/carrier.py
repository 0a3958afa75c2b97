"""The way out: a request is carried to the worker that holds its transaction, and the answer back, both as they stream."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from typing import TYPE_CHECKING

from portico.cluster.frames import (
    FrameError,
    Kind,
    Receive,
    Scope,
    Send,
    SilenceError,
    head_of,
    message_of,
    next_frame,
    write_body,
    write_frame,
)
from portico.cluster.links import CONNECT_SECONDS, Link, Place, connect, showing_life
from portico.errors import Unavailable
from portico.events import CallCarried, Emit

if TYPE_CHECKING:
    from portico.cluster.trust import Trust

_BROKEN = (OSError, ssl.SSLError, FrameError)


class Carrier:
    """Carries requests. `trust` is None on a node that knows no others."""

    def __init__(self, place: Place, trust: Trust | None, *, emit: Emit) -> None:
        self._place = place
        self._trust = trust
        self._emit = emit

    async def __call__(self, node: str, worker: str, scope: Scope, receive: Receive | None, send: Send) -> bool:
        """Carry a request; False where the worker is gone or cannot be reached.

        Raises:
            Unavailable: the worker is there, and the connection to it broke before the answer's end.
        """
        started = time.perf_counter()
        answered = await self._carry(node, worker, scope, receive, send)
        self._emit(CallCarried(node, time.perf_counter() - started, answered))
        return answered

    async def _carry(self, node: str, worker: str, scope: Scope, receive: Receive | None, send: Send) -> bool:
        link = await connect(self._place, self._trust, node, worker)
        if link is None:
            return False
        pump: asyncio.Task[None] | None = None
        began = False
        try:
            write_frame(link.writer, Kind.HEAD, head_of(scope, worker))
            if receive is None:
                write_frame(link.writer, Kind.LAST_PIECE)
            else:
                pump = asyncio.ensure_future(_pump(receive, link))
            kind, payload = await next_frame(link.reader)
            if kind is Kind.NOBODY:
                return False
            began = True
            await _answer(link, kind, payload, send)
        except _BROKEN as error:
            if not began and not isinstance(error, SilenceError) and not await self._is_there(node, worker):
                return False
            raise Unavailable(
                "The call was cut off on its way to the worker that holds the transaction; whether it ran is not known.",
                hint="Ask GET /api/db/transaction/{id}.",
            ) from None
        finally:
            if pump is not None:
                pump.cancel()
                with contextlib.suppress(asyncio.CancelledError, *_BROKEN):
                    await pump
            await link.close()
        return True

    async def _is_there(self, node: str, worker: str) -> bool:
        link = await connect(self._place, self._trust, node, worker)
        if link is None:
            return False
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                write_frame(link.writer, Kind.PING, worker.encode())
                kind, _ = await next_frame(link.reader)
                return kind is Kind.HERE
        except (*_BROKEN, TimeoutError):
            return False
        finally:
            await link.close()


async def _pump(receive: Receive, link: Link) -> None:
    """The request's body, as it arrives. A caller who leaves ends the connection, which the other side notices."""
    with showing_life(link.writer):
        message = await receive()
        while message["type"] != "http.disconnect" and message.get("more_body"):
            await write_body(link.writer, message.get("body", b""), more=True, kind=Kind.PIECE, last=Kind.LAST_PIECE)
            message = await receive()
    if message["type"] == "http.disconnect":
        link.writer.close()
        return
    # Nothing may follow the last piece but the connection's end.
    await write_body(link.writer, message.get("body", b""), more=False, kind=Kind.PIECE, last=Kind.LAST_PIECE)


async def _answer(link: Link, kind: Kind, payload: bytes, send: Send) -> None:
    if kind is not Kind.START:
        raise FrameError("an answer begins with its start")
    await send(message_of(payload))
    while True:
        kind, payload = await next_frame(link.reader)
        if kind not in {Kind.BODY, Kind.LAST_BODY}:
            raise FrameError("an answer goes on with its body")
        await send({"type": "http.response.body", "body": payload, "more_body": kind is Kind.BODY})
        if kind is Kind.LAST_BODY:
            return
