"""The calls of a document's versions: `/api/db/{collection}/{id}/history…` and `…/restore`."""

from __future__ import annotations

from portico.api.collections import Collections
from portico.api.exchange import JSON, PRIVATE, VARY, Exchange, key_of, segment
from portico.api.render import envelope
from portico.errors import InvalidParameter
from portico.service.caller import Caller
from portico.service.history import History
from portico.service.validate import object_body

PARAMETERS = ("limit", "cursor")


class Histories:
    """Handlers of versions. `collections` answers what restores write."""

    def __init__(self, history: History, collections: Collections) -> None:
        self._history = history
        self._collections = collections

    async def handle(self, exchange: Exchange, caller: Caller, name: str, raw_key: bytes, call: list[bytes]) -> bool:
        """The part of a path after a document's key; False where it is none of these calls."""
        key = key_of(raw_key)
        match call:
            case [b"history"]:
                exchange.allow("GET", "HEAD")
                await self._listed(exchange, caller, name, key)
            case [b"history", version]:
                exchange.allow("GET", "HEAD")
                exchange.takes()
                found = await self._history.get(caller, name, key, segment(version))
                await exchange.answer(200, envelope(found, "Version found", exchange.correlation_id), JSON, VARY, PRIVATE)
            case [b"restore"]:
                exchange.allow("POST")
                exchange.takes()
                await self._restore(exchange, caller, name, key)
            case _:
                return False
        return True

    async def _listed(self, exchange: Exchange, caller: Caller, name: str, key: tuple[str, ...]) -> None:
        exchange.takes(*PARAMETERS)
        given = exchange.parameters(PARAMETERS)
        found = await self._history.page(caller, name, key, limit=given.get("limit"), cursor=given.get("cursor"))
        following = "null" if found.next_before is None else f'"{found.next_before}"'
        page = f'"page":{{"limit":{found.limit},"count":null,"next_cursor":{following}}}'.encode()
        body = envelope("[" + ",".join(found.versions) + "]", "Versions found", exchange.correlation_id, page)
        await exchange.answer(200, body, JSON, VARY, PRIVATE)

    async def _restore(self, exchange: Exchange, caller: Caller, name: str, key: tuple[str, ...]) -> None:
        body = object_body(await exchange.json())
        unknown = next((member for member in body if member != "version"), None)
        if unknown is not None:
            raise InvalidParameter(f"A restore takes no member {unknown[:100]!r}.", hint='Send {"version": 3}.')
        etag = await self._collections.condition(exchange, caller, name, key)
        document = await self._history.restore(caller, name, key, body.get("version"), etag=etag)
        tag = (b"etag", b'"' + (document.etag or "").encode() + b'"')
        answer = envelope(document.body, "Document restored successfully", exchange.correlation_id)
        await exchange.answer(201 if document.created else 200, answer, JSON, tag, VARY)
