"""The calls of `/rest/v1`: which handler answers which path and method."""

from __future__ import annotations

from portico.api.exchange import Exchange, segment
from portico.api.rest import reads, rpc
from portico.api.rest import writes as changing
from portico.api.rest.description import describe
from portico.api.rest.names import DEFAULT_PROFILE, collection_name, profile_of
from portico.errors import MethodNotAllowed, RouteNotFound
from portico.service.authenticate import Authenticator
from portico.service.caller import Caller
from portico.service.documents import Documents
from portico.service.explain import Explanations
from portico.service.functions import Functions
from portico.service.returning import Returning
from portico.service.schemas import Schemas
from portico.service.upserts import Upserts
from portico.service.writes import Writes

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_READ_ONLY = ("GET", "HEAD", "OPTIONS")


class Rest:
    """Handlers of PostgREST's wire. Each answers its exchange; errors are raised to the dispatcher.

    Args:
        documents, writes, upserts, returning, functions, explanations: the service's pipelines.
        schemas: what a caller may know of. authenticator: says who calls.
    """

    def __init__(
        self,
        documents: Documents,
        writes: Writes,
        upserts: Upserts,
        returning: Returning,
        functions: Functions,
        explanations: Explanations,
        schemas: Schemas,
        authenticator: Authenticator,
    ) -> None:
        self._documents = documents
        self._functions = functions
        self._explanations = explanations
        self._creating = changing.Creating(writes, upserts, returning)
        self._schemas = schemas
        self._authenticator = authenticator

    async def handle(self, exchange: Exchange, parts: list[bytes]) -> None:
        """Answer the call of a path below `/rest/v1`, in parts."""
        caller = await exchange.caller(self._authenticator)
        match parts:
            case []:
                await describe(exchange, caller.identity, self._schemas, self._functions)
            case [b"rpc", name]:
                profile = profile_of(exchange.headers, reading=exchange.method in _READ_ONLY)
                function = segment(name) if profile in {None, DEFAULT_PROFILE} else f"{profile}.{segment(name)}"
                await rpc.call(exchange, caller, function, self._functions, self._documents.plans.limits)
            case [name]:
                await self._collection(exchange, caller, segment(name))
            case _:
                raise RouteNotFound("Invalid path specified in request URL")

    async def _collection(self, exchange: Exchange, caller: Caller, path: str) -> None:
        method = exchange.method
        name = collection_name(self._schemas, caller.identity, path, profile_of(exchange.headers, reading=method in _READ_ONLY))
        if method not in _READ_ONLY:
            # Otherwise a refused write would tell that there is a view, or a table without a key.
            self._schemas.check_visible(caller.identity, name)
        match method:
            case "GET" | "HEAD":
                await reads.read(exchange, caller, name, self._documents, self._explanations)
            case "POST":
                await changing.create(exchange, caller, self._documents.plans.collection(name), self._creating)
            case "PUT":
                await changing.put(exchange, caller, self._documents.plans.collection(name), self._creating)
            case "PATCH":
                await changing.change(exchange, caller, self._documents.plans.collection(name), self._creating)
            case "DELETE":
                await changing.delete(exchange, caller, name, self._creating)
            case "OPTIONS":
                allowed = _READ_ONLY if self._schemas.known(caller.identity, name).read_only else _METHODS
                await exchange.answer(200, b"", (b"allow", ", ".join(allowed).encode()))
            case _:
                raise MethodNotAllowed(f"Unsupported HTTP method: {method[:20]}", details={"allow": list(_METHODS)})
