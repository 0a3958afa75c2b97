"""Runs the statements of one call on one connection, and compares what each row carries with the call's scope.

Nothing here waits for anything but SQLite: it is called on the loop for what is cheap, and in a thread for the rest.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

from portico.engines.base import Answer, Call
from portico.engines.sql.references import foreign_row, taken, unknown_reference
from portico.engines.sqlite.aggregation import perform_aggregate
from portico.engines.sqlite.companion_rows import Companion, path_of
from portico.engines.sqlite.errors import DUPLICATE
from portico.engines.sqlite.pipeline_functions import faults
from portico.engines.sqlite.plan import SqlitePlan
from portico.engines.sqlite.reads import ReadStatements
from portico.engines.sqlite.statement import Statement
from portico.engines.sqlite.storage import Stored, ordering_text
from portico.engines.sqlite.writes import BODY, CARRIED, CLIENT, ETAG, KEY, RECORD, WHOLE, WriteStatements
from portico.errors import (
    ForeignTenant,
    PreconditionFailed,
    ReferencedDocument,
    TooManyAffected,
    UnknownReference,
)
from portico.model.collection import Collection
from portico.model.page import Changed, Document, Page
from portico.query.scoped import Aggregate, Cascade, Change, Create, Delete, GetByKey, ListPage, OwnerRule, ParentRule

Row = Sequence[Stored]


def compare(statements: ReadStatements | WriteStatements, carried: Iterable[Stored], call: Call) -> None:
    """Raise where a row is not of the call's scope: the predicate failed, and nothing may be answered."""
    if statements.carried is None:
        return
    allowed = statements.carried.allowed(call.scope)
    for value in carried:
        if value not in allowed:
            raise foreign_row()


def perform_read(connection: sqlite3.Connection, plan: SqlitePlan, call: Call, *, safe: bool = False) -> Answer:
    """One call of a read. Raises PorticoError, sqlite3.Error."""
    try:
        return _read(connection, plan, call, safe=safe)
    except sqlite3.OperationalError as error:
        # What groups of related documents come to may not fit its type.
        fault = faults.take()
        if fault is None:
            raise
        raise fault from error


def _read(connection: sqlite3.Connection, plan: SqlitePlan, call: Call, *, safe: bool) -> Answer:
    statements = plan.read(call.scope, safe=safe)
    main = statements.main
    if isinstance(plan.query, Aggregate):
        return perform_aggregate(connection, plan.query, statements, call)
    if isinstance(plan.query, GetByKey):
        assert main is not None, "a document is read by a statement"
        row = connection.execute(main.sql, main.arguments(call.values, call.scope)).fetchone()
        if row is None:
            return None
        if statements.carried is not None and row[1] not in statements.carried.allowed(call.scope):
            raise foreign_row()
        return Document(row[0], row[2] if statements.etag else None)
    total = None
    if statements.total is not None:
        total = cast("int", connection.execute(statements.total.sql, statements.total.arguments(call.values, call.scope)).fetchone()[0])
    if main is None:
        return Changed(total or 0)
    rows = connection.execute(main.sql, main.arguments(call.values, call.scope)).fetchall()
    compare(statements, [row[1] for row in rows], call)
    assert isinstance(plan.query, ListPage), "an export is streamed"
    return _page(plan.query, statements, rows, call, total)


def read_with_care(connection: sqlite3.Connection, plan: SqlitePlan, call: Call) -> Answer:
    """A read of rows that hold what their declared types do not fit: every value is shown as it is."""
    factory = connection.text_factory
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    try:
        return perform_read(connection, plan, call, safe=True)
    finally:
        connection.text_factory = factory


def _page(query: ListPage, statements: ReadStatements, rows: list[Row], call: Call, total: int | None) -> Page:
    last = None
    limit = query.query.limit
    if limit is not None and len(rows) > (most := cast("int", call.values[limit.index])):
        rows = rows[:most]
        if rows and statements.ordered:
            values = zip(rows[-1][2:], statements.ordered, strict=True)
            last = "[" + ",".join([ordering_text(value, kind) for value, kind in values]) + "]"
    return Page("[" + ",".join([cast("str", row[0]) for row in rows]) + "]", len(rows), last, total)


