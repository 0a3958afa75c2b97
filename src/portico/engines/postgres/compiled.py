"""A plan made ready for PostgreSQL: the texts of its statements, each written at its first use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from portico.engines.base import Call
from portico.engines.postgres.aggregation import aggregate
from portico.engines.postgres.bulk import BulkChanges
from portico.engines.postgres.changes import Changes
from portico.engines.postgres.creates import Creates, key_is_known
from portico.engines.postgres.grammar import PostgresGrammar
from portico.engines.postgres.reads import Reads, parameters_of
from portico.engines.postgres.statement import Statement
from portico.engines.postgres.upserts import Upserts
from portico.model.collection import Collection
from portico.model.field import FieldType
from portico.query.limits import MOST_CASCADED
from portico.query.scoped import (
    Aggregate,
    Change,
    Count,
    Create,
    Delete,
    EverythingRule,
    Export,
    GetByKey,
    ListPage,
    ScopedQuery,
    SharedRule,
)

_Manner = Literal["alone", "impatient", "together", "counted", "planned", "locking", "by_keys", "each"]


@dataclass(slots=True)
class PostgresPlan:
    """A compiled plan.

    Attributes:
        most_cascaded: documents that a delete's cascades may touch. joint: its calls may share a statement. writes: it changes something.
        together_inside: inside of one transaction, its calls may share a statement.
    """

    query: ScopedQuery
    grammar: PostgresGrammar
    secret: bytes
    most_cascaded: int = MOST_CASCADED
    joint: bool = False
    writes: bool = False
    together_inside: bool = False
    statements: dict[tuple[str, _Manner], Statement] = field(default_factory=dict)

    @property
    def collection(self) -> Collection:
        """The collection that it is about."""
        query = self.query
        return query.query.collection if isinstance(query, GetByKey | ListPage | Count | Export | Aggregate) else query.collection

    def alone(self, kind: str) -> Statement:
        """The statement of one call whose scope is of this kind."""
        return self._statement(kind, "alone")

    def impatient(self, kind: str) -> Statement:
        """The statement of one write by key that waits for no lock longer than a few milliseconds."""
        return self._statement(kind, "impatient")

    def locking(self, kind: str) -> Statement:
        """The statement that only locks what a change is about. The transaction around it sets the scope."""
        return self._statement(kind, "locking")

    def by_keys(self, kind: str) -> Statement:
        """The statement of several changes by key. The transaction around it sets the scope."""
        return self._statement(kind, "by_keys")

    def each(self, kind: str) -> Statement:
        """The statement of several reads by key that differ in their keys alone."""
        return self._statement(kind, "each")

    def together(self, kind: str) -> Statement:
        """The statement of several calls whose scopes are all of this kind."""
        return self._statement(kind, "together")

    def counted(self, kind: str) -> Statement:
        """The statement that counts what a read's filter matches."""
        return self._statement(kind, "counted")

    def planned(self, kind: str) -> Statement:
        """The rows that a read's filter matches, for the planner alone. The transaction around it sets the scope."""
        return self._statement(kind, "planned")

    @property
    def counting(self) -> Literal["exact", "planned", "estimated"]:
        """How a read counts what matches; `exact` also where it counts nothing, or in its own statement."""
        return (self.query.query.count if isinstance(self.query, ListPage | Count) else None) or "exact"

    def _statement(self, kind: str, manner: _Manner) -> Statement:
        found = self.statements.get((kind, manner))
        if found is None:
            found = self.statements[(kind, manner)] = self._lock(kind) if manner == "locking" else self._write(kind, manner)
        return found

    def _lock(self, kind: str) -> Statement:
        query = self.query
        if isinstance(query, Create):
            return Upserts(self.grammar, self.secret).locking(query, kind)
        assert isinstance(query, Change | Delete), "a read locks nothing"
        return Changes(self.grammar, self.secret).locking(query, kind)

    def _write(self, kind: str, manner: _Manner) -> Statement:  # noqa: PLR0911 - one for each kind of query
        query, many, impatient = self.query, manner == "together", manner != "alone"
        if isinstance(query, Change) and manner == "by_keys":
            return BulkChanges(self.grammar, self.secret).by_keys(query, kind)
        reads = Reads(self.grammar, self.secret)
        if isinstance(query, ListPage | Count) and manner in {"counted", "planned"}:
            counted = Count(query.query, query.rule, query.embedded)
            return reads.count(counted, kind) if manner == "counted" else reads.matching(counted, kind)
        match query:
            case GetByKey() if manner == "each":
                return reads.get_each(query, kind)
            case GetByKey():
                return reads.get_many(query, kind) if many else reads.get(query, kind)
            case ListPage():
                return reads.page_many(query, kind) if many else reads.page(query, kind)
            case Count():
                return reads.count(query, kind)
            case Export():
                return reads.export(query, kind)
            case Create() if query.on_conflict:
                return Upserts(self.grammar, self.secret).upsert(query, kind, impatient=impatient)
            case Aggregate():
                return aggregate(query, self.grammar, kind)
            case Create():
                return Creates(self.grammar, self.secret).create(query, kind, skip_conflicts=many, impatient=impatient)
            case Change() | Delete():
                changes = Changes(self.grammar, self.secret)
                return changes.by_key(query, kind, impatient=impatient) if query.key else changes.by_filter(query, kind)


