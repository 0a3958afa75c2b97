"""Versions of documents: who kept which, when, and a document set back to one of them.

Versions are read as a collection of their own, limited to the caller by what each says of whose document it is of: the document itself may
be gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from portico.errors import DocumentNotFound, InvalidParameter, NotSupported, PorticoError
from portico.model.collection import Collection
from portico.model.companions import VERSIONS
from portico.model.identity import Permission
from portico.model.page import Document, Page
from portico.query import ast
from portico.query.bind import bind
from portico.query.capabilities import Capability
from portico.query.json_text import read_json, write_json
from portico.query.limits import Limits
from portico.query.scoped import EverythingRule, OwnerRule, ParentRule, ScopeRule, SharedRule, TenantRule
from portico.service import tenancy
from portico.service.caller import Caller
from portico.service.documents import Documents
from portico.service.plans import Context, Plan
from portico.service.validate import replaceable
from portico.service.writes import Writes

SHOWN = ("version", "operation", "at", "service", "client_id", "user_id", "correlation_id")
"""What a version says beside its document."""

BEFORE_ANY = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Versions:
    """A page of versions, newest first, as JSON objects; `next_before` is the number that the next page stands before, None at the end."""

    versions: tuple[str, ...]
    limit: int
    next_before: int | None


class History:
    """Reads and restores versions.

    Args:
        documents, writes: the pipelines that versions are read by, and documents written.
    """

    def __init__(self, documents: Documents, writes: Writes) -> None:
        self._documents = documents
        self._writes = writes
        self._plans = documents.plans

    async def page(self, caller: Caller, name: str, key: tuple[str, ...], *, limit: str | None, cursor: str | None) -> Versions:
        """The versions of a document, newest first.

        Args:
            limit: versions at most, as the caller wrote it. cursor: only versions with a lower number than this.
        Raises:
            DocumentNotFound: the caller sees none. NotSupported: the collection keeps no versions.
        """
        context = self._context(caller, name, Permission.READ)
        await self._check_filtered(caller, name, key, context)
        most = _number("limit", limit) if limit is not None else self._plans.limits.default_limit
        found = await self._read(caller, context, key, most, before=_number("cursor", cursor) if cursor is not None else BEFORE_ANY)
        if not found and cursor is None and most > 0:
            raise _no_document()
        texts = tuple(write_json(_shown(context, item)) for item in found)
        following = cast("int", found[-1]["version"]) if found and len(found) == most and found[-1]["version"] != 1 else None
        return Versions(texts, most, following)

    async def get(self, caller: Caller, name: str, key: tuple[str, ...], version: str) -> str:
        """One version, as a JSON object. Raises as `page` does."""
        context = self._context(caller, name, Permission.READ)
        await self._check_filtered(caller, name, key, context)
        return write_json(_shown(context, await self._one(caller, context, key, version)))

    async def restore(self, caller: Caller, name: str, key: tuple[str, ...], version: object, *, etag: str | None) -> Document:
        """Set a document back to what it was in a version, which makes a new one; create it anew where it was deleted.

        Fields that the caller may not write keep what they hold now.

        Raises:
            DocumentNotFound: there is no such version. InvalidParameter: it is a deletion. PreconditionFailed: `etag` is another's.
        """
        context = self._context(caller, name, Permission.UPDATE)
        await self._check_filtered(caller, name, key, context)
        if isinstance(version, bool) or not isinstance(version, int):
            raise InvalidParameter("The body names the version to restore by its number.", hint='Send {"version": 3}.')
        kept = (await self._one(caller, context, key, str(version)))["document"]
        if not isinstance(kept, dict):
            raise InvalidParameter("This version is the deletion of the document.", hint="Restore an earlier one.")
        fields = [field.name for field in replaceable(context.collection, context.access) if field.name in kept]
        try:
            return await self._writes.update(caller, name, key, {field: kept[field] for field in fields}, etag=etag)
        except DocumentNotFound:
            if etag is not None:
                raise
        whole = {field: kept[field] for field in (*context.collection.primary_key, *fields)}
        return await self._writes.create(caller, name, whole)

    def _context(self, caller: Caller, name: str, permission: Permission) -> Context:
        collection = self._plans.collection(name)
        context = self._plans.context(caller, collection, permission)
        if not collection.versioned:
            raise NotSupported(
                Capability.VERSIONS, context.engine.kind,
                message=f"The collection {name} keeps no versions.", hint="Declare it with versioned: true.",
            )  # fmt: skip
        return context

    async def _check_filtered(self, caller: Caller, name: str, key: tuple[str, ...], context: Context) -> None:
        """A service that sees some documents only sees the history of those: the document, as it is now, must pass its filters."""
        if context.access.row_filters:
            await self._documents.get(caller, name, key)

    async def _one(self, caller: Caller, context: Context, key: tuple[str, ...], version: str) -> dict[str, object]:
        number = _number("version", version)
        found = await self._read(caller, context, key, 1, before=number + 1)
        if not found or found[0]["version"] != number:
            raise DocumentNotFound("The document has no such version.")
        return found[0]

    async def _read(self, caller: Caller, context: Context, key: tuple[str, ...], limit: int, *, before: int) -> list[dict[str, object]]:
        users = list(caller.scope.users) if _owned(context.belongs) else []
        values = (context.collection.name, self._address(context.collection, key), before, limit, *([users] if users else []))
        plan = self._plan(caller, context, with_users=bool(users))
        page = cast("Page", await self._documents.run(caller, lambda: (plan, plan.values(values))))
        return cast("list[dict[str, object]]", read_json(page.body))

    def _plan(self, caller: Caller, context: Context, *, with_users: bool) -> Plan:
        found = self._plans.find(caller, context.collection, "history", with_users)
        if found is not None:
            return cast("Plan", found)
        versions = context.engine.companion(VERSIONS)
        bound = bind(_query(with_users=with_users), versions, limits=Limits())
        rule = _rule(context)
        lane = self._plans.compile(
            replace(context, collection=replace(versions, name=context.collection.name)), "history", tenancy.list_page(bound.query, rule)
        )
        assert bound.query.limit is not None, "a page has a limit"
        plan = Plan(lane, context.collection, bound.sources, bound.coercers, bound.query.limit.index, pattern="history")
        self._plans.keep(caller, context.collection, "history", with_users, plan)
        return plan

    def _address(self, collection: Collection, key: tuple[str, ...]) -> str:
        """The document's key as companion rows write it."""
        _, coercers = self._plans.key_parameters(collection, 0)
        if len(key) != len(coercers):
            raise _no_document()
        try:
            parts = [str(coerce(part)) for coerce, part in zip(coercers, key, strict=True)]
        except PorticoError:
            raise _no_document() from None
        return ",".join(part.replace("%", "%25").replace(",", "%2C") for part in parts)


