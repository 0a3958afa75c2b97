"""Creates that are only counted: many documents by each statement, where that can be."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import cast

from portico.engines.base import Answer, Call
from portico.engines.sql.references import unknown_reference
from portico.engines.sqlite.companion_rows import Companion
from portico.engines.sqlite.perform import Row, Write
from portico.engines.sqlite.plan import SqlitePlan
from portico.engines.sqlite.statement import Statement
from portico.engines.sqlite.writes import CLIENT, KEY, MANY, RECORD, WHOLE, WriteStatements
from portico.model.page import Document
from portico.query.scoped import Create


def load(connection: sqlite3.Connection, plan: SqlitePlan, calls: Sequence[Call]) -> list[Answer]:
    """Create the documents of one caller's calls inside of an open transaction; a document without a body for each.

    Raises:
        PorticoError or sqlite3.Error: of one of them; nothing of these calls is written then.
    """
    connection.execute("SAVEPOINT portico_load")
    try:
        _load(connection, plan, calls)
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK TO portico_load")
            connection.execute("RELEASE portico_load")
        raise
    connection.execute("RELEASE portico_load")
    return [Document("", created=True)] * len(calls)


def _load(connection: sqlite3.Connection, plan: SqlitePlan, calls: Sequence[Call]) -> None:
    query = plan.query
    assert isinstance(query, Create), "only creates are counted"
    statements = plan.change(calls[0].scope)
    whole = len(calls) - len(calls) % MANY if statements.many is not None else 0
    for first in range(0, whole, MANY):
        assert statements.many is not None, "there are whole ones"
        Load(connection, plan, calls[0]).perform_many(query, statements, statements.many, calls[first : first + MANY])
    for call in calls[whole:]:
        Write(connection, plan, call).perform()


class Load(Write):
    """Several creates by one statement."""

    def perform_many(self, query: Create, statements: WriteStatements, many: Statement, calls: Sequence[Call]) -> None:
        """Run them. What documents refer to is looked at when all are there: they may refer to each other."""
        values = tuple(chain.from_iterable(call.values for call in calls))
        found = self.connection.execute(many.sql, many.arguments(values, self.call.scope)).fetchall()
        rows = [self._kept(statements, cast("Row", row)) for row in found]
        if statements.references is not None:
            text = statements.references
            for call in calls:
                if self.connection.execute(text.sql, text.arguments(call.values, call.scope)).fetchone() is None:
                    raise unknown_reference(query)
        if query.audit or query.versioned:
            companion = Companion(self.connection, self.call.actor, self.plan.collection.name, audit=query.audit, versioned=query.versioned)
            companion.write_created((row[KEY:], row[CLIENT:KEY], row[RECORD], row[WHOLE]) for row in rows)
