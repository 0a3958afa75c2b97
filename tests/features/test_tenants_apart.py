"""Nothing of one tenant shows to another: no row, count, cursor, error text or header, whatever is called. `--calls N` makes more calls."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import pytest

from tests.features.tenants import CONFIG, Calls, Tenant, tenant
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresServer
from tests.servers.prepared import ENGINES, running

SEED = 20_260_101


@pytest.fixture(scope="module", params=ENGINES)
def service(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[PorticoProcess]:
    """The service over each engine, which asks for keys."""
    with running(request.param, CONFIG, postgres) as process:
        yield process


@pytest.fixture(scope="module")
def tenants(service: PorticoProcess) -> tuple[Tenant, Tenant]:
    """Two tenants with the same kinds of documents."""
    made = service.run("key", "create", "--service", "setup", "--clients", "*", "--allow", "*:*", "--json")
    headers = {"X-API-Key": json.loads(made.stdout)["key"]}
    for name in ("north", "south"):
        answer = service.client.post("/api/db/clients", json={"id": name, "name": f"secret-of-{name}"}, headers=headers)
        assert answer.status_code == 201, answer.text
    return tenant(service, "north"), tenant(service, "south")


def test_random_calls_of_one_tenant_show_and_change_nothing_of_the_other(
    service: PorticoProcess, tenants: tuple[Tenant, Tenant], pytestconfig: pytest.Config
) -> None:
    before = [_everything(service, one) for one in tenants]
    for mine, other in (tenants, tenants[::-1]):
        calls = Calls(service, mine, other, random.Random(f"{SEED}{mine.name}"))
        for _ in range(int(pytestconfig.getoption("--calls"))):
            answer = calls.one()
            assert answer.status_code < 500, (answer.request.method, str(answer.request.url), answer.text)
            said = answer.text + str(answer.headers)
            asked = f"{answer.request.url}{answer.request.content.decode()}"
            shown = {key for keys in other.ids.values() for key in keys if len(key) > 8 and key in said and key not in asked}
            assert other.secret not in said, (str(answer.request.url), said)
            assert not shown, (str(answer.request.url), said)
    for one, was in zip(tenants, before, strict=True):
        now = _everything(service, one)
        assert {name: {key: now[name].get(key) for key in rows} for name, rows in was.items()} == was


def _everything(service: PorticoProcess, one: Tenant) -> dict[str, dict[str, object]]:
    """The tenant's documents that were there at the start, by collection and address."""
    return {
        name: {key: service.client.get(f"/api/db/{name}/{key}", headers=one.headers).json()["data"] for key in keys}
        for name, keys in one.ids.items()
    }
