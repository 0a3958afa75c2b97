"""The environment's layer of the configuration: names taken as they are, `PORTICO_GROUP__NAME`, and `_FILE` values."""

import re
from collections.abc import Mapping
from pathlib import Path as FilePath

import yaml

from portico.errors import ConfigurationError
from portico.settings.connection import ConnectionUrl, is_loopback
from portico.settings.groups import Group
from portico.settings.keyring import is_encrypted
from portico.settings.layers import Layer, Leaf, dotted, flatten
from portico.settings.schema import Node, Path, find, is_list, is_list_of_text, nearest
from portico.settings.secrets import FileText
from portico.settings.short_form import expand_path

PREFIX = "PORTICO_"
FILE_SUFFIX = "_FILE"
CONFIG = "PORTICO_CONFIG"
MAIN: Path = ("databases", "main")

FIXED_NAMES: Mapping[str, Path] = {
    "ENVIRONMENT": ("environment",),
    "DATABASE_URL": (*MAIN, "connection_string"),
    "DB_PASSWORD": (*MAIN, "password"),
    "DB_POOL_SIZE": (*MAIN, "pool_settings", "pool_size"),
    "DB_MAX_OVERFLOW": (*MAIN, "pool_settings", "max_overflow"),
    "DB_ECHO": (*MAIN, "echo"),
    "LOG_LEVEL": ("observe", "log_level"),
    "OTEL_ENDPOINT": ("observe", "otel_endpoint"),
}
PARTS = ("DB_USER", "DB_HOST", "DB_PORT", "DB_NAME")
URLS_BY_TYPE = {"REDIS_URL": "redis", "MONGODB_URL": "mongodb"}

# Kubernetes gives every container such variables for each Service; those of one named `portico` would otherwise read as settings.
_SERVICE_LINK = re.compile(r"PORTICO_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)=.*")
_SERVICE_ADDRESS = re.compile(r"PORTICO_(\w+_)?PORT=(tcp|udp|sctp)://.*")


class Variables:
    """The environment with `_FILE` names followed; an empty variable counts as unset."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """`environ` as the process has it."""
        self._environ = {name: value for name, value in environ.items() if value.strip()}

    def get(self, name: str) -> tuple[str, str] | None:
        """The value of `name` or of the file that `name_FILE` points to, and the variable's name. Raises ConfigurationError for both."""
        plain, file_name = self._environ.get(name), name + FILE_SUFFIX
        path = self._environ.get(file_name)
        if plain is not None and path is not None:
            raise ConfigurationError(f"Both {name} and {file_name} are set.", hint=f"Keep {file_name}.")
        if path is not None:
            return FileText.read(FilePath(path), file_name), file_name
        return (plain, name) if plain is not None else None

    def leaf(self, name: str) -> Leaf | None:
        """The value of `name` as a leaf that remembers the variable."""
        found = self.get(name)
        return None if found is None else Leaf(found[0], f"env {found[1]}")

    def is_service_link(self, name: str) -> bool:
        """Whether Kubernetes made the variable for a Service whose name starts with `portico`."""
        assignment = f"{name}={self._environ[name]}"
        return bool(_SERVICE_LINK.fullmatch(assignment) or _SERVICE_ADDRESS.fullmatch(assignment))

    def prefixed(self) -> set[str]:
        """The names of settings (without `_FILE`) that start with `PORTICO_`."""
        names = {name for name in self._environ if name.startswith(PREFIX)}
        return names - {CONFIG, CONFIG + FILE_SUFFIX}


def environment_layer(root: type[Group], environ: Mapping[str, str], declared: Layer) -> Layer:
    """What the environment says, over `declared`, the file's layer. `PORTICO_…` names go before the others.

    Raises ConfigurationError for an unknown `PORTICO_` name, for `X` and `X_FILE` together, and for an unreadable file.
    """
    variables = Variables(environ)
    layer: Layer = {}
    for name, path in FIXED_NAMES.items():
        leaf = variables.leaf(name)
        if leaf is not None:
            layer[path] = leaf
    for name, kind in URLS_BY_TYPE.items():
        leaf = variables.leaf(name)
        if leaf is not None:
            layer[("databases", _database_of_type(kind, declared), "connection_string")] = leaf
    for name in sorted(variables.prefixed()):
        layer.update(_prefixed_layer(root, variables, name, declared))
    stated = layer.get(("environment",)) or declared.get(("environment",))
    strict = stated is not None and not str(stated.value).lower().startswith("dev")
    return {**_main_from_parts(variables, declared, strict=strict), **layer}


def _prefixed_layer(root: type[Group], variables: Variables, name: str, declared: Layer) -> Layer:
    base = name.removesuffix(FILE_SUFFIX)
    path = expand_path(tuple(key.lower() for key in base.removeprefix(PREFIX).split("__")), f"env {name}")
    path = _with_declared_name(path, declared)
    node = find(root, path)
    if node is None:
        if variables.is_service_link(name):
            return {}
        raise _unknown_name(root, path, name)
    found = variables.get(base)
    assert found is not None
    text, variable = found
    return flatten(_value(node, text, variable), root, f"env {variable}", FilePath(), path)


