"""A real PgBouncer in transaction mode, in front of a test PostgreSQL."""

import shutil
from urllib.parse import quote

from tests.servers.install import PGBOUNCER, get_program
from tests.servers.postgres import PASSWORDS, PostgresServer
from tests.servers.process import ServerProcess, create_folder, find_free_port, unprivileged_user


class PgBouncer:
    """A running pooler that hands a server connection out for one transaction at a time."""

    def __init__(self, postgres: PostgresServer, *, pool_size: int = 4) -> None:
        """Start it in front of `postgres` with `pool_size` server connections for each database and login."""
        self.port = find_free_port()
        user = unprivileged_user()
        self.folder = create_folder("pgbouncer", user)
        logins = self.folder / "userlist.txt"
        logins.write_text("".join(f'"{name}" "{password}"\n' for name, password in PASSWORDS.items()))
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self.port),
            "unix_socket_dir": "",
            "pool_mode": "transaction",
            "default_pool_size": str(pool_size),
            "max_client_conn": "500",
            "auth_type": "scram-sha-256",
            "auth_file": str(logins),
            "ignore_startup_parameters": "extra_float_digits",
            "admin_users": "postgres",
        }
        lines = ["[databases]", f"* = host={postgres.host} port={postgres.port}", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        configuration = self.folder / "pgbouncer.ini"
        configuration.write_text("\n".join(lines) + "\n")
        self.process = ServerProcess([str(get_program(PGBOUNCER)), str(configuration)], self.folder, user=user)
        self.process.start()
        self.process.wait_for_port(self.port)

    def dsn(self, user: str = "appuser", database: str = "postgres") -> str:
        """The connection string of one of `PASSWORDS`' logins through the pooler."""
        return f"postgresql://{user}:{quote(PASSWORDS[user], safe='')}@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        """Stop it and remove its files."""
        if self.process.is_running:
            self.process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
