"""The short form for a single database, `database: {url, pool_size, …}`, as the long form that it stands for."""

import difflib
from collections.abc import Mapping

from portico.errors import ConfigurationError
from portico.settings.databases import Database

KEY = "database"
NAMES: Mapping[str, tuple[str, ...]] = {
    "url": ("connection_string",),
    "migration_url": ("migration_connection_string",),
    "pool_size": ("pool_settings", "pool_size"),
    "max_overflow": ("pool_settings", "max_overflow"),
    "pool_timeout": ("pool_settings", "timeout_seconds"),
    "pool_recycle": ("pool_settings", "recycle_seconds"),
}
_FILE = "_file"


def expand_path(path: tuple[str, ...], source: str) -> tuple[str, ...]:
    """`database.url` as `databases.main.connection_string`; every other path as it is. Raises ConfigurationError for an unknown key."""
    if path[0] != KEY or len(path) < 2:
        return path
    _check_key(path[1], source)
    return ("databases", "main", *NAMES.get(path[1], (path[1],)), *path[2:])


def expand_tree(tree: Mapping[str, object], source: str) -> dict[str, object]:
    """The tree of a file with `database:` written out under `databases: main:`. Raises ConfigurationError when both are there."""
    expanded = dict(tree)
    short = expanded.pop(KEY, None)
    if short is None:
        return expanded
    if not isinstance(short, Mapping):
        raise ConfigurationError(f"{source}: database must be a mapping of settings.", hint="Write database: {url: postgresql://…}.")
    databases = expanded.get("databases") or {}
    if not isinstance(databases, Mapping):
        raise ConfigurationError(f"{source}: databases must be a mapping of names to settings.")
    if "main" in databases:
        raise ConfigurationError(f"{source}: database and databases.main are the same database.", hint="Keep one of them.")
    expanded["databases"] = {"main": _long(short, source), **databases}
    return expanded


def _long(short: Mapping[object, object], source: str) -> dict[str, object]:
    main: dict[str, object] = {}
    pool: dict[str, object] = {}
    for key, value in short.items():
        name = str(key)
        _check_key(name.removesuffix(_FILE), source)
        suffix = _FILE if name.endswith(_FILE) else ""
        target = NAMES.get(name.removesuffix(suffix), (name.removesuffix(suffix),))
        (pool if len(target) == 2 else main)[target[-1] + suffix] = value
    if pool:
        given = main.get("pool_settings")
        main["pool_settings"] = {**given, **pool} if isinstance(given, Mapping) else pool
    return main


def _check_key(key: str, source: str) -> None:
    known = [*NAMES, *Database.model_fields]
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
        hint = f"Did you mean database.{near[0]}?" if near else f"It takes {', '.join(NAMES)}."
        raise ConfigurationError(f"{source}: unknown setting database.{key}.", hint=hint)
