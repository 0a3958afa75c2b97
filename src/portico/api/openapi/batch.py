"""The batch call as an OpenAPI operation."""

from __future__ import annotations

from portico.api.openapi.calls import SAFE, Json, error, reference

_OPERATIONS = ("insert", "update", "replace", "delete", "upsert", "get", "query", "count")
_REFERENCE = 'A value `{"$ref": "0.id"}` is one of the result of an earlier operation.'
_ERRORS = (400, 401, 403, 404, 409, 412, 413, 415, 422, 501, 503, 504)


def batch_call() -> Json:
    """`POST /api/db/transaction`."""
    operation: Json = {
        "type": "object",
        "properties": {"op": {"enum": list(_OPERATIONS)}, "collection": {"type": "string"}},
        "required": ["op", "collection"],
        "description": f"With the members of its kind, such as `id`, `document`, `changes`, `filter`, `include`. {_REFERENCE}",
    }
    body: Json = {
        "type": "object",
        "properties": {
            "isolation": {"enum": ["read_committed", "repeatable_read", "serializable"]},
            "operations": {"type": "array", "items": operation, "minItems": 1},
        },
        "required": ["operations"],
        "additionalProperties": False,
    }
    answer = {"allOf": [reference("Envelope"), {"type": "object", "properties": {"data": {"type": "array", "items": {}}}}]}
    return {
        "summary": "Several operations, all or nothing",
        "tags": ["transactions"],
        "parameters": [*SAFE],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {"description": "The results in order", "content": {"application/json": {"schema": answer}}},
            **{str(code): error(code) for code in _ERRORS},
        },
    }
