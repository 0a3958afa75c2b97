"""Functions and aggregates that aggregations need and SQLite lacks: exact arithmetic, time zones, percentiles, arrays.

Unlike the other functions they may fail: then the error to answer waits in `faults`, because SQLite tells only that a function failed.
"""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import lru_cache, reduce
from typing import cast

from portico.engines.sql.bounds import too_many_gathered
from portico.engines.sqlite.functions import json_of
from portico.engines.sqlite.pipeline_moments import truncated
from portico.engines.sqlite.storage import Stored, canonical_json, infinity, plain_json, read_json, sortable_json
from portico.errors import OutOfRange, PorticoError
from portico.query.limits import MOST_GATHERED

_BITS = 1 << 63


class Faults(threading.local):
    """The error of the last function that failed in this thread."""

    error: PorticoError | None = None

    def take(self) -> PorticoError | None:
        """The error, once."""
        error, self.error = self.error, None
        return error


faults = Faults()


def _fail(error: PorticoError) -> PorticoError:
    faults.error = error
    return error


def _too_large() -> PorticoError:
    return _fail(OutOfRange("A number of the pipeline is outside of the range of its type."))


def _fits(number: int) -> int:
    if -_BITS <= number < _BITS:
        return number
    raise _too_large()


def _finite(number: float) -> float:
    if math.isfinite(number):
        return number
    raise _too_large()


def _divisor(number: float) -> float:
    if number == 0:
        raise _fail(OutOfRange("A number of the pipeline is divided by zero."))
    return number


