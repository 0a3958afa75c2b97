"""The ids of interactive transactions: signed, so that nobody makes one up, and naming who holds the transaction and whose it is."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from uuid import UUID

from portico.errors import PorticoError, TransactionNotFound
from portico.model.scope import Scope
from portico.service.caller import Caller
from portico.service.scope import choose_scope

_PREFIX = "tx_"
_VERSION = 1
_MOST_CHARACTERS = 1024
_MAC_BYTES = _OWNER_BYTES = 16
_FIXED = struct.Struct(f">B16s{_OWNER_BYTES}s8sBB")


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a transaction: a node by the address that it advertises (empty for one that stands alone), and one of its workers.

    `worker` is 16 hexadecimal digits that a process makes when it starts, so that no process is taken for the one before it.
    """

    node: str
    worker: str

    def __str__(self) -> str:
        return f"{self.node or 'node'}/{self.worker}"


@dataclass(frozen=True, slots=True)
class Token:
    """What an id says: `id` for the ledger, `owner` whose it is (a keyed hash), who holds it, and in which database."""

    id: UUID
    owner: bytes
    holder: Holder
    database: str


class Ids:
    """Writes and reads ids. `key` is the same on every node; 32 bytes or more."""

    def __init__(self, key: bytes) -> None:
        self._signing = hmac.digest(key, b"sign", hashlib.sha256)
        self._owning = hmac.digest(key, b"own", hashlib.sha256)

    def write(self, token: Token) -> str:
        """The id of a transaction."""
        node, database = token.holder.node.encode(), token.database.encode()
        fixed = _FIXED.pack(_VERSION, token.id.bytes, token.owner, bytes.fromhex(token.holder.worker), len(node), len(database))
        payload = fixed + node + database
        return _PREFIX + base64.urlsafe_b64encode(payload + self._mac(payload)).rstrip(b"=").decode()

    def read(self, text: str) -> Token:
        """What an id says. Raises TransactionNotFound for all that this installation did not write."""
        raw = _decoded(text)
        payload, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if len(payload) < _FIXED.size or not hmac.compare_digest(mac, self._mac(payload)):
            raise unknown()
        _, number, owner, worker, node_bytes, database_bytes = _FIXED.unpack_from(payload)
        rest = payload[_FIXED.size :]
        node, database = rest[:node_bytes].decode(), rest[node_bytes : node_bytes + database_bytes].decode()
        return Token(UUID(bytes=number), owner, Holder(node, worker.hex()), database)

    def _mac(self, payload: bytes) -> bytes:
        return hmac.digest(self._signing, payload, hashlib.sha256)[:_MAC_BYTES]

    def owner(self, service: str, scope: Scope) -> bytes:
        """Whose a transaction is that the service begins for this scope."""
        text = json.dumps([service, scope.everything, scope.clients, scope.users])
        return hmac.digest(self._owning, text.encode(), hashlib.sha256)[:_OWNER_BYTES]

    def require_owner(self, token: Token, caller: Caller) -> None:
        """Raise TransactionNotFound where the transaction is not the caller's.

        It is, where the same service began it for the scope of this call, or for a wider one that the caller may choose too: a
        transaction that was begun for a client serves calls for its users, and one begun for all of the service's clients each of them.
        """
        service = caller.identity.service
        found = [hmac.compare_digest(token.owner, self.owner(service, scope)) for scope in _wider(caller)]
        if not any(found):
            raise unknown()


def _wider(caller: Caller) -> Iterator[Scope]:
    """The scopes that hold the call's, and that the caller may choose."""
    yield caller.scope
    if caller.scope.users and (caller.identity.subject is None or caller.identity.subject.user is None):
        yield replace(caller.scope, users=())
    try:
        yield choose_scope(caller.identity)
    except PorticoError:
        return


def _decoded(text: str) -> bytes:
    if not text.startswith(_PREFIX) or len(text) > _MOST_CHARACTERS or not text.isascii():
        raise unknown()
    body = text[len(_PREFIX) :]
    try:
        raw = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise unknown() from None
    # Of the texts that stand for the same bytes, one is the id.
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != body:
        raise unknown()
    return raw


def unknown() -> TransactionNotFound:
    """What every id that is not one of the caller's own is answered with, so that nothing is learnt from it."""
    return TransactionNotFound("There is no such transaction.")
