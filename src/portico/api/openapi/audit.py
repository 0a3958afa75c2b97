"""`GET /api/db/audit` as an OpenAPI operation."""

from __future__ import annotations

from portico.api.openapi.calls import Json, error, reference

_ERRORS = (400, 401, 403, 404, 422, 501, 503, 504)
_PARAMETERS = {
    "database": "The database; by default the main one, or that of the collection.",
    "collection": "Changes of this collection.",
    "document_key": "Changes of the document with this key.",
    "service": "Changes that this service made.",
    "client_id": "Changes that were made for this client.",
    "user_id": "Changes that were made for this user.",
    "operation": "`create`, `update` or `delete`.",
    "correlation_id": "Changes that this request made.",
    "from": "Changes from this moment on.",
    "to": "Changes before this moment.",
    "cursor": "The `next_cursor` of the page before.",
}
_TEXTS = ("at", "service", "correlation_id", "collection", "operation", "document_key")
_MAYBE_TEXTS = ("client_id", "user_id", "document_client", "document_user")


def audit_call() -> Json:
    """The operation."""
    text: Json = {"type": "string"}
    properties: Json = {
        "id": {"type": "integer"},
        "position": {"type": ["integer", "null"], "description": "Its place in the chain; null until it has one."},
        **dict.fromkeys(_TEXTS, text),
        **{name: {"type": ["string", "null"]} for name in _MAYBE_TEXTS},
        **{name: {"type": ["object", "null"], "description": "The document, hidden fields masked."} for name in ("before", "after")},
    }
    rows: Json = {"type": "array", "items": {"type": "object", "properties": properties, "required": list(properties)}}
    parts: Json = {"type": "object", "properties": {"data": rows, "page": reference("Page")}}
    found: Json = {"application/json": {"schema": {"allOf": [reference("Envelope"), parts]}}}
    limit: Json = {"name": "limit", "in": "query", "required": False, "schema": {"type": "integer", "minimum": 0, "maximum": 1000}}
    asked = [{"name": name, "in": "query", "required": False, "schema": text, "description": said} for name, said in _PARAMETERS.items()]
    return {
        "summary": "Who changed what: audit rows, the newest first",
        "description": "Of collections on which the caller has the permission `admin`, and of documents in its scope.",
        "tags": ["service"],
        "parameters": [*asked, limit],
        "responses": {
            "200": {"description": "Audit rows", "content": found},
            **{str(code): error(code) for code in _ERRORS},
        },
    }
