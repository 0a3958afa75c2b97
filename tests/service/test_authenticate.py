"""Who calls: keys in headers, what is remembered of them, and how soon a change is in force."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from portico.errors import InvalidParameter, PorticoError, Unauthenticated, Unavailable
from portico.model.identity import Identity, Permission, Rule
from portico.service.authenticate import GRACE_SECONDS, Authenticator
from portico.store.connect import open_reader
from portico.store.keys import NewKey, generate
from portico.store.readers import KeyReader
from portico.store.records import ServiceRecord
from portico.store.repositories import KeyRepository
from portico.store.schema import open_store
from tests.servers.waiting import wait_until_async
from tests.store.stores import PEPPER

READ = (Rule("*", frozenset({Permission.READ})),)
WRITE = (Rule("*", frozenset({Permission.CREATE})),)


class Clock:
    """A clock that the test moves, for both kinds of time."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> float:
        return time.time() + self.passed

    def monotonic(self) -> float:
        return time.monotonic() + self.passed


class World:
    """A service's authentication over an SQLite store that a tool changes meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "app.db.portico"
        self.url = f"sqlite:///{folder}/app.db"
        self.engine = open_store(self.url)
        self.keys = KeyRepository(self.engine)
        self.clock = Clock()
        self.reader = open_reader(lambda: self.url)
        self.authenticator = self.create()

    def create(self, *, required: bool = True) -> Authenticator:
        return Authenticator(self.reader, pepper=PEPPER, required=required, clock=self.clock.now, monotonic=self.clock.monotonic)

    def key(self, rules: tuple[Rule, ...] = READ, *, service: str = "billing", expires_at: datetime | None = None) -> NewKey:
        new = generate(PEPPER)
        self.keys.create_key(new, service=service, rules=rules, clients=frozenset({"a"}), expires_at=expires_at)
        return new

    async def take_store_away(self) -> None:
        await self.reader.close()
        self.engine.dispose()
        self.path.rename(self.path.with_suffix(".away"))
        self.path.mkdir()

    def bring_store_back(self) -> None:
        self.path.rmdir()
        self.path.with_suffix(".away").rename(self.path)


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    await made.authenticator.start()
    yield made
    await made.authenticator.close()
    made.engine.dispose()


def sent(key: NewKey | str, header: str = "x-api-key", prefix: str = "") -> dict[bytes, bytes]:
    text = key if isinstance(key, str) else key.text
    return {header.encode(): (prefix + text).encode()}


async def refused(call: Awaitable[object], error: type[PorticoError] = Unauthenticated) -> str:
    with pytest.raises(error) as failed:
        await call
    return failed.value.message


@pytest.mark.parametrize(
    ("header", "prefix"), [("x-api-key", ""), ("authorization", "Bearer "), ("authorization", "bearer   "), ("apikey", "")]
)
async def test_a_key_is_taken_from_every_header_that_clients_send_it_in(world: World, header: str, prefix: str) -> None:
    new = world.key()
    identity = await world.authenticator.authenticate(sent(new, header, prefix))
    assert (identity.service, identity.credential, identity.rules, identity.clients) == ("billing", new.id, READ, frozenset({"a"}))


async def test_the_same_key_in_two_headers_is_one_credential(world: World) -> None:
    new = world.key()
    headers = sent(new, "apikey") | sent(new, "authorization", "Bearer ")
    assert (await world.authenticator.authenticate(headers)).credential == new.id


async def test_two_different_credentials_are_refused(world: World) -> None:
    headers = sent(world.key()) | sent(world.key(), "authorization", "Bearer ")
    await refused(world.authenticator.authenticate(headers), InvalidParameter)


async def test_a_key_that_was_seen_is_known_without_waiting(world: World) -> None:
    headers = sent(world.key())
    assert world.authenticator.lookup(headers) is None
    identity = await world.authenticator.authenticate(headers)
    assert world.authenticator.lookup(headers) is identity


def _other_secret(new: NewKey) -> str:
    return new.text[:-1] + ("a" if new.text[-1] != "a" else "b")


@pytest.mark.parametrize(
    "forge",
    [
        _other_secret,
        lambda new: generate(PEPPER).text,
        lambda new: generate(b"another pepper").text,
        lambda new: new.text + "a",
        lambda new: new.text.upper(),
        lambda new: "ptk_",
        lambda new: "",
        lambda new: "anything",
        lambda new: "eyJhbGciOiJub25lIn0.e30.",
    ],
)
async def test_a_forged_key_is_refused_even_after_the_real_one_was_seen(world: World, forge: Callable[[NewKey], str]) -> None:
    new = world.key()
    await world.authenticator.authenticate(sent(new))
    headers = sent(forge(new))
    assert await refused(world.authenticator.authenticate(headers)) == "The credential is not valid."
    assert world.authenticator.lookup(headers) is None


async def test_a_call_without_a_credential_is_refused_where_one_is_required(world: World) -> None:
    assert world.authenticator.lookup({}) is None
    await refused(world.authenticator.authenticate({}))


async def test_a_call_without_a_credential_acts_as_dev_where_none_is_required(world: World) -> None:
    open_to_all = world.create(required=False)
    identity = open_to_all.lookup({})
    assert identity is not None
    assert (identity.service, identity.clients, identity.rules[0].permissions) == ("dev", None, frozenset(Permission))
    assert await open_to_all.authenticate({}) == identity
    assert open_to_all.lookup(sent("ptk_wrong")) is None
    await refused(open_to_all.authenticate(sent("ptk_wrong")))


@pytest.mark.parametrize("value", ["Basic dXNlcjpwYXNz", "Bearer", "Bearer  ", ""])
async def test_another_scheme_than_bearer_is_refused(world: World, value: str) -> None:
    await refused(world.authenticator.authenticate({b"authorization": value.encode()}))


async def test_an_expired_key_is_refused_from_that_moment_even_when_remembered(world: World) -> None:
    headers = sent(world.key(expires_at=datetime.now(UTC) + timedelta(seconds=50)))
    await world.authenticator.authenticate(headers)
    world.clock.passed = 49
    assert world.authenticator.lookup(headers) is not None
    world.clock.passed = 51
    assert world.authenticator.lookup(headers) is None
    assert "expired" in await refused(world.authenticator.authenticate(headers))


async def test_a_revoked_key_is_refused_within_two_seconds(world: World) -> None:
    new = world.key()
    headers = sent(new)
    await world.authenticator.authenticate(headers)
    world.keys.revoke_key(new.id)

    async def is_refused() -> bool:
        return world.authenticator.lookup(headers) is None

    await wait_until_async(is_refused, within=2)
    assert "revoked" in await refused(world.authenticator.authenticate(headers))


async def test_changed_permissions_are_in_force_without_asking_the_store_in_a_call(world: World) -> None:
    new, other = world.key(), world.key()
    for key in (new, other):
        await world.authenticator.authenticate(sent(key))
    world.keys.update_key(new.id, rules=WRITE)
    world.keys.replace_service(ServiceRecord("billing", statement_timeout=2.0))
    await world.authenticator.refresh()
    changed, kept = world.authenticator.lookup(sent(new)), world.authenticator.lookup(sent(other))
    assert changed is not None
    assert kept is not None
    assert (changed.rules, kept.rules) == (WRITE, READ)
    assert changed.statement_timeout == kept.statement_timeout == 2.0
    assert changed.fingerprint != kept.fingerprint


async def test_a_new_key_works_at_once_although_unknown_ones_are_remembered(world: World) -> None:
    new = generate(PEPPER)
    await refused(world.authenticator.authenticate(sent(new)))
    world.keys.create_key(new, service="billing", rules=READ, clients=None)
    await world.authenticator.refresh()
    assert (await world.authenticator.authenticate(sent(new))).clients is None


async def test_a_key_revoked_while_it_is_being_read_is_not_remembered(world: World) -> None:
    new = world.key()

    class Slow:
        """Holds a read back until the key was revoked and the change was seen."""

        def __init__(self, reader: KeyReader) -> None:
            self.generation, self.get_service, self.mark_used, self.close = (
                reader.generation,
                reader.get_service,
                reader.mark_used,
                reader.close,
            )
            self.read, self.go_on, self.reader = asyncio.Event(), asyncio.Event(), reader

        async def get_keys(self, ids: "list[str]") -> "object":
            found = await self.reader.get_keys(ids)
            self.read.set()
            await self.go_on.wait()
            return found

    slow = Slow(world.reader)
    authenticator = Authenticator(slow, pepper=PEPPER, required=True)  # type: ignore[arg-type]
    await authenticator.refresh()
    call = asyncio.create_task(authenticator.authenticate(sent(new)))
    await slow.read.wait()
    world.keys.revoke_key(new.id)
    await authenticator.refresh()
    slow.go_on.set()
    assert "revoked" in await refused(call)
    assert authenticator.lookup(sent(new)) is None


async def test_while_the_store_is_away_remembered_keys_stay_good_for_a_minute(world: World) -> None:
    headers, other = sent(world.key()), sent(world.key())
    await world.authenticator.authenticate(headers)
    await world.take_store_away()
    await refused(world.authenticator.refresh(), Unavailable)
    assert world.authenticator.lookup(headers) is not None
    await refused(world.authenticator.authenticate(other), Unavailable)
    world.clock.passed = GRACE_SECONDS + 1
    assert world.authenticator.lookup(headers) is None
    await refused(world.authenticator.authenticate(headers), Unavailable)
    world.bring_store_back()
    await world.authenticator.refresh()
    assert world.authenticator.lookup(headers) is not None


async def test_a_store_that_is_away_at_the_start_is_found_later(world: World) -> None:
    headers = sent(world.key())
    await world.take_store_away()
    late = world.create()
    await late.start()
    await refused(late.authenticate(headers), Unavailable)
    world.bring_store_back()
    assert isinstance(await late.authenticate(headers), Identity)
    await late.close()


async def test_a_caller_who_leaves_takes_no_other_along_that_waits_for_the_same_key(world: World) -> None:
    headers = sent(world.key())
    calls = [asyncio.create_task(world.authenticator.authenticate(headers)) for _ in range(5)]
    await asyncio.sleep(0)
    calls[0].cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert all(isinstance(answer, Identity) for answer in answers[1:])


async def test_the_time_of_last_use_is_written_when_the_service_ends(world: World) -> None:
    new, unused = world.key(), world.key()
    await world.authenticator.authenticate(sent(new))
    before = datetime.now(UTC)
    world.authenticator.lookup(sent(new))
    await world.authenticator.close()
    used = {record.id: record.last_used_at for record in world.keys.list_keys()}
    last = used[new.id]
    assert last is not None
    assert abs(last - before) < timedelta(seconds=10)
    assert used[unused.id] is None


async def test_the_time_of_last_use_is_written_only_when_there_was_a_use(world: World) -> None:
    new = world.key()
    await world.authenticator.authenticate(sent(new))
    await world.authenticator.flush()
    first = world.keys.list_keys()[0].last_used_at
    world.clock.passed = 10
    await world.authenticator.flush()
    assert world.keys.list_keys()[0].last_used_at == first
    world.authenticator.lookup(sent(new))
    await world.authenticator.flush()
    second = world.keys.list_keys()[0].last_used_at
    assert first is not None
    assert second is not None
    assert second > first + timedelta(seconds=9)
