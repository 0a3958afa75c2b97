"""How a stored value of one field type becomes one of another on SQLite, as SQL that fails rather than lose anything."""

from __future__ import annotations

from sqlalchemy.dialects.sqlite.base import SQLiteDialect

from portico.engines.sql.types import MOST_SCALED_DIGITS, column_type
from portico.errors import MigrationError
from portico.model.field import Base, Field, FieldType

_DIALECT = SQLiteDialect()
_TEXTS = frozenset({Base.STRING, Base.TEXT, Base.ENUM})
_WHOLE = frozenset({Base.INTEGER, Base.BIGINT})
_AS_TEXT = frozenset({Base.UUID, Base.DATE, Base.DATETIME, Base.JSON})
_SHAPES = {
    Base.UUID: "{0} GLOB replace('????????-????-????-????-????????????', '?', '[0-9a-f]')",
    Base.DATE: "date({0}) IS {0}",
    Base.DATETIME: "{0} GLOB '????-??-??T??:??:??.??????Z'",
    Base.JSON: "json_valid({0})",
}
"""What a text must look like to be stored as one of these."""


def conversion(old: Field, new: Field, column: str) -> str:
    """SQL that gives the new field's stored value from the old one's column.

    A value that the new type cannot hold makes it fail, and the migration with it.

    Raises:
        MigrationError: there is no such conversion.
    """
    one, two = old.type, new.type
    if _stored_alike(one, two):
        return column
    if one.array or two.array or one.native or two.native:
        raise _impossible(old, new)
    return _converted(old, new, column)


def _stored_alike(one: FieldType, two: FieldType) -> bool:
    if one.array != two.array:
        return False
    textual = one.base in _TEXTS and two.base in _TEXTS
    names = [column_type(kind).compile(dialect=_DIALECT) for kind in (one, two)]
    return textual or names[0] == names[1] or (one.base in _WHOLE and two.base in _WHOLE)


def _converted(old: Field, new: Field, column: str) -> str:
    one, two = old.type, new.type
    scale = two.scale or 0
    if one.base is Base.DECIMAL and two.base is Base.DECIMAL:
        return _rescaled(column, one.scale or 0, scale)
    if one.base in _WHOLE:
        whole = {
            Base.DECIMAL: f"{column} * {10**scale}",
            Base.FLOAT: f"CAST({column} AS REAL)",
            Base.BOOLEAN: _unless(column, f"{column} IN (0, 1)"),
        }
        if two.base in whole:
            return whole[two.base]
    if one.base is Base.BOOLEAN and two.base in _WHOLE:
        return column
    if one.base is Base.DECIMAL and two.base in _WHOLE:
        return _rescaled(column, one.scale or 0, 0)
    if one.base is Base.DECIMAL and two.base is Base.FLOAT:
        return f"CAST({column} AS REAL) / {10 ** (one.scale or 0)}"
    if two.base in _TEXTS and one.base in _WHOLE | {Base.FLOAT} | _AS_TEXT:
        return f"CAST({column} AS TEXT)"
    if one.base in _TEXTS and two.base in _WHOLE:
        return _unless(f"CAST({column} AS INTEGER)", f"CAST(CAST({column} AS INTEGER) AS TEXT) = {column}", column)
    if one.base in _TEXTS and two.base in _SHAPES:
        return _unless(column, _SHAPES[two.base].format(column))
    raise _impossible(old, new)


def _rescaled(column: str, before: int, after: int) -> str:
    if after >= before:
        return f"{column} * {10 ** min(after - before, MOST_SCALED_DIGITS)}"
    return f"CAST(round({column} / {10 ** (before - after)}.0) AS INTEGER)"


def _unless(value: str, holds: str, column: str | None = None) -> str:
    """The value where the condition holds; where it does not, an error: `abs` of the smallest integer overflows."""
    known = column or value
    return f"CASE WHEN {known} IS NULL OR {holds} THEN {value} ELSE abs(-9223372036854775808) END"


def _impossible(old: Field, new: Field) -> MigrationError:
    return MigrationError(
        f"{old.name} cannot become {new.type} from {old.type} by itself.", hint="Add a field, fill it by run_sql, and drop the old one."
    )
