"""What makes the settings unsafe to start with: each reason is a sentence that says what to change."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from portico.settings.connection import ConnectionUrl, is_loopback
from portico.settings.databases import Database
from portico.settings.root import Settings
from portico.settings.secrets import Secret

MIN_SECRET_LENGTH = 32
_PLACEHOLDERS = frozenset(
    {
        "admin",
        "appuser",
        "changeit",
        "default",
        "example",
        "password",
        "passw0rd",
        "placeholder",
        "portico",
        "postgres",
        "root",
        "secret",
        "test",
    }
)
_PLACEHOLDER_STARTS = ("changeme", "changethis", "replaceme", "replacethis", "insecure")


def unsafe_reasons(settings: Settings) -> list[str]:
    """Why Portico must not start as it is set up; empty when it may.

    What only the database can say (a role that owns tables or bypasses row-level security) is asked when it is connected.
    """
    if not settings.environment.strict:
        return list(_open_door(settings))
    reasons = [*_calls_without_credential(settings), *_secret_key(settings)]
    for name, database in settings.databases.items():
        reasons += _database(settings, name, database)
    for path, secret in (
        (("cluster", "secret"), settings.cluster.secret),
        (("files", "secret_access_key"), settings.files.secret_access_key),
    ):
        if secret is not None:
            reasons += _secret(settings, path, secret)
    if settings.master_key is not None and settings.master_key.plain and not settings.source(("master_key",)).startswith("env "):
        reasons.append(_plain(settings, ("master_key",)))
    reasons += _issuers(settings)
    return reasons


def _open_door(settings: Settings) -> Iterator[str]:
    if not settings.auth.required and not is_loopback(settings.http.host):
        yield (
            f"http.host is {settings.http.host}, which other machines reach, and calls need no credential: "
            "set auth.required to true (PORTICO_AUTH__REQUIRED=true), or http.host to 127.0.0.1."
        )


def _calls_without_credential(settings: Settings) -> Iterator[str]:
    if not settings.auth.required:
        yield f"auth.required is false in {settings.environment}: set it to true or leave it out."


def _secret_key(settings: Settings) -> Iterator[str]:
    if settings.secret_key is None:
        yield "secret_key is not set: put 32 or more random characters in a file and name it in PORTICO_SECRET_KEY_FILE."
        return
    yield from _secret(settings, ("secret_key",), settings.secret_key)
    text = settings.secret_key.current()
    if len(text) < MIN_SECRET_LENGTH and not _is_placeholder(text):
        yield f"secret_key has {len(text)} characters: make it {MIN_SECRET_LENGTH} or more, at random."


def _database(settings: Settings, name: str, database: Database) -> Iterator[str]:
    path = ("databases", name)
    urls = {
        "connection_string": database.connection_string,
        "migration_connection_string": database.migration_connection_string,
        "backup_connection_string": database.backup_connection_string,
    }
    for key, secret in urls.items():
        if secret is None:
            continue
        url = ConnectionUrl.parse(secret.current())
        if secret.plain and url.secrets():
            yield _plain(settings, (*path, key))
        if any(_is_placeholder(text) for text in url.secrets()):
            yield f"{'.'.join((*path, key))} has a default password: give the role a random one."
        if url.remote and not url.encrypted:
            yield f"{'.'.join((*path, key))} reaches {_hosts(url)} in plain text: {_how_to_encrypt(url)}."
    if database.password is not None:
        yield from _secret(settings, (*path, "password"), database.password)
    url = database.connection
    remote = [replica.host for replica in database.replicas if not is_loopback(replica.host)]
    if remote and not url.remote and not url.encrypted:
        yield f"{'.'.join((*path, 'replicas'))} reaches {', '.join(remote)} in plain text: {_how_to_encrypt(url)} in the connection string."


def _secret(settings: Settings, path: tuple[str, ...], secret: Secret) -> Iterator[str]:
    if secret.plain:
        yield _plain(settings, path)
    if _is_placeholder(secret.current()):
        yield f"{'.'.join(path)} is a default one: make it random."


def _plain(settings: Settings, path: tuple[str, ...]) -> str:
    source = settings.source(path)
    where, _, name = source.partition(" ")
    setting = ".".join(path)
    if where == "env":
        files = " and ".join(f"{variable}_FILE" for variable in name.split(", "))
        return f"{setting} has a password in a plain variable ({name}): name a file in {files} instead, or write it as enc:…."
    return f"{setting} has a password in plain text ({source}): name a file with {path[-1]}_file, or write it as enc:…."


def _issuers(settings: Settings) -> Iterator[str]:
    for issuer in settings.auth.issuers:
        parts = urlsplit(issuer.jwks_url)
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            yield f"auth.issuers: the keys of {issuer.issuer} are read in plain text: use an https address for jwks_url."


def _is_placeholder(text: str) -> bool:
    plain = "".join(character for character in text.lower() if character.isalnum())
    return plain in _PLACEHOLDERS or plain.startswith(_PLACEHOLDER_STARTS)


def _hosts(url: ConnectionUrl) -> str:
    return ", ".join(host for host, _ in url.hosts if not is_loopback(host))


def _how_to_encrypt(url: ConnectionUrl) -> str:
    ways = {"postgresql": "add sslmode=verify-full (or require)", "mongodb": "add tls=true", "redis": "write rediss:// for redis://"}
    return ways.get(url.type, "use TLS")
