"""A real PostgreSQL for tests: roles, databases from templates, TLS, restart, crash, standby."""

import itertools
import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql

from tests.servers.certificates import CertificateAuthority
from tests.servers.install import POSTGRES, get_program
from tests.servers.process import ServerProcess, create_folder, find_free_port, run_program, unprivileged_user
from tests.servers.waiting import wait_until

# The logins, with their passwords: the superuser, the service's own role, the one that may become the owner, and the standbys'.
# A password with a reserved character shows that connection strings are taken apart properly.
PASSWORDS = {"postgres": "super-secret", "appuser": "app/s@cret", "migrator": "migrator-secret", "replicator": "replicator-secret"}

_ROLES = """
CREATE ROLE appowner NOLOGIN;
CREATE ROLE appuser LOGIN NOBYPASSRLS PASSWORD {appuser};
CREATE ROLE migrator LOGIN NOINHERIT PASSWORD {migrator} IN ROLE appowner;
CREATE ROLE replicator LOGIN REPLICATION PASSWORD {replicator};
"""

_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_SETTINGS = {
    "listen_addresses": "'127.0.0.1'",
    "max_connections": "200",
    "shared_buffers": "'64MB'",
    "wal_level": "replica",
    "max_wal_senders": "8",
    "hot_standby": "on",
    "jit": "off",
    "log_min_messages": "warning",
    "timezone": "'UTC'",
}


