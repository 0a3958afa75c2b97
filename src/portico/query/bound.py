"""A query whose names are resolved: fields instead of names, typed parameters instead of slots. Still without any scope."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from portico.model.collection import Collection, Relation
from portico.model.field import Field, FieldType
from portico.query.ast import CountMode, Operator


class Special(StrEnum):
    """Types of parameters that are not a field's.

    `LIKE`: a pattern of ``%`` and ``_`` with ``\\`` as escape. `ILIKE`: such a pattern whose case is ignored; `query.patterns` translates
    it, so that case is folded alike everywhere. `PATTERN`: one of `query.patterns`, checked; `to_postgres` and `to_re2`
    translate it. `JSON_TEXT`: a JSON text that a JSON target is compared with. `SEARCH`: a full-text query. `COUNT`: a number of rows.
    """

    LIKE = "like"
    ILIKE = "ilike"
    PATTERN = "pattern"
    JSON_TEXT = "json"
    SEARCH = "search"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A typed value of a call: the `index`th of the call's bound values.

    `type` says what Python value stands there: str for text and enums, int, float, Decimal, bool, UUID, date, aware datetime
    in UTC, bytes, a list of these where `many` (or where the type is an array), JSON as text.
    """

    index: int
    type: FieldType | Special
    many: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """What a condition or sort key looks at.

    Attributes:
        field: the field. steps: the place inside of its JSON. as_text: taken as text.
        type: what the value is compared as: the field's type, or inside JSON `text` (as_text), `float`, `boolean`, `string` or `json`.
            Inside JSON a value of another JSON type than the compared one is unknown (NULL), and so is JSON's own null; numbers
            compare as IEEE doubles. `json` is compared as a whole. Sort keys inside JSON have the type `json` or, as text, `text`.
        element: the place is relative to the element of an `elem_match`, not to the document.
        zone: a datetime, or a text or date made of one, is answered as PostgreSQL shows it in this time zone
            (``2025-08-20T10:10:48.1+02:00``), whatever the engine.
        within: the place is in the related document that these to-one relations lead to, one after the other; NULL where there is none.
        shows: instead of a field, the related documents themselves, as JSON.
    """

    field: Field | None
    type: FieldType
    steps: tuple[str | int, ...] = ()
    as_text: bool = False
    cast: bool = False
    element: bool = False
    zone: str | None = None
    within: tuple[Embedded, ...] = ()
    shows: Embedded | None = None

    @property
    def nullable(self) -> bool:
        """Whether there may be no value."""
        return self.field is None or self.field.nullable or bool(self.steps) or bool(self.within)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`target operator value`, types agreed. Unknown (NULL) where the target is, but for what follows.

    `bind` leaves fewer operators to engines than there are: `imatch` is a `match` whose pattern begins with ``(?i)``; `exists` is asked
    only inside JSON, where it is true for a null too and never unknown; `is_null` inside JSON looks at the value as text, so that a
    missing member and JSON's null are both null. Nothing is `in` an empty list, nor equal to `any` of it, not even null: that is
    false, and `all` of it is true. `elem_match` is unknown for null and for JSON that is no array; an element for which the inner
    condition is unknown does not match. `size` is of arrays, unknown for other JSON.
    """

    target: Target
    operator: Operator
    value: Parameter | None = None
    quantifier: Literal["any", "all"] | None = None
    language: str | None = None
    inner: Predicate | None = None


@dataclass(frozen=True, slots=True)
class Conjunction:
    """All of `children`; none is true."""

    children: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Disjunction:
    """Any of `children`; none is false."""

    children: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    """The negation of `child`."""

    child: Predicate


@dataclass(frozen=True, slots=True)
class Related:
    """There is a related document, as `embedded` asks for it; its own limit and offset do not count."""

    embedded: Embedded


Predicate = Comparison | Conjunction | Disjunction | Negation | Related


@dataclass(frozen=True, slots=True)
class Output:
    """One member of the answered object: `name` with the value of `target`.

    `aggregate` is a function over it (`sum avg min max count`; a count of documents has a target without a field), whose result
    is read as `cast`. Outputs without one then group.
    """

    name: str
    target: Target
    aggregate: str | None = None
    cast: FieldType | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """One sort key; `nulls_first` is always said here."""

    target: Target
    descending: bool
    nulls_first: bool


@dataclass(frozen=True, slots=True)
class Keyset:
    """Where a page begins: after the row whose ordering values are these parameters.

    `values[i]` belongs to `order[i]`; None says that the value there was NULL (part of the shape, not a value).
    """

    values: tuple[Parameter | None, ...]


@dataclass(frozen=True, slots=True)
class Join:
    """The join collection of a many-to-many relation, and what its documents must match (a service's row filters)."""

    collection: Collection
    filter: Predicate | None = None


@dataclass(frozen=True, slots=True)
class Embedded:
    """Related documents inside of a document; `query` is bound to `relation.collection`.

    Without outputs it is asked for the sake of a filter or an order, and not answered. `spread`: its members are the parent's.
    """

    name: str
    relation: Relation
    query: BoundQuery
    spread: bool = False
    join: Join | None = None


@dataclass(frozen=True)
class BoundQuery:
    """A read with every name resolved.

    `outputs` are the answered members in order. `order` ends with the key, so that it is total, wherever there is a key.
    `limit` and `offset` are parameters of type COUNT.
    """

    collection: Collection
    outputs: tuple[Output | Embedded, ...]
    filter: Predicate | None = None
    order: tuple[Order, ...] = ()
    limit: Parameter | None = None
    offset: Parameter | None = None
    keyset: Keyset | None = None
    count: CountMode | None = None

    @property
    def grouped(self) -> bool:
        """Whether it answers groups: an output is an aggregate."""
        return any(isinstance(output, Output) and output.aggregate is not None for output in self.outputs)


def embeds_in(query: BoundQuery) -> Iterator[Embedded]:
    """The relations that a query looks at on its own level: answered, on the way to a value, sorted by, or required."""
    for output in query.outputs:
        if isinstance(output, Embedded):
            yield output
        else:
            yield from _embeds_of(output.target)
    for item in query.order:
        yield from _embeds_of(item.target)
    if query.filter is not None:
        yield from _required(query.filter)


def _embeds_of(target: Target) -> Iterator[Embedded]:
    yield from target.within
    if target.shows is not None:
        yield target.shows


def _required(node: Predicate) -> Iterator[Embedded]:
    match node:
        case Related(embedded):
            yield embedded
        case Negation(child):
            yield from _required(child)
        case Conjunction(children) | Disjunction(children):
            for child in children:
                yield from _required(child)


Coercer = Callable[[object], object]
"""Reads a raw value of a slot as its parameter's type. Raises InvalidValue subclasses (422) or InvalidRequest (400)."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What `bind` gives: the query, and for each parameter which raw value it comes from and how it is read.

    ``parameters[i] = coercers[i](raw[sources[i]])`` gives the bound values of one call. A source of -1 takes no raw value (a default).
    """

    query: BoundQuery
    sources: tuple[int, ...]
    coercers: tuple[Coercer, ...]

    def values(self, raw: tuple[object, ...]) -> tuple[object, ...]:
        """The bound values of a call whose raw values are `raw` (those of a cursor stand behind those of the request)."""
        return coerced(self.sources, self.coercers, raw)


@dataclass(frozen=True, slots=True)
class BoundFilter:
    """A bound filter alone; `sources` and `coercers` as in `Bound`."""

    predicate: Predicate
    sources: tuple[int, ...]
    coercers: tuple[Coercer, ...]

    def values(self, raw: tuple[object, ...]) -> tuple[object, ...]:
        """The bound values of a call whose raw values are `raw`."""
        return coerced(self.sources, self.coercers, raw)

    def fixed(self, raw: tuple[object, ...]) -> BoundFilter:
        """The same filter with these raw values for every call, such as a service's row filter. Raises what a coercer raises."""
        constants = tuple(_constant(value) for value in self.values(raw))
        return BoundFilter(self.predicate, (-1,) * len(constants), constants)


def coerced(sources: tuple[int, ...], coercers: tuple[Coercer, ...], raw: tuple[object, ...]) -> tuple[object, ...]:
    """The typed values of parameters that come from `raw`; a source of -1 takes no raw value."""
    return tuple([coerce(raw[source] if source >= 0 else None) for source, coerce in zip(sources, coercers, strict=True)])


def _constant(value: object) -> Coercer:
    return lambda _: value
