"""The composition root: what lives in a worker made into one ASGI application.

`create_app` is the factory that Granian's workers call; `parts.py` puts together what lives as long as a worker.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path

from portico import __version__
from portico.api.batch import BatchCall, parse_query
from portico.api.clients import Clients
from portico.api.collections import Collections
from portico.api.control import Control, create_control
from portico.api.dispatch import Dispatcher, Handlers
from portico.api.history import Histories
from portico.api.middleware.correlation import current as correlation_id
from portico.api.middleware.faults import where
from portico.api.middleware.front import Front
from portico.api.middleware.loopback import LoopbackOnly
from portico.api.openapi import OpenApi
from portico.api.render import App, Receive, Scope, Send
from portico.api.rest import Rest
from portico.api.routes import ROUTERS
from portico.api.safe_writes import SafeWrites
from portico.api.search import SearchCall
from portico.api.transactions import TransactionCalls
from portico.errors import ConfigurationError, PorticoError
from portico.events import Emit
from portico.observe import fan_out
from portico.observe.lines import Lines
from portico.observe.logging import Log, LogOptions, capture_records
from portico.parts import Service, build
from portico.service.batch import Batches
from portico.service.bulk import BulkChanges
from portico.service.explain import Explanations
from portico.service.functions import Functions
from portico.service.history import History
from portico.service.imports import Imports
from portico.service.returning import Returning
from portico.service.returning_writes import ReturningWrites
from portico.service.search import Searches
from portico.service.upserts import Upserts
from portico.settings import Settings, load
from portico.wiring import named_functions

Refused = Callable[[PorticoError], None]


def assemble(service: Service) -> App:
    """The ASGI application around a service: the dispatcher first, and the control plane for the rest."""
    settings = service.settings
    upserts = Upserts(service.documents, service.writes)
    imports = Imports(service.writes, upserts)
    functions = Functions(named_functions(settings), service.engines, lambda: service.catalog.current, service.documents.plans)
    bulk = BulkChanges(service.documents, service.writes)
    explanations = Explanations(service.documents, emit=service.emit)
    returning = Returning(service.documents, service.writes)
    returning_writes = ReturningWrites(returning, service.writes, upserts, bulk)
    http = settings.http
    collections = Collections(
        service.documents, service.writes, upserts, bulk, imports, explanations, returning_writes, send_timeout=http.send_timeout_seconds
    )
    clients = Clients(collections, service.documents, service.writes, service.authenticator, make_clients=not settings.environment.strict)
    handlers = Handlers(
        collections=collections,
        histories=Histories(History(service.documents, service.writes), collections),
        feeds=service.feeds,
        clients=clients,
        rest=Rest(service.documents, service.writes, upserts, returning, functions, explanations, service.schemas, service.authenticator),
        batch=BatchCall(_batches(service, upserts, returning_writes), service.authenticator, most=settings.transactions.batch_operations),
        transactions=TransactionCalls(service.transactions, service.authenticator, service.cluster.carry),
        search=SearchCall(Searches(service.documents)),
        safe_writes=SafeWrites(service.units, life_seconds=settings.transactions.idempotency_hours * 3600),
        fallback=_control_plane(service),
    )
    app: App = Dispatcher(
        handlers,
        service.authenticator,
        max_body_bytes=http.max_body_bytes,
        max_header_bytes=http.max_header_bytes,
        emit=service.emit,
    )
    service.cluster.serve(app)
    if settings.anonymous_service is not None:
        app = LoopbackOnly(app)
    if http.cors_origins:
        from starlette.middleware.cors import CORSMiddleware  # noqa: PLC0415 - only where browsers may call

        app = CORSMiddleware(
            app, allow_origins=http.cors_origins, allow_methods=["*"], allow_headers=["*"], expose_headers=["*"], max_age=600
        )
    return app


def _control_plane(service: Service) -> App:
    http = service.settings.http
    control = create_control(_control(service), ROUTERS)
    return Front(control, emit=service.emit, max_body_bytes=http.max_body_bytes, max_header_bytes=http.max_header_bytes)


def _batches(service: Service, upserts: Upserts, returning_writes: ReturningWrites) -> Batches:
    limits = service.settings.transactions
    lives = {
        # Who holds SQLite's writer keeps all others from writing.
        name: limits.embedded_life_seconds if engine.kind == "sqlite" else limits.life_seconds
        for name, engine in service.engines.items()
    }
    most = service.settings.http.max_body_bytes
    return Batches(service.documents, service.writes, upserts, returning_writes, parse=parse_query, lives=lives, most_bytes=most)


def _control(service: Service) -> Control:
    settings = service.settings
    return Control(
        authenticator=service.authenticator,
        health=service.health,
        schemas=service.schemas,
        migrations=service.migrations,
        monitor=service.monitor,
        audit=service.audit,
        openapi=OpenApi(service.schemas, title=settings.service_name, version=__version__, required=settings.anonymous_service is None),
        service_name=settings.service_name,
        version=__version__,
        links=links(settings),
        docs=settings.http.docs,
    )


def links(settings: Settings) -> dict[str, str]:
    """The paths of the parts that are served, by name."""
    docs = {"docs": "/docs"} if settings.http.docs else {}
    return {"api": "/api/db", "openapi": "/openapi.json", **docs, "health": "/health"}


def create_app(
    settings: Settings | None = None,
    *,
    refused: Refused | None = None,
    run_directory: Path | None = None,
    ends: Callable[[Callable[[], None]], None] | None = None,
) -> App:
    """The application, as a worker serves it.

    Args:
        settings: in force; loaded from the environment and PORTICO_CONFIG where they are not given.
        refused: told of the error that keeps the service from starting.
        run_directory: a private folder that the workers of this node share.
        ends: handed what is to be called when the service is about to end, once it serves: it ends what would go on for ever.
    """
    loaded = settings if settings is not None else load(None, os.environ)
    lines, emit = _observed(loaded)
    app: App | None = None

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal app
        if scope["type"] == "lifespan":
            await _lifespan(lambda: build(loaded, emit, run_directory=run_directory), lines, refused, receive, send, started)
        elif app is not None:
            await app(scope, receive, send)

    def started(service: Service) -> None:
        nonlocal app
        app = assemble(service)
        if ends is not None:
            ends(service.feeds.end)

    return served


async def _lifespan(
    make: Callable[[], Service], lines: Lines, refused: Refused | None, receive: Receive, send: Send, started: Callable[[Service], None]
) -> None:
    """ASGI's lifespan: start, wait for the end, close."""
    await receive()
    service: Service | None = None
    try:
        service = make()
        await service.start()
    except Exception as error:  # noqa: BLE001 - whatever keeps it from starting is said, and then it ends
        reported = _reported(error)
        if refused is not None:
            refused(reported)
        if service is not None:
            await service.close()
        lines.close()
        await send({"type": "lifespan.startup.failed", "message": reported.message})
        return
    started(service)
    # What is made at the start stays: no collection needs to look at it again, and a worker's requests leave few cycles.
    gc.collect()
    gc.freeze()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await service.close()
    lines.close()
    await send({"type": "lifespan.shutdown.complete"})


def _reported(error: Exception) -> PorticoError:
    """Why the service does not start, without values: of what is not an error of ours, the class and the place."""
    if isinstance(error, PorticoError):
        return error
    return ConfigurationError(
        f"Portico could not start: {type(error).__name__} at {where(error)}.", hint="This is a fault of Portico's own."
    )


def _observed(settings: Settings) -> tuple[Lines, Emit]:
    observe = settings.observe
    colour = observe.log_format == "text" or (observe.log_format == "auto" and sys.stdout.isatty())
    lines = Lines(colour=colour, constant={"service_name": settings.service_name, "environment": settings.environment.value})
    log = Log(lines, LogOptions(observe.log_level, observe.slow_query_ms, correlation_id.get))
    capture_records(log)
    return lines, fan_out([log.subscriber()])


__all__ = ["Service", "assemble", "build", "create_app", "links"]
