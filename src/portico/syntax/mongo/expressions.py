"""Aggregation expressions and accumulators as MongoDB writes them. The list of operators is closed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from portico.errors import InvalidRequest, OutOfRange, UnknownOperator
from portico.model.field import Base, FieldType
from portico.query.ast import Slot
from portico.query.moments import zone_names
from portico.query.nearest import nearest, refuse_unknown
from portico.query.pipeline import Accumulator, Expression, FieldPath, Literal, Members, Operation
from portico.query.slots import Slots

MAX_NESTING = 12
"""How deep expressions nest at most."""

LONGEST_NAME = 60
MOST_FRACTIONS = 20
MOST_DECIMAL_DIGITS = 18
UNITS = ("year", "quarter", "month", "week", "day", "hour", "minute", "second")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_ARITIES: dict[str, tuple[int, int]] = {
    "add": (1, 50),
    "subtract": (2, 2),
    "multiply": (1, 50),
    "divide": (2, 2),
    "mod": (2, 2),
    "abs": (1, 1),
    "floor": (1, 1),
    "ceil": (1, 1),
    "concat": (1, 50),
    "ifNull": (2, 50),
    "eq": (2, 2),
    "ne": (2, 2),
    "gt": (2, 2),
    "gte": (2, 2),
    "lt": (2, 2),
    "lte": (2, 2),
    "and": (1, 50),
    "or": (1, 50),
    "not": (1, 1),
    "size": (1, 1),
}
"""Operators that take a list of expressions, and how many."""

_SPECIAL = ("round", "cond", "dateTrunc", "arrayElemAt", "literal")
OPERATORS = tuple(sorted([*_ARITIES, *_SPECIAL]))
ACCUMULATORS = (
    "sum", "avg", "min", "max", "count", "first", "last", "push", "addToSet", "stdDevPop", "percentile", "median", "countDistinct",
)  # fmt: skip
FORBIDDEN = frozenset({"where", "function", "out", "merge", "accumulator"})
"""What would run a caller's code or write; never taken."""


def unknown(name: str, known: Iterable[str], what: str) -> UnknownOperator:
    """The error for an operator or stage that there is not; those that are forbidden are said to be."""
    plain = name.removeprefix("$")
    if plain in FORBIDDEN:
        return UnknownOperator(f"${plain} is not taken: a pipeline reads, and runs no code.", details={"operator": f"${plain}"})
    operators = [f"${item}" for item in known]
    hint = nearest(f"${plain}", operators, f"It takes {', '.join(operators)}.")
    return UnknownOperator(f"There is no {what} {name[:64]!r}.", hint=hint, details={"operator": name[:64]})


def member_name(name: object) -> str:
    """The name of a member of a result. Raises InvalidRequest."""
    if (
        not isinstance(name, str)
        or not 0 < len(name) <= LONGEST_NAME
        or name.startswith("$")
        or "." in name
        or any(ord(character) < 32 for character in name)
        or any(0xD800 <= ord(character) <= 0xDFFF for character in name)
    ):
        raise InvalidRequest(
            f"A member's name has 1 to {LONGEST_NAME} characters, no dot, no control character and no $ before it.",
            details={"field": name[:64].encode(errors="replace").decode() if isinstance(name, str) else ""},
        )
    return name


def field_path(text: object) -> FieldPath:
    """``"$a.b"``. Raises InvalidRequest."""
    names = tuple(text[1:].split(".")) if isinstance(text, str) and text.startswith("$") else ()
    if not names or not all(names) or names[0].startswith("$"):
        raise InvalidRequest(
            'A field is written with one $ before it, such as "$status".',
            details={"field": str(text)[:64].encode(errors="replace").decode()},
        )
    return FieldPath(names)


