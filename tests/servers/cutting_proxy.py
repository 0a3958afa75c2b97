"""A proxy that cuts connections: before the request has arrived, in the middle of it, while it runs, and after it was answered."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

Fate = Literal["whole", "before", "middle", "running", "answered", "torn"]
CUTS: tuple[Fate, ...] = ("before", "middle", "running", "answered", "torn")
LARGEST = 1 << 20


class CuttingProxy:
    """Carries one request over each connection to `port` of this machine, and cuts one connection in `one_in`.

    `fates` counts what became of the connections: ``whole``, or cut ``before`` the request, in its ``middle``, while it was ``running``
    (all was sent, no answer awaited), after it was ``answered`` (nothing of that is passed on), or with a ``torn`` answer.
    """

    def __init__(self, port: int, *, one_in: int, seed: int) -> None:
        self._target = port
        self._one_in = one_in
        self._chance = random.Random(seed)
        self.fates: Counter[Fate] = Counter()
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[CuttingProxy]:
        """Listen, on a port that `port` then says, for as long as the context lasts."""
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0, limit=LARGEST)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fate: Fate = self._chance.choice(CUTS) if self._chance.randrange(self._one_in) == 0 else "whole"
        self.fates[fate] += 1
        upstream: asyncio.StreamWriter | None = None
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if fate != "before":
                request = await read_message(reader)
                answers, upstream = await asyncio.open_connection("127.0.0.1", self._target, limit=LARGEST)
                await self._pass_on(fate, request, answers, upstream, writer)
        for end in (upstream, writer):
            if end is not None:
                end.transport.abort()

    async def _pass_on(
        self, fate: Fate, request: bytes, answers: asyncio.StreamReader, upstream: asyncio.StreamWriter, writer: asyncio.StreamWriter
    ) -> None:
        upstream.write(request if fate != "middle" else request[: self._chance.randrange(1, len(request))])
        await upstream.drain()
        if fate in {"middle", "running"}:
            return
        answer = await read_message(answers)
        if fate == "answered":
            return
        writer.write(answer if fate == "whole" else answer[: self._chance.randrange(1, len(answer))])
        await writer.drain()
        writer.close()
        await writer.wait_closed()


async def read_message(reader: asyncio.StreamReader) -> bytes:
    """One whole HTTP request or answer with its head and the body that Content-Length announces. Raises IncompleteReadError."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    return head + await reader.readexactly(int(length or b"0"))
