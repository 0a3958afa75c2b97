"""Aggregations on PostgreSQL: its way of writing expressions and accumulators."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.sql.elements import ColumnElement

from portico.engines.postgres.grammar import PostgresGrammar
from portico.engines.postgres.rows import Frame
from portico.engines.postgres.scoping import guard
from portico.engines.postgres.zones import shown_moment
from portico.engines.sql.embedding import Reaching
from portico.engines.sql.pipelines import GATHERED, Gathering, Ranks, Rows
from portico.engines.sql.predicates import Columns, Expression
from portico.model.collection import Collection
from portico.model.field import Base, Field, FieldType
from portico.query.bound import Parameter, Target
from portico.query.bound_pipeline import Accumulated, Calculation, Place
from portico.query.scoped import ScopeRule

ZERO: ColumnElement[Any] = sa.literal_column("0")
FINE: ColumnElement[Any] = sa.literal_column("1.000000000000000000000000000000")
"""A factor that gives a quotient thirty digits behind its point before it is rounded."""

UNKNOWN_SCALE = 16
_MOST_MEMBERS = 45
_SQL: dict[Base, sa.types.TypeEngine[Any]] = {
    Base.TEXT: sa.Text(),
    Base.BIGINT: sa.BigInteger(),
    Base.FLOAT: pg.DOUBLE_PRECISION(),
    Base.DECIMAL: sa.Numeric(),
    Base.BOOLEAN: sa.Boolean(),
    Base.UUID: pg.UUID(),
    Base.DATE: sa.Date(),
    Base.DATETIME: sa.DateTime(timezone=True),
    Base.JSON: pg.JSONB(),
    Base.BINARY: sa.LargeBinary(),
}
_COMPARE: dict[str, Callable[[Any, Any], ColumnElement[Any]]] = {
    "eq": lambda left, right: left.is_not_distinct_from(right),
    "ne": lambda left, right: left.is_distinct_from(right),
    "gt": lambda left, right: _sure(left > right),
    "gte": lambda left, right: _sure(left >= right),
    "lt": lambda left, right: _sure(left < right),
    "lte": lambda left, right: _sure(left <= right),
}


def _sure(value: ColumnElement[Any]) -> ColumnElement[Any]:
    """A condition without its third value."""
    return sa.func.coalesce(value, sa.false())


def _cast(value: Any, kind: FieldType) -> Any:
    made: Any = sa.cast(value, pg.ARRAY(_SQL[kind.base]) if kind.array else _SQL[kind.base])
    return made.collate("C") if kind.base is Base.TEXT and not kind.array else made


def _scaled(value: Any, scale: int | None) -> Any:
    return value if scale is None else sa.func.round(value, sa.literal_column(str(scale)))


class PostgresDialect:
    """Expressions of one statement, whose frame is `frame`."""

    ranks_sets = True

    def __init__(self, grammar: PostgresGrammar, frame: Frame) -> None:
        self.grammar = grammar
        self._frame = frame

    def bind(self, parameter: Parameter) -> Expression:
        """A value of the call."""
        return self._frame.bind(parameter)

    def rows(self, collection: Collection, rule: ScopeRule, number: int) -> Rows:
        """The rows of a collection in scope, which wait for the settings."""
        table = self.grammar.table(collection, f"t{number}")
        columns = self.grammar.columns(collection, table)
        limits = guard(rule, collection, columns, self._frame.scope, self.grammar, depth=number * 10)
        conditions = [self._frame.ready.is_not(None), *limits.conditions]
        return Rows((table, *limits.tables), columns, tuple(conditions), cast("Expression", limits.tenant.collate("C")))

    def within(self, query: sa.Select[Any]) -> sa.Select[Any]:
        """A query that looks at the frame."""
        return query.correlate(*self._frame.outer)

    def named(self, query: sa.Select[Any], name: str) -> sa.Subquery:
        """A subquery, which may look at the frame."""
        return query.subquery(name)

    def stored(self, target: Target, columns: Columns) -> Expression:
        """A stored value as Portico's own type."""
        if target.within or target.shows is not None:
            assert isinstance(self.grammar, Reaching), "statements that look at related documents know whose they are"
            return self.grammar.reached(target, columns, self.stored)
        assert target.field is not None, "a stored value is a field's"
        if target.steps or target.cast:
            return self.grammar.comparable(target, columns)
        column: Any = columns[target.field.name]
        kind = target.field.type
        array = pg.ARRAY if kind.array else lambda item: item
        match kind.base:
            case Base.STRING | Base.TEXT | Base.ENUM | Base.NATIVE:
                text = sa.cast(column, array(sa.Text()))
                return cast("Expression", text if kind.array else text.collate("C"))
            case Base.INTEGER:
                return cast("Expression", sa.cast(column, array(sa.BigInteger())))
            case Base.DATETIME if kind.native == "timestamp" and not kind.array:
                return cast("Expression", sa.func.timezone(sa.literal_column("'UTC'"), column))
            case Base.JSON if kind.array:
                return cast("Expression", sa.cast(column, pg.ARRAY(pg.JSONB)))
            case Base.JSON:
                return cast("Expression", sa.func.nullif(self.grammar.comparable(target, columns), sa.literal_column("'null'::jsonb")))
        return cast("Expression", column)

    def place(self, node: Place, column: Expression) -> Expression:
        """A place inside of a JSON column."""
        target = Target(Field("place", FieldType(Base.JSON)), node.type, node.steps)
        return self.grammar.comparable(target, {"place": column})

    def nothing(self, kind: FieldType) -> Expression:
        """A NULL of a type."""
        return cast("Expression", _cast(sa.null(), kind))

    def shown(self, value: Expression, kind: FieldType) -> Expression:
        """A value as a member of an object."""
        return cast("Expression", self.grammar.shown(value, kind))

    def moment(self, value: Expression, kind: FieldType, zone: str) -> Expression:
        """A datetime as PostgreSQL shows it in a time zone."""
        return cast("Expression", shown_moment(value, kind, zone))

    def built(self, members: list[tuple[str, Expression, FieldType]]) -> Expression:
        """An object as `jsonb`."""
        return cast("Expression", sa.cast(self.document([(name, self.shown(value, kind)) for name, value, kind in members]), pg.JSONB))

    def document(self, members: list[tuple[str, Expression]]) -> Expression:
        """An object as `json`, whose names are parameters. The function takes a hundred arguments, so a large one is put together."""
        pieces = [
            sa.func.json_build_object(
                *(part for name, value in members[at : at + _MOST_MEMBERS] for part in (sa.literal(name, sa.Text), value))
            )
            for at in range(0, max(len(members), 1), _MOST_MEMBERS)
        ]
        if len(pieces) == 1:
            return cast("Expression", pieces[0])
        inner = [sa.func.substr(text := sa.cast(piece, sa.Text), 2, sa.func.length(text) - 2) for piece in pieces]
        whole = sa.func.concat(sa.literal_column("'{'"), sa.func.concat_ws(sa.literal_column("', '"), *inner), sa.literal_column("'}'"))
        return cast("Expression", sa.cast(whole, pg.JSON))

    # --- operators -------------------------------------------------------------------------------------------------------

    def calculate(self, node: Calculation, arguments: list[Expression]) -> Expression:
        """An operator's result."""
        given = cast("list[Any]", arguments)
        name, kind = node.operator, node.type
        if name in {"add", "subtract", "multiply", "mod", "divide"}:
            return cast("Expression", self._arithmetic(name, given, kind))
        if name in _COMPARE:
            return cast("Expression", _COMPARE[name](given[0], given[1]))
        one = given[0]
        found: dict[str, Callable[[], Any]] = {
            "and": lambda: sa.and_(*(_sure(item) for item in given)),
            "or": lambda: sa.or_(*(_sure(item) for item in given)),
            "not": lambda: sa.not_(_sure(one)),
            "cond": lambda: sa.case((_sure(one), given[1]), else_=given[2]),
            "ifNull": lambda: sa.func.coalesce(*given),
            "concat": lambda: _cast(reduce(lambda left, right: left.op("||")(right), given), kind),
            "abs": lambda: sa.func.abs(one),
            "cast": lambda: _cast(one, kind),
            "convert": lambda: _scaled(_cast(one, kind), kind.scale),
            "size": lambda: sa.cast(sa.func.cardinality(one), sa.BigInteger),
            "jsonSize": lambda: sa.case(
                (sa.func.jsonb_typeof(one) == sa.literal_column("'array'"), sa.cast(sa.func.jsonb_array_length(one), sa.BigInteger))
            ),
        }
        if name in found:
            made = found[name]()
            return cast("Expression", made.collate("C") if kind.base is Base.TEXT and not kind.array else made)
        if name == "arrayElemAt":
            return cast("Expression", self._element(one, int(node.option("place")), kind))
        return cast("Expression", self._truncated(one, node) if name == "dateTrunc" else self._rounded(one, node))

    @staticmethod
    def _arithmetic(name: str, given: list[Any], kind: FieldType) -> Any:
        if kind.base is not Base.BIGINT:
            given = [_cast(item, kind) for item in given]
        if name == "divide" and kind.base is Base.DECIMAL:
            return _scaled(given[0] * FINE / given[1], UNKNOWN_SCALE if kind.scale is None else kind.scale)
        symbol = {"add": "+", "subtract": "-", "multiply": "*", "mod": "%", "divide": "/"}[name]
        made = reduce(lambda left, right: left.op(symbol, precedence=8)(right).self_group(), given)
        return made if kind.base is not Base.DECIMAL else _scaled(made, kind.scale)

    @staticmethod
    def _rounded(one: Any, node: Calculation) -> Any:
        kind, name = node.type, node.operator
        if name in {"floor", "ceil"}:
            return one if kind.base is Base.BIGINT else getattr(sa.func, name)(one)
        place = int(node.option("place"))
        if kind.base is Base.BIGINT and place >= 0:
            return one
        digits: Any = sa.literal_column(str(place))
        # A float is rounded as the shortest decimal that it is written as.
        exact = sa.cast(sa.cast(one, sa.Text), sa.Numeric) if kind.base is Base.FLOAT else sa.cast(one, sa.Numeric)
        rounded = sa.func.round(exact, digits)
        return _scaled(rounded, kind.scale) if kind.base is Base.DECIMAL else _cast(rounded, kind)

    @staticmethod
    def _element(array: Any, place: int, kind: FieldType) -> Any:
        index = sa.literal_column(str(place + 1)) if place >= 0 else sa.func.cardinality(array) + sa.literal_column(str(place + 1))
        return sa.type_coerce(array, pg.ARRAY(_SQL[kind.base]))[index]

    @staticmethod
    def _truncated(one: Any, node: Calculation) -> Any:
        unit: Any = sa.literal_column(f"'{node.option('unit')}'")
        back = (7 - int(node.option("start"))) % 7 if node.option("unit") == "week" else 0
        days: Any = sa.literal_column(f"interval '{back} days'")
        if node.type.base is Base.DATE:
            local = sa.func.date_trunc(unit, sa.cast(one, sa.DateTime) + days) - days
            return sa.cast(local, sa.Date)
        zone = sa.literal(str(node.option("timezone")), sa.Text)
        if node.option("unit") in {"hour", "minute", "second"}:
            return sa.func.date_trunc(unit, one, zone)
        return sa.func.timezone(zone, sa.func.date_trunc(unit, sa.func.timezone(zone, one) + days) - days)

    # --- accumulators ----------------------------------------------------------------------------------------------------

    def accumulate(self, node: Accumulated, value: Expression | None, ranks: Ranks) -> Expression:
        """A result over the rows of a group."""
        return cast("Expression", self._accumulated(node, cast("Any", value), ranks))

    def _accumulated(self, node: Accumulated, value: Any, ranks: Ranks) -> Any:  # noqa: PLR0911 - one for each function
        kind = node.type
        match node.function:
            case "count":
                return sa.func.count() if value is None else sa.func.count(value)
            case "countDistinct":
                return sa.func.count(sa.distinct(value))
            case "sum":
                total = sa.func.coalesce(sa.func.sum(value), ZERO) if node.zero else sa.func.sum(value)
                return _scaled(_cast(total, kind), kind.scale)
            case "avg":
                return self._average(node, value)
            case "min" | "max":
                return self._extreme(node, value)
            case "first" | "last":
                place = cast("Any", ranks.first if node.function == "first" else ranks.last)
                if kind.array:
                    return sa.func.max(value).filter(place == sa.literal_column("1"))
                only = sa.func.array_agg(value).filter(place == sa.literal_column("1"))
                return sa.type_coerce(only, pg.ARRAY(_SQL[kind.base]))[sa.literal_column("1")]
            case "push":
                rank = cast("Any", ranks.first)
                listed = sa.func.array_agg(pg.aggregate_order_by(value, rank)).filter(rank <= GATHERED, value.is_not(None))
                return sa.func.coalesce(listed, _cast(sa.literal_column("'{}'"), kind))
            case "addToSet":
                rank = cast("Any", ranks.distinct)
                listed = sa.func.array_agg(sa.distinct(value)).filter(rank <= GATHERED, value.is_not(None))
                return sa.func.coalesce(listed, _cast(sa.literal_column("'{}'"), kind))
            case "stdDevPop":
                return sa.cast(sa.func.stddev_pop(value), pg.DOUBLE_PRECISION)
        return self._percentile(node, value)

    @staticmethod
    def _average(node: Accumulated, value: Any) -> Any:
        kind = node.type
        if node.argument is not None and node.argument.type.base is Base.FLOAT:
            return sa.func.avg(value)
        exact = sa.func.sum(value) * FINE / sa.func.nullif(sa.func.count(value), ZERO)
        if kind.base is Base.FLOAT:
            return _cast(exact, kind)
        return _scaled(exact, UNKNOWN_SCALE if kind.scale is None else kind.scale)

    @staticmethod
    def _extreme(node: Accumulated, value: Any) -> Any:
        function = sa.func.min if node.function == "min" else sa.func.max
        if node.type.base is Base.UUID:
            return sa.cast(function(sa.cast(value, sa.Text).collate("C")), pg.UUID())
        if node.type.base is Base.BOOLEAN:
            return sa.func.bool_and(value) if node.function == "min" else sa.func.bool_or(value)
        return function(value)

    def _percentile(self, node: Accumulated, value: Any) -> Any:
        if node.continuous:
            value = sa.cast(value, pg.DOUBLE_PRECISION)
        function = sa.func.percentile_cont if node.continuous else sa.func.percentile_disc
        if node.function == "median":
            return function(sa.literal_column("0.5")).within_group(value.asc())
        assert node.fractions is not None, "bind gives a percentile its fractions"
        fractions = cast("Any", self.bind(node.fractions))
        nulls = sa.func.array_fill(_cast(sa.null(), node.type.element), pg.array([sa.func.cardinality(fractions)]))
        return sa.func.coalesce(function(fractions).within_group(value.asc()), nulls)

    # --- arrays ----------------------------------------------------------------------------------------------------------

    def elements(self, array: Expression, kind: FieldType, number: int) -> tuple[sa.FromClause, Expression, Expression]:
        """The elements of an array; JSON that is none is its own only element."""
        source: Any = array
        function = "unnest"
        if not kind.array:
            function = "jsonb_array_elements"
            is_array = sa.func.jsonb_typeof(source) == sa.literal_column("'array'")
            source = sa.case((is_array, source), (source.is_not(None), sa.func.jsonb_build_array(source)))
        table = getattr(sa.func, function)(source).table_valued("element", with_ordinality="place").render_derived(name=f"e{number}")
        element: Any = sa.type_coerce(table.c.element, _SQL[kind.base])
        if kind.base is Base.TEXT:
            element = element.collate("C")
        if not kind.array:
            element = sa.func.nullif(element, sa.literal_column("'null'::jsonb"))
        return table, element, table.c.place - sa.literal_column("1")

    def gather(self, source: sa.FromClause, rows: sa.Select[Any], number: int) -> Gathering:
        """The related documents, read for each row."""
        inner = rows.correlate(source, *self._frame.outer).subquery(f"i{number}")
        array = sa.func.coalesce(sa.func.array_agg(sa.cast(inner.c.body, pg.JSONB)), sa.literal_column("'{}'::jsonb[]"))
        found = sa.select(array.label("body"), sa.func.min(inner.c.tenant).label("least"), sa.func.max(inner.c.tenant).label("most"))
        lateral = found.select_from(inner).correlate(source, *self._frame.outer).lateral(f"g{number}")
        return Gathering(source.join(lateral, sa.true()), *(cast("Expression", lateral.c[name]) for name in ("body", "least", "most")))
