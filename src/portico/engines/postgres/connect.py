"""One connection to PostgreSQL: what libpq's connection strings mean for the driver, the session's settings, and what stands between."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import asyncpg

from portico.engines.postgres.errors import LOST
from portico.engines.postgres.moments import use_exact_moments
from portico.errors import ConfigurationError, DatabaseUnavailable, PoolExhausted

if TYPE_CHECKING:
    _Base = asyncpg.Connection[asyncpg.Record]
else:
    _Base = asyncpg.Connection

_FOR_LIBPQ = frozenset(
    {
        "connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout", "gssencmode",
        "channel_binding", "require_auth", "sslcompression", "sslsni", "sslcertmode", "load_balance_hosts", "fallback_application_name",
        "requiressl", "krbsrvname", "gsslib", "gssdelegation", "hostaddr", "client_encoding",
    }
)  # fmt: skip
"""What libpq keeps for itself. asyncpg would send it to the server, which knows no such setting."""

_DEMANDS = {"channel_binding": "require", "gssencmode": "require"}
_FILES = frozenset({"sslrootcert", "sslcert", "sslkey", "sslcrl"})
_STRENGTH = ("off", "local", "remote_write", "on", "remote_apply")
CONNECT_SECONDS = 10.0


@dataclass(slots=True)
class Life:
    """When a connection was made and last used, in seconds of the monotonic clock, and in which generation of its pool."""

    born: float
    used: float
    generation: int


class Connection(_Base):
    """A connection that knows its life."""

    __slots__ = ("life",)
    life: Life


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """How to connect, and how many connections to hold.

    Attributes:
        dsn: without the password where `password` is given. password: called at each connect, so that a rotated one is used.
        minimum, maximum: connections of this process. timeout: seconds to wait for one. recycle: seconds of a connection's life.
        statement_timeout: seconds. pooler_prepared: a transaction pooler in front, if there is one, keeps prepared statements.
        synchronous_commit: PostgreSQL's setting, or None to leave the server's.
        tls: a context where the connection string's own parameters do not say it all.
    """

    dsn: str = field(repr=False)
    password: Callable[[], str] | None = None
    minimum: int = 2
    maximum: int = 20
    timeout: float = 5.0
    recycle: float = 1800.0
    statement_timeout: float = 30.0
    pooler_prepared: bool = False
    synchronous_commit: str | None = None
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """A connection string as the driver takes it: `dsn` without what only libpq understands, and the seconds that one attempt may take."""

    dsn: str = field(repr=False)
    timeout: float = CONNECT_SECONDS

    @classmethod
    def of(cls, dsn: str) -> Address:
        """Read a libpq URL. Raises ConfigurationError for a demand that the driver would leave unmet, and for files that are not there."""
        parts = urlsplit(dsn)
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        for name, value in pairs:
            if _DEMANDS.get(name) == value or name == "require_auth":
                raise ConfigurationError(
                    f"The connection option {name} demands what the driver cannot do.", hint="Remove it, or use sslmode=verify-full."
                )
            if name in _FILES and not Path(value).is_file():
                raise ConfigurationError(f"The file that the connection option {name} names is not there, or cannot be read.")
        kept = [(name, value) for name, value in pairs if name not in _FOR_LIBPQ]
        seconds = dict(pairs).get("connect_timeout", "")
        timeout = float(seconds) if seconds.isdigit() and int(seconds) > 0 else CONNECT_SECONDS
        return cls(urlunsplit(parts._replace(query=urlencode(kept, quote_via=quote, safe="/*,"))), timeout)


async def connect(options: PoolOptions, address: Address, settings: Mapping[str, str], *, prepared: bool) -> Connection:
    """Open a connection whose session begins with `settings`.

    Raises:
        DatabaseUnavailable, PoolExhausted: the server is away or refuses. ConfigurationError: the options make no sense.
    """
    given = {"timezone": "UTC", "datestyle": "ISO", "application_name": "portico"}
    if "application_name=" in address.dsn:
        del given["application_name"]
    arguments: dict[str, Any] = {"password": options.password, "ssl": options.tls, "timeout": address.timeout}
    try:
        made = await asyncpg.connect(
            address.dsn,
            statement_cache_size=512 if prepared else 0,
            max_cacheable_statement_size=0,
            server_settings={**given, **settings},
            connection_class=Connection,
            **arguments,
        )
        await _with_codecs(made)
    except asyncpg.TooManyConnectionsError as error:
        raise PoolExhausted("The database takes no more connections.") from error
    except (*LOST, asyncpg.PostgresError) as error:
        if isinstance(error, asyncpg.ClientConfigurationError):
            raise ConfigurationError(
                "The options of a PostgreSQL connection string are not ones that can be used.",
                hint="Check its hosts and sslmode, and that the files of sslrootcert, sslcert and sslkey can be read.",
            ) from error
        raise DatabaseUnavailable("The database cannot be reached.", hint=_reason(error), details={"type": type(error).__name__}) from error
    return made


def _reason(error: BaseException) -> str | None:
    """What keeps a connection from being made, where it is one of the mistakes that a first set-up makes."""
    match error:
        case asyncpg.InvalidCatalogNameError():
            return "The server has no database of that name."
        case asyncpg.InvalidAuthorizationSpecificationError():
            return "The server refuses the role or its password."
        case socket.gaierror():
            return "The name of its host is not known."
        case ConnectionRefusedError():
            return "Nothing listens at its host and port."
        case _:
            return None


async def _with_codecs(made: Connection) -> None:
    try:
        await use_exact_moments(made)
    except BaseException:
        made.terminate()
        raise


@dataclass(frozen=True, slots=True)
class Session:
    """How sessions of a database begin: `prepared` statements are kept or not, and with which settings, for joint ones too."""

    prepared: bool
    settings: Mapping[str, str]
    joint: Mapping[str, str]


async def learn(options: PoolOptions, address: Address) -> Session:
    """Look at what stands behind the address, by a connection of its own that has no settings yet.

    Behind a transaction pooler a session's settings would reach other clients, and prepared statements would be missed: it gets
    neither. A pooler shows in that the process that answers is not the one that the driver was told.

    Raises:
        ConfigurationError: commits cannot be made as durable as `synchronous_commit` asks.
    """
    connection = await connect(options, address, {}, prepared=False)
    try:
        row = await connection.fetchrow(
            "SELECT pg_backend_pid() AS pid, current_setting('synchronous_commit') AS durability, pg_is_in_recovery() AS standby, "
            "current_setting('synchronous_standby_names') AS standbys",
            timeout=address.timeout,
        )
        assert row is not None, "a query without a table has one row"
        pooled = row["pid"] != connection.get_server_pid()
    except (*LOST, asyncpg.PostgresError) as error:
        raise DatabaseUnavailable("The database cannot be reached.", details={"type": type(error).__name__}) from error
    finally:
        connection.terminate()
    if options.synchronous_commit == "remote_apply" and not row["standbys"] and not row["standby"]:
        raise ConfigurationError(
            "The write concern majority needs a synchronous standby, and the server names none.",
            hint="Set synchronous_standby_names on the server, or choose another write_concern.",
        )
    if not pooled:
        return _direct(options)
    wanted = options.synchronous_commit
    if wanted is not None and _STRENGTH.index(row["durability"]) < _STRENGTH.index(wanted):
        raise ConfigurationError(
            "A pooler stands before the database, and the server's synchronous_commit is weaker than the write concern.",
            hint=f"Set it for the role: ALTER ROLE … SET synchronous_commit = {wanted}.",
        )
    return Session(options.pooler_prepared, {}, {})


def _direct(options: PoolOptions) -> Session:
    settings = {
        # A server process whose client has died ends within a second, and its locks with it.
        "client_connection_check_interval": "1s",
        "tcp_user_timeout": "5s",
        "statement_timeout": str(int(options.statement_timeout * 1000)),
    }
    if options.synchronous_commit is not None:
        settings["synchronous_commit"] = options.synchronous_commit
    # Joint statements are planned once: their source is as long as there are callers, so a plan for its values is made in vain.
    return Session(prepared=True, settings=settings, joint={**settings, "plan_cache_mode": "force_generic_plan"})
