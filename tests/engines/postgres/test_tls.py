"""Every sslmode against a server with an authority of its own: what is encrypted, what is verified, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from portico.engines.postgres.engine import PostgresEngine
from portico.engines.postgres.pool import PoolOptions, Share
from portico.errors import DatabaseUnavailable
from portico.events import discard
from tests.servers.certificates import CertificateAuthority
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.database
Start = Callable[[str], Awaitable[PostgresEngine]]
OTHER_HOST = "127.0.0.2"
"""Reaches the server too, and is not in its certificate."""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that takes nothing but TLS."""
    started = PostgresServer.start(tls=True, settings={"listen_addresses": f"'127.0.0.1,{OTHER_HOST}'"})
    yield started
    started.stop()


@pytest.fixture
def address(server: PostgresServer) -> str:
    """The server's address without options."""
    return server.dsn().partition("?")[0]


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    """Starts engines; they are closed with the test."""
    opened: list[PostgresEngine] = []

    async def start_one(dsn: str) -> PostgresEngine:
        engine = PostgresEngine("main", PoolOptions(dsn, maximum=3), schemas=["app"], secret=b"secret", emit=discard)
        await engine.start()
        opened.append(engine)
        return engine

    yield start_one
    for engine in opened:
        await engine.close()


async def is_encrypted(engine: PostgresEngine) -> bool:
    async with engine._pool.acquire(Share.ALONE) as connection:
        return bool(await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))


@pytest.mark.parametrize("mode", ["allow", "prefer", "require", "verify-ca", "verify-full"])
async def test_every_mode_but_disable_is_encrypted(server: PostgresServer, address: str, start: Start, mode: str) -> None:
    assert server.authority is not None
    root = f"&sslrootcert={server.authority.certificate}" if mode.startswith("verify") else ""
    assert await is_encrypted(await start(f"{address}?sslmode={mode}{root}"))


async def test_without_a_mode_tls_is_used_where_the_server_offers_it(address: str, start: Start, postgres: PostgresServer) -> None:
    assert await is_encrypted(await start(address))
    assert not await is_encrypted(await start(postgres.dsn()))


async def test_a_server_that_insists_on_tls_refuses_plain_text(address: str, start: Start) -> None:
    with pytest.raises(DatabaseUnavailable):
        await start(f"{address}?sslmode=disable")


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_a_server_without_tls_is_refused_where_tls_is_demanded(
    postgres: PostgresServer, start: Start, mode: str, tmp_path: Path
) -> None:
    authority = CertificateAuthority(tmp_path / "any")
    with pytest.raises(DatabaseUnavailable):
        await start(f"{postgres.dsn()}?sslmode={mode}&sslrootcert={authority.certificate}")


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_a_certificate_of_another_authority_is_refused(address: str, start: Start, tmp_path: Path, mode: str) -> None:
    # As with libpq, a root certificate makes `require` verify it too.
    other = CertificateAuthority(tmp_path / "other", "Somebody else")
    with pytest.raises(DatabaseUnavailable) as refused:
        await start(f"{address}?sslmode={mode}&sslrootcert={other.certificate}")
    assert refused.value.details["type"] == "SSLCertVerificationError"


async def test_only_verify_full_refuses_a_certificate_of_another_host(server: PostgresServer, address: str, start: Start) -> None:
    assert server.authority is not None
    elsewhere = address.replace("127.0.0.1", OTHER_HOST) + f"?sslrootcert={server.authority.certificate}&sslmode="
    assert await is_encrypted(await start(elsewhere + "verify-ca"))
    with pytest.raises(DatabaseUnavailable):
        await start(elsewhere + "verify-full")


async def test_a_client_certificate_is_a_login(server: PostgresServer, start: Start, tmp_path: Path) -> None:
    assert server.authority is not None
    rules = server.data / "pg_hba.conf"
    rules.write_text("hostssl all certified 127.0.0.1/32 cert\n" + rules.read_text())
    server.execute("CREATE ROLE certified LOGIN")
    server.execute("SELECT pg_reload_conf()")
    own = server.authority.create_certificate("certified", server=False)
    base = f"postgresql://certified@127.0.0.1:{server.port}/postgres?sslmode=verify-full&sslrootcert={server.authority.certificate}"
    with pytest.raises(DatabaseUnavailable):
        await start(base)
    assert await is_encrypted(await start(f"{base}&sslcert={own.certificate}&sslkey={own.key}"))


async def test_statements_are_cancelled_over_tls_too(server: PostgresServer, address: str, start: Start) -> None:
    engine = await start(f"{address}?sslmode=require")
    async with engine._pool.acquire(Share.ALONE) as connection:
        with pytest.raises(TimeoutError):
            await connection.execute("SELECT pg_sleep(30)", timeout=0.1)
        assert await connection.fetchval("SELECT 1") == 1
