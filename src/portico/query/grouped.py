"""Grouped selects (``select=status,total.sum(),count()``) as aggregations: what is not an aggregate is grouped by.

Their meaning is SQL's: the sum of nothing is null, and aggregates alone give one result of no documents.
"""

from __future__ import annotations

from portico.errors import InvalidRequest
from portico.model.field import Base, FieldType
from portico.query import ast
from portico.query.bound import BoundQuery, Output, Target
from portico.query.bound_pipeline import Accumulated, BoundPipeline, Calculation, Column, Computed, Cut, Grouped, Key, Member, Step
from portico.query.expressions import average_type, decimal, plain_type

BIGINT = FieldType(Base.BIGINT)


def is_grouped(query: ast.Query) -> bool:
    """Whether a select has aggregates."""
    return any(isinstance(item, ast.Selected) and item.aggregate is not None for item in query.select or ())


def refuse_aggregates(query: ast.Query) -> None:
    """Raise where a call that answers documents is asked for aggregates."""
    if is_grouped(query):
        raise InvalidRequest("Aggregates are selected in lists alone.", details={"parameter": "select"})


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
        assert isinstance(output, Output), "bind refuses relations beside aggregates"
        source = Column(f"c{place}", plain_type(output.target.type))
        if output.target.field is not None:
            stored.append((source, output.target))
        if output.aggregate is None:
            found = Column(f"g{place}", source.type)
            keys.append((found, source))
            named.setdefault(output.target, found)
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
