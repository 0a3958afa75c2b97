"""Binds an aggregation to a collection: what each stage may speak of follows from the stages before it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from portico.errors import InvalidRequest, OutOfRange, UnknownField, WrongType
from portico.model.collection import Collection
from portico.model.field import Base, Field, FieldType
from portico.query import ast, pipeline
from portico.query.bind import count_coercer
from portico.query.bound import Conjunction, Parameter, Predicate, Special, Target
from portico.query.bound_pipeline import (
    BoundAggregation,
    BoundLookup,
    BoundPipeline,
    Column,
    Computed,
    Cut,
    Filtered,
    Grouped,
    Key,
    Nothing,
    Place,
    Related,
    Step,
    Unwound,
    Value,
)
from portico.query.conditions import FilterBinder, Parameters, group
from portico.query.expressions import BIGINT, JSON, ExpressionBinder, plain_type
from portico.query.growth import Growth, check_size
from portico.query.includes import Includes, names_of
from portico.query.limits import DEFAULT_LIMITS, Limits
from portico.query.names import Names, Resolve
from portico.query.nearest import nearest
from portico.query.shapes import Shape, copied, fields_of, flattened, members_of, object_of, renamed

MOST_MEMBERS = 500


def bind_pipeline(
    asked: pipeline.Pipeline,
    collection: Collection,
    *,
    hidden: frozenset[str] = frozenset(),
    limits: Limits = DEFAULT_LIMITS,
    resolve: Resolve | None = None,
) -> BoundAggregation:
    """Resolve a pipeline against `collection`.

    Args:
        asked: what a syntax parsed. hidden: fields that the caller does not see, besides the collection's own.
        limits: how large the call may be. resolve: finds the collections of `$lookup`; None allows none.
    Raises:
        UnknownField, HiddenField, InvalidRequest, WrongType, OutOfRange: the pipeline does not fit the collection.
    """
    binder = _PipelineBinder(Names(collection, hidden | collection.security.hidden), limits, resolve)
    return binder.bind(asked)


@dataclass(slots=True)
class _PipelineBinder:
    """The state between two stages.

    Attributes:
        names: of the collection that the documents begin with; its hidden fields are refused while `stored`.
        shape: their members. order: as asked. identity: columns that tell the rows apart, which make every order total.
        stored: the documents still are the collection's; `pristine`: nothing but filters came before.
        bounded: a stage said how many there are at most.
    """

    names: Names
    limits: Limits
    resolve: Resolve | None
    parameters: Parameters = field(default_factory=Parameters)
    shape: Shape = field(default_factory=dict)
    order: tuple[Key, ...] = ()
    identity: tuple[Column, ...] = ()
    stored: bool = True
    pristine: bool = True
    bounded: bool = False
    base: dict[str, Column] = field(default_factory=dict)
    filters: list[Predicate] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    lookups: list[BoundLookup] = field(default_factory=list)
    growth: Growth = field(default_factory=Growth)
    made: int = 0

    def bind(self, asked: pipeline.Pipeline) -> BoundAggregation:
        collection = self.names.collection
        self.base = {item.name: self.column(plain_type(item.type)) for item in collection.fields}
        self.shape = {item.name: self.base[item.name] for item in self.names.visible()}
        self.identity = tuple(self.base[name] for name in collection.primary_key)
        filter_binder = FilterBinder(self.parameters, self.limits)
        stages = list(asked.stages)
        while stages:
            self._stage(stages, filter_binder)
        columns = tuple((self.base[item.name], Target(item, item.type)) for item in collection.fields)
        bound = BoundPipeline(
            collection, columns, group(self.filters, Conjunction) if self.filters else None, tuple(self.steps), members_of(self.shape),
            self.total_order(), self._limit(), tuple(self.lookups),
        )  # fmt: skip
        return BoundAggregation(bound, tuple(self.parameters.sources), tuple(self.parameters.coercers))

    def _limit(self) -> Parameter:
        """How many rows are answered at most: what a stage said, within the limits, or a page."""
        most = self.limits.max_aggregated if self.bounded else self.limits.max_limit
        return self.parameters.add(-1, Special.COUNT, lambda _: most)

    def column(self, kind: FieldType) -> Column:
        """A new column."""
        self.made += 1
        if self.made > MOST_MEMBERS:
            raise OutOfRange(f"The pipeline makes more than {MOST_MEMBERS} values.")
        return Column(f"c{self.made}", kind)

    def total_order(self) -> tuple[Key, ...]:
        """The order that was asked for, and what tells equal rows apart."""
        named = {key.column for key in self.order}
        return (*self.order, *(Key(column) for column in self.identity if column not in named))

    def _stage(self, stages: list[pipeline.Stage], filters: FilterBinder) -> None:
        stage = stages.pop(0)
        match stage:
            case pipeline.Match():
                self._match(stage, filters)
            case pipeline.Group():
                self._group(stage)
            case pipeline.Counted(name):
                self._group(pipeline.Group(None, (pipeline.Accumulator(name, "count"),)))
                self.shape.pop("_id")
            case pipeline.Project():
                self._project(stage)
            case pipeline.Unwind():
                self._unwind(stage)
            case pipeline.Lookup():
                self._lookup(stage, stages)
            case pipeline.Sort(keys):
                self.order = tuple([Key(self._sorted(path), descending, descending) for path, descending in keys])
            case pipeline.Limit(slot):
                self._cut("$limit", slot, self.limits.max_aggregated)
                self.bounded = True
            case pipeline.Skip(slot):
                self._cut("$skip", slot, self.limits.max_offset)
        self.pristine = self.pristine and isinstance(stage, pipeline.Match)

    # --- names -----------------------------------------------------------------------------------------------------------

    def find(self, names: tuple[str, ...]) -> Value:
        """What a path means, as a value. Raises UnknownField, HiddenField, WrongType."""
        found = self.locate(names)
        return object_of(found) if isinstance(found, dict) else found

    def locate(self, names: tuple[str, ...]) -> Column | Place | Shape:
        """What a path means: a column, a place inside of one, or an object's members. Raises as `find`."""
        here: Column | Shape = self.shape
        for depth, name in enumerate(names):
            if isinstance(here, Column):
                return self._inside(here, names[depth:])
            if name not in here:
                raise self._unknown(names, here, depth)
            here = here[name]
        return here

    def _inside(self, column: Column, rest: tuple[str, ...]) -> Place:
        if column.type.base is not Base.JSON or column.type.array:
            raise WrongType(f"{rest[0][:64]!r} is asked of a value that is {column.type}, which has nothing inside.")
        steps = tuple(int(step) if step.isascii() and step.isdigit() and len(step) <= 9 else step for step in rest)
        return Place(column, steps, JSON)

    def _unknown(self, names: tuple[str, ...], here: Shape, depth: int) -> Exception:
        if self.stored and depth == 0:
            self.names.field(ast.Path(names[0]))  # says that it is hidden, or what is near
        text = ".".join(names)[:64]
        return UnknownField(
            f"The documents have no field {text!r} at this stage.", hint=nearest(names[depth], here),
            details={"field": text},
        )  # fmt: skip

    def _value(self, path: pipeline.FieldPath, what: str) -> Column | Place:
        found = self.locate(path.names)
        if isinstance(found, dict):
            raise InvalidRequest(f"{what} takes a value, and {'.'.join(path.names)[:64]!r} is an object.", hint="Name one of its members.")
        return found

    def _sorted(self, path: pipeline.FieldPath) -> Column:
        value = self._value(path, "$sort")
        if value.type.array:
            raise WrongType("An array has no order.", details={"field": ".".join(path.names)[:64]})
        return self._kept(value)

    def _kept(self, value: Value) -> Column:
        """`value` as a column."""
        if isinstance(value, Column):
            return value
        column = self.column(value.type)
        self.growth.note(column, value)
        self.steps.append(Computed(((column, value),)))
        return column

    # --- stages ----------------------------------------------------------------------------------------------------------

    def _match(self, stage: pipeline.Match, filters: FilterBinder) -> None:
        if stage.filter is None:
            return
        if self.pristine:
            # The stored documents themselves: every operator of a list, by the same indexes.
            self.filters.append(filters.bind(stage.filter, self.names))
            return
        flat = dict(flattened(self.shape))
        fields = tuple(Field(name, column.type, column.id) for name, column in flat.items())
        own = self.names.collection
        hidden = self.names.hidden if self.stored else frozenset[str]()
        unseen = tuple(item for item in own.fields if item.name in hidden)
        there = Collection(own.name, own.database, own.table, (*fields, *unseen), (), search=own.search if self.stored else None)
        predicate = filters.bind(renamed(stage.filter, flat), Names(there, hidden))
        spoken = fields_of(predicate)
        self.steps.append(Filtered(predicate, tuple([(name, column) for name, column in flat.items() if name in spoken])))

    def _group(self, stage: pipeline.Group) -> None:
        binder = ExpressionBinder(self.parameters, self.find)
        keys: list[tuple[Column, Value]] = []
        key = self._keyed(stage.key, binder, keys) if stage.key is not None else {}
        results = [(node.name, binder.accumulate(node)) for node in stage.accumulators]
        made = [(name, self.column(result.type), result) for name, result in results]
        for _, column, result in made:
            self.growth.note(column, result.argument)
        self.steps.append(Grouped(tuple(keys), tuple((column, result) for _, column, result in made), self.total_order()))
        self.shape = {"_id": key if stage.key is not None else self._kept(Nothing(JSON))}
        for name, column, _ in made:
            self.shape[name] = column
        self.order, self.identity = (), tuple(column for column, _ in keys)
        self.stored = False

    def _keyed(self, node: pipeline.Expression, binder: ExpressionBinder, keys: list[tuple[Column, Value]]) -> Column | Shape:
        """The group's key as members of the result; each value becomes a column to group by."""
        if isinstance(node, pipeline.Members):
            return {name: self._keyed(inner, binder, keys) for name, inner in node.members}
        return self._key_of(self.locate(node.names) if isinstance(node, pipeline.FieldPath) else binder.bind(node), keys)

    def _key_of(self, found: Value | Shape, keys: list[tuple[Column, Value]]) -> Column | Shape:
        if isinstance(found, dict):
            return {name: self._key_of(value, keys) for name, value in found.items()}
        if found.type.array or found.type.base is Base.BINARY:
            raise WrongType(f"A group's key cannot be {found.type}.", details={"field": "_id"})
        column = self.column(found.type)
        self.growth.note(column, found)
        keys.append((column, found))
        return column

    def _project(self, stage: pipeline.Project) -> None:
        for name in stage.without:
            if name not in self.shape and not (name == "_id"):
                raise self._unknown((name,), self.shape, 0)
        binder = ExpressionBinder(self.parameters, self.find)
        shape: Shape = {}
        if stage.additive:
            shape = {name: value for name, value in self.shape.items() if name not in stage.without}
        elif "_id" in self.shape and not self.stored and "_id" not in stage.without:
            shape["_id"] = self.shape["_id"]
        computed: list[tuple[Column, Value]] = []
        for name, node in stage.members:
            if isinstance(node, bool):
                self._keep(name.split("."), shape)
            else:
                shape[name] = self._shaped(node, binder, computed)
        if computed:
            self.steps.append(Computed(tuple(computed)))
        check_size(shape, MOST_MEMBERS)
        self.shape = shape
        # Its fields may be others by the same names now, so what was hidden is so no longer: it is not there.
        self.stored = self.stored and stage.additive

    def _keep(self, names: list[str], shape: Shape) -> None:
        """Take the member of that path over."""
        found = self.locate(tuple(names))
        here = shape
        for name in names[:-1]:
            inner = here.setdefault(name, {})
            if isinstance(inner, Column):
                raise InvalidRequest(f"$project keeps {name[:64]!r} and a part of it.")
            here = inner
        here[names[-1]] = self._kept(found) if isinstance(found, Place) else found

    def _shaped(self, node: pipeline.Expression, binder: ExpressionBinder, computed: list[tuple[Column, Value]]) -> Column | Shape:
        if isinstance(node, pipeline.Members):
            return {name: self._shaped(inner, binder, computed) for name, inner in node.members}
        found = self.locate(node.names) if isinstance(node, pipeline.FieldPath) else binder.bind(node)
        if isinstance(found, dict | Column):
            return found
        column = self.column(found.type)
        self.growth.note(column, found)
        computed.append((column, found))
        return column

    def _unwind(self, stage: pipeline.Unwind) -> None:
        value = self._value(stage.path, "$unwind")
        if not value.type.array and value.type.base is not Base.JSON:
            raise WrongType(f"$unwind takes an array, not {value.type}.", details={"field": ".".join(stage.path.names)[:64]})
        if not isinstance(value, Column):
            raise InvalidRequest(
                "$unwind takes a member, not a place inside of JSON.", hint="Give the place a name with $addFields before, and unwind that."
            )
        self.bounded = False
        element, place = self.column(value.type.element), self.column(BIGINT)
        self.steps.append(Unwound(value, element, place, stage.keep_empty))
        self._put(stage.path.names, element)
        self.identity = (*self.identity, place)
        if stage.index is not None:
            self.shape[stage.index] = place

    def _put(self, names: Iterable[str], column: Column | Shape) -> None:
        *above, last = names
        self.shape = copied(self.shape)
        here = self.shape
        for name in above:
            inner = here[name]
            assert not isinstance(inner, Column), "the path was found"
            here = inner
        here[last] = column

    def _lookup(self, stage: pipeline.Lookup, stages: list[pipeline.Stage]) -> None:
        if not self.stored:
            raise InvalidRequest(
                "$lookup follows a relation of the collection's documents, so it stands before $group and $project.",
                details={"operator": "$lookup"},
            )
        hint = stage.local if stage.local in self.names.collection.by_name else None
        includes = Includes(self.parameters, self.limits, self.resolve)
        relation, reached = includes.find(ast.Embed(stage.relation, ast.Query(), hint=hint), self.names, 1)
        wanted = [(stage.local, relation.local), (stage.foreign, relation.foreign)]
        if relation.through is not None or any(given is not None and (given,) != fields for given, fields in wanted):
            raise InvalidRequest(
                f"The collection declares no relation to {stage.relation[:64]!r} over these fields.", details={"operator": "$lookup"}
            )
        other, theirs = reached.collection, names_of(reached).visible()
        name = stage.name or relation.name
        local = tuple(self.base[item] for item in relation.local)
        keys = [item for item in other.key_fields if item not in theirs]
        columns = tuple((self.column(plain_type(item.type)), item) for item in (*theirs, *keys))
        self.lookups.append(BoundLookup(other, relation))
        following = stages[0] if stages else None
        if isinstance(following, pipeline.Unwind) and following.path.names == (name,):
            stages.pop(0)
            place, self.bounded = self.column(BIGINT), False
            self.steps.append(Related(len(self.lookups) - 1, local, columns, None, following.keep_empty, place))
            self.shape = {**self.shape, name: {item.name: column for column, item in columns if item not in keys}}
            self.identity = (*self.identity, *(column for column, item in columns if item.name in other.primary_key))
            if following.index is not None:
                self.shape[following.index] = place
            return
        gathered = self.column(replace(JSON, array=True))
        self.steps.append(Related(len(self.lookups) - 1, local, columns[: len(theirs)], gathered))
        self.shape = {**self.shape, name: gathered}

    def _cut(self, name: str, slot: ast.Slot, most: int) -> None:
        parameter = self.parameters.add(slot.index, Special.COUNT, count_coercer(name, most, from_text=False))
        order = self.total_order()
        if name == "$limit":
            last = self.steps[-1] if self.steps else None
            if isinstance(last, Cut) and last.limit is None and last.order == order:
                self.steps[-1] = replace(last, limit=parameter)
            else:
                self.steps.append(Cut(order, limit=parameter))
        else:
            self.steps.append(Cut(order, offset=parameter))