@dataclass(slots=True)
class Write:
    """One call of a write, inside of a transaction that is open. `cascaded` counts what its cascades touched."""

    connection: sqlite3.Connection
    plan: SqlitePlan
    call: Call
    safe: bool = False
    cascaded: int = 0
    visited: set[tuple[str, tuple[Stored, ...]]] = field(default_factory=set)

    def perform(self) -> Answer:
        """Run it. Raises PorticoError or sqlite3.Error; what was written until then is the caller's to undo."""
        statements = self.plan.change(self.call.scope, safe=self.safe)
        match self.plan.query:
            case Create():
                return self._create(self.plan.query, statements)
            case Change():
                return self._change(self.plan.query, statements)
            case Delete():
                return self._delete(self.plan.query, statements)
            case _:
                raise AssertionError("a read is not a write")

    def _run(self, statement: Statement, found: Sequence[Stored] = ()) -> sqlite3.Cursor:
        return self.connection.execute(statement.sql, statement.arguments(self.call.values, self.call.scope, found))

    def _written(self, statements: WriteStatements, statement: Statement, found: Sequence[Stored] = ()) -> Row:
        """Run an insert or update, and give the parts of the document that it wrote, which must be in scope."""
        return self._kept(statements, cast("Row", self._run(statement, found).fetchone()))

    def _kept(self, statements: WriteStatements, row: Row) -> Row:
        """The parts of a document that was written, of what the statement returned. Raises where it is not in scope."""
        if not statements.returns:
            assert statements.document is not None, "what a write does not answer is read"
            row = cast("Row", self._run(statements.document, row).fetchone())
        if statements.carried is not None and row[CARRIED] not in statements.carried.allowed(self.call.scope):
            if isinstance(self.plan.query.rule, OwnerRule | ParentRule):
                raise UnknownReference("The document refers to an owner or parent that does not exist.")
            raise ForeignTenant("The document belongs to a client that this call does not act for.")
        return row

    def _create(self, query: Create, statements: WriteStatements) -> Answer:
        if statements.conflict is not None:
            there = self._run(statements.conflict).fetchone()
            if there is not None:
                return self._conflicting(query, statements, there)
        assert statements.write is not None, "a create inserts"
        self._check_references(query, statements)
        row = self._written(statements, statements.write)
        self._record("create", query, statements, None, row)
        if query.counted:
            return Document("", created=True)
        return Document(cast("str", row[BODY]), cast("str", row[ETAG]), path_of(row[KEY:]), created=True)

    def _conflicting(self, query: Create, statements: WriteStatements, there: Row) -> Answer:
        if not there[BODY]:
            raise taken(query, DUPLICATE)
        if query.resolution == "ignore":
            return None
        if statements.merge is None:
            assert statements.document is not None, "a create can read its document"
            row = cast("Row", self._run(statements.document, there[KEY:]).fetchone())
        else:
            self._check_references(query, statements)
            row = self._written(statements, statements.merge, there[KEY:])
            self._record("update", query, statements, there, row)
        return Document(cast("str", row[BODY]), cast("str", row[ETAG]), path_of(row[KEY:]))

    def _located(self, query: Change | Delete, statements: WriteStatements) -> list[Row]:
        assert statements.locate is not None, "changes and deletes find their documents first"
        rows = cast("list[Row]", self._run(statements.locate).fetchall())
        compare(statements, [row[CARRIED] for row in rows], self.call)
        if query.limit is not None and len(rows) > (most := cast("int", self.call.values[query.limit.index])):
            raise TooManyAffected(f"The change would touch more than {most} documents.", details={"max_affected": most})
        if query.etag is not None:
            wanted = self.call.values[query.etag.index]
            if any(row[ETAG] != wanted for row in rows):
                raise PreconditionFailed("The document was changed since it was read.", hint="Read it again.")
        return rows

    def _check_references(self, query: Create | Change, statements: WriteStatements) -> None:
        if statements.references is not None and self._run(statements.references).fetchone() is None:
            raise unknown_reference(query)

    def _change(self, query: Change, statements: WriteStatements) -> Answer:
        rows = self._located(query, statements)
        if rows:
            self._check_references(query, statements)
        changed = [self._change_one(query, statements, row) for row in rows]
        return self._answer(query, changed)

    def _change_one(self, query: Change, statements: WriteStatements, before: Row) -> Row:
        if statements.write is None:
            assert statements.document is not None, "a change can read its document"
            return cast("Row", self._run(statements.document, before[KEY:]).fetchone())
        row = self._written(statements, statements.write, before[KEY:])
        self._record("update", query, statements, before, row)
        return row

    def _answer(self, query: Change | Delete, rows: list[Row]) -> Answer:
        if query.key:
            if not rows:
                return None
            return Document(cast("str | None", rows[0][BODY]) or "null", cast("str | None", rows[0][ETAG]), path_of(rows[0][KEY:]))
        body = "[" + ",".join([cast("str", row[BODY]) for row in rows]) + "]" if query.answer is not None else None
        return Changed(len(rows), body)

    def _delete(self, query: Delete, statements: WriteStatements) -> Answer:
        rows = self._located(query, statements)
        assert statements.write is not None, "a delete deletes"
        for row in rows:
            key = tuple(row[KEY:])
            if not self._visit(self.plan.collection, key):
                continue
            self._descend(query.cascades, self.plan.collection, key)
            self._run(statements.write, key)
            self._record("delete", query, statements, row, None)
        return self._answer(query, rows)

    def _visit(self, collection: Collection, key: tuple[Stored, ...]) -> bool:
        """Note that a document goes; False where it went before, by a way round."""
        place = (collection.table, key)
        if place in self.visited:
            return False
        self.visited.add(place)
        return True

    def _descend(self, cascades: Sequence[Cascade], parent: Collection, key: tuple[Stored, ...]) -> None:
        """Do to the documents that refer to this one what their rules say, children first."""
        for cascade in cascades:
            statements = self.plan.cascade(cascade, parent, safe=self.safe)
            values = self._run(statements.parent_values, key).fetchone()
            if values is None or None in values:
                continue
            rows = self._run(statements.find, values).fetchall()
            if rows and cascade.action == "restrict":
                raise ReferencedDocument("Other documents refer to this one.", details={"collection": cascade.child.name})
            for row in rows:
                self._cascade_one(cascade, cast("Row", row))

    def _cascade_one(self, cascade: Cascade, row: Row) -> None:
        statements = self.plan.cascades[id(cascade), self.safe]
        key = tuple(row[KEY:])
        self.cascaded += 1
        most = self.plan.most_cascaded
        if self.cascaded > most:
            raise TooManyAffected(f"The delete would touch more than {most} documents.", details={"max_affected": most})
        companion = Companion(self.connection, self.call.actor, cascade.child.name, audit=cascade.audit, versioned=cascade.versioned)
        if cascade.action == "set_null":
            after = self._run(statements.clear, key).fetchone()
            companion.write("update", key, row[CLIENT:KEY], row[RECORD], after[RECORD], after[WHOLE])
            return
        if not self._visit(cascade.child, key):
            return
        self._descend(self.plan.below.get(cascade.child.name, ()), cascade.child, key)
        self._run(statements.delete, key)
        companion.write("delete", key, row[CLIENT:KEY], row[RECORD], None, None)

    def _record(
        self, operation: str, query: Create | Change | Delete, statements: WriteStatements, before: Row | None, after: Row | None
    ) -> None:
        if not (query.audit or query.versioned):
            return
        row = after if after is not None else before
        assert row is not None, "a write has a document before or after it"
        companion = Companion(self.connection, self.call.actor, self.plan.collection.name, audit=query.audit, versioned=query.versioned)
        shown = BODY if statements.same else None
        recorded = None if after is None else after[RECORD if shown is None else BODY]
        whole = None if after is None else after[WHOLE if shown is None else BODY]
        earlier = None if before is None else before[RECORD]
        if before is not None and earlier is None and isinstance(query, Delete) and statements.same:
            earlier = before[BODY]
        whose = row[CLIENT:KEY]
        if before is not None and after is not None:
            # A change that takes a document from its owner is still told to whom it was.
            whose = [now if now is not None else was for now, was in zip(whose, before[CLIENT:KEY], strict=True)]
        companion.write(operation, tuple(row[KEY:]), whose, earlier, recorded, whole)
