"""The hot calls, on plain ASGI: `/api/db/{collection}…`, `/clients…`, `/events…` and `/rest/v1…`. The rest is the control plane's.

Starlette's routing and request objects cost a fifth of the coalesced rate, so these paths are split by hand.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from portico.api.batch import BatchCall
from portico.api.changes import ChangeFeeds
from portico.api.clients import Clients
from portico.api.collections import Collections, no_route
from portico.api.departures import Departures
from portico.api.errors import error_body, headers_of, status_of
from portico.api.exchange import JSON, ClientGoneError, Exchange, segment
from portico.api.history import Histories
from portico.api.middleware.faults import where
from portico.api.render import App, Receive, Scope, Send
from portico.api.rest import Rest
from portico.api.rest.errors import fail as rest_fail
from portico.api.safe_writes import KEY, PREFER, WRITES, SafeWrites
from portico.api.search import SearchCall
from portico.api.transactions import NAME, TransactionCalls
from portico.errors import HeadersTooLarge, InternalError, PorticoError
from portico.events import Emit, InternalFault, RequestEnded
from portico.service.authenticate import Authenticator

RESERVED = frozenset(
    b"transaction search schema migrations stats health performance connections jobs audit sessions".split(),
)
"""First parts of `/api/db/…` that are calls of the control plane, and so no collection's name."""

_REST = frozenset({"/rest/v1", "/rest/v1/rpc"})
"""The routes whose answers and errors are PostgREST's."""

BATCH = "/api/db/transaction"
SEARCH = "/api/db/search"
TRANSACTION = "/api/db/transaction/{id}"


@dataclass(frozen=True, slots=True)
class Handlers:
    """What answers the calls, one for each kind; `safe_writes` runs those that need a unit of work, `fallback` takes every other path."""

    collections: Collections
    histories: Histories
    feeds: ChangeFeeds
    clients: Clients
    rest: Rest
    batch: BatchCall
    transactions: TransactionCalls
    search: SearchCall
    safe_writes: SafeWrites
    fallback: App


