"""Functions of a database that callers may call, because the configuration names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from portico.model.field import Field, FieldType

Returns = Literal["nothing", "value", "row"]


@dataclass(frozen=True, slots=True)
class NamedFunction:
    """What the configuration says of a function.

    Attributes:
        name: its name, with its schema where that is not the first one that is served. database: who has it.
        security_definer: it is known to run with its owner's rights, and may be called all the same.
    """

    name: str
    database: str
    security_definer: bool = False


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: `declared` is its type as the database writes it; an `optional` one has a default."""

    name: str
    type: FieldType
    declared: str
    optional: bool


@dataclass(frozen=True, slots=True)
class Function:
    """One function as the database has it; those of one name that differ in their arguments are several.

    Attributes:
        arguments: those that go in, all of them named. returns: what it gives. many: it gives a set of that.
        columns: of a row; a value is a single one.
        table: schema and name of the table whose rows it gives, if they are one's.
        writes: it is volatile, so that it may change something. security_definer: it runs with its owner's rights.
    """

    schema: str
    name: str
    arguments: tuple[Argument, ...]
    returns: Returns
    many: bool
    columns: tuple[Field, ...]
    table: tuple[str, str] | None
    writes: bool
    security_definer: bool
