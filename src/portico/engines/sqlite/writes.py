"""Statements of writes: creates, changes and deletes by key, what they touch, and what they leave in the companion tables.

A filter-wide change finds its keys first and then runs the statements of one document for each: the writer is alone, so nothing changes
in between, and cascades, hashes and companion rows have one way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import sqlalchemy as sa

from portico.engines.sql.predicates import Columns, Expression
from portico.engines.sqlite.documents import records_everything, whole_row
from portico.engines.sqlite.grammar import SqliteGrammar
from portico.engines.sqlite.reads import Source
from portico.engines.sqlite.scoping import Carried, Scoping
from portico.engines.sqlite.statement import Binder, Statement
from portico.engines.sqlite.storage import written
from portico.model.collection import Collection
from portico.model.scope import Scope
from portico.query.bound import BoundQuery
from portico.query.scoped import Assignment, Cascade, Change, Create, Delete, EverythingRule, OwnerRule, ParentRule, ScopeRule, SharedRule

BODY, ETAG, CARRIED, RECORD, WHOLE, CLIENT, USER, KEY = range(8)
"""Places of a written document's parts in a row; the key's values come last."""

NOTHING = cast("Expression", sa.null())

MANY = 50
"""Documents in one statement of those that are only counted: what RETURNING costs for each statement is more than a row itself."""

MOST_PARAMETERS = 30_000


@dataclass(frozen=True, slots=True)
class WriteStatements:
    """What a write runs, for scopes of one kind. Statements after `locate` and `conflict` take the found key.

    Attributes:
        locate: rows in scope, as (body, hash, carried, record, whole, client, user, key…), the stored form before a change or delete.
        conflict: for creates that may merge, the document that has the unique values, whosever it is.
        write: the insert, update or delete; `returns` says that it answers a row as above. many: inserts `MANY` documents at once, whose
            values stand one after the other, and answers their rows. merge: the update of a create that merges.
        document: reads the written document, where `write` could not answer it.
        carried: what rows carry. references: gives a row where what the document refers to
            is in scope. same: the answer is also the record.
    """

    write: Statement | None
    locate: Statement | None = None
    conflict: Statement | None = None
    merge: Statement | None = None
    document: Statement | None = None
    carried: Carried | None = None
    references: Statement | None = None
    returns: bool = False
    same: bool = False
    many: Statement | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """For whom statements are written: scopes of one shape; with `safe`, for rows that hold what their types do not fit."""

    scope: Scope
    safe: bool = False


@dataclass(frozen=True, slots=True)
class Companions:
    """Which companion rows a write leaves: `audit` the masked record, `versioned` the whole document, and whose they say that it is."""

    audit: bool
    versioned: bool
    belongs: ScopeRule


def _parts(source: Source, answer: BoundQuery | None, rule: ScopeRule, companions: Companions, *, etag: bool) -> list[Expression]:
    collection = source.collection
    same = answer is not None and records_everything(answer)
    body = source.documents.body(answer, source.columns) if answer is not None else NOTHING
    record = source.documents.record(collection, source.columns, masked=True) if companions.audit and not same else NOTHING
    whole = source.documents.record(collection, source.columns, masked=False) if companions.versioned and not same else NOTHING
    content = whole_row(collection, source.columns, source.grammar) if etag else NOTHING
    carried = NOTHING if isinstance(rule, SharedRule | EverythingRule) else source.carried
    owned = source.whose(companions.belongs) if companions.audit or companions.versioned else (NOTHING, NOTHING)
    return [body, content, carried, record, whole, *owned, *key_columns(source)]


def key_columns(source: Source) -> list[Expression]:
    """The stored values of the key; of a table without one, the row's number."""
    if not source.collection.primary_key:
        return [cast("Expression", sa.literal_column("rowid"))]
    return [source.columns[name] for name in source.collection.primary_key]


def at_key(source: Source) -> list[Any]:
    """The row whose key was found."""
    return [column == source.binder.found(at) for at, column in enumerate(key_columns(source))]


