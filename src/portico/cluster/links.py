"""Connections to other workers: by the Unix socket of one on this node, by TLS to a node that advertises its address."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from portico.cluster.frames import FrameError, Kind, read_frame, write_frame

if TYPE_CHECKING:
    from portico.cluster.trust import Trust


CONNECT_SECONDS = 2.0
BEAT_SECONDS = 1.0
"""How often a side that the other one waits for says that it is alive."""

_DEAD_MILLISECONDS = 5000


@dataclass(frozen=True, slots=True)
class Place:
    """Where this worker is: its node's address (empty where it advertises none), its own id, and the node's private folder of sockets."""

    node: str
    worker: str
    directory: Path

    def socket_of(self, worker: str) -> Path:
        """The socket of a worker of this node."""
        return self.directory / f"{worker}.sock"


@dataclass(slots=True)
class Link:
    """A connection, for one request."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def close(self) -> None:
        """Close it, without waiting for the other side."""
        self.writer.close()
        with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
            async with asyncio.timeout(0.2):
                await self.writer.wait_closed()


async def connect(place: Place, trust: Trust | None, node: str, worker: str) -> Link | None:
    """A connection to a worker, or to its node, which has just said that it is alive; None where there is none.

    The kernel accepts connections for a process that is frozen. So nothing is sent before the other side has spoken: a request is either
    never sent, or sent to somebody who was there.
    """
    link: Link | None = None
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            link = await _connect(place, trust, node, worker)
            if link is None:
                return None
            kind, _ = await read_frame(link.reader)
    except (OSError, ssl.SSLError, TimeoutError, FrameError):
        kind = None
    if kind is Kind.ALIVE:
        return link
    if link is not None:
        await link.close()
    return None


async def _connect(place: Place, trust: Trust | None, node: str, worker: str) -> Link | None:
    if node == place.node:
        return Link(*await asyncio.open_unix_connection(str(place.socket_of(worker))))
    if not node or trust is None:
        return None
    host, _, port = node.rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=trust.asking)
    notice_death(writer)
    return Link(reader, writer)


@contextmanager
def showing_life(writer: asyncio.StreamWriter) -> Iterator[None]:
    """Say at once, and each second until the block ends, that this side is alive."""
    beat = asyncio.ensure_future(_beat(writer))
    _say(writer)
    try:
        yield
    finally:
        beat.cancel()


async def _beat(writer: asyncio.StreamWriter) -> None:
    while not writer.is_closing():
        await asyncio.sleep(BEAT_SECONDS)
        _say(writer)


def _say(writer: asyncio.StreamWriter) -> None:
    # What waits to be read already is a sign of life.
    if not writer.is_closing() and not writer.transport.get_write_buffer_size():
        write_frame(writer, Kind.ALIVE)


def notice_death(writer: asyncio.StreamWriter) -> None:
    """Have the kernel end a connection whose other side vanished without a word, within seconds."""
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is None or sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 2), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", _DEAD_MILLISECONDS)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
