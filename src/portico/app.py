"""The composition root: settings made into engines, store, services and one ASGI application.

`create_app` is the factory that Granian's workers call. Nothing else puts the parts together.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from portico import __version__
from portico.api.batch import BatchCall, parse_query
from portico.api.changes import ChangeFeeds
from portico.api.clients import Clients
from portico.api.collections import Collections
from portico.api.control import Control, create_control
from portico.api.dispatch import Dispatcher
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
from portico.catalog.catalog import LiveCatalog, Served
from portico.catalog.watch import watch
from portico.cluster.node import Cluster
from portico.engines.base import Engine
from portico.errors import ConfigurationError, DatabaseUnavailable, PorticoError
from portico.events import Emit, InternalFault
from portico.migrating import LazyMigrators
from portico.model.positions import CHAIN_PURPOSE, Chain
from portico.observe import fan_out
from portico.observe.lines import Lines
from portico.observe.logging import Log, LogOptions, capture_records
from portico.query.json_text import read_json
from portico.query.limits import Limits
from portico.service.audit import AuditTrail
from portico.service.authenticate import Authenticator, TokenVerifier
from portico.service.batch import Batches
from portico.service.bulk import BulkChanges
from portico.service.changes import Changes
from portico.service.coalesce import Coalescer
from portico.service.documents import Documents
from portico.service.functions import Functions
from portico.service.health import HealthChecks
from portico.service.history import History
from portico.service.idempotency import forget_expired
from portico.service.imports import Imports
from portico.service.migrations import Migrations
from portico.service.monitor import Monitor
from portico.service.passwords import Passwords
from portico.service.plans import Plans
from portico.service.schemas import Schemas
from portico.service.search import Searches
from portico.service.sequencer import Sequencer
from portico.service.transactions.held import Limits as TransactionLimits
from portico.service.transactions.ids import Holder
from portico.service.transactions.registry import Transactions
from portico.service.units import Units
from portico.service.upserts import Upserts
from portico.service.writes import Writes
from portico.settings import Settings, load
from portico.store.connect import open_reader
from portico.store.readers import KeyReader
from portico.syntax import mongo
from portico.wiring import declared_collections, main_database, named_functions, open_engine

RETRY_SECONDS = 1.0
"""How often a database that was away at the start is tried again."""

Refused = Callable[[PorticoError], None]


@dataclass(slots=True)
class Service:
    """Everything that lives as long as a worker, put together."""

    settings: Settings
    engines: dict[str, Engine]
    catalog: LiveCatalog
    documents: Documents
    writes: Writes
    authenticator: Authenticator
    health: HealthChecks
    monitor: Monitor
    schemas: Schemas
    migrations: Migrations
    audit: AuditTrail
    changes: Changes
    feeds: ChangeFeeds
    sequencers: tuple[Sequencer, ...]
    units: Units
    transactions: Transactions
    cluster: Cluster
    emit: Emit
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def start(self) -> None:
        """Open the databases, read the collections, and watch them.

        A database that is away is tried again in the background, so that probes can say so.

        Raises:
            ConfigurationError: the settings, the declarations or the role are not fit to serve.
        """
        away = [engine for engine in self.engines.values() if not await self._open(engine)]
        if away:
            await self.catalog.reload(seen=self.catalog.current.version)
        else:
            await self.catalog.load()
        for name in self.engines.keys() - {engine.name for engine in away}:
            self.health.mark_read(name)
        self.tasks += [asyncio.create_task(self._reopen(engine), name=f"portico-open-{engine.name}") for engine in away]
        await self.authenticator.start()
        await self.cluster.open()
        self.tasks.append(asyncio.create_task(watch(self.catalog, emit=self.emit), name="portico-watch"))
        self.tasks += [asyncio.create_task(sequencer.run(), name="portico-sequencer") for sequencer in self.sequencers]
        expired = forget_expired(tuple(self.engines.values()), self.settings.transactions.idempotency_hours * 3600)
        self.tasks.append(asyncio.create_task(expired, name="portico-forget-expired"))

    async def close(self) -> None:
        """Roll back what is open, stop watching, and close every connection once what runs has ended."""
        await self.cluster.close()
        await self.transactions.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.changes.close()
        await self.authenticator.close()
        for engine in self.engines.values():
            with contextlib.suppress(PorticoError):
                await engine.close()

    async def _open(self, engine: Engine) -> bool:
        """Whether the database is there. Raises ConfigurationError for a role that must not serve."""
        try:
            await engine.start()
            await self._check_role(engine)
        except DatabaseUnavailable:
            return False
        return True

    async def _check_role(self, engine: Engine) -> None:
        reasons = getattr(engine, "unsafe_reasons", None)
        if reasons is None or not self.settings.environment.strict:
            return
        found = await reasons()
        if found:
            raise ConfigurationError(" ".join(found), hint=f"See databases.{engine.name}.connection_string.")

    async def _reopen(self, engine: Engine) -> None:
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            try:
                if await self._open(engine):
                    await self.catalog.refresh(engine.name)
                    self.health.mark_read(engine.name)
                    return
            except DatabaseUnavailable:
                # It went away again in between.
                continue
            except ConfigurationError as error:
                # The service runs already: what it must not serve stays closed, and the log says why.
                await engine.close()
                self.emit(InternalFault(type(error).__name__, f"databases.{engine.name}", ""))
                return


def build(settings: Settings, emit: Emit, *, run_directory: Path | None = None) -> Service:
    """Put the parts together. Nothing is connected yet; `run_directory` is where the node's workers have their sockets.

    Raises:
        ConfigurationError: the settings do not go together.
    """
    secret_of_cluster = settings.cluster.secret
    cluster = Cluster(
        run_directory, advertise=settings.cluster.advertise, listen=settings.cluster.listen,
        secret=None if secret_of_cluster is None else secret_of_cluster.current(), emit=emit,
    )  # fmt: skip
    secret = settings.derive_key("etag")
    engines = {
        name: open_engine(settings, name, secret=secret, emit=emit)
        for name, database in settings.databases.items()
        if database.type != "redis"
    }
    declared = declared_collections(settings)
    served = [Served(engine, settings.databases[name].discover, engine.kind == "mongodb") for name, engine in engines.items()]
    catalog = LiveCatalog(declared, served, emit=emit)
    plans = Plans(
        lambda: catalog.current, engines, limits=_limits(settings), emit=emit,
        parse_filter=lambda text: mongo.parse({"filter": read_json(text)}),
    )  # fmt: skip
    documents = Documents(
        plans, Coalescer(emit), cursor_secret=settings.derive_key("cursor"), emit=emit,
        reload=catalog.look_again,
    )  # fmt: skip
    authenticator = _authenticator(settings, documents, emit)
    changes = Changes(
        plans, engines, catalog=lambda: catalog.current, keep_seconds=settings.changes.keep_hours * 3600.0, emit=emit
    )  # fmt: skip
    return Service(
        settings=settings,
        engines=engines,
        catalog=catalog,
        documents=documents,
        writes=Writes(documents, Passwords(settings.auth.password_min_length)),
        authenticator=authenticator,
        health=HealthChecks(engines, main=main_database(settings), catalog=lambda: catalog.current),
        monitor=Monitor(engines, catalog=lambda: catalog.current, documents=documents),
        schemas=Schemas(lambda: catalog.current),
        migrations=Migrations(LazyMigrators(settings, catalog), refresh=catalog.refresh),
        audit=AuditTrail(
            engines,
            database=main_database(settings),
            catalog=lambda: catalog.current,
            limits=_limits(settings),
            cursor_secret=settings.derive_key("cursor"),
        ),
        changes=changes,
        feeds=ChangeFeeds(changes, authenticator, send_timeout=settings.http.send_timeout_seconds),
        sequencers=_sequencers(settings, engines, changes, emit),
        units=Units(engines, reload=documents.reload),
        transactions=Transactions(
            engines,
            main=main_database(settings),
            key=settings.derive_key("transaction"),
            holder=Holder(cluster.place.node, cluster.place.worker),
            limits=_transaction_limits(settings),
            emit=emit,
        ),
        cluster=cluster,
        emit=emit,
    )


def _sequencers(settings: Settings, engines: dict[str, Engine], changes: Changes, emit: Emit) -> tuple[Sequencer, ...]:
    chain = Chain(settings.derive_key(CHAIN_PURPOSE))
    return tuple(Sequencer(engine, chain, emit=emit, given=partial(changes.wake, engine.name)) for engine in engines.values())


def _batches(service: Service, upserts: Upserts) -> Batches:
    limits = service.settings.transactions
    lives = {
        # Who holds SQLite's writer keeps all others from writing.
        name: limits.embedded_life_seconds if engine.kind == "sqlite" else limits.life_seconds
        for name, engine in service.engines.items()
    }
    return Batches(service.documents, service.writes, upserts, parse=parse_query, lives=lives)


def assemble(service: Service) -> App:
    """The ASGI application around a service: the dispatcher first, and the control plane for the rest."""
    settings = service.settings
    upserts = Upserts(service.documents, service.writes)
    imports = Imports(service.writes, upserts)
    functions = Functions(
        named_functions(settings), service.engines, catalog=lambda: service.catalog.current, limits=service.documents.plans.limits
    )
    bulk = BulkChanges(service.documents, service.writes)
    collections = Collections(service.documents, service.writes, upserts, bulk, imports, send_timeout=settings.http.send_timeout_seconds)
    histories = Histories(History(service.documents, service.writes), collections)
    control = Control(
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
    http = settings.http
    front = Front(
        create_control(control, ROUTERS), emit=service.emit, max_body_bytes=http.max_body_bytes, max_header_bytes=http.max_header_bytes
    )
    app: App = Dispatcher(
        collections,
        histories,
        service.feeds,
        Clients(collections, service.documents, service.writes, service.authenticator, make_clients=not settings.environment.strict),
        Rest(service.documents, service.writes, upserts, functions, service.schemas, service.authenticator),
        BatchCall(_batches(service, upserts), service.authenticator, most=settings.transactions.batch_operations),
        SafeWrites(service.units, life_seconds=settings.transactions.idempotency_hours * 3600),
        service.authenticator,
        TransactionCalls(service.transactions, service.authenticator, service.cluster.carry),
        SearchCall(Searches(service.documents)),
        fallback=front,
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


def _limits(settings: Settings) -> Limits:
    limits = settings.limits
    return Limits(
        default_limit=limits.page_default,
        max_limit=limits.page_max,
        included_limit=limits.page_max,
        max_offset=limits.offset_max,
        max_expressions=limits.filter_expressions,
        max_depth=limits.filter_depth,
        max_include_depth=limits.include_depth,
        max_values=limits.in_values,
    )


def _transaction_limits(settings: Settings) -> TransactionLimits:
    transactions = settings.transactions
    return TransactionLimits(
        idle=transactions.idle_seconds,
        life=transactions.life_seconds,
        exclusive_idle=transactions.embedded_idle_seconds,
        exclusive_life=transactions.embedded_life_seconds,
        waits=settings.databases[main_database(settings)].pool_settings.timeout_seconds,
    )


def _authenticator(settings: Settings, documents: Documents, emit: Emit) -> Authenticator:
    store = settings.store_database
    keys = open_reader(lambda: store.connection.text())  # noqa: PLW0108 - `connection` is read anew: its password may be replaced
    return Authenticator(
        keys,
        pepper=settings.derive_key("api-key-pepper"),
        required=settings.anonymous_service is None,
        tokens=_tokens(settings, keys, documents),
        emit=emit,
    )


def _tokens(settings: Settings, services: KeyReader, documents: Documents) -> TokenVerifier | None:
    if not settings.auth.issuers:
        return None
    # Cryptography for tokens takes a tenth of the start; most installations have keys alone.
    from portico.service.issuer_keys import IssuerKeys  # noqa: PLC0415
    from portico.service.linked_users import LinkedUsers  # noqa: PLC0415
    from portico.service.tokens import Tokens, TrustedIssuer  # noqa: PLC0415

    issuers = [
        TrustedIssuer(
            issuer=issuer.issuer,
            audience=issuer.audience,
            algorithms=issuer.algorithms,
            keys=IssuerKeys(issuer.jwks_url),
            provider=issuer.provider or issuer.issuer,
            service_claim=issuer.service_claim,
            client_claim=issuer.client_claim,
            user_claim=issuer.user_claim,
        )
        for issuer in settings.auth.issuers
    ]
    return Tokens(issuers, services=services, users=LinkedUsers(documents))


__all__ = ["Service", "assemble", "build", "create_app", "links"]
