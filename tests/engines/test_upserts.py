"""Upserts: what is there is changed or left as it is, what is not is created, with the audit rows of each."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portico.errors import DuplicateDocument, UnknownReference
from portico.model.page import Document
from portico.query.bind import bind_filter
from portico.syntax.mongo import parse as parse_json
from tests.engines.declarations import ANN, AWAY, BEN, EVE, HOME, OF_ANN, OF_BEN, OF_EVE, THINGS
from tests.engines.harness import Harness, OpenHarness
from tests.engines.test_writes import refused

NEW = "00000000-0000-4000-8000-000000000077"
AUDIT = {"sqlite": "portico_audit", "postgresql": "portico.audit"}


async def audited(harness: Harness) -> list[tuple[str, str, Any, Any]]:
    """Operation, key, before and after of every audit row, in order."""
    rows = await harness.fetch(f"SELECT operation, document_key, before, after FROM {AUDIT[harness.engine.kind]} ORDER BY id")
    return [(row[0], row[1], *(json.loads(part) if isinstance(part, str) else part for part in row[2:])) for row in rows]


async def test_an_upsert_creates_or_merges_and_the_audit_says_which(family: Harness) -> None:
    merged = await family.create(
        "users", {"user_id": BEN, "client_id": "home", "email": "new@example.org"}, on_conflict=("user_id",), resolution="merge", audit=True
    )
    made = await family.create(
        "users",
        {"user_id": NEW, "client_id": "home", "email": "made@example.org"},
        on_conflict=("user_id",),
        resolution="merge",
        audit=True,
    )
    assert merged is not None
    assert made is not None
    assert (merged.created, made.created) == (False, True)
    assert (merged.key, made.key) == (BEN, NEW)
    rows = await audited(family)
    assert [(row[0], row[1]) for row in rows] == [("update", BEN), ("create", NEW)]
    assert (rows[0][2]["email"], rows[0][3]["email"]) == ("user1@example.org", "new@example.org")
    assert (rows[1][2], rows[1][3]["email"]) == (None, "made@example.org")
    read = await family.get("users", BEN)
    assert read is not None
    assert (read.etag, json.loads(read.body)) == (merged.etag, json.loads(merged.body))


async def test_a_merge_by_another_unique_value_keeps_the_key_and_what_is_not_merged(family: Harness) -> None:
    document = {"user_id": NEW, "client_id": "home", "email": "user1@example.org", "password_hash": "h"}
    merged = await family.create("users", document, on_conflict=("email",), resolution="merge", merge=("password_hash",))
    assert merged is not None
    assert (merged.created, merged.key) == (False, BEN)
    assert await family.count("users") == 3


async def test_a_document_that_is_ignored_is_not_answered_not_changed_and_not_audited(family: Harness) -> None:
    document = {"user_id": BEN, "client_id": "home", "email": "new@example.org"}
    assert await family.create("users", document, on_conflict=("user_id",), resolution="ignore", audit=True) is None
    assert await family.count("users", "email=eq.user1@example.org") == 1
    assert await audited(family) == []


async def test_where_there_is_nothing_to_merge_the_document_is_answered_as_it_is(family: Harness) -> None:
    before = await family.get("users", BEN)
    merged = await family.create("users", {"user_id": BEN}, on_conflict=("user_id",), resolution="merge", audit=True)
    assert merged is not None
    assert before is not None
    assert (merged.created, merged.etag) == (False, before.etag)
    assert await audited(family) == []


@pytest.mark.parametrize("resolution", ["merge", "ignore"])
async def test_another_tenants_document_is_a_duplicate_as_for_a_create(family: Harness, resolution: str) -> None:
    mine = family.within(AWAY)
    document = {"user_id": ANN, "client_id": "away", "email": "taken@example.org"}
    error = await refused(mine.create("users", document, on_conflict=("user_id",), resolution=resolution, audit=True))
    plain = await refused(mine.create("users", document, audit=True))
    assert isinstance(error, DuplicateDocument)
    assert (error.message, error.details, error.hint) == (plain.message, plain.details, plain.hint)
    assert await family.count("users", "email=eq.taken@example.org") == 0
    assert await audited(family) == []
    assert await family.within(HOME).count("users") == 2


async def test_documents_of_owners_and_of_parents_are_merged_in_scope_alone(family: Harness) -> None:
    home = family.within(HOME)
    talk = {"conversation_id": OF_ANN, "user_id": ANN, "title": "changed"}
    merged = await home.create("conversations", talk, on_conflict=("conversation_id",), resolution="merge")
    assert merged is not None
    assert json.loads(merged.body)["title"] == "changed"
    foreign = talk | {"conversation_id": OF_EVE}
    assert isinstance(
        await refused(home.create("conversations", foreign, on_conflict=("conversation_id",), resolution="merge")), DuplicateDocument
    )
    stolen = talk | {"user_id": EVE}
    assert isinstance(
        await refused(home.create("conversations", stolen, on_conflict=("conversation_id",), resolution="merge")), UnknownReference
    )
    message = {"message_id": 1, "conversation_id": OF_BEN, "content": "moved"}
    moved = await home.create("messages", message, on_conflict=("message_id",), resolution="merge")
    assert moved is not None
    assert json.loads(moved.body)["conversation_id"] == OF_BEN
    assert isinstance(
        await refused(home.create("messages", message | {"message_id": 21}, on_conflict=("message_id",), resolution="merge")),
        DuplicateDocument,
    )
    assert await family.within(AWAY).count("messages", "content=eq.moved") == 0


async def test_what_a_row_filter_hides_is_a_duplicate(family: Harness) -> None:
    parsed = parse_json({"filter": {"email": "user0@example.org"}})
    assert parsed.query.filter is not None
    bound = bind_filter(parsed.query.filter, family.collections["users"])
    document = {"user_id": BEN, "client_id": "home", "email": "new@example.org"}
    plan, call = family.created("users", document, on_conflict=("user_id",), resolution="merge", mergeable=bound.predicate)
    call.values = (bound.values(parsed.values)[0], *call.values[1:])
    assert isinstance(await refused(family.run_one(plan, call)), DuplicateDocument)
    assert await family.count("users", "email=eq.new@example.org") == 0


async def test_many_are_upserted_together_in_order(family: Harness) -> None:
    documents = [
        {"user_id": NEW, "client_id": "home", "email": "z@example.org"},
        {"user_id": BEN, "client_id": "home", "email": "ben@example.org"},
        {"user_id": ANN, "client_id": "home", "email": "ann@example.org"},
    ]
    answers = await family.create_together("users", documents, on_conflict=("user_id",), resolution="merge", audit=True)
    assert [answer.created for answer in answers if isinstance(answer, Document)] == [True, False, False]
    assert [json.loads(answer.body)["email"] for answer in answers if isinstance(answer, Document)] == [
        str(document["email"]) for document in documents
    ]
    assert sorted((row[0], row[1]) for row in await audited(family)) == [("create", NEW), ("update", ANN), ("update", BEN)]
    ignored = await family.create_together(
        "users",
        [documents[1], documents[0] | {"user_id": EVE.replace("3", "9"), "email": "n"}],
        on_conflict=("user_id",),
        resolution="ignore",
    )
    assert [answer is None for answer in ignored] == [True, False]


async def test_one_foreign_document_among_many_and_none_is_written(family: Harness) -> None:
    documents = [
        {"user_id": NEW, "client_id": "away", "email": "z@example.org"},
        {"user_id": EVE, "client_id": "away", "email": "eve@example.org"},
        {"user_id": ANN, "client_id": "away", "email": "ann@example.org"},
    ]
    work = family.within(AWAY).create_together("users", documents, on_conflict=("user_id",), resolution="merge", audit=True)
    assert isinstance(await refused(work), DuplicateDocument)
    assert await family.count("users", "email=like.*@example.org") == 3
    assert await family.count("users", "email=like.user*") == 3
    assert await audited(family) == []


async def test_many_callers_that_upsert_one_key_at_once_leave_one_document(open_harness: OpenHarness) -> None:
    harness = await open_harness(THINGS)
    answers = await asyncio.gather(
        *(
            harness.create("things", {"id": 1, "text": "t", "number": number}, on_conflict=("id",), resolution="merge", audit=True)
            for number in range(20)
        )
    )
    assert sum(answer is not None and answer.created for answer in answers) == 1
    assert await harness.ids("things") == [1]
    rows = await audited(harness)
    assert sorted(row[0] for row in rows) == ["create"] + ["update"] * 19
    # Each change begins where another one ended: no audit row missed what came between.
    assert {row[2]["number"] for row in rows if row[2]} | {(await harness.documents("things"))[0]["number"]} == set(range(20))


async def test_callers_that_upsert_the_same_documents_in_other_orders_do_not_meet_in_a_deadlock(open_harness: OpenHarness) -> None:
    harness = await open_harness(THINGS)
    documents = [{"id": key, "text": "t"} for key in range(40)]
    for _ in range(3):
        await asyncio.gather(
            *(
                harness.create_together("things", documents[:: 1 - 2 * (turn % 2)], on_conflict=("id",), resolution="merge")
                for turn in range(4)
            )
        )
    assert await harness.count("things") == 40


ROWS = st.dictionaries(st.integers(0, 6), st.one_of(st.none(), st.integers(-5, 5)), max_size=6)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from(["merge", "ignore"]), ROWS.filter(bool)), max_size=4))
async def test_any_upserts_come_to_what_a_dictionary_does(steps: list[tuple[str, dict[int, int | None]]], things: Harness) -> None:
    await things.delete_matching("things", {"id": {"$gte": 0}})
    expected: dict[int, int | None] = {}
    for resolution, rows in steps:
        documents = [{"id": key, "number": number} for key, number in rows.items()]
        answers = await things.create_together("things", documents, on_conflict=("id",), resolution=resolution)
        for key, answer in zip(rows, answers, strict=True):
            was_there = key in expected
            assert (answer is None) == (resolution == "ignore" and was_there)
            if isinstance(answer, Document):
                assert answer.created == (not was_there)
        expected = {**expected, **rows} if resolution == "merge" else {**rows, **expected}
    assert {row["id"]: row["number"] for row in await things.documents("things", "limit=50")} == expected


async def test_every_version_of_an_upserted_document_is_kept(family: Harness) -> None:
    talk = {"conversation_id": NEW, "user_id": ANN}
    options: dict[str, Any] = {"on_conflict": ("conversation_id",), "resolution": "merge", "versioned": True}
    await family.create("conversations", talk | {"title": "one"}, **options)
    await family.create_together("conversations", [talk | {"title": "two"}], **options)
    assert await family.create("conversations", talk | {"title": "left out"}, **options | {"resolution": "ignore"}) is None
    table = {"sqlite": "portico_versions", "postgresql": "portico.versions"}[family.engine.kind]
    rows = await family.fetch(f"SELECT version, operation, document FROM {table} WHERE document_key = '{NEW}' ORDER BY version")
    documents = [json.loads(row[2]) if isinstance(row[2], str) else row[2] for row in rows]
    assert [(row[0], row[1], document["title"]) for row, document in zip(rows, documents, strict=True)] == [
        (1, "create", "one"),
        (2, "update", "two"),
    ]
