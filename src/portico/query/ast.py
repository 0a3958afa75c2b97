"""The syntax tree: what was asked, raw. Both syntaxes produce it; names are not yet resolved and values stand apart.

Values never stand in the tree: a literal is a `Slot`, the place of its value in the list that travels beside the tree. So the
tree is the *shape* of a request, hashable, and two requests that differ in values alone have equal trees and share one plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Written(StrEnum):
    """How a value was written: decides how strictly it is read as its field's type.

    `TEXT` is a value of the query string (its type is the field's); the others are JSON's.
    """

    TEXT = "text"
    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    ARRAY = "array"
    OBJECT = "object"


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of a value in the call's list of values."""

    index: int
    written: Written


@dataclass(frozen=True, slots=True)
class Path:
    """A field, or a place inside of a JSON field.

    Attributes:
        name: the field as written. steps: keys and array indexes inside its JSON, outermost first.
        as_text: the value is taken as text (``->>``). cast: a type name to read it as, or None.
    """

    name: str
    steps: tuple[str | int, ...] = ()
    as_text: bool = False
    cast: str | None = None


class Operator(StrEnum):
    """What a condition compares by. Three-valued: a comparison with NULL is unknown and selects nothing."""

    EQ = "eq"
    NEQ = "neq"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    LIKE = "like"
    ILIKE = "ilike"
    MATCH = "match"
    IMATCH = "imatch"
    IN = "in"
    IS_NULL = "is_null"
    IS_TRUE = "is_true"
    IS_FALSE = "is_false"
    IS_UNKNOWN = "is_unknown"
    IS_DISTINCT = "isdistinct"
    CONTAINS = "cs"
    CONTAINED = "cd"
    OVERLAPS = "ov"
    STRICTLY_LEFT = "sl"
    STRICTLY_RIGHT = "sr"
    NOT_RIGHT = "nxr"
    NOT_LEFT = "nxl"
    ADJACENT = "adj"
    FTS = "fts"
    PLFTS = "plfts"
    PHFTS = "phfts"
    WFTS = "wfts"
    EXISTS = "exists"
    SIZE = "size"
    ELEM_MATCH = "elem_match"


@dataclass(frozen=True, slots=True)
class Condition:
    """`path operator value`. `value` is None for operators that take none (`is_null`, `exists`).

    Attributes:
        quantifier: `any` or `all`: the value is an array of values (``eq(any).{a,b}``).
        language: the text search configuration of a full-text operator.
        inner: for `elem_match`, the condition that one element must meet; its paths are relative to the element.
    """

    path: Path
    operator: Operator
    value: Slot | None = None
    quantifier: Literal["any", "all"] | None = None
    language: str | None = None
    inner: Node | None = None


@dataclass(frozen=True, slots=True)
class And:
    """All of `children`; none is true."""

    children: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of `children`; none is false."""

    children: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The negation of `child`; unknown stays unknown."""

    child: Node


Node = Condition | And | Or | Not


@dataclass(frozen=True, slots=True)
class Selected:
    """A field to answer. `alias` names it in the answer; `aggregate` is a function over it (``sum``), for grouped selects.

    ``Path("*")`` is every visible field.
    """

    path: Path
    alias: str | None = None
    aggregate: str | None = None
    aggregate_cast: str | None = None


@dataclass(frozen=True, slots=True)
class Ordered:
    """One sort key. `nulls_first` None is the default: NULL is the largest value.

    `relation` orders by a field of an embedded document of the to-one relation named.
    """

    path: Path
    descending: bool = False
    nulls_first: bool | None = None
    relation: str | None = None


@dataclass(frozen=True, slots=True)
class Embed:
    """Related documents inside of a document.

    Attributes:
        relation: the relation's or collection's name. hint: disambiguates (a foreign key's or join collection's name).
        alias: its name in the answer. inner: documents without any are left out. spread: its fields are lifted into the parent.
        query: what is asked of the related documents.
    """

    relation: str
    query: Query
    alias: str | None = None
    hint: str | None = None
    inner: bool = False
    spread: bool = False


CountMode = Literal["exact", "planned", "estimated"]


@dataclass(frozen=True, slots=True)
class Query:
    """A read: what to answer, of which documents, in which order, how many.

    `select` None is every visible field. `limit`, `offset` and `cursor` are values too, so their slots stand here.
    `zone` asks for datetimes in PostgreSQL's own form in that time zone (an IANA name), in related documents as well; values that name
    no offset are read in it. None is Portico's own form, in UTC.
    """

    select: tuple[Selected | Embed, ...] | None = None
    filter: Node | None = None
    order: tuple[Ordered, ...] = ()
    limit: Slot | None = None
    offset: Slot | None = None
    cursor: Slot | None = None
    count: CountMode | None = None
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class Parsed:
    """A parsed request: the tree, and the values of its slots in order, as they were read.

    Values of the query string are `str`; JSON's are `str`, `int`, `Decimal`, `bool`, `list`, `dict`.
    """

    query: Query
    values: tuple[object, ...]
