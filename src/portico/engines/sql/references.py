"""How a write is refused that refers to a document outside of its caller's scope: as if there were none."""

from __future__ import annotations

from portico.errors import UnknownReference
from portico.query.scoped import Change, Create


def unknown_reference(query: Create | Change) -> UnknownReference:
    """The error for a write some of whose references were not found in scope. It does not say which, nor whether they exist."""
    fields = [name for rule in query.references for name in rule.local]
    return UnknownReference(f"A value ({', '.join(fields)}) refers to a document that does not exist.", details={"fields": fields})
