"""The contract of an engine: compile a scoped query once, then run it for a list of calls.

An engine accepts `ScopedQuery` and nothing else. Driver errors are translated into Portico's own at its boundary.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol, runtime_checkable
from uuid import UUID

from portico.errors import PorticoError
from portico.model.collection import Collection
from portico.model.idempotency import Answered, Kept, RequestKey
from portico.model.identity import Actor
from portico.model.page import Changed, Document, Page
from portico.model.scope import Scope
from portico.query.capabilities import Capability
from portico.query.scoped import Runnable, ScopedQuery, Search


@dataclass(slots=True)
class Call:
    """One caller's run of a plan: its bound values in parameter order, whose documents, and who asks. Nobody changes one."""

    values: tuple[object, ...]
    scope: Scope
    actor: Actor


Answer = Document | Page | Changed | None
"""What one call gets: None is "not found". `Count` answers a `Changed` with the count."""


class Apart(Enum):
    """Instead of an outcome: the call must be run by itself, since one of its statement was refused, or a lock stood in its way."""

    APART = "apart"


APART = Apart.APART
Outcome = Document | Page | Changed | PorticoError | Apart | None
"""An answer, or the error of this call alone; of several calls in one statement also `APART`."""

Isolation = Literal["read_committed", "repeatable_read", "serializable"]


class Compiled(Protocol):
    """A scoped query made ready to run, possibly for many calls at once. Engines add their own members."""

    @property
    def query(self) -> Runnable:
        """What was compiled."""
        ...

    @property
    def joint(self) -> bool:
        """Whether calls of this plan may share a statement (bounded cost, nothing that waits for locks of others)."""
        ...

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        ...


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """Connections of one pool: `size` open in all, `checked_in` idle, `checked_out` in use, `overflow` beyond the minimum.

    `invalid` are being replaced; `waits` counts the callers that wait now.
    """

    size: int
    checked_in: int
    checked_out: int
    overflow: int
    invalid: int
    waits: int


@dataclass(frozen=True, slots=True)
class Health:
    """What a health check found: `latency_ms` of one round trip; `error` is a stable code or None."""

    healthy: bool
    latency_ms: float
    pool: PoolStatus
    error: str | None = None


@dataclass(frozen=True, slots=True)
class TableSize:
    """How large a table is, as far as the database knows without reading it; None is unknown."""

    schema: str | None
    table: str
    rows: int | None
    bytes: int | None
    dead_rows: int | None = None


@runtime_checkable
class Measuring(Protocol):
    """An engine that knows how large its tables are."""

    async def measure(self) -> Sequence[TableSize]:
        """The sizes of the tables that are served. Raises PorticoError where the database is away."""
        ...


@dataclass(frozen=True, slots=True)
class Hit:
    """A document that a search found: its collection, its key as its address writes it, and how well it matches (more is better)."""

    collection: str
    key: str
    score: float


HIT_BEGIN, HIT_END = "\x02", "\x03"
"""What stands around the words that were found, in the excerpts of a search."""


@runtime_checkable
class Searching(Protocol):
    """An engine that searches, where `init-db` made what it needs."""

    async def search(self, query: Search, scope: Scope, limit: int, *, timeout: float | None = None) -> Sequence[Hit]:
        """What matches in the scope, the best first. Raises PorticoError; NotSupported for `fuzzy` where the database cannot."""
        ...

    async def excerpts(self, query: Search, hits: Sequence[Hit], *, timeout: float | None = None) -> Sequence[str]:
        """For each hit, plain text around what was found, which stands between `HIT_BEGIN` and `HIT_END`."""
        ...


class Transaction(Protocol):
    """An open transaction on one connection. Calls run one at a time, in the order they come."""

    async def run(self, plan: Compiled, call: Call, *, timeout: float | None = None) -> Answer:
        """Run one call inside; raises PorticoError. `timeout` is in seconds."""
        ...

    async def run_all(self, plan: Compiled, calls: Sequence[Call], *, timeout: float | None = None) -> Sequence[Answer]:
        """Run the calls of one create plan, of one change by key, or of one read by key, in order, by as few statements as the engine can.

        Those of a read differ in their keys alone.
        Raises the first error; its ``details["index"]`` is the place of the call that it is of, where the engine can tell.
        """
        ...

    def stream(self, plan: Compiled, call: Call) -> AsyncIterator[bytes]:
        """Run an `Export` inside: chunks of NDJSON, as `Engine.stream` gives them."""
        ...

    async def savepoint(self, name: str) -> None:
        """Set a savepoint."""
        ...

    async def rollback_to(self, name: str) -> None:
        """Undo what came after the savepoint."""
        ...

    async def release(self, name: str) -> None:
        """Forget the savepoint, and keep what came after it."""
        ...

    async def commit(self) -> None:
        """Make it durable. Raises OutcomeUnknown where the connection was lost after COMMIT was sent."""
        ...

    async def rollback(self) -> None:
        """Undo everything and give the connection back."""
        ...


@runtime_checkable
class Keyed(Protocol):
    """A transaction that can hold an idempotency key. An engine with the capability `idempotency` begins such ones."""

    async def claim(self, key: RequestKey, scope: Scope) -> Kept | None:
        """Take the key until the transaction ends, and give what is stored under it; comes before the first call, whose scope it gets.

        Raises:
            RequestInFlight: another transaction has it.
        """
        ...

    async def keep(self, key: RequestKey, answer: Answered) -> None:
        """Store an answer under the key that was claimed. Raises StaleSnapshot where another transaction has done so since."""
        ...


