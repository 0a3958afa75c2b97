"""Connection strings: taken apart, put together, and shown without their passwords."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, quote, unquote, urlencode

from portico.errors import ConfigurationError
from portico.settings.secrets import MASK

_SCHEMES = {
    "sqlite": "sqlite",
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "mongodb": "mongodb",
    "mongodb+srv": "mongodb",
    "redis": "redis",
    "rediss": "redis",
}
_SECRET_OPTIONS = frozenset({"password", "sslpassword", "tlscertificatekeyfilepassword", "authmechanismproperties"})
_PARTS = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?:(?P<login>[^/?#]*)@)?(?P<hosts>[^/?#@]*)(?:/(?P<database>[^?#]*))?(?:\?(?P<options>.*))?",
    re.DOTALL,
)
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|/[^:]*|[^:/\[\]]+)(?::(?P<port>\d{1,5}))?")
_HINT = "Write it as postgresql://user@host:5432/name, sqlite:///file.db, mongodb://host/name or redis://host:6379/0."
_TLS_MODES = frozenset({"require", "verify-ca", "verify-full"})
_TRUE = frozenset({"true", "1", "yes"})

Host = tuple[str, int | None]


@dataclass(frozen=True, slots=True)
class ConnectionUrl:
    """A connection string in its parts. Its text form, with the password, comes from `text()` alone."""

    type: str
    scheme: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    hosts: tuple[Host, ...] = ()
    database: str = ""
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, text: str) -> "ConnectionUrl":
        """Take apart a URL; SQLAlchemy's driver part (`postgresql+asyncpg`) is dropped, options are kept.

        `database` of SQLite is the file: `sqlite:///a.db` is relative, `sqlite:////a.db` absolute, `sqlite://` in memory.
        Raises ConfigurationError, without the text.
        """
        match = _PARTS.fullmatch(text.strip())
        if match is None:
            hint = f"{_HINT} Percent-encode special characters in its password."
            raise ConfigurationError("A connection string is not a URL.", hint=hint)
        scheme = match["scheme"].lower()
        if scheme not in _SCHEMES:
            scheme = scheme.partition("+")[0]
        login, hosts, database = match["login"], match["hosts"], match["database"] or ""
        if scheme == "sqlite" and (login or hosts):
            hint = "Write sqlite:///relative.db or sqlite:////absolute.db, with three or four slashes."
            raise ConfigurationError("The SQLite connection string names a host.", hint=hint)
        user, separator, password = (login or "").partition(":")
        options = dict(parse_qsl(match["options"] or "", keep_blank_values=True))
        return cls(
            type=_SCHEMES.get(scheme, scheme),
            scheme="postgresql" if scheme == "postgres" else scheme,
            user=unquote(user) or None,
            password=unquote(password) if separator else options.pop("password", None),
            hosts=tuple(_host(part) for part in hosts.split(",") if part) + _option_hosts(options),
            # The file of SQLite is taken literally, as SQLAlchemy does.
            database=database if scheme == "sqlite" else unquote(database),
            options=options,
        )

    def with_password(self, password: str) -> "ConnectionUrl":
        """The same connection with this password."""
        return replace(self, password=password)

    def at(self, host: str, port: int) -> "ConnectionUrl":
        """The same connection to one other server; a wish for the primary among several hosts is dropped."""
        options = {name: value for name, value in self.options.items() if name != "target_session_attrs"}
        return replace(self, hosts=((host, port),), options=options)

    def text(self) -> str:
        """The URL with its password, for a driver."""
        return self._render(quote(self.password, safe="") if self.password is not None else None, self.options)

    def masked(self) -> str:
        """The URL for people: every password in it is masked."""
        options = {name: MASK if name.lower() in _SECRET_OPTIONS else value for name, value in self.options.items()}
        return self._render(MASK if self.password is not None else None, options)

    def secrets(self) -> tuple[str, ...]:
        """The passwords in the URL."""
        found = [value for name, value in self.options.items() if name.lower() in _SECRET_OPTIONS]
        return (*found, self.password) if self.password is not None else tuple(found)

    @property
    def remote(self) -> bool:
        """Whether the connection leaves this machine."""
        return self.scheme != "sqlite" and any(not is_loopback(host) for host, _ in self.hosts)

    @property
    def encrypted(self) -> bool:
        """Whether the options insist on TLS. PostgreSQL's `prefer` and `allow` fall back to plain text, so they do not."""
        options = {name.lower(): value.lower() for name, value in self.options.items()}
        if self.type == "postgresql":
            return options.get("sslmode", options.get("ssl", "")) in _TLS_MODES
        if self.type == "mongodb":
            named = options.get("tls", options.get("ssl"))
            return named in _TRUE if named is not None else self.scheme == "mongodb+srv"
        return self.scheme == "rediss" if self.type == "redis" else True

    def _render(self, password: str | None, options: Mapping[str, str]) -> str:
        login = quote(self.user, safe="") if self.user else ""
        login += f":{password}" if password is not None else ""
        hosts = ",".join(_host_text(host, port) for host, port in self.hosts if not host.startswith("/"))
        query = urlencode({**options, **self._sockets()}, quote_via=quote, safe="/*,")
        path = self.database if self.scheme == "sqlite" else quote(self.database, safe="/")
        slash = "/" if path or self.scheme == "sqlite" or query else ""
        return f"{self.scheme}://{login}{'@' if login else ''}{hosts}{slash}{path}{'?' if query else ''}{query}"

    def _sockets(self) -> dict[str, str]:
        sockets = [(host, port) for host, port in self.hosts if host.startswith("/")]
        ports = [str(port or "") for _, port in sockets]
        named = {"host": ",".join(host for host, _ in sockets)} if sockets else {}
        return {**named, "port": ",".join(ports)} if any(ports) else named


def is_loopback(host: str) -> bool:
    """Whether a host name, address or socket path stays on this machine."""
    if host.startswith(("/", "@")) or host.lower() == "localhost" or host.lower().endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _host(part: str) -> Host:
    match = _HOST.fullmatch(unquote(part))
    if match is None or (match["port"] and not 0 < int(match["port"]) < 65_536):
        raise ConfigurationError("A host in a connection string is not `host` or `host:port`.", hint=_HINT)
    return match["host"].strip("[]"), int(match["port"]) if match["port"] else None


def _option_hosts(options: dict[str, str]) -> tuple[Host, ...]:
    # libpq's way to name a socket folder, or hosts, after the question mark.
    names = [name for name in options.pop("host", "").split(",") if name]
    ports = options.pop("port", "").split(",") if names else [""]
    paired = zip(names, ports * len(names) if len(ports) == 1 else ports, strict=False)
    return tuple(_host(f"{name}:{port}" if port else name) for name, port in paired)


def _host_text(host: str, port: int | None) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"{name}:{port}" if port else name
