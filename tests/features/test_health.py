"""Health reports and probes, from the real service: healthy, without its database, and with it back."""

from collections.abc import Iterator

import pytest

from tests.conftest import StartPortico
from tests.servers.postgres import PostgresServer
from tests.servers.waiting import wait_until

pytestmark = pytest.mark.health


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_a_healthy_service_says_so_in_every_report(portico: StartPortico, engine: str) -> None:
    client = portico(engine).client  # type: ignore[arg-type]
    report = client.get("/health").raise_for_status().json()
    assert set(report) == {"status", "service", "timestamp", "database", "tables", "version"}
    assert report["status"] == "healthy"
    assert report["tables"] == {"document_metadata": "healthy", "clients": "healthy", "users": "healthy"}
    assert set(report["database"]["connection_pool"]) == {"active", "idle", "total"}
    first = client.get("/v1/health").raise_for_status().json()
    assert set(first["services"]["database"]) == {"status", "response_time_ms", "connection_pool"}
    assert isinstance(first["timestamp"], float)
    for probe in ("live", "ready", "startup"):
        assert client.get(f"/health/{probe}").json() == {"status": "healthy"}


def test_health_of_the_databases_counts_the_rows_of_every_collection(portico: StartPortico) -> None:
    client = portico().client
    client.post("/api/db/clients", json={"id": "one-more", "name": "One More"}).raise_for_status()
    data = client.get("/api/db/health").raise_for_status().json()["data"]
    assert data["databases"]["main"]["status"] == "healthy"
    assert data["tables"]["clients"] == {"status": "healthy", "rows": 2, "exact": True}


def test_connections_and_statistics_name_each_database(portico: StartPortico) -> None:
    client = portico("postgres").client
    pool = client.get("/api/db/connections").raise_for_status().json()["data"]["pools"]["main"]
    assert {"size", "checked_in", "checked_out", "overflow", "invalid", "waits", "states"} <= set(pool)
    main = client.get("/api/db/stats").raise_for_status().json()["data"]["databases"]["main"]
    assert {"transactions", "audit", "row_level_security", "functions"} <= set(main["capabilities"])
    assert main["collections"]["document_metadata"]["rows"] == 0


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server that the test may stop."""
    server = PostgresServer.start()
    yield server
    server.stop()


def test_without_its_database_the_service_lives_and_is_ready_again_when_it_is_back(
    portico: StartPortico, own_postgres: PostgresServer
) -> None:
    main = {"type": "postgresql", "connection_string": own_postgres.new_database().dsn()}
    process = portico(config={"databases": {"main": main}})
    client = process.client
    wait_until(lambda: client.get("/health/ready").status_code == 200, what="a ready service")
    own_postgres.kill()
    report = client.get("/health")
    assert (report.status_code, report.json()["status"]) == (503, "unhealthy")
    first = client.get("/v1/health")
    assert first.status_code == 503
    assert first.json()["services"]["database"] == {"status": "unhealthy", "error": "database_unavailable"}
    assert client.get("/health/ready").status_code == 503
    assert client.get("/health/live").status_code == 200
    wait_until(lambda: "Database connection failed" in process.log_text(), what="the log's line")
    own_postgres.restart()
    wait_until(lambda: client.get("/health/ready").status_code == 200, within=3, what="a ready service")


def test_a_service_that_starts_before_its_database_waits_for_it(portico: StartPortico, own_postgres: PostgresServer) -> None:
    database = own_postgres.new_database()
    own_postgres.kill()
    main = {"type": "postgresql", "connection_string": database.dsn()}
    client = portico(config={"databases": {"main": main}}).client
    assert client.get("/health/ready").status_code == 503
    assert client.get("/health/startup").status_code == 503
    own_postgres.restart()
    wait_until(lambda: client.get("/health/ready").status_code == 200, what="a ready service")
