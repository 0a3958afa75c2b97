"""Binds filters: each condition's operator is checked against its field's type, and its value gets its parameter and coercer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from portico.errors import InvalidRequest, InvalidValue, OutOfRange, UnknownField, WrongType
from portico.model.field import Base, FieldType
from portico.query import ast
from portico.query.ast import Operator, Written
from portico.query.bound import Coercer, Comparison, Conjunction, Disjunction, Negation, Parameter, Predicate, Related, Special, Target
from portico.query.coerce import json_coercer, many_coercer, parse_json_text, read_json_text, read_text, text_coercer
from portico.query.limits import Limits
from portico.query.moments import with_offset
from portico.query.names import Names
from portico.query.patterns import check, fold

TEXT = FieldType(Base.TEXT)
STRING = FieldType(Base.STRING)
JSON = FieldType(Base.JSON)
BOOLEAN = FieldType(Base.BOOLEAN)
INSIDE_JSON = {
    Written.STRING: STRING,
    Written.NUMBER: FieldType(Base.FLOAT),
    Written.BOOLEAN: BOOLEAN,
    Written.ARRAY: JSON,
    Written.OBJECT: JSON,
    Written.TEXT: STRING,
}
_COMPARED = frozenset({Operator.EQ, Operator.NEQ, Operator.GT, Operator.GTE, Operator.LT, Operator.LTE, Operator.IS_DISTINCT})
_EQUAL = frozenset({Operator.EQ, Operator.NEQ, Operator.IS_DISTINCT})
_TEXTUAL = frozenset({Operator.LIKE, Operator.ILIKE, Operator.MATCH, Operator.IMATCH})
_FULL_TEXT = frozenset({Operator.FTS, Operator.PLFTS, Operator.PHFTS, Operator.WFTS})
_CONTAINMENT = frozenset({Operator.CONTAINS, Operator.CONTAINED, Operator.OVERLAPS})
_RANGES = frozenset({Operator.STRICTLY_LEFT, Operator.STRICTLY_RIGHT, Operator.NOT_LEFT, Operator.NOT_RIGHT, Operator.ADJACENT})
_TRUTH = frozenset({Operator.IS_TRUE, Operator.IS_FALSE, Operator.IS_UNKNOWN})
_QUANTIFIED = frozenset({Operator.EQ, Operator.GT, Operator.GTE, Operator.LT, Operator.LTE}) | _TEXTUAL
_TEXT_BASES = frozenset({Base.TEXT, Base.STRING, Base.NATIVE})


@dataclass(slots=True)
class Parameters:
    """The parameters bound so far, in order; `first` is the index of the first (others of the call stand before it).

    Datetimes that name no offset are read in `zone`, where that is said.
    """

    first: int = 0
    zone: str | None = None
    sources: list[int] = field(default_factory=list)
    coercers: list[Coercer] = field(default_factory=list)

    def add(self, source: int, kind: FieldType | Special, coercer: Coercer, *, many: bool = False) -> Parameter:
        """A new parameter, read from the raw value `source` (-1: none) by `coercer`."""
        if self.zone is not None and isinstance(kind, FieldType) and kind.base is Base.DATETIME:
            coercer = _in_zone(coercer, self.zone)
        self.sources.append(source)
        self.coercers.append(coercer)
        return Parameter(self.first + len(self.sources) - 1, kind, many)


def _in_zone(coercer: Coercer, zone: str) -> Coercer:
    return lambda raw: coercer(with_offset(raw, zone))


@dataclass(slots=True)
class FilterBinder:
    """Binds the filters of one request; `expressions` counts their conditions over all of them."""

    parameters: Parameters
    limits: Limits
    expressions: int = 0

    def bind(self, node: ast.Node, names: Names) -> Predicate:
        """The bound form of `node`, simplified: nested groups of one kind are one, double negations go. Raises RequestError."""
        return self._bind(node, names, None, 1)

    def _bind(self, node: ast.Node, names: Names, element: FieldType | None, depth: int) -> Predicate:
        if depth > self.limits.max_depth:
            raise OutOfRange(f"The filter nests deeper than {self.limits.max_depth}.")
        match node:
            case ast.And(children):
                return group([self._bind(child, names, element, depth + 1) for child in children], Conjunction)
            case ast.Or(children):
                return group([self._bind(child, names, element, depth + 1) for child in children], Disjunction)
            case ast.Not(child):
                return negate(self._bind(child, names, element, depth + 1))
            case ast.Condition():
                self.expressions += 1
                if self.expressions > self.limits.max_expressions:
                    raise OutOfRange(f"The filter has more than {self.limits.max_expressions} expressions.")
                if not node.path.name and element is None:
                    return self._search(node, names)
                if element is None and _asks_of_relation(node, names):
                    related = Related(names.embeds[node.path.name])
                    return related if node.operator is Operator.EXISTS else Negation(related)
                return self._condition(node, names, element, depth)

    def _condition(self, node: ast.Condition, names: Names, element: FieldType | None, depth: int) -> Predicate:
        place, label = _place(node, names, element)
        inside = bool(place.steps) or (element is not None and place.type.base is Base.JSON)
        operator = node.operator
        if operator is Operator.IS_NULL:
            return Comparison(_as_text(place) if inside else place, operator)
        if operator is Operator.EXISTS:
            return Comparison(place, operator) if place.steps else negate(Comparison(place, Operator.IS_NULL))
        if operator in _TRUTH:
            target = _typed(place, BOOLEAN) if inside and not place.as_text else place
            _require(target.type.base is Base.BOOLEAN and not target.type.array, node, label, target)
            return Comparison(target, operator)
        if operator is Operator.ELEM_MATCH:
            return self._elem_match(node, names, place, label, depth)
        assert node.value is not None, "the other operators take a value"
        target = _typed(place, INSIDE_JSON[node.value.written]) if inside and not place.as_text else place
        kind, coercer, many = self._value(node, node.value, target, label)
        if operator in {Operator.CONTAINS, Operator.CONTAINED} and inside:
            target = _typed(target, JSON)
        if operator is Operator.SIZE and inside:
            target = _typed(target, JSON)
        parameter = self.parameters.add(node.value.index, kind, coercer, many=many)
        matched = Operator.MATCH if operator is Operator.IMATCH else operator
        return Comparison(target, matched, parameter, node.quantifier, node.language)

    def _value(self, node: ast.Condition, slot: ast.Slot, target: Target, label: str) -> tuple[FieldType | Special, Coercer, bool]:
        """What type the parameter has, how its raw value is read, and whether there are many."""
        operator = node.operator
        if operator is Operator.IN or node.quantifier is not None:
            whole = target.type.array or target.type.base is Base.JSON
            _require(not whole and (operator is Operator.IN or operator in _QUANTIFIED), node, label, target)
            kind, coercer = self._single(node, slot, target, label)
            return kind, many_coercer(coercer, label, self.limits.max_values), True
        kind, coercer = self._single(node, slot, target, label)
        return kind, coercer, False

    def _single(self, node: ast.Condition, slot: ast.Slot, target: Target, label: str) -> tuple[FieldType | Special, Coercer]:
        operator, kind = node.operator, target.type
        if operator in _TEXTUAL:
            _require(kind.base in _TEXT_BASES and not kind.array, node, label, target)
            return _pattern(operator, label)
        if operator in _FULL_TEXT:
            _require(kind.base in _TEXT_BASES or kind.base is Base.JSON, node, label, target)
            return Special.SEARCH, _bind_name(read_text, label)
        if operator is Operator.SIZE:
            inside = bool(target.steps) or target.element
            _require(kind.array or kind.base is Base.JSON or (inside and not target.as_text), node, label, target)
            return Special.COUNT, _size(label)
        if operator in _CONTAINMENT:
            return self._containment(node, slot, target, label)
        if operator in _RANGES:
            _require(kind.base is Base.NATIVE, node, label, target)
            return kind, _reader(slot, kind, label)
        if kind.base is Base.JSON and not kind.array:
            _require(operator in _EQUAL, node, label, target)
            return Special.JSON_TEXT, _json_value(slot, target, label)
        _require(operator is Operator.IN or operator in (_EQUAL if kind.array else _COMPARED), node, label, target)
        coercer = _reader(slot, kind, label)
        return kind, self._bounded(coercer, label) if kind.array else coercer

    def _containment(self, node: ast.Condition, slot: ast.Slot, target: Target, label: str) -> tuple[FieldType | Special, Coercer]:
        kind = target.type
        if kind.array:
            if slot.written in {Written.TEXT, Written.ARRAY}:
                return kind, self._bounded(_reader(slot, kind, label), label)
            element = json_coercer(kind.element, label)
            return kind, lambda raw: [element(raw)]
        inside = bool(target.steps) or target.element
        if kind.base is Base.JSON or (inside and not target.as_text):
            _require(node.operator is not Operator.OVERLAPS, node, label, target)
            return Special.JSON_TEXT, _json_value(slot, target, label)
        _require(kind.base is Base.NATIVE, node, label, target)
        return kind, _reader(slot, kind, label)

    def _bounded(self, coercer: Coercer, label: str) -> Coercer:
        most = self.limits.max_values

        def read(raw: object) -> object:
            values = coercer(raw)
            if isinstance(values, list) and len(values) > most:
                raise OutOfRange(f"The list for {label!r} has more than {most} values.", details={"field": label})
            return values

        return read

    def _elem_match(self, node: ast.Condition, names: Names, place: Target, label: str, depth: int) -> Predicate:
        is_json = place.type.base is Base.JSON and not place.type.array
        _require((place.type.array or is_json) and node.inner is not None, node, label, place)
        assert node.inner is not None, "the parser gives elem_match its inner condition"
        inner = self._bind(node.inner, names, place.type.element if place.type.array else JSON, depth + 1)
        return Comparison(place, Operator.ELEM_MATCH, inner=inner)

    def _search(self, node: ast.Condition, names: Names) -> Predicate:
        """A full-text condition without a field: any of the collection's search fields."""
        search = names.collection.search
        fields = [name for name in search.fields if name not in names.hidden] if search else []
        if search is None or not fields:
            raise InvalidRequest(
                f"The collection {names.collection.name!r} declares no search fields.", hint="Name the field to search in."
            )
        language = node.language or search.language
        each = [ast.Condition(ast.Path(name), node.operator, node.value, language=language) for name in fields]
        return group([self._condition(condition, names, None, 1) for condition in each], Disjunction)


