"""Shows the audit: who changed what, for those who may administer the collection, and only of their own tenants' documents."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import cast

from portico.catalog.catalog import Catalog
from portico.engines.base import Engine
from portico.engines.records import Records
from portico.errors import Forbidden, InvalidCursor, InvalidParameter, NotSupported, OutOfRange, UnknownParameter
from portico.model.collection import Collection
from portico.model.field import Base, FieldType
from portico.model.identity import Identity, Permission
from portico.model.positions import AuditQuery, AuditRow
from portico.model.scope import Scope
from portico.query.capabilities import Capability
from portico.query.coerce import text_coercer
from portico.query.cursor import decode, encode
from portico.query.json_text import read_json, write_json
from portico.query.limits import Limits
from portico.service.authorize import effective, require
from portico.service.sequencer import records_of

_EQUAL = ("document_key", "service", "client_id", "user_id", "operation", "correlation_id")
_MOMENTS = {"from": "since", "to": "until"}
PARAMETERS = frozenset({"database", "collection", *_EQUAL, *_MOMENTS, "limit", "cursor"})
_MASK = "***"


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Audit rows, the newest first, and where the next page begins."""

    rows: tuple[AuditRow, ...]
    limit: int
    next_cursor: str | None


class AuditTrail:
    """Gives pages of the audit.

    Args:
        engines: by database. database: the one that is shown where none is named. catalog: gives the snapshot in force.
        limits: of a page. cursor_secret: signs cursors.
    """

    def __init__(
        self, engines: Mapping[str, Engine], *, database: str, catalog: Callable[[], Catalog], limits: Limits, cursor_secret: bytes
    ) -> None:
        self._engines = engines
        self._database = database
        self._catalog = catalog
        self._limits = limits
        self._secret = cursor_secret

    async def page(self, identity: Identity, scope: Scope, parameters: Mapping[str, str]) -> AuditPage:
        """The rows that match, of collections that the caller may administer and documents in its scope.

        Args:
            parameters: of the query string, of the names in `PARAMETERS`.
        Raises:
            UnknownParameter, InvalidParameter, InvalidValue, InvalidCursor. Forbidden, CollectionNotFound: it may not.
            NotSupported: the database keeps no audit.
        """
        for name in parameters:
            if name not in PARAMETERS:
                raise UnknownParameter(f"The audit takes no parameter {name[:100]!r}.", hint=f"It takes {', '.join(sorted(PARAMETERS))}.")
        named = parameters.get("collection")
        database, collections = self._of_collection(identity, named) if named is not None else self._of_all(identity, parameters)
        if named is not None and parameters.get("database", database) != database:
            raise InvalidParameter(f"The collection {named} is in another database.")
        tag = self._tag(parameters)
        clients, users = None if scope.everything else scope.clients, scope.users or None
        query = replace(self._query(parameters, tag), collections=collections, clients=clients, users=users)
        rows = list(await self._records(database).audited(replace(query, limit=query.limit + 1)))
        more, rows = len(rows) > query.limit, rows[: query.limit]
        cursor = encode(self._secret, tag, f"[{rows[-1].id}]") if more and rows else None
        return AuditPage(tuple(self._masked(identity, row) for row in rows), query.limit, cursor)

    def _of_collection(self, identity: Identity, name: str) -> tuple[str, tuple[str, ...]]:
        collection = self._catalog().find(name)
        access = effective(identity, collection)
        require(access, Permission.ADMIN)
        if access.row_filters:
            raise Forbidden("The audit cannot be limited by a row filter, so who has one does not see it.")
        return collection.database, (name,)

    def _of_all(self, identity: Identity, parameters: Mapping[str, str]) -> tuple[str, tuple[str, ...] | None]:
        database = parameters.get("database", self._database)
        if database not in self._engines:
            raise InvalidParameter(f"There is no database {database[:100]!r}.")
        everywhere = any(rule.pattern == "*" and Permission.ADMIN in rule.permissions for rule in identity.rules)
        if identity.may_ask_everything and everywhere and not any(rule.row_filter for rule in identity.rules):
            return database, None  # of collections that are gone, too
        shown = tuple(
            name for name, item in self._catalog().collections.items() if item.database == database and self._administers(identity, item)
        )
        if not shown:
            raise Forbidden("The permission admin is not granted on any collection.", details={"permission": "admin"})
        return database, shown

    @staticmethod
    def _administers(identity: Identity, collection: Collection) -> bool:
        access = effective(identity, collection)
        return access.visible and Permission.ADMIN in access.permissions and not access.row_filters

    def _records(self, database: str) -> Records:
        engine = self._engines[database]
        records = records_of(engine)
        if records is None:
            raise NotSupported(Capability.AUDIT, engine.kind, hint="Run portico init-db on the database.")
        return records

    def _query(self, parameters: Mapping[str, str], tag: bytes) -> AuditQuery:
        limit = self._limits.default_limit
        if "limit" in parameters:
            limit = cast("int", text_coercer(FieldType(Base.INTEGER), "limit")(parameters["limit"]))
            if not 0 <= limit <= self._limits.max_limit:
                raise OutOfRange(f"The limit is 0 to {self._limits.max_limit}.", details={"parameter": "limit"})
        query = AuditQuery(limit)
        moment = FieldType(Base.DATETIME)
        found: dict[str, object] = {name: parameters[name] for name in _EQUAL if name in parameters}
        found |= {ours: text_coercer(moment, name)(parameters[name]) for name, ours in _MOMENTS.items() if name in parameters}
        if "cursor" in parameters:
            after = decode(self._secret, tag, parameters["cursor"])
            if len(after) != 1 or not isinstance(after[0], int):
                raise InvalidCursor("The cursor is not one of the audit.")
            found["below"] = after[0]
        return replace(query, **found)  # type: ignore[arg-type]

    @staticmethod
    def _tag(parameters: Mapping[str, str]) -> bytes:
        """What a cursor belongs to: the filters, whatever the limit."""
        filters = sorted((name, value) for name, value in parameters.items() if name not in {"limit", "cursor"})
        return hashlib.sha256(repr(("audit", filters)).encode("utf-8", "surrogatepass")).digest()[:16]

    def _masked(self, identity: Identity, row: AuditRow) -> AuditRow:
        """The row, with the fields masked that are hidden from this caller besides those that were masked when it was written."""
        collection = self._catalog().collections.get(row.collection)
        hidden = effective(identity, collection).hidden if collection is not None else frozenset[str]()
        if not hidden:
            return row
        return replace(row, before=_mask(row.before, hidden), after=_mask(row.after, hidden))


def _mask(text: str | None, hidden: frozenset[str]) -> str | None:
    document = read_json(text) if text is not None else None
    if not isinstance(document, dict) or hidden.isdisjoint(document):
        return text
    return write_json({name: _MASK if name in hidden and value is not None else value for name, value in document.items()})
