"""A statement's text with the order of its arguments, and where each argument comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.elements import ColumnElement

from portico.engines.base import Call
from portico.engines.postgres.types import encoder, typed, wire_type
from portico.model.field import FieldType
from portico.model.scope import Scope
from portico.query.bound import Parameter, Special

_DIALECT = asyncpg_dialect()  # type: ignore[no-untyped-call]
Argument = Callable[[Sequence[Call]], object]
"""Gives one argument of a statement for the calls that it runs."""


@dataclass(frozen=True, slots=True)
class Statement:
    """`text` with ``$1`` … and, in that order, what gives each argument."""

    text: str
    arguments: tuple[Argument, ...]

    def bind(self, calls: Sequence[Call]) -> list[object]:
        """The arguments for `calls`."""
        return [argument(calls) for argument in self.arguments]


def array_literal(values: Sequence[str]) -> str:
    """``{"a","b"}``: PostgreSQL's text form of an array, in which no value can end early."""
    quoted = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in quoted) + "}"


def _union(calls: Sequence[Call], part: Callable[[Scope], tuple[str, ...]]) -> str:
    if len(calls) == 1:
        return array_literal(part(calls[0].scope))
    return array_literal(sorted({value for call in calls for value in part(call.scope)}))


_FIXED: dict[str, Argument] = {
    "set_clients": lambda calls: _union(calls, lambda scope: scope.clients),
    "set_users": lambda calls: _union(calls, lambda scope: scope.users),
    "set_all": lambda calls: "on" if calls[0].scope.everything else "",
    "client": lambda calls: calls[0].scope.clients[0] if calls[0].scope.clients else None,
    "clients": lambda calls: list(calls[0].scope.clients),
    "users": lambda calls: list(calls[0].scope.users),
    "user": lambda calls: calls[0].scope.users[0] if calls[0].scope.users else None,
    "each_client": lambda calls: [call.scope.clients[0] if call.scope.clients else None for call in calls],
    "each_clients": lambda calls: [array_literal(call.scope.clients) for call in calls],
    "each_users": lambda calls: [array_literal(call.scope.users) for call in calls],
    "each_user": lambda calls: [call.scope.users[0] if call.scope.users else None for call in calls],
    "service": lambda calls: calls[0].actor.service,
    "actor_client": lambda calls: calls[0].actor.client_id,
    "actor_user": lambda calls: calls[0].actor.user_id,
    "correlation": lambda calls: calls[0].actor.correlation_id,
    "each_service": lambda calls: [call.actor.service for call in calls],
    "each_actor_client": lambda calls: [call.actor.client_id for call in calls],
    "each_actor_user": lambda calls: [call.actor.user_id for call in calls],
    "each_correlation": lambda calls: [call.actor.correlation_id for call in calls],
}


def fixed(name: str, kind: sa.types.TypeEngine[Any]) -> ColumnElement[Any]:
    """A parameter that every call has: its scope, or who asks."""
    return sa.bindparam(name, type_=kind)


def plain(parameter: Parameter) -> ColumnElement[Any]:
    """A parameter of a statement that runs one call."""
    wire = sa.bindparam(_name(parameter, joint=False), type_=wire_type(parameter.type, many=parameter.many))
    return typed(wire, parameter.type, many=parameter.many)


def each(parameter: Parameter) -> ColumnElement[Any]:
    """The array of a parameter's values, one for each call. Only for parameters that are not arrays themselves."""
    return sa.bindparam(_name(parameter, joint=True), type_=wire_type(parameter.type, many=True))


def _name(parameter: Parameter, *, joint: bool) -> str:
    return f"{'each' if joint else 'value'}_{parameter.index}"


def _value(index: int, convert: Callable[[object], object] | None) -> Argument:
    if convert is None:
        return lambda calls: calls[0].values[index]
    return lambda calls: None if calls[0].values[index] is None else convert(calls[0].values[index])


def _each_value(index: int, kind: FieldType | Special | None) -> Argument:
    if isinstance(kind, FieldType) and kind.array:
        # Arrays of arrays have one shape, so each array travels as its text.
        return lambda calls: [array_text(call.values[index]) for call in calls]
    return lambda calls: [call.values[index] for call in calls]


def array_text(value: object) -> str | None:
    """A list as the text form of PostgreSQL's array; None stays None."""
    return None if value is None else "{" + ",".join(_element_text(item) for item in cast("list[object]", value)) + "}"


def _element_text(item: object) -> str:
    if item is None:
        return "NULL"
    if isinstance(item, bytes):
        return f'"\\\\x{item.hex()}"'
    text = item.isoformat() if isinstance(item, date) else str(item)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _constant(value: object) -> Argument:
    return lambda calls: value  # noqa: ARG005 - the same whoever calls


def statement(executable: Executable, parameters: Sequence[Parameter] = ()) -> Statement:
    """Write `executable` as text, once.

    Args:
        executable: a Core statement whose bound parameters were made here, or are constants.
        parameters: those whose values need converting for the driver.
    """
    compiled = executable.compile(dialect=_DIALECT)  # type: ignore[attr-defined]
    kinds = {parameter.index: parameter.type for parameter in parameters}
    converters = {parameter.index: encoder(parameter.type, many=parameter.many) for parameter in parameters}
    arguments: list[Argument] = []
    for name in compiled.positiontup or ():
        prefix, _, rest = name.rpartition("_")
        if name in _FIXED:
            arguments.append(_FIXED[name])
        elif prefix == "value" and rest.isdigit():
            arguments.append(_value(int(rest), converters.get(int(rest))))
        elif prefix == "each" and rest.isdigit():
            arguments.append(_each_value(int(rest), kinds.get(int(rest))))
        else:
            arguments.append(_constant(compiled.params[name]))
    return Statement(str(compiled), tuple(arguments))
