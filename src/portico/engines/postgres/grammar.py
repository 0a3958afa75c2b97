"""How PostgreSQL writes what is not common SQL: JSON paths, patterns, containment, full text, and the JSON of an answer."""

from __future__ import annotations

from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from portico.engines.postgres.types import Native
from portico.engines.postgres.zones import cast_moment, shown_moment
from portico.engines.sql.predicates import Bind, Columns, Condition, Expression, predicate
from portico.errors import InvalidParameter
from portico.model.collection import Collection
from portico.model.field import Base, FieldType
from portico.query.ast import Operator
from portico.query.bound import Comparison, Embedded, Target

DATETIME_FORMAT = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'

_CONTAINMENT = {
    Operator.CONTAINS: "@>",
    Operator.CONTAINED: "<@",
    Operator.OVERLAPS: "&&",
    Operator.STRICTLY_LEFT: "<<",
    Operator.STRICTLY_RIGHT: ">>",
    Operator.NOT_RIGHT: "&<",
    Operator.NOT_LEFT: "&>",
    Operator.ADJACENT: "-|-",
}
_TSQUERY = {
    Operator.FTS: sa.func.to_tsquery,
    Operator.PLFTS: sa.func.plainto_tsquery,
    Operator.PHFTS: sa.func.phraseto_tsquery,
    Operator.WFTS: sa.func.websearch_to_tsquery,
}
_SYMBOL = {
    Operator.EQ: "=",
    Operator.NEQ: "<>",
    Operator.GT: ">",
    Operator.GTE: ">=",
    Operator.LT: "<",
    Operator.LTE: "<=",
    Operator.LIKE: "LIKE",
    # Case is folded in the pattern (`query.patterns`), so that no collation's own rules show.
    Operator.ILIKE: "~",
    Operator.MATCH: "~",
    Operator.IMATCH: "~",
}
# Half a step above the largest double, and half of the smallest one: from here on, numbers round to infinity, and to zero.
_ROUNDED_TO_INFINITY = 2**1024 - 2**970
_ROUNDED_TO_ZERO = "2.4703282292062327e-324"
_CASTS: dict[Base, Any] = {
    Base.STRING: sa.Text(),
    Base.TEXT: sa.Text(),
    Base.INTEGER: sa.Integer(),
    Base.BIGINT: sa.BigInteger(),
    Base.FLOAT: pg.DOUBLE_PRECISION(),
    Base.DECIMAL: sa.Numeric(),
    Base.BOOLEAN: sa.Boolean(),
    Base.UUID: pg.UUID(),
    Base.DATE: sa.Date(),
    Base.DATETIME: sa.DateTime(timezone=True),
    Base.JSON: pg.JSONB(),
}


