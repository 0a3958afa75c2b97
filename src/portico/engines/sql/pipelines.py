"""Aggregations as one statement of nested subqueries: what the SQL engines share. What differs between them is a `Dialect`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from portico.engines.sql.predicates import Columns, Condition, Expression, Grammar, predicate
from portico.model.collection import Collection
from portico.model.field import Field, FieldType
from portico.query.bound import Parameter, Target
from portico.query.bound_pipeline import (
    Accumulated,
    BoundPipeline,
    Built,
    Calculation,
    Column,
    Computed,
    Constant,
    Cut,
    Filtered,
    Grouped,
    Key,
    Member,
    Nothing,
    Place,
    Related,
    Step,
    Unwound,
    Value,
    columns_in,
)
from portico.query.limits import MOST_GATHERED
from portico.query.scoped import Limited, ScopeRule

ONE: ColumnElement[Any] = sa.literal_column("1")
GATHERED: ColumnElement[Any] = sa.literal_column(str(MOST_GATHERED))
OVER = "too_many"
"""The column that says that an array would have had more than `MOST_GATHERED` elements."""


Made = sa.Subquery | sa.CTE


@dataclass(frozen=True, slots=True)
class Rows:
    """A collection's rows in scope: tables to read, columns by field name, conditions, and whose each row is."""

    tables: tuple[sa.FromClause, ...]
    columns: Columns
    conditions: tuple[Condition, ...]
    tenant: Expression


@dataclass(frozen=True, slots=True)
class Ranks:
    """Places of a row in its group, from 1: in the group's order, against it, and among the distinct values of one accumulator."""

    first: Expression | None
    last: Expression | None
    distinct: Expression | None


@dataclass(frozen=True, slots=True)
class Gathering:
    """Where the array of related documents comes from: what is read, the array, and the smallest and largest tenant in it."""

    source: sa.FromClause
    array: Expression
    least: Expression
    most: Expression


class Dialect(Protocol):
    """How one SQL engine writes the parts of an aggregation. None of it looks at values."""

    @property
    def grammar(self) -> Grammar:
        """Its way of writing conditions."""
        ...

    @property
    def ranks_sets(self) -> bool:
        """Whether it needs the places of distinct values to bound an array of them."""
        ...

    def bind(self, parameter: Parameter) -> Expression:
        """A value of the call."""
        ...

    def rows(self, collection: Collection, rule: ScopeRule, number: int) -> Rows:
        """The rows of a collection; `number` tells the tables of one statement apart."""
        ...

    def within(self, query: sa.Select[Any]) -> sa.Select[Any]:
        """A query of stored rows as it stands inside of the statement."""
        ...

    def named(self, query: sa.Select[Any], name: str) -> Made:
        """The rows of one step, for the next to read."""
        ...

    def stored(self, target: Target, columns: Columns) -> Expression:
        """A stored value in the form that Portico itself gives its type."""
        ...

    def place(self, node: Place, column: Expression) -> Expression:
        """A place inside of a JSON column."""
        ...

    def nothing(self, kind: FieldType) -> Expression:
        """A NULL of a type."""
        ...

    def calculate(self, node: Calculation, arguments: list[Expression]) -> Expression:
        """An operator's result."""
        ...

    def built(self, members: list[tuple[str, Expression, FieldType]]) -> Expression:
        """A JSON object as a value."""
        ...

    def accumulate(self, node: Accumulated, value: Expression | None, ranks: Ranks) -> Expression:
        """A result over the rows of a group."""
        ...

    def elements(self, array: Expression, kind: FieldType, number: int) -> tuple[sa.FromClause, Expression, Expression]:
        """The elements of an array of `kind` as a table, with an element and its place from 0."""
        ...

    def gather(self, source: sa.FromClause, rows: sa.Select[Any], number: int) -> Gathering:
        """The `body` of each of `rows`, which look at `source`, in an array."""
        ...

    def shown(self, value: Expression, kind: FieldType) -> Expression:
        """A value as a member of an answer's object."""
        ...

    def moment(self, value: Expression, kind: FieldType, zone: str) -> Expression:
        """A datetime as PostgreSQL shows it in a time zone."""
        ...

    def document(self, members: list[tuple[str, Expression]]) -> Expression:
        """The JSON object of an answer."""
        ...


