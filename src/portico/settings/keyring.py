"""Master keys: they encrypt the secrets that are written `enc:…` in configuration, and are named so that they can be rotated."""

import base64
import binascii
import hashlib
import os
import re
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from portico.errors import ConfigurationError

PREFIX = "enc:"
KEY_BYTES = 32
_NONCE_BYTES = 12
_VERSION = "v1"
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
_TOKEN = re.compile(r"enc:v1:(?P<key_id>[A-Za-z0-9_-]{1,32}):(?P<body>[A-Za-z0-9_-]+)")
TOKENS_IN_TEXT = re.compile(_TOKEN.pattern)


@dataclass(frozen=True, slots=True)
class MasterKey:
    """One 256-bit AES key and the id by which what it encrypted names it."""

    key_id: str
    key: bytes = field(repr=False)

    @classmethod
    def generate(cls, key_id: str | None = None) -> "MasterKey":
        """A new random key; without an id, its fingerprint is its id."""
        key = AESGCM.generate_key(bit_length=KEY_BYTES * 8)
        return cls(key_id or _fingerprint(key), key)

    @staticmethod
    def valid_id(key_id: str) -> bool:
        """Whether a key may have this id: 1 to 32 letters, digits, `_` or `-`."""
        return _KEY_ID.fullmatch(key_id) is not None

    def text(self) -> str:
        """The form in which PORTICO_MASTER_KEY carries it: `id:base64`."""
        return f"{self.key_id}:{base64.b64encode(self.key).decode('ascii')}"


@dataclass(frozen=True, slots=True)
class Keyring:
    """The master keys in force: the first encrypts, every one of them decrypts."""

    keys: tuple[MasterKey, ...] = ()

    @classmethod
    def parse(cls, text: str, source: str = "PORTICO_MASTER_KEY") -> "Keyring":
        """Read keys separated by commas or lines, each `id:base64` or plain base64 of 32 bytes.

        Raises ConfigurationError, which names `source` and never the text.
        """
        keys = tuple(_parse_key(part, source) for part in re.split(r"[\s,]+", text) if part)
        ids = [key.key_id for key in keys]
        if len(set(ids)) != len(ids):
            raise ConfigurationError(f"Two master keys in {source} have the same id.", hint="Give each key its own id, as `id:base64`.")
        return cls(keys)

    def encrypt(self, plaintext: str) -> str:
        """`enc:v1:<key id>:<base64url of nonce and ciphertext>`, made with the first key (AES-256-GCM).

        Raises ConfigurationError when there is no master key.
        """
        if not self.keys:
            raise _no_master_key("A secret can be encrypted only with a master key.")
        master = self.keys[0]
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + AESGCM(master.key).encrypt(nonce, plaintext.encode(), _associated_data(master.key_id))
        return f"{PREFIX}{_VERSION}:{master.key_id}:{base64.urlsafe_b64encode(sealed).decode('ascii').rstrip('=')}"

    def decrypt(self, token: str, name: str) -> str:
        """The secret in `token`. `name` is the setting that holds it, for the message.

        Raises ConfigurationError when the token is malformed, was changed, or its key is not in the ring.
        """
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise ConfigurationError(f"{name} is not a well-formed encrypted secret.", hint="Make it again with `portico secrets encrypt`.")
        key_id = match["key_id"]
        if not self.keys:
            raise _no_master_key(f"{name} is encrypted, and there is no master key to read it with.")
        master = next((key for key in self.keys if key.key_id == key_id), None)
        if master is None:
            known = ", ".join(key.key_id for key in self.keys)
            message = f"{name} is encrypted with the master key {key_id}, which is not among those given ({known})."
            raise ConfigurationError(message, hint=f"Add the key {key_id} to PORTICO_MASTER_KEY, after the one that encrypts new secrets.")
        try:
            sealed = _decode(match["body"], urlsafe=True)
            plaintext = AESGCM(master.key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _associated_data(key_id))
            return plaintext.decode()
        except (InvalidTag, ValueError) as error:
            message = f"{name} cannot be decrypted: it was changed, or the master key {key_id} is another one than it was made with."
            raise ConfigurationError(message, hint="Make it again with `portico secrets encrypt`.") from error

    def rotate(self, token: str, name: str) -> str:
        """The same secret under the first key; the token itself when that key made it already."""
        match = _TOKEN.fullmatch(token)
        if match is not None and self.keys and match["key_id"] == self.keys[0].key_id:
            return token
        return self.encrypt(self.decrypt(token, name))


def is_encrypted(text: str) -> bool:
    """Whether a configured value is written `enc:…`."""
    return text.startswith(PREFIX)


def _parse_key(part: str, source: str) -> MasterKey:
    key_id, separator, encoded = part.rpartition(":")
    hint = "Make one with `portico secrets generate-key`."
    if separator and not MasterKey.valid_id(key_id):
        raise ConfigurationError(f"A master key in {source} has an id that is not 1 to 32 letters, digits, `_` or `-`.", hint=hint)
    try:
        key = _decode(encoded, urlsafe="-" in encoded or "_" in encoded)
    except ValueError as error:
        raise ConfigurationError(f"A master key in {source} is not base64.", hint=hint) from error
    if len(key) != KEY_BYTES:
        raise ConfigurationError(f"A master key in {source} has {len(key)} bytes and needs {KEY_BYTES}.", hint=hint)
    return MasterKey(key_id or _fingerprint(key), key)


def _decode(text: str, *, urlsafe: bool) -> bytes:
    padded = text + "=" * (-len(text) % 4)
    try:
        return base64.b64decode(padded, altchars=b"-_" if urlsafe else None, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error


def _fingerprint(key: bytes) -> str:
    return hashlib.sha256(b"portico master key" + key).hexdigest()[:8]


def _associated_data(key_id: str) -> bytes:
    # The key id is authenticated, so that a token cannot be relabelled.
    return f"portico:{PREFIX}{_VERSION}:{key_id}".encode()


def _no_master_key(message: str) -> ConfigurationError:
    hint = "Make a key with `portico secrets generate-key` and give it in PORTICO_MASTER_KEY_FILE (or PORTICO_MASTER_KEY)."
    return ConfigurationError(message, hint=hint)
