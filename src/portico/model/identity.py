"""Who calls: the service, what it may do, and on whose behalf one call acts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Permission(StrEnum):
    """What a service may be allowed to do with the collections that a pattern names."""

    CREATE = "create"
    READ = "read"
    UPDATE = "update"
    DELETE = "delete"
    AGGREGATE = "aggregate"
    SEARCH = "search"
    EXPORT = "export"
    MIGRATE = "migrate"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Rule:
    """One grant: `pattern` is a collection's name or a glob (``*``, ``doc*``).

    Attributes:
        permissions: what is allowed there.
        hidden, read_only: fields, besides the collection's own, that this service does not see or write.
        row_filter: a filter in the JSON syntax, as text, that every document must match; None is no filter.
    """

    pattern: str
    permissions: frozenset[Permission]
    hidden: frozenset[str] = frozenset()
    read_only: frozenset[str] = frozenset()
    row_filter: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """The client and user that a JSON Web Token is for; None where it does not say. A call cannot name others."""

    client: str | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """A service that was authenticated.

    Attributes:
        service: its name. credential: the id of the key or token it used, for the audit.
        rules: its grants, a tuple in order. clients: ids it may act for; None is every client (``*``).
        statement_timeout: seconds, or None for the default.
        fingerprint: equal for identities with the same rules and timeout, whatever their clients; part of a plan's key.
        subject: whom its token is for; None for a key.
    """

    service: str
    credential: str
    rules: tuple[Rule, ...]
    clients: frozenset[str] | None
    statement_timeout: float | None = None
    rate_limit: str | None = None
    fingerprint: str = ""
    subject: Subject | None = None

    @property
    def may_ask_everything(self) -> bool:
        """Whether calls without a client have the scope ``*``, which only a key for every client gives."""
        return self.clients is None and self.subject is None


@dataclass(slots=True, unsafe_hash=True)
class Actor:
    """Who an audit row names: the service, the client and user it acted for, and the correlation id of the request.

    One is made for every call, so it is not frozen, which would treble the time that takes; nobody changes one.
    """

    service: str
    client_id: str | None
    user_id: str | None
    correlation_id: str