def compile_create(query: Create, frame: Frame, *, triggers: bool) -> WriteStatements:
    """Insert one document; with `on_conflict`, merge it into the one that is there."""
    collection, companions = query.collection, Companions(query.audit, query.versioned, query.belongs)
    source = Source(collection, query.rule, frame.scope, safe=frame.safe, by_key=True, bare=True)
    reread = triggers or _needs_reread(query)
    values = _assigned(query.assignments, collection, source.binder)
    answer = None if query.counted else query.answer
    insert = sa.insert(_table(source)).values(values).returning(*_returned(source, answer, query.rule, companions, reread=reread))
    conflict = merge = None
    if query.on_conflict:
        conflict = _conflict(query, frame)
        merged = tuple(item for item in query.assignments if item.field in query.merge)
        merge = _update(collection, merged, query.answer, query.rule, frame, companions, reread=reread) if merged else None
    return WriteStatements(
        source.binder.statement(insert),
        conflict=conflict,
        merge=merge,
        document=_document(collection, answer, query.rule, frame, companions),
        carried=source.carried_kind,
        references=_references(query, frame),
        returns=not reread,
        same=answer is not None and records_everything(answer),
        many=_insert_many(query, frame, companions, reread=reread) if query.counted and query.assignments else None,
    )


def _insert_many(query: Create, frame: Frame, companions: Companions, *, reread: bool) -> Statement | None:
    """Insert `MANY` documents by one statement; None for those of so many fields that SQLite would not take their values."""
    width = len(query.assignments)
    if width * MANY > MOST_PARAMETERS:
        return None
    source = Source(query.collection, query.rule, frame.scope, safe=frame.safe, by_key=True, bare=True)
    rows = []
    for place in range(MANY):
        shifted = [replace(item, value=replace(item.value, index=item.value.index + place * width)) for item in query.assignments]
        rows.append(_assigned(shifted, query.collection, source.binder, place))
    insert = sa.insert(_table(source)).values(rows)
    return source.binder.statement(insert.returning(*_returned(source, None, query.rule, companions, reread=reread)))


def _conflict(query: Create, frame: Frame) -> Statement:
    """The document that has the same unique values: its parts before the change, and whether it is in scope."""
    source = Source(query.collection, query.rule, frame.scope, safe=frame.safe, by_key=True)
    source.filtered(query.mergeable)
    inside = sa.and_(sa.true(), *source.conditions)
    given = {item.field: item.value for item in query.assignments}
    equal = [
        source.grammar.compared(source.columns[name], query.collection.by_name[name].type) == source.binder(given[name])
        for name in query.on_conflict
        if name in given
    ]
    if len(equal) != len(query.on_conflict):
        equal = [sa.literal_column("0") == sa.literal_column("1")]
    parts = _parts(source, None, query.rule, Companions(query.audit, query.versioned, query.belongs), etag=False)
    parts[BODY] = cast("Expression", sa.case((inside, sa.literal_column("1")), else_=sa.literal_column("0")))
    return source.binder.statement(sa.select(*parts).select_from(source.table).where(*equal))


def compile_change(query: Change, frame: Frame, *, triggers: bool) -> WriteStatements:
    """Change one document by its key, or each that matches."""
    companions = Companions(query.audit, query.versioned, query.belongs)
    reread = triggers or _needs_reread(query)
    located = _locate(query, frame, None, replace(companions, versioned=False))
    write = None
    if query.assignments:
        write = _update(query.collection, query.assignments, query.answer, query.rule, frame, companions, reread=reread)
    document = _document(query.collection, query.answer, query.rule, frame, companions)
    carried = Source(query.collection, query.rule, frame.scope, safe=frame.safe, by_key=True).carried_kind
    same = query.answer is not None and records_everything(query.answer)
    references = _references(query, frame)
    return WriteStatements(write, located, document=document, carried=carried, references=references, returns=not reread, same=same)


def _references(query: Create | Change, frame: Frame) -> Statement | None:
    if not query.references:
        return None
    grammar, binder = SqliteGrammar(), Binder()
    given = cast("Columns", {item.field: binder(item.value) for item in query.assignments})
    scoping = Scoping(frame.scope, grammar, binder)
    conditions: list[sa.ColumnElement[bool]] = []
    for rule in query.references:
        inside = scoping.predicate(rule, query.collection, given, by_key=True)
        assert inside is not None, "a parent's rule has a condition"
        conditions.append(sa.or_(given[rule.local[0]].is_(None), inside))
    return binder.statement(sa.select(sa.literal_column("1")).where(*conditions))


def compile_delete(query: Delete, frame: Frame) -> WriteStatements:
    """Delete one document by its key, or each that matches."""
    # A deletion's version keeps no document, but says whose it was.
    located = _locate(query, frame, query.answer, Companions(query.audit, query.versioned, query.belongs))
    source = Source(query.collection, EverythingRule(), frame.scope, bare=True)
    write = source.binder.statement(sa.delete(_table(source)).where(*at_key(source)))
    carried = Source(query.collection, query.rule, frame.scope, safe=frame.safe, by_key=True).carried_kind
    same = query.answer is not None and records_everything(query.answer)
    return WriteStatements(write, locate=located, carried=carried, same=same)


