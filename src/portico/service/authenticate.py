"""Who calls: the credential of a request made into an `Identity`, from memory where it was seen before.

What is remembered is right to within a second: a task reads the store's generation each second and, when it rose, reads every
remembered key anew. While the store is away, remembered keys stay good for a minute; then calls with a key answer 503.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from portico.errors import InvalidParameter, Unauthenticated, Unavailable
from portico.events import Emit, InternalFault, discard
from portico.model.identity import Identity, Permission, Rule
from portico.service.authorize import fingerprint
from portico.store.keys import PREFIX, ParsedKey, hash_secret, parse, well_made
from portico.store.readers import KeyReader
from portico.store.records import KeyRecord

POLL_SECONDS = 1.0
GRACE_SECONDS = 60.0
FLUSH_SECONDS = 60.0
_UNKNOWN_SECONDS = 1.0
_MAX_CREDENTIALS = 20_000
_MAX_KEYS = 10_000

_KEY_PREFIX = PREFIX.encode()
_HINT = "Send a key as X-API-Key or Authorization: Bearer."
_INVALID = "The credential is not valid."

Headers = Mapping[bytes, bytes]
_Raw = tuple[bytes | None, bytes | None, bytes | None]
_NONE: _Raw = (None, None, None)


class TokenVerifier(Protocol):
    """Verifies JSON Web Tokens."""

    async def verify(self, token: bytes) -> tuple[Identity, float]:
        """The identity of a token, and until when it may be remembered (seconds since the epoch). Raises Unauthenticated, Unavailable."""
        ...

    async def close(self) -> None:
        """Give up what it holds."""
        ...


@dataclass(slots=True)
class _Entry:
    """A credential that was found genuine. `key` is None for a token; times are seconds since the epoch."""

    identity: Identity
    key: ParsedKey | None
    until: float
    used: float = 0.0


@dataclass(frozen=True, slots=True)
class _Found:
    """What the store said of a key's id (None: unknown), and until when, by the monotonic clock, that is believed without asking again."""

    record: KeyRecord | None
    until: float


DEVELOPMENT = Identity(
    service="dev",
    credential="none",
    rules=(Rule("*", frozenset(Permission)),),
    clients=None,
    fingerprint=fingerprint((Rule("*", frozenset(Permission)),), None),
)
"""Who calls without a credential, where none is required."""


