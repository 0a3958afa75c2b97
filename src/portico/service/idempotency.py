"""Idempotency keys as requests carry them, and the end of the answers that are kept under them."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Iterable

from portico.engines.base import Engine, Forgetting
from portico.errors import InvalidParameter, PorticoError
from portico.query.capabilities import Capability
from portico.service.units import AskedOnce

SECONDS_BETWEEN = 60.0
FORGOTTEN_AT_ONCE = 500
_KEY = re.compile(r"[\x20-\x7e]{1,255}")


def asked_once(header: str, request_hash: Callable[[], bytes], *, life_seconds: float) -> AskedOnce:
    """What an Idempotency-Key asks for. Raises InvalidParameter for a key that is not 1 to 255 printable ASCII characters."""
    if not _KEY.fullmatch(header):
        raise InvalidParameter("An Idempotency-Key is 1 to 255 printable ASCII characters.", details={"header": "Idempotency-Key"})
    return AskedOnce(header, request_hash, life_seconds)


class RequestHash:
    """The hash of one request: its method and address, and the body as far as it was read. A header never makes it another request."""

    def __init__(self, method: str, address: bytes) -> None:
        self._hash = hashlib.sha256(method.encode() + b" " + address + b"\n")

    def update(self, chunk: bytes) -> None:
        """Add a part of the body."""
        self._hash.update(chunk)

    def digest(self) -> bytes:
        """The hash."""
        return self._hash.digest()


async def forget_expired(engines: Iterable[Engine], life_seconds: float) -> None:
    """Remove answers that have expired, a few at a time, for as long as the service runs."""
    while True:
        await asyncio.sleep(SECONDS_BETWEEN)
        for engine in engines:
            if isinstance(engine, Forgetting) and Capability.IDEMPOTENCY in engine.capabilities:
                await _forget(engine, life_seconds)


async def _forget(engine: Forgetting, life_seconds: float) -> None:
    forgotten = FORGOTTEN_AT_ONCE
    while forgotten == FORGOTTEN_AT_ONCE:
        try:
            forgotten = await engine.forget_keys(life_seconds, FORGOTTEN_AT_ONCE)
        except PorticoError:
            # A database that is away, or busy, has its turn the next time.
            return
