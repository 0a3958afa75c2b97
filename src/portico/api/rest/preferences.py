"""The `Prefer` header as PostgREST reads it, and what of it was applied."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Protocol, cast

from portico.api.exchange import Exchange
from portico.api.rest.refusals import InvalidPreference
from portico.query.ast import CountMode
from portico.query.moments import UTC, plain_zone, zone_names

Return = Literal["minimal", "headers-only", "representation"]


class _Values(Protocol):
    def fullmatch(self, text: str, /) -> object | None:
        """Something, where the text is one of them."""
        ...


class _TimeZones:
    """The names that IANA gives, as PostgreSQL knows them."""

    def fullmatch(self, text: str, /) -> object | None:
        """Whether there is such a time zone."""
        return text if text in zone_names() else None


_KNOWN: dict[str, _Values] = {
    "resolution": re.compile("merge-duplicates|ignore-duplicates"),
    "missing": re.compile("default|null"),
    "return": re.compile("minimal|headers-only|representation"),
    "count": re.compile("exact|planned|estimated"),
    "tx": re.compile("commit|rollback"),
    "handling": re.compile("strict|lenient"),
    "timezone": _TimeZones(),
    "max-affected": re.compile("[0-9]{1,9}"),
}
"""The preferences that are understood, with their values, in the order in which they are said to be applied."""


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the caller prefers; a preference that was not understood is not among `given`."""

    given: dict[str, str]

    @property
    def returned(self) -> Return:
        """What a write answers."""
        return cast("Return", self.given.get("return", "minimal"))

    @property
    def count(self) -> CountMode | None:
        """How to count what matches."""
        return cast("CountMode | None", self.given.get("count"))

    @property
    def zone(self) -> str:
        """The time zone that datetimes are shown and read in."""
        given = self.given.get("timezone")
        return UTC if given is None else plain_zone(given)

    @property
    def most(self) -> int | None:
        """How many documents a change may touch."""
        most = self.given.get("max-affected")
        return int(most) if most is not None else None

    def applied(self, *names: str) -> tuple[tuple[bytes, bytes], ...]:
        """The header that says which of these preferences were applied; none where it would be empty."""
        wanted = {*names, "handling", "timezone"}
        # What is undone says so itself, where the undoing is done.
        parts = [f"{name}={self.given[name]}" for name in _KNOWN if name in wanted and name in self.given]
        return ((b"preference-applied", ", ".join(parts).encode("latin-1", "replace")),) if parts else ()


def preferences(exchange: Exchange) -> Preferences:
    """What the request's `Prefer` headers say. The first of two that contradict each other counts (RFC 7240).

    Raises:
        InvalidPreference: one is not understood, and `handling=strict` is among them.
    """
    given: dict[str, str] = {}
    unknown: list[str] = []
    for name, value in exchange.scope["headers"]:
        if name != b"prefer":
            continue
        for part in value.decode("latin-1").split(","):
            word, _, wish = (piece.strip() for piece in part.strip().partition("="))
            if not word:
                continue
            pattern = _KNOWN.get(word.lower())
            wish = wish.strip('"')
            if pattern is not None and pattern.fullmatch(wish):
                given.setdefault(word.lower(), wish)
            else:
                unknown.append(part.strip()[:100])
    if unknown and given.get("handling") == "strict":
        raise InvalidPreference(
            "Invalid preferences given with handling=strict", details={"preferences": ", ".join(unknown)}, hint="Leave them out."
        )
    return Preferences(given)
