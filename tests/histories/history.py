"""What clients of transactions did and saw, as data: the history that the checker judges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Level = Literal["read_committed", "repeatable_read", "serializable"]
LEVELS: tuple[Level, ...] = ("read_committed", "repeatable_read", "serializable")

Value = tuple[int, ...]
"""A list of a document. Its last element is unique among all lists ever sent, so it names the write; the empty one was there first."""

Outcome = Literal["committed", "aborted", "unknown"]


@dataclass(frozen=True, slots=True)
class Read:
    """A list that was answered."""

    key: str
    value: Value


@dataclass(frozen=True, slots=True)
class Write:
    """A list that was sent.

    Args:
        undone: a savepoint from before it was gone back to: no other transaction may see it, as if its own were aborted.
        held: it was sent with the ETag of what its transaction had read (If-Match).
        refused: it was answered with an error, or not at all: nobody may see it.
    """

    key: str
    value: Value
    undone: bool = False
    held: bool = False
    refused: bool = False

    @property
    def is_void(self) -> bool:
        """Whether it is no part of what its transaction would commit."""
        return self.undone or self.refused


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A savepoint was gone back to: what the transaction knew of these keys since then does not hold any more."""

    keys: frozenset[str]


Step = Read | Write | Forgotten


@dataclass(frozen=True, slots=True)
class Transaction:
    """What one transaction did, in order.

    Args:
        number: unique in the history. session: the client; its transactions follow each other by number.
        outcome: what its client was told by the commit or rollback; `unknown` where no answer came.
        told: what the service answered later, when it was asked; None where it was not asked.
        alone: a single call without a transaction, which no level of isolation orders among transactions.
    """

    number: int
    session: int
    steps: Sequence[Step]
    outcome: Outcome
    told: Outcome | None = None
    alone: bool = False

    def reads(self) -> Iterator[Read]:
        """Its reads, in order."""
        return (step for step in self.steps if isinstance(step, Read))

    def writes(self) -> Iterator[Write]:
        """Its writes, in order, with those that were undone."""
        return (step for step in self.steps if isinstance(step, Write))


@dataclass(frozen=True, slots=True)
class History:
    """Transactions, the lists that each document had in the order in which they were installed, and the list that was found in the end."""

    transactions: Sequence[Transaction]
    installed: Mapping[str, Sequence[Value]]
    final: Mapping[str, Value] = field(default_factory=dict)
