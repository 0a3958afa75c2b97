"""How a write is refused for a document outside of its caller's scope: for one that it refers to, or that has its unique values."""

from __future__ import annotations

from portico.errors import DuplicateDocument, UnknownReference
from portico.query.scoped import Change, Create


def unknown_reference(query: Create | Change) -> UnknownReference:
    """The error for a write some of whose references were not found in scope. It does not say which, nor whether they exist."""
    fields = [name for rule in query.references for name in rule.local]
    return UnknownReference(f"A value ({', '.join(fields)}) refers to a document that does not exist.", details={"fields": fields})


def taken(query: Create, message: str) -> DuplicateDocument:
    """The error of an upsert whose unique values belong to a document that its caller may not change: that of any duplicate."""
    return DuplicateDocument(message, details={"fields": list(query.on_conflict)})
