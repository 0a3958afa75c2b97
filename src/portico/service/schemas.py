"""Schema documents of the collections that a caller may know of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from portico.catalog.catalog import Catalog
from portico.catalog.describe import describe
from portico.model.collection import Collection
from portico.model.identity import Identity, Permission
from portico.service.authorize import Access, effective, require

Schema = dict[str, object]


class Schemas:
    """Gives schema documents. `catalog` gives the snapshot in force."""

    def __init__(self, catalog: Callable[[], Catalog]) -> None:
        self._catalog = catalog

    @property
    def version(self) -> int:
        """The version of the catalog in force."""
        return self._catalog().version

    def list(self, identity: Identity) -> list[Schema]:
        """The schema documents of every collection that the caller may read, by name."""
        return [_document(collection, access) for collection, access in self.readable(identity)]

    def readable(self, identity: Identity) -> tuple[tuple[Collection, Access], ...]:
        """The collections that the caller may read, by name, with what it may do."""
        catalog = self._catalog()
        found = ((collection, effective(identity, collection)) for _, collection in sorted(catalog.collections.items()))
        return tuple(pair for pair in found if pair[1].visible and Permission.READ in pair[1].permissions)

    def get(self, identity: Identity, name: str) -> Schema:
        """One schema document. Raises as `known`."""
        collection = self.known(identity, name)
        return _document(collection, effective(identity, collection))

    def check_visible(self, identity: Identity, name: str) -> None:
        """Raise CollectionNotFound where the caller may not know of the collection, whatever it would do with it."""
        access = effective(identity, self._catalog().find(name))
        if not access.visible:
            require(access, Permission.READ)

    def known(self, identity: Identity, name: str) -> Collection:
        """A collection that the caller may read.

        Raises:
            CollectionNotFound: there is none, or the caller may not know of it. Forbidden: it may not read it.
        """
        collection = self._catalog().find(name)
        require(effective(identity, collection), Permission.READ)
        return collection


def _document(collection: Collection, access: Access) -> Schema:
    """The schema document, without the fields that are hidden from this service besides the collection's own hidden ones."""
    taken = access.hidden - collection.security.hidden
    if taken:
        collection = replace(collection, fields=tuple(field for field in collection.fields if field.name not in taken))
    return describe(collection)
