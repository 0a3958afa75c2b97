"""How a caller reaches the collections of includes: what it may know of, read, and see there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from portico.errors import CollectionNotFound, Forbidden
from portico.model.collection import Collection
from portico.model.identity import Permission
from portico.query import ast
from portico.query.names import Reached
from portico.query.ownership import Resolve
from portico.service import tenancy
from portico.service.authorize import Access, effective, require
from portico.service.caller import Caller


@dataclass(frozen=True, slots=True)
class Reach:
    """Finds the collections that includes of one collection lead to, for callers of one kind.

    Attributes:
        find: the catalog's collections by name. database: only its collections are reached, since one statement reads them.
        parse_filter: reads a row filter of the caller's rules.
    """

    find: Resolve
    database: str
    caller: Caller
    parse_filter: Callable[[str], ast.Parsed]

    def __call__(self, name: str) -> Reached | None:
        """The collection of that name; None where the caller may not know of it, in its scope."""
        collection = self.find(name)
        if collection is None or collection.database != self.database:
            return None
        access = effective(self.caller.identity, collection)
        if not access.visible or not self._is_scoped(collection):
            return None
        filters = tuple(self.parse_filter(text) for text in access.row_filters)
        return Reached(collection, access.hidden, filters, _refusal(access, Permission.READ), _refusal(access, Permission.AGGREGATE))

    def _is_scoped(self, collection: Collection) -> bool:
        """Whether something says whose its documents are, or the scope is everything."""
        try:
            tenancy.rule_for(collection, self.caller.scope, self.find)
        except CollectionNotFound:
            return False
        return True


def _refusal(access: Access, permission: Permission) -> Forbidden | None:
    try:
        require(access, permission)
    except Forbidden as error:
        return error
    return None
