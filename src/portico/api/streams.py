"""Exports and imports as NDJSON or CSV, streamed in bounded memory."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from typing import IO

import orjson

from portico.api import creating
from portico.api.exchange import JSON, VARY, ClientGoneError, Exchange
from portico.api.render import envelope
from portico.errors import BodyTooLarge, InvalidJson, InvalidParameter, PorticoError, UnsupportedMediaType
from portico.query.json_text import read_json
from portico.service.caller import Caller
from portico.service.documents import Documents
from portico.service.imports import Imports
from portico.service.tabular import CsvWriter
from portico.service.tabular import documents as documents_of
from portico.syntax import postgrest

NDJSON, CSV = b"application/x-ndjson", b"text/csv"
CSV_TYPE = b"text/csv; charset=utf-8; header=present"
FORMAT = frozenset({"format"})
SPOOL_BYTES = 1_048_576
MOST_LINE_BYTES = 10_485_760
_TAKEN = frozenset({NDJSON, b"application/ndjson", b"application/jsonl"})
_SIMPLE = frozenset({str, int, bool, type(None)})
EXPORT_CLAUSES = postgrest.CLAUSES - {"limit", "offset", "cursor", "count"}


async def export(exchange: Exchange, caller: Caller, name: str, documents: Documents, *, send_timeout: float) -> None:
    """Answer every document that matches, a line each. A caller who reads nothing for `send_timeout` seconds, or leaves, ends it."""
    asked = exchange.asked(EXPORT_CLAUSES, FORMAT)
    if wants_csv(exchange):
        chunks = _as_csv(CsvWriter(documents.exported_names(caller, name, asked)), documents.export(caller, name, asked))
        media = CSV_TYPE
    else:
        chunks, media = documents.export(caller, name, asked), NDJSON
    try:
        await _send_chunks(exchange, chunks, media, send_timeout)
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()


def wants_csv(exchange: Exchange) -> bool:
    """Whether the caller asks for CSV: by ``format=csv``, which counts before `Accept`. Raises InvalidParameter."""
    form = exchange.parameters(FORMAT).get("format")
    if form is None:
        accepted = exchange.headers.get(b"accept", b"").lower()
        return any(part.split(b";", 1)[0].strip() == CSV for part in accepted.split(b","))
    if form not in {"csv", "ndjson"}:
        raise InvalidParameter("The parameter 'format' is csv or ndjson.", details={"parameter": "format"})
    return form == "csv"


async def _as_csv(writer: CsvWriter, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks as CSV, written in a thread, so that the loop answers others meanwhile. The header goes out with the first of them."""
    try:
        yield writer.header + await asyncio.to_thread(writer.records, await anext(chunks, b""))
        while chunk := await anext(chunks, b""):
            yield await asyncio.to_thread(writer.records, chunk)
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()


async def _send_chunks(exchange: Exchange, chunks: AsyncIterator[bytes], media: bytes, send_timeout: float) -> None:
    chunk = await anext(chunks, b"")  # an error comes before the answer has begun
    exchange.started = True
    exchange.status = 200
    headers = [(b"content-type", media), VARY, (b"x-correlation-id", exchange.correlation_id.encode())]
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
    """Create or upsert the documents of a body: all of them, or none. It is spooled and checked before a transaction opens."""
    media = exchange.headers.get(b"content-type", NDJSON).split(b";", 1)[0].strip().lower()
    if media != CSV and media not in _TAKEN:
        raise UnsupportedMediaType("An import's body is NDJSON or CSV.", hint="Send Content-Type: application/x-ndjson or text/csv.")
    if exchange.headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise UnsupportedMediaType("An import's body is sent as it is, not packed.", hint="Leave Content-Encoding out.")
    asked = creating.asked(exchange, frozenset({"on_conflict"}))
    how = asked.how if asked is not None else None
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
        collection, hidden = imports.target(caller, name)
        await _receive_into(exchange, spool)
        spool.seek(0)
        lines = documents_of(collection, spool, hidden) if media == CSV else _documents(spool)
        imported = await imports.run(caller, name, lines, how)
    told: dict[str, int] = {"count": imported.count}
    if how is not None:
        told |= {"created": imported.created, "merged": imported.merged, "ignored": imported.ignored}
    status = 201 if imported.created or how is None else 200
    text = f"{imported.count} documents imported successfully"
    await exchange.answer(status, envelope(orjson.dumps(told), text, exchange.correlation_id), JSON, VARY)


async def _receive_into(exchange: Exchange, spool: IO[bytes]) -> None:
    """Write the body down. Raises BodyTooLarge for a line that is too long to be read, as soon as that is known."""
    number, length = 1, 0
    while True:
        message = await exchange.receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk = message.get("body", b"")
        spool.write(chunk)
        end = chunk.find(b"\n")
        length += len(chunk) if end < 0 else end
        if length > MOST_LINE_BYTES:
            raise BodyTooLarge(f"Line {number} is larger than {MOST_LINE_BYTES} bytes.")
        if end >= 0:
            number += chunk.count(b"\n")
            length = len(chunk) - chunk.rfind(b"\n") - 1
        if not message.get("more_body"):
            exchange.reading = False
            return


def _documents(spool: IO[bytes]) -> Iterator[tuple[int, object] | None]:
    """The documents of NDJSON with their line numbers; a line that is no JSON is its error, and one that holds nothing is None."""
    for number, line in enumerate(spool, start=1):
        yield (number, _document(line)) if line.strip() else None


def _document(line: bytes) -> object:
    return _simple(line) or _read(line)


def _simple(line: bytes) -> object | None:
    """The object of a line of texts, whole numbers, booleans and nulls, read by a faster parser; None for whatever else it is.

    That parser takes a member that comes twice, so the quotes are counted: there is no escape, hence each stands around a name or a text.
    """
    if b"\\" in line:
        return None
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict):
        return None
    kinds = [*map(type, value.values())]
    simple = _SIMPLE.issuperset(kinds) and line.count(b'"') == 2 * (len(kinds) + kinds.count(str))
    return value if simple else None


def _read(line: bytes) -> object:
    try:
        return read_json(line.decode())
    except UnicodeDecodeError:
        return InvalidJson("The line is not valid UTF-8.")
    except PorticoError as error:
        return error