def _locate(query: Change | Delete, frame: Frame, answer: BoundQuery | None, companions: Companions) -> Statement:
    source = Source(query.collection, query.rule, frame.scope, safe=frame.safe, by_key=bool(query.key))
    source.keyed(query.key) if query.key else None
    source.filtered(query.filter)
    wanted = query.etag is not None or (isinstance(query, Delete) and bool(query.key))
    rows = source.select(*_parts(source, answer, query.rule, companions, etag=wanted))
    if query.limit is not None:
        rows = rows.limit(source.binder(query.limit) + sa.literal_column("1"))
    return source.binder.statement(rows)


def _update(
    collection: Collection,
    assignments: Sequence[Assignment],
    answer: BoundQuery | None,
    rule: ScopeRule,
    frame: Frame,
    companions: Companions,
    *,
    reread: bool,
) -> Statement:
    source = Source(collection, rule, frame.scope, safe=frame.safe, by_key=True, bare=True)
    values = _assigned(assignments, collection, source.binder)
    update = sa.update(_table(source)).values(values).where(*at_key(source))
    return source.binder.statement(update.returning(*_returned(source, answer, rule, companions, reread=reread)))


def _returned(source: Source, answer: BoundQuery | None, rule: ScopeRule, companions: Companions, *, reread: bool) -> list[Any]:
    if reread:
        return key_columns(source)
    return [part.label(f"r{at}") for at, part in enumerate(_parts(source, answer, rule, companions, etag=answer is not None))]


def _document(collection: Collection, answer: BoundQuery | None, rule: ScopeRule, frame: Frame, companions: Companions) -> Statement:
    source = Source(collection, rule, frame.scope, safe=frame.safe, by_key=True)
    parts = _parts(source, answer, rule, companions, etag=answer is not None)
    return source.binder.statement(sa.select(*parts).select_from(source.table).where(*at_key(source)))


def _needs_reread(query: Create | Change) -> bool:
    """Whether a companion row, or whose the row is, is told by other tables: what the statement returns of them cannot be trusted."""
    recorded = (query.audit or query.versioned) and isinstance(query.belongs, OwnerRule | ParentRule)
    return recorded or isinstance(query.rule, OwnerRule | ParentRule)


def _assigned(assignments: Sequence[Assignment], collection: Collection, binder: Binder, place: int = 0) -> dict[str, Expression]:
    found: dict[str, Expression] = {}
    for item in assignments:
        field = collection.by_name[item.field]
        found[field.column] = binder.encoded(item.value, written(field.type), f"written{place}_{item.field}")
    return found


def _table(source: Source) -> sa.TableClause:
    return cast("sa.TableClause", source.table)


@dataclass(frozen=True, slots=True)
class CascadeStatements:
    """What a delete does to the documents of one collection that refer to the deleted one.

    `find` takes the deleted document's local values and gives (record, local values of the next ones…, key…); `clear` sets the
    reference to null and gives (record, whole).
    """

    cascade: Cascade
    parent_values: Statement
    find: Statement
    delete: Statement
    clear: Statement
    keys: int


def compile_cascade(cascade: Cascade, parent: Collection, *, safe: bool) -> CascadeStatements:
    """The statements of one cascade. Scopes do not limit it: a document never outlives the one that it belongs to."""
    nobody = Scope()
    above = Source(parent, EverythingRule(), nobody)
    values = above.select(*(above.columns[name] for name in cascade.local)).where(*at_key(above))
    child = Source(cascade.child, EverythingRule(), nobody, safe=safe)
    parts = _parts(child, None, EverythingRule(), Companions(cascade.audit, cascade.versioned, cascade.belongs), etag=False)
    reach = [child.columns[name] == child.binder.found(at) for at, name in enumerate(cascade.foreign)]
    removed = Source(cascade.child, EverythingRule(), nobody, bare=True)
    cleared = Source(cascade.child, EverythingRule(), nobody, safe=safe, bare=True)
    nulls = {cascade.child.by_name[name].column: sa.null() for name in cascade.foreign}
    after = _parts(cleared, None, EverythingRule(), Companions(cascade.audit, cascade.versioned, cascade.belongs), etag=False)
    clear = (
        sa.update(_table(cleared)).values(nulls).where(*at_key(cleared)).returning(*(part.label(f"r{at}") for at, part in enumerate(after)))
    )
    return CascadeStatements(
        cascade,
        above.binder.statement(values),
        child.binder.statement(child.select(*parts).where(*reach)),
        removed.binder.statement(sa.delete(_table(removed)).where(*at_key(removed))),
        cleared.binder.statement(clear),
        len(cascade.child.primary_key) or 1,
    )
