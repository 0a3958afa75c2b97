"""Settings of the databases: connection, pool, replicas, what is discovered."""

from typing import Literal

from pydantic import Field

from portico.settings.connection import ConnectionUrl
from portico.settings.groups import Group, PositiveInt, Seconds
from portico.settings.secrets import Secret

SQL_TYPES = frozenset({"sqlite", "postgresql"})
KNOWN_TYPES = ("sqlite", "postgresql", "mongodb", "redis")
EMBEDDED_URL = "sqlite:///./portico.db"

ReadPreference = Literal["primary", "secondary", "nearest"]
WriteConcern = Literal["async", "local", "remote", "majority"]


class Pool(Group):
    """Connections that each worker keeps; `pool_size` + `max_overflow` = `max_connections`."""

    min_connections: int = Field(default=2, ge=0, description="Connections kept open.")
    max_connections: PositiveInt = Field(default=10, description="Most connections, per worker. 10 in development, 30 elsewhere.")
    pool_size: PositiveInt = Field(
        default=5, description="Connections kept. 5 in development, 20 elsewhere; all where only `max_connections` is given."
    )
    max_overflow: int = Field(
        default=5, ge=0, description="Connections above that. 5 in development, 10 elsewhere; 0 where only `max_connections` is given."
    )
    timeout_seconds: Seconds = Field(default=30, description="How long a call waits for a connection; beyond it 503.")
    recycle_seconds: PositiveInt = Field(default=1800, description="Age at which a connection is replaced.")


class Replica(Group):
    """A copy of the database; it is reached with the primary's login and options."""

    host: str = Field(min_length=1, description="Host name or address.")
    port: int = Field(default=5432, ge=1, le=65_535, description="Port.")
    role: Literal["primary", "secondary", "analytics"] = Field(
        default="secondary", description="`analytics` gets aggregations and exports."
    )


class Database(Group):
    """One database that Portico serves or uses."""

    type: str = Field(description="`sqlite`, `postgresql`, `mongodb`, `redis`, or an installed engine; by default what the URL says.")
    connection_string: Secret = Field(description="URL of the database, as the role that serves (`appuser`).")
    password: Secret | None = Field(default=None, description="Password, where the connection string has none.")
    migration_connection_string: Secret | None = Field(
        default=None, description="URL of the login that may `SET ROLE` to the owner, for `init-db` and `migrate` only."
    )
    backup_connection_string: Secret | None = Field(
        default=None, description="URL of a login that reads every row (`backupuser`), for `backup`; by default the one for migrations."
    )
    pool_settings: Pool = Field(default=Pool(), description="Connection pool.")
    read_preference: ReadPreference = Field(default="primary", description="Where reads go.")
    write_concern: WriteConcern = Field(default="local", description="When a write counts as done; `majority` by default on MongoDB.")
    replicas: tuple[Replica, ...] = Field(default=(), description="Replicas that take reads.")
    discover: tuple[str, ...] = Field(
        default=(),
        description="Schemas whose existing tables are served; `[]` for declared collections only. "
        "By default `[public]` on PostgreSQL and `[main]` on SQLite.",
    )
    pooler_prepared: bool = Field(default=False, description="Says that the pooler in front keeps prepared statements.")
    echo: bool = Field(default=False, description="Log each statement's text, in development only.")

    @property
    def connection(self) -> ConnectionUrl:
        """Where to connect, and as whom, as of now: a rotated file shows. Raises ConfigurationError."""
        return self._with_password(ConnectionUrl.parse(self.connection_string.current()))

    @property
    def migration_connection(self) -> ConnectionUrl:
        """The login for migrations; the service's own where none is configured."""
        if self.migration_connection_string is None:
            return self.connection
        return ConnectionUrl.parse(self.migration_connection_string.current())

    @property
    def backup_connection(self) -> ConnectionUrl:
        """The login for backups; the one for migrations where none is configured."""
        if self.backup_connection_string is None:
            return self.migration_connection
        return ConnectionUrl.parse(self.backup_connection_string.current())

    def connection_to(self, replica: Replica) -> ConnectionUrl:
        """The connection to a replica: the primary's login and options, at the replica's address."""
        return self.connection.at(replica.host, replica.port)

    def current_password(self) -> str | None:
        """The password as of now, for drivers that ask for it with each connection."""
        return self.connection.password

    def _with_password(self, url: ConnectionUrl) -> ConnectionUrl:
        if self.password is None or url.password is not None or url.type == "sqlite":
            return url
        return url.with_password(self.password.current())
