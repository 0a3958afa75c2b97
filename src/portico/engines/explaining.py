"""The contract of an engine that shows how a read runs: which tables and indexes it goes through, how many rows and how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from portico.engines.base import Call, Compiled


@dataclass(frozen=True, slots=True)
class Step:
    """One node of a plan, without its conditions: those hold values.

    Attributes:
        depth: 0 for what the statement ends with; what a node reads from comes after it, one deeper.
        kind: what it does, in the database's words. schema, table: what it reads, if a table. index: by which index, if any.
        estimated_rows, actual_rows: in all its runs; None where the database does not say. milliseconds: with what it reads from.
        whole: nothing narrows down which rows of its table it reads, though an index may order them.
        unlimited: the rows that it counts were not yet compared with every condition.
    """

    depth: int
    kind: str
    schema: str | None = None
    table: str | None = None
    index: str | None = None
    estimated_rows: int | None = None
    actual_rows: int | None = None
    milliseconds: float | None = None
    whole: bool = False
    unlimited: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a read ran.

    Attributes:
        steps: the nodes, each before those that it reads from.
        estimated_rows, actual_rows: documents or groups, of which there may be one more than the page has.
        blocks_hit, blocks_read: pages of the database that were in its memory, and those that were not; None where it does not say.
    """

    steps: tuple[Step, ...]
    estimated_rows: int | None
    actual_rows: int
    planning_ms: float
    execution_ms: float
    blocks_hit: int | None = None
    blocks_read: int | None = None


@runtime_checkable
class Explaining(Protocol):
    """An engine that shows how a read runs, by running it."""

    async def explain(self, plan: Compiled, call: Call, *, timeout: float | None = None) -> Explanation:
        """Run a page or an aggregation in the call's scope, changing nothing, and say how.

        Args:
            timeout: seconds for the statement, None for the default.
        Raises:
            PorticoError: as of `Engine.run`.
        """
        ...


__all__ = ["Explaining", "Explanation", "Step"]
