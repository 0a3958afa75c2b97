"""Checks of settings that refer to one another: databases by name, types and connection strings, pairs that belong together."""

import difflib
from importlib.metadata import entry_points

from portico.errors import ConfigurationError
from portico.settings.databases import KNOWN_TYPES, SQL_TYPES
from portico.settings.root import Settings

ENGINE_ENTRY_POINTS = "portico.engines"


def check_references(settings: Settings) -> None:
    """Raises ConfigurationError for the first setting that does not fit another."""
    for name in settings.databases:
        _check_database(settings, name)
    _check_named(settings, "store.database", settings.store.database, SQL_TYPES, "an SQL database")
    _check_named(settings, "cache.database", settings.cache.database, frozenset({"redis"}), "a Redis database")
    for function in settings.functions:
        _check_named(settings, "functions", function.database, SQL_TYPES, "an SQL database")
    if settings.cluster.advertise is not None and settings.cluster.secret is None:
        raise ConfigurationError("cluster.advertise is set without a secret.", hint="Name the nodes' file in cluster.secret_file.")
    if (settings.http.tls_certificate is None) != (settings.http.tls_key is None):
        raise ConfigurationError("http.tls_certificate and http.tls_key belong together.", hint="Set both, or neither.")
    if settings.limits.page_default > settings.limits.page_max:
        raise ConfigurationError("limits.page_default is larger than limits.page_max.", hint="Lower the one or raise the other.")


def _check_database(settings: Settings, name: str) -> None:
    database = settings.databases[name]
    if database.type not in KNOWN_TYPES:
        installed = [point.name for point in entry_points(group=ENGINE_ENTRY_POINTS)]
        if database.type not in installed:
            near = difflib.get_close_matches(database.type, (*KNOWN_TYPES, *installed), n=1)
            hint = f"Did you mean {near[0]}?" if near else f"It can be {', '.join((*KNOWN_TYPES, *installed))}."
            raise ConfigurationError(f"databases.{name}: there is no engine {database.type}.", hint=hint)
    elif database.connection.type != database.type:
        message = f"databases.{name}: the type is {database.type}, but the connection string is of {database.connection.type}."
        raise ConfigurationError(message, hint="Leave the type out; the connection string says it.")
    pool = database.pool_settings
    if pool.min_connections > pool.max_connections:
        raise ConfigurationError(f"databases.{name}.pool_settings: min_connections is larger than max_connections.")
    if database.migration_connection_string is not None and database.migration_connection.type != database.type:
        raise ConfigurationError(f"databases.{name}: migration_connection_string is of another type than the database.")
    if database.backup_connection_string is not None and database.backup_connection.type != database.type:
        raise ConfigurationError(f"databases.{name}: backup_connection_string is of another type than the database.")


def _check_named(settings: Settings, setting: str, name: str | None, types: frozenset[str], what: str) -> None:
    if name is None:
        return
    if name not in settings.databases:
        near = difflib.get_close_matches(name, settings.databases, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Configured are: {', '.join(settings.databases)}."
        raise ConfigurationError(f"{setting}: there is no database {name}.", hint=hint)
    if settings.databases[name].type not in types:
        raise ConfigurationError(f"{setting}: {name} is not {what}.")
