"""Binds a syntax tree to a collection: names resolved, hidden fields refused, values typed, limits applied, the order made total."""

from __future__ import annotations

from dataclasses import dataclass, replace

from portico.errors import InvalidCursor, InvalidParameter, InvalidRequest, OutOfRange, WrongType
from portico.model.collection import Collection, Relation
from portico.model.field import Base, Field, FieldType
from portico.query import ast
from portico.query.bound import (
    Bound,
    BoundFilter,
    BoundQuery,
    Coercer,
    Conjunction,
    Embedded,
    Keyset,
    Order,
    Output,
    Parameter,
    Predicate,
    Related,
    Special,
    Target,
)
from portico.query.coerce import text_coercer
from portico.query.conditions import TEXT, FilterBinder, Parameters, group
from portico.query.cursor import CursorState, cursor_coercer
from portico.query.grouped import grouped_outputs, is_count, is_grouped
from portico.query.includes import Includes, embeds_of, names_of
from portico.query.limits import DEFAULT_LIMITS, Limits
from portico.query.moments import UTC
from portico.query.names import Names, Resolve, cast_type

BIGINT = FieldType(Base.BIGINT)
_EVERYTHING = ast.Selected(ast.Path("*"))
_AGGREGATES = frozenset({"sum", "avg", "min", "max", "count"})
_NUMBERS = frozenset({Base.INTEGER, Base.BIGINT, Base.FLOAT, Base.DECIMAL, Base.NATIVE})


def bind(
    query: ast.Query,
    collection: Collection,
    *,
    hidden: frozenset[str] = frozenset(),
    limits: Limits = DEFAULT_LIMITS,
    resolve: Resolve | None = None,
    cursor: CursorState | None = None,
    first: int = 0,
) -> Bound:
    """Resolve `query` against `collection`.

    Args:
        query: what a syntax parsed. hidden: fields that the caller does not see, besides the collection's own.
        limits: how large the request may be. resolve: finds the collections of includes; None allows no include.
        cursor: where the raw values of a decoded cursor stand, and which of them are null; None begins at the first page.
        first: the index of the first parameter.
    Raises:
        UnknownField, HiddenField, InvalidRequest, InvalidParameter, InvalidCursor: the request does not fit the collection.
        UnknownRelation, AmbiguousRelation: an include does not say which documents. Forbidden: they are not the caller's to read.
        WrongType, OutOfRange: an operator does not apply to a type, or the request is too large.
    """
    parameters = Parameters(first, query.zone if query.zone != UTC else None)
    includes = Includes(parameters, limits, resolve)
    binder = _QueryBinder(parameters, FilterBinder(parameters, limits), limits, includes, query.zone)
    names = Names(collection, hidden | collection.security.hidden)
    bound = binder.bind(query, names, cursor=cursor)
    return Bound(bound, tuple(parameters.sources), tuple(parameters.coercers))


def bind_filter(
    node: ast.Node,
    collection: Collection,
    *,
    hidden: frozenset[str] | None = frozenset(),
    limits: Limits = DEFAULT_LIMITS,
    first: int = 0,
    zone: str | None = None,
) -> BoundFilter:
    """Resolve a filter alone (row filters, filter-wide changes).

    Args:
        node: the filter. hidden: as in `bind`; None hides nothing, for filters that the operator wrote. limits, first: as in `bind`.
        zone: the time zone of datetimes that name no offset; None is UTC.
    Raises:
        as `bind`.
    """
    parameters = Parameters(first, zone if zone != UTC else None)
    unseen = frozenset[str]() if hidden is None else hidden | collection.security.hidden
    predicate = FilterBinder(parameters, limits).bind(node, Names(collection, unseen))
    return BoundFilter(predicate, tuple(parameters.sources), tuple(parameters.coercers))


def key_coercers(collection: Collection) -> tuple[Coercer, ...]:
    """Read the parts of a document's address, percent-decoded, as the collection's key fields, in key order."""
    return tuple(text_coercer(field.type, field.name) for field in collection.key_fields)


