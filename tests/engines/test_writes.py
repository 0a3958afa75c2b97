"""Writes: what they answer, what they refuse, and what they leave in the audit and the versions."""

import asyncio
import json
from typing import Any

import pytest

from portico.errors import (
    ConstraintViolated,
    DuplicateDocument,
    MissingValue,
    PorticoError,
    PreconditionFailed,
    ReferencedDocument,
    TooManyAffected,
    UnknownReference,
)
from portico.model.page import Document
from tests.engines.declarations import ANN, BEN, HOME, OF_ANN, THINGS
from tests.engines.harness import Harness, OpenHarness


async def refused(work: Any) -> PorticoError:
    """The error of a call."""
    with pytest.raises(PorticoError) as error:
        await work
    return error.value


async def test_a_created_document_is_answered_whole_with_its_key_and_hash(open_harness: OpenHarness) -> None:
    harness = await open_harness(THINGS)
    made = await harness.create("things", {"id": 5, "text": "new"})
    assert made is not None
    assert (made.created, made.key) == (True, "5")
    assert json.loads(made.body)["text"] == "new"
    read = await harness.get("things", 5)
    assert read is not None
    assert json.loads(read.body) == json.loads(made.body)
    assert read.etag == made.etag


async def test_a_taken_key_is_a_duplicate_and_changes_nothing(things: Harness) -> None:
    assert isinstance(await refused(things.create("things", {"id": 1, "text": "again"})), DuplicateDocument)
    assert await things.ids("things", "text=eq.alpha") == [1]


async def test_a_value_that_is_taken_names_its_field(family: Harness) -> None:
    taken = {"user_id": "00000000-0000-4000-8000-000000000077", "client_id": "home", "email": "user0@example.org"}
    error = await refused(family.create("users", taken))
    assert isinstance(error, DuplicateDocument)
    assert error.details["fields"] == ["email"]
    assert "example.org" not in error.message


async def test_what_the_table_refuses_is_the_callers_error(family: Harness) -> None:
    message = {"message_id": 50, "conversation_id": OF_ANN, "content": "x", "size": 1}
    assert isinstance(await refused(family.create("messages", message | {"content": None})), MissingValue)
    assert isinstance(await refused(family.create("messages", message | {"size": -1})), ConstraintViolated)
    assert isinstance(await refused(family.create("messages", message | {"conversation_id": ANN})), UnknownReference)
    assert isinstance(await refused(family.change("messages", 1, {"content": None})), MissingValue)
    assert await family.count("messages") == 6


async def test_one_bad_create_among_many_fails_alone(open_harness: OpenHarness) -> None:
    harness = await open_harness(THINGS)
    await harness.create("things", {"id": 3, "text": "first"})
    outcomes = await harness.create_all("things", [{"id": key, "text": "many"} for key in range(6)])
    assert [isinstance(outcome, Document) for outcome in outcomes] == [True, True, True, False, True, True]
    assert isinstance(outcomes[3], DuplicateDocument)
    assert await harness.ids("things", "text=eq.many&order=id") == [0, 1, 2, 4, 5]


async def test_a_change_answers_the_document_after_it(things: Harness) -> None:
    changed = await things.change("things", 1, {"text": "other", "price": 5, "data": {"a": [1]}, "flag": None})
    assert changed is not None
    shown = json.loads(changed.body)
    assert (shown["text"], shown["price"], shown["data"], shown["flag"], shown["number"]) == ("other", 5, {"a": [1]}, None, 1)
    read = await things.get("things", 1)
    assert read is not None
    assert read.etag == changed.etag


async def test_a_change_with_an_old_hash_is_refused(things: Harness) -> None:
    first = await things.get("things", 1)
    assert first is not None
    changed = await things.change("things", 1, {"text": "second"}, etag=first.etag)
    assert changed is not None
    assert changed.etag != first.etag
    assert isinstance(await refused(things.change("things", 1, {"text": "third"}, etag=first.etag)), PreconditionFailed)
    assert await things.ids("things", "text=eq.second") == [1]


