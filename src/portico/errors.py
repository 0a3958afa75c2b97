"""Every error that Portico raises on purpose, in one tree. No HTTP here: `api/errors.py` holds the only status table.
Codes are stable: callers may compare them. Messages may change.

    PorticoError
    ├── ConfigurationError              the service cannot start as it is set up
    ├── MigrationError  BackupError     a migration or a backup cannot be run, or failed
    ├── RequestError                    the caller's request is at fault; nothing was written
    │   ├── InvalidRequest              cannot be understood
    │   │   ├── InvalidJson  InvalidParameter  InvalidCursor
    │   │   └── UnknownField  UnknownOperator  UnknownParameter  UnknownRelation  AmbiguousRelation
    │   ├── Unauthenticated             no credential, or one that is not valid
    │   ├── Forbidden                   the caller may not do this
    │   │   └── HiddenField  ReadOnlyField  ForeignTenant
    │   ├── NotFound:  CollectionNotFound  DocumentNotFound  RouteNotFound  TransactionNotFound
    │   ├── MethodNotAllowed  NotAcceptable  UnsupportedMediaType  BodyTooLarge  HeadersTooLarge
    │   ├── Conflict                    the stored state forbids it
    │   │   └── DuplicateDocument  ReferencedDocument  RequestInFlight  StaleSnapshot  MissingDependency
    │   ├── TransactionGone  ChangesGone    ended, with the reason; not kept any more
    │   ├── PreconditionFailed          If-Match or If-None-Match does not hold
    │   ├── InvalidValue                understood, but a value breaks a rule
    │   │   └── WrongType  MissingValue  ConstraintViolated  OutOfRange  UnknownReference  TooManyAffected  KeyReused
    │   └── NotSupported                the engine lacks a named capability
    └── ServiceError                    not the caller's fault
        ├── Unavailable                 try again later
        │   └── DatabaseUnavailable  PoolExhausted  OutcomeUnknown  DatabaseReadOnly  DiskFull  SchemaChanged
        └── StatementTimeout  InternalError    too slow; a fault of Portico's own, whose particulars are logged, never answered
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class PorticoError(Exception):
    """An error with a stable code.

    Args:
        message: for people, one sentence without SQL, values of other documents, or a driver's text.
        hint: what the reader can do about it. details: machine-readable particulars, such as ``{"field": "status"}``.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str | None = None, details: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, object] = dict(details or {})


class ConfigurationError(PorticoError):
    """The service cannot start, or a command cannot run, as it is set up."""

    code = "invalid_configuration"


class MigrationError(PorticoError):
    """A migration cannot be run, or failed and left nothing behind."""

    code = "migration_failed"


class BackupError(PorticoError):
    """A backup cannot be made or proven, or a file cannot be restored as asked; nothing was changed."""

    code = "backup_failed"


class RequestError(PorticoError):
    """The caller's request is at fault; nothing was written."""

    code = "bad_request"


class InvalidRequest(RequestError):
    """The request cannot be understood."""

    code = "invalid_request"


class InvalidJson(InvalidRequest):
    """The body is not JSON that Portico accepts (RFC 8259, without duplicate keys, NaN or lone surrogates)."""

    code = "invalid_json"


class InvalidParameter(InvalidRequest):
    """A parameter, header or clause is malformed."""

    code = "invalid_parameter"


class InvalidCursor(InvalidRequest):
    """The cursor was changed, or belongs to another query."""

    code = "invalid_cursor"


class UnknownField(InvalidRequest):
    """The collection has no such field."""

    code = "unknown_field"


class UnknownOperator(InvalidRequest):
    """No such operator, stage or function."""

    code = "unknown_operator"


class UnknownParameter(InvalidRequest):
    """The call takes no such parameter."""

    code = "unknown_parameter"


class UnknownRelation(InvalidRequest):
    """The collection has no relation of this name; the hint says the nearest."""

    code = "unknown_relation"


class AmbiguousRelation(InvalidRequest):
    """Several relations fit the name; the details list them."""

    code = "ambiguous_relation"


class Unauthenticated(RequestError):
    """No credential, or one that is unknown, expired, revoked or forged."""

    code = "unauthenticated"


class Forbidden(RequestError):
    """The caller is known but may not do this."""

    code = "forbidden"


class HiddenField(Forbidden):
    """The caller may not see this field, in any clause."""

    code = "hidden_field"


class ReadOnlyField(Forbidden):
    """The caller may not write this field."""

    code = "read_only_field"


class ForeignTenant(Forbidden):
    """The caller may not act for this client or user."""

    code = "foreign_tenant"


class NotFound(RequestError):
    """There is no such thing, or the caller may not know of it."""

    code = "not_found"


class CollectionNotFound(NotFound):
    """No collection of that name is served to this caller."""

    code = "collection_not_found"


class DocumentNotFound(NotFound):
    """No document with that key is in the caller's scope."""

    code = "document_not_found"


class RouteNotFound(NotFound):
    """No call has this path."""

    code = "route_not_found"


