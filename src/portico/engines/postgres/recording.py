"""What documents that a migration changes leave in the companion tables: the same images as those of any other change."""

from __future__ import annotations

from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.elements import ColumnElement

from portico.engines.postgres.companions import NULL_TEXT, image, key_text, whose_document
from portico.engines.postgres.grammar import PostgresGrammar
from portico.engines.postgres.reads import entire
from portico.engines.postgres.rows import document_text
from portico.engines.sql.identifiers import quote
from portico.engines.sql.operations import Recorded
from portico.engines.sql.predicates import Columns
from portico.model.field import Base, Field
from portico.model.migration import Change
from portico.query.ownership import belongs

OLD, NEW = "old", "new"
"""The names under which `Recorded.rows` reads the documents before and after."""


def alias(number: int) -> str:
    """What the column of that number in `Recorded.columns` is called there."""
    return f"portico_{number}"


def recorded_of(change: Change, dialect: Dialect) -> Recorded | None:
    """What a change of the documents of `change.old` records; None where nobody asked for an audit or versions.

    `rows` gives (key, client, user, before, after, whole), all as text, of each document that differs between `old` and `new`.
    """
    collection = change.old
    if not (collection.audit or collection.versioned):
        return None
    grammar = PostgresGrammar()
    names = [alias(number) for number in range(len(collection.fields))]
    old, new = (sa.table(name, *(sa.column(column) for column in names)).alias(name) for name in (OLD, NEW))
    before, after = (
        cast("Columns", {field.name: rows.c[name] for field, name in zip(collection.fields, names, strict=True)}) for rows in (old, new)
    )
    rule = belongs(collection, change.before.get)
    was, now = (whose_document(rule, columns, grammar, old, new) for columns in (before, after))
    first, then = image(collection, before, grammar, old, "before_image"), image(collection, after, grammar, new, "after_image")
    whole = entire(collection, after, grammar, new, "whole_image")
    told: list[ColumnElement[Any]] = [document_text(first), document_text(then)] if collection.audit else [NULL_TEXT, NULL_TEXT]
    told.append(document_text(whole) if collection.versioned else NULL_TEXT)
    tables = [*([first, then] if collection.audit else []), *([whole] if collection.versioned else [])]
    same = sa.and_(*(before[name] == after[name] for name in collection.primary_key))
    rows = (
        sa.select(key_text(collection, before), *(sa.func.coalesce(*pair) for pair in zip(now, was, strict=True)), *told)
        .select_from(old.join(new, same), *tables)
        .where(sa.or_(*(_differs(field, before, after) for field in collection.fields)))
    )
    text = str(rows.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    columns = tuple(quote(field.column) for field in collection.fields)
    return Recorded(collection.name, collection.audit, collection.versioned, columns, text)


def _differs(field: Field, before: Columns, after: Columns) -> ColumnElement[bool]:
    pair: list[ColumnElement[Any]] = [columns[field.name] for columns in (before, after)]
    if field.type.native is not None or field.type.base is Base.NATIVE:
        # Not every type of PostgreSQL's own can be compared.
        pair = [sa.cast(column, pg.TEXT) for column in pair]
    return pair[0].is_distinct_from(pair[1])
