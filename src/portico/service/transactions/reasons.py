"""How transactions end, as stable words, and the sentences for people."""

from __future__ import annotations

from typing import Literal

from portico.errors import TransactionGone, Unavailable

State = Literal["started", "committed", "rolled_back", "failed", "expired", "unknown"]

STARTED, COMMITTED, ROLLED_BACK, FAILED, EXPIRED = "started", "committed", "rolled_back", "failed", "expired"
HOLDER_LOST, HOLDER_UNREACHABLE = "holder_lost", "holder_unreachable"

_SENTENCES = {
    "committed": "The transaction was committed.",
    "rolled_back": "The transaction was rolled back by its caller.",
    "idle": "The transaction was rolled back, because no call came for too long.",
    "life": "The transaction was rolled back, because it was open for too long.",
    "serialization_failure": "The transaction collided with a change of others, and was rolled back.",
    "connection_lost": "The connection to the database was lost, and the transaction was rolled back.",
    "undone_by_database": "The database undid the transaction.",
    "commit_refused": "The database refused the commit, and the transaction was rolled back.",
    "service_stopped": "The service that held the transaction was stopped, and the transaction was rolled back.",
    HOLDER_LOST: "The process that held the transaction is gone; nothing of it was committed.",
    HOLDER_UNREACHABLE: "The process that holds the transaction cannot be reached now; the transaction is open still.",
    "ended": "The transaction has ended.",
    "commit_unanswered": "The connection was lost while the transaction was committed; whether it was is not known yet.",
    "too_long_ago": "The transaction ended too long ago for the database to know how.",
}

HINTS = {
    "serialization_failure": "Begin a new one and repeat its calls.",
    "connection_lost": "Begin a new one and repeat its calls.",
    "idle": "Begin a new one; transactions.idle_seconds is the limit.",
    "life": "Begin a new one; transactions.life_seconds is the limit.",
    "service_stopped": "Begin a new one and repeat its calls.",
    HOLDER_LOST: "Begin a new one and repeat its calls.",
}


def sentence(reason: str) -> str:
    """A reason for people."""
    return _SENTENCES.get(reason, _SENTENCES["ended"])


def gone(state: str, reason: str) -> TransactionGone:
    """The error of calls in a transaction that is no longer open."""
    return TransactionGone(sentence(reason), hint=HINTS.get(reason), details={"state": state, "reason": reason})


def unreachable() -> Unavailable:
    """The error of calls in a transaction that is open, and held by a process which does not answer."""
    return Unavailable(
        f"{sentence(HOLDER_UNREACHABLE)} Whether the call reached it is not known.",
        hint="Try again shortly, or ask GET /api/db/transaction/{id}; without calls it is rolled back after its idle limit.",
        details={"state": STARTED, "reason": HOLDER_UNREACHABLE},
    )