def _double(place: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """A JSON number as the nearest double. A plain cast fails where a stored number is too large or too small to be one."""
    number = sa.cast(place, sa.Numeric)
    size = sa.func.abs(number)
    infinite = sa.func.sign(number) * sa.literal_column("'Infinity'::float8")
    return sa.case(
        (size >= sa.literal_column(f"{_ROUNDED_TO_INFINITY}::numeric"), infinite),
        (size <= sa.literal_column(f"{_ROUNDED_TO_ZERO}::numeric"), sa.literal_column("0::float8")),
        else_=sa.cast(number, pg.DOUBLE_PRECISION),
    )


class PostgresGrammar:
    """PostgreSQL's way of writing."""

    def table(self, collection: Collection, alias: str) -> sa.FromClause:
        """The collection's table under an alias."""
        columns: list[sa.ColumnClause[Any]] = [sa.column(field.column) for field in collection.fields]
        return sa.table(collection.table, *columns, schema=collection.schema).alias(alias)

    def columns(self, collection: Collection, source: sa.FromClause) -> Columns:
        """The columns of `source`, by field name."""
        return {field.name: cast("Expression", source.c[field.column]) for field in collection.fields}

    def related(self, embedded: Embedded, columns: Columns) -> Condition:  # noqa: ARG002 - the contract's
        """Whether a row of `columns` has a related one; only statements that know whose those are can tell."""
        raise AssertionError(f"nothing limits the documents of {embedded.name} here")

    def embedded(self, embedded: Embedded, columns: Columns) -> list[Expression]:  # noqa: ARG002 - the contract's
        """The members that related documents are answered as; only statements that know whose those are can tell."""
        raise AssertionError(f"nothing limits the documents of {embedded.name} here")

    def comparable(self, target: Target, columns: Columns) -> Expression:
        """The value of `target` as it is compared and sorted."""
        if target.element:
            return cast("Expression", self._inside(target, columns["$element"]))
        assert target.field is not None, "only elements have no field"
        column = columns[target.field.name]
        if target.steps:
            return cast("Expression", self._inside(target, self._jsonb(column, target.field.type)))
        if target.cast and target.zone is not None and target.type.base is not Base.DATETIME:
            return self._moment(target, columns, target.zone)
        if target.cast:
            return cast("Expression", sa.cast(column, _CASTS[target.type.base]))
        if target.field.type.base is Base.JSON and not target.field.type.array:
            return cast("Expression", self._jsonb(column, target.field.type))
        return column

    def _jsonb(self, column: sa.ColumnElement[Any], kind: FieldType) -> sa.ColumnElement[Any]:
        return sa.cast(column, pg.JSONB) if kind.native == "json" else column

    def _inside(self, target: Target, document: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """A place inside of a JSON document, as the type it is compared as; NULL where it is of another JSON type."""
        place = self._place(target, document)
        text = (
            document.op("#>>")(self._path(target.steps)) if target.steps else document.op("#>>")(sa.literal_column("'{}'::text[]"))
        ).collate("C")
        kind = target.type.base
        if target.as_text:
            return sa.cast(text, _CASTS[kind]) if target.cast else text
        if target.cast and kind is not Base.JSON:
            return sa.cast(text, _CASTS[kind])
        sort = sa.func.jsonb_typeof(place)
        if kind in {Base.FLOAT, Base.INTEGER, Base.BIGINT, Base.DECIMAL}:
            return sa.case((sort == sa.literal_column("'number'"), _double(place)))
        if kind is Base.BOOLEAN:
            return sa.case((sort == sa.literal_column("'boolean'"), sa.cast(place, sa.Boolean)))
        if kind in {Base.STRING, Base.TEXT}:
            return sa.case((sort == sa.literal_column("'string'"), text))
        return sa.func.nullif(place, sa.literal_column("'null'::jsonb"))

    def _place(self, target: Target, document: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return document.op("#>")(self._path(target.steps)) if target.steps else document

    @staticmethod
    def _path(steps: tuple[str | int, ...]) -> sa.ColumnElement[Any]:
        return sa.literal([str(step) for step in steps], pg.ARRAY(sa.Text))

    def output(self, target: Target, columns: Columns) -> Expression:
        """The value of `target` as the JSON answer shows it."""
        assert target.field is not None, "an answer shows fields"
        column = columns[target.field.name]
        if target.zone is not None and (target.cast or not target.steps):
            return self._moment(target, columns, target.zone)
        if target.steps:
            document = self._jsonb(column, target.field.type)
            value = document.op("#>>" if target.as_text else "#>")(self._path(target.steps))
            return cast(
                "Expression",
                sa.cast(value if target.as_text else document.op("#>>")(self._path(target.steps)), _CASTS[target.type.base])
                if target.cast
                else value,
            )
        if target.cast:
            return cast("Expression", self.shown(sa.cast(column, _CASTS[target.type.base]), FieldType(target.type.base)))
        return cast("Expression", self.shown(column, target.field.type))

    def _moment(self, target: Target, columns: Columns, zone: str) -> Expression:
        """A datetime, or a text or date made of one, as PostgreSQL shows it in a time zone."""
        assert target.field is not None, "an answer shows fields"
        column, kind = columns[target.field.name], target.field.type
        if target.type.base is not Base.DATETIME:
            return cast("Expression", cast_moment(column, kind, target.type.base, zone))
        if not target.cast:
            return cast("Expression", shown_moment(column, kind, zone))
        place = self._jsonb(column, kind).op("#>>")(self._path(target.steps)) if target.steps else column
        return cast("Expression", shown_moment(sa.cast(place, _CASTS[Base.DATETIME]), target.type, zone))

    def shown(self, column: sa.ColumnElement[Any], kind: FieldType) -> sa.ColumnElement[Any]:
        """A value of a type as the answer shows it."""
        if kind.array and kind.base in {Base.DATETIME, Base.BINARY, Base.NATIVE}:
            element = sa.func.unnest(column).column_valued("e")
            inner = sa.select(sa.func.array_agg(self.shown(element, kind.element))).scalar_subquery()
            return sa.case((column.is_not(None), sa.func.coalesce(inner, sa.literal_column("'{}'::text[]"))))
        if kind.base is Base.DATETIME:
            moment = column if kind.native == "timestamp" else sa.func.timezone(sa.literal_column("'UTC'"), column)
            shown = sa.func.to_char(moment, sa.literal_column(f"'{DATETIME_FORMAT}'"))
            return sa.case((sa.func.isfinite(column), shown), else_=sa.cast(column, sa.Text)) if kind.native else shown
        if kind.base is Base.BINARY:
            return sa.func.translate(
                sa.func.encode(column, sa.literal_column("'base64'")), sa.literal_column("E'\\n'"), sa.literal_column("''")
            )
        if kind.base is Base.NATIVE:
            return sa.cast(column, sa.Text)
        return column

    def present(self, target: Target, columns: Columns) -> Condition:
        """Whether the place exists: SQL NULL is "no such place", a JSON null exists."""
        document = columns["$element"] if target.element else self._document(target, columns)
        return document.op("#>")(self._path(target.steps)).is_not(None)

    def _document(self, target: Target, columns: Columns) -> sa.ColumnElement[Any]:
        assert target.field is not None, "only elements have no field"
        return self._jsonb(columns[target.field.name], target.field.type)

    def special(
        self, operator: Operator, target: Target, columns: Columns, value: Expression | None, node: Comparison, bind: Bind
    ) -> Condition:
        """Patterns, containment, full text, sizes and elements."""
        if operator is Operator.ELEM_MATCH:
            return self._element_matches(node, target, columns, bind)
        if operator is Operator.EXISTS:
            return self.comparable(target, columns).is_not(None)
        assert value is not None, "bind gives these operators their value"
        left = self._json_place(target, columns) if self._is_json(target) else self.comparable(target, columns)
        if operator is Operator.SIZE:
            return self._size(target, left) == value
        if operator in _TSQUERY:
            return self._text_search(operator, target, left, value, node)
        if operator in _CONTAINMENT:
            return left.op(_CONTAINMENT[operator], is_comparison=True)(value)
        return left.op(_SYMBOL[operator], is_comparison=True)(value)

    @staticmethod
    def _is_json(target: Target) -> bool:
        return target.type.base is Base.JSON and not target.type.array

    def _json_place(self, target: Target, columns: Columns) -> Expression:
        document = columns["$element"] if target.element else self._document(target, columns)
        return cast("Expression", self._place(target, document))

    @staticmethod
    def _size(target: Target, left: Expression) -> sa.ColumnElement[Any]:
        if target.type.array:
            return sa.func.cardinality(left)
        is_array = sa.func.jsonb_typeof(left) == sa.literal_column("'array'")
        return sa.case((is_array, sa.func.jsonb_array_length(left)))

    @staticmethod
    def _text_search(operator: Operator, target: Target, left: Expression, value: Expression, node: Comparison) -> Condition:
        language = [sa.cast(sa.literal(node.language, sa.Text), Native("regconfig"))] if node.language else []
        is_vector = target.field is not None and target.type.native == "tsvector"
        document = left if is_vector else sa.func.to_tsvector(*language, left)
        return document.op("@@", is_comparison=True)(_TSQUERY[operator](*language, value))

    def _element_matches(self, node: Comparison, target: Target, columns: Columns, bind: Bind) -> Condition:
        assert node.inner is not None, "bind gives elem_match its condition"
        values: sa.ColumnElement[Any]
        if target.type.array:
            values = sa.func.to_jsonb(self.comparable(target, columns))
        else:
            place = self._json_place(target, columns)
            values = sa.case((sa.func.jsonb_typeof(place) == sa.literal_column("'array'"), place))
        element = sa.func.jsonb_array_elements(values).table_valued("value").render_derived(name="element")
        inner = predicate(node.inner, {"$element": cast("Expression", element.c.value)}, bind, self)
        return sa.exists(sa.select(sa.literal_column("1")).select_from(element).where(inner))

    def quantified(self, operator: Operator, left: Expression, values: Expression, node: Comparison) -> Condition:
        """``left operator ANY|ALL (values)``; `in` is ``= ANY``."""
        symbol = "=" if operator is Operator.IN else _SYMBOL.get(operator)
        if symbol is None:
            raise InvalidParameter(f"The operator {operator} takes no any or all.")
        quantifier = sa.func.all if node.quantifier == "all" else sa.func.any
        return left.op(symbol, is_comparison=True)(quantifier(values))
