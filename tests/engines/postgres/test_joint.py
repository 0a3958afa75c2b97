"""Joint statements on a real PostgreSQL: who shares them, who waits for whom, and that tenants never mix."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from portico.engines.postgres import reads
from portico.engines.postgres.pool import Share
from portico.engines.postgres.scoping import Guard, guard
from portico.errors import DuplicateDocument, InternalError
from portico.events import PlanDisjoined
from portico.model.page import Document, Page
from portico.model.scope import EVERYTHING, Scope
from portico.service import coalesce
from tests.engines.postgres.conftest import A, B, Notes
from tests.servers.waiting import wait_until_async

pytestmark = pytest.mark.database


def spy(notes: Notes, monkeypatch: pytest.MonkeyPatch, slow_seconds: float = 60.0) -> list[int]:
    """How many calls each statement of the engine ran, in order; on a busy machine too, none of them counts as slow."""
    monkeypatch.setattr(coalesce, "SLOW_SECONDS", slow_seconds)
    sizes: list[int] = []
    run = notes.engine.run

    async def counted(plan: Any, calls: Any, *, timeout: float | None = None, gathered: bool = False) -> Any:
        sizes.append(len(calls))
        return await run(plan, calls, timeout=timeout, gathered=gathered)

    monkeypatch.setattr(notes.engine, "run", counted)
    return sizes


async def until(condition: Callable[[], object], what: str, within: float = 10) -> None:
    async def holds() -> object:
        return condition()

    await wait_until_async(holds, within, what)


async def blocked_read(notes: Notes) -> asyncpg.Connection[Any]:
    """A session that holds the table against every reader until it ends."""
    blocker = await asyncpg.connect(notes.database.dsn("postgres"))
    await blocker.execute("BEGIN; LOCK TABLE app.notes IN ACCESS EXCLUSIVE MODE")
    return blocker


async def test_calls_that_wait_at_the_same_moment_share_a_statement(notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = spy(notes, monkeypatch)
    answers = await notes.run_at_once(notes.reading(), [((1 + number % 4,), A if number % 2 == 0 else B) for number in range(40)])
    assert sizes == [1, 39]  # the first found nothing under way
    assert [json.loads(answer.body)["id"] for answer in answers] == [1 + number % 4 for number in range(40)]


async def test_a_call_joins_no_statement_that_was_sent_before_it_came_and_two_are_under_way_at_most(
    notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = spy(notes, monkeypatch)
    lane = notes.reading()
    blocker = await blocked_read(notes)
    first = asyncio.gather(notes.run(lane, (1,)))
    await until(lambda: sizes == [1], "the first statement")
    second = asyncio.gather(*(notes.run(lane, (2,)) for _ in range(4)))
    await until(lambda: sizes == [1, 4], "the second statement")
    third = asyncio.gather(*(notes.run(lane, (3,)) for _ in range(5)))
    await notes.until_running(2)
    assert sizes == [1, 4]
    assert len(lane.waiting) == 5
    await blocker.close()
    await asyncio.gather(first, second, third)
    assert sizes == [1, 4, 5]


async def test_no_statement_holds_more_than_256_calls(notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = spy(notes, monkeypatch)
    answers = await notes.run_at_once(notes.reading(), [((1,), A)] * 700)
    assert sizes == [1, 256, 256, 187]
    assert all(isinstance(answer, Document) for answer in answers)


async def test_each_caller_gets_its_own_tenants_documents_and_nobody_elses(notes: Notes) -> None:
    answers = await notes.run_at_once(notes.reading(), [((number,), scope) for scope in (A, B) for number in (1, 2, 3, 4)])
    assert [isinstance(answer, Document) for answer in answers] == [True, False, True, False, False, True, False, True]
    lane, values = notes.listing()
    pages = await notes.run_at_once(lane, [(values, scope) for scope in (A, B, A, Scope(clients=("nobody",)))])
    assert [[item["id"] for item in json.loads(page.body)] for page in pages] == [[1, 3], [2, 4], [1, 3], []]


async def test_calls_of_everything_never_share_with_scoped_ones(notes: Notes) -> None:
    outcomes = await notes.engine.run(notes.reading().plan, [notes.harness.within(scope).call((1,)) for scope in (A, EVERYTHING, B)])
    # A plan of scoped callers answers nobody who may see everything but by the row's own tenant.
    assert [isinstance(outcome, Document) for outcome in outcomes] == [True, False, False]
    lane = notes.reading(EVERYTHING)
    answers = await notes.run_at_once(lane, [((number,), EVERYTHING) for number in (1, 2)])
    assert all(isinstance(answer, Document) for answer in answers)


async def test_without_its_predicate_a_statement_is_limited_by_row_level_security(notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    real = guard

    def unguarded(*arguments: Any) -> Guard:
        return Guard([], [], real(*arguments).tenant)

    monkeypatch.setattr(reads, "guard", unguarded)
    assert await notes.run(notes.reading(), (2,)) is None
    lane, values = notes.listing()
    page = await notes.run(lane, values)
    assert isinstance(page, Page)
    assert [item["client_id"] for item in json.loads(page.body)] == ["a", "a"]


@pytest.mark.parametrize("many", [1, 3])
async def test_without_predicate_and_policy_the_comparison_answers_nothing(
    notes: Notes, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    real = guard
    monkeypatch.setattr(reads, "guard", lambda *arguments: Guard([], [], real(*arguments).tenant))
    notes.database.execute("ALTER TABLE app.notes NO FORCE ROW LEVEL SECURITY; ALTER TABLE app.notes DISABLE ROW LEVEL SECURITY")
    answers = await notes.run_at_once(notes.reading(), [((2,), A)] * many)
    assert all(isinstance(answer, InternalError) and answer.details == {"type": "ForeignRow"} for answer in answers)
    lane, values = notes.listing()
    assert all(isinstance(answer, InternalError) for answer in await notes.run_at_once(lane, [(values, A)] * many))


async def test_without_its_policy_a_statement_is_limited_by_its_predicate(notes: Notes) -> None:
    notes.database.execute("ALTER TABLE app.notes NO FORCE ROW LEVEL SECURITY; ALTER TABLE app.notes DISABLE ROW LEVEL SECURITY")
    assert await notes.run_at_once(notes.reading(), [((2,), A), ((1,), B)]) == [None, None]


async def test_the_scope_does_not_outlive_its_statement(notes: Notes) -> None:
    lane, values = notes.listing()
    await notes.run_at_once(notes.reading(), [((1,), A), ((2,), B)])
    await notes.run(lane, values)
    await notes.run(notes.creating(), (None, 50, "a", "fresh"))
    await notes.run(notes.changing(), (50, "changed"))
    await notes.run(notes.reading(EVERYTHING), (1,), EVERYTHING)
    for share in (Share.JOINT, Share.ALONE):
        async with notes.engine._pool.acquire(share) as connection:
            row = await connection.fetchrow(
                "SELECT current_setting('portico.clients', true), current_setting('portico.users', true), "
                "current_setting('portico.all', true), current_setting('lock_timeout')"
            )
            assert row is not None
            assert tuple(value or "" for value in row) == ("", "", "", "0")


async def test_one_bad_create_among_two_hundred_fails_alone(notes: Notes) -> None:
    calls: list[tuple[tuple[object, ...], Scope]] = [((None, 1000 + number, "a", f"new {number}"), A) for number in range(199)]
    calls.insert(77, ((None, 1, "a", "taken key"), A))
    answers = await notes.run_at_once(notes.creating(), calls)
    assert [place for place, answer in enumerate(answers) if not isinstance(answer, Document)] == [77]
    assert isinstance(answers[77], DuplicateDocument)
    assert notes.database.execute("SELECT count(*) FROM app.notes") == [(4 + 199,)]
    assert notes.database.execute("SELECT count(*) FROM portico.audit") == [(199,)]


async def test_an_uncommitted_insert_of_the_same_value_delays_its_own_caller_alone(notes: Notes) -> None:
    other = await asyncpg.connect(notes.database.dsn("postgres"))
    await other.execute("BEGIN; INSERT INTO app.notes VALUES (900, 'b', 'contested')")
    lane = notes.creating()
    delayed = asyncio.create_task(notes.run(lane, (None, 500, "a", "contested")))
    calls = [((None, 501 + number, "a", f"free {number}"), A) for number in range(40)]
    async with asyncio.timeout(4):
        answers = await notes.run_at_once(lane, calls)
    assert all(isinstance(answer, Document) for answer in answers)
    assert not delayed.done()
    await other.execute("ROLLBACK")
    await other.close()
    assert isinstance(await delayed, Document)


async def test_a_locked_row_delays_the_changes_of_that_row_alone(notes: Notes) -> None:
    other = await asyncpg.connect(notes.database.dsn("postgres"))
    await other.execute("BEGIN; SELECT * FROM app.notes WHERE id = 1 FOR UPDATE")
    lane = notes.changing()
    # More callers than there are connections wait for the locked row.
    delayed = [asyncio.create_task(notes.run(lane, (1, f"delayed {number}"))) for number in range(20)]
    await notes.until_running(1)
    async with asyncio.timeout(4):
        for number in range(20):
            assert isinstance(await notes.run(lane, (3, f"free {number}")), Document)
            assert isinstance(await notes.run(notes.reading(), (1,)), Document)
    assert not any(task.done() for task in delayed)
    await other.close()
    assert all(isinstance(answer, Document) for answer in await asyncio.gather(*delayed))


@pytest.mark.parametrize("joint", [True, False])
async def test_a_read_whose_callers_have_left_is_cancelled_at_the_server(
    notes: Notes, monkeypatch: pytest.MonkeyPatch, joint: bool
) -> None:
    monkeypatch.setattr(coalesce, "SLOW_SECONDS", 60.0)
    blocker = await blocked_read(notes)
    lane = notes.reading()
    callers = [asyncio.create_task(notes.run(lane, (1,))) for _ in range(3 if joint else 1)]
    # The first goes out at once; those who come with it share the next statement.
    await notes.until_running(2 if joint else 1)
    for caller in callers:
        caller.cancel()
    await notes.until_running(0, within=5)
    await blocker.close()
    assert isinstance(await notes.run(lane, (1,)), Document)
    assert notes.engine.pool_status().checked_out == 0


async def test_a_caller_who_leaves_does_not_end_the_statement_of_those_who_stay(notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coalesce, "SLOW_SECONDS", 60.0)
    blocker = await blocked_read(notes)
    lane = notes.reading()
    callers = [asyncio.create_task(notes.run(lane, (1,))) for _ in range(3)]
    await notes.until_running(2)  # the first went out at once, the others together
    callers[1].cancel()
    await asyncio.wait(callers[1:2])
    await blocker.close()
    assert isinstance(await callers[0], Document)
    assert isinstance(await callers[2], Document)


async def test_a_write_whose_caller_has_left_is_completed_and_its_connection_used_again(notes: Notes) -> None:
    other = await asyncpg.connect(notes.database.dsn("postgres"))
    await other.execute("BEGIN; SELECT * FROM app.notes WHERE id = 1 FOR UPDATE")
    caller = asyncio.create_task(notes.run(notes.changing(), (1, "left")))
    await until(lambda: any("lock_timeout" not in text for text in notes.statements("%FOR UPDATE%")), "the write that waits")
    caller.cancel()
    await asyncio.wait([caller])
    await other.close()
    await until(lambda: notes.engine.pool_status().checked_out == 0, "the connection's return")
    assert notes.database.execute("SELECT title FROM app.notes WHERE id = 1") == [("left",)]
    assert notes.engine.pool_status().invalid == 0


async def test_nobody_waits_behind_a_slow_joint_statement_and_its_plan_is_taken_out(notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coalesce, "STRIKES", 1)
    notes.database.execute("CREATE POLICY slow ON app.notes AS RESTRICTIVE USING (id <> 1 OR pg_sleep(60) IS NOT NULL)")
    sizes = spy(notes, monkeypatch, coalesce.SLOW_SECONDS)
    lane = notes.reading()
    slow = [asyncio.create_task(notes.run(lane, (1,)))]
    await until(lambda: sizes == [1], "the first slow statement")
    slow += [asyncio.create_task(notes.run(lane, (1,))) for _ in range(2)]
    await until(lambda: sizes == [1, 2], "the second slow statement")
    waiting = asyncio.create_task(notes.run(lane, (3,)))
    assert isinstance(await waiting, Document)
    assert not any(task.done() for task in slow)
    await until(lambda: any(isinstance(event, PlanDisjoined) and event.reason == "slow" for event in notes.events), "the plan's removal")
    sizes.clear()
    await notes.run_at_once(lane, [((3,), A)] * 3)
    assert sizes == [1, 1, 1]
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)


async def test_a_service_whose_creates_often_fail_is_taken_out_and_the_others_are_not(
    notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = spy(notes, monkeypatch)
    lane = notes.creating()
    failing = [notes.run(lane, (None, 1, "a", f"bad {number}"), service="failing") for number in range(coalesce.FAILURES_APART + 1)]
    good = [notes.run(lane, (None, 2000 + number, "a", f"good {number}"), service="good") for number in range(20)]
    await asyncio.gather(*failing, *good, return_exceptions=True)
    assert [event.reason for event in notes.events if isinstance(event, PlanDisjoined)] == ["failing"]
    sizes.clear()
    await asyncio.gather(*(notes.run(lane, (None, 3000 + number, "a", f"more {number}"), service="good") for number in range(5)))
    assert sizes == [1, 4]
    sizes.clear()
    await asyncio.gather(*(notes.run(lane, (None, 4000 + number, "a", f"again {number}"), service="failing") for number in range(5)))
    assert sizes == [1] * 5


async def test_an_error_of_all_is_each_callers_own(notes: Notes) -> None:
    notes.database.execute("REVOKE ALL ON app.notes FROM appuser")
    answers = await notes.run_at_once(notes.reading(), [((1,), A)] * 3)
    assert len({id(answer) for answer in answers}) == 3
    assert len({type(answer) for answer in answers}) == 1
