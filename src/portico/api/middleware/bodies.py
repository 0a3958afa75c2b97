"""Bodies of requests: how large they may be, as sent and as unpacked, and which encodings are understood."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from portico.api.render import Message, Receive
from portico.errors import BodyTooLarge, InvalidRequest, UnsupportedMediaType

_PLAIN = frozenset({b"", b"identity"})
_GZIP = frozenset({b"gzip", b"x-gzip"})
_WINDOW_OF_GZIP = 16 + zlib.MAX_WBITS
_CHUNK_BYTES = 262_144
STREAMED = ("/import", "/content")
"""Ends of the paths whose bodies are streamed and have limits of their own."""


def limit_body(receive: Receive, headers: Mapping[bytes, bytes], path: str, limit: int) -> Receive:
    """The `receive` of a request, unpacked where it is compressed and bounded to `limit` bytes; itself where nothing is to be done.

    Raises:
        BodyTooLarge: the announced length is over the limit. The receiver raises it, too, once that many bytes came.
        UnsupportedMediaType: an encoding other than gzip.
    """
    encoding = headers.get(b"content-encoding", b"").strip().lower()
    length = headers.get(b"content-length")
    if encoding in _PLAIN and length is None and b"transfer-encoding" not in headers:
        return receive
    bound = None if path.endswith(STREAMED) else limit
    if bound is not None and length is not None and length.isdigit() and int(length) > bound:
        raise too_large(bound)
    if encoding in _GZIP:
        return _Unpacked(receive, bound)
    if encoding not in _PLAIN:
        raise UnsupportedMediaType(
            "The body's Content-Encoding is not understood.",
            hint="Send it as it is, or with gzip.",
            details={"accept_encoding": ["gzip", "identity"]},
        )
    # The server holds a body to its announced length; only one without a length has to be counted.
    return receive if bound is None or length is not None else _Counted(receive, bound)


def too_large(limit: int) -> BodyTooLarge:
    """The error of a body over the limit, in bytes."""
    return BodyTooLarge(f"The body is larger than {limit} bytes.", hint="Send less at a time, or use an import.", details={"limit": limit})


class _Counted:
    """A `receive` that counts a body of unknown length."""

    __slots__ = ("_left", "_limit", "_receive")

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive, self._limit, self._left = receive, limit, limit

    async def __call__(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise too_large(self._limit)
        return message


class _Unpacked:
    """A `receive` that gives a gzip body unpacked, a piece at a time, so that no bomb is ever held whole."""

    __slots__ = ("_limit", "_more", "_pending", "_receive", "_unpacked", "_zlib")

    def __init__(self, receive: Receive, limit: int | None) -> None:
        self._receive, self._limit = receive, limit
        self._zlib = zlib.decompressobj(_WINDOW_OF_GZIP)
        self._pending = b""
        self._more = True
        self._unpacked = 0

    async def __call__(self) -> Message:
        if not self._pending and self._more:
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            self._pending, self._more = message.get("body", b""), message.get("more_body", False)
        elif not self._pending and self._zlib.eof:
            return await self._receive()
        piece = self._unpack()
        self._unpacked += len(piece)
        if self._limit is not None and self._unpacked > self._limit:
            raise too_large(self._limit)
        done = not self._more and not self._pending
        if done and not self._zlib.eof:
            raise InvalidRequest("The body is not whole: its gzip stream ends too early.")
        return {"type": "http.request", "body": piece, "more_body": not done}

    def _unpack(self) -> bytes:
        try:
            piece = self._zlib.decompress(self._pending, _CHUNK_BYTES)
        except zlib.error:
            raise InvalidRequest("The body is not gzip, as its Content-Encoding says.") from None
        # A gzip file may have several members; the rest of the body is the next one.
        if self._zlib.eof and self._zlib.unused_data:
            self._pending = self._zlib.unused_data
            self._zlib = zlib.decompressobj(_WINDOW_OF_GZIP)
        else:
            self._pending = self._zlib.unconsumed_tail
        return piece
