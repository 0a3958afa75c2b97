"""Constraints and defaults of a field, between the texts of a schema document and the model."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import cast, get_args

from portico.catalog.names import nearest
from portico.errors import ConfigurationError
from portico.model.field import Base, Cascade, Constraints, Default, FieldType, Reference

_TEXTS = frozenset({Base.STRING, Base.TEXT, Base.ENUM})
_ALONE = frozenset({"primary_key", "unique"})
_WITH_VALUE = frozenset({"min", "max", "min_length", "max_length", "pattern", "in", "references"})


@dataclass(frozen=True, slots=True)
class Rules:
    """What a field's list of constraints says."""

    constraints: Constraints
    primary_key: bool
    references: Reference | None


def read_constraints(texts: tuple[str, ...], field_type: FieldType, where: str) -> Rules:
    """The rules that texts such as ``min:0`` and ``references:users.user_id:cascade`` stand for.

    Raises:
        ConfigurationError: an unknown constraint, one that lacks its value, or a value that is not of the field's type.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, colon, value = text.partition(":")
        if name not in _ALONE | _WITH_VALUE:
            raise ConfigurationError(f"{where} has the unknown constraint {name!r}.", hint=nearest(name, _ALONE | _WITH_VALUE))
        if name in found or bool(colon) is (name in _ALONE) or (colon and not value):
            raise ConfigurationError(
                f"{where}: the constraint {text!r} is malformed or stands twice.", hint="Write min:0, in:a,b or unique."
            )
        found[name] = value
    choices = tuple(read_value(part, field_type, where) for part in found["in"].split(",")) if "in" in found else ()
    constraints = Constraints(
        minimum=read_value(found["min"], field_type, where) if "min" in found else None,
        maximum=read_value(found["max"], field_type, where) if "max" in found else None,
        min_length=_length(found, "min_length", where),
        max_length=_length(found, "max_length", where),
        pattern=found.get("pattern"),
        choices=choices,
        unique="unique" in found,
    )
    reference = _reference(found["references"], where) if "references" in found else None
    return Rules(constraints, "primary_key" in found, reference)


def write_constraints(constraints: Constraints, *, primary_key: bool, references: Reference | None) -> list[str]:
    """The texts that `read_constraints` reads as these rules."""
    texts = ["primary_key"] if primary_key else []
    texts += ["unique"] if constraints.unique else []
    bounds = [("min", constraints.minimum), ("max", constraints.maximum)]
    bounds += [("min_length", constraints.min_length), ("max_length", constraints.max_length), ("pattern", constraints.pattern)]
    texts += [f"{name}:{_written(value)}" for name, value in bounds if value is not None]
    if constraints.choices:
        texts.append("in:" + ",".join(_written(value) for value in constraints.choices))
    if references is not None:
        action = "" if references.on_delete == "restrict" else f":{references.on_delete}"
        texts.append(f"references:{references.collection}.{references.field}{action}")
    return texts


def read_value(text: str, field_type: FieldType, where: str) -> object:
    """The value of the field's type that `text` is; a text for types that are not compared in another way.

    Raises:
        ConfigurationError: it is not of that type.
    """
    base = field_type.base
    try:
        if base in (Base.INTEGER, Base.BIGINT):
            return int(text)
        if base is Base.FLOAT:
            return float(text)
        if base is Base.DECIMAL:
            return Decimal(text)
        if base is Base.DATE:
            return dt.date.fromisoformat(text)
        if base is Base.DATETIME:
            moment = dt.datetime.fromisoformat(text)
            return moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)
    except (ValueError, InvalidOperation):
        raise ConfigurationError(f"{where}: {text!r} is not of the type {field_type}.") from None
    return text.strip()


def read_default(value: object, field_type: FieldType, where: str) -> Default | None:
    """The default that a schema document's `default_value` stands for: ``uuid7``, ``now``, ``database``,
    ``{"join": [fields]}``, or a literal.

    Raises:
        ConfigurationError: the literal is not of the field's type.
    """
    if value is None:
        return None
    base = field_type.base
    if value == "uuid7" and base in _TEXTS | {Base.UUID}:
        return Default("uuid7")
    if value == "now" and base in (Base.DATE, Base.DATETIME):
        return Default("now")
    if value == "database" and base not in _TEXTS:
        return Default("database")
    if isinstance(value, dict) and set(value) == {"join"} and base in _TEXTS and not field_type.array:
        names = value["join"]
        if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
            return Default("joined", tuple(names))
    if isinstance(value, dt.date | dt.datetime):
        value = _written(value)
    if not _fits(value, field_type):
        raise ConfigurationError(
            f"{where}: the default is not of the type {field_type}.", hint="A default is uuid7, now, database or a literal."
        )
    return Default("literal", value)


def write_default(default: Default | None) -> object:
    """What `read_default` reads as this default."""
    if default is None:
        return None
    if default.kind == "joined":
        return {"join": list(cast("tuple[str, ...]", default.value))}
    return default.value if default.kind == "literal" else default.kind


def _fits(value: object, field_type: FieldType) -> bool:
    base = field_type.base
    if field_type.array:
        return isinstance(value, list) and all(_fits(item, field_type.element) for item in value)
    if base is Base.BOOLEAN:
        return isinstance(value, bool)
    if base in (Base.INTEGER, Base.BIGINT):
        return isinstance(value, int) and not isinstance(value, bool)
    if base in (Base.FLOAT, Base.DECIMAL):
        return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    if base is Base.JSON:
        return isinstance(value, dict | list | str | int | float | bool)
    if base is Base.ENUM:
        return value in field_type.values
    return isinstance(value, str) and (field_type.length is None or len(value) <= field_type.length)


def _length(found: dict[str, str], name: str, where: str) -> int | None:
    if name not in found:
        return None
    if not found[name].isdecimal():
        raise ConfigurationError(f"{where}: {name} must be a whole number.")
    return int(found[name])


def _reference(text: str, where: str) -> Reference:
    target, _, action = text.partition(":")
    collection, dot, field = target.rpartition(".")
    if not dot or not collection or not field or action not in ("", *get_args(Cascade)):
        raise ConfigurationError(f"{where}: {text!r} is not a reference.", hint="Write references:collection.field:cascade.")
    return Reference(collection, field, cast("Cascade", action or "restrict"))


def _written(value: object) -> str:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    return value.isoformat() if isinstance(value, dt.date) else str(value)