def _unknown_name(root: type[Group], path: Path, name: str) -> ConfigurationError:
    near = nearest(root, path)
    hint = f"Did you mean {variable_name(near)}?" if near else "The reference of the configuration lists every setting."
    return ConfigurationError(f"env {name}: unknown setting {dotted(path)}.", hint=hint)


def variable_name(path: Path) -> str:
    """The variable that sets the setting at `path`: `PORTICO_HTTP__PORT` for `http.port`."""
    return PREFIX + "__".join(key.upper().replace("-", "_") for key in path)


def _value(node: Node, text: str, variable: str) -> object:
    if node.model is None and not is_list(node):
        return text
    if is_list_of_text(node) and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        value: object = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"env {variable} is not valid JSON.") from error
    if not isinstance(value, list if is_list(node) else dict):
        raise ConfigurationError(f"env {variable} must be a JSON {'list' if is_list(node) else 'object'}.")
    return value


def _main_from_parts(variables: Variables, declared: Layer, *, strict: bool) -> Layer:
    """The main database's URL put together from DB_USER, DB_HOST, DB_PORT and DB_NAME, where DATABASE_URL is unset.

    What they leave out is taken from the file's URL. Without one, a remote host outside development is reached by TLS.
    """
    parts = {name: found for name in PARTS if (found := variables.get(name))}
    if variables.get("DATABASE_URL") or not (parts or variables.get("DB_PASSWORD")):
        return {}
    base = _declared_url(declared)
    if not parts and (base is None or base.password is None):
        return {}  # the password has a setting of its own
    base = base or ConnectionUrl("postgresql", "postgresql")
    given = {name: value for name, (value, _) in parts.items()}
    host, port = base.hosts[0] if base.hosts else ("localhost", 5432)
    hosts = base.hosts
    if not hosts or "DB_HOST" in given or "DB_PORT" in given:
        hosts = ((given.get("DB_HOST", host), _port(given["DB_PORT"]) if "DB_PORT" in given else port),)
    database = given.get("DB_NAME", base.database)
    if not database:
        raise ConfigurationError(f"{', '.join(sorted(parts))} is set without DB_NAME.", hint="Set DB_NAME, or DATABASE_URL.")
    options = dict(base.options)
    if strict and not base.hosts and not is_loopback(hosts[0][0]):
        options["sslmode"] = "require"
    password = None if variables.get("DB_PASSWORD") else base.password
    url = ConnectionUrl("postgresql", "postgresql", given.get("DB_USER", base.user), password, hosts, database, options)
    names = ", ".join(variable for _, variable in parts.values()) or "DB_PASSWORD"
    return {(*MAIN, "connection_string"): Leaf(url.text(), f"env {names}")}


def _declared_url(declared: Layer) -> ConnectionUrl | None:
    leaf = declared.get((*MAIN, "connection_string"))
    if leaf is None or not isinstance(leaf.value, str) or is_encrypted(leaf.value):
        return None
    url = ConnectionUrl.parse(leaf.value)
    return url if url.type == "postgresql" else None


def _port(text: str) -> int:
    if not text.strip().isdecimal() or not 0 < int(text) < 65_536:
        raise ConfigurationError("DB_PORT is not a port number.", hint="Set DB_PORT to a number from 1 to 65535.")
    return int(text)


def _database_of_type(kind: str, declared: Layer) -> str:
    """The database that REDIS_URL or MONGODB_URL is about: the only declared one of that type, the cache's, else one named by its type."""
    names = [name for name in declared_names(declared) if declared_type(declared, name) == kind]
    cache = declared.get(("cache", "database"))
    if kind == "redis" and cache is not None and cache.value in names:
        return str(cache.value)
    return names[0] if len(names) == 1 else kind


def declared_names(layer: Layer) -> list[str]:
    """The names of the databases in a layer, in their order."""
    return list(dict.fromkeys(path[1] for path in layer if path[0] == "databases" and len(path) > 1))


def declared_type(layer: Layer, name: str) -> str | None:
    """The type of a database as a layer says it, or as its connection string does; None where neither says."""
    stated = layer.get(("databases", name, "type"))
    if stated is not None:
        return str(stated.value)
    url = layer.get(("databases", name, "connection_string"))
    if url is None or not isinstance(url.value, str) or is_encrypted(url.value):
        return None
    return ConnectionUrl.parse(url.value).type


def _with_declared_name(path: Path, declared: Layer) -> Path:
    # A variable cannot carry the hyphens or capitals of a database's name.
    if len(path) < 2 or path[0] != "databases":
        return path
    for name in declared_names(declared):
        if name.lower().replace("-", "_") == path[1]:
            return ("databases", name, *path[2:])
    return path
