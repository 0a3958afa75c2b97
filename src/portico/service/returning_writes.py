"""Writes whose answers select or include more than the documents' own fields: each write, and the read that answers it."""

from __future__ import annotations

from collections.abc import Sequence

from portico.model.page import Changed, Document
from portico.service.bulk import BulkChanges
from portico.service.caller import KEY_ALONE, Asked, Caller
from portico.service.conflicts import OnConflict
from portico.service.members import EACH_ITS_OWN, Members
from portico.service.returning import Included, Returning
from portico.service.upserts import Upserts
from portico.service.writes import Writes


class ReturningWrites:
    """Runs them; `returning` reads what was written in the same transaction."""

    def __init__(self, returning: Returning, writes: Writes, upserts: Upserts, bulk: BulkChanges) -> None:
        self._returning = returning
        self._writes = writes
        self._upserts = upserts
        self._bulk = bulk

    async def create(
        self,
        caller: Caller,
        name: str,
        bodies: Sequence[object],
        wanted: Included,
        how: OnConflict | None = None,
        members: Members = EACH_ITS_OWN,
    ) -> list[Document | None]:
        """Create documents, or upsert them where it is said `how`, all or none; None for one that is not answered."""

        async def write(inside: Caller) -> Sequence[Document | None]:
            if how is not None:
                return await self._upserts.upsert_all(inside, name, bodies, how, members, wish=KEY_ALONE)
            chosen = self._upserts.chosen(inside, name, bodies, members).bodies
            if len(chosen) == 1:
                return [await self._writes.create(inside, name, chosen[0], wish=KEY_ALONE)]
            return await self._writes.create_all(inside, name, chosen, wish=KEY_ALONE)

        return await self._returning.of_created(caller, name, wanted, write)

    async def change(
        self, caller: Caller, name: str, key: tuple[str, ...], body: object, wanted: Included, *, etag: str | None, replacing: bool
    ) -> str:
        """Change or replace one document; its JSON, or null where it lacks what an include requires."""
        change = self._writes.replace if replacing else self._writes.update

        async def write(inside: Caller) -> Document:
            return await change(inside, name, key, body, etag=etag)

        document = await self._returning.of_one(caller, name, key, wanted, write)
        return document.body if document is not None else "null"

    async def update_where(self, caller: Caller, name: str, asked: Asked, body: object, wanted: Included, *, most: int | None) -> Changed:
        """Change every document that matches, or those that an array names."""

        async def write(inside: Caller) -> Changed:
            if isinstance(body, list):
                return await self._bulk.update_all(inside, name, body, answer=True, wish=KEY_ALONE)
            return await self._writes.update_where(inside, name, asked, body, most=most, answer=True, wish=KEY_ALONE)

        return (await self._returning.of_changed(caller, name, wanted, write))[0]

    async def delete_where(self, caller: Caller, name: str, asked: Asked, wanted: Included, *, most: int | None) -> Changed:
        """Delete every document that matches."""
        return (await self._returning.of_deleted(caller, name, asked, wanted, most=most))[0]
