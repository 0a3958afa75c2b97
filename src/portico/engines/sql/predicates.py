"""Predicates, sort keys and keysets as SQLAlchemy expressions: what the SQL engines share. What differs between them is a `Grammar`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol, cast

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from portico.model.collection import Collection
from portico.query.ast import Operator
from portico.query.bound import (
    Comparison,
    Conjunction,
    Disjunction,
    Embedded,
    Keyset,
    Negation,
    Order,
    Parameter,
    Predicate,
    Related,
    Target,
)

Expression = ColumnElement[object]
Condition = ColumnElement[bool]
Columns = Mapping[str, Expression]
"""The columns of one table alias, by field name."""

Bind = Callable[[Parameter], Expression]
"""Where a parameter's value comes from: a bound parameter, or a column of the joint statement's source."""


class Grammar(Protocol):
    """How one SQL engine writes what is not common SQL. Every method gives an expression; none looks at values."""

    def table(self, collection: Collection, alias: str) -> sa.FromClause:
        """The collection's table under an alias."""
        ...

    def columns(self, collection: Collection, source: sa.FromClause) -> Columns:
        """The columns of `source`, by field name, in the form that comparisons use."""
        ...

    def comparable(self, target: Target, columns: Columns) -> Expression:
        """The value of `target` as it is compared and sorted."""
        ...

    def output(self, target: Target, columns: Columns) -> Expression:
        """The value of `target` as the JSON answer shows it."""
        ...

    def present(self, target: Target, columns: Columns) -> Condition:
        """Whether the place inside of a JSON field exists (a JSON null does)."""
        ...

    def related(self, embedded: Embedded, columns: Columns) -> Condition:
        """Whether a row of `columns` has a related one, within the scope."""
        ...

    def special(
        self, operator: Operator, target: Target, columns: Columns, value: Expression | None, node: Comparison, bind: Bind
    ) -> Condition:
        """Operators that are not common SQL: patterns, containment, full text, sizes, elements. Raises NotSupported."""
        ...

    def quantified(self, operator: Operator, left: Expression, values: Expression, node: Comparison) -> Condition:
        """``left operator ANY|ALL (values)``, `values` being an array parameter."""
        ...


_COMMON: dict[Operator, Callable[[Expression, Expression], Condition]] = {
    Operator.EQ: lambda left, right: left == right,
    Operator.NEQ: lambda left, right: left != right,
    Operator.GT: lambda left, right: left > right,
    Operator.GTE: lambda left, right: left >= right,
    Operator.LT: lambda left, right: left < right,
    Operator.LTE: lambda left, right: left <= right,
    Operator.IS_DISTINCT: lambda left, right: left.is_distinct_from(right),
}

_UNARY: dict[Operator, Callable[[Expression], Condition]] = {
    Operator.IS_NULL: lambda left: left.is_(None),
    Operator.IS_TRUE: lambda left: left.is_(sa.true()),
    Operator.IS_FALSE: lambda left: left.is_(sa.false()),
    Operator.IS_UNKNOWN: lambda left: left.is_(None),
}


def predicate(node: Predicate, columns: Columns, bind: Bind, grammar: Grammar) -> Condition:
    """The condition that `node` is, over one table's `columns`."""
    match node:
        case Conjunction(children):
            return sa.and_(sa.true(), *(predicate(child, columns, bind, grammar) for child in children))
        case Disjunction(children):
            return sa.or_(sa.false(), *(predicate(child, columns, bind, grammar) for child in children))
        case Negation(child):
            return sa.not_(predicate(child, columns, bind, grammar))
        case Comparison():
            return _comparison(node, columns, bind, grammar)
        case Related(embedded):
            return grammar.related(embedded, columns)