async def test_a_hash_tells_values_of_other_types_apart(things: Harness) -> None:
    first = await things.get("things", 4)
    changes: list[dict[str, object]] = [{"text": ""}, {"text": "1"}, {"text": None, "number": 1}, {"number": None, "tags": []}]
    for change in changes:
        changed = await things.change("things", 4, change)
        assert changed is not None
        assert first is not None
        assert changed.etag != first.etag
        first = changed


async def test_of_many_changes_with_the_same_hash_one_wins(things: Harness) -> None:
    first = await things.get("things", 1)
    assert first is not None
    work = [things.change("things", 1, {"number": 100 + at}, etag=first.etag) for at in range(12)]
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    won = [outcome for outcome in outcomes if isinstance(outcome, Document)]
    assert len(won) == 1
    assert all(isinstance(outcome, Document | PreconditionFailed) for outcome in outcomes)
    read = await things.get("things", 1)
    assert read is not None
    assert read.etag == won[0].etag


async def test_a_change_or_delete_of_nothing_is_not_found(things: Harness) -> None:
    assert await things.change("things", 77, {"text": "x"}) is None
    assert await things.delete("things", 77) is None


async def test_a_deleted_document_is_gone(things: Harness) -> None:
    assert isinstance(await things.delete("things", 1), Document)
    assert await things.get("things", 1) is None


async def test_a_delete_with_an_old_hash_is_refused(things: Harness) -> None:
    assert isinstance(await refused(things.delete("things", 1, etag="0" * 32)), PreconditionFailed)
    assert await things.get("things", 1) is not None


async def test_a_change_of_all_that_match_answers_them(things: Harness) -> None:
    changed = await things.change_matching("things", {"number": {"$gte": 2}}, {"text": "many"})
    assert changed.count == 2
    assert changed.body is not None
    assert sorted(document["id"] for document in json.loads(changed.body)) == [2, 3]
    assert await things.ids("things", "text=eq.many&order=id") == [2, 3]


async def test_a_change_of_more_than_allowed_changes_nothing(things: Harness) -> None:
    work = things.change_matching("things", {"number": {"$gte": 1}}, {"text": "many"}, limit=2)
    assert isinstance(await refused(work), TooManyAffected)
    assert await things.count("things", "text=eq.many") == 0
    assert isinstance(await refused(things.delete_matching("things", {"number": {"$gte": 1}}, limit=2)), TooManyAffected)
    assert await things.count("things") == 4
    assert (await things.delete_matching("things", {"number": {"$gte": 2}}, limit=2)).count == 2


async def test_a_document_that_others_refer_to_stays(family: Harness) -> None:
    assert isinstance(await refused(family.delete("clients", "home")), ReferencedDocument)
    assert await family.get("clients", "home") is not None


async def test_each_change_leaves_a_row_of_the_audit_with_before_and_after(family: Harness) -> None:
    mine = family.within(HOME)
    await mine.change("users", ANN, {"email": "ann@example.org", "password_hash": "secret"}, audit=True)
    await mine.delete("messages", 1, audit=True)
    rows = await audit_of(family)
    assert [(row[0], row[1], row[2]) for row in rows] == [("users", "update", ANN), ("messages", "delete", "1")]
    before, after = json.loads(rows[0][3]), json.loads(rows[0][4])
    assert (before["email"], before["password_hash"]) == ("user0@example.org", None)
    assert (after["email"], after["password_hash"]) == ("ann@example.org", "***")
    assert json.loads(rows[1][3])["content"] == "hello 1"
    assert rows[1][4] is None
    assert rows[0][5:] == ("billing", "test-correlation")


async def test_a_refused_write_leaves_no_row_of_the_audit(family: Harness) -> None:
    await refused(family.change("users", ANN, {"email": "user1@example.org"}, audit=True))
    await refused(family.create("users", {"user_id": BEN, "client_id": "home"}, audit=True))
    assert await audit_of(family) == []


async def audit_of(harness: Harness) -> list[tuple[Any, ...]]:
    """The audit's rows, read from the database itself."""
    table = "portico_audit" if harness.engine.kind == "sqlite" else "portico.audit"
    cast = "" if harness.engine.kind == "sqlite" else "::text"
    columns = f"collection, operation, document_key, before{cast}, after{cast}, service, correlation_id"
    return [tuple(row) for row in await harness.fetch(f"SELECT {columns} FROM {table} ORDER BY id")]