@dataclass(slots=True)
class _QueryBinder:
    parameters: Parameters
    filters: FilterBinder
    limits: Limits
    includes: Includes
    zone: str | None

    def bind(
        self,
        query: ast.Query,
        names: Names,
        *,
        cursor: CursorState | None = None,
        depth: int = 0,
        relation: Relation | None = None,
        hoisted: bool = False,
    ) -> BoundQuery:
        """Bind one level; `depth` is how many includes lead here, by `relation`. What is `hoisted` becomes members of the level above."""
        outputs = self._outputs(query, names, depth, hoisted=hoisted)
        embeds = embeds_of(query, outputs)
        names = replace(names, embeds={name: embedded for name, (_, embedded) in embeds.items()})
        predicate = self._filter(query, names, [Related(embedded) for asked, embedded in embeds.values() if asked.inner])
        grouped = is_grouped(query, names.collection) and not hoisted
        outputs = grouped_outputs(outputs) if grouped else outputs
        order = self._grouped_order(query, names, outputs) if grouped else self._order(query, names)
        keyset = self._keyset(query, order, cursor, names.collection, grouped=grouped)
        bounded = relation is None or relation.many or query.limit is not None or grouped
        limit = self._limit(query.limit, self.limits.default_limit if relation is None else self.limits.included_limit) if bounded else None
        offset = self._count(query.offset, "offset", self.limits.max_offset) if query.offset is not None else None
        return BoundQuery(names.collection, outputs, predicate, order, limit, offset, keyset, query.count)

    def _outputs(self, query: ast.Query, names: Names, depth: int, *, hoisted: bool) -> tuple[Output | Embedded, ...]:
        selected = query.select if query.select is not None else (_EVERYTHING,)
        outputs: list[Output | Embedded] = []
        for item in selected:
            if isinstance(item, ast.Embed):
                outputs.append(self._embedded(item, names, depth + 1))
            elif item == _EVERYTHING:
                outputs.extend(Output(field.name, Target(field, field.type)) for field in names.visible())
            else:
                counted = not hoisted and is_count(item, names.collection)
                outputs.append(_output(replace(item, path=ast.Path("*"), aggregate="count") if counted else item, names))
        _refuse_duplicates(outputs)
        return tuple(outputs) if self.zone is None else tuple(_in_zone(output, self.zone) for output in outputs)

    def _filter(self, query: ast.Query, names: Names, required: list[Predicate]) -> Predicate | None:
        """The level's own filter, and the related documents that its includes require."""
        asked = [self.filters.bind(query.filter, names)] if query.filter is not None else []
        every = [*asked, *required]
        return group(every, Conjunction) if every else None

    def _embedded(self, embed: ast.Embed, names: Names, depth: int) -> Embedded:
        relation, other = self.includes.find(embed, names, depth)
        self.includes.check_aggregates(embed, relation, other)
        query = self.bind(embed.query, names_of(other), depth=depth, relation=relation, hoisted=embed.spread and not relation.many)
        limiting = self.includes.restrictions(other)
        if limiting:
            query = replace(query, filter=group([*([query.filter] if query.filter is not None else []), *limiting], Conjunction))
        return Embedded(embed.alias or embed.relation, relation, query, embed.spread, self.includes.join(relation))

    def _order(self, query: ast.Query, names: Names) -> tuple[Order, ...]:
        order: dict[tuple[object, ...], Order] = {}
        for item in query.order:
            target = self._related_target(item, item.relation, names) if item.relation is not None else _sort_target(item.path, names)
            nulls_first = item.descending if item.nulls_first is None else item.nulls_first
            place = (item.path.name, item.path.steps, item.path.as_text, item.relation)
            order.setdefault(place, Order(target, item.descending, nulls_first))
        for field in names.collection.key_fields:
            order.setdefault((field.name, (), False, None), Order(Target(field, field.type), descending=False, nulls_first=False))
        return tuple(order.values())

    def _related_target(self, item: ast.Ordered, name: str, names: Names) -> Target:
        """A sort key in the document of a to-one relation that the select includes."""
        embedded = names.embeds.get(name)
        if embedded is None:
            raise InvalidRequest(
                f"The relation {name[:64]!r} is not in the select, so it gives no order.",
                hint=f"Add {name[:64]}() to the select.",
                details={"relation": name[:64]},
            )
        if embedded.relation.many:
            raise InvalidRequest(
                f"The relation {name!r} leads to many documents, so it gives no order.", details={"relation": embedded.relation.name}
            )
        return replace(_sort_target(item.path, self.includes.names(embedded.relation)), within=(embedded,))

    def _grouped_order(self, query: ast.Query, names: Names, outputs: tuple[Output | Embedded, ...]) -> tuple[Order, ...]:
        """Groups are ordered by what they group by: as asked, else by each of it in turn."""
        groups = [replace(output.target, zone=None) for output in outputs if isinstance(output, Output) and not output.aggregate]
        asked = [
            (self._related_target(item, item.relation, names) if item.relation is not None else _sort_target(item.path, names), item)
            for item in query.order
        ]
        for target, item in asked:
            if target not in groups:
                raise InvalidRequest(
                    f"The order by {item.path.name!r} is not among the fields that the select groups by.", details={"field": item.path.name}
                )
        order = [
            Order(target, item.descending, item.descending if item.nulls_first is None else item.nulls_first) for target, item in asked
        ]
        named = [target for target, _ in asked]
        return (*order, *(Order(target, descending=False, nulls_first=False) for target in groups if target not in named))

    def _keyset(
        self, query: ast.Query, order: tuple[Order, ...], cursor: CursorState | None, collection: Collection, *, grouped: bool
    ) -> Keyset | None:
        if query.cursor is None and cursor is None:
            return None
        if grouped or not collection.primary_key:
            raise InvalidRequest("This query has no cursors, because its rows have no key.", hint="Page with offset.")
        if query.offset is not None:
            raise InvalidParameter("A cursor and an offset exclude each other.")
        if cursor is None:
            return None
        if len(cursor.nulls) != len(order):
            raise InvalidCursor("The cursor belongs to another query.")
        values: list[Parameter | None] = []
        for position, (item, null) in enumerate(zip(order, cursor.nulls, strict=True)):
            kind = item.target.type
            values.append(None if null else self.parameters.add(cursor.base + position, kind, cursor_coercer(kind)))
        return Keyset(tuple(values))

    def _limit(self, slot: ast.Slot | None, default: int) -> Parameter:
        if slot is None:
            return self.parameters.add(-1, Special.COUNT, lambda _: default)
        return self._count(slot, "limit", self.limits.max_limit)

    def _count(self, slot: ast.Slot, name: str, most: int) -> Parameter:
        return self.parameters.add(slot.index, Special.COUNT, count_coercer(name, most, from_text=slot.written is ast.Written.TEXT))