@dataclass(slots=True)
class Compiler:
    """Writes one aggregation.

    Attributes:
        rule, lookups: how its collection is limited, and those that it looks up in. prefix: of the names of its steps.
        tenants: the columns that say whose rows went into a row: pairs of a smallest and a largest.
    """

    query: BoundPipeline
    rule: ScopeRule
    lookups: tuple[Limited, ...]
    dialect: Dialect
    prefix: str = "p"
    tenants: list[tuple[str, str]] = field(default_factory=list)
    bounded: bool = False
    _made: int = 0

    def rows(self) -> sa.Select[Any]:
        """The answer's rows in order, and one more: `body`, the tenants' columns, and `OVER` where there are arrays to bound."""
        return self.answered(marked=True).limit(cast("Any", self.dialect.bind(self.query.limit) + ONE))

    def answered(self, *, marked: bool) -> sa.Select[Any]:
        """Every row of the answer, in order: its `body`, and where it is `marked`, what `rows` carries beside it."""
        query = self.query
        needed = set(columns_in((query.output, query.order)))
        after: list[set[str]] = []
        for step in reversed(query.steps):
            after.append(set(needed))
            needed |= set(columns_in(step))
        rows = self._stored(needed)
        for step, wanted in zip(query.steps, reversed(after), strict=True):
            rows = self._step(step, rows, wanted)
        body = self.dialect.document(self._members(query.output, rows)).label("body")
        return _select(body, *(self._marks(rows) if marked else ())).order_by(*self.ordering(query.order, rows))

    def _members(self, members: tuple[Member, ...], rows: sa.FromClause) -> list[tuple[str, Expression]]:
        found: list[tuple[str, Expression]] = []
        for member in members:
            if isinstance(member.value, Column):
                value, kind = _of(rows, member.value), member.value.type
                shown = self.dialect.shown(value, kind) if member.zone is None else self.dialect.moment(value, kind, member.zone)
                found.append((member.name, shown))
            else:
                found.append((member.name, self.dialect.document(self._members(member.value, rows))))
        return found

    def ordering(self, order: Sequence[Key], rows: sa.FromClause) -> list[ColumnElement[Any]]:
        """ORDER BY keys; where NULLs come is always said."""
        keys: list[ColumnElement[Any]] = []
        for item in order:
            target = Target(Field(item.column.id, item.column.type), item.column.type)
            value = self.dialect.grammar.comparable(target, {item.column.id: _of(rows, item.column)})
            key = value.desc() if item.descending else value.asc()
            keys.append(key.nulls_first() if item.nulls_first else key.nulls_last())
        return keys

    def _named(self, query: sa.Select[Any]) -> Made:
        self._made += 1
        return self.dialect.named(query, f"{self.prefix}{self._made}")

    def _marks(self, rows: sa.FromClause) -> list[ColumnElement[Any]]:
        """What every row carries besides its values."""
        names = [name for pair in self.tenants for name in pair]
        return [rows.c[name] for name in [*names, OVER] if name in rows.c]

    def _carried(self, rows: sa.FromClause, wanted: set[str]) -> list[ColumnElement[Any]]:
        return [*(column for column in rows.c if column.key in wanted), *self._marks(rows)]

    def _stored(self, wanted: set[str]) -> Made:
        query = self.query
        source = self.dialect.rows(query.collection, self.rule, 0)
        values = [self.dialect.stored(target, source.columns).label(column.id) for column, target in query.columns if column.id in wanted]
        conditions = list(source.conditions)
        if query.filter is not None:
            conditions.append(predicate(query.filter, source.columns, self.dialect.bind, self.dialect.grammar))
        self.tenants.append(("least0", "most0"))
        chosen = _select(*values, source.tenant.label("least0"), source.tenant.label("most0"))
        return self._named(self.dialect.within(chosen.select_from(*source.tables).where(*conditions)))

    def _step(self, step: Step, rows: Made, wanted: set[str]) -> Made:
        made: sa.Select[Any]
        match step:
            case Filtered(node, names):
                columns = {name: _of(rows, column) for name, column in names}
                held = predicate(node, columns, self.dialect.bind, self.dialect.grammar)
                made = sa.select(*self._carried(rows, wanted)).where(held)
            case Computed(columns):
                values = [self.value(value, rows).label(column.id) for column, value in columns if column.id in wanted]
                made = sa.select(*self._carried(rows, wanted), *values)
            case Grouped():
                made = self._grouped(step, rows, wanted)
            case Unwound():
                made = self._unwound(step, rows, wanted)
            case Related():
                made = self._related(step, rows, wanted)
            case Cut(order, limit, offset):
                made = sa.select(*self._carried(rows, wanted)).order_by(*self.ordering(order, rows))
                made = made.limit(cast("Any", self.dialect.bind(limit))) if limit is not None else made
                made = made.offset(cast("Any", self.dialect.bind(offset))) if offset is not None else made
        return self._named(made)

    def value(self, node: Value, rows: sa.FromClause) -> Expression:
        """A value of a row."""
        match node:
            case Column():
                return _of(rows, node)
            case Place(column):
                return self.dialect.place(node, _of(rows, column))
            case Constant(parameter):
                return self.dialect.bind(parameter)
            case Nothing(kind):
                return self.dialect.nothing(kind)
            case Calculation(_, arguments):
                return self.dialect.calculate(node, [self.value(argument, rows) for argument in arguments])
            case Built(members):
                return self.dialect.built([(name, self.value(inner, rows), inner.type) for name, inner in members])

    # --- groups ----------------------------------------------------------------------------------------------------------

    def _grouped(self, step: Grouped, rows: Made, wanted: set[str]) -> sa.Select[Any]:
        results = [(column, result) for column, result in step.results if column.id in wanted]
        prepared = self._prepared(step, results, rows)
        keys = [prepared.c[column.id] for column, _ in step.keys]
        made: list[ColumnElement[Any]] = [*keys]
        for place, (column, result) in enumerate(results):
            value = prepared.c[f"a{place}"] if result.argument is not None else None
            ranks = Ranks(*(prepared.c.get(name) for name in ("first", "last", f"d{place}")))
            made.append(self.dialect.accumulate(result, value, ranks).label(column.id))
        for least, most in self.tenants:
            made += [sa.func.min(prepared.c[least]).label(least), sa.func.max(prepared.c[most]).label(most)]
        over = self._over(results, prepared)
        grouped = sa.select(*made, *([over.label(OVER)] if over is not None else [])).select_from(prepared)
        if keys:
            return grouped.group_by(*keys)
        return grouped if step.always else grouped.having(sa.func.count() > sa.literal_column("0"))

    def _prepared(self, step: Grouped, results: list[tuple[Column, Accumulated]], rows: Made) -> Made:
        """The rows with their group's keys, the accumulators' arguments, and their places where an accumulator asks for them."""
        functions = {result.function for _, result in results}
        values = [self.value(value, rows).label(column.id) for column, value in step.keys]
        arguments = [
            self.value(result.argument, rows).label(f"a{place}") for place, (_, result) in enumerate(results) if result.argument is not None
        ]
        ordered = [key.column.id for key in step.order] if functions & {"first", "last", "push"} else []
        kept = [rows.c[name].label(f"o{place}") for place, name in enumerate(ordered)]
        inner = self._named(_select(*values, *arguments, *kept, *self._marks(rows)))
        partition = [inner.c[column.id] for column, _ in step.keys]
        renamed = [Key(Column(f"o{place}", key.column.type), key.descending, key.nulls_first) for place, key in enumerate(step.order)]
        ranks: list[ColumnElement[Any]] = []
        if functions & {"first", "push"}:
            order = self.ordering(renamed, inner)
            ranks.append(sa.func.row_number().over(partition_by=partition or None, order_by=order or None).label("first"))
        if "last" in functions:
            back = self.ordering([Key(key.column, not key.descending, not key.nulls_first) for key in renamed], inner)
            ranks.append(sa.func.row_number().over(partition_by=partition or None, order_by=back or None).label("last"))
        if self.dialect.ranks_sets:
            for place, (_, result) in enumerate(results):
                if result.function == "addToSet":
                    value = inner.c[f"a{place}"]
                    ranks.append(
                        sa.func.dense_rank().over(partition_by=partition or None, order_by=value.asc().nulls_last()).label(f"d{place}")
                    )
        return self._named(_select(*inner.c, *ranks)) if ranks else inner

    def _over(self, results: list[tuple[Column, Accumulated]], rows: Made) -> ColumnElement[Any] | None:
        """1 or more where an array that was made here, or before, had too many elements."""
        found: list[ColumnElement[Any]] = [sa.func.max(rows.c[OVER])] if OVER in rows.c else []
        for place, (_, result) in enumerate(results):
            if result.function == "push":
                found.append(sa.case((sa.func.count() > GATHERED, ONE), else_=sa.literal_column("0")))
            elif result.function == "addToSet" and self.dialect.ranks_sets:
                distinct = sa.func.max(rows.c[f"d{place}"]).filter(rows.c[f"a{place}"].is_not(None))
                found.append(sa.case((distinct > GATHERED, ONE), else_=sa.literal_column("0")))
        if not found:
            return None
        self.bounded = True
        total = found[0]
        for item in found[1:]:
            total += item
        return total

    # --- arrays and relations --------------------------------------------------------------------------------------------

    def _unwound(self, step: Unwound, rows: Made, wanted: set[str]) -> sa.Select[Any]:
        self._made += 1
        table, element, place = self.dialect.elements(_of(rows, step.array), step.array.type, self._made)
        values = [element.label(step.element.id), place.label(step.place.id)]
        joined = rows.join(table, sa.true(), isouter=step.keep_empty)
        return sa.select(*self._carried(rows, wanted), *values).select_from(joined)

    def _related(self, step: Related, rows: Made, wanted: set[str]) -> sa.Select[Any]:
        lookup, limited = self.query.lookups[step.lookup], self.lookups[step.lookup]
        collection, number = lookup.collection, step.lookup + 1
        source = self.dialect.rows(collection, limited.rule, number)
        conditions = list(source.conditions)
        if limited.filter is not None:
            conditions.append(predicate(limited.filter, source.columns, self.dialect.bind, self.dialect.grammar))
        least, most = f"least{number}", f"most{number}"

        def stored(name: str) -> Expression:
            item = collection.by_name[name]
            return self.dialect.stored(Target(item, item.type), source.columns)

        far = [stored(name) for name in lookup.relation.foreign]
        keys = [stored(name) for name in collection.primary_key]
        if step.gathered is not None:
            members = [(item.name, self.dialect.shown(stored(item.name), column.type)) for column, item in step.columns]
            chosen = _select(self.dialect.document(members).label("body"), source.tenant.label("tenant")).select_from(*source.tables)
            here = [there == _of(rows, column) for there, column in zip(far, step.local, strict=True)]
            chosen = chosen.where(*conditions, *here).order_by(*keys).limit(cast("Any", GATHERED))
            found = self.dialect.gather(rows, chosen, number)
            self.tenants.append((least, most))
            carried = [column for column in self._carried(rows, wanted) if column.key not in {least, most}]
            made = [found.array.label(step.gathered.id), found.least.label(least), found.most.label(most)]
            return sa.select(*carried, *made).select_from(found.source)
        values = [stored(item.name).label(column.id) for column, item in step.columns if column.id in wanted]
        if step.place is not None and step.place.id in wanted:
            ranked = sa.func.row_number().over(partition_by=far, order_by=keys or None) - ONE
            values.append(ranked.label(step.place.id))
        theirs = [value.label(f"f{place}") for place, value in enumerate(far)]
        chosen = _select(*values, *theirs, source.tenant.label(least), source.tenant.label(most)).select_from(*source.tables)
        other = self.dialect.within(chosen.where(*conditions)).subquery(f"r{number}")
        meet = [other.c[f"f{place}"] == _of(rows, column) for place, column in enumerate(step.local)]
        joined = rows.join(other, sa.and_(*meet), isouter=step.keep_empty)
        carried = self._carried(rows, wanted)
        self.tenants.append((least, most))
        new = [column for column in other.c if not (column.key or "").startswith("f")]
        return sa.select(*carried, *new).select_from(joined)


def _of(rows: sa.FromClause, column: Column) -> Expression:
    return cast("Expression", rows.c[column.id])


def _select(*columns: ColumnElement[Any]) -> sa.Select[Any]:
    return cast("sa.Select[Any]", sa.select(*columns))
