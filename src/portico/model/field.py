"""Fields of a collection: their types, defaults and constraints, as a schema document writes them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from enum import StrEnum
from typing import Literal

from portico.errors import ConfigurationError


class Base(StrEnum):
    """The base types of SPEC's schema documents, and `NATIVE` for a database's own type that has no counterpart."""

    STRING = "string"
    TEXT = "text"
    INTEGER = "integer"
    BIGINT = "bigint"
    FLOAT = "float"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    UUID = "uuid"
    DATE = "date"
    DATETIME = "datetime"
    JSON = "json"
    BINARY = "binary"
    ENUM = "enum"
    NATIVE = "native"


@dataclass(frozen=True, slots=True)
class FieldType:
    """The type of a field.

    Attributes:
        base: the base type.
        length: for `string`, the most characters; None is unlimited.
        precision, scale: for `decimal`, digits in all and after the point; None is the database's own.
        values: for `enum`, the values in order.
        array: an array of the base type.
        native: the database's own type name, quoted as its DDL needs it, for discovered columns whose type is not the one
            Portico would create (``"public.mood"``, ``"timestamp"``, ``"interval"``). A `NATIVE` value travels as text.
    """

    base: Base
    length: int | None = None
    precision: int | None = None
    scale: int | None = None
    values: tuple[str, ...] = ()
    array: bool = False
    native: str | None = None

    @property
    def element(self) -> FieldType:
        """The type of one element of an array type; of another type, itself."""
        return FieldType(self.base, self.length, self.precision, self.scale, self.values, False, self.native) if self.array else self

    def __str__(self) -> str:
        """The type as a schema document writes it: ``string(255)``, ``decimal(12,2)``, ``enum(a,b)``, ``uuid[]``."""
        text = self.base.value
        if self.base is Base.STRING and self.length is not None:
            text = f"string({self.length})"
        elif self.base is Base.DECIMAL and self.precision is not None:
            text = f"decimal({self.precision},{self.scale or 0})"
        elif self.base is Base.ENUM:
            text = f"enum({','.join(self.values)})"
        elif self.base is Base.NATIVE:
            text = f"native({self.native})"
        return text + "[]" if self.array else text


_TYPE = re.compile(r"^\s*([a-z]+)\s*(?:\(([^()]*)\))?\s*(\[\])?\s*$")


def parse_type(text: str) -> FieldType:
    """The `FieldType` that a schema document writes as `text`.

    Raises:
        ConfigurationError: the text names no type, or has arguments that the type does not take.
    """
    match = _TYPE.match(text)
    known = ", ".join(base.value for base in Base if base is not Base.NATIVE)
    if match is None or match[1] not in Base._value2member_map_ or match[1] == "native":
        raise ConfigurationError(f"{text!r} is not a field type.", hint=f"Types are {known}, each also as an array (text[]).")
    base, arguments, array = Base(match[1]), match[2], match[3] is not None
    if base is Base.ENUM:
        values = tuple(value.strip() for value in (arguments or "").split(",") if value.strip())
        if not values:
            raise ConfigurationError("An enum needs its values.", hint="Write enum(draft,sent,paid).")
        return FieldType(base, values=values, array=array)
    numbers = _numbers(text, arguments)
    if base is Base.STRING and len(numbers) == 1 and numbers[0] >= 1:
        return FieldType(base, length=numbers[0], array=array)
    if base is Base.DECIMAL and len(numbers) in (1, 2) and numbers[0] >= 1 and (len(numbers) == 1 or numbers[1] <= numbers[0]):
        return FieldType(base, precision=numbers[0], scale=numbers[1] if len(numbers) == 2 else 0, array=array)
    if numbers:
        raise ConfigurationError(f"The type {text!r} has arguments that it does not take.", hint="Write string(255) or decimal(12,2).")
    return FieldType(base, array=array)


def _numbers(text: str, arguments: str | None) -> list[int]:
    try:
        return [int(part) for part in arguments.split(",")] if arguments is not None else []
    except ValueError:
        raise ConfigurationError(f"The type {text!r} has an argument that is not a whole number.") from None


DefaultKind = Literal["uuid7", "now", "literal", "joined", "database"]


@dataclass(frozen=True, slots=True)
class Default:
    """What a field is given when a create leaves it out.

    Attributes:
        kind: `uuid7` and `now` are made by Portico, `literal` is `value`, `joined` is made of other fields' texts with a space between
            them, `database` is left to the database.
        value: the literal, as parsed JSON; for `joined`, the tuple of the other fields' names.
    """

    kind: DefaultKind
    value: object = None


Cascade = Literal["restrict", "cascade", "set_null"]


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key: this field's value is the `field` of a document of `collection`."""

    collection: str
    field: str
    on_delete: Cascade = "restrict"


@dataclass(frozen=True, slots=True)
class Constraints:
    """What values a field takes, beyond its type. Lengths are in characters, bounds are inclusive."""

    minimum: object = None
    maximum: object = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    choices: tuple[object, ...] = ()
    unique: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a collection.

    Attributes:
        name: the name that callers use.
        type: its type.
        column: the column's name in the database; the same as `name` unless declared otherwise.
        nullable: whether null may be stored.
        default: what a create without it stores; None means null, or an error where the field is not nullable.
        constraints: rules beyond the type.
        references: the foreign key it is, if it is one.
        generated: the database computes it always (generated columns, identity ALWAYS): it is never written.
    """

    name: str
    type: FieldType
    column: str = ""
    nullable: bool = True
    default: Default | None = None
    constraints: Constraints = dataclass_field(default_factory=Constraints)
    references: Reference | None = None
    generated: bool = False

    def __post_init__(self) -> None:
        if not self.column:
            object.__setattr__(self, "column", self.name)
