"""Idempotency keys in the engines: claimed by one transaction at a time, stored with its commit, forgotten after their time."""

from dataclasses import replace
from typing import cast

import pytest

from portico.engines.base import Forgetting, Keyed, Transaction
from portico.errors import RequestInFlight, StaleSnapshot
from portico.model.idempotency import Answered, RequestKey, tenant_of
from portico.model.scope import EVERYTHING, Scope
from tests.engines.harness import Harness

KEY = RequestKey("service", "", "key", b"hash", 3600)
ANSWER = Answered(201, (("location", "/things/1"), ("content-type", "application/json")), '{"a":"\u00e9 \u2028"}'.encode())


async def begun(things: Harness) -> tuple[Transaction, Keyed]:
    """A unit of work, as what it is twice."""
    transaction = await things.engine.begin(unit=True)
    return transaction, cast("Keyed", transaction)


async def stored(things: Harness, key: RequestKey = KEY) -> None:
    """Store an answer under a key."""
    transaction, keyed = await begun(things)
    assert await keyed.claim(key, EVERYTHING) is None
    await keyed.keep(key, ANSWER)
    await transaction.commit()


async def test_an_answer_is_found_under_its_key_from_the_commit_on(things: Harness) -> None:
    transaction, keyed = await begun(things)
    assert await keyed.claim(KEY, EVERYTHING) is None
    await keyed.keep(KEY, ANSWER)
    await transaction.rollback()
    await stored(things)
    transaction, keyed = await begun(things)
    kept = await keyed.claim(KEY, EVERYTHING)
    await transaction.rollback()
    assert kept is not None
    assert (kept.request_hash, kept.answer) == (b"hash", ANSWER)


async def test_one_transaction_at_a_time_has_a_key(things: Harness) -> None:
    first, keyed = await begun(things)
    await keyed.claim(KEY, EVERYTHING)
    second, other = await begun(things)
    with pytest.raises(RequestInFlight):
        await other.claim(KEY, EVERYTHING)
    await second.rollback()
    third, free = await begun(things)
    assert await free.claim(replace(KEY, tenant="acme"), EVERYTHING) is None
    await third.rollback()
    await first.rollback()
    await stored(things)


async def test_an_answer_that_is_too_old_counts_as_forgotten_and_is_replaced(things: Harness) -> None:
    await stored(things)
    late = replace(KEY, life_seconds=0.0, request_hash=b"another")
    await stored(things, late)
    transaction, keyed = await begun(things)
    kept = await keyed.claim(KEY, EVERYTHING)
    await transaction.rollback()
    assert kept is not None
    assert kept.request_hash == b"another"


async def test_an_answer_that_came_in_between_is_never_replaced(things: Harness) -> None:
    await stored(things)
    transaction, keyed = await begun(things)
    with pytest.raises(StaleSnapshot):
        await keyed.keep(KEY, ANSWER)
    await transaction.rollback()


async def test_what_has_expired_is_removed_a_few_at_a_time(things: Harness) -> None:
    for place in range(5):
        await stored(things, replace(KEY, key=str(place)))
    engine = cast("Forgetting", things.engine)
    assert await engine.forget_keys(3600, 100) == 0
    assert [await engine.forget_keys(0, 2) for _ in range(4)] == [2, 2, 1, 0]


def test_different_scopes_never_share_a_key() -> None:
    scopes = [
        EVERYTHING,
        Scope(),
        Scope(clients=("a",)),
        Scope(clients=("a",), users=("u",)),
        Scope(clients=("a", "b")),
        Scope(clients=("a,b",)),
        Scope(clients=("a",), users=("u", "v")),
    ]
    assert len({tenant_of(scope) for scope in scopes}) == len(scopes)
