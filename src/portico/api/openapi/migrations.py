"""The calls of `/api/db/migrations` as OpenAPI operations."""

from __future__ import annotations

from portico.api.openapi.calls import Json, error, path_parameter, reference

_OPERATIONS = (
    "create_collection", "drop_collection", "add_field", "drop_field", "alter_field", "rename_field", "add_index", "drop_index",
    "add_relation", "drop_relation", "set_security", "set_partitioning", "update_data", "run_sql",
)  # fmt: skip
_STATES = ("pending", "executing", "completed", "failed", "rolled_back")
_ERRORS = (400, 401, 403, 404, 409, 413, 415, 422, 501, 503)
_READ_ERRORS = (401, 403, 501, 503)
_TEXT: Json = {"type": "string"}
_MAYBE_TEXT: Json = {"type": ["string", "null"]}
_RECORD: Json = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("id", "name", "database", "description", "version"), _TEXT),
        **dict.fromkeys(("created_at", "executed_at", "collection_or_table", "script", "error"), _MAYBE_TEXT),
        "status": {"enum": list(_STATES)},
        "dependencies": {"type": "array", "items": _TEXT},
    },
    "required": ["id", "name", "status", "database"],
}


def migration_calls() -> Json:
    """The paths with their operations."""
    return {
        "/api/db/migrations": {
            "post": _call("Run a migration, or show its SQL with `dry_run`", _RECORD, _ERRORS, status=("200", "201"), body=_body()),
            "get": _call("Every migration that was run", {"type": "array", "items": _RECORD}, _READ_ERRORS),
        },
        "/api/db/migrations/status": {"get": _call("How many migrations are in which state", _status(), _READ_ERRORS)},
        "/api/db/migrations/{key}/rollback": {
            "parameters": [path_parameter("key", "The migration's id.")],
            "post": _call("Run the way down of a migration", _RECORD, _ERRORS),
        },
    }


def _body() -> Json:
    operation: Json = {
        "type": "object",
        "properties": {name: {"type": ["object", "string"]} for name in _OPERATIONS},
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
        "description": "The operation's name with its arguments.",
    }
    operations: Json = {"type": "array", "items": operation}
    return {
        "type": "object",
        "properties": {
            "name": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9 ._:-]{0,99}$"},
            **dict.fromkeys(("description", "version", "database", "collection_or_table", "script"), _TEXT),
            "dependencies": {"type": "array", "items": _TEXT},
            "operations": operations,
            "down": {**operations, "description": "The way back, where it is not found from the operations."},
            "dry_run": {"type": "boolean", "default": False},
        },
        "required": ["name"],
        "additionalProperties": False,
        "description": "With either `operations` or a `script` of SQL, which needs the permission `admin`.",
    }


def _status() -> Json:
    counts: Json = {"type": "object", "properties": {state: {"type": "integer"} for state in _STATES}}
    return {
        "type": "object",
        "properties": {
            "databases": {"type": "array", "items": _TEXT},
            "counts": counts,
            "last": {"anyOf": [_RECORD, {"type": "null"}]},
            "unfinished": {"type": "array", "items": _RECORD},
        },
    }


def _call(summary: str, data: Json, errors: tuple[int, ...], *, status: tuple[str, ...] = ("200",), body: Json | None = None) -> Json:
    content: Json = {"application/json": {"schema": {"allOf": [reference("Envelope"), {"type": "object", "properties": {"data": data}}]}}}
    call: Json = {
        "summary": summary,
        "description": "Needs the permission `migrate`.",
        "tags": ["migrations"],
        "responses": {
            **{code: {"description": "Shown" if code == "200" and body else "Done", "content": content} for code in status},
            **{str(code): error(code) for code in errors},
        },
    }
    if body is not None:
        call["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return call