def compile_plan(query: ScopedQuery, grammar: PostgresGrammar, secret: bytes, *, most_cascaded: int = MOST_CASCADED) -> PostgresPlan:
    """Make a scoped query ready. Its statements are written when they are first run."""
    plan = PostgresPlan(query, grammar, secret, most_cascaded)
    plan.writes = isinstance(query, Create | Change | Delete)
    single_values = all(not p.many and not (isinstance(p.type, FieldType) and p.type.array) for p in parameters_of(query))
    match query:
        case GetByKey():
            plan.joint = single_values and not query.embedded
        case ListPage():
            # Related documents are not compared with their caller's scope one by one: the settings hold that of one call alone.
            plan.joint = single_values and not query.embedded and query.query.count is None and bounded(query)
        case Create():
            plan.joint = not query.on_conflict and query.collection.insertable_jointly and key_is_known(query)
            plan.together_inside = query.collection.insertable_jointly and (query.counted or key_is_known(query))
        case _:
            plan.joint = False
    return plan


def bounded(plan: ListPage) -> bool:
    """Whether an index gives the page's rows in order, so that its cost is bounded by its limit.

    The index's leading fields are compared for equality (the tenant's field among them), and the sort keys follow.
    """
    query = plan.query
    fixed = _equal_fields(query.filter)
    tenant = getattr(plan.rule, "field", None)
    if not isinstance(plan.rule, EverythingRule | SharedRule) and tenant is None:
        return False
    if tenant is not None:
        fixed.add(tenant)
    own = [item.target for item in query.order if not item.target.within and not item.target.steps]
    order = [target.field.name for target in own if target.field is not None]
    if len(order) != len(query.order):
        return False
    wanted = [name for name in order if name not in fixed]
    keys = [query.collection.primary_key, *(tuple(item.name for item in index.fields) for index in query.collection.indexes)]
    return not wanted or any(_serves(key, fixed, wanted) for key in keys)


def _equal_fields(node: object) -> set[str]:
    children: Sequence[object] = getattr(node, "children", (node,))
    found: set[str] = set()
    for child in children:
        operator, target = getattr(child, "operator", None), getattr(child, "target", None)
        if operator == "eq" and target is not None and target.field is not None and not target.steps:
            found.add(target.field.name)
    return found


def _serves(key: tuple[str, ...], fixed: set[str], wanted: list[str]) -> bool:
    rest = list(key)
    while rest and rest[0] in fixed:
        rest.pop(0)
    return bool(rest) and rest[: len(wanted)] == wanted[: len(rest)]


def same_kind(calls: Sequence[Call]) -> bool:
    """Whether the calls may share a statement: scopes of one kind, each with one client at most."""
    kind = calls[0].scope.kind
    return all(call.scope.kind == kind and len(call.scope.clients) <= 1 and len(call.scope.users) <= 1 for call in calls)
