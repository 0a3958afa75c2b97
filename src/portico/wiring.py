"""Settings made into engines and collections, for the service and for the commands that look at the same databases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, cast

from portico.builtin.declarations import DOCUMENTS_OF_ALL, SCHEMA, builtin_collections, builtin_database
from portico.catalog.catalog import Catalog, LiveCatalog, Served
from portico.catalog.declare import declare, declare_all
from portico.engines.base import Engine
from portico.errors import ConfigurationError
from portico.events import Emit, discard
from portico.model.collection import Collection
from portico.model.function import NamedFunction
from portico.model.migration import Checks
from portico.settings import ConnectionUrl, Database, Settings
from portico.settings.check import ENGINE_ENTRY_POINTS

if TYPE_CHECKING:
    from portico.migrations.planning import Target

Factory = Callable[[Settings, str, bytes, Emit], Engine]

_SYNCHRONOUS_COMMIT = {"async": "off", "local": "local", "remote": "on", "majority": "remote_apply"}


def open_engine(settings: Settings, name: str, *, secret: bytes, emit: Emit) -> Engine:
    """The engine of one configured database, not yet started. Raises ConfigurationError where none is installed for its type."""
    kind = settings.databases[name].type
    factory = _FACTORIES.get(kind) or _installed(kind)
    if factory is None:
        raise ConfigurationError(f"databases.{name}: there is no engine {kind}.", hint="Install one, or remove the database.")
    return factory(settings, name, secret, emit)


def lacks_file(database: Database) -> bool:
    """Whether this is an SQLite database whose file is not there: opening it would make one."""
    return database.type == "sqlite" and not Path(database.connection.database).exists()


def types(settings: Settings) -> dict[str, str]:
    """The type of each database by name, in the order of the settings."""
    return {name: database.type for name, database in settings.databases.items()}


def main_database(settings: Settings) -> str:
    """The database that carries the service: that of the built-in collections, else the first that holds documents."""
    known = types(settings)
    return builtin_database(known) or next(name for name, kind in known.items() if kind != "redis")


def named_functions(settings: Settings) -> dict[str, NamedFunction]:
    """The functions of databases that callers may call, by name."""
    return {item.name: NamedFunction(item.name, item.database, item.security_definer) for item in settings.functions}


def declared_collections(settings: Settings) -> tuple[Collection, ...]:
    """The built-in collections and those of the configuration.

    A declaration that has a built-in collection's name is laid over it: what it leaves out stays as it is shipped.

    Raises:
        ConfigurationError: a declaration is wrong.
    """
    known = types(settings)
    home = builtin_database(known)
    shipped = {str(document["name"]): document for document in DOCUMENTS_OF_ALL} if home is not None else {}
    over = {str(item.document.get("name")): item for item in settings.declarations if item.document.get("name") in shipped}
    schema = SCHEMA if home is not None and known[home] == "postgresql" else None
    builtin = [
        collection if item is None else _laid_over(collection, {**shipped[collection.name], **item.document}, item.source)
        for collection in (builtin_collections(home, schema=schema) if home is not None else ())
        for item in (over.get(collection.name),)
    ]
    own = [(item.source, item.document) for item in settings.declarations if str(item.document.get("name")) not in over]
    return (*builtin, *declare_all(own, [name for name, kind in known.items() if kind != "redis"]))


def _laid_over(builtin: Collection, document: Mapping[str, object], source: str) -> Collection:
    return replace(declare(document, source=source, database=builtin.database), schema=builtin.schema, origin="builtin")


def postgres_schemas(settings: Settings, name: str) -> tuple[str, ...]:
    """The schemas of a PostgreSQL database that are served: discovered ones first, then those of built-in and declared collections."""
    declared = [item.schema or SCHEMA for item in declared_collections(settings) if item.database == name]
    return tuple(dict.fromkeys((*settings.databases[name].discover, SCHEMA, *declared)))


async def read_collections(settings: Settings, name: str) -> tuple[Catalog, tuple[Collection, ...]]:
    """The collections of one database as they would be served now, and its tables as its engine reflects them.

    Raises:
        DatabaseUnavailable: it cannot be reached.
    """
    engine = open_engine(settings, name, secret=b"collections", emit=discard)
    declared = [item for item in declared_collections(settings) if item.database == name]
    try:
        await engine.start()
        catalog = LiveCatalog(declared, [Served(engine, settings.databases[name].discover)], emit=discard)
        await catalog.refresh(name)
        return catalog.current, await engine.reflect()
    finally:
        await engine.close()


def migration_target(settings: Settings, name: str, known: Callable[[Checks | None], Mapping[str, Collection]]) -> Target:
    """One SQL database as what migrations are for; `known` gives its collections as they are now."""
    from portico.migrations.planning import Target  # noqa: PLC0415 - the service needs it only when it migrates

    kind = settings.databases[name].type
    return Target(
        database=name,
        dialect=kind,
        known=known,
        configured=frozenset(item.name for item in declared_collections(settings)),
        schemas=postgres_schemas(settings, name) if kind == "postgresql" else (),
    )


def _postgres(settings: Settings, name: str, secret: bytes, emit: Emit) -> Engine:
    from portico.engines.postgres.engine import PostgresEngine  # noqa: PLC0415 - only the drivers that are used are imported
    from portico.engines.postgres.pool import PoolOptions  # noqa: PLC0415

    database = settings.databases[name]
    pool = database.pool_settings
    options = PoolOptions(
        dsn=replace(_asyncpg_url(database.connection), password=None).text(),
        password=_password(database),
        minimum=pool.min_connections,
        maximum=pool.max_connections,
        timeout=pool.timeout_seconds,
        recycle=pool.recycle_seconds,
        statement_timeout=settings.limits.statement_timeout_seconds,
        pooler_prepared=database.pooler_prepared,
        synchronous_commit=_SYNCHRONOUS_COMMIT[database.write_concern],
    )
    schemas, most = postgres_schemas(settings, name), settings.limits.delete_cascade_rows
    return PostgresEngine(name, options, schemas=schemas, secret=secret, emit=emit, most_cascaded=most)


def _sqlite(settings: Settings, name: str, secret: bytes, emit: Emit) -> Engine:
    from portico.engines.sqlite.engine import SqliteEngine, SqliteOptions  # noqa: PLC0415

    limits = settings.limits
    options = SqliteOptions(statement_timeout=limits.statement_timeout_seconds, most_cascaded=limits.delete_cascade_rows)
    return cast("Engine", SqliteEngine(name, settings.databases[name].connection.database, secret=secret, emit=emit, options=options))


_FACTORIES: dict[str, Factory] = {"postgresql": _postgres, "sqlite": _sqlite}


def _installed(kind: str) -> Factory | None:
    found = next(iter(entry_points(group=ENGINE_ENTRY_POINTS, name=kind)), None)
    return None if found is None else cast("Factory", found.load())


def _password(database: Database) -> Callable[[], str] | None:
    # Asked at each connect, so that a rotated file counts from then on.
    return (lambda: database.current_password() or "") if database.current_password() is not None else None


def _asyncpg_url(url: ConnectionUrl) -> ConnectionUrl:
    """The driver knows libpq's `sslmode`, and not SQLAlchemy's `ssl` for the same."""
    if "ssl" not in url.options:
        return url
    options = {name: value for name, value in url.options.items() if name != "ssl"}
    return replace(url, options={"sslmode": url.options["ssl"], **options})
