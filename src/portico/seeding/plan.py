"""How many rows of what a size means, and the ids and moments of rows, which follow from the seed and the row's number alone."""

from __future__ import annotations

import hashlib
import random
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from portico.seeding.words import COMPANIES

SIZES: dict[str, dict[str, int]] = {
    "small": {
        "clients": 2, "users": 8, "user_identities": 4, "document_metadata": 20, "documents": 14, "wireframes": 6, "conversations": 10,
        "messages": 24, "diagrams": 6, "events": 6,
    },
    "medium": {
        "clients": 20, "users": 480, "user_identities": 300, "document_metadata": 2_000, "documents": 1_500, "wireframes": 500,
        "conversations": 1_000, "messages": 3_000, "diagrams": 500, "events": 700,
    },
    "large": {
        "clients": 200, "users": 19_800, "user_identities": 12_000, "document_metadata": 200_000, "documents": 150_000,
        "wireframes": 50_000, "conversations": 110_000, "messages": 350_000, "diagrams": 50_000, "events": 58_000,
    },
}  # fmt: skip
"""Rows of each collection, referenced collections before those that refer to them: 100, 10,000 and 1,000,000 in all."""

_FIRST = datetime(2024, 1, 1, 8, tzinfo=UTC)
_SPAN = timedelta(days=730)


@dataclass(frozen=True, slots=True)
class SeedPlan:
    """One set of sample data.

    Attributes:
        counts: rows by collection. seed: what it follows from. number: 0 for the first set of a seed; each further set has other ids.
        clients: ids of the clients whose data it is, where they were named; otherwise the set has clients of its own.
    """

    counts: dict[str, int]
    seed: int
    number: int
    clients: tuple[str, ...]

    @property
    def tag(self) -> str:
        """A short text of the set's own, in the names that must be unique."""
        text = f"{self.seed}:{self.number}:{','.join(self.clients)}:{self.counts['users']}"
        return hashlib.sha256(text.encode()).hexdigest()[:6]

    def random(self, collection: str) -> random.Random:
        """The random numbers of a collection's rows."""
        return random.Random(f"{self.tag}:{collection}")  # noqa: S311 - sample data is no secret, and must be the same each time

    def client(self, number: int) -> str:
        """The id of a client."""
        if self.clients:
            return self.clients[number % len(self.clients)]
        return f"{COMPANIES[number % len(COMPANIES)].lower()}-{self.tag}-{number + 1}"

    def client_of(self, user: int) -> str:
        """The client that a user belongs to."""
        return self.client(user % self.counts["clients"])

    def key(self, collection: str, number: int) -> uuid.UUID:
        """The time-ordered id (version 7) of a row."""
        digest = hashlib.blake2b(f"{self.tag}:{collection}:{number}".encode(), digest_size=10).digest()
        milliseconds = int(self.moment(collection, number).timestamp() * 1000)
        value = milliseconds << 80 | int.from_bytes(digest, "big")
        return uuid.UUID(int=value & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62)

    def moment(self, collection: str, number: int) -> datetime:
        """When a row was made: rows of a collection are spread over two years, in their order."""
        return _FIRST + _SPAN * ((number + 0.5) / self.counts[collection])


def plan_of(size: str, seed: int, number: int, clients: tuple[str, ...]) -> SeedPlan:
    """The plan of a size (a key of `SIZES`)."""
    counts = dict(SIZES[size])
    if clients:
        counts["clients"] = len(clients)
    return SeedPlan(counts, seed, number, clients)
