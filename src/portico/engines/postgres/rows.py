"""What every statement is made of: the frame around a guarded part, and a row's JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import LateralFromClause

from portico.engines.postgres.grammar import PostgresGrammar
from portico.engines.postgres.scoping import Whose, settings, whose
from portico.engines.postgres.statement import plain
from portico.engines.sql.predicates import Bind, Columns
from portico.query.bound import BoundQuery, Embedded, Output

ONE: ColumnElement[Any] = sa.literal_column("1")
ZERO: ColumnElement[Any] = sa.literal_column("0")


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around a guarded part of a statement.

    Attributes:
        scope: whose documents. bind: where values come from. ready: the settings' value, on which the part depends.
        outer: the tables around it that it refers to. grammar: how it is written.
    """

    scope: Whose
    bind: Bind
    ready: ColumnElement[Any]
    outer: tuple[sa.FromClause, ...]
    grammar: PostgresGrammar = field(default_factory=PostgresGrammar)


def alone(kind: str, *, impatient: bool = False) -> tuple[sa.CTE, Frame]:
    """The frame of a statement that runs one call, and the settings that it starts with."""
    ready = settings(kind, impatient=impatient)
    return ready, Frame(whose(kind), plain, ready.c.v, (ready,))


def projection(query: BoundQuery, table: sa.FromClause, columns: Columns, grammar: PostgresGrammar, name: str = "x") -> LateralFromClause:
    """The answered members as a row of their own, whose JSON is the document."""
    return sa.select(*members(query.outputs, columns, grammar)).correlate(table).lateral(name)


def members(outputs: Sequence[Output | Embedded], columns: Columns, grammar: PostgresGrammar) -> list[ColumnElement[Any]]:
    """The answered members, each with its name."""
    found: list[ColumnElement[Any]] = []
    for output in outputs:
        if isinstance(output, Embedded):
            found += grammar.embedded(output, columns)
        else:
            found.append(grammar.output(output.target, columns).label(output.name))
    return found


def whole_row(row: sa.FromClause) -> ColumnElement[Any]:
    """A row as a JSON object. `row` is an alias of ours, which stands in the FROM clause."""
    # With the star it is the row whatever its columns are called: a plain `x` would be a column of that name.
    whole: ColumnElement[Any] = sa.literal_column(f"{row.name}.*")  # type: ignore[attr-defined]
    return sa.func.row_to_json(whole)


def document_text(row: sa.FromClause) -> ColumnElement[Any]:
    """A row as the text of its JSON object."""
    return sa.cast(whole_row(row), sa.Text)
