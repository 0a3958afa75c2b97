"""An aggregation whose names are resolved: steps over typed columns. Still without any scope.

Columns have ids of their own, which no caller chooses; the names of the answer stand in `BoundPipeline.output` alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass

from portico.model.collection import Collection, Relation
from portico.model.field import Field, FieldType
from portico.query.bound import Coercer, Parameter, Predicate, Target


@dataclass(frozen=True, slots=True)
class Column:
    """A value that an earlier step gave, in the form in which its type is stored by Portico itself (never a `native` one)."""

    id: str
    type: FieldType


@dataclass(frozen=True, slots=True)
class Place:
    """A place inside of a JSON column, read as `type`; NULL where it is of another JSON type, and for JSON's null."""

    column: Column
    steps: tuple[str | int, ...]
    type: FieldType


@dataclass(frozen=True, slots=True)
class Constant:
    """A value of the call."""

    parameter: Parameter
    type: FieldType


@dataclass(frozen=True, slots=True)
class Nothing:
    """A NULL of a type."""

    type: FieldType


@dataclass(frozen=True, slots=True)
class Calculation:
    """An operator over values, whose types fit it.

    Numbers: `add subtract multiply abs mod` of integers are integers of 64 bits or an error; with a decimal they are exact decimals;
    with a float, floats. `divide` of integers is a float, of decimals a decimal of the type's scale, halves away from zero.
    `round` takes halves to even. Comparisons are two-valued: NULL equals NULL and is below every value.
    """

    operator: str
    arguments: tuple[Value, ...]
    type: FieldType
    options: tuple[tuple[str, str | int], ...] = ()

    def option(self, name: str) -> str | int:
        """The option of that name."""
        return dict(self.options)[name]


@dataclass(frozen=True, slots=True)
class Built:
    """A JSON object made of values."""

    members: tuple[tuple[str, Value], ...]
    type: FieldType


Value = Column | Place | Constant | Nothing | Calculation | Built


@dataclass(frozen=True, slots=True)
class Key:
    """One sort key."""

    column: Column
    descending: bool = False
    nulls_first: bool = False


@dataclass(frozen=True, slots=True)
class Filtered:
    """The rows for which `predicate` holds; `names` are the fields that it speaks of."""

    predicate: Predicate
    names: tuple[tuple[str, Column], ...]


@dataclass(frozen=True, slots=True)
class Computed:
    """Every row, with more columns."""

    columns: tuple[tuple[Column, Value], ...]


@dataclass(frozen=True, slots=True)
class Accumulated:
    """A result over the rows of a group.

    Attributes:
        function: ``sum avg min max count first last push addToSet stdDevPop percentile median countDistinct``. `sum` of nothing is 0
            where `zero`, else NULL; the others are NULL or an empty list. `count` without an argument counts rows.
        argument: over what. fractions: of `percentile`, an array of floats. continuous: it interpolates.
    """

    function: str
    argument: Value | None
    type: FieldType
    fractions: Parameter | None = None
    continuous: bool = False
    zero: bool = True


@dataclass(frozen=True, slots=True)
class Grouped:
    """One row for each value of `keys`; of no rows there is none, unless `always`. `order` is that of `first`, `last` and `push`."""

    keys: tuple[tuple[Column, Value], ...]
    results: tuple[tuple[Column, Accumulated], ...]
    order: tuple[Key, ...]
    always: bool = False


@dataclass(frozen=True, slots=True)
class Unwound:
    """One row for each element of an array; `place` counts from 0. With `keep_empty` one also where there is none."""

    array: Column
    element: Column
    place: Column
    keep_empty: bool = False


@dataclass(frozen=True, slots=True)
class Related:
    """The related documents of each row, along `lookups[lookup]`.

    Attributes:
        local: the row's side of the relation. columns: the fields of a related document, where it makes rows.
        gathered: the array of related documents instead, at most `most`, by their key. keep_empty: as in `Unwound`.
        place: which of the row's related documents it is, from 0.
    """

    lookup: int
    local: tuple[Column, ...]
    columns: tuple[tuple[Column, Field], ...]
    gathered: Column | None = None
    keep_empty: bool = False
    place: Column | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """Some of the rows in their order."""

    order: tuple[Key, ...]
    limit: Parameter | None = None
    offset: Parameter | None = None


Step = Filtered | Computed | Grouped | Unwound | Related | Cut


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the answered object: a value, or an object of members.

    `zone` is said of a datetime that is answered as PostgreSQL shows it in this time zone.
    """

    name: str
    value: Column | tuple[Member, ...]
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class BoundLookup:
    """A collection that is looked up in."""

    collection: Collection
    relation: Relation


@dataclass(frozen=True)
class BoundPipeline:
    """An aggregation.

    Attributes:
        columns: what of each document the steps may look at. filter: which documents they begin with.
        output: the answered members. order: of the answer. limit: how many rows are answered at most; one more says that there are more.
    """

    collection: Collection
    columns: tuple[tuple[Column, Target], ...]
    filter: Predicate | None
    steps: tuple[Step, ...]
    output: tuple[Member, ...]
    order: tuple[Key, ...]
    limit: Parameter
    lookups: tuple[BoundLookup, ...] = ()


@dataclass(frozen=True, slots=True)
class BoundAggregation:
    """What binding gives: the pipeline, and its parameters as in `query.bound.Bound`."""

    pipeline: BoundPipeline
    sources: tuple[int, ...]
    coercers: tuple[Coercer, ...]


def columns_in(node: object) -> Iterator[str]:
    """The ids of every column that a part of a pipeline speaks of."""
    if isinstance(node, Column):
        yield node.id
    elif isinstance(node, tuple):
        for child in node:
            yield from columns_in(child)
    elif is_dataclass(node) and not isinstance(node, Collection | Field | Relation | FieldType | Parameter | Target):
        for member in fields(node):
            yield from columns_in(getattr(node, member.name))
