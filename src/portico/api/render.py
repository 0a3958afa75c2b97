"""Puts answers together: the envelope around the database's JSON, by concatenation, and the two messages that send it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import orjson

from portico.model.page import Page

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
"""The types of ASGI 3."""

Header = tuple[bytes, bytes]

JSON_TYPE: Header = (b"content-type", b"application/json")
_BEGIN = b'{"success":true,"data":'


def envelope(data: bytes | str, message: str, correlation_id: str, page: bytes | None = None) -> bytes:
    """The body of a successful answer.

    Args:
        data: JSON as the database made it.
        message: a sentence that stands in JSON as it is: without quotes, backslashes and control characters.
        correlation_id: as the middleware chose it.
        page: what `page_part` gives, for lists.
    """
    body = data if isinstance(data, bytes) else data.encode()
    end = f',"message":"{message}","correlation_id":"{correlation_id}"}}'.encode()
    # Joined once: a page of documents is large enough for a copy to count.
    return b"".join((_BEGIN, body, end)) if page is None else b"".join((_BEGIN, body, b",", page, end))


def page_part(page: Page, limit: int, next_cursor: str | None) -> bytes:
    """The ``"page"`` of a list: its limit, how many match in all (null unless asked for), and the next page's cursor (null at the end)."""
    count = "null" if page.total is None else str(page.total)
    cursor = "null" if next_cursor is None else f'"{next_cursor}"'
    return f'"page":{{"limit":{limit},"count":{count},"next_cursor":{cursor}}}'.encode()


def to_json(value: object) -> bytes:
    """A plain value as JSON, for the control plane; moments and identifiers as text."""
    return orjson.dumps(value, default=str)


async def send_json(send: Send, status: int, body: bytes, headers: Iterable[Header] = ()) -> None:
    """Send a JSON body, or none with 204 and 304, which have no content type either."""
    if status in {204, 304}:
        await send({"type": "http.response.start", "status": status, "headers": [*headers]})
        await send({"type": "http.response.body", "body": b""})
        return
    all_headers = [JSON_TYPE, (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": body})
