"""`Settings`: everything that is configured, in groups, with the source of each value and the keys derived from the secret."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import Field, PrivateAttr, StringConstraints

from portico.errors import ConfigurationError
from portico.settings.databases import Database
from portico.settings.development import development_secret
from portico.settings.groups import (
    Auth,
    Cache,
    Changes,
    Cluster,
    Environment,
    Files,
    Function,
    Group,
    Http,
    Limits,
    Observe,
    Store,
    Transactions,
)
from portico.settings.keyring import Keyring
from portico.settings.secrets import Secret

DatabaseName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")]
DEFAULT = "default"
DEVELOPMENT_SERVICE = "dev"


@dataclass(frozen=True, slots=True)
class Declaration:
    """A collection as it was written, before it is checked, and the file that it was written in."""

    source: str
    document: Mapping[str, object]


def derive_key(secret: str, purpose: str, length: int = 32) -> bytes:
    """A key of `length` bytes for one purpose, from a `secret_key` (HKDF-SHA256, RFC 5869)."""
    if not purpose:
        raise ValueError("a derived key needs a purpose")
    return HKDF(algorithm=SHA256(), length=length, salt=b"portico", info=purpose.encode()).derive(secret.encode())


class Settings(Group):
    """All settings in force. `load` makes it; nothing else reads the environment."""

    environment: Environment = Field(
        default=Environment.DEVELOPMENT, description="`development` (or `dev`), `staging`, `production` (or `prod`)."
    )
    service_name: str = Field(default="portico", min_length=1, description="Name of this service in logs, traces and health.")
    secret_key: Secret | None = Field(
        default=None, description="Secret of 32 or more characters that other keys derive from. In development one is made and kept."
    )
    master_key: Secret | None = Field(
        default=None, description="Keys that encrypt secrets (`id:base64`, by commas or lines); the first encrypts, all decrypt."
    )
    http: Http = Field(default=Http(), description="")
    databases: dict[DatabaseName, Database] = Field(description="Databases by name.")
    store: Store = Field(default=Store(), description="")
    cluster: Cluster = Field(default=Cluster(), description="")
    cache: Cache = Field(default=Cache(), description="")
    auth: Auth = Field(default=Auth(), description="")
    limits: Limits = Field(default=Limits(), description="")
    transactions: Transactions = Field(default=Transactions(), description="")
    changes: Changes = Field(default=Changes(), description="")
    observe: Observe = Field(default=Observe(), description="")
    files: Files = Field(default=Files(), description="")
    collections: tuple[dict[str, object], ...] = Field(default=(), description="Declared collections.")
    collections_dir: str | None = Field(
        default=None, description="Folder of YAML files, each with one declared collection or a list of them."
    )
    functions: tuple[Function, ...] = Field(default=(), description="Database functions that may be called.")

    _sources: Mapping[tuple[str, ...], str] = PrivateAttr(default_factory=dict)
    _keyring: Keyring = PrivateAttr(default_factory=Keyring)
    _declarations: tuple[Declaration, ...] = PrivateAttr(default=())

    def source(self, path: tuple[str, ...]) -> str:
        """Where the value at `path` came from: `default`, `file portico.yaml`, `env HTTP_PORT`, …"""
        for length in range(len(path), 0, -1):
            if path[:length] in self._sources:
                return self._sources[path[:length]]
        return DEFAULT

    @property
    def keyring(self) -> Keyring:
        """The master keys, for encrypted secrets, fields and backups."""
        return self._keyring

    @property
    def declarations(self) -> tuple[Declaration, ...]:
        """The declared collections of the file and of the folder, in that order, each with its file."""
        return self._declarations

    @property
    def store_database(self) -> Database:
        """The database that keeps control data."""
        assert self.store.database is not None
        return self.databases[self.store.database]

    @property
    def anonymous_service(self) -> str | None:
        """The service that calls without a credential act as: `dev` in development unless `auth.required`, else None."""
        return None if self.auth.required or self.environment.strict else DEVELOPMENT_SERVICE

    def derive_key(self, purpose: str, length: int = 32) -> bytes:
        """A key of `length` bytes for one purpose (HKDF-SHA256, RFC 5869): `etag`, `cursor`, `api-key-pepper`, …

        Every worker and node with the same secret derives the same. Raises ConfigurationError when there is no secret.
        """
        return derive_key(self._secret_text(), purpose, length)

    def _secret_text(self) -> str:
        if self.secret_key is not None:
            return self.secret_key.current()
        if self.environment.strict:
            raise ConfigurationError(
                "There is no secret_key.", hint="Name a file with 32 or more random characters in PORTICO_SECRET_KEY_FILE."
            )
        return development_secret(self._data_folder())

    def _data_folder(self) -> Path:
        for database in self.databases.values():
            if database.type == "sqlite":
                file = database.connection.database
                return Path(file).parent if file not in {"", ":memory:"} else Path()
        return Path()
