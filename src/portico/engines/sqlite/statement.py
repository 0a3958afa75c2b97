"""SQL texts, written once, and where the value of each `?` comes from when a call runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.sql.elements import ClauseElement

from portico.engines.sql.predicates import Expression
from portico.engines.sqlite.storage import Encoder, Stored, canonical_json, encoder, scope_value
from portico.model.field import FieldType
from portico.model.scope import Scope
from portico.query.bound import Parameter, Special

Values = tuple[object, ...]
Source = Callable[[Values, Scope, Sequence[Stored]], Stored]
"""Gives one parameter: from the call's values, from its scope, or from what an earlier statement of the same call found."""

DIALECT = sqlite_dialect.dialect(paramstyle="qmark")


@dataclass(frozen=True, slots=True)
class Statement:
    """A SQL text and its parameters' sources, in order."""

    sql: str
    sources: tuple[Source, ...]

    def arguments(self, values: Values, scope: Scope, found: Sequence[Stored] = ()) -> list[Stored]:
        """The parameters of one call."""
        return [source(values, scope, found) for source in self.sources]


class Binder:
    """Names a statement's parameters while it is built, and remembers where each comes from."""

    def __init__(self) -> None:
        self._sources: dict[str, Source] = {}
        self._named: dict[tuple[int, str, FieldType | Special], str] = {}
        self._aliases = 0

    def __call__(self, parameter: Parameter) -> Expression:
        """A value of the call, in its stored form."""
        return self.encoded(parameter, encoder(parameter.type, many=parameter.many), "many" if parameter.many else "one")

    def encoded(self, parameter: Parameter, encode: Encoder | None, form: str) -> Expression:
        """A value of the call in the form that `encode` gives; `form` names it."""
        index = parameter.index
        name = self._named.setdefault((index, form, parameter.type), f"portico_value{len(self._named)}")
        if encode is None:
            return self._bind(name, lambda values, _scope, _found: cast("Stored", values[index]))
        function = encode
        return self._bind(name, lambda values, _scope, _found: function(values[index]))

    def found(self, index: int) -> Expression:
        """The `index`th value that an earlier statement found."""
        return self._bind(f"portico_found{index}", lambda _values, _scope, found: found[index])

    def client(self, kind: FieldType) -> Expression:
        """The one client of the scope."""
        return self._bind(f"portico_client_{kind.base}", lambda _values, scope, _found: scope_value(kind, scope.clients[0]))

    def clients(self, kind: FieldType) -> Expression:
        """The clients of the scope, as a JSON array."""
        return self._bind(f"portico_clients_{kind.base}", lambda _values, scope, _found: _texts(kind, scope.clients))

    def users(self, kind: FieldType) -> Expression:
        """The users of the scope, as a JSON array."""
        return self._bind(f"portico_users_{kind.base}", lambda _values, scope, _found: _texts(kind, scope.users))

    def _bind(self, name: str, source: Source) -> Expression:
        self._sources[name] = source
        return cast("Expression", sa.bindparam(name, type_=sa.types.NULLTYPE))

    def alias(self, prefix: str) -> str:
        """A name for a table that no other table of the statement has."""
        self._aliases += 1
        return f"{prefix}{self._aliases}"

    def statement(self, expression: ClauseElement) -> Statement:
        """The SQL text of `expression`, and the sources of its parameters."""
        compiled = cast("Any", expression.compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True}))
        constants = compiled.params
        names: list[str] = compiled.positiontup
        return Statement(
            compiled.string, tuple(self._sources[name] if name in self._sources else _constant(constants[name]) for name in names)
        )


def _texts(kind: FieldType, texts: Sequence[str]) -> Stored:
    return canonical_json([value for value in (scope_value(kind, text) for text in texts) if value is not None])


def _constant(value: Stored) -> Source:
    return lambda _values, _scope, _found: value
