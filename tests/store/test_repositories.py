"""What tools do with services and keys, and what a running service then reads."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from portico.errors import ConfigurationError, DatabaseUnavailable, NotFound, Unavailable
from portico.model.identity import Permission, Rule
from portico.store import schema
from portico.store.connect import open_reader
from portico.store.keys import generate
from portico.store.readers import KeyReader
from portico.store.records import ServiceRecord
from portico.store.repositories import KeyRepository
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgres import PostgresDatabase
from tests.store.stores import PEPPER, Store, prepare

READ = Rule("*", frozenset({Permission.READ}))
RULES = (
    Rule("documents", frozenset({Permission.READ, Permission.CREATE}), row_filter='{"status":"public"}'),
    Rule("users", frozenset(), hidden=frozenset({"email"}), read_only=frozenset({"role"})),
)


async def test_a_service_reads_a_key_as_it_was_created(store: Store, reader: KeyReader) -> None:
    new, expires = generate(PEPPER), datetime.now(UTC) + timedelta(days=90)
    created = store.keys.create_key(new, service="billing", rules=RULES, clients=frozenset({"b", "a"}), expires_at=expires, label="ci")
    assert created == (await reader.get_keys([new.id]))[new.id]
    assert created.secret_hash == new.secret_hash
    assert created.rules == RULES
    assert created.clients == frozenset({"a", "b"})
    assert created.expires_at == expires


async def test_a_key_for_every_client_is_told_from_one_for_none(store: Store, reader: KeyReader) -> None:
    every, none = generate(PEPPER), generate(PEPPER)
    store.keys.create_key(every, service="billing", rules=(READ,), clients=None)
    store.keys.create_key(none, service="billing", rules=(READ,), clients=frozenset())
    found = await reader.get_keys([every.id, none.id])
    assert found[every.id].clients is None
    assert found[none.id].clients == frozenset()


async def test_unknown_ids_are_left_out(store: Store, reader: KeyReader) -> None:
    assert await reader.get_keys(["unknown"]) == {}
    assert await reader.get_service("unknown") is None


async def test_every_change_raises_the_generation(store: Store, reader: KeyReader) -> None:
    seen = [await reader.generation()]
    new = generate(PEPPER)
    store.keys.create_key(new, service="billing", rules=(READ,), clients=None)
    seen.append(await reader.generation())
    store.keys.update_key(new.id, rules=RULES)
    seen.append(await reader.generation())
    store.keys.replace_service(ServiceRecord("billing", RULES, None))
    seen.append(await reader.generation())
    store.keys.revoke_key(new.id)
    seen.append(await reader.generation())
    assert seen == sorted(set(seen))


async def test_the_time_of_last_use_does_not_count_as_a_change_and_never_goes_back(store: Store, reader: KeyReader) -> None:
    new, now = generate(PEPPER), datetime.now(UTC)
    store.keys.create_key(new, service="billing", rules=(READ,), clients=None)
    before = await reader.generation()
    await reader.mark_used({new.id: now})
    await reader.mark_used({new.id: now - timedelta(hours=1)})
    assert store.keys.list_keys()[0].last_used_at == now
    assert await reader.generation() == before


def test_a_revoked_key_keeps_the_time_of_its_first_revocation(store: Store) -> None:
    new = generate(PEPPER)
    store.keys.create_key(new, service="billing", rules=(READ,), clients=None)
    first = store.keys.revoke_key(new.id)
    assert first.revoked_at is not None
    assert store.keys.revoke_key(new.id) == first


def test_changing_only_the_clients_keeps_the_rules(store: Store) -> None:
    new = generate(PEPPER)
    store.keys.create_key(new, service="billing", rules=RULES, clients=frozenset({"a"}))
    assert store.keys.update_key(new.id, every_client=True).clients is None
    changed = store.keys.update_key(new.id, clients=frozenset({"b"}))
    assert (changed.clients, changed.rules) == (frozenset({"b"}), RULES)


def test_keys_are_listed_by_service_oldest_first(store: Store) -> None:
    keys = [generate(PEPPER) for _ in range(3)]
    for key, service in zip(keys, ["billing", "search", "billing"], strict=True):
        store.keys.create_key(key, service=service, rules=(READ,), clients=None)
    assert [record.id for record in store.keys.list_keys()] == [key.id for key in keys]
    assert [record.id for record in store.keys.list_keys("billing")] == [keys[0].id, keys[2].id]


def test_revoking_an_unknown_key_says_so(store: Store) -> None:
    with pytest.raises(NotFound):
        store.keys.revoke_key("unknown")


async def test_the_limits_of_a_service_hold_for_its_keys(store: Store, reader: KeyReader) -> None:
    new = generate(PEPPER)
    store.keys.create_key(new, service="billing", rules=(READ,), clients=None)
    service = ServiceRecord("billing", RULES, None, statement_timeout=2.5, rate_limit="100/minute")
    store.keys.replace_service(service)
    assert await reader.get_service("billing") == service == store.keys.get_service("billing")
    record = (await reader.get_keys([new.id]))[new.id]
    assert (record.statement_timeout, record.rate_limit, record.rules) == (2.5, "100/minute", (READ,))


def test_creating_the_tables_again_keeps_the_keys(store: Store, tmp_path: Path) -> None:
    store.keys.create_key(generate(PEPPER), service="billing", rules=(READ,), clients=None)
    if store.url.startswith("sqlite"):
        schema.prepare_sqlite(tmp_path / "app.db.portico")
    else:
        with store.engine.begin() as connection:
            assert schema.exists(connection)
    assert len(store.keys.list_keys()) == 1


def test_several_processes_may_create_an_sqlite_store_at_once(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "app.db.portico"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: schema.prepare_sqlite(path), range(8)))
    assert path.stat().st_mode & 0o077 == 0


async def test_an_sqlite_store_is_created_by_the_service_too(tmp_path: Path) -> None:
    reader = open_reader(lambda: f"sqlite:///{tmp_path}/app.db")
    assert await reader.generation() == 0
    await reader.close()
    assert (tmp_path / "app.db.portico").exists()


async def test_an_sqlite_store_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "app.db.portico").write_text("this is no database, and long enough not to be taken for an empty one" * 20)
    reader = open_reader(lambda: f"sqlite:///{tmp_path}/app.db")
    with pytest.raises(DatabaseUnavailable):
        await reader.generation()


async def test_a_database_in_memory_has_no_keys() -> None:
    reader = open_reader(lambda: "sqlite://")
    assert await reader.get_keys(["a"]) == {}
    assert await reader.get_service("a") is None
    assert await reader.generation() == 0


@pytest.mark.parametrize("url", ["mongodb://localhost/x", "sqlite://"])
def test_a_database_that_cannot_hold_keys_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        schema.open_store(url)


@pytest.mark.database
async def test_without_tables_it_is_said_how_they_are_made(postgres_database: PostgresDatabase) -> None:
    engine = schema.open_store(postgres_database.dsn())
    with pytest.raises(ConfigurationError) as failed:
        KeyRepository(engine).list_keys()
    assert "init-db" in str(failed.value.hint)
    engine.dispose()
    reader = open_reader(postgres_database.dsn)
    with pytest.raises(Unavailable, match="no tables"):
        await reader.generation()
    await reader.close()


@pytest.mark.database
async def test_a_cut_connection_is_opened_anew(postgres_database: PostgresDatabase) -> None:
    prepare(postgres_database)
    reader = open_reader(postgres_database.dsn)
    assert await reader.generation() == 0
    postgres_database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'appuser' AND datname = current_database()"
    )
    with pytest.raises(DatabaseUnavailable):
        await reader.generation()
    assert await reader.generation() == 0
    await reader.close()


@pytest.mark.database
async def test_keys_are_read_behind_a_pooler_that_changes_connections(postgres_database: PostgresDatabase, pgbouncer: PgBouncer) -> None:
    prepare(postgres_database)
    engine = schema.open_store(postgres_database.dsn())
    new = generate(PEPPER)
    KeyRepository(engine).create_key(new, service="billing", rules=(READ,), clients=None)
    readers = [open_reader(lambda: pgbouncer.dsn("appuser", postgres_database.name)) for _ in range(8)]
    for _ in range(5):
        found = await asyncio.gather(*(reader.get_keys([new.id]) for reader in readers))
        assert all(new.id in keys for keys in found)
        await asyncio.gather(*(reader.mark_used({new.id: datetime.now(UTC)}) for reader in readers))
    await asyncio.gather(*(reader.close() for reader in readers))
    engine.dispose()


@pytest.mark.database
def test_the_application_role_creates_and_revokes_keys_but_deletes_none(postgres_database: PostgresDatabase) -> None:
    prepare(postgres_database)
    engine = schema.open_store(postgres_database.dsn())
    new = generate(PEPPER)
    keys = KeyRepository(engine)
    keys.create_key(new, service="billing", rules=(READ,), clients=None)
    keys.revoke_key(new.id)
    engine.dispose()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        postgres_database.execute("DELETE FROM portico.api_keys", user="appuser")
