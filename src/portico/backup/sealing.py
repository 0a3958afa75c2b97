"""Encryption of a stream in chunks (AES-256-GCM), so that memory is bounded and a cut, moved or changed chunk is found.

The construction is STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015): each chunk's nonce is its number and whether it is the last. The
key of a file is derived from the master key and a salt of the file's own, so that no nonce is ever used twice with one key.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from portico.errors import BackupError, ConfigurationError
from portico.settings.keyring import MasterKey

MAGIC = b"PORTICO-SEALED-1\n"
CHUNK = 1 << 20
_SALT = 32
_TAG = 16


class Sealer:
    """A writable stream that encrypts into `target`. `close` writes the last chunk and leaves `target` open."""

    def __init__(self, target: BinaryIO, key: MasterKey) -> None:
        self._target = target
        salt = os.urandom(_SALT)
        name = key.key_id.encode()
        self._head = MAGIC + bytes([len(name)]) + name + salt
        self._cipher = _cipher(key, salt)
        self._number = 0
        self._held = bytearray()
        target.write(self._head)

    def write(self, data: bytes) -> int:
        """Take bytes; whole chunks go on at once."""
        self._held += data
        # The last chunk is marked, so one is always held back.
        while len(self._held) > CHUNK:
            self._seal(bytes(self._held[:CHUNK]), last=False)
            del self._held[:CHUNK]
        return len(data)

    def flush(self) -> None:
        """Nothing: chunks have their size."""

    def close(self) -> None:
        """Write what is left, marked as the last chunk."""
        self._seal(bytes(self._held), last=True)
        self._held.clear()

    def _seal(self, chunk: bytes, *, last: bool) -> None:
        self._target.write(self._cipher.encrypt(_nonce(self._number, last=last), chunk, self._head))
        self._number += 1


class Opener:
    """A readable stream of what a `Sealer` wrote.

    Raises BackupError from `read` for a chunk that is missing or changed, and ConfigurationError where the master key is not given.
    """

    def __init__(self, source: BinaryIO, keys: Sequence[MasterKey]) -> None:
        self._source = source
        key, self._head, salt = _read_head(source, keys)
        self._cipher = _cipher(key, salt)
        self._number = 0
        self._held, self._at = b"", 0
        self._next = source.read(CHUNK + _TAG)
        self._ended = False

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, all that are left where it is negative; none at the end."""
        while not self._ended and (size < 0 or len(self._held) - self._at < size):
            chunk, self._next = self._next, self._source.read(CHUNK + _TAG)
            self._ended = not self._next
            try:
                opened = self._cipher.decrypt(_nonce(self._number, last=self._ended), chunk, self._head)
            except InvalidTag:
                raise BackupError("The encrypted backup is truncated or was changed.") from None
            self._number += 1
            self._held, self._at = self._held[self._at :] + opened, 0
        given = self._held[self._at :] if size < 0 else self._held[self._at : self._at + size]
        self._at += len(given)
        return given


def is_sealed(head: bytes) -> bool:
    """Whether a file that begins with `head` is an encrypted backup."""
    return head.startswith(MAGIC)


def _read_head(source: BinaryIO, keys: Sequence[MasterKey]) -> tuple[MasterKey, bytes, bytes]:
    start = source.read(len(MAGIC) + 1)
    rest = source.read(start[-1] + _SALT) if len(start) == len(MAGIC) + 1 else b""
    if not is_sealed(start) or len(rest) != start[-1] + _SALT:
        raise BackupError("The encrypted backup is truncated or was changed.")
    name, salt = rest[:-_SALT].decode("ascii", "replace"), rest[-_SALT:]
    key = next((item for item in keys if item.key_id == name), None)
    if key is None:
        hint = "Give that key in PORTICO_MASTER_KEY_FILE; behind others where it is an older one."
        raise ConfigurationError(f"The backup is encrypted with the master key {name[:32]!r}, which is not among those given.", hint=hint)
    return key, start + rest, salt


def _cipher(key: MasterKey, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"portico backup").derive(key.key))


def _nonce(number: int, *, last: bool) -> bytes:
    return struct.pack(">QI", number, int(last))
