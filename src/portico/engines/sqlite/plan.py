"""A compiled plan: its statements for each kind of scope, written at the first call that needs them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from portico.engines.sqlite.aggregation import compile_aggregate
from portico.engines.sqlite.reads import ReadStatements, compile_count, compile_export, compile_get, compile_list
from portico.engines.sqlite.writes import (
    CascadeStatements,
    Frame,
    WriteStatements,
    compile_cascade,
    compile_change,
    compile_create,
    compile_delete,
)
from portico.errors import NotSupported
from portico.model.collection import Collection
from portico.model.scope import Scope
from portico.query.capabilities import Capability
from portico.query.limits import MOST_CASCADED
from portico.query.scoped import (
    Aggregate,
    Cascade,
    Change,
    Count,
    Create,
    Delete,
    EverythingRule,
    Export,
    GetByKey,
    ListPage,
    ScopedQuery,
    ScopeRule,
    SharedRule,
)

ScopeShape = tuple[bool, bool, bool]
"""What of a scope changes a statement's text: everything, exactly one client, any users."""

_ANY = Scope(clients=("",))
_UNSCOPED: ScopeShape = (True, False, False)


def shape_of(scope: Scope) -> ScopeShape:
    """The shape of a scope."""
    return (scope.everything, len(scope.clients) == 1, bool(scope.users))


@dataclass(slots=True)
class SqlitePlan:
    """A plan that is ready to run. `slow_until` is the loop's time until which it runs in a thread, because it was slow on the loop."""

    query: ScopedQuery
    collection: Collection
    has_triggers: Callable[[str], bool]
    joint: bool = False
    writes: bool = False
    scoped: bool = True
    slow_until: float = 0.0
    most_cascaded: int = MOST_CASCADED
    reads: dict[tuple[ScopeShape, bool], ReadStatements] = field(default_factory=dict)
    changes: dict[tuple[ScopeShape, bool], WriteStatements] = field(default_factory=dict)
    cascades: dict[tuple[int, bool], CascadeStatements] = field(default_factory=dict)
    below: dict[str, tuple[Cascade, ...]] = field(default_factory=dict)

    def read(self, scope: Scope, *, safe: bool = False) -> ReadStatements:
        """The statements of a read."""
        key = (shape_of(scope) if self.scoped else _UNSCOPED, safe)
        found = self.reads.get(key)
        if found is None:
            found = self.reads[key] = self._compile_read(scope, safe=safe)
        return found

    def _compile_read(self, scope: Scope, *, safe: bool) -> ReadStatements:
        match self.query:
            case GetByKey():
                return compile_get(self.query, scope, safe=safe)
            case ListPage():
                return compile_list(self.query, scope, safe=safe)
            case Count():
                return compile_count(self.query, scope)
            case Export():
                return compile_export(self.query, scope, safe=safe)
            case Aggregate():
                return compile_aggregate(self.query, scope, safe=safe)
            case _:
                raise AssertionError("a write is not a read")

    def change(self, scope: Scope, *, safe: bool = False) -> WriteStatements:
        """The statements of a write."""
        key = (shape_of(scope) if self.scoped else _UNSCOPED, safe)
        found = self.changes.get(key)
        if found is None:
            found = self.changes[key] = self._compile_change(Frame(scope, safe))
        return found

    def _compile_change(self, frame: Frame) -> WriteStatements:
        match self.query:
            case Create():
                return compile_create(self.query, frame, triggers=self.has_triggers(self.collection.table))
            case Change():
                return compile_change(self.query, frame, triggers=self.has_triggers(self.collection.table))
            case Delete():
                return compile_delete(self.query, frame)
            case _:
                raise AssertionError("a read is not a write")

    def cascade(self, cascade: Cascade, parent: Collection, *, safe: bool) -> CascadeStatements:
        """The statements of one of the delete's cascades."""
        found = self.cascades.get((id(cascade), safe))
        if found is None:
            found = self.cascades[id(cascade), safe] = compile_cascade(cascade, parent, safe=safe)
        return found

    @property
    def heavy(self) -> bool:
        """Whether it may touch more than one document, and so must not hold up the loop."""
        match self.query:
            case Change():
                return not self.query.key
            case Delete():
                return not self.query.key or bool(self.query.cascades)
            case _:
                return False


def compile_plan(
    query: ScopedQuery,
    capabilities: frozenset[Capability],
    has_triggers: Callable[[str], bool],
    *,
    most_cascaded: int = MOST_CASCADED,
) -> SqlitePlan:
    """Make a scoped query ready; what SQLite cannot do is refused here.

    Raises:
        NotSupported: an operator, a count, or companion rows whose table is not there.
    """
    if isinstance(query, GetByKey | ListPage | Count | Export):
        plan = SqlitePlan(query, query.query.collection, has_triggers, scoped=_depends_on_scope(query.rule, *query.embedded.values()))
        if isinstance(query, ListPage) and query.query.count == "planned":
            raise NotSupported(Capability.PLANNED_COUNT, "sqlite")
        plan.read(_ANY)
        return plan
    if isinstance(query, Aggregate):
        rules = (query.rule, *(item.rule for item in query.lookups), *query.embedded.values())
        scoped = _depends_on_scope(*rules)
        # It may look at every document, so it never runs on the loop.
        plan = SqlitePlan(query, query.query.collection, has_triggers, scoped=scoped, slow_until=math.inf)
        plan.read(_ANY)
        return plan
    if query.audit and Capability.AUDIT not in capabilities:
        raise NotSupported(Capability.AUDIT, "sqlite", hint="Run portico init-db.")
    if query.versioned and Capability.VERSIONS not in capabilities:
        raise NotSupported(Capability.VERSIONS, "sqlite", hint="Run portico init-db.")
    scoped = _depends_on_scope(query.rule)
    plan = SqlitePlan(query, query.collection, has_triggers, writes=True, scoped=scoped)
    if isinstance(query, Delete):
        plan.most_cascaded = most_cascaded
        plan.below = {query.collection.name: query.cascades, **_below(query.cascades)}
    plan.change(_ANY)
    return plan


def _depends_on_scope(*rules: ScopeRule) -> bool:
    """Whether the statements look at the scope; what everybody sees may include what not everybody does."""
    return not all(isinstance(rule, SharedRule | EverythingRule) for rule in rules)


def _below(cascades: tuple[Cascade, ...]) -> dict[str, tuple[Cascade, ...]]:
    """What goes with the documents of each collection that the cascades reach. A tree of cascades ends where a cycle begins again."""
    found: dict[str, tuple[Cascade, ...]] = {}
    for cascade in cascades:
        for name, deeper in _below(cascade.cascades).items():
            found.setdefault(name, deeper)
        if cascade.cascades:
            found[cascade.child.name] = cascade.cascades
    return found