def group(children: list[Predicate], kind: type[Conjunction | Disjunction]) -> Predicate:
    """`children` as one conjunction or disjunction; those of the same kind are opened, a single one stands for itself."""
    flat: list[Predicate] = []
    for child in children:
        flat.extend(child.children if isinstance(child, kind) else (child,))
    return flat[0] if len(flat) == 1 else kind(tuple(flat))


def negate(predicate: Predicate) -> Predicate:
    """The negation of `predicate`."""
    return predicate.child if isinstance(predicate, Negation) else Negation(predicate)


def _asks_of_relation(node: ast.Condition, names: Names) -> bool:
    """Whether the condition asks if there are related documents. Raises InvalidRequest where it compares them with something."""
    name = node.path.name
    if name not in names.embeds:
        return False
    if node.operator in {Operator.IS_NULL, Operator.EXISTS} and not node.path.steps:
        return True
    if name in names.collection.by_name:
        return False
    raise InvalidRequest(
        f"The relation {name!r} is compared with null alone.",
        hint=f"Ask of its fields: {name}.field in the query string, a filter of its own in the include.",
        details={"relation": name},
    )


def _place(node: ast.Condition, names: Names, element: FieldType | None) -> tuple[Target, str]:
    """Where a condition looks, before the value's type says how, and what messages call it."""
    path = node.path
    if path.cast is not None:
        raise InvalidRequest(f"The filter on {path.name!r} has a cast.", hint="Casts are for select.", details={"field": path.name})
    if element is None:
        found = names.field(path)
        return Target(found, TEXT if path.as_text else found.type, path.steps, path.as_text), path.name
    if path.name or (path.steps and (element.base is not Base.JSON or element.array)):
        raise UnknownField("An element of this array has no fields.", details={"field": path.name or str(path.steps[0])})
    label = str(path.steps[-1]) if path.steps else "element"
    return Target(None, TEXT if path.as_text else element, path.steps, path.as_text, element=True), label