class PostgresServer:
    """One running server. `PostgresServer.start()` makes a primary; `start_standby()` adds a replica to it."""

    def __init__(self, folder: Path, port: int, user: str | None, authority: CertificateAuthority | None = None) -> None:
        """Use the data folder below `folder`; `start` and `start_standby` are the ways to get one."""
        self.folder = folder
        self.data = folder / "data"
        self.host = "127.0.0.1"
        self.port = port
        self.authority = authority
        self._binaries = get_program(POSTGRES).resolve().parent
        self._user = user
        self._numbers = itertools.count(1)
        self._templates: set[str] = set()
        self._standbys: list[PostgresServer] = []
        command = [str(self._binaries / "postgres"), "-D", str(self.data), "-p", str(port), "-k", str(folder)]
        # SIGINT is PostgreSQL's "fast" shutdown: it does not wait for clients to leave.
        self.process = ServerProcess(command, folder, user=user, stop_signal=signal.SIGINT)

    @classmethod
    def start(cls, *, durable: bool = False, tls: bool = False, settings: Mapping[str, str] | None = None) -> "PostgresServer":
        """Create a cluster and start it.

        Args:
            durable: write to disk as in production; otherwise a crash of the machine would lose data, and everything is faster.
            tls: accept only TLS, with a certificate of the server's own authority (`authority`).
            settings: more lines for postgresql.conf, values as they are written there.
        """
        user = unprivileged_user()
        folder = create_folder("postgres", user)
        server = cls(folder, find_free_port(), user, CertificateAuthority(folder / "tls") if tls else None)
        server._create_cluster()
        server._configure((_SETTINGS if durable else _SETTINGS | _FAST) | dict(settings or {}))
        server._launch()
        with server.connect() as connection:
            connection.execute(sql.SQL(_ROLES).format(**{role: sql.Literal(password) for role, password in PASSWORDS.items()}))
        return server

    def dsn(self, user: str = "appuser", database: str = "postgres", **options: str) -> str:
        """The connection string of one of `PASSWORDS`' logins, with libpq options such as `sslmode`."""
        if self.authority is not None:
            options = {"sslmode": "verify-full", "sslrootcert": str(self.authority.certificate)} | options
        query = f"?{urlencode(options)}" if options else ""
        return f"postgresql://{user}:{quote(PASSWORDS[user], safe='')}@{self.host}:{self.port}/{database}{query}"

    def connect(self, database: str = "postgres", user: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A synchronous connection in autocommit, as the superuser unless told otherwise."""
        return psycopg.connect(self.dsn(user, database), autocommit=True)

    def execute(self, statement: str, database: str = "postgres", user: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement on a connection of its own; gives the rows, if there are any."""
        with self.connect(database, user) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def create_database(self, name: str | None = None, template: str = "template1", owner: str = "appowner") -> str:
        """Create a database and give the connection string of `appuser` to it; the name is chosen where none is given."""
        return self.new_database(name, template, owner).dsn()

    def new_database(self, name: str | None = None, template: str = "template1", owner: str = "appowner") -> "PostgresDatabase":
        """Like `create_database`, but gives the database as an object."""
        name = name or f"test_{next(self._numbers)}"
        statement = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY FILE_COPY")
        with self.connect() as connection:
            connection.execute(statement.format(sql.Identifier(name), sql.Identifier(owner), sql.Identifier(template)))
        return PostgresDatabase(self, name)

    def create_template(self, name: str, prepare: Callable[["PostgresDatabase"], None]) -> str:
        """Make a database once with `prepare`, to copy fresh ones from; gives its name for `template`."""
        if name not in self._templates:
            self.drop_database(name)  # an earlier attempt that failed may have left it
            prepare(self.new_database(name))
            self._templates.add(name)
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database, whoever is connected to it."""
        with self.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def start_standby(self, *, synchronous: bool = False) -> "PostgresServer":
        """Start a streaming replica; with `synchronous`, a commit here waits until the replica has applied it."""
        name = f"standby{len(self._standbys) + 1}"
        standby = PostgresServer(create_folder(name, self._user), find_free_port(), self._user, self.authority)
        source = self.dsn("replicator", "postgres", application_name=name)
        command = [str(self._binaries / "pg_basebackup"), "-D", str(standby.data), "-d", source, "-R", "-X", "stream", "-c", "fast"]
        run_program(command, standby.folder, self._user)
        standby._launch()
        self._standbys.append(standby)
        wait_until(lambda: self.execute(f"SELECT 1 FROM pg_stat_replication WHERE application_name = '{name}'"), what="the standby")
        if synchronous:
            self.configure(synchronous_standby_names=name, synchronous_commit="remote_apply")
        return standby

    def wait_for_standbys(self, within: float = 20.0) -> None:
        """Wait until every connected standby has applied what is committed here."""
        ((target,),) = self.execute("SELECT pg_current_wal_lsn()::text")
        behind = f"SELECT 1 FROM pg_stat_replication WHERE replay_lsn IS NULL OR replay_lsn < '{target}'"
        wait_until(lambda: not self.execute(behind), within, "the standbys")

    def promote(self) -> None:
        """Make this standby a primary."""
        self.execute("SELECT pg_promote()")

    def configure(self, **settings: str) -> None:
        """Change settings that a reload applies."""
        with self.connect() as connection:
            for name, value in settings.items():
                connection.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
            connection.execute("SELECT pg_reload_conf()")

    def restart(self) -> None:
        """Stop the server, if it runs, and start it on the same port."""
        if self.process.is_running:
            self.process.stop()
        self._launch()

    def kill(self) -> None:
        """End the server and its backends at once, as a crash would; `restart` recovers it."""
        self.process.kill()

    def stop(self) -> None:
        """Stop the server and its standbys and remove their files."""
        for server in [*self._standbys, self]:
            if server.process.is_running:
                server.process.stop()
            shutil.rmtree(server.folder, ignore_errors=True)

    def _create_cluster(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORDS["postgres"])
        options = [
            "--no-sync",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--username=postgres",
            f"--pwfile={password}",
        ]
        run_program([str(self._binaries / "initdb"), "-D", str(self.data), *options], self.folder, self._user)

    def _configure(self, settings: Mapping[str, str]) -> None:
        kind = "host"
        if self.authority is not None:
            kind = "hostssl"
            files = self.authority.create_certificate("server", server=True)
            settings = dict(settings) | {"ssl": "on", "ssl_cert_file": f"'{files.certificate}'", "ssl_key_file": f"'{files.key}'"}
            settings["ssl_ca_file"] = f"'{self.authority.certificate}'"
            if self._user is not None:
                shutil.chown(files.key, self._user)
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{name} = {value}\n" for name, value in settings.items())
        lines = [f"{kind} {databases} all 127.0.0.1/32 scram-sha-256" for databases in ("all", "replication")]
        (self.data / "pg_hba.conf").write_text("\n".join(lines) + "\n")

    def _launch(self) -> None:
        self.process.start()
        self.process.wait_for_port(self.port)
        wait_until(self._accepts, what="PostgreSQL")

    def _accepts(self) -> bool:
        self.process.check()
        try:
            self.connect().close()
        except psycopg.OperationalError as error:
            if any(state in str(error) for state in ("starting up", "recovery mode", "not yet accepting")):
                return False
            raise
        return True


@dataclass(frozen=True, slots=True)
class PostgresDatabase:
    """One database of a test server."""

    server: PostgresServer
    name: str

    def dsn(self, user: str = "appuser", **options: str) -> str:
        """The connection string of a login to this database."""
        return self.server.dsn(user, self.name, **options)

    def connect(self, user: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A synchronous connection in autocommit."""
        return self.server.connect(self.name, user)

    def execute(self, statement: str, user: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement; gives the rows, if there are any."""
        return self.server.execute(statement, self.name, user)

    def drop(self) -> None:
        """Drop the database, whoever is connected to it."""
        self.server.drop_database(self.name)
