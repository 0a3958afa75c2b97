"""Connections to other workers: by the Unix socket of one on this node, by TLS to a node that advertises its address."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from portico.cluster.trust import Trust


CONNECT_SECONDS = 2.0
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
    """A connection to a worker, or to its node; None where there is none."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            if node == place.node:
                return Link(*await asyncio.open_unix_connection(str(place.socket_of(worker))))
            if not node or trust is None:
                return None
            host, _, port = node.rpartition(":")
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=trust.asking)
    except (OSError, ssl.SSLError, TimeoutError):
        return None
    notice_death(writer)
    return Link(reader, writer)


def notice_death(writer: asyncio.StreamWriter) -> None:
    """Have the kernel end a connection whose other side vanished without a word, within seconds."""
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is None or sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 2), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", _DEAD_MILLISECONDS)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
