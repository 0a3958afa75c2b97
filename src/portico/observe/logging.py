"""The log: which events become which lines, with the fixed messages that people search for; and where libraries' own records go.

Values, SQL and secrets have no way in: a line is made from an event's plain fields.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from portico.events import (
    CallCarried,
    CatalogChanged,
    ConnectionFailed,
    Emit,
    EngineStarted,
    Event,
    InternalFault,
    PlanDisjoined,
    PlanMade,
    PoolExhaustedEvent,
    PoolWaited,
    QueryRan,
    RequestEnded,
    RequestStarted,
    TransactionEnded,
    TransactionFailed,
)
from portico.observe.lines import Lines

E = TypeVar("E")
LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
_PATTERN_CHARACTERS = 100
_LONG_WAIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class LogOptions:
    """How to log.

    Attributes:
        level: the least severe level, a key of `LEVELS`. slow_query_ms: queries slower than this are a warning.
        correlation_id: gives the id of the request that runs now, for events that name none; empty outside of one.
    """

    level: str
    slow_query_ms: float
    correlation_id: Callable[[], str]


class Log:
    """Writes events as lines; `subscriber` is its `Emit`."""

    def __init__(self, lines: Lines, options: LogOptions) -> None:
        self._lines = lines
        self._least = LEVELS[options.level]
        self._slow_seconds = options.slow_query_ms / 1000
        self._correlation_id = options.correlation_id
        self._handlers: dict[type, Callable[[Event], None]] = {}
        if self._least <= LEVELS["DEBUG"]:
            self._on(RequestStarted, self._request_started)
            self._on(PlanMade, self._plan_made)
        self._on(RequestEnded, self._request_ended)
        self._on(QueryRan, self._query_ran)
        self._on(EngineStarted, self._engine_started)
        self._on(ConnectionFailed, self._connection_failed)
        self._on(TransactionFailed, self._transaction_failed)
        self._on(TransactionEnded, self._transaction_ended)
        self._on(CallCarried, self._call_carried)
        self._on(PoolExhaustedEvent, self._pool_exhausted)
        self._on(PoolWaited, self._pool_waited)
        self._on(PlanDisjoined, self._plan_disjoined)
        self._on(CatalogChanged, self._catalog_changed)
        self._on(InternalFault, self._internal_fault)

    def subscriber(self) -> Emit:
        """What `fan_out` is given. Events that no line is made of cost a look-up."""
        handlers = self._handlers

        def write(event: Event) -> None:
            handler = handlers.get(type(event))
            if handler is not None:
                handler(event)

        return write

    def line(self, level: str, logger: str, event: str, **fields: object) -> None:
        """Write one line, if its level is severe enough."""
        if LEVELS[level] >= self._least:
            if "correlation_id" not in fields:
                fields["correlation_id"] = self._correlation_id()
            self._lines.write(level.lower(), logger, event, fields)

    def _on(self, kind: type[E], handler: Callable[[E], None]) -> None:
        self._handlers[kind] = handler  # type: ignore[assignment]  # looked up by the event's own class

    def _request_started(self, event: RequestStarted) -> None:
        self.line("DEBUG", "request", "Request started", method=event.method, correlation_id=event.correlation_id)

    def _request_ended(self, event: RequestEnded) -> None:
        level = "ERROR" if event.status >= 500 else "INFO"
        if LEVELS[level] < self._least:
            return
        self._lines.write(
            level.lower(), "request", "Request ended",
            {
                "method": event.method, "route": event.route, "status": event.status, "duration_ms": round(event.duration * 1000, 3),
                "service": event.service, "client_id": event.client_id, "error_type": event.error, "correlation_id": event.correlation_id,
            },
        )  # fmt: skip

    def _query_ran(self, event: QueryRan) -> None:
        if event.duration >= self._slow_seconds:
            self.line(
                "WARNING", "database", "Slow query",
                duration=round(event.duration, 6), query=event.pattern[:_PATTERN_CHARACTERS], operation=event.operation,
                collection=event.collection, database=event.database, rows=event.rows, service=event.service, error_type=event.error,
                correlation_id=event.correlation_id or self._correlation_id(),
            )  # fmt: skip

    def _engine_started(self, event: EngineStarted) -> None:
        self.line(
            "INFO", "database", "Database engine initialized",
            database=event.database, kind=event.kind, pool_size=event.pool_size, max_overflow=event.max_overflow,
            pool_timeout=event.pool_timeout, pool_recycle=event.pool_recycle,
        )  # fmt: skip

    def _connection_failed(self, event: ConnectionFailed) -> None:
        self.line("ERROR", "database", "Database connection failed", database=event.database, error_type=event.error_type)

    def _transaction_failed(self, event: TransactionFailed) -> None:
        self.line(
            "ERROR", "database", "Database transaction failed",
            database=event.database, error_type=event.error_type, error_message=event.error_message,
        )  # fmt: skip

    def _transaction_ended(self, event: TransactionEnded) -> None:
        level = "DEBUG" if event.state in {"committed", "rolled_back"} else "WARNING"
        self.line(
            level, "database", "Interactive transaction ended",
            database=event.database, service=event.service, state=event.state, reason=event.reason,
            duration=round(event.duration, 3), calls=event.calls,
        )  # fmt: skip

    def _call_carried(self, event: CallCarried) -> None:
        level = "DEBUG" if event.answered else "WARNING"
        self.line(level, "database", "Call carried", node=event.node, duration=round(event.duration, 4), answered=event.answered)

    def _pool_exhausted(self, event: PoolExhaustedEvent) -> None:
        self.line(
            "ERROR", "database", "Connection pool exhausted",
            database=event.database, error_type=event.error_type, pool_status=event.pool_status,
        )  # fmt: skip

    def _pool_waited(self, event: PoolWaited) -> None:
        level = "WARNING" if event.duration >= _LONG_WAIT_SECONDS else "DEBUG"
        self.line(level, "database", "Waited for a connection", database=event.database, duration=round(event.duration, 6))

    def _plan_made(self, event: PlanMade) -> None:
        self.line(
            "DEBUG", "database", "Plan made",
            collection=event.collection, operation=event.operation, duration=round(event.duration, 6),
        )  # fmt: skip

    def _plan_disjoined(self, event: PlanDisjoined) -> None:
        self.line(
            "WARNING", "database", "Calls go alone for a while",
            collection=event.collection, operation=event.operation, reason=event.reason,
        )  # fmt: skip

    def _catalog_changed(self, event: CatalogChanged) -> None:
        self.line("INFO", "catalog", "Catalog read", version=event.version, collections=event.collections)

    def _internal_fault(self, event: InternalFault) -> None:
        self.line(
            "ERROR", "portico", "Internal fault",
            error_type=event.error_type, where=event.where, correlation_id=event.correlation_id or self._correlation_id(),
        )  # fmt: skip


class Records(logging.Handler):
    """Takes what libraries log into the same lines.

    A record's text and traceback may hold values and SQL, so of an exception only its class is kept.
    """

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record as a line: where it came from, and the class of its exception."""
        level = "ERROR" if record.levelno >= logging.ERROR else "WARNING"
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] is not None else None
        self._log.line(level, record.name, "A library logged", where=f"{record.module}:{record.lineno}", error_type=kind)


def capture_records(log: Log) -> None:
    """Send every library's warnings and errors to `log`, and nowhere else."""
    root = logging.getLogger()
    root.handlers[:] = [Records(log)]
    root.setLevel(logging.WARNING)
    for name in list(root.manager.loggerDict):
        # The server's own handler, for one, would print tracebacks.
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
