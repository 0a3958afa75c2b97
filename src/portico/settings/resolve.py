"""Fills in what depends on other settings: the environment's defaults, the embedded database, pool sizes, who keeps control data."""

from portico.errors import ConfigurationError
from portico.settings.connection import ConnectionUrl
from portico.settings.databases import EMBEDDED_URL, SQL_TYPES
from portico.settings.environment import declared_names
from portico.settings.groups import Environment
from portico.settings.layers import Layer, Leaf, dotted
from portico.settings.schema import Path
from portico.settings.secrets import Secret

_ENVIRONMENTS = {
    "development": Environment.DEVELOPMENT,
    "dev": Environment.DEVELOPMENT,
    "staging": Environment.STAGING,
    "production": Environment.PRODUCTION,
    "prod": Environment.PRODUCTION,
}
_POOL_PARTS = ("pool_size", "max_overflow")
_MIN_CONNECTIONS = 2
_DISCOVER = {"postgresql": ("public",), "sqlite": ("main",)}
"""Where the tables of a database that Portico did not make are by default."""


def resolve(layer: Layer) -> Layer:
    """The merged layer with secrets wrapped already, completed. Raises ConfigurationError for an unknown environment."""
    environment = _environment(layer)
    resolved: Layer = {**layer, ("environment",): Leaf(environment, _source(layer, ("environment",), "default"))}
    because = f"default ({environment.value})"
    resolved.setdefault(("auth", "required"), Leaf(environment.strict, because))
    types = _types(resolved)
    if not SQL_TYPES & set(types.values()):
        name = "main" if "main" not in types else "embedded"
        resolved[("databases", name, "connection_string")] = Leaf(Secret(EMBEDDED_URL), "default")
        types[name] = "sqlite"
    elif "main" not in types and "main" in declared_names(resolved):
        source = next(leaf.source for path, leaf in resolved.items() if path[:2] == ("databases", "main"))
        raise ConfigurationError(f"{source} is about the database main, which has no connection_string.", hint="Set DATABASE_URL.")
    for name, kind in types.items():
        resolved.setdefault(("databases", name, "type"), Leaf(kind, _source(resolved, ("databases", name, "connection_string"), "default")))
        if kind in _DISCOVER:
            resolved.setdefault(("databases", name, "discover"), Leaf(_DISCOVER[kind], f"default ({kind})"))
        if kind == "mongodb":
            resolved.setdefault(("databases", name, "write_concern"), Leaf("majority", "default (mongodb)"))
        if environment.strict and ("databases", name, "echo") in resolved:
            resolved[("databases", name, "echo")] = Leaf(False, f"{because}: only development echoes")
        resolved.update(_pool(resolved, ("databases", name, "pool_settings"), environment))
    resolved.setdefault(("store", "database"), Leaf(_first_sql(types), "default (first SQL database)"))
    _cache_database(resolved, types)
    dropped = {path for path, leaf in resolved.items() if leaf.value is None}
    return {path: leaf for path, leaf in resolved.items() if path not in dropped}


def _environment(layer: Layer) -> Environment:
    leaf = layer.get(("environment",))
    if leaf is None:
        return Environment.DEVELOPMENT
    found = _ENVIRONMENTS.get(str(leaf.value).strip().lower())
    if found is None:
        message = f"{leaf.source}: the environment must be development (or dev), staging, or production (or prod)."
        raise ConfigurationError(message, hint="Set ENVIRONMENT to one of these.")
    return found


def _types(layer: Layer) -> dict[str, str]:
    types: dict[str, str] = {}
    for name in declared_names(layer):
        stated, url = layer.get(("databases", name, "type")), layer.get(("databases", name, "connection_string"))
        if url is None and stated is None and name == "main":
            continue  # only its pool or the like is set: it is the embedded database, where there is no other
        if url is None or not isinstance(url.value, Secret):
            raise ConfigurationError(
                f"databases.{name} has no connection_string.", hint=f"Set databases.{name}.connection_string, or remove {name}."
            )
        kind = ConnectionUrl.parse(url.value.current()).type
        types[name] = str(stated.value) if stated is not None else kind
    return types


def _first_sql(types: dict[str, str]) -> str:
    return next(name for name, kind in types.items() if kind in SQL_TYPES)


def _cache_database(resolved: Layer, types: dict[str, str]) -> None:
    """REDIS_URL names the cache, unless the configuration says otherwise."""
    for name, kind in types.items():
        source = resolved[("databases", name, "connection_string")].source
        if kind == "redis" and source.startswith("env REDIS_URL"):
            resolved.setdefault(("cache", "database"), Leaf(name, source))


def _pool(layer: Layer, path: Path, environment: Environment) -> Layer:
    """The pool's sizes, made to agree: `max_connections` = `pool_size` + `max_overflow`; what the environment says goes before the file."""
    given = {key: leaf for key in (*_POOL_PARTS, "max_connections") if (leaf := layer.get((*path, key))) is not None}
    sizes = {key: size for key, leaf in given.items() if (size := _integer(leaf)) is not None}
    if len(sizes) < len(given):
        return {}  # the models say what is wrong with it
    parts = [given[key] for key in _POOL_PARTS if key in given]
    total = given.get("max_connections")
    because = f"default ({environment.value})"
    if total is not None and not (parts and _rank(parts) > _rank([total])):
        same_place = parts and _rank(parts) == _rank([total])
        if same_place and (len(parts) < len(_POOL_PARTS) or sum(sizes[key] for key in _POOL_PARTS) != sizes["max_connections"]):
            message = f"{dotted(path)}: max_connections must be pool_size + max_overflow where all are given."
            raise ConfigurationError(message, hint="Keep either max_connections, or pool_size and max_overflow.")
        size, overflow = (sizes["pool_size"], sizes["max_overflow"]) if same_place else (sizes["max_connections"], 0)
        source = total.source
        filled = {"pool_size": Leaf(size, source), "max_overflow": Leaf(overflow, source), "max_connections": Leaf(size + overflow, source)}
    else:
        defaults = {"pool_size": 20, "max_overflow": 10} if environment.strict else {"pool_size": 5, "max_overflow": 5}
        filled = {key: Leaf(sizes.get(key, default), given[key].source if key in given else because) for key, default in defaults.items()}
        connections = sizes.get("pool_size", defaults["pool_size"]) + sizes.get("max_overflow", defaults["max_overflow"])
        filled["max_connections"] = Leaf(connections, parts[0].source if parts else because)
    most = filled["max_connections"].value
    assert isinstance(most, int)
    layer.setdefault((*path, "min_connections"), Leaf(min(_MIN_CONNECTIONS, most), "default"))
    return {(*path, key): leaf for key, leaf in filled.items()}


def _integer(leaf: Leaf) -> int | None:
    text = str(leaf.value).strip()
    return int(text) if text.isdecimal() else None


def _rank(leaves: list[Leaf]) -> int:
    return max(int(leaf.source.startswith("env ")) for leaf in leaves)


def _source(layer: Layer, path: Path, default: str) -> str:
    leaf = layer.get(path)
    return default if leaf is None else leaf.source
