"""The log of the real service: JSON lines with the fixed messages, linked by correlation id, without a value of anybody's."""

import json

import pytest

from tests.conftest import StartPortico
from tests.servers.portico import PorticoProcess
from tests.servers.waiting import wait_until

pytestmark = pytest.mark.observability


def lines(process: PorticoProcess, **wanted: object) -> list[dict[str, object]]:
    """The log lines that have these fields."""
    found = [json.loads(line) for line in process.log_text().splitlines() if line.startswith("{")]
    return [line for line in found if all(line.get(name) == value for name, value in wanted.items())]


def line(process: PorticoProcess, **wanted: object) -> dict[str, object]:
    """The first such line, once it is there."""
    wait_until(lambda: lines(process, **wanted), within=5, what=f"a log line with {wanted}")
    return lines(process, **wanted)[0]


def test_the_start_of_an_engine_is_logged_with_its_pool(portico: StartPortico) -> None:
    started = line(portico("postgres"), event="Database engine initialized")
    assert {"pool_size", "max_overflow", "pool_timeout", "pool_recycle"} <= set(started)
    assert (started["logger"], started["service_name"]) == ("database", "portico")


def test_the_end_of_a_request_is_logged_with_its_correlation_id_and_service(portico: StartPortico) -> None:
    process = portico()
    process.client.get("/api/db/schema", headers={"X-Correlation-ID": "order-42"})
    ended = line(process, event="Request ended", correlation_id="order-42")
    assert (ended["method"], ended["route"], ended["status"], ended["service"]) == ("GET", "/api/db/schema", 200, "dev")


def test_a_slow_query_is_a_warning_with_its_correlation_id_and_no_value(portico: StartPortico) -> None:
    process = portico(config={"observe": {"slow_query_ms": 0.001}})
    process.client.get("/api/db/users?full_name=eq.Secret-Person", headers={"X-Correlation-ID": "slow-1"}).raise_for_status()
    slow = line(process, event="Slow query", correlation_id="slow-1")
    assert (slow["level"], slow["logger"], slow["collection"]) == ("warning", "database", "users")
    assert "Secret-Person" not in process.log_text()


def test_only_lines_of_the_asked_level_are_written(portico: StartPortico) -> None:
    process = portico(environment={"LOG_LEVEL": "WARNING"}, config={"observe": {"slow_query_ms": 0.001}})
    process.client.get("/api/db/users", headers={"X-Correlation-ID": "slow-1"})
    line(process, event="Slow query")
    assert lines(process, level="info") == []


def test_debug_shows_the_start_of_a_request_too(portico: StartPortico) -> None:
    process = portico(environment={"LOG_LEVEL": "DEBUG"})
    process.client.get("/", headers={"X-Correlation-ID": "first"})
    assert line(process, event="Request started", correlation_id="first")["level"] == "debug"


def test_the_log_can_be_text_for_people(portico: StartPortico) -> None:
    process = portico(config={"observe": {"log_format": "text"}})
    process.client.get("/", headers={"X-Correlation-ID": "for-people"})
    wait_until(lambda: "for-people" in process.log_text(), within=5, what="the request in the log")
    assert "Request ended" in process.log_text()
    assert '{"timestamp"' not in process.log_text()
