"""The parts of a worker, put together from the settings: engines, catalog, services. `app.py` makes the ASGI application around them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from portico.api.changes import ChangeFeeds
from portico.catalog.catalog import LiveCatalog, Served
from portico.catalog.watch import watch
from portico.cluster.node import Cluster
from portico.engines.base import Engine
from portico.errors import ConfigurationError, DatabaseUnavailable, PorticoError
from portico.events import Emit, InternalFault
from portico.migrating import LazyMigrators
from portico.model.positions import CHAIN_PURPOSE, Chain
from portico.query.json_text import read_json
from portico.query.limits import Limits
from portico.service.audit import AuditTrail
from portico.service.authenticate import Authenticator, TokenVerifier
from portico.service.changes import Changes
from portico.service.coalesce import Coalescer
from portico.service.documents import Documents
from portico.service.health import HealthChecks
from portico.service.idempotency import forget_expired
from portico.service.migrations import Migrations
from portico.service.monitor import Monitor
from portico.service.passwords import Passwords
from portico.service.plans import Plans
from portico.service.schemas import Schemas
from portico.service.sequencer import Sequencer
from portico.service.transactions.held import Limits as TransactionLimits
from portico.service.transactions.ids import Holder
from portico.service.transactions.registry import Transactions
from portico.service.units import Units
from portico.service.writes import Writes
from portico.settings import Settings
from portico.store.connect import open_reader
from portico.store.readers import KeyReader
from portico.syntax import mongo
from portico.wiring import declared_collections, main_database, open_engine

RETRY_SECONDS = 1.0
"""How often a database that was away at the start is tried again."""


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
    cluster = _cluster(settings, run_directory, emit)
    secret = settings.derive_key("etag")
    engines = {
        name: open_engine(settings, name, secret=secret, emit=emit)
        for name, database in settings.databases.items()
        if database.type != "redis"
    }
    catalog = _catalog(settings, engines, emit)
    documents = _documents(settings, engines, catalog, emit)
    authenticator = _authenticator(settings, documents, emit)
    changes = Changes(
        documents.plans, engines, catalog=lambda: catalog.current, keep_seconds=settings.changes.keep_hours * 3600.0, emit=emit
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
        transactions=_transactions(settings, engines, cluster, emit),
        cluster=cluster,
        emit=emit,
    )


def _cluster(settings: Settings, run_directory: Path | None, emit: Emit) -> Cluster:
    secret = None if settings.cluster.secret is None else settings.cluster.secret.current()
    return Cluster(run_directory, advertise=settings.cluster.advertise, listen=settings.cluster.listen, secret=secret, emit=emit)


def _catalog(settings: Settings, engines: Mapping[str, Engine], emit: Emit) -> LiveCatalog:
    served = [Served(engine, settings.databases[name].discover, engine.kind == "mongodb") for name, engine in engines.items()]
    return LiveCatalog(declared_collections(settings), served, emit=emit)


def _documents(settings: Settings, engines: Mapping[str, Engine], catalog: LiveCatalog, emit: Emit) -> Documents:
    plans = Plans(
        lambda: catalog.current, engines, limits=_limits(settings), emit=emit,
        parse_filter=lambda text: mongo.parse({"filter": read_json(text)}),
    )  # fmt: skip
    return Documents(plans, Coalescer(emit), cursor_secret=settings.derive_key("cursor"), emit=emit, reload=catalog.look_again)


def _transactions(settings: Settings, engines: Mapping[str, Engine], cluster: Cluster, emit: Emit) -> Transactions:
    return Transactions(
        engines,
        main=main_database(settings),
        key=settings.derive_key("transaction"),
        holder=Holder(cluster.place.node, cluster.place.worker),
        limits=_transaction_limits(settings),
        emit=emit,
    )


def _sequencers(settings: Settings, engines: dict[str, Engine], changes: Changes, emit: Emit) -> tuple[Sequencer, ...]:
    chain = Chain(settings.derive_key(CHAIN_PURPOSE))
    return tuple(Sequencer(engine, chain, emit=emit, given=partial(changes.wake, engine.name)) for engine in engines.values())


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


__all__ = ["Service", "build"]
