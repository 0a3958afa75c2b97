"""Exports and imports as NDJSON, streamed in bounded memory."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from typing import IO

import orjson

from portico.api.exchange import JSON, VARY, ClientGoneError, Exchange
from portico.api.render import envelope
from portico.errors import BodyTooLarge, InvalidJson, PorticoError, UnsupportedMediaType
from portico.query.json_text import read_json
from portico.service.caller import Caller
from portico.service.documents import Documents
from portico.service.imports import Imports
from portico.syntax import postgrest

NDJSON = b"application/x-ndjson"
SPOOL_BYTES = 1_048_576
MOST_LINE_BYTES = 10_485_760
_TAKEN = frozenset({NDJSON, b"application/ndjson", b"application/jsonl"})
EXPORT_CLAUSES = postgrest.CLAUSES - {"limit", "offset", "cursor", "count"}


async def export(exchange: Exchange, caller: Caller, name: str, documents: Documents, *, send_timeout: float) -> None:
    """Answer every document that matches, a line each. A caller who reads nothing for `send_timeout` seconds, or leaves, ends it."""
    chunks = documents.export(caller, name, exchange.asked(EXPORT_CLAUSES))
    try:
        await _send_chunks(exchange, chunks, send_timeout)
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()


async def _send_chunks(exchange: Exchange, chunks: AsyncIterator[bytes], send_timeout: float) -> None:
    chunk = await anext(chunks, b"")  # an error comes before the answer has begun
    exchange.started = True
    exchange.status = 200
    headers = [(b"content-type", NDJSON), VARY, (b"x-correlation-id", exchange.correlation_id.encode())]
    await exchange.send({"type": "http.response.start", "status": 200, "headers": headers})
    while chunk:
        try:
            async with asyncio.timeout(send_timeout):
                await exchange.send({"type": "http.response.body", "body": chunk, "more_body": True})
        except TimeoutError:
            raise ClientGoneError from None
        chunk = await anext(chunks, b"")
    await exchange.send({"type": "http.response.body", "body": b""})


async def import_documents(exchange: Exchange, caller: Caller, name: str, imports: Imports) -> None:
    """Create the documents of an NDJSON body: all of them, or none. The body is spooled and checked before a transaction opens."""
    media = exchange.headers.get(b"content-type", NDJSON).split(b";", 1)[0].strip().lower()
    if media not in _TAKEN:
        raise UnsupportedMediaType("An import's body is NDJSON.", hint="Send Content-Type: application/x-ndjson.")
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
        await _receive_into(exchange, spool)
        count = await imports.run(caller, name, lambda: _lines(spool))
    body = orjson.dumps({"count": count}).decode()
    await exchange.answer(201, envelope(body, f"{count} documents imported successfully", exchange.correlation_id), JSON, VARY)


async def _receive_into(exchange: Exchange, spool: IO[bytes]) -> None:
    while True:
        message = await exchange.receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        spool.write(message.get("body", b""))
        if not message.get("more_body"):
            exchange.reading = False
            return


def _lines(spool: IO[bytes]) -> Iterator[tuple[int, object]]:
    """The documents of the spool with their line numbers, one at a time; a line that is no JSON is its error."""
    spool.seek(0)
    for number, line in enumerate(iter(lambda: spool.readline(MOST_LINE_BYTES + 1), b""), start=1):
        if len(line) > MOST_LINE_BYTES:
            raise BodyTooLarge(f"Line {number} is larger than {MOST_LINE_BYTES} bytes.")
        if line.strip():
            yield number, _document(line)


def _document(line: bytes) -> object:
    try:
        return read_json(line.decode())
    except UnicodeDecodeError:
        return InvalidJson("The line is not valid UTF-8.")
    except PorticoError as error:
        return error
