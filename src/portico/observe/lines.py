"""Writes log lines, as JSON or as coloured text, from a thread of its own: who logs never waits for a slow reader."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Protocol

import orjson

MOST_WAITING = 20_000
"""Lines that may wait for the writer; beyond it they are dropped and counted."""

_GATHER_SECONDS = 0.02
_LAST_SECONDS = 2.0

Fields = Mapping[str, object]
Waiting = tuple[float, str, str, str, Fields]
Renderer = Callable[[MutableMapping[str, object]], bytes]


class Output(Protocol):
    """Where lines go: a binary stream."""

    def write(self, data: bytes, /) -> object:
        """Write all of `data`."""
        ...

    def flush(self) -> object:
        """Hand over what was written."""
        ...


class Lines:
    """The lines of one process.

    Args:
        colour: text for people instead of JSON. output: where to; standard output unless given.
        constant: fields of every line, such as the service's name.
    """

    def __init__(self, *, colour: bool = False, output: Output | None = None, constant: Fields | None = None) -> None:
        self._output: Output = output if output is not None else sys.stdout.buffer
        self._render = _text_renderer() if colour else _json
        self._constant = dict(constant or {})
        self._waiting: deque[Waiting] = deque()
        self._wake = threading.Event()
        self._dropped = 0
        self._closing = False
        self._thread: threading.Thread | None = None

    def write(self, level: str, logger: str, event: str, fields: Fields) -> None:
        """Put one line in the queue; fields that are None or empty are left out when it is written."""
        if len(self._waiting) >= MOST_WAITING:
            self._dropped += 1
            return
        self._waiting.append((time.time(), level, logger, event, fields))
        if not self._wake.is_set():
            self._wake.set()
            if self._thread is None:
                # Started at the first line, so that it runs in the worker and not in the process that it was forked from.
                self._thread = threading.Thread(target=self._run, name="portico-log", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Write what is left."""
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_LAST_SECONDS)
        else:
            self._drain()

    def _run(self) -> None:
        pause = threading.Event()
        while not self._closing:
            self._wake.wait()
            # Lines of the same moment go out together: one system call instead of hundreds.
            pause.wait(_GATHER_SECONDS)
            self._wake.clear()
            self._drain()
        self._drain()

    def _drain(self) -> None:
        rendered: list[bytes] = []
        while self._waiting:
            rendered.append(self._line(self._waiting.popleft()))
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            rendered.append(self._line((time.time(), "warning", "portico", "Log lines dropped", {"lines": dropped})))
        try:
            self._output.write(b"".join(rendered))
            self._output.flush()
        except (OSError, ValueError):
            # Whoever read the log has gone; the service goes on.
            return

    def _line(self, waiting: Waiting) -> bytes:
        at, level, logger, event, fields = waiting
        moment = datetime.fromtimestamp(at, UTC).replace(tzinfo=None).isoformat("T", "microseconds")
        line: dict[str, object] = {"timestamp": f"{moment}Z", "level": level, "logger": logger, "event": event}
        line |= {key: value for key, value in fields.items() if value is not None and value != ""}
        line |= self._constant
        return self._render(line)


def _json(line: MutableMapping[str, object]) -> bytes:
    try:
        return orjson.dumps(line, default=str) + b"\n"
    except (TypeError, ValueError):
        return orjson.dumps({key: ascii(value) for key, value in line.items()}) + b"\n"


def _text_renderer() -> Renderer:
    # Imported here: it takes longer than everything else of the log, and only a terminal needs it.
    import structlog  # noqa: PLC0415

    console = structlog.dev.ConsoleRenderer(colors=True, sort_keys=False)
    return lambda line: f"{console(None, '', line)}\n".encode("utf-8", "replace")