class Expressions:
    """Parses the expressions of one pipeline; their values go to `slots`."""

    def __init__(self, slots: Slots, most: int) -> None:
        self.slots = slots
        self._left = most

    def parse(self, value: object, depth: int = 1) -> Expression:
        """One expression. Raises InvalidRequest, UnknownOperator, OutOfRange."""
        self._left -= 1
        if depth > MAX_NESTING or self._left < 0:
            raise OutOfRange(f"The expressions nest deeper than {MAX_NESTING}, or are too many.")
        if isinstance(value, str) and value.startswith("$"):
            return field_path(value)
        if isinstance(value, dict):
            if any(isinstance(name, str) and name.startswith("$") for name in value):
                return self._operation(value, depth)
            return Members(tuple([(member_name(name), self.parse(inner, depth + 1)) for name, inner in value.items()]))
        return self.literal(value)

    def literal(self, value: object) -> Literal:
        """A value as it is. Raises InvalidRequest."""
        match value:
            case None:
                return Literal()
            case bool():
                kind = FieldType(Base.BOOLEAN)
            case int():
                kind = FieldType(Base.BIGINT)
            case Decimal():
                exponent = value.as_tuple().exponent
                scale = max(-exponent, 0) if isinstance(exponent, int) else 0
                fits = scale <= MOST_DECIMAL_DIGITS and abs(value) < Decimal(10) ** (MOST_DECIMAL_DIGITS - scale)
                kind = FieldType(Base.DECIMAL, precision=MOST_DECIMAL_DIGITS, scale=scale) if fits else FieldType(Base.FLOAT)
            case float():
                kind = FieldType(Base.FLOAT)
            case str():
                kind = FieldType(Base.TEXT)
            case _:
                raise InvalidRequest("An expression is a field, a value, an operator or an object of expressions.")
        return Literal(self.slots.add_json(value), kind)

    def _operation(self, value: dict[str, object], depth: int) -> Operation | Literal:
        if len(value) != 1:
            raise InvalidRequest("An operator stands alone in its object.", details={"operator": str(next(iter(value)))[:64]})
        name, arguments = next(iter(value.items()))
        plain = name.removeprefix("$")
        if plain in _ARITIES:
            given = arguments if isinstance(arguments, list) else [arguments]
            least, most = _ARITIES[plain]
            if not least <= len(given) <= most:
                raise InvalidRequest(f"{name} takes {_number(least, most)}.", details={"operator": name})
            return Operation(plain, tuple([self.parse(item, depth + 1) for item in given]))
        special: dict[str, Callable[[object, int], Operation | Literal]] = {
            "round": self._round,
            "cond": self._cond,
            "dateTrunc": self._truncation,
            "arrayElemAt": self._element,
            "literal": lambda literal, _: self.literal(literal),
        }
        if plain not in special:
            raise unknown(name, OPERATORS, "operator")
        return special[plain](arguments, depth + 1)

    def _round(self, arguments: object, depth: int) -> Operation:
        given = arguments if isinstance(arguments, list) else [arguments]
        place = given[1] if len(given) == 2 else 0
        if len(given) not in {1, 2} or not isinstance(place, int) or isinstance(place, bool) or abs(place) > MOST_DECIMAL_DIGITS:
            raise InvalidRequest(
                f"$round takes an expression, and a whole number of digits from -{MOST_DECIMAL_DIGITS} to {MOST_DECIMAL_DIGITS}.",
                details={"operator": "$round"},
            )
        return Operation("round", (self.parse(given[0], depth),), (("place", place),))

    def _element(self, arguments: object, depth: int) -> Operation:
        given = arguments if isinstance(arguments, list) else []
        place = given[1] if len(given) == 2 else None
        if not isinstance(place, int) or isinstance(place, bool) or abs(place) > 100_000:
            raise InvalidRequest("$arrayElemAt takes an array and a whole number.", details={"operator": "$arrayElemAt"})
        return Operation("arrayElemAt", (self.parse(given[0], depth),), (("place", place),))

    def _cond(self, arguments: object, depth: int) -> Operation:
        if isinstance(arguments, dict) and set(arguments) == {"if", "then", "else"}:
            arguments = [arguments["if"], arguments["then"], arguments["else"]]
        if not isinstance(arguments, list) or len(arguments) != 3:
            raise InvalidRequest("$cond takes if, then and else.", details={"operator": "$cond"})
        return Operation("cond", tuple([self.parse(item, depth) for item in arguments]))

    def _truncation(self, arguments: object, depth: int) -> Operation:
        known = ("date", "unit", "timezone", "startOfWeek")
        if not isinstance(arguments, dict) or not {"date", "unit"} <= set(arguments):
            raise InvalidRequest("$dateTrunc takes a date and a unit.", details={"operator": "$dateTrunc"})
        refuse_unknown(arguments, known)
        unit, zone, week = arguments["unit"], arguments.get("timezone", "UTC"), arguments.get("startOfWeek", "sunday")
        if unit not in UNITS:
            raise InvalidRequest(f"A unit of $dateTrunc is {', '.join(UNITS)}.", details={"operator": "$dateTrunc"})
        if not isinstance(zone, str) or zone not in zone_names():
            raise InvalidRequest(
                "The timezone of $dateTrunc is none that is known.", hint="Write one of IANA's names, such as Europe/Prague.",
                details={"operator": "$dateTrunc"},
            )  # fmt: skip
        if not isinstance(week, str) or week.lower() not in WEEKDAYS:
            raise InvalidRequest("The startOfWeek of $dateTrunc is a day's name.", details={"operator": "$dateTrunc"})
        start = WEEKDAYS.index(week.lower()) if unit == "week" else 0
        options = (("unit", str(unit)), ("timezone", zone), ("start", start))
        return Operation("dateTrunc", (self.parse(arguments["date"], depth),), options)

    def accumulator(self, name: str, value: object) -> Accumulator:
        """``"n": {"$sum": 1}``. Raises InvalidRequest, UnknownOperator."""
        if not isinstance(value, dict) or len(value) != 1:
            raise InvalidRequest(f'{name!r} takes one accumulator, such as {{"$sum": 1}}.', details={"field": name})
        function, argument = next(iter(value.items()))
        plain = function.removeprefix("$")
        if not function.startswith("$") or plain not in ACCUMULATORS:
            raise unknown(function, ACCUMULATORS, "accumulator")
        if plain == "count":
            if argument != {}:
                raise InvalidRequest("$count in a group takes an empty object.", details={"operator": "$count"})
            return Accumulator(name, plain)
        if plain in {"percentile", "median"}:
            return self._percentile(name, plain, argument)
        return Accumulator(name, plain, self.parse(argument, 2))

    def _percentile(self, name: str, function: str, argument: object) -> Accumulator:
        known = ("input", "p", "method") if function == "percentile" else ("input", "method")
        if not isinstance(argument, dict) or not set(known) - {"method"} <= set(argument):
            raise InvalidRequest(f"${function} takes {' and '.join(known)}.", details={"operator": f"${function}"})
        refuse_unknown(argument, known)
        method = argument.get("method", "approximate")
        if method not in {"approximate", "discrete", "continuous"}:
            raise InvalidRequest("The method is approximate, discrete or continuous.", details={"operator": f"${function}"})
        fractions = self._fractions(argument["p"]) if function == "percentile" else None
        return Accumulator(name, function, self.parse(argument["input"], 2), fractions, method == "continuous")

    def _fractions(self, given: object) -> Slot:
        if not isinstance(given, list) or not 0 < len(given) <= MOST_FRACTIONS:
            raise InvalidRequest(f"The p of $percentile is an array of 1 to {MOST_FRACTIONS} numbers.", details={"operator": "$percentile"})
        if not all(isinstance(item, int | float | Decimal) and not isinstance(item, bool) and 0 <= item <= 1 for item in given):
            raise InvalidRequest("The p of $percentile are numbers from 0 to 1.", details={"operator": "$percentile"})
        return self.slots.add_json(given)


def _number(least: int, most: int) -> str:
    return f"{least} expression{'s' if least > 1 else ''}" if least == most else f"{least} to {most} expressions"
