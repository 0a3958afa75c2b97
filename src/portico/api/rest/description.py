"""`GET /rest/v1/`: an OpenAPI document of the collections that the caller may read."""

from __future__ import annotations

from urllib.parse import quote

from portico.api.exchange import PRIVATE, Exchange
from portico.api.openapi.fields import document_schema
from portico.api.render import to_json
from portico.api.rest.media import accepted
from portico.api.rest.reads import VARY
from portico.model.collection import Collection
from portico.model.identity import Identity
from portico.service.functions import Functions
from portico.service.schemas import Schemas

_METHODS = ("GET", "HEAD", "OPTIONS")
_FUNCTION = {"post": {"tags": ["rpc"], "responses": {"200": {"description": "What the function gives"}}}}
_READS = ("get", "head")
_WRITES = ("post", "put", "patch", "delete")


async def describe(exchange: Exchange, identity: Identity, schemas: Schemas, functions: Functions) -> None:
    """Answer the document."""
    exchange.allow(*_METHODS)
    if exchange.method == "OPTIONS":
        await exchange.answer(200, b"", (b"allow", ", ".join(_METHODS).encode()))
        return
    media = accepted(exchange.headers.get(b"accept"), description=True)
    collections = schemas.readable(identity)
    document = {
        "openapi": "3.1.0",
        "info": {"title": "PostgREST's wire", "version": str(schemas.version)},
        "servers": [{"url": "/rest/v1"}],
        "paths": {
            **{f"/{quote(collection.name, safe='')}": _calls(collection) for collection, _ in collections},
            **{f"/rpc/{quote(name, safe='')}": _FUNCTION for name in functions.names(identity)},
        },
        "components": {"schemas": {collection.name: document_schema(collection, access.hidden) for collection, access in collections}},
    }
    await exchange.answer(200, to_json(document), media.header, VARY, PRIVATE)


def _calls(collection: Collection) -> dict[str, object]:
    methods = _READS if collection.read_only else (*_READS, *_WRITES)
    schema = {"$ref": f"#/components/schemas/{quote(collection.name, safe='')}"}
    content = {"application/json": {"schema": {"type": "array", "items": schema}}}
    answers = {"200": {"description": "The documents", "content": content}}
    return {method: {"tags": [collection.name], "responses": answers} for method in methods}