def _half_away(numerator: int, denominator: int) -> int:
    """The quotient as a whole number, halves away from zero."""
    sign = -1 if (numerator < 0) != (denominator < 0) else 1
    numerator, denominator = abs(numerator), abs(denominator)
    return sign * ((2 * numerator + denominator) // (2 * denominator))


def _remainder(left: int, right: int) -> int:
    size = abs(left) % abs(int(_divisor(right)))
    return -size if left < 0 else size


_WHOLE: dict[str, Callable[[int, int], int]] = {
    "add": lambda left, right: left + right,
    "subtract": lambda left, right: left - right,
    "multiply": lambda left, right: left * right,
    "mod": _remainder,
}
_FLOAT: dict[str, Callable[[float, float], float]] = {
    "add": lambda left, right: left + right,
    "subtract": lambda left, right: left - right,
    "multiply": lambda left, right: left * right,
    "divide": lambda left, right: left / _divisor(right),
}


def whole(operator: str, *values: int | None) -> int | None:
    """Integers, and decimals of one scale: exact, or an error beyond 64 bits."""
    known = [value for value in values if value is not None]
    return None if len(known) < len(values) else _fits(reduce(lambda left, right: _fits(_WHOLE[operator](left, right)), known))


def floating(operator: str, *values: float | None) -> float | None:
    """Floats; an error where finite ones give none that is."""
    known = [float(value) for value in values if value is not None]
    if len(known) < len(values):
        return None
    try:
        number = reduce(_FLOAT[operator], known)
    except OverflowError:
        raise _too_large() from None
    return _finite(number) if all(math.isfinite(value) for value in known) else number


def scaled(value: int | None, digits: int) -> int | None:
    """A scaled integer of more digits."""
    return None if value is None else _fits(value * 10**digits)


def quotient(left: int | None, right: int | None, digits: int) -> int | None:
    """``left * 10 ** digits / right`` as a whole number, halves away from zero."""
    return None if left is None or right is None else _fits(_half_away(left * 10**digits, int(_divisor(right))))


def rounded(value: int | None, scale: int, place: int, wanted: int) -> int | None:
    """A decimal of `scale` digits rounded to `place` digits, as a scaled integer of `wanted` digits."""
    if value is None:
        return None
    cut = scale - place
    number = value if cut <= 0 else _half_away(value, 10**cut) * 10**cut
    return _fits(number * 10 ** (wanted - scale) if wanted >= scale else number // 10 ** (scale - wanted))


def rounded_float(value: float | None, place: int) -> float | None:
    """A float rounded as the shortest decimal that it is written as."""
    if value is None or not math.isfinite(value):
        return value
    unit = Decimal(1).scaleb(-place)
    exact = Decimal(repr(float(value)))
    if exact.as_tuple().exponent >= -place:  # type: ignore[operator]
        return float(value)
    return float((exact / unit).to_integral_value(ROUND_HALF_UP) * unit)


def stepped(value: float | None, up: int, scale: int) -> Stored:
    """The whole number above (`up`) or below: of a float where `scale` is negative, else of a scaled integer."""
    if value is None:
        return None
    if scale < 0:
        return float(math.ceil(value) if up else math.floor(value)) if math.isfinite(value) else value
    unit: int = 10**scale
    return -(-int(value) // unit) if up else int(value) // unit


def average(high: int | None, low: int | None, count: int, digits: int) -> Stored:
    """The average of integers whose sum is ``high * 2**32 + low``: a float where `digits` is negative, else scaled by so many more."""
    if not count or high is None or low is None:
        return None
    total = (high << 32) + low
    return total / count if digits < 0 else _fits(_half_away(total * 10**digits, count))


def sum_of(high: int | None, low: int | None) -> int | None:
    """The sum of integers, of which `high` is the sum of the upper halves and `low` that of the lower."""
    return None if high is None or low is None else _fits((high << 32) + low)


def finite(value: float | None) -> float | None:
    """A sum of floats; an error where it is none any more."""
    return None if value is None else _finite(float(value))


def truncate(value: str | None, unit: str, zone: str, start: int) -> str | None:
    """`$dateTrunc` of a stored date or datetime."""
    if value is None:
        return None
    try:
        return truncated(value, unit, zone, start)
    except (ValueError, OverflowError):
        raise _fail(OutOfRange("A date of the pipeline is outside of the years 1 to 9999.")) from None


def member(value: Stored, kind: str, scale: int) -> str:
    """A stored value as a member of a JSON array."""
    if value is None:
        return "null"
    if kind == "boolean":
        return "true" if value else "false"
    if kind == "json":
        return str(value)
    if kind == "decimal" and scale >= 0:
        return format(Decimal(cast("int", value)).scaleb(-scale), "f")
    if kind == "float":
        number = float(cast("float", value))
        return repr(number) if math.isfinite(number) else f'"{infinity(number)}"'
    return json_of(value)


@lru_cache(maxsize=8)
def _members(text: str) -> list[object]:
    found = read_json(text)
    return found if isinstance(found, list) else []


def element(array: str | None, place: int, kind: str, scale: int) -> Stored:
    """A member of a JSON array as it is stored; NULL where there is none, or a null."""
    members = _members(array) if array is not None else []
    if not -len(members) <= place < len(members) or (found := members[place]) is None:
        return None
    if kind == "json":
        return canonical_json(plain_json(found))
    if kind == "decimal" and scale >= 0:
        return _fits(int(Decimal(str(found)).scaleb(scale)))
    if kind in {"float", "decimal"}:
        return float(cast("float", found))
    return int(found) if isinstance(found, bool) else cast("Stored", found)


def json_value(text: Stored) -> str | None:
    """A JSON text in its one form, in which equal values are equal; NULL for JSON's null and for what is not JSON."""
    if not isinstance(text, str):
        return None if text is None else json_of(text)
    try:
        found = plain_json(read_json(text))
    except (ValueError, RecursionError):
        return None
    return None if found is None else canonical_json(found)


class Deviation:
    """`portico_deviation(value, scale)`: the population's standard deviation, of integers and decimals without rounding in between."""

    def __init__(self) -> None:
        self.count = 0
        self.sum: Fraction | float = 0
        self.squares: Fraction | float = 0
        self.exact = True
        self.mean = 0.0

    def step(self, value: float | None, scale: int) -> None:
        """One more value."""
        if value is None:
            return
        self.count += 1
        if scale >= 0:
            number = Fraction(int(value), 10**scale)
            self.sum += number
            self.squares += number * number
            return
        self.exact = False
        delta = value - self.mean
        self.mean += delta / self.count
        self.squares += delta * (value - self.mean)

    def finalize(self) -> float | None:
        """The deviation."""
        if not self.count:
            return None
        if not self.exact:
            return _finite(math.sqrt(max(self.squares, 0) / self.count))
        variance = (self.squares * self.count - self.sum * self.sum) / (self.count * self.count)
        return math.sqrt(variance)


class Percentile:
    """`portico_percentile(value, fractions, kind, scale, continuous, single)`: over all values of the group, NULLs left out."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.asked: tuple[str, str, int, int, int] | None = None

    def step(self, value: float | None, fractions: str, kind: str, scale: int, continuous: int, single: int) -> None:
        """One more value."""
        self.asked = (fractions, kind, scale, continuous, single)
        if value is not None:
            self.values.append(value)

    def finalize(self) -> Stored:
        """The values at the fractions: an array, or the only one."""
        if self.asked is None:
            return None
        fractions, kind, scale, continuous, single = self.asked
        self.values.sort()
        found = [self._at(float(cast("float", fraction)), scale, continuous=bool(continuous)) for fraction in _members(fractions)]
        return found[0] if single else "[" + ",".join([member(item, "float" if continuous else kind, scale) for item in found]) + "]"

    def _at(self, fraction: float, scale: int, *, continuous: bool) -> float | None:
        """As PostgreSQL's `percentile_disc` and `percentile_cont` count."""
        values = self.values
        if not values:
            return None
        if not continuous:
            return values[max(math.ceil(fraction * len(values)), 1) - 1]
        place = fraction * (len(values) - 1)
        low, high = math.floor(place), math.ceil(place)
        below, above = (value / 10**scale if scale > 0 else float(value) for value in (values[low], values[high]))
        return below if low == high else below + (above - below) * (place - low)


class Gathered:
    """`portico_push(value, rank, kind, scale)`: a group's values, in order, as a JSON array."""

    def __init__(self) -> None:
        self.values: list[tuple[int, str]] = []
        self.count = 0

    def step(self, value: Stored, rank: int, kind: str, scale: int) -> None:
        """One more document; its value is left out where it is NULL."""
        self.count += 1
        if self.count > MOST_GATHERED:
            raise _fail(too_many_gathered())
        if value is not None:
            self.values.append((rank, member(value, kind, scale)))

    def finalize(self) -> str:
        """The array."""
        return "[" + ",".join([text for _, text in sorted(self.values)]) + "]"


class GatheredSet:
    """`portico_set(value, kind, scale)`: a group's distinct values, sorted, as a JSON array."""

    def __init__(self) -> None:
        self.values: dict[object, str] = {}

    def step(self, value: Stored, kind: str, scale: int) -> None:
        """One more value."""
        if value is None:
            return
        key = sortable_json(read_json(str(value))) if kind == "json" else value
        if key in self.values:
            return
        if len(self.values) >= MOST_GATHERED:
            raise _fail(too_many_gathered())
        self.values[key] = member(value, kind, scale)

    def finalize(self) -> str:
        """The array."""
        return "[" + ",".join([self.values[key] for key in sorted(self.values, key=lambda item: cast("str", item))]) + "]"


def register(connection: sqlite3.Connection) -> None:
    """Make every function known to `connection`."""
    for name, arity, function in _FUNCTIONS:
        connection.create_function(name, arity, function, deterministic=True)
    for name, arity, aggregate in _AGGREGATES:
        connection.create_aggregate(name, arity, aggregate)  # type: ignore[arg-type]


_FUNCTIONS: tuple[tuple[str, int, Callable[..., Stored]], ...] = (
    ("portico_whole", -1, whole),
    ("portico_floating", -1, floating),
    ("portico_scaled", 2, scaled),
    ("portico_quotient", 3, quotient),
    ("portico_rounded", 4, rounded),
    ("portico_rounded_float", 2, rounded_float),
    ("portico_stepped", 3, stepped),
    ("portico_average", 4, average),
    ("portico_total", 2, sum_of),
    ("portico_finite", 1, finite),
    ("portico_truncate", 4, truncate),
    ("portico_element", 4, element),
    ("portico_json_value", 1, json_value),
    ("portico_member", 3, member),
)
_AGGREGATES: tuple[tuple[str, int, type[object]], ...] = (
    ("portico_deviation", 2, Deviation),
    ("portico_percentile", 6, Percentile),
    ("portico_push", 4, Gathered),
    ("portico_set", 3, GatheredSet),
)
