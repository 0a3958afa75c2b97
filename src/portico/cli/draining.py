"""In a worker: how its last requests are let go, so that none is lost when the service ends.

New connections are turned away first, while those that were made are still taken; answers then tell their callers to close. Only
after that does the server close what is idle. Without this, connections that wait to be taken are reset with the listening socket, and
a caller's next request meets a connection that is being closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import multiprocessing
import os
import signal
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

from portico.api.render import App, Message, Receive, Scope, Send

DRAIN = signal.SIGUSR2
"""Tells a worker that it will be ended soon."""

ENDS = frozenset({signal.SIGTERM, signal.SIGINT})
"""What ends a process in order."""

_UNTIL_SERVED = 0.05
_SO_ATTACH_FILTER = 26
_PR_SET_PDEATHSIG = 1
# A classic BPF program over the TCP header: a segment with SYN and without ACK is dropped, every other one passes.
_WITHOUT_NEW = (
    struct.pack("HBBI", 0x30, 0, 0, 13)  # load the byte of the flags
    + struct.pack("HBBI", 0x54, 0, 0, 0x12)  # SYN and ACK of it
    + struct.pack("HBBI", 0x15, 0, 1, 0x02)  # SYN alone?
    + struct.pack("HBBI", 0x06, 0, 0, 0)  # drop
    + struct.pack("HBBI", 0x06, 0, 0, 0xFFFF)  # pass
)


class Draining:
    """The application of a worker, which after `DRAIN` takes no new connections and closes those that it has answered.

    `ends` are called then: they end what would go on for ever.
    """

    def __init__(self, app: App, ends: Sequence[Callable[[], None]]) -> None:
        self._app = app
        self._ends = ends
        self._begun = False
        self._starting: _Starting | None = None

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request, or one of the server's own messages."""
        if scope["type"] == "lifespan":
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(DRAIN, self._begin)
            loop.add_signal_handler(signal.SIGINT, lambda: None)
            self._starting = _Starting(loop)
            return self._app(scope, receive, self._starting.told_by(send))
        if self._starting is not None:
            self._starting.over()
            self._starting = None
        return self._app(scope, receive, _closing(send) if self._begun else send)

    def _begin(self) -> None:
        self._begun = True
        for end in self._ends:
            end()
        for listener in _listeners():
            with listener, contextlib.suppress(OSError):
                refuse_connections(listener)


class _Starting:
    """A worker that does not serve yet ends at once when it is told to end.

    Granian's handler of SIGTERM, which is there already, would wait for ever for a server that does not run yet.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._before = signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def told_by(self, send: Send) -> Send:
        """A `send` of the lifespan, which sees the start's end."""

        def seen(message: Message) -> Awaitable[None]:
            if message["type"] == "lifespan.startup.complete":
                # The server begins when this loop has gone round a few times; the first request, if it is faster, ends the wait.
                self._loop.call_later(_UNTIL_SERVED, self.over)
            return send(message)

        return seen

    def over(self) -> None:
        """Give SIGTERM back to the server; a second call does nothing."""
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
            signal.siginterrupt(signal.SIGTERM, False)
            self._before = None


def _closing(send: Send) -> Send:
    """A `send` whose answer is the last of its connection."""

    def last(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
        return send(message)

    return last


def refuse_connections(listener: socket.socket) -> None:
    """Have the kernel leave requests for new connections unanswered; those that were answered can still be accepted.

    Who asks repeats it after a second, and is then refused, because the socket is closed. Raises OSError.
    """
    program = ctypes.create_string_buffer(_WITHOUT_NEW)
    length = len(_WITHOUT_NEW) // 8
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HxxxxxxP", length, ctypes.addressof(program)))


def _listeners() -> Iterator[socket.socket]:
    """The process's listening TCP sockets, as duplicates (Linux; elsewhere none)."""
    if sys.platform != "linux":
        return
    for entry in list(Path("/proc/self/fd").iterdir()):
        try:
            found = socket.fromfd(int(entry.name), socket.AF_INET, socket.SOCK_STREAM)
        except OSError:
            continue
        try:
            listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and found.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL)
        except OSError:
            listens = 0
        if listens == socket.IPPROTO_TCP:
            yield found
        else:
            found.close()


def begin_worker() -> None:
    """At a worker's begin: what ends it, until it serves and the server's own handlers are there.

    Where the process that keeps it is gone, however it went, the kernel ends the worker too (Linux).
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # A terminal's Ctrl-C reaches every process; the one that keeps the workers ends them, after it has said so.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        keeper = multiprocessing.parent_process()
        if keeper is not None and keeper.pid != os.getppid():
            # It went before the kernel was asked, so nothing would tell this worker.
            signal.raise_signal(signal.SIGTERM)
