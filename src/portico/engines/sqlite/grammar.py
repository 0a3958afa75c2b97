"""How SQLite writes what is not common SQL: comparable and shown values, JSON places, patterns, arrays and elements."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from portico.engines.sql.predicates import Bind, Columns, Condition, Expression, predicate
from portico.engines.sqlite.statement import Binder
from portico.engines.sqlite.storage import is_foreign, is_scaled
from portico.errors import InvalidParameter, NotSupported
from portico.model.collection import Collection
from portico.model.field import Base, FieldType
from portico.query.ast import Operator
from portico.query.bound import Comparison, Embedded, Special, Target
from portico.query.capabilities import Capability

_NORMALISE = {
    Base.DATETIME: sa.func.portico_datetime,
    Base.DATE: sa.func.portico_date,
    Base.BOOLEAN: sa.func.portico_boolean,
    Base.UUID: sa.func.portico_uuid,
}
_RANGES = {Operator.STRICTLY_LEFT, Operator.STRICTLY_RIGHT, Operator.NOT_RIGHT, Operator.NOT_LEFT, Operator.ADJACENT}
_FULL_TEXT = {Operator.FTS, Operator.PLFTS, Operator.PHFTS, Operator.WFTS}
_NUMBERS = {Base.FLOAT, Base.INTEGER, Base.BIGINT, Base.DECIMAL}
_PLAIN_KEY = re.compile(r'[^"\\\x00-\x1f]*')
_INDEX = re.compile(r"-?[0-9]{1,9}")
_MOST_PATHS = 8

_COMPARE: dict[Operator, Callable[[Expression, Expression], Condition]] = {
    Operator.EQ: lambda left, right: left == right,
    Operator.IN: lambda left, right: left == right,
    Operator.NEQ: lambda left, right: left != right,
    Operator.GT: lambda left, right: left > right,
    Operator.GTE: lambda left, right: left >= right,
    Operator.LT: lambda left, right: left < right,
    Operator.LTE: lambda left, right: left <= right,
    Operator.LIKE: lambda left, right: sa.func.portico_like(right, left) == 1,
    Operator.ILIKE: lambda left, right: sa.func.portico_ilike(right, left) == 1,
    Operator.MATCH: lambda left, right: sa.func.portico_match(right, left) == 1,
    Operator.IMATCH: lambda left, right: sa.func.portico_match(right, left) == 1,
}


def text(value: str) -> ColumnElement[Any]:
    """A name of the catalog's as a literal text."""
    quoted = value.replace("'", "''")
    return sa.literal_column(f"'{quoted}'")


@dataclass(frozen=True, slots=True)
class Found:
    """The documents that are related to one outer row: their columns, where they are, and which they are."""

    columns: Columns
    source: sa.FromClause
    conditions: list[Condition]
    outer: sa.FromClause

    def select(self, *values: Expression) -> sa.Select[Any]:
        """Values of them."""
        # A sub-select in FROM sees the outer row only where it is told to.
        return cast("sa.Select[Any]", sa.select(*values).select_from(self.source).where(*self.conditions).correlate(self.outer))


