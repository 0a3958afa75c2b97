"""The calls of `/clients` and `/events`: built-in collections under their own addresses."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import cast
from urllib.parse import quote

from portico.api.collections import Collections, no_route
from portico.api.exchange import Exchange, key_of, segment
from portico.errors import DuplicateDocument, Forbidden, NotFound, RequestError, StaleSnapshot, UnknownReference
from portico.model.page import Document
from portico.service.authenticate import Authenticator
from portico.service.caller import Caller
from portico.service.documents import Documents
from portico.service.validate import object_body
from portico.service.writes import Writes

CLIENTS, DOCUMENTS, EVENTS = "clients", "document_metadata", "events"


class Clients:
    """Handlers of `/clients…` and `/events…`.

    Args:
        make_clients: an unknown client is made at its first write (in development); otherwise it is 404.
    """

    def __init__(
        self, collections: Collections, documents: Documents, writes: Writes, authenticator: Authenticator, *, make_clients: bool
    ) -> None:
        self._collections = collections
        self._documents = documents
        self._writes = writes
        self._authenticator = authenticator
        self._make_clients = make_clients

    async def clients(self, exchange: Exchange, parts: list[bytes]) -> None:
        """`/clients`, `/clients/{id}`, `/clients/{id}/documents`, `/clients/{id}/documents/{id}`. `parts` is what follows `/clients`."""
        match parts:
            case []:
                caller = await exchange.caller(self._authenticator)
                exchange.allow("GET", "HEAD", "POST")
                if exchange.method == "POST":
                    await self._collections.create(exchange, caller, CLIENTS, base="/clients", message="Client created successfully")
                else:
                    await self._collections.all(exchange, caller, CLIENTS)
            case [client]:
                caller = await exchange.caller(self._authenticator, segment(client))
                exchange.allow("GET", "HEAD", "PATCH", "DELETE")
                await self._collections.one(exchange, caller, CLIENTS, quote(segment(client), safe="").encode())
            case [client, b"documents"]:
                caller = await exchange.caller(self._authenticator, segment(client))
                exchange.allow("GET", "HEAD", "POST")
                await self._client_documents(exchange, caller, segment(client))
            case [client, b"documents", key]:
                caller = await exchange.caller(self._authenticator, segment(client))
                await self._collections.one(exchange, caller, DOCUMENTS, key)
            case _:
                raise no_route("/clients/" + "/".join(segment(part) for part in parts))

    async def _client_documents(self, exchange: Exchange, caller: Caller, client: str) -> None:
        if exchange.method != "POST":
            listed = await self._documents.list(caller, DOCUMENTS, exchange.asked())
            if not listed.page.count and not self._make_clients:
                await self._require_client(caller, client)
            await self._collections.listed(exchange, listed)
            return
        exchange.takes()
        body = await exchange.json()
        base = f"/clients/{quote(client, safe='')}/documents"
        if isinstance(body, list):
            made = await self._for_client(caller, client, lambda: self._writes.create_all(caller, DOCUMENTS, body))
            await self._collections.all_made(exchange, cast("list[Document]", made))
            return
        fields = object_body(body)
        document = await self._for_client(caller, client, lambda: self._writes.create(caller, DOCUMENTS, fields))
        await self._collections.made(exchange, cast("Document", document), base, "Document metadata created successfully")

    async def _for_client(self, caller: Caller, client: str, work: Callable[[], Awaitable[object]]) -> object:
        """Run a write for a client; where the client is unknown, make it first, or say 404."""
        if caller.transaction is not None:
            await self._ensure_client(caller, client)
            return await work()
        try:
            return await work()
        except UnknownReference as error:
            # Not every engine says which reference is unknown, so the client is looked for.
            if await self._is_known(caller, client):
                raise
            if not self._make_clients:
                raise NotFound("There is no such client.", details={"client": client}) from error
        with contextlib.suppress(DuplicateDocument):  # another call made it in the meantime
            await self._writes.create(caller, CLIENTS, {"id": client, "name": client})
        return await work()

    async def _ensure_client(self, caller: Caller, client: str) -> None:
        """As `_for_client`, ahead of the write: inside of a transaction a refused write would end that."""
        if await self._is_known(caller, client):
            return
        if not self._make_clients:
            raise NotFound("There is no such client.", details={"client": client})
        try:
            await self._writes.create(caller, CLIENTS, {"id": client, "name": client})
        except DuplicateDocument as error:
            raise StaleSnapshot("Another call made the client in the meantime.", hint="Try again.") from error

    async def _is_known(self, caller: Caller, client: str) -> bool:
        try:
            await self._documents.get(caller, CLIENTS, (client,))
        except NotFound:
            return False
        except Forbidden:
            return True
        return True

    async def _require_client(self, caller: Caller, client: str) -> None:
        try:
            await self._documents.get(caller, CLIENTS, (client,))
        except NotFound as error:
            raise NotFound("There is no such client.", details={"client": client}) from error

    async def events(self, exchange: Exchange, parts: list[bytes]) -> None:
        """`/events`, `/events/{id}`. A created event's body is its `data`, whatever it is; a change sets its `task_context`."""
        caller = await exchange.caller(self._authenticator)
        match parts:
            case []:
                exchange.allow("GET", "HEAD", "POST")
                if exchange.method != "POST":
                    await self._collections.all(exchange, caller, EVENTS)
                    return
                event = object_body(await exchange.json())
                document = await self._writes.create(caller, EVENTS, {"data": dict(event)})
                await self._collections.made(exchange, document, "/events", "Event created successfully")
            case [key]:
                exchange.allow("GET", "HEAD", "PATCH")
                if exchange.method == "PATCH":
                    await self._set_context(exchange, caller, key)
                else:
                    await self._collections.one(exchange, caller, EVENTS, key)
            case _:
                raise no_route("/events/" + "/".join(segment(part) for part in parts))

    async def _set_context(self, exchange: Exchange, caller: Caller, key: bytes) -> None:
        body = object_body(await exchange.json())
        if set(body) != {"task_context"}:
            raise RequestError("An event's task_context is all that changes.", hint='Send {"task_context": {…}}.')
        document = await self._writes.update(caller, EVENTS, key_of(key), body)
        await self._collections.got(exchange, document, "Event updated successfully")
