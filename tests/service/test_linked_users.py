"""The person behind a token, in the built-in collections of a real database."""

from collections.abc import AsyncIterator
from typing import NoReturn

import pytest
import pytest_asyncio

from portico.builtin.declarations import builtin_collections
from portico.builtin.init import init_database
from portico.catalog.catalog import Catalog
from portico.engines.postgres.engine import PostgresEngine
from portico.engines.postgres.pool import PoolOptions
from portico.events import discard
from portico.model.identity import Subject
from portico.query.limits import DEFAULT_LIMITS
from portico.service.coalesce import Coalescer
from portico.service.documents import Documents
from portico.service.linked_users import LinkedUsers
from portico.service.plans import Plans
from tests.servers.postgres import PostgresDatabase

ANN, BOB, EVE = (f"00000000-0000-7000-8000-00000000000{number}" for number in (1, 2, 3))

PEOPLE = f"""
    INSERT INTO app.clients (id, name) VALUES ('a', 'A');
    INSERT INTO app.users (user_id, client_id, full_name, is_active)
    VALUES ('{ANN}', 'a', 'Ann', true), ('{BOB}', 'a', 'Bob', false), ('{EVE}', NULL, 'Eve', true);
    INSERT INTO app.user_identities (user_id, provider, subject)
    VALUES ('{ANN}', 'example', 'ann'), ('{BOB}', 'example', 'bob'), ('{EVE}', 'example', 'eve')
"""


def _no_row_filter(text: str) -> NoReturn:
    raise AssertionError(text)


@pytest_asyncio.fixture
async def users(postgres_database: PostgresDatabase) -> AsyncIterator[LinkedUsers]:
    """Ann is an active user of client a, Bob was deactivated, Eve is of no client."""
    init_database(postgres_database.dsn("migrator"))
    postgres_database.execute(PEOPLE)
    engine = PostgresEngine("main", PoolOptions(postgres_database.dsn()), schemas=("app",), secret=b"secret", emit=discard)
    await engine.start()
    catalog = Catalog(1, {collection.name: collection for collection in builtin_collections("main")})
    plans = Plans(lambda: catalog, {"main": engine}, limits=DEFAULT_LIMITS, parse_filter=_no_row_filter, emit=discard)

    async def reload(changed: str | None = None) -> None:
        """Nothing changes here."""
        del changed

    yield LinkedUsers(Documents(plans, Coalescer(discard), cursor_secret=b"secret", reload=reload, emit=discard))
    await engine.close()


@pytest.mark.database
async def test_an_active_user_is_found_with_their_client_by_provider_and_subject(users: LinkedUsers) -> None:
    assert await users.find("example", "ann") == Subject("a", ANN)
    assert await users.find("another", "ann") is None
    assert await users.find("example", "nobody") is None


@pytest.mark.database
async def test_a_user_who_was_deactivated_is_nobody(users: LinkedUsers) -> None:
    assert await users.find("example", "bob") is None


@pytest.mark.database
async def test_a_user_of_no_client_is_found_without_one(users: LinkedUsers) -> None:
    assert await users.find("example", "eve") == Subject(None, EVE)


@pytest.mark.database
async def test_a_subject_that_no_text_can_hold_is_nobody(users: LinkedUsers) -> None:
    assert await users.find("example", "a\x00b") is None
