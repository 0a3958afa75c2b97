"""The text of API keys, `ptk_<id>_<secret>`: how one is made, taken apart, and hashed for the store."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass, field

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
PREFIX = "ptk_"
_RANDOM_LENGTH = 12
_CHECK_LENGTH = 4
_SECRET_LENGTH = 43  # 62 ** 43 is just above 2 ** 256
_KEY = re.compile(rb"ptk_([0-9A-Za-z]{16})_([0-9A-Za-z]{43})")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made. `text` is shown once, to its owner; the store keeps `id` and `secret_hash`."""

    id: str
    text: str = field(repr=False)
    secret_hash: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """A key's text taken apart. Nothing says yet that it is genuine."""

    id: str
    secret: bytes = field(repr=False)


def generate(pepper: bytes) -> NewKey:
    """Make a key with 256 random bits. Args: `pepper`, the installation's secret."""
    body = _random(_RANDOM_LENGTH)
    key_id = body + _check(pepper, body)
    secret = _random(_SECRET_LENGTH)
    return NewKey(id=key_id, text=f"{PREFIX}{key_id}_{secret}", secret_hash=hash_secret(pepper, key_id, secret.encode()))


def parse(text: bytes) -> ParsedKey | None:
    """Take a key's text apart; None where it is not of a key's form."""
    match = _KEY.fullmatch(text)
    return None if match is None else ParsedKey(match[1].decode(), match[2])


def well_made(pepper: bytes, key_id: str) -> bool:
    """Whether an id was made with this pepper: a made-up id is refused without asking the store (but for one in 14 million)."""
    return hmac.compare_digest(_check(pepper, key_id[:_RANDOM_LENGTH]), key_id[_RANDOM_LENGTH:])


def hash_secret(pepper: bytes, key_id: str, secret: bytes) -> bytes:
    """What the store keeps of a secret: 32 bytes, HMAC-SHA256 under the pepper, bound to the key's id.

    A slow hash such as argon2 protects secrets that can be guessed. Nobody can try 2**256 secrets at any speed, so a fast one is as
    safe here, and a burst of first calls does not cost 50 ms each.
    """
    return hmac.digest(pepper, b"secret:" + key_id.encode() + b":" + secret, hashlib.sha256)


def _check(pepper: bytes, body: str) -> str:
    number = int.from_bytes(hmac.digest(pepper, b"id:" + body.encode(), hashlib.sha256)[:8])
    characters = []
    for _ in range(_CHECK_LENGTH):
        number, index = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[index])
    return "".join(characters)


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
