"""What an auditor asks about a set-up, answered from the settings and the stored keys: `portico doctor --security`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from portico.errors import PorticoError
from portico.settings import Settings
from portico.store.records import KeyRecord
from portico.store.repositories import KeyRepository
from portico.store.schema import open_store

Answer = tuple[str, str]
"""A subject, and what is so."""


def audit_answers(settings: Settings) -> Iterator[Answer]:
    """The answers, in the order of a review: who may call, how it travels, what is kept, who holds keys."""
    auth, http = settings.auth, settings.http
    yield "environment", settings.environment.value
    yield "credentials", "required for every call" if auth.required else "not required: callers act as the service dev"
    for issuer in auth.issuers:
        yield f"issuer {issuer.issuer}", f"audience {issuer.audience}, algorithms {', '.join(issuer.algorithms)}"
    yield (
        "transport to clients",
        f"TLS by {http.tls_certificate}" if http.tls_certificate else f"plain HTTP on {http.host}: put TLS in front",
    )
    yield "origins of browsers", ", ".join(http.cors_origins) or "none"
    yield "interactive docs", "served" if http.docs else "off"
    for name, database in settings.databases.items():
        url = database.connection
        how = "on this machine" if not url.remote else "encrypted" if url.encrypted else "in plain text"
        yield f"database {name}", f"{url.masked()}: {how}, user {url.user or '-'}"
    yield (
        "master key",
        "set: secrets and fields can be encrypted" if settings.master_key is not None else "not set: nothing is encrypted at rest",
    )
    for function in settings.functions:
        rights = "with its owner's rights (SECURITY DEFINER)" if function.security_definer else "with the rights of who asks"
        yield f"function {function.name}", f"may be called, {rights}"
    yield from _keys(settings)


def _keys(settings: Settings) -> Iterator[Answer]:
    try:
        engine = open_store(settings.store_database.connection.text())
        keys = KeyRepository(engine).list_keys()
    except PorticoError as error:
        yield "keys", f"cannot be read: {error.message}"
        return
    if not keys:
        yield "keys", "none"
    for key in keys:
        yield f"key {key.id} of {key.service}", _described(key)


def _described(key: KeyRecord) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= datetime.now(UTC):
        return "expired"
    expiry = "never expires" if key.expires_at is None else f"expires {key.expires_at:%Y-%m-%d}"
    clients = "every client (scope *)" if key.clients is None else f"{len(key.clients)} clients"
    used = "never used" if key.last_used_at is None else f"last used {key.last_used_at:%Y-%m-%d}"
    rules = "; ".join(f"{rule.pattern}: {', '.join(sorted(rule.permissions))}" for rule in key.rules) or "no permission"
    return f"{expiry}, {clients}, {used}, {rules}"