def _comparison(node: Comparison, columns: Columns, bind: Bind, grammar: Grammar) -> Condition:
    if node.operator is Operator.EXISTS and node.target.steps:
        return grammar.present(node.target, columns)
    if node.operator in _UNARY:
        return _UNARY[node.operator](grammar.comparable(node.target, columns))
    value = bind(node.value) if node.value is not None else None
    if node.quantifier is not None or node.operator is Operator.IN:
        assert value is not None, "bind gives every quantified comparison its values"
        return grammar.quantified(node.operator, grammar.comparable(node.target, columns), value, node)
    if node.operator in _COMMON and value is not None:
        return _COMMON[node.operator](grammar.comparable(node.target, columns), value)
    return grammar.special(node.operator, node.target, columns, value, node, bind)


def ordering(
    order: tuple[Order, ...], columns: Columns, grammar: Grammar, nullable: Callable[[Order], bool]
) -> list[ColumnElement[object]]:
    """ORDER BY keys. NULLS FIRST or LAST is written only where a NULL can be and it is not the engine's own, so that an index serves."""
    keys: list[ColumnElement[object]] = []
    for item in order:
        value = grammar.comparable(item.target, columns)
        key = value.desc() if item.descending else value.asc()
        if nullable(item) and item.nulls_first is not item.descending:
            key = key.nulls_first() if item.nulls_first else key.nulls_last()
        keys.append(cast("ColumnElement[object]", key))
    return keys


def keyset_branches(keyset: Keyset, order: tuple[Order, ...], columns: Columns, bind: Bind, grammar: Grammar) -> list[Condition]:
    """The ranges of rows that come after the keyset's row: one for each equal prefix, disjoint, in any order.

    Each is a range of an index on the order's keys, so that a page reads no more rows than it gives (the one condition with
    OR that says the same reads every row before the page).
    """
    return [condition for condition, _ in keyset_ranges(keyset, order, columns, bind, grammar)]


def keyset_ranges(
    keyset: Keyset, order: tuple[Order, ...], columns: Columns, bind: Bind, grammar: Grammar
) -> list[tuple[Condition, tuple[Order, ...]]]:
    """As `keyset_branches`, each with the order in which an index gives its rows.

    In a range every leading key is either null or not, so where NULLs belong need not be said of it; said, it would hide the index.
    """
    ranges: list[tuple[Condition, tuple[Order, ...]]] = []
    prefix: list[Condition] = []
    for place, (item, value) in enumerate(zip(order, keyset.values, strict=True), start=1):
        left = grammar.comparable(item.target, columns)
        settled = tuple(replace(key, nulls_first=key.descending) for key in order[:place]) + order[place:]
        ranges.extend((sa.and_(*prefix, condition), settled) for condition in _after(left, item, value, bind))
        prefix.append(left.is_(None) if value is None else left == bind(value))
    return ranges


def _after(left: Expression, item: Order, value: Parameter | None, bind: Bind) -> list[Condition]:
    """The disjoint conditions under which `left` sorts after `value`."""
    if value is None:
        return [left.is_not(None)] if item.nulls_first else []
    beyond = left < bind(value) if item.descending else left > bind(value)
    return [beyond, left.is_(None)] if item.target.nullable and not item.nulls_first else [beyond]


def row_comparison(keyset: Keyset, order: tuple[Order, ...], columns: Columns, bind: Bind, grammar: Grammar) -> Condition | None:
    """``(a, b) > (x, y)`` where that says it all: every key not nullable, and all in one direction. Else None."""
    directions = {item.descending for item in order}
    plain = not any(item.target.nullable for item in order)
    if len(directions) != 1 or not plain or any(value is None for value in keyset.values):
        return None
    left = sa.tuple_(*(grammar.comparable(item.target, columns) for item in order))
    right = sa.tuple_(*(bind(value) for value in keyset.values if value is not None))
    return left < right if directions == {True} else left > right


def nullable_key(item: Order) -> bool:
    """Whether a sort key can be NULL."""
    return item.target.nullable


def table_of(columns: Columns) -> sa.FromClause:
    """The table, or alias of one, that columns are of."""
    table = cast("sa.ColumnClause[object]", next(iter(columns.values()))).table
    assert table is not None, "columns of a collection are of its table"
    return table
