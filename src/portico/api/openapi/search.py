"""The search call as an OpenAPI operation."""

from __future__ import annotations

from portico.api.openapi.calls import Json, error, reference
from portico.service.search import MOST_HITS

_ERRORS = (400, 401, 403, 404, 413, 415, 422, 501, 503, 504)


def search_call() -> Json:
    """`POST /api/db/search`."""
    body: Json = {
        "type": "object",
        "properties": {
            "q": {"type": "string", "maxLength": 1000, "description": 'Words, `"a phrase"`, `or` between two, `-without`.'},
            "collections": {"type": "array", "items": {"type": "string"}, "minItems": 1},
            "filter": {"type": "object"},
            "limit": {"type": "integer", "minimum": 1, "maximum": MOST_HITS},
            "fuzzy": {"type": "boolean"},
        },
        "required": ["q"],
        "additionalProperties": False,
    }
    hit: Json = {
        "type": "object",
        "properties": {
            "collection": {"type": "string"},
            "id": {"type": "string"},
            "score": {"type": "number"},
            "highlight": {"type": "string", "description": "HTML in which nothing but `<mark>` is markup."},
            "document": {"type": "object"},
        },
    }
    answer = {"allOf": [reference("Envelope"), {"type": "object", "properties": {"data": {"type": "array", "items": hit}}}]}
    return {
        "summary": "Search across collections",
        "tags": ["search"],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {"description": "The best matches", "content": {"application/json": {"schema": answer}}},
            **{str(code): error(code) for code in _ERRORS},
        },
    }
