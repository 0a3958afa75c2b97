"""The only status table: which HTTP status, headers and body each error of `portico.errors` is answered with."""

from __future__ import annotations

import json

import orjson

from portico import errors as e
from portico.errors import PorticoError

Headers = tuple[tuple[bytes, bytes], ...]

STATUS: dict[type[PorticoError], int] = {
    e.PorticoError: 500,
    e.ConfigurationError: 500,
    e.MigrationError: 422,
    e.BackupError: 500,
    e.RequestError: 400,
    e.InvalidRequest: 400,
    e.InvalidJson: 400,
    e.InvalidParameter: 400,
    e.InvalidCursor: 400,
    e.UnknownField: 400,
    e.UnknownOperator: 400,
    e.UnknownParameter: 400,
    e.UnknownRelation: 400,
    e.AmbiguousRelation: 400,
    e.Unauthenticated: 401,
    e.Forbidden: 403,
    e.HiddenField: 403,
    e.ReadOnlyField: 403,
    e.ForeignTenant: 403,
    e.NotFound: 404,
    e.CollectionNotFound: 404,
    e.DocumentNotFound: 404,
    e.RouteNotFound: 404,
    e.TransactionNotFound: 404,
    e.MethodNotAllowed: 405,
    e.NotAcceptable: 406,
    e.UnsupportedMediaType: 415,
    e.BodyTooLarge: 413,
    e.HeadersTooLarge: 431,
    e.Conflict: 409,
    e.DuplicateDocument: 409,
    e.ReferencedDocument: 409,
    e.RequestInFlight: 409,
    e.StaleSnapshot: 409,
    e.MissingDependency: 409,
    e.TransactionGone: 410,
    e.ChangesGone: 410,
    e.PreconditionFailed: 412,
    e.InvalidValue: 422,
    e.WrongType: 422,
    e.MissingValue: 422,
    e.ConstraintViolated: 422,
    e.OutOfRange: 422,
    e.UnknownReference: 422,
    e.TooManyAffected: 422,
    e.KeyReused: 422,
    e.NotSupported: 501,
    e.ServiceError: 500,
    e.Unavailable: 503,
    e.DatabaseUnavailable: 503,
    e.PoolExhausted: 503,
    e.OutcomeUnknown: 503,
    e.DatabaseReadOnly: 503,
    e.DiskFull: 503,
    e.SchemaChanged: 503,
    e.StatementTimeout: 504,
    e.InternalError: 500,
}
"""Every class of `portico.errors` with its status; a test holds it complete."""

GENERIC = "Something went wrong inside Portico."
_GENERIC_HINT = "Give the correlation id to who runs Portico: the log has the rest."
_CHALLENGE = (b"www-authenticate", b'Bearer realm="portico"')
_DEFAULT_RETRY_SECONDS = 1


def status_of(error: PorticoError) -> int:
    """The HTTP status of an error; that of its nearest ancestor for a class made elsewhere."""
    kind = type(error)
    known = STATUS.get(kind)
    return known if known is not None else next((STATUS[base] for base in kind.__mro__ if base in STATUS), 500)


def headers_of(error: PorticoError) -> Headers:
    """The headers that the status asks for: WWW-Authenticate (401), Allow (405), Retry-After (429, 503)."""
    status = status_of(error)
    if status == 401:
        return (_CHALLENGE,)
    if status == 405:
        allow = error.details.get("allow", ())
        names = allow if isinstance(allow, str) else ", ".join(str(name) for name in allow) if isinstance(allow, list | tuple) else ""
        return ((b"allow", names.encode("latin-1", "replace")),)
    if status in {429, 503}:
        return ((b"retry-after", str(_retry_seconds(error)).encode()),)
    return ()


def error_body(error: PorticoError, correlation_id: str) -> bytes:
    """The answer's body: SPEC's envelope of an error. What an `InternalError` found is not in it."""
    hidden = status_of(error) == 500
    answer = {
        "success": False,
        "data": None,
        "message": GENERIC if hidden else error.message,
        "error": {
            "code": e.InternalError.code if hidden else error.code,
            "details": {} if hidden else error.details,
            "hint": _GENERIC_HINT if hidden else error.hint,
        },
        "correlation_id": correlation_id,
    }
    try:
        return orjson.dumps(answer, default=str)
    except (TypeError, ValueError):
        # A name that the caller made up may hold a lone surrogate or a number of any length.
        return json.dumps(answer, ensure_ascii=False, default=str).encode("utf-8", "replace")


def _retry_seconds(error: PorticoError) -> int:
    after = error.details.get("retry_after", _DEFAULT_RETRY_SECONDS)
    return max(_DEFAULT_RETRY_SECONDS, -int(-after // 1)) if isinstance(after, int | float) else _DEFAULT_RETRY_SECONDS
