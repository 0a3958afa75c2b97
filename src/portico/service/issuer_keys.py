"""The public keys of an issuer of tokens: a key set (RFC 7517) from a file or an address, remembered and read anew when it rotates."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx2
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from portico.errors import ConfigurationError, Unavailable

_FRESH_SECONDS = 600.0
_RETRY_SECONDS = 10.0
_TIMEOUT_SECONDS = 5.0
_MAX_BYTES = 1_048_576
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class IssuerKeys:
    """An issuer's key set.

    Args:
        location: a file (a path or `file:` URL), or an `https:` address; `http:` on this machine alone.
        clock: a monotonic clock in seconds.
    Raises:
        ConfigurationError: `location` is none of these.
    """

    def __init__(self, location: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        parts = urlsplit(location)
        if parts.scheme not in {"", "file", "https"} and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise ConfigurationError("The key set of a token issuer must be a file or an https address.", hint="See auth.issuers.")
        self._path = None if parts.scheme in {"http", "https"} else Path(unquote(parts.path))
        self._url = location
        self._client: httpx2.AsyncClient | None = None
        self._clock = clock
        self._keys: KeySet | None = None
        self._key_ids: frozenset[str | None] = frozenset()
        self._read_at = float("-inf")
        self._tried_at = float("-inf")
        self._lock = asyncio.Lock()

    async def get(self, key_id: str | None) -> KeySet:
        """The key set; it is read anew when it is old, or when it lacks `key_id`, at most every ten seconds.

        Raises Unavailable where it was never read and cannot be now.
        """
        if self._keys is None or self._wanting(key_id):
            async with self._lock:
                # Another caller may have read it while this one waited.
                if (self._keys is None or self._wanting(key_id)) and self._clock() - self._tried_at >= _RETRY_SECONDS:
                    await self._read()
        if self._keys is None:
            raise Unavailable("The keys of the token's issuer cannot be read.")
        return self._keys

    async def close(self) -> None:
        """Give up the connection."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _wanting(self, key_id: str | None) -> bool:
        return self._clock() - self._read_at >= _FRESH_SECONDS or (key_id is not None and key_id not in self._key_ids)

    async def _read(self) -> None:
        self._tried_at = self._clock()
        try:
            text = await self._fetch() if self._path is None else self._path.read_bytes()
            document = json.loads(text)
            keys = KeySet.import_key_set({"keys": [key for key in document["keys"] if key.get("use", "sig") == "sig"]})
        except (OSError, httpx2.HTTPError, httpx2.InvalidURL, JoseError, ValueError, KeyError, TypeError, AttributeError):
            # The last set that was read stays good: an issuer that is away for a while locks nobody out.
            return
        self._keys = keys
        self._key_ids = frozenset(key.kid for key in keys.keys)
        self._read_at = self._tried_at

    async def _fetch(self) -> bytes:
        if self._client is None:
            self._client = httpx2.AsyncClient(timeout=_TIMEOUT_SECONDS, follow_redirects=False)
        async with asyncio.timeout(_TIMEOUT_SECONDS), self._client.stream("GET", self._url) as answer:
            answer.raise_for_status()
            text = b""
            async for chunk in answer.aiter_bytes():
                text += chunk
                if len(text) > _MAX_BYTES:
                    raise ValueError("the key set is too large")
        return text
