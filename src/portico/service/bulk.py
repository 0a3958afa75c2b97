"""Changes of many documents by their keys in one call, each to values of its own; all or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from portico.errors import ConstraintViolated, InvalidParameter, MissingValue, WrongType
from portico.model.collection import Collection
from portico.model.identity import Permission
from portico.model.page import Changed, Document
from portico.query import ast
from portico.query.coerce import json_coercer
from portico.service.caller import EVERY_FIELD, Caller
from portico.service.documents import Documents
from portico.service.together import Groups, body_at, together
from portico.service.validate import Body, object_body
from portico.service.writes import MOST_TOGETHER, Writes

ETAG = "etag"
"""The member that says which hash the stored document must have, where the collection has no field of that name."""


@dataclass(frozen=True, slots=True)
class Keyed:
    """One document's change: the key's typed values, the hash that it must have, and what is set."""

    key: tuple[object, ...]
    etag: str | None
    fields: Body


class BulkChanges:
    """Changes by key. `documents` and `writes` are the pipeline that they share."""

    def __init__(self, documents: Documents, writes: Writes) -> None:
        self._documents = documents
        self._writes = writes

    async def update_all(
        self, caller: Caller, name: str, bodies: Sequence[object], *, answer: bool, wish: ast.Query = EVERY_FIELD
    ) -> Changed:
        """Change each document that a body names by its key: all of them, or none and the first error, with its body's index.

        Args:
            answer: give the changed documents, in order. wish: of each, every field or the key alone.
        Raises:
            DocumentNotFound: one is not in the caller's scope. PreconditionFailed: one has another hash than its body names.
            ConstraintViolated: one is named twice.
        """
        if len(bodies) > MOST_TOGETHER:
            raise InvalidParameter(f"At most {MOST_TOGETHER} documents are changed by one call.", hint="Send several calls.")
        changes = await self._read(caller, name, bodies)
        documents = await self._documents.with_current_schema(caller, name, lambda: self._run(caller, name, changes, wish))
        return Changed(len(documents), "[" + ",".join(document.body for document in documents) + "]" if answer else None)

    async def _read(self, caller: Caller, name: str, bodies: Sequence[object]) -> list[Keyed]:
        collection = self._writes.writable(caller, name)
        seen: dict[tuple[object, ...], int] = {}
        changes: list[Keyed] = []
        for place, body in enumerate(bodies):
            with body_at(place):
                change = keyed(collection, object_body(body))
                first = seen.setdefault(change.key, place)
                if first != place:
                    raise ConstraintViolated("Two changes of the call have the same key.", details={"same_as": first})
                fields = await self._writes.conceal(caller, name, change.fields, Permission.UPDATE)
            changes.append(Keyed(change.key, change.etag, fields))
        return changes

    async def _run(self, caller: Caller, name: str, changes: Sequence[Keyed], wish: ast.Query) -> list[Document]:
        groups = Groups(len(changes), found=True)
        for place, change in enumerate(changes):
            with body_at(place):
                groups.add(place, *self._writes.prepared_change(caller, name, change.key, change.fields, change.etag, wish))
        answers = await together(caller, self._writes.engine_of(name), groups.run) if groups else []
        return [cast("Document", answer) for answer in answers]


def keyed(collection: Collection, body: Body) -> Keyed:
    """A body as a change: its key, its condition, and the rest. Raises MissingValue, WrongType."""
    rest = dict(body)
    key: list[object] = []
    for field in collection.key_fields:
        if rest.get(field.name) is None:
            raise MissingValue(f"The field {field.name} of the key is required.", details={"field": field.name})
        key.append(json_coercer(field.type, field.name)(rest.pop(field.name)))
    etag = rest.pop(ETAG, None) if ETAG not in collection.by_name else None
    if etag is not None and not isinstance(etag, str):
        raise WrongType("The member etag is the text of a document's ETag.", details={"field": ETAG})
    return Keyed(tuple(key), etag.strip('"') if etag is not None else None, rest)
