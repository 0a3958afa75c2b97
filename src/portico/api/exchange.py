"""One request and its answer, on plain ASGI: headers, credentials, body in; bytes out. The hot calls know nothing heavier."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import Iterable
from typing import Protocol
from urllib.parse import unquote_to_bytes

from portico.api.middleware.correlation import HEADER, CorrelationIds, current
from portico.api.render import Receive, Scope, Send
from portico.errors import BodyTooLarge, InvalidParameter, MethodNotAllowed, RequestError, UnknownParameter, UnsupportedMediaType
from portico.model.identity import Actor, Identity
from portico.service.authenticate import Authenticator
from portico.service.caller import Asked, Caller, Transaction
from portico.service.json_body import parse_json
from portico.service.scope import choose_scope
from portico.syntax import postgrest

JSON = (b"content-type", b"application/json")
VARY = (b"vary", b"Authorization, X-API-Key, X-Client-ID, X-User-ID")
DRAIN_SECONDS = 2.0
PRIVATE = (b"cache-control", b"private, no-cache")
_IDENTITY_HEADERS = (
    b"authorization",
    b"x-api-key",
    b"apikey",
    b"x-client-id",
    b"x-user-id",
    b"x-correlation-id",
    b"idempotency-key",
    b"x-transaction-id",
)
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_correlation_ids = CorrelationIds()


class ClientGoneError(Exception):
    """The caller closed the connection before its body had arrived, or no longer reads: there is nobody to answer."""


class Joins(Protocol):
    """What a call is to run in, an open transaction, which it joins once it is known who calls."""

    async def join(self, caller: Caller) -> None:
        """Set the caller's transaction, in turn. Raises what keeps the call out of it."""
        ...


