"""Shows how a read runs: its plan as the database made it, cut down to what its caller may know.

A plan counts rows before it has compared them with everything, so that a number in it could tell of documents that the caller does not see.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import cast

from portico.engines.base import Call
from portico.engines.explaining import Explaining, Explanation, Step
from portico.errors import InvalidParameter, NotSupported, PorticoError, SchemaChanged
from portico.events import Emit, QueryRan
from portico.model.collection import Collection
from portico.model.identity import Permission
from portico.query.capabilities import Capability
from portico.query.scoped import Aggregate, ListPage, OwnerRule, ParentRule, ScopeRule
from portico.service.authorize import effective
from portico.service.caller import Asked, Caller
from portico.service.documents import MOST_RELOADS, Documents
from portico.service.plans import Plan

Table = tuple[str | None, str | None]


class Explanations:
    """Explains reads.

    Args:
        documents: makes their plans. emit: told of every one that was run.
    """

    def __init__(self, documents: Documents, *, emit: Emit) -> None:
        self._documents = documents
        self._plans = documents.plans
        self._emit = emit

    async def explain(self, caller: Caller, name: str, asked: Asked) -> dict[str, object]:
        """Run a page, or a grouped select, and say how the database did it, as the members of a JSON object.

        Raises:
            Forbidden: the caller lacks `admin` on the collection, or may not read it. NotSupported: the engine shows no plans.
            InvalidParameter: the call runs inside of a transaction.
        """
        for again in range(MOST_RELOADS, -1, -1):
            seen = self._plans.version
            collection = self._plans.collection(name)
            self._plans.context(caller, collection, Permission.ADMIN)
            if caller.transaction is not None:
                raise InvalidParameter("A plan is not shown inside of a transaction.", hint="Ask for it outside.")
            plan, values = self._documents.page_plan(caller, name, asked)
            try:
                found = await self._run(caller, plan, values)
            except SchemaChanged as error:
                if not again:
                    raise (error.otherwise or error) from error.__cause__
                await self._documents.look_again(error, collection, seen)
            else:
                return self._shown(caller, plan, found, cast("int", values[plan.limit_index]))
        raise AssertionError("the last round returns or raises")

    async def _run(self, caller: Caller, plan: Plan, values: tuple[object, ...]) -> Explanation:
        lane, actor = plan.lane, caller.actor
        engine: object = lane.engine
        if not isinstance(engine, Explaining):
            raise NotSupported(Capability.EXPLAIN, lane.engine.kind)
        started = time.perf_counter()
        rows, code = 0, cast("str | None", "cancelled")
        try:
            found = await engine.explain(lane.plan, Call(values, caller.scope, actor), timeout=lane.timeout)
            rows, code = found.actual_rows, None
            return found
        except PorticoError as error:
            code = error.code
            raise
        finally:
            duration = time.perf_counter() - started
            self._emit(
                QueryRan(
                    actor.service, lane.engine.name, lane.collection, "explain", plan.pattern, duration, rows, code,
                    correlation_id=actor.correlation_id,
                )
            )  # fmt: skip

    def _shown(self, caller: Caller, plan: Plan, found: Explanation, limit: int) -> dict[str, object]:
        sees_all = caller.scope.everything and not any(rule.row_filter for rule in caller.identity.rules)
        known = None if sees_all else _limited_where_read(plan)
        names = self._names(caller, plan.collection)
        steps = [(step, names.get(_table(step))) for step in found.steps]
        indexes = dict.fromkeys(step.index for step, name in steps if name is not None and step.index is not None)
        whole = dict.fromkeys(name for step, name in steps if name is not None and step.whole)
        counted = counted_steps(found.steps, known)
        return {
            "engine": plan.lane.engine.kind,
            "collection": plan.collection.name,
            "operation": plan.lane.operation,
            "plan": [_node(step, name, numbers=number) for (step, name), number in zip(steps, counted, strict=True)],
            "estimated_rows": None if found.estimated_rows is None else min(found.estimated_rows, limit),
            "actual_rows": min(found.actual_rows, limit),
            "planning_ms": round(found.planning_ms, 3),
            "execution_ms": round(found.execution_ms, 3),
            "blocks": {"hit": found.blocks_hit, "read": found.blocks_read} if sees_all and found.blocks_hit is not None else None,
            "index_used": bool(indexes),
            "indexes": list(indexes),
            "scans": list(whole),
        }

    def _names(self, caller: Caller, collection: Collection) -> dict[Table, str]:
        """The collections that the caller may know of, by their tables."""
        return {
            (item.schema, item.table): item.name
            for item in self._plans.collections()
            if item.database == collection.database and effective(caller.identity, item).visible
        }


def _table(step: Step) -> Table:
    return step.schema, step.table


def _limited_where_read(plan: Plan) -> frozenset[Table]:
    """The tables whose rows are compared with the scope and the filters where they are read, and not by joining others."""
    query = plan.lane.plan.query
    assert isinstance(query, ListPage | Aggregate), "pages and groups are explained"
    rules: list[tuple[Collection, ScopeRule]] = [(query.query.collection, query.rule)]
    rules += query.embedded.items()
    if any(collection.kind == "view" for collection, _ in rules):
        # What a view reads is not limited by what the view's rows are limited by.
        return frozenset()
    return frozenset((item.schema, item.table) for item, rule in rules if not isinstance(rule, OwnerRule | ParentRule))


def counted_steps(steps: tuple[Step, ...], known: frozenset[Table] | None) -> Iterator[bool]:
    """For each step, whether its rows are of documents that the caller sees: so are all that it reads from. `known` None: it sees all."""
    for place, step in enumerate(steps):
        if known is None:
            yield True
            continue
        below = [step]
        for other in steps[place + 1 :]:
            if other.depth <= step.depth:
                break
            below.append(other)
        # What a bitmap finds is compared by the node above it, which names the same table.
        yield not step.unlimited and all(item.unlimited or item.table is None or _table(item) in known for item in below)


def _node(step: Step, name: str | None, *, numbers: bool) -> dict[str, object]:
    return {
        "node_type": step.kind,
        "depth": step.depth,
        "relation": name,
        "index": step.index if name is not None else None,
        "estimated_rows": step.estimated_rows if numbers else None,
        "actual_rows": step.actual_rows if numbers else None,
        "time_ms": step.milliseconds,
    }


__all__ = ["Explanations", "counted_steps"]
