"""Cascades and upserts, and the rows that they leave beside the documents."""

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from portico.engines.sqlite.engine import SqliteEngine, SqliteOptions
from portico.errors import DuplicateDocument, NotSupported, PorticoError, ReferencedDocument, TooManyAffected
from portico.events import discard
from tests.engines.conftest import SECRET, create_tables, fill_family
from tests.engines.declarations import ANN, AWAY, BEN, FAMILY, HOME, OF_ANN, OF_ANN_ALONE, THINGS
from tests.engines.harness import Harness, declared


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with the tables of the family."""
    file = tmp_path / "main.db"
    create_tables(f"sqlite:///{file}", "sqlite", declared(*FAMILY))
    return file


@pytest_asyncio.fixture
async def family(path: Path) -> AsyncIterator[Harness]:
    """The family, in SQLite."""
    engine = SqliteEngine("main", path, secret=SECRET, emit=discard, options=SqliteOptions(most_cascaded=3))
    await engine.start()

    async def fetch(sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute(sql).fetchall()

    harness = Harness(engine, {item.name: item for item in declared(*FAMILY)}, fetch)
    await fill_family(harness)
    yield harness
    await engine.close()


async def refused(work: Any) -> PorticoError:
    """The error of a call."""
    with pytest.raises(PorticoError) as error:
        await work
    return error.value


async def test_a_delete_takes_what_belongs_to_the_document_children_first_each_with_its_audit_row(family: Harness) -> None:
    assert await family.delete("users", ANN, cascades=family.cascades("users"), audit=True) is not None
    assert await family.ids("messages", "order=message_id") == [11, 12, 21, 22]
    assert await family.count("conversations") == 2
    rows = await family.fetch("SELECT collection, operation, document_key FROM portico_audit ORDER BY id")
    assert rows == [("messages", "delete", "1"), ("messages", "delete", "2"), ("conversations", "delete", OF_ANN), ("users", "delete", ANN)]
    versions = await family.fetch("SELECT collection, document_key, version, document FROM portico_versions")
    assert versions == [("conversations", OF_ANN, 1, None)]


async def test_a_reference_that_is_set_to_null_is_a_change_with_its_audit_row(family: Harness) -> None:
    await family.change("messages", 2, {"reply_to": 1})
    await family.delete("messages", 1, cascades=family.cascades("messages"), audit=True)
    (document,) = await family.documents("messages", "message_id=eq.2")
    assert document["reply_to"] is None
    rows = await family.fetch("SELECT operation, document_key, before, after FROM portico_audit ORDER BY id")
    assert [(row[0], row[1]) for row in rows] == [("update", "2"), ("delete", "1")]
    assert (json.loads(rows[0][2])["reply_to"], json.loads(rows[0][3])["reply_to"]) == (1, None)


async def test_a_document_that_others_refer_to_stays_with_all_that_would_have_gone(family: Harness) -> None:
    error = await refused(family.delete("clients", "home", cascades=family.cascades("clients"), audit=True))
    assert isinstance(error, ReferencedDocument)
    assert error.details["collection"] == "users"
    assert await family.fetch("SELECT * FROM portico_audit") == []


async def test_a_delete_that_would_take_too_much_takes_nothing(family: Harness) -> None:
    await family.create("messages", {"message_id": 3, "conversation_id": OF_ANN, "content": "one more"})
    assert isinstance(await refused(family.delete("users", ANN, cascades=family.cascades("users"))), TooManyAffected)
    assert (await family.count("users"), await family.count("messages")) == (3, 7)


async def test_every_version_of_a_versioned_document_is_kept(family: Harness) -> None:
    for title in ("one", "two"):
        await family.change("conversations", OF_ANN, {"title": title}, versioned=True)
    await family.delete("conversations", OF_ANN, cascades=family.cascades("conversations"), versioned=True)
    rows = await family.fetch("SELECT version, operation, document FROM portico_versions ORDER BY version")
    assert [(row[0], row[1]) for row in rows] == [(1, "update"), (2, "update"), (3, "delete")]
    assert [json.loads(row[2])["title"] for row in rows[:2]] == ["one", "two"]


async def test_an_upsert_creates_or_merges(family: Harness) -> None:
    document = {"user_id": BEN, "client_id": "home", "email": "new@example.org"}
    merged = await family.create("users", document, on_conflict=("user_id",), resolution="merge", audit=True)
    assert merged is not None
    assert (merged.created, json.loads(merged.body)["email"]) == (False, "new@example.org")
    other = document | {"user_id": "00000000-0000-4000-8000-000000000055", "email": "other@example.org"}
    made = await family.create("users", other, on_conflict=("email",), resolution="merge", audit=True)
    assert made is not None
    assert made.created
    by_email = other | {"user_id": "00000000-0000-4000-8000-000000000056", "client_id": "away"}
    again = await family.create("users", by_email, on_conflict=("email",), resolution="merge")
    assert again is not None
    shown = json.loads(again.body)
    assert (shown["user_id"], shown["client_id"]) == (other["user_id"], "away")
    assert await family.fetch("SELECT operation FROM portico_audit ORDER BY id") == [("update",), ("create",)]


async def test_an_upsert_that_ignores_leaves_the_document_as_it_is(family: Harness) -> None:
    document = {"user_id": BEN, "client_id": "home", "email": "new@example.org"}
    assert await family.create("users", document, on_conflict=("user_id",), resolution="ignore") is None
    assert await family.count("users", "email=eq.user1@example.org") == 1


async def test_an_upsert_does_not_take_over_another_tenants_document(family: Harness) -> None:
    mine = family.within(AWAY)
    document = {"user_id": ANN, "client_id": "away", "email": "taken@example.org"}
    for resolution in ("merge", "ignore"):
        error = await refused(mine.create("users", document, on_conflict=("user_id",), resolution=resolution))
        assert isinstance(error, DuplicateDocument)
    assert await family.count("users", "email=eq.taken@example.org") == 0
    assert await family.within(HOME).count("users") == 2


async def test_what_a_trigger_changes_is_in_the_answer_and_the_hash(path: Path, family: Harness) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TRIGGER shout AFTER UPDATE OF title ON conversations BEGIN "
            "UPDATE conversations SET title = upper(new.title) WHERE conversation_id = new.conversation_id; END"
        )
    changed = await family.change("conversations", OF_ANN, {"title": "quiet"})
    read = await family.get("conversations", OF_ANN)
    assert changed is not None
    assert read is not None
    assert json.loads(changed.body)["title"] == "QUIET"
    assert read.etag == changed.etag


async def test_a_file_without_companion_tables_says_that_it_has_no_audit(tmp_path: Path) -> None:
    file = tmp_path / "bare.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, text TEXT)")
    engine = SqliteEngine("main", file, secret=SECRET, emit=discard)
    await engine.start()

    async def nothing(_: str) -> list[list[object]]:
        return []

    harness = Harness(engine, {item.name: item for item in declared(THINGS)}, nothing)
    with pytest.raises(NotSupported) as error:
        harness.created("things", {"id": 1}, audit=True)
    assert error.value.details["capability"] == "audit"
    await engine.close()


async def test_an_include_shows_no_document_of_another_tenant_or_user(path: Path, family: Harness) -> None:
    with closing(sqlite3.connect(path)) as connection:
        # What no write of Portico's would leave: a conversation of the other tenant's user.
        connection.execute("UPDATE conversations SET user_id = '00000000-0000-4000-8000-000000000003' WHERE conversation_id = ?", (OF_ANN,))
        connection.commit()
    away = family.within(AWAY)
    assert {document["user"]["email"] for document in await away.documents("conversations", "select=user(email)")} == {"user2@example.org"}
    ann_alone = family.within(OF_ANN_ALONE)
    shown = await ann_alone.documents("users", "select=email,conversations(title)&order=email")
    assert [(document["email"], document["conversations"]) for document in shown] == [("user0@example.org", []), ("user1@example.org", [])]
