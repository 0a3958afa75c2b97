"""How PostgreSQL runs a read: EXPLAIN ANALYZE of the statement itself, of which names and numbers are kept and conditions are not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import asyncpg

from portico.engines.base import Call
from portico.engines.explaining import Explanation, Step
from portico.engines.postgres.compiled import PostgresPlan
from portico.engines.postgres.errors import LOST, reported
from portico.engines.postgres.estimates import set_scope
from portico.errors import StatementTimeout, WrongType

if TYPE_CHECKING:
    from portico.engines.postgres.pool import Connection

Node = Mapping[str, object]

_EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, VERBOSE, FORMAT JSON) "

_INDEX_ONLY = frozenset({"Bitmap Index Scan", "BitmapAnd", "BitmapOr"})
"""Nodes that find rows by an index's condition alone; the others are compared by the node above."""

_BY_INDEX = frozenset({"Index Scan", "Index Only Scan"})

_MAIN = frozenset({"Outer", "Inner", "Subquery", "Member"})
"""How a node's children stand to it that its own rows come from, and not values of its expressions."""

_ROOTS = """SELECT n.nspname AS schema, c.relname AS name, above.nspname AS root_schema, root.relname AS root
 FROM unnest($1::text[], $2::text[]) AS asked(schema, name)
 JOIN pg_namespace n ON n.nspname = asked.schema
 JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = asked.name AND c.relispartition
 JOIN pg_class root ON root.oid = pg_partition_root(c.oid)
 JOIN pg_namespace above ON above.oid = root.relnamespace"""


async def explain(connection: Connection, plan: PostgresPlan, call: Call, timeout: float) -> Explanation:
    """Run the statement of one call in a transaction that is read-only and rolled back, in the call's scope."""
    text = plan.alone(call.scope.kind)
    transaction = connection.transaction(readonly=True)
    await transaction.start()
    try:
        await set_scope(connection, call.scope)
        answer = await connection.fetchval(_EXPLAIN + text.text, *text.bind([call]), timeout=timeout)
        shown = cast("list[dict[str, object]]", json.loads(answer))[0]
        found = explained(shown)
        return replace(found, steps=await _whole_tables(connection, found.steps))
    except TimeoutError:
        raise StatementTimeout("The statement ran longer than allowed and was cancelled.") from None
    except LOST as error:
        if isinstance(error, ValueError):
            raise WrongType("A value is not of its field's type.") from error
        raise
    except asyncpg.PostgresError as error:
        raise reported(error, plan.collection) from error
    finally:
        if not connection.is_closed():
            await transaction.rollback()


def explained(shown: Mapping[str, object]) -> Explanation:
    """What EXPLAIN answered, without what may hold values."""
    root = cast("Node", shown["Plan"])
    documents = _documents(root)
    return Explanation(
        steps=tuple(_steps(root)),
        estimated_rows=_rows(documents, "Plan Rows"),
        actual_rows=_rows(documents, "Actual Rows"),
        planning_ms=_number(shown, "Planning Time"),
        execution_ms=_number(shown, "Execution Time"),
        blocks_hit=int(_number(root, "Shared Hit Blocks")),
        blocks_read=int(_number(root, "Shared Read Blocks")),
    )


def _steps(node: Node, depth: int = 0, above: Node | None = None) -> Iterator[Step]:
    kind = str(node["Node Type"])
    # The index of a bitmap is read by a node below the one that names the table.
    reading = above if kind in _INDEX_ONLY and above is not None else node
    yield Step(
        depth,
        kind,
        _text(reading, "Schema"),
        _text(reading, "Relation Name"),
        _text(node, "Index Name"),
        _rows(node, "Plan Rows"),
        _rows(node, "Actual Rows"),
        round(_number(node, "Actual Total Time") * _number(node, "Actual Loops"), 3),
        whole=kind == "Seq Scan" or (kind in _BY_INDEX and "Index Cond" not in node),
        unlimited=kind in _INDEX_ONLY,
    )
    for child in _children(node):
        yield from _steps(child, depth + 1, reading if "Relation Name" in reading else None)


def _documents(root: Node) -> Node:
    """The node whose rows are the documents: what the aggregate reads from that makes one text of them."""
    waiting = [root]
    while waiting:
        node = waiting.pop(0)
        inside = [child for child in _children(node) if child.get("Parent Relationship") in _MAIN]
        if node["Node Type"] == "Aggregate" and inside:
            return inside[0]
        waiting = [*inside, *waiting]
    return root


def _children(node: Node) -> Sequence[Node]:
    return cast("Sequence[Node]", node.get("Plans", ()))


def _rows(node: Node, name: str) -> int:
    """Rows of all its runs; the database says how many each had, on average."""
    loops = _number(node, "Actual Loops")
    return round(_number(node, name) * (loops if name == "Actual Rows" else max(loops, 1)))


def _number(node: Node, name: str) -> float:
    return cast("float", node.get(name, 0))


def _text(node: Node, name: str) -> str | None:
    return cast("str | None", node.get(name))


async def _whole_tables(connection: Connection, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps with the name of the table where they read a part of one."""
    names = sorted({(step.schema, step.table) for step in steps if step.schema is not None and step.table is not None})
    rows = await connection.fetch(_ROOTS, [schema for schema, _ in names], [table for _, table in names])
    roots = {(row["schema"], row["name"]): (row["root_schema"], row["root"]) for row in rows}
    found: list[Step] = []
    for step in steps:
        root = roots.get((step.schema, step.table))
        found.append(step if root is None else replace(step, schema=root[0], table=root[1]))
    return tuple(found)


__all__ = ["explain", "explained"]