class SqliteGrammar:
    """SQLite's way of writing. `safe` shows every value through a function that takes any, for tables that hold what they should not."""

    def __init__(self, *, safe: bool = False) -> None:
        self.safe = safe

    def table(self, collection: Collection, alias: str) -> sa.Alias:
        """The collection's table under an alias."""
        return cast("sa.Alias", self.bare(collection).alias(alias))

    def bare(self, collection: Collection) -> sa.TableClause:
        """The collection's table by its own name, for writes."""
        columns: list[sa.ColumnClause[Any]] = [sa.column(field.column) for field in collection.fields]
        return sa.table(collection.table, *columns)

    def columns(self, collection: Collection, source: sa.FromClause) -> Columns:
        """The columns of `source`, by field name."""
        return {field.name: cast("Expression", source.c[field.column]) for field in collection.fields}

    def related(self, embedded: Embedded, columns: Columns) -> Condition:  # noqa: ARG002 - the contract's
        """Whether a row of `columns` has a related one; only statements that know whose those are can tell."""
        raise AssertionError(f"nothing limits the documents of {embedded.name} here")

    def found(self, embedded: Embedded, columns: Columns) -> Found:  # noqa: ARG002 - the contract's
        """The documents that are related to a row of `columns`; only statements that know whose those are can tell."""
        raise AssertionError(f"nothing limits the documents of {embedded.name} here")

    def groups(self, embedded: Embedded, columns: Columns) -> sa.Select[Any]:  # noqa: ARG002 - the contract's
        """The groups of related documents, in order, each as its `body`; only statements that know whose those are can tell."""
        raise AssertionError(f"nothing limits the documents of {embedded.name} here")

    def comparable(self, target: Target, columns: Columns) -> Expression:
        """The value of `target` as it is compared and sorted."""
        if target.element:
            return self._inside(target, columns["$element"])
        assert target.field is not None, "only elements have no field"
        column, kind = columns[target.field.name], target.field.type
        if target.steps:
            return self._inside(target, self._document(column))
        if target.cast and target.zone is not None and target.type.base is not Base.DATETIME:
            return self._moment(target, columns, target.zone)
        if target.cast:
            return sa.func.portico_cast(self._readable(column, kind), text(target.type.base.value))
        return self.compared(column, kind)

    def clean(self, column: Expression) -> Expression:
        """A column as functions can take it: with `safe`, text that is not UTF-8 is made so."""
        if not self.safe:
            return column
        kind = sa.func.typeof(column)
        return sa.func.portico_clean(sa.case((kind == text("text"), sa.cast(column, sa.LargeBinary)), else_=column), kind)

    def compared(self, column: Expression, kind: FieldType) -> Expression:
        """A column as it is compared."""
        column = self.clean(column)
        if kind.array:
            return sa.func.portico_canonical(column)
        if kind.base is Base.JSON:
            return sa.func.portico_sortable(column)
        if is_foreign(kind) and kind.base in _NORMALISE:
            return _NORMALISE[kind.base](column)
        if kind.base is Base.DECIMAL and not is_scaled(kind):
            return sa.cast(column, sa.REAL)
        return column

    def _readable(self, column: Expression, kind: FieldType) -> Expression:
        """A column as text or number, before it is read as another type."""
        if is_scaled(kind) and not kind.array:
            return sa.func.portico_decimal_json(column, 9) if not kind.scale else column / sa.literal_column(f"1e{kind.scale}")
        return self.compared(column, kind)

    @staticmethod
    def _document(column: Expression) -> Expression:
        return sa.case((sa.func.json_valid(column) == sa.literal_column("1"), column))

    def json_at(self, column: Expression, steps: tuple[str | int, ...]) -> Expression:
        """The JSON text of a place inside of a column's JSON."""
        return _Place(self._document(column), steps).json()

    def _inside(self, target: Target, document: Expression) -> Expression:
        """A place inside of a JSON document, as the type it is compared as; NULL where it is of another JSON type."""
        place = _Place(document, target.steps)
        base = target.type.base
        if target.as_text or (target.cast and base is not Base.JSON):
            shown = place.as_text()
            return sa.func.portico_cast(shown, text(base.value)) if target.cast else shown
        if base in _NUMBERS:
            return sa.case((place.type().in_([text("integer"), text("real")]), sa.cast(place.value(), sa.REAL)))
        if base is Base.BOOLEAN:
            return sa.case((place.type().in_([text("true"), text("false")]), place.value()))
        if base in {Base.STRING, Base.TEXT}:
            return sa.case((place.type() == text("text"), place.value()))
        return sa.func.portico_sortable(place.json())

    def output(self, target: Target, columns: Columns) -> Expression:
        """The value of `target` as a member of `json_object`."""
        assert target.field is not None, "an answer shows fields"
        column, kind = columns[target.field.name], target.field.type
        if target.zone is not None and (target.cast or not target.steps):
            return self._moment(target, columns, target.zone)
        if target.steps:
            place = _Place(self._document(column), target.steps)
            if target.cast:
                return self.shown(self._inside(target, self._document(column)), FieldType(target.type.base))
            return place.as_text() if target.as_text else sa.func.json(place.json())
        if target.cast:
            return self.shown(self.comparable(target, columns), FieldType(target.type.base))
        return self.shown(column, kind)

    def shown(self, column: Expression, kind: FieldType) -> Expression:
        """A stored value of a type as the answer shows it; what does not fit its type is shown as it is."""
        column = self.clean(column)
        if kind.array or kind.base is Base.JSON:
            return self._json(column, kind)
        match kind.base:
            case Base.BINARY:
                return sa.func.portico_base64(column)
            case Base.FLOAT:
                return sa.func.json(sa.func.portico_float_json(column))
            case Base.BOOLEAN:
                return self._boolean(column, kind)
            case Base.DECIMAL:
                return self._decimal(column, kind)
            case Base.NATIVE if not self.safe:
                return sa.cast(column, sa.Text)
        if is_foreign(kind) and kind.base in _NORMALISE:
            return self._plain(_NORMALISE[kind.base](column))
        return self._plain(column)

    def _moment(self, target: Target, columns: Columns, zone: str) -> Expression:
        """A datetime, or a text or date made of one, as PostgreSQL shows it in a time zone."""
        assert target.field is not None, "an answer shows fields"
        column, kind = columns[target.field.name], target.field.type
        if target.type.base is Base.DATETIME:
            return self.moment(self.comparable(target, columns) if target.cast else column, target.type if target.cast else kind, zone)
        value = self.clean(column)
        stored = sa.func.portico_datetime(value) if is_foreign(kind) else value
        return self._plain(sa.func.portico_moment_as(stored, text(zone), text(target.type.base.value)))

    def moment(self, column: Expression, kind: FieldType, zone: str) -> Expression:
        """A datetime, or an array of them, as PostgreSQL shows it in a time zone."""
        column = self.clean(column)
        shown = sa.func.portico_own_moment
        if kind.array:
            return self._json(shown(column, text(zone)), kind)
        return self._plain(shown(sa.func.portico_datetime(column) if is_foreign(kind) else column, text(zone)))

    def _json(self, column: Expression, kind: FieldType) -> Expression:
        if self.safe:
            return sa.func.json(sa.func.portico_document_json(column))
        if not is_foreign(kind):
            return sa.func.json(column)  # Portico wrote it; what is malformed all the same is read again with care
        return sa.case((sa.func.json_valid(column) == sa.literal_column("1"), sa.func.json(column)), else_=column)

    def _boolean(self, column: Expression, kind: FieldType) -> Expression:
        value = sa.func.portico_boolean(column) if is_foreign(kind) else column
        true, false = sa.func.json(text("true")), sa.func.json(text("false"))
        return sa.case((value == sa.literal_column("1"), true), (value == sa.literal_column("0"), false), else_=self._plain(column))

    def _plain(self, value: Expression) -> Expression:
        return sa.func.json(sa.func.portico_json_of(value)) if self.safe else value

    def _decimal(self, column: Expression, kind: FieldType) -> Expression:
        if not is_scaled(kind):
            return sa.func.json(
                sa.func.portico_decimal_json(column, sa.null() if kind.scale is None else sa.literal_column(str(kind.scale)))
            )
        if not kind.scale:
            return self._plain(column)
        unit = 10**kind.scale
        sign = sa.case((column < sa.literal_column("0"), text("-")), else_=text(""))
        size = sa.func.abs(column)
        whole = size.op("/")(sa.literal_column(str(unit)))
        digits = sa.func.printf(text(f"%s%d.%0{kind.scale}d"), sign, whole, size.op("%")(sa.literal_column(str(unit))))
        return sa.case((sa.func.typeof(column) == text("integer"), sa.func.json(digits)), else_=self._plain(column))

    def present(self, target: Target, columns: Columns) -> Condition:
        """Whether the place inside of a JSON field exists (a JSON null does)."""
        return _Place(self._root(target, columns), target.steps).type().is_not(None)

    def _root(self, target: Target, columns: Columns) -> Expression:
        if target.element:
            return columns["$element"]
        assert target.field is not None, "only elements have no field"
        return self._document(columns[target.field.name])

    def special(
        self, operator: Operator, target: Target, columns: Columns, value: Expression | None, node: Comparison, bind: Bind
    ) -> Condition:
        """Patterns, containment, sizes and elements; full text and ranges are not there."""
        if operator is Operator.ELEM_MATCH:
            return self._element_matches(node, target, columns, bind)
        if operator is Operator.EXISTS:
            return self.comparable(target, columns).is_not(None)
        if operator in _FULL_TEXT:
            raise NotSupported(Capability.FULL_TEXT, "sqlite")
        if operator in _RANGES:
            raise NotSupported(Capability.RANGES, "sqlite")
        assert value is not None, "bind gives these operators their value"
        if operator is Operator.SIZE:
            place = _Place(self._root(target, columns), target.steps)
            return sa.case((place.type() == text("array"), place.length())) == value
        if operator in {Operator.CONTAINS, Operator.CONTAINED, Operator.OVERLAPS}:
            return self._containment(node, target, columns, bind)
        return _COMPARE[operator](self.comparable(target, columns), value)

    def _containment(self, node: Comparison, target: Target, columns: Columns, bind: Bind) -> Condition:
        assert node.value is not None, "bind gives these operators their value"
        assert isinstance(bind, Binder), "the values of a call are bound"
        operator, whole = node.operator, node.value.type is Special.JSON_TEXT
        # The JSON itself, not the text by which it is compared.
        value = bind.encoded(node.value, None, "json") if whole else bind(node.value)
        left = _Place(self._root(target, columns), target.steps).json()
        if operator is Operator.CONTAINS:
            return sa.func.portico_contains(left, value) == 1
        if operator is Operator.CONTAINED:
            return sa.func.portico_contains(value, left) == 1
        return sa.func.portico_overlaps(left, value) == 1

    def _element_matches(self, node: Comparison, target: Target, columns: Columns, bind: Bind) -> Condition:
        assert node.inner is not None, "bind gives elem_match its condition"
        place = _Place(self._root(target, columns), target.steps)
        values = sa.case((place.type() == text("array"), place.json()))
        each = sa.func.json_each(values).table_valued("value", "type", name="element")
        kind, value = each.c.type, each.c.value
        element = sa.case(
            (kind.in_([text("object"), text("array")]), value),
            (kind.in_([text("true"), text("false"), text("null")]), kind),
            else_=sa.func.portico_json_of(value),
        )
        inner = predicate(node.inner, {"$element": element}, bind, self)
        return sa.exists(sa.select(sa.literal_column("1")).select_from(each).where(inner))

    def quantified(self, operator: Operator, left: Expression, values: Expression, node: Comparison) -> Condition:
        """``left operator ANY|ALL (values)`` over a JSON array of values; `in` is ``= ANY``."""
        compare = _COMPARE.get(operator)
        if compare is None:
            raise InvalidParameter(f"The operator {operator} takes no any or all.")
        each = sa.func.json_each(values).table_valued("value", name="one")
        if operator is Operator.IN or (operator is Operator.EQ and node.quantifier == "any"):
            return left.in_(sa.select(each.c.value))
        if node.quantifier == "all":
            found = ~sa.exists(sa.select(each.c.value).where(sa.not_(compare(left, each.c.value))))
        else:
            found = sa.exists(sa.select(each.c.value).where(compare(left, each.c.value)))
        # An unknown left side is unknown, but where there is nothing to compare it with.
        known = sa.or_(left.is_not(None), sa.func.json_array_length(values) == sa.literal_column("0"))
        return sa.case((known, found)) == sa.literal_column("1")


