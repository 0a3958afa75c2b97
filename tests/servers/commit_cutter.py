"""A proxy in front of PostgreSQL that cuts a connection at its COMMIT: the server gets it, and its answer is not passed on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
"""A simple query, as the protocol writes it."""


class CommitCutter:
    """Passes everything on to `target`, a port of this machine, until `cuts` is above zero: then so many COMMITs lose their answer."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.cuts = 0
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[CommitCutter]:
        """Listen, on a port that `port` then says, for as long as the context lasts."""
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, upstream = await asyncio.open_connection("127.0.0.1", self._target)
        back = asyncio.ensure_future(_pass_on(answers, writer))
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                cut = self.cuts > 0 and data.endswith(_COMMIT)
                if cut:
                    self.cuts -= 1
                    back.cancel()
                    await asyncio.wait([back])
                upstream.write(data)
                await upstream.drain()
                if cut:
                    await answers.read(1)  # it is committed
                    break
        for end in (upstream, writer):
            end.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()