class Exchange:
    """One request. `method` and `headers` (names in lower case) are plain; `client_id` is known once `caller` is; the rest is read late.

    `reading` says that the body may still be asked for, `gone` that the caller left, and `started` that the answer has begun. `transaction`
    is the open one that its calls run inside of, if any.
    """

    __slots__ = (
        "client_id",
        "correlation_id",
        "gone",
        "headers",
        "identity",
        "joining",
        "max_body_bytes",
        "method",
        "reading",
        "receive",
        "scope",
        "send",
        "started",
        "status",
        "transaction",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_body_bytes: int) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.method: str = scope["method"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.max_body_bytes = max_body_bytes
        self.started = False
        self.gone = False
        self.reading = self.method in _WITH_BODY
        self.status = 0
        self.identity: Identity | None = None
        self.client_id: str | None = None
        self.transaction: Transaction | None = None
        self.joining: Joins | None = None
        self.correlation_id = _correlation_ids.choose(self.headers.get(HEADER))
        current.set(self.correlation_id)  # for what the engines tell of this request

    # --- who calls -------------------------------------------------------------------------------------------------------

    async def caller(self, authenticator: Authenticator, path_client: str | None = None) -> Caller:
        """Authenticate, and choose the scope. Raises Unauthenticated, ForeignTenant, InvalidParameter."""
        headers = self.headers
        if len(headers) != len(self.scope["headers"]):
            self._refuse_repeated()
        identity = authenticator.lookup(headers) or await authenticator.authenticate(headers)
        self.identity = identity
        client, user = headers.get(b"x-client-id"), headers.get(b"x-user-id")
        scope = choose_scope(
            identity,
            path_client=path_client,
            header_client=client.decode("latin-1") if client is not None else None,
            header_user=user.decode("latin-1") if user is not None else None,
        )
        self.client_id = scope.clients[0] if len(scope.clients) == 1 else None
        actor = Actor(identity.service, self.client_id, scope.users[0] if scope.users else None, self.correlation_id)
        caller = Caller(identity, scope, actor, self.transaction)
        if self.joining is not None:
            await self.joining.join(caller)
        return caller

    def begin_again(self, transaction: Transaction, receive: Receive, send: Send) -> None:
        """Have a handler run inside of a transaction, from the beginning of the body, with its answer going to `send`."""
        self.transaction = transaction
        self.receive, self.send = receive, send
        self.started = False
        self.reading = self.method in _WITH_BODY

    def _refuse_repeated(self) -> None:
        """A header that decides who calls may stand once: which of two counts is nobody's to guess."""
        seen: set[bytes] = set()
        for name, _ in self.scope["headers"]:
            if name in seen and name in _IDENTITY_HEADERS:
                raise InvalidParameter(f"The header {name.decode('latin-1')} stands twice.")
            seen.add(name)

    def allow(self, *methods: str) -> None:
        """Raise MethodNotAllowed where the request's method is none of `methods`."""
        if self.method not in methods:
            raise MethodNotAllowed(f"This path takes no {self.method[:20]}.", details={"allow": list(methods)})

    # --- what was asked --------------------------------------------------------------------------------------------------

    def asked(self, allowed: frozenset[str] = postgrest.CLAUSES, reserved: frozenset[str] = frozenset()) -> Asked:
        """The query string as a read; `reserved` parameters are left to `parameters`."""
        raw: bytes = self.scope["query_string"]
        split = postgrest.template(raw, reserved=reserved, allowed=allowed)
        if split is None:
            parsed = postgrest.parse(postgrest.decode_pairs(raw), reserved=reserved, allowed=allowed)
            return Asked(parsed.query, parsed.values, lambda: parsed.query)
        shape, values = split
        return Asked(shape, values, lambda: postgrest.parse(postgrest.decode_pairs(raw), reserved=reserved, allowed=allowed).query)

    def parameters(self, known: Iterable[str]) -> dict[str, str]:
        """The parameters of `known` names that the query string has. Raises InvalidParameter where one stands twice."""
        wanted = set(known)
        found: dict[str, str] = {}
        for name, value in postgrest.decode_pairs(self.scope["query_string"]):
            if name in wanted:
                if name in found:
                    raise InvalidParameter(f"The parameter {name} stands twice.")
                found[name] = value
        return found

    def takes(self, *known: str) -> None:
        """Raise UnknownParameter where the query string has a parameter of another name: an ignored one would mislead."""
        if not self.scope["query_string"]:
            return
        for name, _ in postgrest.decode_pairs(self.scope["query_string"]):
            if name not in known:
                hint = f"It takes {', '.join(sorted(known))}." if known else None
                raise UnknownParameter(f"This call takes no parameter {name[:100]!r}.", hint=hint, details={"parameter": name[:100]})

    def prefer(self) -> dict[str, str]:
        """The preferences of `Prefer` (RFC 7240), by name."""
        given = self.headers.get(b"prefer")
        if given is None:
            return {}
        pairs = (part.strip().partition("=") for part in given.decode("latin-1").split(","))
        return {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}

    async def json(self) -> object:
        """The body as JSON. Raises UnsupportedMediaType, BodyTooLarge, InvalidJson."""
        kind = self.headers.get(b"content-type")
        if kind is not None:
            media = kind.split(b";", 1)[0].strip().lower()
            if media != b"application/json" and not media.endswith(b"+json"):
                raise UnsupportedMediaType("The body must be JSON.", hint="Send Content-Type: application/json.")
        return parse_json(await self.body())

    async def body(self) -> bytes:
        """The whole body, unpacked. Raises BodyTooLarge, UnsupportedMediaType, ClientGoneError."""
        announced = self.headers.get(b"content-length")
        if announced is not None and announced.isdigit() and int(announced) > self.max_body_bytes:
            await self._drain()
            raise self._too_large()
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self.max_body_bytes:
                if message.get("more_body"):
                    await self._drain()
                raise self._too_large()
            chunks.append(chunk)
            if not message.get("more_body"):
                break
        self.reading = False
        whole = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        encoding = self.headers.get(b"content-encoding")
        return whole if encoding is None else self._unpacked(whole, encoding.strip().lower())

    async def _drain(self) -> None:
        """Take in what is left of a body that is too large, as far as it is bounded: who is still sending reads no answer."""
        left = self.max_body_bytes
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while left > 0:
                    message = await self.receive()
                    if message["type"] == "http.disconnect" or not message.get("more_body"):
                        return
                    left -= len(message.get("body", b""))

    def _unpacked(self, body: bytes, encoding: bytes) -> bytes:
        """A gzip body, unpacked no further than the limit."""
        if encoding == b"identity":
            return body
        if encoding not in {b"gzip", b"x-gzip"}:
            raise UnsupportedMediaType("The body's encoding is not understood.", hint="Send it plain, or as gzip.")
        unpacker = zlib.decompressobj(wbits=31)
        try:
            plain = unpacker.decompress(body, self.max_body_bytes + 1)
        except zlib.error:
            raise InvalidParameter("The body is not valid gzip.") from None
        if len(plain) > self.max_body_bytes:
            raise self._too_large()
        if not unpacker.eof or unpacker.unused_data:
            raise InvalidParameter("The body is not one whole gzip stream.")
        return plain

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"The body is larger than {self.max_body_bytes} bytes.", details={"max_body_bytes": self.max_body_bytes})

    # --- the answer ------------------------------------------------------------------------------------------------------

    async def answer(self, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        """Send a whole answer. HEAD sends no body; 204 and 304 have none."""
        sent = [*headers, (b"x-correlation-id", self.correlation_id.encode())]
        if status not in {204, 304}:
            sent.append((b"content-length", str(len(body)).encode()))
        self.started = True
        self.status = status
        await self.send({"type": "http.response.start", "status": status, "headers": sent})
        await self.send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})


def segment(raw: bytes) -> str:
    """A part of a path, decoded. Raises InvalidParameter where it is not UTF-8 or holds U+0000."""
    if b"%" not in raw and raw.isascii():
        return raw.decode()
    try:
        text = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise InvalidParameter("The path is not valid UTF-8.") from None
    if "\x00" in text:
        raise InvalidParameter("The path holds U+0000.")
    return text


def key_of(raw: bytes) -> tuple[str, ...]:
    """The parts of a document's key: separated by commas, each percent-encoded."""
    return (segment(raw),) if b"," not in raw else tuple([segment(part) for part in raw.split(b",")])


__all__ = ["JSON", "PRIVATE", "VARY", "ClientGoneError", "Exchange", "RequestError", "key_of", "segment"]
