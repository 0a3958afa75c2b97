"""What travels between workers: a request's head, its body, and the answer, as frames of a kind and a length. Bytes stay as they are."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from enum import Enum
from typing import Any, cast

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
"""The types of ASGI 3."""

_HEAD = struct.Struct(">cI")
MOST_BYTES = 16 * 1024 * 1024
PIECE_BYTES = 262_144
CARRIED = "portico.carried"
"""Marks the scope of a request that another worker carried here."""

SILENCE_SECONDS = 5.0
"""How long a side may give no sign of life. One that is frozen, or cut off behind a proxy, keeps its connections open all the same."""


class Kind(Enum):
    """Kinds of frames: of the request, of the answer, a sign of life, and the two answers to `PING`.

    `NOBODY` is also the answer of who is asked for a worker that is gone.
    """

    HEAD = b"H"
    PIECE = b"P"
    LAST_PIECE = b"L"
    PING = b"?"
    START = b"S"
    BODY = b"B"
    LAST_BODY = b"E"
    HERE = b"Y"
    NOBODY = b"N"
    ALIVE = b"A"


class FrameError(ConnectionError):
    """The other side sent what is no frame, or ended within one."""


class SilenceError(FrameError):
    """The other side gives no sign of life."""


async def read_frame(reader: asyncio.StreamReader) -> tuple[Kind, bytes]:
    """The next frame. Raises FrameError, ConnectionError."""
    try:
        kind, length = _HEAD.unpack(await reader.readexactly(_HEAD.size))
        if length > MOST_BYTES:
            raise FrameError("a frame is too long")
        return Kind(kind), await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ValueError) as error:
        raise FrameError("the connection ended") from error


async def next_frame(reader: asyncio.StreamReader) -> tuple[Kind, bytes]:
    """The next frame that says something. Raises FrameError, SilenceError, ConnectionError."""
    while True:
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                kind, payload = await read_frame(reader)
        except TimeoutError:
            raise SilenceError("the other side is silent") from None
        if kind is not Kind.ALIVE:
            return kind, payload


def write_frame(writer: asyncio.StreamWriter, kind: Kind, payload: bytes = b"") -> None:
    """Write a frame; `drain` is the caller's."""
    writer.write(_HEAD.pack(kind.value, len(payload)) + payload)


async def write_body(writer: asyncio.StreamWriter, body: bytes, *, more: bool, kind: Kind, last: Kind) -> None:
    """Write a piece of a body in frames of bounded length."""
    for place in range(0, len(body), PIECE_BYTES):
        write_frame(writer, kind, body[place : place + PIECE_BYTES])
        await writer.drain()
    if not more:
        write_frame(writer, last)
        await writer.drain()


def head_of(scope: Scope, worker: str) -> bytes:
    """The head of a request for a worker. Latin-1 keeps every byte."""
    parts = {name: scope.get(name) for name in ("method", "path", "scheme", "http_version", "root_path", "client", "server")}
    raw = scope.get("raw_path") or scope["path"].encode()
    text = {"raw_path": raw.decode("latin-1"), "query_string": scope["query_string"].decode("latin-1")}
    return json.dumps(parts | text | {"to": worker, "headers": _as_text(scope["headers"])}).encode()


def scope_of(head: MutableMapping[str, Any]) -> Scope:
    """The ASGI scope of a request that was carried here."""
    scope: dict[str, Any] = {name: head[name] for name in ("method", "path", "scheme", "http_version", "root_path")}
    scope |= {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "state": {}, "extensions": {}, CARRIED: True}
    scope["client"], scope["server"] = head["client"], head["server"]
    scope["raw_path"] = head["raw_path"].encode("latin-1")
    scope["query_string"] = head["query_string"].encode("latin-1")
    scope["headers"] = _as_bytes(head["headers"])
    return scope


def start_of(message: Message) -> bytes:
    """The start of an answer."""
    return json.dumps({"status": message["status"], "headers": _as_text(message.get("headers", ()))}).encode()


def message_of(payload: bytes) -> Message:
    """The start of an answer, as ASGI has it."""
    start = cast("dict[str, Any]", json.loads(payload))
    return {"type": "http.response.start", "status": start["status"], "headers": _as_bytes(start["headers"])}


def _as_text(headers: Any) -> list[tuple[str, str]]:
    return [(bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in headers]


def _as_bytes(headers: Any) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