def _rule(context: Context) -> ScopeRule:
    match context.rule:
        case EverythingRule() | SharedRule():
            return context.rule
        case _ if isinstance(_root(context.belongs), SharedRule):
            return SharedRule()
        case _:
            return TenantRule("document_client")


def _root(rule: ScopeRule) -> ScopeRule:
    return _root(rule.rule) if isinstance(rule, ParentRule) else rule


def _owned(rule: ScopeRule) -> bool:
    return isinstance(_root(rule), OwnerRule)


def _query(*, with_users: bool) -> ast.Query:
    """Versions of one document before a number, newest first; the values are those of `History._read`."""
    text, number = ast.Written.STRING, ast.Written.NUMBER
    conditions: list[ast.Node] = [
        ast.Condition(ast.Path("collection"), ast.Operator.EQ, ast.Slot(0, text)),
        ast.Condition(ast.Path("document_key"), ast.Operator.EQ, ast.Slot(1, text)),
        ast.Condition(ast.Path("version"), ast.Operator.LT, ast.Slot(2, number)),
    ]
    if with_users:
        conditions.append(ast.Condition(ast.Path("document_user"), ast.Operator.IN, ast.Slot(4, ast.Written.ARRAY)))
    return ast.Query(
        select=tuple(ast.Selected(ast.Path(field)) for field in (*SHOWN, "document")),
        filter=ast.And(tuple(conditions)),
        order=(ast.Ordered(ast.Path("version"), descending=True),),
        limit=ast.Slot(3, number),
    )


def _shown(context: Context, version: Mapping[str, object]) -> dict[str, object]:
    """A version as the caller sees it: without the fields that are hidden from it, the others in the collection's order."""
    kept = version["document"]
    document = None
    if isinstance(kept, dict):
        names = (field.name for field in context.collection.fields if field.name not in context.access.hidden)
        document = {name: kept[name] for name in names if name in kept}
    return {**{name: version[name] for name in SHOWN}, "document": document}


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InvalidParameter(f"The parameter {name} is a whole number of at most nine digits.")
    return int(text)


def _no_document() -> DocumentNotFound:
    return DocumentNotFound("There is no such document.")


__all__ = ["History", "Versions"]
