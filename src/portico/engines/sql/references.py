"""How calls are refused for a document outside of their caller's scope: one that a write refers to or collides with, or that was read."""

from __future__ import annotations

from portico.errors import DuplicateDocument, InternalError, UnknownReference
from portico.query.scoped import Change, Create


def unknown_reference(query: Create | Change) -> UnknownReference:
    """The error for a write some of whose references were not found in scope. It does not say which, nor whether they exist."""
    fields = [name for rule in query.references for name in rule.local]
    return UnknownReference(f"A value ({', '.join(fields)}) refers to a document that does not exist.", details={"fields": fields})


def taken(query: Create, message: str) -> DuplicateDocument:
    """The error of an upsert whose unique values belong to a document that its caller may not change: that of any duplicate."""
    return DuplicateDocument(message, details={"fields": list(query.on_conflict)})


def foreign_row() -> InternalError:
    """The fault that the comparison of each row with its caller's scope exists for."""
    return InternalError("The database gave a row outside of the caller's scope; nothing was answered.", details={"type": "ForeignRow"})