@runtime_checkable
class Forgetting(Protocol):
    """An engine that can forget the answers of keyed writes."""

    async def forget_keys(self, older_than: float, most: int) -> int:
        """Remove at most `most` answers older than these seconds; how many. None where another node is about it."""
        ...


class InteractiveTransaction(Transaction, Protocol):
    """A transaction that its caller holds open over many calls: what a call wrote is undone when it fails, and the rest stays."""

    @property
    def exclusive(self) -> bool:
        """Whether it keeps all others from writing, as the writer of an SQLite file does."""
        ...

    @property
    def excludes(self) -> bool:
        """Whether its first write makes it `exclusive`."""
        ...

    @property
    def failure(self) -> str | None:
        """Why it cannot go on, as a stable word; None where it can."""
        ...

    def begin_call(self) -> None:
        """What runs from here on belongs to one call."""
        ...

    async def undo_call(self) -> None:
        """Undo what was done since `begin_call`."""
        ...


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """An interactive transaction as the ledger names it: its id, the service that began it, and who holds it."""

    id: UUID
    service: str
    holder: str


@dataclass(frozen=True, slots=True)
class LedgerState:
    """What the ledger says of a transaction: ``started``, ``committed``, ``rolled_back``, ``failed`` or ``expired``, and why."""

    state: str
    reason: str | None = None


@runtime_checkable
class Interactive(Protocol):
    """An engine whose transactions can be held open over many calls, with a ledger that says how they ended."""

    async def begin_interactive(
        self, entry: LedgerEntry, isolation: Isolation, *, read_only: bool, life: float, until: float
    ) -> InteractiveTransaction:
        """Open a transaction and record it.

        Args:
            life: seconds after which no statement of it is to come; a server that can ends it by itself then.
            until: the event loop's time until which connections are waited for.
        Raises:
            PoolExhausted, DatabaseUnavailable.
        """
        ...

    async def recorded(self, id: UUID) -> LedgerState | None:  # noqa: A002 - what it is called everywhere
        """What the ledger says, after a commit whose answer was lost too; None where it holds nothing of the transaction."""
        ...

    async def record_end(self, entry: LedgerEntry, state: str, reason: str) -> None:
        """Record how a transaction ended. Where the ledger knows of a transaction by its end alone, the first word on it stays."""
        ...

    async def forget_ended(self, seconds: float) -> None:
        """Remove what is recorded of transactions that began longer ago."""
        ...


class Engine(Protocol):
    """One database: its connections, its dialect, its capabilities."""

    @property
    def name(self) -> str:
        """The configured database's name."""
        ...

    @property
    def kind(self) -> str:
        """`sqlite`, `postgresql` or `mongodb`, for messages."""
        ...

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do, known after `start`."""
        ...

    async def start(self) -> None:
        """Open what is needed to answer. Raises DatabaseUnavailable, ConfigurationError."""
        ...

    async def close(self) -> None:
        """Finish what runs and close every connection."""
        ...

    def compile(self, query: ScopedQuery) -> Compiled:
        """Make a scoped query ready to run. Raises NotSupported with the capability that it would need."""
        ...

    async def run(
        self, plan: Compiled, calls: Sequence[Call], *, timeout: float | None = None, gathered: bool = False
    ) -> Sequence[Outcome]:
        """Run one plan for one or more calls, in one statement where the plan is joint, each write committed on return.

        Args:
            plan: what `compile` gave. calls: at most 256. timeout: seconds for the statement, None for the default.
            gathered: they come from where calls gather, so that even one alone may use the connections that joint statements own.
        Returns:
            one outcome for each call, in order: an answer, that call's own error, or (never of a single call) `APART`.
        Raises:
            PorticoError: the statement as a whole failed (connection, timeout); of a single call also its own error.
        """
        ...

    def stream(self, plan: Compiled, call: Call) -> AsyncIterator[bytes]:
        """Run an `Export`: chunks of NDJSON, each a number of whole lines, in bounded memory. Raises StatementTimeout after ten minutes."""
        ...

    async def begin(self, isolation: Isolation = "read_committed", *, read_only: bool = False, unit: bool = False) -> Transaction:
        """Open a transaction.

        Args:
            unit: it is one request's and ends with it, so it does not count among those that callers hold open; where it is not
                read-only, the engine may take at its first call what writing needs.
        Raises:
            PoolExhausted, DatabaseUnavailable.
        """
        ...

    def companion(self, companion: Collection) -> Collection:
        """A companion table as this database stores it, to be read like a collection."""
        ...

    async def reflect(self) -> tuple[Collection, ...]:
        """Every table and view of the schemas that are served, as discovered collections (undeclared security)."""
        ...

    async def fingerprint(self) -> str:
        """A short text that changes when the schema does; cheap enough for once a second."""
        ...

    async def health(self) -> Health:
        """One round trip, bounded to a few seconds; never raises."""
        ...

    def pool_status(self) -> PoolStatus:
        """The pool now."""
        ...


__all__ = [
    "APART",
    "HIT_BEGIN",
    "HIT_END",
    "Answer",
    "Apart",
    "Call",
    "Compiled",
    "Engine",
    "Forgetting",
    "Health",
    "Hit",
    "Interactive",
    "InteractiveTransaction",
    "Isolation",
    "Keyed",
    "LedgerEntry",
    "LedgerState",
    "Measuring",
    "Outcome",
    "PoolStatus",
    "Searching",
    "TableSize",
    "Transaction",
]
