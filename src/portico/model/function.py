"""Functions of a database that callers may call, because the configuration names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from portico.errors import ConstraintViolated
from portico.model.field import Field, FieldType

Returns = Literal["nothing", "value", "row"]


class Raised(ConstraintViolated):
    """A function refused the call, in its author's words.

    Args:
        message, hint, detail: what its author wrote. sqlstate: the condition that was raised, ``P0001`` where none was named.
    """

    def __init__(self, message: str, sqlstate: str, *, hint: str | None = None, detail: str | None = None) -> None:
        super().__init__(message, hint=hint, details={"sqlstate": sqlstate})
        self.sqlstate = sqlstate
        self.detail = detail


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
    """One argument: `declared` is its type as the database writes it; an `optional` one has a default.

    One without a name is the only one of its function, and takes a whole body. A `variadic` one is the array of what is given.
    """

    name: str
    type: FieldType
    declared: str
    optional: bool
    variadic: bool = False


@dataclass(frozen=True, slots=True)
class Function:
    """One function as the database has it; those of one name that differ in their arguments are several.

    Attributes:
        arguments: those that go in, all of them named, or a single one without a name.
        returns: what it gives. many: it gives a set of that.
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

    @property
    def takes_whole(self) -> bool:
        """Whether it has a single argument without a name, which takes a whole body."""
        return len(self.arguments) == 1 and not self.arguments[0].name
