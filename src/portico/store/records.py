"""What the store keeps, as frozen records, and the JSON form of rules and clients."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict

from portico.model.identity import Permission, Rule


class RuleDocument(TypedDict, total=False):
    """A rule as the store keeps it."""

    pattern: str
    permissions: list[str]
    hidden: list[str]
    read_only: list[str]
    row_filter: str | None


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """A service: `rules` and `clients` (None is every one) hold for callers with a token; `statement_timeout` in seconds, for all."""

    name: str
    rules: tuple[Rule, ...] = ()
    clients: frozenset[str] | None = frozenset()
    statement_timeout: float | None = None
    rate_limit: str | None = None


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An API key with the grants that it carries, and the settings of its service.

    Attributes:
        id: its public part. secret_hash: see `store/keys.py`. clients: ids it may act for; None is every one.
        expires_at, revoked_at, last_used_at, created_at: moments with their time zone.
    """

    id: str
    service: str
    secret_hash: bytes
    rules: tuple[Rule, ...]
    clients: frozenset[str] | None
    created_at: datetime
    label: str = ""
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    statement_timeout: float | None = None
    rate_limit: str | None = None


def rules_document(rules: Iterable[Rule]) -> list[RuleDocument]:
    """Rules as JSON values, in a form that is equal for equal rules."""
    documents: list[RuleDocument] = []
    for rule in rules:
        document: RuleDocument = {"pattern": rule.pattern, "permissions": sorted(rule.permissions)}
        if rule.hidden:
            document["hidden"] = sorted(rule.hidden)
        if rule.read_only:
            document["read_only"] = sorted(rule.read_only)
        if rule.row_filter is not None:
            document["row_filter"] = rule.row_filter
        documents.append(document)
    return documents


def rules_from(stored: str | list[RuleDocument]) -> tuple[Rule, ...]:
    """The rules that `rules_document` gave, as JSON text or as values."""
    documents: list[RuleDocument] = json.loads(stored) if isinstance(stored, str) else stored
    return tuple(
        Rule(
            pattern=document["pattern"],
            permissions=frozenset(Permission(name) for name in document["permissions"]),
            hidden=frozenset(document.get("hidden", ())),
            read_only=frozenset(document.get("read_only", ())),
            row_filter=document.get("row_filter"),
        )
        for document in documents
    )


def clients_document(clients: frozenset[str] | None) -> list[str] | None:
    """Clients as a JSON value; None is every one."""
    return None if clients is None else sorted(clients)


def clients_from(stored: str | list[str] | None) -> frozenset[str] | None:
    """The clients that `clients_document` gave, as JSON text or as values."""
    if stored is None:
        return None
    values: list[str] = json.loads(stored) if isinstance(stored, str) else stored
    return frozenset(values)
