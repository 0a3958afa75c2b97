"""Types expressions and accumulators of an aggregation: each operator is checked against its arguments' types and gets its result's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from portico.errors import InvalidRequest, WrongType
from portico.model.field import Base, FieldType
from portico.query.bound_pipeline import Accumulated, Built, Calculation, Column, Constant, Nothing, Place, Value
from portico.query.coerce import json_coercer
from portico.query.conditions import Parameters
from portico.query.pipeline import Accumulator, Expression, FieldPath, Literal, Members, Operation

TEXT, BIGINT, FLOAT = FieldType(Base.TEXT), FieldType(Base.BIGINT), FieldType(Base.FLOAT)
BOOLEAN, JSON = FieldType(Base.BOOLEAN), FieldType(Base.JSON)
DIGITS = 18
"""The digits of a decimal result, and the most behind its point: what 64 bits hold."""

AVERAGE_DIGITS = 6
"""Digits that an average or quotient of decimals has behind the point beyond those of what it is made of."""

_NUMBERS = frozenset({Base.BIGINT, Base.FLOAT, Base.DECIMAL})
_ORDERED = frozenset({Base.TEXT, Base.BIGINT, Base.FLOAT, Base.DECIMAL, Base.BOOLEAN, Base.UUID, Base.DATE, Base.DATETIME})
_ARITHMETIC = frozenset({"add", "subtract", "multiply", "divide", "mod"})
_COMPARED = frozenset({"eq", "ne", "gt", "gte", "lt", "lte"})
_LITERAL_READ = frozenset({Base.UUID, Base.DATE, Base.DATETIME})

Find = Callable[[tuple[str, ...]], Value]
"""Finds what a field path means; an object is a `Built` of its members."""


def plain_type(kind: FieldType) -> FieldType:
    """The type of a stored field's values within a pipeline: Portico's own, in 64 bits, text whatever its length."""
    base = {Base.STRING: Base.TEXT, Base.ENUM: Base.TEXT, Base.NATIVE: Base.TEXT, Base.INTEGER: Base.BIGINT}.get(kind.base, kind.base)
    exact = base is Base.DECIMAL and kind.native is None
    return FieldType(base, precision=kind.precision if exact else None, scale=kind.scale if exact else None, array=kind.array)


def decimal(scale: int | None) -> FieldType:
    """A decimal result with so many digits behind its point."""
    return FieldType(Base.DECIMAL) if scale is None else FieldType(Base.DECIMAL, precision=DIGITS, scale=min(scale, DIGITS))


@dataclass(slots=True)
class ExpressionBinder:
    """Binds expressions; values become parameters. `find` is that of the stage that is being bound."""

    parameters: Parameters
    find: Find

    def bind(self, node: Expression) -> Value:
        """One value. Raises UnknownField, HiddenField, WrongType, InvalidRequest."""
        match node:
            case FieldPath(names):
                return self.find(names)
            case Literal():
                return self._literal(node)
            case Members(members):
                return Built(tuple([(name, self.bind(inner)) for name, inner in members]), JSON)
            case Operation():
                return self._operation(node)

    def _literal(self, node: Literal, kind: FieldType | None = None) -> Value:
        if node.slot is None or node.type is None:
            return Nothing(kind or TEXT)
        wanted = kind or node.type
        return Constant(self.parameters.add(node.slot.index, wanted, json_coercer(wanted, "a value of the pipeline")), wanted)

    def _operation(self, node: Operation) -> Value:
        name = node.operator
        if name in _COMPARED:
            return self._comparison(node)
        if name in {"cond", "ifNull"}:
            return self._choice(node)
        arguments = [self.bind(argument) for argument in node.arguments]
        if name in _ARITHMETIC:
            return self._arithmetic(name, [_number(value, name) for value in arguments])
        if name in {"and", "or", "not"}:
            return Calculation(name, tuple([_as(value, BOOLEAN, name) for value in arguments]), BOOLEAN)
        if name == "concat":
            return Calculation(name, tuple([_as(value, TEXT, name) for value in arguments]), TEXT)
        if name == "dateTrunc":
            return _truncated(arguments[0], node)
        if name in {"size", "arrayElemAt"}:
            return _of_array(arguments[0], node)
        return _rounded(_number(arguments[0], name), node)

    def _arithmetic(self, name: str, arguments: list[Value]) -> Value:
        kind = _numeric(name, [value.type for value in arguments])
        if name == "mod" and kind.base is Base.FLOAT:
            raise WrongType("$mod takes integers and decimals, not floats.", details={"operator": "$mod"})
        return Calculation(name, tuple(arguments), kind)

    def _comparison(self, node: Operation) -> Value:
        left, right = self._alike(node.operator, list(node.arguments))
        if node.operator not in {"eq", "ne"} and (left.type.base not in _ORDERED or left.type.array):
            raise _wrong(node.operator, left.type)
        return Calculation(node.operator, (left, right), BOOLEAN)

    def _choice(self, node: Operation) -> Value:
        given = list(node.arguments)
        test = [_as(self.bind(given[0]), BOOLEAN, "cond")] if node.operator == "cond" else []
        choices = self._alike(node.operator, given[len(test) :], one_type=True)
        return Calculation(node.operator, (*test, *choices), choices[0].type)

    def _alike(self, operator: str, nodes: list[Expression], *, one_type: bool = False) -> list[Value]:
        """Values that can be compared: a text that stands in the pipeline is read as what it is compared with; null has any type."""
        bound = [None if isinstance(node, Literal) else self.bind(node) for node in nodes]
        known = next((value.type for value in bound if value is not None and value.type.base is not Base.JSON), None)
        values: list[Value] = []
        for node, value in zip(nodes, bound, strict=True):
            if isinstance(node, Literal):
                reads = known is not None and not known.array and known.base in _LITERAL_READ and node.type == TEXT
                values.append(self._literal(node, known if reads or node.slot is None else None))
            else:
                assert value is not None, "all but literals are bound"
                values.append(value)
        kinds = [value.type for value in values if not isinstance(value, Nothing)]
        return [_unified(value, kinds, operator, one_type=one_type) for value in values]

    # --- accumulators ----------------------------------------------------------------------------------------------------

    def accumulate(self, node: Accumulator) -> Accumulated:
        """One result of a group."""
        name = node.function
        if node.argument is None:
            return Accumulated("count", None, BIGINT)
        value = self.bind(node.argument)
        if name == "push":
            return Accumulated(name, value, _list_of(value.type, name))
        if name == "addToSet":
            return Accumulated(name, value, _list_of(value.type, name))
        if name == "countDistinct":
            return Accumulated(name, value, BIGINT)
        if name in {"first", "last"}:
            return Accumulated(name, value, value.type)
        if name in {"min", "max"}:
            value = _number(value, name) if isinstance(value, Place) else value
            if value.type.base not in _ORDERED or value.type.array:
                raise _wrong(name, value.type)
            return Accumulated(name, value, value.type)
        return self._statistic(node, _number(value, name))

    def _statistic(self, node: Accumulator, value: Value) -> Accumulated:
        kind = value.type
        match node.function:
            case "sum":
                return Accumulated("sum", value, kind if kind.base is not Base.DECIMAL else decimal(kind.scale))
            case "avg":
                return Accumulated("avg", value, average_type(kind))
            case "percentile":
                assert node.fractions is not None, "the parser gives $percentile its fractions"
                fractions = self.parameters.add(node.fractions.index, FieldType(Base.FLOAT, array=True), json_coercer(
                    FieldType(Base.FLOAT, array=True), "p"
                ))  # fmt: skip
                one = FLOAT if node.continuous else kind
                return Accumulated("percentile", value, replace(one, array=True), fractions, node.continuous)
            case "median":
                return Accumulated("median", value, FLOAT if node.continuous else kind, continuous=node.continuous)
        return Accumulated(node.function, value, FLOAT)


def average_type(kind: FieldType) -> FieldType:
    """The type of an average: decimals stay exact to a number of digits, all else is a float."""
    if kind.base is not Base.DECIMAL:
        return FLOAT
    return decimal(None if kind.scale is None else kind.scale + AVERAGE_DIGITS)


def _wrong(operator: str, kind: FieldType) -> WrongType:
    return WrongType(f"${operator} does not apply to {kind}.", details={"operator": f"${operator}"})


def _as(value: Value, kind: FieldType, operator: str) -> Value:
    """`value` as that type: a place inside JSON is read so; anything else must have it."""
    if isinstance(value, Place) and value.type.base is Base.JSON:
        return replace(value, type=kind)
    if isinstance(value, Nothing):
        return Nothing(kind)
    if value.type != kind:
        raise _wrong(operator, value.type)
    return value


def _number(value: Value, operator: str) -> Value:
    if isinstance(value, Place) and value.type.base is Base.JSON:
        return replace(value, type=FLOAT)
    if isinstance(value, Nothing):
        return Nothing(BIGINT)
    if value.type.base not in _NUMBERS or value.type.array:
        raise _wrong(operator, value.type)
    return value


def _numeric(operator: str, kinds: list[FieldType]) -> FieldType:
    bases = {kind.base for kind in kinds}
    if Base.FLOAT in bases:
        return FLOAT
    if Base.DECIMAL not in bases:
        return FLOAT if operator == "divide" else BIGINT
    scales = [0 if kind.base is Base.BIGINT else kind.scale for kind in kinds]
    known = [scale for scale in scales if scale is not None]
    if len(known) < len(scales):
        return decimal(None)
    if operator == "multiply":
        if sum(known) > DIGITS:
            raise WrongType(f"The product has more than {DIGITS} digits behind its point.", hint="Round with $round before.")
        return decimal(sum(known))
    return decimal(max(known) + (AVERAGE_DIGITS if operator == "divide" else 0))


def _unified(value: Value, kinds: list[FieldType], operator: str, *, one_type: bool) -> Value:
    """`value`, checked against the types beside it; numbers of different kinds meet in one where the result needs it."""
    if not kinds:
        return value
    firm = [kind for kind in kinds if kind.base is not Base.JSON or kind.array]
    kind = firm[0] if firm else kinds[0]
    if isinstance(value, Nothing):
        numbers = all(item.base in _NUMBERS and not item.array for item in kinds)
        return Nothing(_numeric("add", kinds) if numbers else kind)
    if all(item.base in _NUMBERS and not item.array for item in firm) and firm:
        number = _number(value, operator)
        together = _numeric("add", [*firm, number.type])
        return number if number.type == together else Calculation("convert", (number,), together)
    if isinstance(value, Place) and kind.base in {Base.TEXT, Base.BOOLEAN} and not kind.array:
        return _as(value, kind, operator)
    if value.type != kind:
        what = "give one type" if one_type else "compare values of one type"
        raise WrongType(f"${operator} must {what}, not {kind} and {value.type}.", details={"operator": f"${operator}"})
    return value


def _rounded(value: Value, node: Operation) -> Value:
    kind, name = value.type, node.operator
    if name == "round":
        place = int(node.option("place") or 0)
        if kind.base is Base.DECIMAL and kind.scale is not None:
            kind = decimal(min(max(place, 0), kind.scale))
        return Calculation(name, (value,), kind, (("place", place),))
    if name in {"floor", "ceil"} and kind.base is Base.DECIMAL and kind.scale is not None:
        kind = decimal(0)
    return Calculation(name, (value,), kind)


def _truncated(value: Value, node: Operation) -> Value:
    if value.type.base not in {Base.DATE, Base.DATETIME} or value.type.array:
        raise _wrong("dateTrunc", value.type)
    return Calculation("dateTrunc", (value,), value.type, node.options)


def _of_array(value: Value, node: Operation) -> Value:
    if not value.type.array and isinstance(value, Column | Place) and value.type.base is Base.JSON:
        if node.operator == "size":
            return Calculation("jsonSize", (value,), BIGINT)
        raise InvalidRequest("$arrayElemAt takes arrays of one type; inside JSON, write the place as a path.")
    if not value.type.array:
        raise _wrong(node.operator, value.type)
    return Calculation(node.operator, (value,), BIGINT if node.operator == "size" else value.type.element, node.options)


def _list_of(kind: FieldType, operator: str) -> FieldType:
    if kind.array:
        raise WrongType(f"${operator} makes no arrays of arrays.", details={"operator": f"${operator}"})
    return replace(kind, array=True)


__all__ = ["BIGINT", "DIGITS", "FLOAT", "JSON", "TEXT", "ExpressionBinder", "average_type", "decimal", "plain_type"]