def _as_text(target: Target) -> Target:
    return Target(target.field, TEXT, target.steps, as_text=True, element=target.element)


def _typed(target: Target, kind: FieldType) -> Target:
    return Target(target.field, kind, target.steps, target.as_text, target.cast, target.element)


def _require(holds: bool, node: ast.Condition, label: str, target: Target) -> None:
    if not holds:
        operator = f"{node.operator.value}({node.quantifier})" if node.quantifier else node.operator.value
        raise WrongType(f"The operator {operator!r} does not apply to {label!r}, which is {target.type}.", details={"field": label})


def _reader(slot: ast.Slot, kind: FieldType, label: str) -> Coercer:
    return text_coercer(kind, label) if slot.written is Written.TEXT else json_coercer(kind, label)


def _json_value(slot: ast.Slot, target: Target, label: str) -> Coercer:
    """JSON from a text, unless the place is inside JSON, where the syntax has read the text as JSON already."""
    return _bind_name(parse_json_text if slot.written is Written.TEXT and not target.steps else read_json_text, label)


def _bind_name(read: Callable[[object, str], object], label: str) -> Coercer:
    return lambda raw: read(raw, label)


def _pattern(operator: Operator, label: str) -> tuple[Special, Coercer]:
    if operator in {Operator.MATCH, Operator.IMATCH}:
        folded = operator is Operator.IMATCH

        def read(raw: object) -> object:
            pattern = read_text(raw, label)
            check(pattern)
            return fold(pattern) if folded else pattern

        return Special.PATTERN, read
    return Special.ILIKE if operator is Operator.ILIKE else Special.LIKE, lambda raw: _like(raw, label)


def _like(raw: object, label: str) -> str:
    pattern = read_text(raw, label)
    backslashes = len(pattern) - len(pattern.rstrip("\\"))
    if backslashes % 2:
        raise InvalidValue(
            f"The pattern for {label!r} ends with the escape character.", hint="Write \\\\ for a backslash.", details={"field": label}
        )
    return pattern


def _size(label: str) -> Coercer:
    read = json_coercer(FieldType(Base.INTEGER), label)

    def size(raw: object) -> object:
        number = read(raw)
        if isinstance(number, int) and number >= 0:
            return number
        raise OutOfRange(f"The size of {label!r} is negative.", details={"field": label})

    return size
