"""Scopes: nobody sees or changes another tenant's documents, by any call."""

import json
from typing import Any

import pytest

from portico.errors import DuplicateDocument, PorticoError, UnknownReference
from portico.model.page import Page
from portico.model.scope import Scope
from portico.query.scoped import ListPage
from tests.engines.declarations import ANN, AWAY, BOTH, EVE, HOME, NOBODY, ODD, OF_ANN, OF_ANN_ALONE, OF_EVE
from tests.engines.harness import Harness

SEEN = [
    (HOME, 1, 2, 2, [1, 2, 11, 12]),
    (AWAY, 1, 1, 1, [21, 22]),
    (BOTH, 2, 3, 3, [1, 2, 11, 12, 21, 22]),
    (OF_ANN_ALONE, 1, 2, 1, [1, 2]),
    (ODD, 0, 0, 0, []),
    (NOBODY, 0, 0, 0, []),
]


@pytest.mark.parametrize(("scope", "clients", "users", "conversations", "messages"), SEEN)
async def test_lists_and_counts_show_the_documents_of_the_scope_alone(
    family: Harness, scope: Scope, clients: int, users: int, conversations: int, messages: list[int]
) -> None:
    mine = family.within(scope)
    assert await mine.count("clients") == clients
    assert await mine.count("users") == users
    assert len(await mine.documents("conversations")) == conversations
    assert await mine.ids("messages", "order=message_id") == messages
    assert await mine.count("messages") == len(messages)


@pytest.mark.parametrize("scope", [AWAY, ODD, NOBODY, Scope(clients=("away",), users=(EVE,))])
async def test_another_tenants_document_is_not_found_by_its_key(family: Harness, scope: Scope) -> None:
    mine = family.within(scope)
    assert await mine.get("users", ANN) is None
    assert await mine.get("conversations", OF_ANN) is None
    assert await mine.get("messages", 1) is None
    assert await mine.change("users", ANN, {"email": "stolen@example.org"}) is None
    assert await mine.change("conversations", OF_ANN, {"title": "stolen"}) is None
    assert await mine.change("messages", 1, {"content": "stolen"}) is None
    assert await mine.delete("messages", 1) is None
    assert await mine.delete("conversations", OF_ANN, cascades=mine.cascades("conversations")) is None
    assert await family.count("messages", "content=eq.stolen") == 0
    assert await family.count("messages") == 6


async def test_no_filter_reaches_beyond_the_scope(family: Harness) -> None:
    mine = family.within(HOME)
    assert await mine.ids("messages", "or=(message_id.gt.0,message_id.is.null)&order=message_id") == [1, 2, 11, 12]
    assert await mine.ids("messages", "not.and=(message_id.is.null)&order=message_id") == [1, 2, 11, 12]
    changed = await mine.change_matching("messages", {"message_id": {"$gt": 0}}, {"content": "mine"})
    assert changed.count == 4
    assert await family.count("messages", "content=eq.mine") == 4
    deleted = await mine.delete_matching("messages", {"$or": [{"message_id": {"$gt": 0}}, {"content": None}]})
    assert deleted.count == 4
    assert await family.ids("messages", "order=message_id") == [21, 22]


async def refused(work: Any) -> PorticoError:
    with pytest.raises(PorticoError) as error:
        await work
    return error.value


async def test_a_document_cannot_be_created_in_or_moved_to_another_tenant(family: Harness) -> None:
    mine = family.within(HOME)
    new = "00000000-0000-4000-8000-000000000099"
    assert isinstance(await refused(mine.create("conversations", {"conversation_id": new, "user_id": EVE, "title": "x"})), UnknownReference)
    missing = await refused(mine.create("conversations", {"conversation_id": new, "user_id": new, "title": "x"}))
    assert isinstance(missing, UnknownReference)
    assert isinstance(
        await refused(mine.create("messages", {"message_id": 99, "conversation_id": OF_EVE, "content": "x"})), UnknownReference
    )
    await refused(mine.create("users", {"user_id": new, "client_id": "away"}))
    await refused(mine.change("users", ANN, {"client_id": "away"}))
    await refused(mine.change("messages", 1, {"conversation_id": OF_EVE}))
    assert await family.count("conversations") == 3
    assert await family.count("users", "client_id=eq.away") == 1
    assert await family.count("messages", f"conversation_id=eq.{OF_EVE}") == 2


async def test_a_value_that_another_tenant_holds_is_a_plain_duplicate(family: Harness) -> None:
    mine = family.within(AWAY)
    error = await refused(
        mine.create("users", {"user_id": "00000000-0000-4000-8000-000000000098", "client_id": "away", "email": "user0@example.org"})
    )
    assert isinstance(error, DuplicateDocument)
    assert "home" not in str(error.details)


async def test_includes_come_from_the_scope_of_their_parent(family: Harness) -> None:
    mine = family.within(OF_ANN_ALONE)
    documents = await mine.documents("conversations", "select=title,messages(message_id),user(email)")
    assert documents == [{"title": "talk 0", "messages": [{"message_id": 1}, {"message_id": 2}], "user": {"email": "user0@example.org"}}]


async def test_an_export_holds_the_documents_of_the_scope_alone(family: Harness) -> None:
    mine = family.within(HOME)
    plan, call = mine.exporting("messages", "order=message_id")
    text = b"".join([chunk async for chunk in mine.engine.stream(plan, call)])
    assert [json.loads(line)["message_id"] for line in text.splitlines()] == [1, 2, 11, 12]


async def test_calls_of_several_scopes_in_one_run_each_get_their_own(family: Harness) -> None:
    scopes = [HOME, AWAY, OF_ANN_ALONE, HOME, NOBODY]
    bound, values = family.bound("messages", "order=message_id")
    plan = family.engine.compile(ListPage(bound, family.within(HOME).rule("messages")))
    outcomes = await family.engine.run(plan, [family.within(scope).call(values) for scope in scopes])
    counts = [outcome.count for outcome in outcomes if isinstance(outcome, Page)]
    assert counts == [4, 2, 2, 4, 0]


async def test_a_scope_of_everything_reaches_nothing_through_a_rule_that_is_limited(family: Harness) -> None:
    bound, values = family.bound("users", "")
    plan = family.engine.compile(ListPage(bound, family.within(HOME).rule("users")))
    outcome = (await family.engine.run(plan, [family.call(values)]))[0]
    assert getattr(outcome, "count", 0) == 0
