"""Reads values of create and update bodies: strictly of the field's type, and within its constraints."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import date, datetime
from decimal import Context, Decimal
from uuid import UUID

import re2

from portico.errors import ConfigurationError, ConstraintViolated, InvalidRequest, MissingValue, OutOfRange, RequestError
from portico.model.field import Base, Field, FieldType
from portico.query.bound import Coercer
from portico.query.coerce import json_coercer, text_coercer, wrong_type
from portico.query.limits import DEFAULT_LIMITS, Limits
from portico.query.patterns import to_re2

Check = Callable[[object], None]
"""Raises ConstraintViolated or OutOfRange for a value that breaks one rule."""

_EXACT = Context(prec=5_000)
"""Enough digits for any number that is read, so that normalizing never rounds."""

_Ordered = int | float | Decimal | str | date | datetime | UUID


def write_coercer(field: Field, limits: Limits = DEFAULT_LIMITS) -> Coercer:
    """Reads a JSON value of a create or update as the field's stored value; null is None where the field is nullable.

    Args:
        field: its type and constraints. limits: how many values an array may have.
    Returns:
        a coercer that raises MissingValue (null where the field is not nullable), WrongType, OutOfRange, ConstraintViolated,
        InvalidValue (U+0000), or InvalidRequest (an object of operators where a value belongs).
    Raises:
        ConfigurationError: a constraint does not fit the field's type.
    """
    read = json_coercer(field.type, field.name)
    checks = _checks(field, limits)
    name, nullable, is_json = field.name, field.nullable, field.type.base is Base.JSON and not field.type.array

    def coerce(raw: object) -> object:
        if raw is None:
            if nullable:
                return None
            raise MissingValue(f"The field {name!r} is required and cannot be null.", details={"field": name})
        if not is_json and isinstance(raw, dict):
            raise _not_an_object(raw, name, field.type)
        value = read(raw)
        for check in checks:
            check(value)
        return value

    return _plain_texts(field, checks, coerce)


def _plain_texts(field: Field, checks: tuple[Check, ...], coerce: Coercer) -> Coercer:
    """`coerce`, with a short way for the texts of a field that has no rule but its length: most of what is written are such."""
    kind, most = field.type, field.type.length or sys.maxsize
    if kind.array or kind.base not in {Base.STRING, Base.TEXT} or len(checks) > (kind.length is not None):
        return coerce

    def coerce_text(raw: object) -> object:
        if type(raw) is str and raw.isascii() and len(raw) <= most and "\x00" not in raw:
            return raw
        return coerce(raw)

    return coerce_text


def _not_an_object(raw: dict[str, object], name: str, kind: FieldType) -> RequestError:
    if any(key.startswith("$") for key in raw):
        return InvalidRequest(f"An operator stands where {name!r} needs a value.", details={"field": name})
    return wrong_type(name, str(kind))


def _checks(field: Field, limits: Limits) -> tuple[Check, ...]:
    rules, name, kind = field.constraints, field.name, field.type
    checks: list[Check] = []
    if kind.array:
        checks.append(_at_most_values(limits.max_values, name))
    if kind.base is Base.STRING and kind.length is not None:
        checks.append(_each(_at_most_characters(kind.length, name), kind))
    if kind.base is Base.DECIMAL and kind.precision is not None:
        checks.append(_each(_digits(kind.precision, kind.scale or 0, name), kind))
    if rules.minimum is not None:
        checks.append(_each(_at_least(_bound(rules.minimum, field), name), kind))
    if rules.maximum is not None:
        checks.append(_each(_at_most(_bound(rules.maximum, field), name), kind))
    if rules.min_length is not None or rules.max_length is not None:
        checks.append(_length(rules.min_length or 0, rules.max_length, name))
    if rules.pattern is not None:
        checks.append(_each(_matches(rules.pattern, name), kind))
    if rules.choices:
        checks.append(_each(_one_of(tuple(_constant(choice, field) for choice in rules.choices), name), kind))
    return tuple(checks)


def _each(check: Check, kind: FieldType) -> Check:
    """The check on every element of an array, or on the value itself."""
    if not kind.array:
        return check

    def check_all(value: object) -> None:
        if isinstance(value, list):
            for item in value:
                check(item)

    return check_all


def _constant(value: object, field: Field) -> object:
    """A constraint's value as the field's element type; schema documents may write it as text (``min:0``)."""
    element = field.type.element
    try:
        return text_coercer(element, field.name)(value) if isinstance(value, str) else json_coercer(element, field.name)(value)
    except RequestError as error:
        raise ConfigurationError(f"A constraint of the field {field.name!r} has a value that is not {element}.") from error


def _bound(value: object, field: Field) -> _Ordered:
    constant = _constant(value, field)
    if isinstance(constant, bool) or not isinstance(constant, _Ordered):
        raise ConfigurationError(f"The field {field.name!r} is {field.type}, which has no minimum or maximum.")
    return constant


def _violated(name: str, rule: str) -> ConstraintViolated:
    return ConstraintViolated(f"The value of {name!r} {rule}.", details={"field": name})


def _at_least(bound: _Ordered, name: str) -> Check:
    def check(value: object) -> None:
        if value < bound:  # type: ignore[operator]  # both are of the field's type
            raise _violated(name, f"is below the minimum of {bound}")

    return check


def _at_most(bound: _Ordered, name: str) -> Check:
    def check(value: object) -> None:
        if value > bound:  # type: ignore[operator]  # both are of the field's type
            raise _violated(name, f"is above the maximum of {bound}")

    return check


def _at_most_characters(most: int, name: str) -> Check:
    def check(value: object) -> None:
        if isinstance(value, str) and len(value) > most:
            raise _violated(name, f"is longer than {most} characters")

    return check


def _at_most_values(most: int, name: str) -> Check:
    def check(value: object) -> None:
        if isinstance(value, list) and len(value) > most:
            raise OutOfRange(f"The array for {name!r} has more than {most} values.", details={"field": name})

    return check


def _length(least: int, most: int | None, name: str) -> Check:
    def check(value: object) -> None:
        if not isinstance(value, str | bytes | list):
            return
        if len(value) < least:
            raise _violated(name, f"is shorter than {least}")
        if most is not None and len(value) > most:
            raise _violated(name, f"is longer than {most}")

    return check


def _digits(precision: int, scale: int, name: str) -> Check:
    def check(value: object) -> None:
        if not isinstance(value, Decimal) or value.is_zero():
            return
        _, digits, exponent = value.normalize(_EXACT).as_tuple()
        fraction = -exponent if isinstance(exponent, int) else 0
        if fraction > scale:
            raise OutOfRange(f"The value of {name!r} has more than {scale} digits after the point.", details={"field": name})
        if len(digits) - fraction > precision - scale:
            raise OutOfRange(f"The value of {name!r} has more than {precision - scale} digits before the point.", details={"field": name})

    return check


def _matches(pattern: str, name: str) -> Check:
    try:
        compiled = re2.compile(to_re2(pattern))
    except RequestError as error:
        raise ConfigurationError(f"The pattern of the field {name!r} is not one that Portico knows.", hint=error.message) from error

    def check(value: object) -> None:
        if isinstance(value, str) and compiled.search(value) is None:
            raise _violated(name, "does not match its pattern")

    return check


def _one_of(choices: tuple[object, ...], name: str) -> Check:
    listed = ", ".join(str(choice) for choice in choices)[:200]

    def check(value: object) -> None:
        if value not in choices:
            raise _violated(name, f"is none of {listed}")

    return check
