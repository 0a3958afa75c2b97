"""Counts that the planner guesses: fast on large tables, exact on small ones, and of the caller's documents alone."""

from __future__ import annotations

import pytest

from portico.model.page import Page
from portico.model.scope import EVERYTHING, Scope
from tests.engines.postgres.conftest import A, Notes

pytestmark = pytest.mark.database
MANY = Scope(clients=("many",))


@pytest.fixture
def filled(notes: Notes) -> Notes:
    """Four notes, and 5,000 of another tenant."""
    notes.database.execute("INSERT INTO app.notes SELECT 1000 + n, 'many', 'note ' || n FROM generate_series(1, 5000) n; ANALYZE app.notes")
    return notes


async def total(notes: Notes, mode: str, scope: Scope, condition: str = "") -> int | None:
    lane, values = notes.listing(scope, f"limit=2&count={mode}{condition}")
    page = await notes.run(lane, values, scope)
    assert isinstance(page, Page)
    assert page.count <= 2
    return page.total


async def test_a_planned_count_is_near_the_truth_and_counts_nothing(filled: Notes) -> None:
    guess = await total(filled, "planned", MANY)
    assert guess is not None
    assert 4000 < guess < 6000
    everything = await total(filled, "planned", EVERYTHING)
    assert everything is not None
    assert 4500 < everything < 5500
    filled.database.execute("DELETE FROM app.notes WHERE id > 1100")
    assert await total(filled, "exact", MANY) == 100
    assert (await total(filled, "planned", MANY) or 0) > 1000


async def test_an_estimated_count_is_exact_where_that_is_cheap(filled: Notes) -> None:
    assert await total(filled, "estimated", A) == 2
    assert await total(filled, "estimated", MANY, "&id=lt.1011") == 10
    assert (await total(filled, "estimated", MANY) or 0) > 1000


async def test_a_count_of_no_more_than_a_guess_leaves_no_scope_behind(filled: Notes) -> None:
    await total(filled, "planned", MANY)
    async with filled.engine._pool.acquire("alone") as connection:  # type: ignore[arg-type]
        assert not await connection.fetchval("SELECT current_setting('portico.clients', true)")


async def test_a_planned_count_runs_inside_a_transaction_too(filled: Notes) -> None:
    lane, values = filled.listing(A, "limit=2&count=estimated")
    transaction = await filled.engine.begin()
    page = await transaction.run(lane.plan, filled.harness.within(A).call(values))
    await transaction.commit()
    assert isinstance(page, Page)
    assert page.total == 2
