"""A write's shape, worked out once: its lane, and how bodies and addresses become bound values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from portico.errors import DocumentNotFound, PorticoError
from portico.model.collection import Collection
from portico.query.bound import Coercer, Conjunction, Predicate
from portico.service.caller import Caller
from portico.service.coalesce import Lane
from portico.service.plans import Plan
from portico.service.validate import (
    Body,
    Writer,
)


@dataclass(slots=True)
class WritePlan:
    """A write's shape: `writer` reads the body, `key` the address, `coercers` a filter's values; `run` is what the pipeline runs."""

    lane: Lane
    collection: Collection
    writer: Writer
    key: tuple[Coercer, ...] = ()
    sources: tuple[int, ...] = ()
    coercers: tuple[Coercer, ...] = ()
    run: Plan = field(init=False)

    def __post_init__(self) -> None:
        """Make it once for all calls."""
        self.run = Plan(self.lane, self.collection, pattern=self.lane.operation)

    def address(self, key: Sequence[str]) -> tuple[object, ...]:
        """The key's values. Raises DocumentNotFound for what cannot be a key."""
        if len(key) != len(self.key):
            raise DocumentNotFound("There is no such document.")
        try:
            return tuple([coerce(part) for coerce, part in zip(self.key, key, strict=True)])
        except PorticoError:
            raise DocumentNotFound("There is no such document.") from None

    def change_values(self, key: tuple[object, ...], etag: str | None, fields: Body, caller: Caller) -> tuple[object, ...]:
        """The bound values of a change by key: the key, the hash that the document must have, row filters, and the new values."""
        condition = () if etag is None else (etag,)
        filters = tuple([coerce(None) for coerce in self.coercers])
        return (*key, *condition, *filters, *self.writer.values(fields, caller.scope))


def all_of(predicates: tuple[Predicate, ...]) -> Predicate | None:
    """All of the predicates as one; None for none."""
    if not predicates:
        return None
    return predicates[0] if len(predicates) == 1 else Conjunction(predicates)