class Authenticator:
    """Makes credentials into identities.

    Args:
        keys: the store. pepper: the installation's secret, which hashes keys.
        required: whether a call without a credential is refused; otherwise it acts as `DEVELOPMENT`.
        tokens: verifies JSON Web Tokens; None where no issuer is trusted. emit: told of faults.
        clock: seconds since the epoch. monotonic: seconds that never jump.
    """

    def __init__(
        self,
        keys: KeyReader,
        *,
        pepper: bytes,
        required: bool,
        tokens: TokenVerifier | None = None,
        emit: Emit = discard,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._pepper = pepper
        self._anonymous = None if required else DEVELOPMENT
        self._tokens = tokens
        self._emit = emit
        self._clock = clock
        self._monotonic = monotonic
        self._entries: dict[_Raw, _Entry] = {}
        self._found: dict[str, _Found] = {}
        self._loading: dict[str, asyncio.Task[KeyRecord | None]] = {}
        self._generation: int | None = None
        self._epoch = 0
        self._trusted_until = 0.0
        self._flushed = self._clock()
        self._poller: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the generation once, and from then on each second. A store that is away does not keep the service from starting."""
        with contextlib.suppress(Unavailable):
            await self.refresh()
        self._poller = asyncio.create_task(self._poll(), name="portico-keys")

    async def close(self) -> None:
        """Stop, write back when keys were last used, and give up the store's connection."""
        if self._poller is not None:
            self._poller.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._poller
        for task in list(self._loading.values()):
            task.cancel()
        with contextlib.suppress(Unavailable):
            await self.flush()
        if self._tokens is not None:
            await self._tokens.close()
        await self._keys.close()

    def lookup(self, headers: Headers) -> Identity | None:
        """The identity of a credential that was seen before and is still good; None means: ask `authenticate`.

        Args:
            headers: names in lower case.
        """
        raw = (headers.get(b"authorization"), headers.get(b"x-api-key"), headers.get(b"apikey"))
        entry = self._entries.get(raw)
        if entry is None:
            return self._anonymous if raw == _NONE else None
        if self._monotonic() > self._trusted_until:
            return None
        now = self._clock()
        if now >= entry.until:
            return None
        entry.used = now
        return entry.identity

    async def authenticate(self, headers: Headers) -> Identity:
        """The identity of a request.

        Raises:
            Unauthenticated: no credential, or one that is unknown, forged, expired or revoked.
            InvalidParameter: two different credentials.
            Unavailable: the store, or the issuer's keys, cannot be reached, and nothing is remembered.
        """
        raw = (headers.get(b"authorization"), headers.get(b"x-api-key"), headers.get(b"apikey"))
        credential = _credential(raw)
        if credential is None:
            if self._anonymous is None:
                raise Unauthenticated("This call needs a credential.", hint=_HINT)
            return self._anonymous
        if not credential.startswith(_KEY_PREFIX):
            return await self._authenticate_token(raw, credential)
        key = parse(credential)
        if key is None or not well_made(self._pepper, key.id):
            raise Unauthenticated(_INVALID, hint=_HINT)
        while True:
            epoch = self._epoch
            record = await self._find(key.id)
            if epoch == self._epoch:
                break
        identity = self._accept(key, record)
        until = record.expires_at.timestamp() if record is not None and record.expires_at is not None else float("inf")
        self._remember(raw, _Entry(identity, key, until, self._clock()))
        return identity

    async def refresh(self) -> None:
        """Ask the store whether anything changed, and if so read what is remembered anew. Raises Unavailable."""
        asked = self._monotonic()
        generation = await self._keys.generation()
        if generation != self._generation:
            # Whoever reads a key from before this moment and comes back after it, reads again.
            self._epoch += 1
            self._found.clear()
            with contextlib.suppress(Unavailable):
                await self.flush()  # what is revoked is forgotten below, with the time of its last use
            held = {raw: entry.key for raw, entry in self._entries.items() if entry.key is not None}
            records = await self._keys.get_keys(sorted({key.id for key in held.values()})) if held else {}
            for raw in [raw for raw, entry in self._entries.items() if entry.key is None]:
                del self._entries[raw]
            for raw, key in held.items():
                self._revise(raw, key, records.get(key.id))
            self._generation = generation
        self._trusted_until = asked + GRACE_SECONDS

    async def flush(self) -> None:
        """Write back when keys were last used. Raises Unavailable, and then keeps the times for the next run."""
        since, now = self._flushed, self._clock()
        used: dict[str, float] = {}
        for entry in self._entries.values():
            if entry.key is not None and entry.used >= since:
                used[entry.key.id] = max(entry.used, used.get(entry.key.id, 0.0))
        if used:
            await self._keys.mark_used({key: datetime.fromtimestamp(at, UTC) for key, at in used.items()})
        self._flushed = now

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self.refresh()
                if self._clock() - self._flushed >= FLUSH_SECONDS:
                    await self.flush()
            except Unavailable:
                continue
            except Exception as error:  # noqa: BLE001 - a task that ended would answer 503 to everybody after a minute
                self._emit(InternalFault(error_type=type(error).__name__, where="service.authenticate", correlation_id=""))

    async def _find(self, key_id: str) -> KeyRecord | None:
        found = self._found.get(key_id)
        if found is not None and self._monotonic() < found.until:
            return found.record
        task = self._loading.get(key_id)
        if task is None:
            task = asyncio.create_task(self._load(key_id), name=key_id)
            self._loading[key_id] = task
            task.add_done_callback(self._loaded)
        # A caller who leaves does not take the answer from those who wait with it.
        return await asyncio.shield(task)

    async def _load(self, key_id: str) -> KeyRecord | None:
        epoch = self._epoch
        record = (await self._keys.get_keys([key_id])).get(key_id)
        if epoch == self._epoch:
            while len(self._found) >= _MAX_KEYS:
                del self._found[next(iter(self._found))]
            self._found[key_id] = _Found(record, self._monotonic() + _UNKNOWN_SECONDS)
        return record

    def _loaded(self, task: asyncio.Task[KeyRecord | None]) -> None:
        self._loading.pop(task.get_name(), None)
        if not task.cancelled():
            # Looked at, so that asyncio does not complain when every caller left.
            task.exception()

    def _accept(self, key: ParsedKey, record: KeyRecord | None) -> Identity:
        if record is None or not hmac.compare_digest(record.secret_hash, hash_secret(self._pepper, key.id, key.secret)):
            raise Unauthenticated(_INVALID, hint=_HINT)
        if record.revoked_at is not None:
            raise Unauthenticated("The key was revoked.", hint="Ask who runs Portico for a new one.")
        if record.expires_at is not None and record.expires_at.timestamp() <= self._clock():
            raise Unauthenticated("The key has expired.", hint="Ask who runs Portico for a new one.")
        return Identity(
            service=record.service,
            credential=record.id,
            rules=record.rules,
            clients=record.clients,
            statement_timeout=record.statement_timeout,
            rate_limit=record.rate_limit,
            fingerprint=fingerprint(record.rules, record.statement_timeout),
        )

    def _revise(self, raw: _Raw, key: ParsedKey, record: KeyRecord | None) -> None:
        entry = self._entries.get(raw)
        if entry is None:
            return
        try:
            entry.identity = self._accept(key, record)
        except Unauthenticated:
            del self._entries[raw]

    async def _authenticate_token(self, raw: _Raw, credential: bytes) -> Identity:
        if self._tokens is None:
            raise Unauthenticated(_INVALID, hint=_HINT)
        while True:
            epoch = self._epoch
            identity, until = await self._tokens.verify(credential)
            if epoch == self._epoch:
                break
        self._remember(raw, _Entry(identity, None, until))
        return identity

    def _remember(self, raw: _Raw, entry: _Entry) -> None:
        while len(self._entries) >= _MAX_CREDENTIALS:
            del self._entries[next(iter(self._entries))]
        self._entries[raw] = entry


def _credential(raw: _Raw) -> bytes | None:
    authorization, api_key, postgrest_key = raw
    values = {value for value in (api_key, postgrest_key) if value is not None}
    if authorization is not None:
        scheme, _, rest = authorization.strip().partition(b" ")
        if scheme.lower() != b"bearer" or not rest.strip():
            raise Unauthenticated("Only the scheme Bearer is understood in Authorization.", hint=_HINT)
        values.add(rest.strip())
    if len(values) > 1:
        raise InvalidParameter("The request carries two different credentials.", hint="Send one.")
    return values.pop() if values else None
