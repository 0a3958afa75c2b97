"""Who calls, for whom, and what was asked: what every call of the pipeline starts from.

One of each is made for every call, so they are not frozen, which would treble the time that takes; nobody changes one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from portico.engines.base import Transaction
from portico.model.identity import Actor, Identity
from portico.model.scope import Scope
from portico.query import ast


@dataclass(slots=True)
class Caller:
    """One authenticated call: the service, whose documents it may touch, and who the audit will name.

    `transaction` is the open one that the call runs inside of, if any: it then shares no statement and commits nothing.
    """

    identity: Identity
    scope: Scope
    actor: Actor
    transaction: Transaction | None = None


@dataclass(slots=True)
class Asked:
    """A read as a syntax gave it.

    Attributes:
        shape: equal for requests that differ in values alone, which then share a plan.
        values: the raw values, in the order of the tree's slots. parse: gives the tree; called only for a shape that is new.
    """

    shape: Hashable
    values: tuple[object, ...]
    parse: Callable[[], ast.Query]


EVERY_FIELD = ast.Query()
"""What a write answers of a document unless it is asked otherwise: every visible field."""

KEY_ALONE = ast.Query(select=())
"""What a write answers of a document that is read after it: the key, hidden or not, for nobody but the one who reads it then."""

ALL = Asked("", (), lambda: EVERY_FIELD)
"""Nothing asked: every visible field, no filter."""

__all__ = ["ALL", "EVERY_FIELD", "KEY_ALONE", "Asked", "Caller", "Transaction"]
