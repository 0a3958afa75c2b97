"""Interactive transactions as OpenAPI operations, and the header that puts a call inside of one."""

from __future__ import annotations

from portico.api.openapi.calls import Json, error, path_parameter, reference

PARAMETERS: Json = {
    "Transaction": {
        "name": "X-Transaction-ID",
        "in": "header",
        "required": False,
        "schema": {"type": "string"},
        "description": "The transaction that the call runs in.",
    }
}
"""Parameters that calls refer to."""

_STATES = ("started", "committed", "rolled_back", "failed", "expired", "unknown")
_STATE: Json = {
    "type": "object",
    "properties": {
        "transaction_id": {"type": "string"},
        "state": {"enum": list(_STATES)},
        "reason": {"type": ["string", "null"], "description": "Why it is not open any more."},
        "expires_at": {"type": ["string", "null"], "format": "date-time", "description": "When it is rolled back, where no call comes."},
    },
    "required": ["transaction_id", "state", "reason", "expires_at"],
}
_BEGIN: Json = {
    "type": "object",
    "properties": {
        "isolation": {"enum": ["read_committed", "repeatable_read", "serializable"]},
        "read_only": {"type": "boolean"},
        "database": {"type": "string", "description": "The main one by default."},
    },
    "additionalProperties": False,
}
_ENDED = (400, 401, 404, 409, 410, 413, 415, 422, 503)


def transaction_calls() -> Json:
    """The paths below `/api/db/transaction`."""
    base = "/api/db/transaction"
    named = {"parameters": [path_parameter("id", "The transaction's id.")]}
    return {
        f"{base}/begin": {"post": _call("Begin a transaction", 201, (400, 401, 403, 413, 415, 501, 503), body=_BEGIN)},
        f"{base}/{{id}}": {**named, "get": _call("Get the state of a transaction", 200, (400, 401, 404, 503))},
        f"{base}/{{id}}/commit": {**named, "post": _call("Commit a transaction; again, it answers the same", 200, _ENDED)},
        f"{base}/{{id}}/rollback": {
            **named,
            "post": _call("Undo all, or what came after a savepoint", 200, _ENDED, body=_of("to")),
        },
        f"{base}/{{id}}/savepoint": {**named, "post": _call("Set a savepoint", 200, _ENDED, body=_of("name"))},
    }


def _of(member: str) -> Json:
    name: Json = {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,62}$"}
    return {"type": "object", "properties": {member: name}, "additionalProperties": False}


def _call(summary: str, status: int, errors: tuple[int, ...], *, body: Json | None = None) -> Json:
    answer = {"allOf": [reference("Envelope"), {"type": "object", "properties": {"data": _STATE}}]}
    call: Json = {
        "summary": summary,
        "tags": ["transactions"],
        "responses": {
            str(status): {"description": "The transaction", "content": {"application/json": {"schema": answer}}},
            **{str(code): error(code) for code in errors},
        },
    }
    if body is not None:
        call["requestBody"] = {"required": False, "content": {"application/json": {"schema": body}}}
    return call