class _Place:
    """A place inside of a JSON document: its JSON type, its value, its JSON, its text.

    A step that is a whole number means an array's member or an object's key, whichever is there, so a place has several paths.
    """

    def __init__(self, document: Expression, steps: tuple[str | int, ...]) -> None:
        choices = [self._choices(str(step)) for step in steps]
        plain = all(_PLAIN_KEY.fullmatch(str(step)) for step in steps)
        paths = ["$" + "".join(path) for path in product(*choices)] if plain else []
        if paths and len(paths) <= _MOST_PATHS:
            self.document, self.paths = document, [sa.literal(path) for path in paths]
        else:
            self.document = sa.func.portico_json_at(document, sa.literal(json.dumps([str(step) for step in steps])))
            self.paths = [sa.literal("$")]

    @staticmethod
    def _choices(step: str) -> list[str]:
        key = f'."{step}"'
        if not _INDEX.fullmatch(step):
            return [key]
        return [f"[#{step}]" if step.startswith("-") else f"[{int(step)}]", key]

    def _first(self, function: Callable[..., Any]) -> Expression:
        found = [function(self.document, path) for path in self.paths]
        return cast("Expression", found[0] if len(found) == 1 else sa.func.coalesce(*found))

    def type(self) -> Expression:
        """SQLite's name of the JSON type; NULL where there is no such place."""
        return self._first(sa.func.json_type)

    def value(self) -> Expression:
        """The SQL value."""
        return self._first(sa.func.json_extract)

    def json(self) -> Expression:
        """The JSON text; a JSON null is ``null``."""
        return self._first(lambda document, path: document.op("->")(path))

    def length(self) -> Expression:
        """How many members the array has."""
        return self._first(sa.func.json_array_length)

    def as_text(self) -> Expression:
        """The value as text: strings themselves, null as NULL, the others as their JSON."""
        return sa.case(
            (self.type() == text("text"), self.value()),
            (self.type() == text("null"), sa.null()),
            else_=sa.func.portico_place_text(self.json()),
        )
