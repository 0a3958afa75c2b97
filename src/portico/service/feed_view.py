"""What one follower of a change feed sees: its scope, its hidden fields, and its row filter, judged on the document before and after."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from portico.engines.base import Engine
from portico.errors import NotSupported, RequestError
from portico.model.collection import Collection
from portico.model.field import Base
from portico.model.positions import FeedRow
from portico.model.scope import Scope
from portico.query.ast import Operator
from portico.query.bound import Comparison, Conjunction, Disjunction, Negation, Parameter, Predicate
from portico.query.capabilities import Capability
from portico.query.coerce import json_coercer
from portico.query.json_text import read_json, write_json

Truth = bool | None
Document = dict[str, object]

_EQUALITY: dict[Operator, Callable[[Any, Any], bool]] = {Operator.EQ: operator.eq, Operator.NEQ: operator.ne}
_ORDER: dict[Operator, Callable[[Any, Any], bool]] = {
    Operator.GT: operator.gt, Operator.GTE: operator.ge, Operator.LT: operator.lt, Operator.LTE: operator.le,
}  # fmt: skip
_ORDERED = frozenset({Base.INTEGER, Base.BIGINT, Base.DECIMAL, Base.DATE, Base.DATETIME})
_EQUAL = _ORDERED | {Base.STRING, Base.TEXT, Base.UUID, Base.BOOLEAN, Base.ENUM}
_OF_TRUTH = {Operator.IS_TRUE: True, Operator.IS_FALSE: False}


class Change:
    """A committed change, read once for all who follow it."""

    __slots__ = ("_after", "_before", "_data", "row", "size")

    def __init__(self, row: FeedRow) -> None:
        self.row = row
        self.size = len(row.before or "") + len(row.after or "") + 500
        self._before: Document | None = None
        self._after: Document | None = None
        self._data: dict[tuple[str, frozenset[str]], bytes] = {}

    @property
    def before(self) -> Document | None:
        """The document before the change."""
        if self._before is None and self.row.before is not None:
            self._before = _document(self.row.before)
        return self._before

    @property
    def after(self) -> Document | None:
        """The document after the change."""
        if self._after is None and self.row.after is not None:
            self._after = _document(self.row.after)
        return self._after

    def event(self, name: str, hidden: frozenset[str]) -> bytes:
        """The server-sent event, without the fields `hidden`; made once for all who see the same."""
        found = self._data.get((name, hidden))
        if found is None:
            found = self._data[name, hidden] = self._event(name, hidden)
        return found

    def _event(self, name: str, hidden: frozenset[str]) -> bytes:
        row = self.row
        shown = "null"
        if name != "delete" and row.after is not None:
            shown = write_json({key: value for key, value in (self.after or {}).items() if key not in hidden}) if hidden else row.after
        head = orjson.dumps({"key": row.document_key, "at": row.at, "correlation_id": row.correlation_id})[:-1]
        return b'id: %d\nevent: %s\ndata: %s,"document":%s}\n\n' % (row.position, name.encode(), head, shown.encode())


@dataclass(frozen=True, slots=True)
class View:
    """What a follower sees.

    Attributes:
        scope: whose documents, where the collection is limited at all. filters, values: the service's row filters, bound.
        hidden: fields that are left out. version: of the catalog that this was made from.
    """

    collection: Collection
    limited: bool
    scope: Scope
    filters: tuple[Predicate, ...]
    values: tuple[object, ...]
    hidden: frozenset[str]
    version: int

    def event(self, change: Change) -> bytes | None:
        """The event for this follower; None where the change is not for it."""
        row = change.row
        if self.limited and not self._in_scope(row):
            return None
        name = row.operation
        if self.filters:
            # A document that begins to match is new to this follower, and one that ceases to is gone.
            was, now = self._matches(change.before), self._matches(change.after)
            if not was and not now:
                return None
            name = "update" if was and now else "create" if now else "delete"
        return change.event(name, self.hidden)

    def _in_scope(self, row: FeedRow) -> bool:
        if row.document_client not in self.scope.clients:
            return False
        return not self.scope.users or row.document_user is None or row.document_user in self.scope.users

    def _matches(self, document: Document | None) -> bool:
        return document is not None and all(_judge(item, document, self.values) is True for item in self.filters)


def check(filters: Sequence[Predicate], collection: Collection, engine: Engine) -> None:
    """Refuse a row filter that cannot be judged on documents as the audit keeps them. Raises NotSupported."""
    for item in filters:
        if isinstance(item, Negation):
            check((item.child,), collection, engine)
        elif isinstance(item, Conjunction | Disjunction):
            check(item.children, collection, engine)
        elif not isinstance(item, Comparison) or not _judged(item, collection):
            raise NotSupported(
                Capability.CHANGE_FEED,
                engine.kind,
                message="The row filter of this key compares what a change feed cannot.",
                hint="A feed judges equality, in and null of plain fields that nobody hides, and the order of numbers and moments.",
            )


def _judged(item: Comparison, collection: Collection) -> bool:
    field = item.target.field
    masked = collection.security.hidden | collection.security.encrypted
    if field is None or item.target.steps or item.target.element or item.target.cast or item.quantifier or field.type.array:
        return False
    if field.name in masked or field.type.native is not None:
        return False
    if item.operator is Operator.IS_NULL or (item.operator in _OF_TRUTH and field.type.base is Base.BOOLEAN):
        return True
    return field.type.base in (_ORDERED if item.operator in _ORDER else _EQUAL) and (
        item.operator in _ORDER or item.operator in _EQUALITY or item.operator is Operator.IN
    )


def _judge(item: Predicate, document: Document, values: Sequence[object]) -> Truth:
    """Whether the document meets the predicate; None is unknown, as in SQL."""
    if isinstance(item, Comparison):
        return _compare(item, document, values)
    if isinstance(item, Negation):
        truth = _judge(item.child, document, values)
        return None if truth is None else not truth
    assert isinstance(item, Conjunction | Disjunction), "checked"
    truths = [_judge(child, document, values) for child in item.children]
    decisive = not isinstance(item, Conjunction)
    if decisive in truths:
        return decisive
    return None if None in truths else not decisive


def _compare(item: Comparison, document: Document, values: Sequence[object]) -> Truth:
    field = item.target.field
    assert field is not None, "checked"
    stored = document.get(field.name)
    if item.operator is Operator.IS_NULL:
        return stored is None
    if item.operator in _OF_TRUTH:
        return stored is _OF_TRUTH[item.operator]
    if stored is None:
        return None
    try:
        found = json_coercer(field.type, field.name)(stored)
    except RequestError:
        return None  # older than the field's type
    value = values[item.value.index] if isinstance(item.value, Parameter) else None
    if item.operator is Operator.IN:
        assert isinstance(value, list | tuple), "bind gives a list"
        return True if found in value else None if None in value else False
    return None if value is None else (_EQUALITY | _ORDER)[item.operator](found, value)


def _document(text: str) -> Document:
    found = read_json(text)
    assert isinstance(found, dict), "a document is an object"
    return found