class Dispatcher:
    """Answers the hot calls.

    Args:
        handlers: of the calls. authenticator: says who calls.
        max_body_bytes, max_header_bytes: beyond them 413 and 431. emit: told of every request.
    """

    def __init__(self, handlers: Handlers, authenticator: Authenticator, *, max_body_bytes: int, max_header_bytes: int, emit: Emit) -> None:
        self._handlers = handlers
        self._authenticator = authenticator
        self._max_body_bytes = max_body_bytes
        self._max_header_bytes = max_header_bytes
        self._emit = emit
        self._departures = Departures()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or one of the server's own messages."""
        if scope["type"] != "http":
            await self._handlers.fallback(scope, receive, send)
            return
        path: bytes = scope.get("raw_path") or scope["path"].encode()
        parts = path.partition(b"?")[0].split(b"/")[1:]
        route = self._route(parts)
        if route is None:
            await self._handlers.fallback(scope, receive, send)
            return
        started = time.perf_counter()
        exchange = Exchange(scope, receive, send, self._max_body_bytes)
        code: str | None = None
        self._departures.enter(exchange)
        try:
            self._check_size(exchange, path)
            if NAME in exchange.headers or route == TRANSACTION:
                if await self._in_transaction(exchange, route, parts):
                    # The worker that it was carried to tells how it ended.
                    return
            elif route == BATCH or (exchange.method in WRITES and (KEY in exchange.headers or PREFER in exchange.headers)):
                await self._handlers.safe_writes.run(exchange, lambda: self._handle(exchange, route, parts), always=route == BATCH)
            else:
                await self._handle(exchange, route, parts)
        except ClientGoneError:
            code = "client_gone"
        except asyncio.CancelledError:
            if not exchange.gone:
                raise
            code = "client_gone"
        except PorticoError as error:
            code = error.code
            await self._fail(exchange, route, error)
        except Exception as error:  # noqa: BLE001 - the last resort: a fault is answered, and told
            code = InternalError.code
            self._emit(InternalFault(type(error).__name__, where(error), exchange.correlation_id))
            await self._fail(exchange, route, InternalError("An unexpected fault."))
        finally:
            self._departures.leave(exchange)
        self._ended(exchange, route, started, code)

    @staticmethod
    def _route(parts: list[bytes]) -> str | None:
        """Which hot call a path is, as its route's name for logs and metrics; None for the control plane's."""
        first, length = parts[0], len(parts)
        if first == b"api" and length > 2 and parts[1] == b"db" and parts[2]:
            if parts[2] not in RESERVED:
                return "/api/db/{collection}" if length == 3 else "/api/db/{collection}/{id}"
            if parts[2] == b"search" and length == 3:
                return SEARCH
            if parts[2] == b"transaction":
                return BATCH if length == 3 else TRANSACTION
            return None
        if first == b"clients":
            return "/clients"
        if first == b"rest" and length > 2 and parts[1] == b"v1":
            return "/rest/v1/rpc" if parts[2] == b"rpc" and length > 3 else "/rest/v1"
        return "/events" if first == b"events" else None

    async def _in_transaction(self, exchange: Exchange, route: str, parts: list[bytes]) -> bool:
        """A call that names a transaction, in its path or its header; whether it was carried to another worker."""
        if route == TRANSACTION:
            return await self._handlers.transactions.handle(exchange, parts[3:-1] if parts[-1] == b"" else parts[3:])
        return await self._handlers.transactions.inside(exchange, lambda: self._handle(exchange, route, parts), alone=route == BATCH)

    async def _handle(self, exchange: Exchange, route: str, parts: list[bytes]) -> None:
        handlers = self._handlers
        if parts[-1] == b"":
            parts = parts[:-1]
        if route == "/clients":
            await handlers.clients.clients(exchange, parts[1:])
            return
        if route == "/events":
            await handlers.clients.events(exchange, parts[1:])
            return
        if route in _REST:
            await handlers.rest.handle(exchange, parts[2:])
            return
        if route == BATCH:
            await handlers.batch.run(exchange)
            return
        if route == SEARCH:
            await handlers.search.handle(exchange, await exchange.caller(self._authenticator))
            return
        caller = await exchange.caller(self._authenticator)
        name = segment(parts[2])
        match parts[3:]:
            case []:
                await handlers.collections.all(exchange, caller, name)
            case [b"changes"]:
                await handlers.feeds.follow(exchange, caller, name)
            case [call]:
                if not await handlers.collections.named(exchange, caller, name, call):
                    await handlers.collections.one(exchange, caller, name, call)
            case [key, *call] if await handlers.histories.handle(exchange, caller, name, key, call):
                return
            case _:
                raise no_route("/" + "/".join(segment(part) for part in parts))

    def _check_size(self, exchange: Exchange, path: bytes) -> None:
        size = len(path) + len(exchange.scope["query_string"])
        for name, value in exchange.scope["headers"]:
            size += len(name) + len(value)
        if size > self._max_header_bytes:
            raise HeadersTooLarge(f"The address and headers are larger than {self._max_header_bytes} bytes.")

    async def _fail(self, exchange: Exchange, route: str, error: PorticoError) -> None:
        """Answer an error; one that comes when an answer has begun ends the connection."""
        if isinstance(error, InternalError):
            kind = str(error.details.get("type", type(error).__name__))
            self._emit(InternalFault(kind, where(error), exchange.correlation_id))
        if exchange.started:
            raise error
        if route in _REST:
            await rest_fail(exchange, error)
            return
        await exchange.answer(status_of(error), error_body(error, exchange.correlation_id), JSON, *headers_of(error))

    def _ended(self, exchange: Exchange, route: str, started: float, code: str | None) -> None:
        service = exchange.identity.service if exchange.identity is not None else None
        duration = time.perf_counter() - started
        self._emit(
            RequestEnded(exchange.method, route, exchange.status, duration, exchange.correlation_id, service, exchange.client_id, code)
        )
