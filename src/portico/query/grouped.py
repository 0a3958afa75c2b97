"""Grouped selects (``select=status,total.sum(),count()``) as aggregations: what is not an aggregate is grouped by.

Their meaning is SQL's: the sum of nothing is null, and aggregates alone give one result of no documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from portico.errors import InvalidRequest
from portico.model.collection import Collection
from portico.model.field import Base, FieldType
from portico.query import ast
from portico.query.bound import BoundQuery, Embedded, Output, Target
from portico.query.bound_pipeline import Accumulated, BoundPipeline, Calculation, Column, Computed, Cut, Grouped, Key, Member, Step
from portico.query.expressions import average_type, decimal, plain_type

BIGINT = FieldType(Base.BIGINT)
JSON = FieldType(Base.JSON)


def is_grouped(query: ast.Query, collection: Collection) -> bool:
    """Whether a select of `collection` has aggregates, of its own or spread into it."""
    for item in query.select or ():
        if isinstance(item, ast.Embed):
            if item.spread and _aggregates(item.query):
                return True
        elif item.aggregate is not None or is_count(item, collection):
            return True
    return False


def _aggregates(query: ast.Query) -> bool:
    items = query.select or ()
    own = any(isinstance(item, ast.Selected) and item.aggregate is not None for item in items)
    return own or any(isinstance(item, ast.Embed) and item.spread and _aggregates(item.query) for item in items)


def is_count(item: ast.Selected, collection: Collection) -> bool:
    """Whether a member of a select is ``count`` without parentheses, as PostgREST counted once: there is no field of that name."""
    return item.path == ast.Path("count") and item.aggregate is None and "count" not in collection.by_name


def refuse_aggregates(query: ast.Query, collection: Collection) -> None:
    """Raise where a call that answers documents is asked for aggregates."""
    if is_grouped(query, collection):
        raise InvalidRequest("Aggregates are selected in lists alone.", details={"parameter": "select"})


def grouped_outputs(outputs: Sequence[Output | Embedded]) -> tuple[Output | Embedded, ...]:
    """The members of a grouped select: what is spread into it is as if it were its own, and a relation is a value to group by.

    Raises:
        InvalidRequest: a relation to many is spread.
    """
    return tuple(_hoisted(outputs, ()))


def _hoisted(outputs: Sequence[Output | Embedded], within: tuple[Embedded, ...]) -> Iterator[Output | Embedded]:
    for output in outputs:
        if isinstance(output, Output):
            yield replace(output, target=_counted(output.target, within))
        elif output.spread and output.relation.many:
            raise InvalidRequest(
                f"A select with aggregates spreads no relation to many, as {output.relation.name!r} is.",
                details={"relation": output.relation.name},
            )
        elif output.spread:
            yield from _hoisted(output.query.outputs, (*within, output))
        elif output.query.outputs:
            yield Output(output.name, Target(None, JSON, within=within, shows=output))
        elif not within:
            yield output


def _counted(target: Target, within: tuple[Embedded, ...]) -> Target:
    """A target of the related document that `within` leads to. To count these documents is to count where there is one."""
    if within and target.field is None and target.shows is None:
        last = within[-1]
        joined = last.query.collection.by_name[last.relation.foreign[0]]
        return Target(joined, joined.type, within=within)
    return replace(target, within=(*within, *target.within))


def as_pipeline(query: BoundQuery) -> BoundPipeline:
    """The aggregation that a bound grouped select is. Raises InvalidRequest."""
    if query.count is not None:
        raise InvalidRequest("A select with aggregates has no count of its own.", details={"parameter": "count"})
    assert query.limit is not None, "a list has a limit"
    stored: list[tuple[Column, Target]] = []
    keys: list[tuple[Column, Column]] = []
    results: list[tuple[Column, Accumulated]] = []
    casts: list[tuple[Column, Calculation]] = []
    members: list[Member] = []
    named: dict[Target, Column] = {}
    for place, output in enumerate(query.outputs):
        if isinstance(output, Embedded):
            assert not output.query.outputs, "bind makes values of the relations that are answered"
            continue
        source = Column(f"c{place}", plain_type(output.target.type))
        if output.target.field is not None or output.target.shows is not None:
            stored.append((source, output.target))
        if output.aggregate is None:
            found = Column(f"g{place}", source.type)
            keys.append((found, source))
            named.setdefault(replace(output.target, zone=None), found)
        else:
            result = _accumulated(output, source)
            found = Column(f"v{place}", result.type)
            results.append((found, result))
        if output.cast is not None:
            cast = Column(f"t{place}", plain_type(output.cast))
            casts.append((cast, Calculation("cast", (found,), cast.type)))
            found = cast
        members.append(Member(output.name, found, output.target.zone if found.type.base is Base.DATETIME else None))
    order = tuple(Key(named[item.target], item.descending, item.nulls_first) for item in query.order)
    steps: list[Step] = [Grouped(tuple(keys), tuple(results), (), always=not keys)]
    if casts:
        steps.append(Computed(tuple(casts)))
    if query.offset is not None:
        steps.append(Cut(order, offset=query.offset))
    return BoundPipeline(query.collection, tuple(stored), query.filter, tuple(steps), tuple(members), order, query.limit)


def _accumulated(output: Output, source: Column) -> Accumulated:
    kind = source.type
    match output.aggregate:
        case "count":
            return Accumulated("count", source if output.target.field is not None else None, BIGINT)
        case "avg":
            return Accumulated("avg", source, average_type(kind))
        case "sum":
            return Accumulated("sum", source, decimal(kind.scale) if kind.base is Base.DECIMAL else kind, zero=False)
    assert output.aggregate is not None, "the others are grouped by"
    return Accumulated(output.aggregate, source, kind)
