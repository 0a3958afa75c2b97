"""Writes that are applied once however often they are sent: the key that a request carries, and the answer that is kept under it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from portico.model.scope import Scope


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole answer: its status, the headers that belong to it (names in lower case), and its body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class RequestKey:
    """An idempotency key as it is stored: one of a service's, for one tenant.

    Attributes:
        tenant: whom the call acts for, as `tenant_of` writes it. request_hash: of method, address and body.
        life_seconds: an answer that is older counts as forgotten.
    """

    service: str
    tenant: str
    key: str
    request_hash: bytes
    life_seconds: float

    @property
    def lock(self) -> int:
        """A signed number of 64 bits that stands for the key where locks are numbers."""
        text = json.dumps([self.service, self.tenant, self.key]).encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True)


@dataclass(frozen=True, slots=True)
class Kept:
    """What is stored under a key: the first answer, and the hash of the request that it was given to."""

    request_hash: bytes
    answer: Answered


def tenant_of(scope: Scope) -> str:
    """A scope as one text, different for different scopes: empty for ``*``, the client's id, else a JSON array."""
    if scope.everything:
        return ""
    if len(scope.clients) == 1 and not scope.users:
        return scope.clients[0]
    return json.dumps([scope.clients, scope.users], separators=(",", ":"))


def headers_json(answer: Answered) -> str:
    """The headers as JSON text, as they are stored."""
    return json.dumps(answer.headers)


def answer_from(status: int, headers: str, body: str) -> Answered:
    """The answer of a stored row."""
    pairs: list[tuple[str, str]] = json.loads(headers)
    return Answered(status, tuple((name, value) for name, value in pairs), body.encode())
