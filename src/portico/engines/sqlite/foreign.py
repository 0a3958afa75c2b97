"""Tables that others made: which columns may hold their values in any of SQLite's forms, so that they are read through functions."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from dataclasses import replace

from portico.model.collection import Collection
from portico.model.field import Base, Field

_OWN_TYPE = re.compile(r"\b(?:UUID|DATE|DATETIME|JSON)_TEXT\b")
_MANY_FORMS = {Base.DATETIME: "DATETIME", Base.DATE: "DATE", Base.BOOLEAN: "BOOLEAN", Base.UUID: "UUID"}


def as_stored(connection: sqlite3.Connection, collections: Iterable[Collection]) -> tuple[Collection, ...]:
    """The collections, with native types where a table is not one that Portico made.

    Portico names its tables' keys ``pk_table``, or, where SQLite takes no name for a key that counts by itself, its columns by types of
    its own; what has neither was made by somebody who may store datetimes as seconds.
    """
    made = {
        name
        for name, sql in connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
        if f"CONSTRAINT pk_{name} " in sql or _OWN_TYPE.search(sql)
    }
    return tuple(
        item if item.table in made else replace(item, fields=tuple(_foreign(field) for field in item.fields)) for item in collections
    )


def _foreign(field: Field) -> Field:
    native = _MANY_FORMS.get(field.type.base)
    if native is None or field.type.array or field.type.native is not None:
        return field
    return replace(field, type=replace(field.type, native=native))
