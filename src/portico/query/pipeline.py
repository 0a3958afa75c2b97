"""The syntax tree of an aggregation: stages, expressions and accumulators as they were asked, with their values in slots.

As in `query.ast`, the tree is the shape of a call. Of a number its type is part of the shape, because results' types follow from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from portico.model.field import FieldType
from portico.query.ast import Node, Slot


@dataclass(frozen=True, slots=True)
class FieldPath:
    """``"$a.b"``: a field of the documents that reach the stage, or a place inside of one."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Literal:
    """A value. `slot` and `type` None is null."""

    slot: Slot | None = None
    type: FieldType | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """``{"$operator": arguments}``. `options` are what stands in the shape itself: a unit, a time zone, a number of digits."""

    operator: str
    arguments: tuple[Expression, ...]
    options: tuple[tuple[str, str | int], ...] = ()

    def option(self, name: str) -> str | int | None:
        """The option of that name."""
        return dict(self.options).get(name)


@dataclass(frozen=True, slots=True)
class Members:
    """An object, each of whose members is an expression."""

    members: tuple[tuple[str, Expression], ...]


Expression = FieldPath | Literal | Operation | Members


@dataclass(frozen=True, slots=True)
class Accumulator:
    """One result of a group.

    Attributes:
        name: in the result. function: without the ``$``. argument: over what; None for `count`.
        fractions: of `percentile`, where the array of its ``p`` stands. continuous: it interpolates.
    """

    name: str
    function: str
    argument: Expression | None = None
    fractions: Slot | None = None
    continuous: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """Leave out the documents that do not match; None matches all."""

    filter: Node | None


@dataclass(frozen=True, slots=True)
class Group:
    """One document for each value of `key`; None makes one group of all."""

    key: Expression | None
    accumulators: tuple[Accumulator, ...]


@dataclass(frozen=True, slots=True)
class Project:
    """Other members in the documents.

    Attributes:
        members: each with its expression; True keeps the member of that name.
        without: names that are left out. additive: the others stay.
    """

    members: tuple[tuple[str, Expression | bool], ...] = ()
    without: tuple[str, ...] = ()
    additive: bool = False


@dataclass(frozen=True, slots=True)
class Unwind:
    """One document for each element of an array. `keep_empty`: one also where there is none. `index`: the member of its place."""

    path: FieldPath
    keep_empty: bool = False
    index: str | None = None


@dataclass(frozen=True, slots=True)
class Lookup:
    """The related documents along a declared relation as an array. `local`, `foreign`: fields that the relation must be of."""

    relation: str
    name: str | None = None
    local: str | None = None
    foreign: str | None = None


@dataclass(frozen=True, slots=True)
class Sort:
    """The order of the documents: paths, each with whether it descends."""

    keys: tuple[tuple[FieldPath, bool], ...]


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many documents."""

    count: Slot


@dataclass(frozen=True, slots=True)
class Skip:
    """Without the first documents."""

    count: Slot


@dataclass(frozen=True, slots=True)
class Counted:
    """One document with the number of them all."""

    name: str


Stage = Match | Group | Project | Unwind | Lookup | Sort | Limit | Skip | Counted


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The stages, in order."""

    stages: tuple[Stage, ...]


@dataclass(frozen=True, slots=True)
class ParsedPipeline:
    """A parsed aggregation: the tree, and the values of its slots in order."""

    pipeline: Pipeline
    values: tuple[object, ...]


def shape_text(pipeline: Pipeline) -> str:
    """The stages' names, for what is told of calls: never a value, nor a name of the caller's."""
    return " ".join(type(stage).__name__.lower() for stage in pipeline.stages)