def count_coercer(name: str, most: int, *, from_text: bool) -> Coercer:
    """Reads a number of rows from 0 to `most`, from a text of the query string or from JSON.

    The coercer raises InvalidParameter for what is no whole number, OutOfRange beyond.
    """

    def read(raw: object) -> object:
        if from_text and isinstance(raw, str) and raw.isascii() and raw.removeprefix("-").isdigit():
            number = int(raw) if len(raw) <= 20 else most + 1
        elif isinstance(raw, int) and not isinstance(raw, bool):
            number = raw
        else:
            raise InvalidParameter(f"The {name} is not a whole number.", details={"parameter": name})
        if 0 <= number <= most:
            return number
        raise OutOfRange(f"The {name} is not between 0 and {most}.", details={"parameter": name})

    return read


def _output(item: ast.Selected, names: Names) -> Output:
    path = item.path
    if item.aggregate is not None and item.aggregate not in _AGGREGATES:
        raise InvalidParameter(f"There is no aggregate {item.aggregate[:64]!r}.", hint=f"Aggregates: {', '.join(sorted(_AGGREGATES))}.")
    if path.name == "*":
        if item.aggregate != "count":
            raise InvalidParameter("Only count() goes without a field.")
        target = Target(None, BIGINT)
    else:
        field = names.field(path)
        target = _output_target(path, field)
        _check_aggregate(item, target, field)
    # A place in a list is named by what the list is called.
    last = next((step for step in reversed(path.steps) if isinstance(step, str)), path.name)
    name = item.alias or item.aggregate or last
    cast = cast_type(item.aggregate_cast) if item.aggregate_cast is not None else None
    return Output(name, target, item.aggregate, cast)


def _in_zone(output: Output | Embedded, zone: str) -> Output | Embedded:
    """An answered member, its datetime as PostgreSQL shows it in a time zone."""
    return output if isinstance(output, Embedded) else replace(output, target=_zoned(output.target, zone))


def _zoned(target: Target, zone: str | None) -> Target:
    field = target.field
    made = target.cast and not target.steps and field is not None and field.type.base is Base.DATETIME and not field.type.array
    shown = target.type.base is Base.DATETIME or (made and target.type.base in {Base.TEXT, Base.DATE})
    return replace(target, zone=zone) if shown and zone is not None else target


def _output_target(path: ast.Path, field: Field) -> Target:
    if path.cast is not None:
        return Target(field, cast_type(path.cast), path.steps, path.as_text, cast=True)
    return Target(field, TEXT if path.as_text else field.type, path.steps, path.as_text)


def _check_aggregate(item: ast.Selected, target: Target, field: Field) -> None:
    if item.aggregate in {"sum", "avg"}:
        wrong = target.type.base not in _NUMBERS or target.type.array
    else:
        wrong = item.aggregate in {"min", "max"} and (target.type.base in {Base.JSON, Base.BINARY} or target.type.array)
    if wrong:
        raise WrongType(
            f"The aggregate {item.aggregate!r} does not apply to {field.name!r}, which is {target.type}.", details={"field": field.name}
        )


def _refuse_duplicates(outputs: list[Output | Embedded]) -> None:
    seen: set[str] = set()
    for output in outputs:
        for name in _answered(output):
            if name in seen:
                raise InvalidRequest(
                    f"The select names {name[:64]!r} twice.", hint="Give one of them an alias.", details={"field": name[:64]}
                )
            seen.add(name)


def _answered(output: Output | Embedded) -> list[str]:
    """The members of the answer that an output makes."""
    if isinstance(output, Output):
        return [output.name]
    if output.spread:
        return [name for inner in output.query.outputs for name in _answered(inner)]
    return [output.name] if output.query.outputs else []


def _sort_target(path: ast.Path, names: Names) -> Target:
    field = names.field(path)
    if path.cast is not None:
        raise InvalidRequest(f"The order by {path.name!r} has a cast.", hint="Casts are for select.", details={"field": path.name})
    if field.type.array or (field.type.base is Base.JSON and not path.steps):
        raise WrongType(f"The field {path.name!r} is {field.type}, which has no order.", details={"field": path.name})
    return Target(field, TEXT if path.as_text else field.type, path.steps, path.as_text)
