"""Puts the OpenAPI 3.1 document together for a caller, and remembers it until the catalog changes."""

from __future__ import annotations

import re
from collections import OrderedDict
from urllib.parse import quote

from portico.api.errors import STATUS
from portico.api.openapi.audit import audit_call
from portico.api.openapi.batch import batch_call
from portico.api.openapi.calls import (
    Described,
    Json,
    all_documents,
    error,
    named_calls,
    one_document,
    path_parameter,
    reference,
    version_calls,
)
from portico.api.openapi.fields import document_schema, written_schema
from portico.api.openapi.migrations import migration_calls
from portico.api.openapi.search import search_call
from portico.api.openapi.transactions import PARAMETERS, transaction_calls
from portico.api.render import to_json
from portico.model.collection import Collection
from portico.model.identity import Identity
from portico.service.authorize import Access
from portico.service.schemas import Schemas

_MOST_REMEMBERED = 32
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
_TITLES = {
    400: "Not understood", 401: "No valid credential", 403: "Not permitted", 404: "Not found", 405: "No such method", 406: "Not acceptable",
    409: "Conflict", 410: "Gone", 412: "Precondition failed", 413: "Too large", 415: "Unsupported media type", 422: "Invalid value",
    429: "Too many calls", 431: "Headers too large", 500: "A fault of Portico's", 501: "Not supported", 503: "Try again later",
    504: "Statement timeout",
}  # fmt: skip

_SCHEMAS: Json = {
    "Envelope": {
        "type": "object",
        "properties": {
            "success": {"const": True},
            "data": {},
            "message": {"type": "string"},
            "correlation_id": {"type": "string", "minLength": 1, "maxLength": 128},
        },
        "required": ["success", "data", "message", "correlation_id"],
    },
    "Page": {
        "type": "object",
        "properties": {
            "limit": {"type": "integer"},
            "count": {"type": ["integer", "null"], "description": "How many match in all; null unless asked for."},
            "next_cursor": {"type": ["string", "null"]},
        },
        "required": ["limit", "count", "next_cursor"],
    },
    "Error": {
        "type": "object",
        "properties": {
            "success": {"const": False},
            "data": {"type": "null"},
            "message": {"type": "string"},
            "error": {
                "type": "object",
                "properties": {
                    "code": {"enum": sorted({kind.code for kind in STATUS})},
                    "details": {"type": "object"},
                    "hint": {"type": ["string", "null"]},
                },
                "required": ["code", "details", "hint"],
            },
            "correlation_id": {"type": "string"},
        },
        "required": ["success", "data", "message", "error", "correlation_id"],
    },
    "Query": {
        "type": "object",
        "properties": {
            "filter": {"type": "object", "description": 'MongoDB\'s operators: `{"status": "draft", "version": {"$gte": 2}}`.'},
            "fields": {"type": "array", "items": {"type": "string"}},
            "sort": {"type": "array", "items": {"type": "string"}, "description": "`-` before a field sorts downwards."},
            "limit": {"type": "integer", "minimum": 0},
            "offset": {"type": "integer", "minimum": 0},
            "cursor": {"type": ["string", "null"]},
            "include": {"type": "object"},
            "count": {"enum": ["exact", "planned", "estimated"]},
        },
        "additionalProperties": False,
    },
    "Pipeline": {
        "type": "object",
        "properties": {
            "pipeline": {
                "type": "array",
                "maxItems": 50,
                "items": {"type": "object", "minProperties": 1, "maxProperties": 1},
                "description": 'MongoDB\'s stages: `[{"$match": {…}}, {"$group": {"_id": "$status", "n": {"$sum": 1}}}]`.',
            }
        },
        "required": ["pipeline"],
        "additionalProperties": False,
    },
}
_SECURITY: Json = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a JSON Web Token of a trusted issuer."},
}


class OpenApi:
    """Gives the document. `schemas` knows the collections that a caller may read; `title` and `version` are the service's."""

    def __init__(self, schemas: Schemas, *, title: str, version: str, required: bool) -> None:
        self._schemas = schemas
        self._title = title
        self._version = version
        self._required = required
        self._made: OrderedDict[tuple[int, str, bool], bytes] = OrderedDict()

    def document(self, identity: Identity) -> bytes:
        """The document as JSON, with the collections and calls that the caller may use; made once for each catalog and set of rules."""
        key = (self._schemas.version, identity.fingerprint, identity.may_ask_everything)
        found = self._made.get(key)
        if found is None:
            found = to_json(self._make(identity))
            self._made[key] = found
            if len(self._made) > _MOST_REMEMBERED:
                self._made.popitem(last=False)
        return found

    def _make(self, identity: Identity) -> Json:
        paths: Json = {}
        schemas: Json = dict(_SCHEMAS)
        for collection, access in self._schemas.readable(identity):
            described = _describe(collection, access, schemas)
            paths |= _paths(described)
        paths |= _reports()
        paths |= migration_calls()
        paths["/api/db/audit"] = {"get": audit_call()}
        paths["/api/db/transaction"] = {"post": batch_call()}
        paths |= transaction_calls()
        paths["/api/db/search"] = {"post": search_call()}
        return {
            "openapi": "3.1.0",
            "info": {"title": self._title, "version": self._version, "description": f"Catalog version {self._schemas.version}."},
            "paths": paths,
            "components": {"schemas": schemas, "responses": _errors(), "parameters": PARAMETERS, "securitySchemes": _SECURITY},
            "security": [{"ApiKey": []}, {"Bearer": []}, *([] if self._required else [{}])],
        }


