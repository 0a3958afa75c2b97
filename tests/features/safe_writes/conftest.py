"""One service over SQLite and one over PostgreSQL, for all tests of a module; each test works on ids of its own."""

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.servers.portico import PorticoProcess
from tests.servers.prepared import ENGINES, running

_NUMBERS = itertools.count()


@pytest.fixture(scope="module", params=[pytest.param(engine, marks=pytest.mark.database) for engine in ENGINES])
def service(request: pytest.FixtureRequest) -> Iterator[PorticoProcess]:
    """The service."""
    server = request.getfixturevalue("postgres") if request.param == "postgres" else None
    with running(request.param, {"http": {"workers": 1}}, server) as process:
        yield process


@pytest.fixture
def fresh() -> Callable[[], str]:
    """Gives ids that no other test has."""
    return lambda: f"id-{next(_NUMBERS)}"
