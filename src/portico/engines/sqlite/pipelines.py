"""Aggregations on SQLite: its way of writing expressions and accumulators."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, cast

import sqlalchemy as sa

from portico.engines.sql.embedding import Reaching
from portico.engines.sql.pipelines import Gathering, Ranks, Rows
from portico.engines.sql.predicates import Columns, Expression
from portico.engines.sqlite.documents import join_members
from portico.engines.sqlite.grammar import SqliteGrammar, text
from portico.engines.sqlite.scoping import Carried, Scoping
from portico.engines.sqlite.statement import Binder
from portico.engines.sqlite.storage import is_foreign, is_scaled
from portico.model.collection import Collection
from portico.model.field import Base, Field, FieldType
from portico.model.scope import Scope
from portico.query.bound import Parameter, Target
from portico.query.bound_pipeline import Accumulated, Calculation, Place
from portico.query.scoped import ScopeRule

_LOWER: Any = sa.literal_column("4294967295")
_HALF: Any = sa.literal_column("32")
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "eq": lambda left, right: left.is_not_distinct_from(right),
    "ne": lambda left, right: left.is_distinct_from(right),
    "gt": lambda left, right: _sure(left > right),
    "gte": lambda left, right: _sure(left >= right),
    "lt": lambda left, right: _sure(left < right),
    "lte": lambda left, right: _sure(left <= right),
}


def _sure(value: Any) -> Any:
    """A condition without its third value."""
    return sa.func.coalesce(value, sa.literal_column("0"))


def _number(value: int) -> Any:
    return sa.literal_column(str(value))


def _scale(kind: FieldType) -> int:
    """The digits behind the point of values that are integers; negative where they are not."""
    if kind.base is Base.BIGINT:
        return 0
    return (kind.scale or 0) if is_scaled(kind.element) else -1


class SqliteDialect:
    """Expressions of one statement."""

    ranks_sets = False

    def __init__(self, grammar: SqliteGrammar, binder: Binder, scope: Scope) -> None:
        self.grammar = grammar
        self._binder = binder
        self._scope = scope
        self.carried: list[Carried | None] = []

    def bind(self, parameter: Parameter) -> Expression:
        """A value of the call."""
        return self._binder(parameter)

    def rows(self, collection: Collection, rule: ScopeRule, number: int) -> Rows:
        """The rows of a collection in scope."""
        table = self.grammar.table(collection, f"t{number}")
        columns = self.grammar.columns(collection, table)
        scoping = Scoping(self._scope, self.grammar, self._binder)
        self.carried.append(scoping.carried_kind(rule, collection))
        within = scoping.predicate(rule, collection, columns, by_key=False)
        return Rows((table,), columns, () if within is None else (within,), scoping.carried(rule, collection, columns))

    def within(self, query: sa.Select[Any]) -> sa.Select[Any]:
        """A query of stored rows, as it is."""
        return query

    def named(self, query: sa.Select[Any], name: str) -> sa.CTE:
        """A common table expression: subqueries inside of each other would soon be too deep for SQLite's parser."""
        return query.cte(name)

    def stored(self, target: Target, columns: Columns) -> Expression:
        """A stored value as Portico's own type."""
        if target.within or target.shows is not None:
            assert isinstance(self.grammar, Reaching), "statements that look at related documents know whose they are"
            return self.grammar.reached(target, columns, self.stored)
        assert target.field is not None, "a stored value is a field's"
        kind = target.field.type
        column = columns[target.field.name]
        if target.cast or (target.steps and target.as_text):
            return self.grammar.comparable(target, columns)
        if target.steps:
            return self.place_of(column, target.steps, target.type)
        if kind.base is Base.JSON and not kind.array:
            return cast("Expression", sa.func.portico_json_value(self.grammar.clean(column)))
        if kind.array:
            return self.grammar.clean(column)
        value = self.grammar.comparable(target, columns)
        # A column of another program's may have a collation of its own, which an expression has not.
        return value.op("||")(text("")) if is_foreign(kind) and kind.base in {Base.STRING, Base.TEXT, Base.ENUM} else value

    def place(self, node: Place, column: Expression) -> Expression:
        """A place inside of a JSON column."""
        return self.place_of(column, node.steps, node.type)

    def place_of(self, column: Expression, steps: tuple[str | int, ...], kind: FieldType) -> Expression:
        """A place inside of a JSON document as a value of that type."""
        if kind.base is Base.JSON:
            return cast("Expression", sa.func.portico_json_value(self.grammar.json_at(column, steps)))
        return self.grammar.comparable(Target(Field("place", FieldType(Base.JSON)), kind, steps), {"place": column})

    def nothing(self, kind: FieldType) -> Expression:  # noqa: ARG002 - a NULL has no type here
        """A NULL."""
        return cast("Expression", sa.null())

    def shown(self, value: Expression, kind: FieldType) -> Expression:
        """A value as a member of an object."""
        return self.grammar.shown(value, kind)

    def moment(self, value: Expression, kind: FieldType, zone: str) -> Expression:
        """A datetime as PostgreSQL shows it in a time zone."""
        return self.grammar.moment(value, kind, zone)

    def built(self, members: list[tuple[str, Expression, FieldType]]) -> Expression:
        """An object as JSON text."""
        return self._object([(name, self.shown(value, kind)) for name, value, kind in members])

    def document(self, members: list[tuple[str, Expression]]) -> Expression:
        """An object as JSON, whose names are parameters."""
        return cast("Expression", sa.func.json(self._object(members)))

    @staticmethod
    def _object(members: list[tuple[str, Expression]]) -> Expression:
        return join_members([(sa.literal(name), value) for name, value in members])

    # --- operators -------------------------------------------------------------------------------------------------------

    def calculate(self, node: Calculation, arguments: list[Expression]) -> Expression:
        """An operator's result."""
        given = cast("list[Any]", arguments)
        name, kind = node.operator, node.type
        kinds = [argument.type for argument in node.arguments]
        if name in {"add", "subtract", "multiply", "mod", "divide"}:
            return cast("Expression", self._arithmetic(name, given, kinds, kind))
        if name in _COMPARE:
            return cast("Expression", _COMPARE[name](given[0], given[1]))
        one = given[0]
        found: dict[str, Callable[[], Any]] = {
            "and": lambda: sa.and_(*(_sure(item) == _number(1) for item in given)),
            "or": lambda: sa.or_(*(_sure(item) == _number(1) for item in given)),
            "not": lambda: _sure(one) == _number(0),
            "cond": lambda: sa.case((_sure(one) == _number(1), given[1]), else_=given[2]),
            "ifNull": lambda: sa.func.coalesce(*given),
            "concat": lambda: reduce(lambda left, right: left.op("||")(right), given),
            "cast": lambda: self._cast(one, kinds[0], kind),
            "convert": lambda: self._converted(one, kinds[0], kind),
            "size": lambda: sa.func.json_array_length(one),
            "jsonSize": lambda: sa.case((sa.func.json_type(one) == text("array"), sa.func.json_array_length(one))),
            "arrayElemAt": lambda: sa.func.portico_element(one, _number(int(node.option("place"))), text(kind.base), _number(_scale(kind))),
            "dateTrunc": lambda: sa.func.portico_truncate(
                one, text(str(node.option("unit"))), sa.literal(str(node.option("timezone"))), _number(int(node.option("start")))
            ),
            "abs": lambda: sa.case((one < _number(0), self._arithmetic("subtract", [_number(0), one], [kind, kind], kind)), else_=one),
        }
        if name == "concat" and len(given) == 1:
            return cast("Expression", one)
        return cast("Expression", found[name]() if name in found else self._rounded(one, node))

    def _arithmetic(self, name: str, given: list[Any], kinds: list[FieldType], kind: FieldType) -> Any:
        scale = _scale(kind)
        if scale < 0:
            numbers = [self._converted(one, own, FieldType(Base.FLOAT)) for one, own in zip(given, kinds, strict=True)]
            return sa.func.portico_floating(text(name), *numbers)
        if name == "divide":
            return sa.func.portico_quotient(given[0], given[1], _number(scale + _scale(kinds[1]) - _scale(kinds[0])))
        if name != "multiply":
            given = [self._converted(one, own, kind) for one, own in zip(given, kinds, strict=True)]
        return sa.func.portico_whole(text(name), *given)

    @staticmethod
    def _converted(one: Any, kind: FieldType, wanted: FieldType) -> Any:
        """A number as another type of number."""
        before, after = _scale(kind), _scale(wanted)
        if after < 0:
            number = sa.cast(one, sa.REAL)
            return number / _number(10**before).op("*")(sa.literal_column("1.0")) if before > 0 else number
        return one if after == before else sa.func.portico_scaled(one, _number(after - before))

    @staticmethod
    def _cast(one: Any, kind: FieldType, wanted: FieldType) -> Any:
        """A result as another type, through the text that it is shown as."""
        numeric = kind.base in {Base.BIGINT, Base.DECIMAL, Base.FLOAT, Base.BOOLEAN}
        shown = sa.func.portico_member(one, text(kind.base), _number(_scale(kind))) if numeric else one
        return sa.case((one.is_not(None), sa.func.portico_cast(shown, text(wanted.base))))

    @staticmethod
    def _rounded(one: Any, node: Calculation) -> Any:
        kind, name = node.arguments[0].type, node.operator
        scale = _scale(kind)
        if name in {"floor", "ceil"}:
            return one if kind.base is Base.BIGINT else sa.func.portico_stepped(one, _number(name == "ceil"), _number(scale))
        place = int(node.option("place"))
        if scale < 0:
            return sa.func.portico_rounded_float(one, _number(place))
        return sa.func.portico_rounded(one, _number(scale), _number(place), _number(_scale(node.type)))

    # --- accumulators ----------------------------------------------------------------------------------------------------

    def accumulate(self, node: Accumulated, value: Expression | None, ranks: Ranks) -> Expression:
        """A result over the rows of a group."""
        return cast("Expression", self._accumulated(node, cast("Any", value), ranks))

    def _accumulated(self, node: Accumulated, value: Any, ranks: Ranks) -> Any:  # noqa: PLR0911 - one for each function
        kind = node.argument.type if node.argument is not None else node.type
        scale = _scale(kind)
        match node.function:
            case "count":
                return sa.func.count() if value is None else sa.func.count(value)
            case "countDistinct":
                return sa.func.count(sa.distinct(value))
            case "sum":
                exact = sa.func.portico_total(*self._halves(value)) if scale >= 0 else sa.func.portico_finite(sa.func.sum(value))
                return sa.func.coalesce(exact, sa.literal_column("0" if scale >= 0 else "0.0")) if node.zero else exact
            case "avg":
                if scale < 0:
                    return sa.func.avg(value)
                digits = _scale(node.type) - scale if node.type.base is Base.DECIMAL else -1
                return sa.func.portico_average(*self._halves(value), sa.func.count(value), _number(digits))
            case "min" | "max":
                return (sa.func.min if node.function == "min" else sa.func.max)(value)
            case "first" | "last":
                place = cast("Any", ranks.first if node.function == "first" else ranks.last)
                return sa.func.max(value).filter(place == _number(1))
            case "push":
                return sa.func.portico_push(value, ranks.first, text(kind.base), _number(scale))
            case "addToSet":
                return sa.func.portico_set(value, text(kind.base), _number(scale))
            case "stdDevPop":
                return sa.func.portico_deviation(value, _number(scale))
        fractions = self.bind(node.fractions) if node.fractions is not None else text("[0.5]")
        single, continuous = _number(int(node.function == "median")), _number(int(node.continuous))
        return sa.func.portico_percentile(value, fractions, text(kind.base), _number(scale), continuous, single)

    @staticmethod
    def _halves(value: Any) -> tuple[Any, Any]:
        """The sums of the upper and of the lower halves, neither of which overflows: SQLite's own sum fails on the way to one that fits."""
        return sa.func.sum(value.op(">>")(_HALF)), sa.func.sum(value.op("&")(_LOWER))

    # --- arrays ----------------------------------------------------------------------------------------------------------

    def elements(self, array: Expression, kind: FieldType, number: int) -> tuple[sa.FromClause, Expression, Expression]:
        """The elements of an array; JSON that is none is its own only element."""
        source: Any = array
        if not kind.array:
            alone = sa.func.json_array(sa.func.json(source))
            source = sa.case((sa.func.json_type(source) == text("array"), source), (source.is_not(None), alone))
        each = sa.func.json_each(source).table_valued("key", "value", name=f"e{number}")
        one = kind.element
        plain = one.base in {Base.TEXT, Base.BIGINT, Base.BOOLEAN, Base.UUID, Base.DATE, Base.DATETIME}
        value = each.c.value if plain else sa.func.portico_element(source, each.c.key, text(one.base), _number(_scale(one)))
        return each, value, each.c.key

    def gather(self, source: sa.FromClause, rows: sa.Select[Any], number: int) -> Gathering:
        """The related documents, read for each row."""

        def read(name: str, what: Callable[[Any], Any]) -> Expression:
            inner = rows.correlate(source).subquery(f"{name}{number}")
            return cast("Expression", sa.select(what(inner.c)).select_from(inner).correlate(source).scalar_subquery())

        def listed(columns: Any) -> Any:
            return text("[").op("||")(sa.func.coalesce(sa.func.group_concat(columns.body, text(",")), text(""))).op("||")(text("]"))

        return Gathering(
            source,
            read("i", listed),
            read("l", lambda columns: sa.func.min(columns.tenant)),
            read("m", lambda columns: sa.func.max(columns.tenant)),
        )