class TransactionNotFound(NotFound):
    """No transaction of this caller has that id: it was made up or changed, or another service or client began it."""

    code = "transaction_not_found"


class MethodNotAllowed(RequestError):
    """The path exists, without this method. ``details["allow"]`` lists the methods it has."""

    code = "method_not_allowed"


class NotAcceptable(RequestError):
    """None of the media types that the caller accepts can be produced."""

    code = "not_acceptable"


class UnsupportedMediaType(RequestError):
    """The body's media type is not understood here."""

    code = "unsupported_media_type"


class BodyTooLarge(RequestError):
    """The body is larger than the limit, in bytes as sent or as unpacked."""

    code = "body_too_large"


class HeadersTooLarge(RequestError):
    """A header or the query string is longer than the limit."""

    code = "headers_too_large"


class Conflict(RequestError):
    """The stored state forbids the change."""

    code = "conflict"


class DuplicateDocument(Conflict):
    """A key or unique value is taken; by whom is not said."""

    code = "duplicate"


class ReferencedDocument(Conflict):
    """Other documents refer to this one, and their rule is to restrict."""

    code = "referenced"


class RequestInFlight(Conflict):
    """A request with the same idempotency key is still running."""

    code = "in_flight"


class StaleSnapshot(Conflict):
    """The transaction's snapshot is older than a change that it would overwrite; begin it anew."""

    code = "stale_snapshot"


class MissingDependency(Conflict):
    """A migration that this one depends on has not been applied."""

    code = "missing_dependency"


class TransactionGone(RequestError):
    """The transaction is no longer open; ``details["reason"]`` says why."""

    code = "transaction_gone"


class ChangesGone(RequestError):
    """The changes after the position that a feed was to be resumed from are not kept any more, or never were."""

    code = "changes_gone"


class PreconditionFailed(RequestError):
    """The document is not in the state that the caller's condition names."""

    code = "precondition_failed"


class InvalidValue(RequestError):
    """The request is understood, but a value breaks a rule."""

    code = "invalid_value"


class WrongType(InvalidValue):
    """A value is not of the field's type."""

    code = "wrong_type"


class MissingValue(InvalidValue):
    """A required field is missing or null."""

    code = "missing_value"


class ConstraintViolated(InvalidValue):
    """A value breaks a constraint of its field."""

    code = "constraint_violated"


class OutOfRange(InvalidValue):
    """A number, date or limit is outside of what is allowed."""

    code = "out_of_range"


class UnknownReference(InvalidValue):
    """A value refers to a document that does not exist in the caller's scope."""

    code = "unknown_reference"


class TooManyAffected(InvalidValue):
    """The change would touch more documents than allowed."""

    code = "too_many_affected"


class KeyReused(InvalidValue):
    """The idempotency key was used for another request."""

    code = "idempotency_key_reused"


class NotSupported(RequestError):
    """The engine behind the collection lacks a capability, which the error names.

    Args:
        capability: its name, as `GET /api/db/stats` lists it. engine: the engine that lacks it.
    """

    code = "not_supported"

    def __init__(self, capability: str, engine: str, *, message: str | None = None, hint: str | None = None) -> None:
        text = message or f"The engine {engine} lacks the capability {capability}."
        super().__init__(text, hint=hint, details={"capability": capability, "engine": engine})


class ServiceError(PorticoError):
    """The request could not be served, and not by the caller's fault."""

    code = "service_error"


class Unavailable(ServiceError):
    """What the call needs is not there now. ``details["retry_after"]`` is in seconds."""

    code = "unavailable"

    def __init__(self, message: str, *, hint: str | None = None, details: Mapping[str, object] | None = None) -> None:
        super().__init__(message, hint=hint, details={"retry_after": 1, **(details or {})})


class DatabaseUnavailable(Unavailable):
    """The database cannot be reached, or was lost before anything was written."""

    code = "database_unavailable"


class PoolExhausted(Unavailable):
    """No connection became free within the pool's timeout."""

    code = "pool_exhausted"


class OutcomeUnknown(Unavailable):
    """The connection was lost after a write was sent: it may have been applied. An idempotency key makes a retry safe."""

    code = "outcome_unknown"


class DatabaseReadOnly(Unavailable):
    """The database takes no writes now (a standby, or read-only for maintenance)."""

    code = "database_read_only"


class DiskFull(Unavailable):
    """The database has no room left; reads go on."""

    code = "disk_full"


class SchemaChanged(Unavailable):
    """The database's schema is newer than the plan. The service reads the catalog anew and tries once more.

    `otherwise`: what it means where the schema turns out to be the one that was known; None: nothing else can have raised it.
    """

    code = "schema_changed"
    otherwise: PorticoError | None = None


class StatementTimeout(ServiceError):
    """The statement ran longer than allowed and was cancelled."""

    code = "statement_timeout"


class InternalError(ServiceError):
    """A fault of Portico's own. The answer carries the correlation id; the log has the rest."""

    code = "internal_error"