def _describe(collection: Collection, access: Access, schemas: Json) -> Described:
    component = _UNFIT.sub("_", collection.name)
    while component in schemas:
        component += "_"
    schemas[component] = document_schema(collection, access.hidden)
    schemas[f"{component}Selected"] = document_schema(collection, access.hidden, selected=True)
    if not collection.read_only:
        schemas[f"{component}Create"] = written_schema(collection, access.hidden, access.read_only, whole=True)
        schemas[f"{component}Change"] = written_schema(collection, access.hidden, access.read_only, whole=False)
    return Described(collection, component, access.permissions, access.hidden)


def _paths(described: Described) -> Json:
    name = described.collection.name
    base = f"/api/db/{quote(name, safe='')}"
    paths: Json = {base: all_documents(described, name)}
    for call, operations in named_calls(described, name).items():
        paths[f"{base}/{call}"] = operations
    if described.collection.primary_key:
        parts = described.collection.primary_key
        text = "The document's key." if len(parts) == 1 else f"The parts of the key by commas, each percent-encoded: {', '.join(parts)}."
        key = path_parameter("id", text)
        paths[f"{base}/{{id}}"] = {"parameters": [key], **one_document(described, name)}
        for call, operations in version_calls(described, name).items():
            number = [path_parameter("version", "The version's number.")] if "{version}" in call else []
            paths[f"{base}/{{id}}/{call}"] = {"parameters": [key, *number], **operations}
    if described.collection.origin == "builtin":
        paths |= _familiar(described, name)
    return paths


def _familiar(described: Described, name: str) -> Json:
    """The built-in collections' own addresses."""
    client = path_parameter("client_id", "The client.")
    if name == "clients":
        one = {"parameters": [client], **{method: call for method, call in one_document(described, name).items() if method != "put"}}
        return {"/clients": _only(all_documents(described, name), "get", "post"), "/clients/{client_id}": one}
    if name == "document_metadata":
        tag = "documents of a client"
        key = path_parameter("id", "The document's key.")
        return {
            "/clients/{client_id}/documents": {"parameters": [client], **_only(all_documents(described, tag), "get", "post")},
            "/clients/{client_id}/documents/{id}": {"parameters": [client, key], **one_document(described, tag)},
        }
    if name == "events":
        key = path_parameter("id", "The event's key.")
        calls = _only(all_documents(described, name), "get", "post")
        post = calls.get("post")
        if isinstance(post, dict):
            post["requestBody"] = {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
        return {
            "/events": calls,
            "/events/{id}": {"parameters": [key], **_only(one_document(described, name), "get", "patch")},
        }
    return {}


def _only(calls: Json, *methods: str) -> Json:
    return {method: call for method, call in calls.items() if method in methods}


def _reports() -> Json:
    """The calls of the control plane."""
    texts = {
        "/api/db/schema": "The schema documents of every collection",
        "/api/db/schema/{collection}": "One collection's schema document",
        "/api/db/health": "Every database, and each collection with its row count",
        "/api/db/connections": "The pools of the worker that answers",
        "/api/db/stats": "Capabilities, sizes, and what the service uses",
    }
    content = {"application/json": {"schema": reference("Envelope")}}
    paths: Json = {}
    for path, text in texts.items():
        one = "{" in path
        codes = (400, 401, 403, 404, 503) if one else (400, 401, 503)
        answers: Json = {"200": {"description": text, "content": content}, **{str(code): error(code) for code in codes}}
        if path == "/api/db/health":
            unhealthy: Json = {"application/json": {"schema": {"anyOf": [reference("Envelope"), reference("Error")]}}}
            answers["503"] = {"description": "Unhealthy, with the same report; or an error", "content": unhealthy}
        parameters = {"parameters": [path_parameter("collection", "The collection's name.")]} if one else {}
        paths[path] = {**parameters, "get": {"summary": text, "tags": ["service"], "responses": answers}}
    for path in ("/health", "/health/live", "/health/ready", "/health/startup", "/v1/health"):
        plain: Json = {code: {"description": text} for code, text in (("200", "Healthy"), ("503", "Unhealthy"))}
        paths[path] = {"get": {"summary": "Health", "tags": ["service"], "security": [{}], "responses": plain}}
    return paths


def _errors() -> Json:
    content = {"application/json": {"schema": reference("Error")}}
    return {f"Error{code}": {"description": text, "content": content} for code, text in _TITLES.items()}
