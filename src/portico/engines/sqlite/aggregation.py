"""The statement of an aggregation on SQLite, and running it: its rows, bounded, as one answer."""

from __future__ import annotations

import re
import sqlite3
from typing import cast

from portico.engines.base import Call
from portico.engines.sql.bounds import answer_too_large
from portico.engines.sql.pipelines import Compiler
from portico.engines.sql.references import foreign_row
from portico.engines.sqlite.embedding import EmbeddingGrammar
from portico.engines.sqlite.grammar import SqliteGrammar
from portico.engines.sqlite.pipeline_functions import faults
from portico.engines.sqlite.pipelines import SqliteDialect
from portico.engines.sqlite.reads import ReadStatements
from portico.engines.sqlite.statement import Binder
from portico.errors import OutOfRange
from portico.model.page import Page
from portico.model.scope import Scope
from portico.query.limits import MOST_AGGREGATED_BYTES
from portico.query.scoped import Aggregate

_TOO_DEEP = re.compile("parser stack overflow|Expression tree is too large")


def compile_aggregate(query: Aggregate, scope: Scope, *, safe: bool) -> ReadStatements:
    """The rows of an aggregation: body, and the smallest and largest of what each collection's rows carry."""
    binder = Binder()
    grammar = EmbeddingGrammar(query.embedded, scope, binder, safe=safe) if query.embedded else SqliteGrammar(safe=safe)
    dialect = SqliteDialect(grammar, binder, scope)
    rows = Compiler(query.query, query.rule, query.lookups, dialect).rows()
    return ReadStatements(binder.statement(rows), None, None, pairs=tuple(dialect.carried))


def perform_aggregate(connection: sqlite3.Connection, query: Aggregate, statements: ReadStatements, call: Call) -> Page:
    """Run an aggregation, and compare whose rows went into it with the scope. Raises PorticoError, sqlite3.Error."""
    assert statements.main is not None, "an aggregation is a statement"
    allowed = [carried.allowed(call.scope) if carried is not None else None for carried in statements.pairs]
    limit = cast("int", call.values[query.query.limit.index])
    bodies: list[str] = []
    size = 0
    faults.take()
    try:
        for row in connection.execute(statements.main.sql, statements.main.arguments(call.values, call.scope)):
            for place, values in enumerate(allowed):
                if values is not None and any(item is not None and item not in values for item in row[1 + 2 * place : 3 + 2 * place]):
                    raise foreign_row()
            bodies.append(row[0])
            size += len(row[0])
            if size > MOST_AGGREGATED_BYTES:
                raise answer_too_large()
    except sqlite3.Error as error:
        fault = faults.take()
        if fault is None and _TOO_DEEP.search(str(error)):
            fault = OutOfRange("The pipeline's expressions are too deep for SQLite.", hint="Compute parts of them by $addFields before.")
        if fault is not None:
            raise fault from error
        raise
    more = len(bodies) > limit
    return Page("[" + ",".join(bodies[:limit]) + "]", min(len(bodies), limit), "more" if more else None)
