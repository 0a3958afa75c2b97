"""The JSON body of an aggregation: MongoDB's stages, read into `query.pipeline`."""

from __future__ import annotations

from portico.errors import InvalidRequest, OutOfRange
from portico.query.nearest import refuse_unknown
from portico.query.pipeline import (
    Counted,
    Expression,
    FieldPath,
    Group,
    Limit,
    Lookup,
    Match,
    ParsedPipeline,
    Pipeline,
    Project,
    Skip,
    Sort,
    Stage,
    Unwind,
)
from portico.query.slots import Slots
from portico.syntax.mongo.expressions import Expressions, field_path, member_name, unknown
from portico.syntax.mongo.filters import parse_filter

MOST_STAGES = 50
MOST_EXPRESSIONS = 500
STAGES = ("match", "group", "project", "addFields", "set", "unwind", "lookup", "sort", "limit", "skip", "count")


def parse_pipeline(body: object) -> ParsedPipeline:
    """Parse the body of an aggregation.

    Args:
        body: the parsed JSON object, whose `pipeline` is an array of stages.
    Raises:
        UnknownParameter, UnknownOperator: an unknown member, stage or operator, named. InvalidRequest: malformed. OutOfRange: too large.
    """
    if not isinstance(body, dict):
        raise InvalidRequest('The body of an aggregation is {"pipeline": [...]}.')
    refuse_unknown(body, ("pipeline",))
    stages = body.get("pipeline")
    if not isinstance(stages, list):
        raise InvalidRequest("'pipeline' is an array of stages.", details={"parameter": "pipeline"})
    if len(stages) > MOST_STAGES:
        raise OutOfRange(f"A pipeline has at most {MOST_STAGES} stages.", details={"parameter": "pipeline"})
    parser = _Stages(Slots())
    parsed = tuple([parser.stage(stage) for stage in stages])
    return ParsedPipeline(Pipeline(parsed), tuple(parser.slots.values))


class _Stages:
    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.expressions = Expressions(slots, MOST_EXPRESSIONS)

    def stage(self, stage: object) -> Stage:  # noqa: PLR0911 - one for each stage
        if not isinstance(stage, dict) or len(stage) != 1:
            raise InvalidRequest('A stage is an object with one member, such as {"$match": {...}}.', details={"parameter": "pipeline"})
        name, value = next(iter(stage.items()))
        match name:
            case "$match":
                return Match(parse_filter(value, self.slots)[0])
            case "$group":
                return self._group(value)
            case "$project":
                return self._project(value)
            case "$addFields" | "$set":
                return self._add(name, value)
            case "$unwind":
                return self._unwind(value)
            case "$lookup":
                return self._lookup(value)
            case "$sort":
                return self._sort(value)
            case "$limit":
                return Limit(self.slots.add_json(self._count(name, value)))
            case "$skip":
                return Skip(self.slots.add_json(self._count(name, value)))
            case "$count":
                return Counted(member_name(value))
            case _:
                raise unknown(name, STAGES, "stage")

    @staticmethod
    def _count(name: str, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidRequest(f"{name} takes a whole number.", details={"operator": name})
        if name == "$limit" and value == 0:
            raise OutOfRange("$limit takes a number above 0.", details={"operator": name})
        return value

    def _group(self, value: object) -> Group:
        if not isinstance(value, dict) or "_id" not in value:
            raise InvalidRequest("$group takes an object with an _id: what to group by, or null.", details={"operator": "$group"})
        key = self.expressions.parse(value["_id"]) if value["_id"] is not None else None
        found = [self.expressions.accumulator(member_name(name), asked) for name, asked in value.items() if name != "_id"]
        return Group(key, tuple(found))

    def _project(self, value: object) -> Project:
        if not isinstance(value, dict) or not value:
            raise InvalidRequest("$project takes an object that is not empty.", details={"operator": "$project"})
        off = [name for name, asked in value.items() if _is_switch(asked) and not asked]
        if len(off) == len(value):
            return Project(without=tuple(off), additive=True)
        if any(name != "_id" for name in off):
            raise InvalidRequest("$project either keeps members or leaves them out; only _id may differ.", details={"operator": "$project"})
        members: list[tuple[str, Expression | bool]] = []
        for name, asked in value.items():
            if name in off:
                continue
            if _is_switch(asked):
                members.append((_dotted(name), True))
            else:
                members.append((member_name(name), self.expressions.parse(asked)))
        return Project(tuple(members), tuple(off))

    def _add(self, stage: str, value: object) -> Project:
        if not isinstance(value, dict) or not value:
            raise InvalidRequest(f"{stage} takes an object that is not empty.", details={"operator": stage})
        return Project(tuple([(member_name(name), self.expressions.parse(asked)) for name, asked in value.items()]), additive=True)

    @staticmethod
    def _unwind(value: object) -> Unwind:
        if not isinstance(value, dict):
            return Unwind(field_path(value))
        refuse_unknown(value, ("path", "preserveNullAndEmptyArrays", "includeArrayIndex"))
        keep, index = value.get("preserveNullAndEmptyArrays", False), value.get("includeArrayIndex")
        if not isinstance(keep, bool):
            raise InvalidRequest("preserveNullAndEmptyArrays is true or false.", details={"operator": "$unwind"})
        return Unwind(field_path(value.get("path")), keep, member_name(index) if index is not None else None)

    @staticmethod
    def _lookup(value: object) -> Lookup:
        if not isinstance(value, dict):
            raise InvalidRequest("$lookup takes an object.", details={"operator": "$lookup"})
        refuse_unknown(value, ("from", "as", "localField", "foreignField"))
        source, name = value.get("from"), value.get("as")
        local, foreign = value.get("localField"), value.get("foreignField")
        if not isinstance(source, str) or not all(item is None or isinstance(item, str) for item in (local, foreign)):
            raise InvalidRequest(
                "$lookup takes in from the name of a relation or of its collection; localField and foreignField are names.",
                details={"operator": "$lookup"},
            )
        return Lookup(
            source,
            member_name(name) if name is not None else None,
            local if isinstance(local, str) else None,
            foreign if isinstance(foreign, str) else None,
        )

    @staticmethod
    def _sort(value: object) -> Sort:
        if not isinstance(value, dict) or not 0 < len(value) <= 32:
            raise InvalidRequest("$sort takes an object of 1 to 32 fields.", details={"operator": "$sort"})
        keys: list[tuple[FieldPath, bool]] = []
        for name, direction in value.items():
            if isinstance(direction, bool) or direction not in (1, -1):
                raise InvalidRequest("The direction of a $sort is 1 or -1.", details={"operator": "$sort"})
            keys.append((field_path("$" + name), direction == -1))
        return Sort(tuple(keys))


def _is_switch(value: object) -> bool:
    return isinstance(value, bool) or (isinstance(value, int) and value in {0, 1})


def _dotted(name: str) -> str:
    field_path("$" + name)
    return name
