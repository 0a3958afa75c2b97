"""Typed events: one for each thing that happened, with plain values. `observe/` decides what becomes of them.

The two that every call makes are not frozen, which would treble the time that takes; nobody changes one.
`emit` is handed to who needs it; it must never fail or block. Values of documents and SQL are never in an event.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class QueryRan:
    """A call was answered by an engine. `pattern` is the plan's shape without values; `duration` in seconds; `rows` touched."""

    service: str
    database: str
    collection: str
    operation: str
    pattern: str
    duration: float
    rows: int
    error: str | None = None
    joint: int = 1
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class RequestStarted:
    """A request came in."""

    method: str
    route: str
    correlation_id: str


@dataclass(slots=True)
class RequestEnded:
    """A request was answered. `duration` in seconds."""

    method: str
    route: str
    status: int
    duration: float
    correlation_id: str
    service: str | None = None
    client_id: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class EngineStarted:
    """A database's engine is ready, with its pool's settings (connections and seconds)."""

    database: str
    kind: str
    pool_size: int
    max_overflow: int
    pool_timeout: float
    pool_recycle: float


@dataclass(frozen=True, slots=True)
class ConnectionFailed:
    """A database could not be reached."""

    database: str
    error_type: str


@dataclass(frozen=True, slots=True)
class TransactionFailed:
    """A write was rolled back. `error_message` holds no values."""

    database: str
    error_type: str
    error_message: str


@dataclass(frozen=True, slots=True)
class TransactionBegan:
    """A service opened an interactive transaction."""

    database: str
    service: str
    correlation_id: str


@dataclass(frozen=True, slots=True)
class TransactionEnded:
    """An interactive transaction ended: `state` as its callers see it, and why. `duration` in seconds from its begin."""

    database: str
    service: str
    state: str
    reason: str
    duration: float
    calls: int


@dataclass(frozen=True, slots=True)
class CallCarried:
    """A call was carried to the worker that holds its transaction, `duration` in seconds; not `answered`, where that is gone."""

    node: str
    duration: float
    answered: bool


@dataclass(frozen=True, slots=True)
class PoolWaited:
    """A call waited for a connection, in seconds."""

    database: str
    duration: float


@dataclass(frozen=True, slots=True)
class PoolExhaustedEvent:
    """No connection became free in time."""

    database: str
    error_type: str
    pool_status: str


@dataclass(frozen=True, slots=True)
class PlanMade:
    """A plan was compiled: a cold call. `duration` in seconds."""

    collection: str
    operation: str
    duration: float


@dataclass(frozen=True, slots=True)
class PlanDisjoined:
    """A plan's joint statements turned out slow (or often failed): its calls go alone for a while."""

    collection: str
    operation: str
    reason: str


@dataclass(frozen=True, slots=True)
class CatalogChanged:
    """The catalog was read anew; `version` is the new one."""

    version: int
    collections: int


@dataclass(frozen=True, slots=True)
class InternalFault:
    """A fault of Portico's own: `error_type` is the exception's class, `where` the place in the code that raised it."""

    error_type: str
    where: str
    correlation_id: str


Event = (
    QueryRan
    | RequestStarted
    | RequestEnded
    | EngineStarted
    | ConnectionFailed
    | TransactionFailed
    | TransactionBegan
    | TransactionEnded
    | CallCarried
    | PoolWaited
    | PoolExhaustedEvent
    | PlanMade
    | PlanDisjoined
    | CatalogChanged
    | InternalFault
)
Emit = Callable[[Event], None]


def discard(event: Event) -> None:
    """An `Emit` that keeps nothing, for tools that nobody observes."""
