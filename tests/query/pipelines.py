"""Random aggregations, and what they give in plain Python: small, slow, and written without looking at how the engines do it."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

Row = dict[str, Any]
Stages = list[dict[str, Any]]

ZONES = ["UTC", "Europe/Prague", "America/New_York", "Asia/Kathmandu"]
NUMBERS = ["$number", "$total", "$rate"]


class BeyondError(Exception):
    """A number does not fit its type: every engine must refuse the pipeline."""


def scale_of(value: Decimal | int) -> int:
    """The digits behind the point."""
    return max(-int(value.as_tuple().exponent), 0) if isinstance(value, Decimal) else 0


def quantized(value: Fraction | Decimal | int, scale: int, rounding: str = ROUND_HALF_UP) -> Decimal:
    """A decimal of that scale."""
    exact = Fraction(value)
    unit = 10**scale
    if rounding == ROUND_FLOOR:
        whole = math.floor(exact * unit)
    elif rounding == ROUND_CEILING:
        whole = math.ceil(exact * unit)
    else:
        whole = math.floor(abs(exact) * unit + Fraction(1, 2)) * (-1 if exact < 0 else 1)
    return Decimal(whole).scaleb(-scale)


def fitting(value: Any) -> Any:
    """`value`, where it fits 64 bits or is a finite float."""
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        raise BeyondError
    if isinstance(value, float) and not math.isfinite(value):
        raise BeyondError
    return value


def field(row: Row, path: str) -> Any:
    """The value at a path."""
    here: Any = row
    for name in path.split("."):
        here = here.get(name) if isinstance(here, dict) else None
    return here


def arithmetic(name: str, left: Any, right: Any) -> Any:
    """One operator over two numbers."""
    if isinstance(left, float) or isinstance(right, float):
        one, two = float(left), float(right)
        return {"$add": one + two, "$subtract": one - two, "$multiply": one * two, "$divide": one / two if two else math.nan}[name]
    if name == "$divide":
        if not isinstance(left, Decimal) and not isinstance(right, Decimal):
            return left / right
        return quantized(Fraction(left) / Fraction(right), max(scale_of(left), scale_of(right)) + 6)
    if name == "$mod":
        remainder = abs(left) % abs(right)
        return -remainder if left < 0 else remainder
    return {"$add": left + right, "$subtract": left - right, "$multiply": left * right}[name]


def stepped(name: str, value: Any, place: int) -> Any:
    """`$round`, `$floor` and `$ceil`."""
    if isinstance(value, float):
        exact = Decimal(repr(value))
        rounded = quantized(exact, place) if name == "$round" else quantized(exact, 0, ROUND_FLOOR if name == "$floor" else ROUND_CEILING)
        return float(rounded)
    if isinstance(value, int):
        return value
    if name == "$round":
        return quantized(value, min(place, scale_of(value)))
    return quantized(value, 0, ROUND_FLOOR if name == "$floor" else ROUND_CEILING)


def truncated(value: dt.datetime, unit: str, zone: str) -> dt.datetime:
    """`$dateTrunc`."""
    local = value.astimezone(ZoneInfo(zone))
    if unit == "hour":
        return value - dt.timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    day = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    day = {"day": day, "month": day.replace(day=1), "year": day.replace(month=1, day=1)}[unit]
    return day.astimezone(dt.UTC)


def evaluate(node: Any, row: Row) -> Any:
    """The value of an expression."""
    if isinstance(node, str) and node.startswith("$"):
        return field(row, node[1:])
    if not isinstance(node, dict):
        return Decimal(repr(node)) if isinstance(node, float) else node
    ((name, given),) = node.items() if len(node) == 1 else ((None, node),)
    if name is None or not name.startswith("$"):
        return {key: evaluate(inner, row) for key, inner in node.items()}
    if name == "$dateTrunc":
        value = evaluate(given["date"], row)
        return None if value is None else truncated(value, given["unit"], given["timezone"])
    if name == "$round":
        value = evaluate(given[0], row)
        return None if value is None else stepped(name, value, given[1])
    values = [evaluate(item, row) for item in (given if isinstance(given, list) else [given])]
    return fitting(operate(name, values))


def operate(name: str, values: list[Any]) -> Any:
    """The result of an operator over values."""
    if name == "$ifNull":
        return next((value for value in values if value is not None), None)
    if name == "$cond":
        return values[1] if values[0] else values[2]
    if name in {"$eq", "$gt", "$lt"}:
        left, right = values
        if name == "$eq":
            return left == right
        return left is not None and right is not None and (left > right if name == "$gt" else left < right)
    if any(value is None for value in values):
        return None
    if name == "$concat":
        return "".join(values)
    if name == "$size":
        return len(values[0])
    if name == "$abs":
        return abs(values[0])
    return stepped(name, values[0], 0) if name in {"$floor", "$ceil"} else arithmetic(name, values[0], values[1])


def key_of(value: Any) -> tuple[bool, Any]:
    """By which a value sorts: null is the largest."""
    return (value is None, 0 if value is None else value)


def accumulate(name: str, node: Any, rows: list[Row]) -> Any:
    """The result of an accumulator over rows that are in order."""
    if name == "$count":
        return len(rows)
    if name == "$percentile":
        return percentiles(node, [value for row in rows if (value := evaluate(node["input"], row)) is not None])
    every = [evaluate(node, row) for row in rows]
    values = [value for value in every if value is not None]
    if name in {"$first", "$last"}:
        return every[0 if name == "$first" else -1]
    simple: dict[str, Callable[[], Any]] = {
        "$min": lambda: min(values, default=None),
        "$max": lambda: max(values, default=None),
        "$push": lambda: values,
        "$addToSet": lambda: sorted(set(values)),
        "$countDistinct": lambda: len(set(values)),
    }
    return simple[name]() if name in simple else statistic(name, values)


def accumulated(asked: Row, rows: list[Row]) -> Any:
    """The result of ``{"$sum": …}`` over rows that are in order."""
    ((name, node),) = asked.items()
    return accumulate(name, node, rows)


def statistic(name: str, values: list[Any]) -> Any:
    """A sum, an average or a deviation."""
    if not values:
        return 0 if name == "$sum" else None
    exact = sum((Fraction(value) for value in values), Fraction(0))
    kind = type(values[0])
    if name == "$sum":
        scale = max((scale_of(value) for value in values if kind is not float), default=0)
        return fitting(float(exact) if kind is float else quantized(exact, scale) if kind is Decimal else int(exact))
    mean = exact / len(values)
    if name == "$avg":
        return quantized(mean, max(scale_of(value) for value in values) + 6) if kind is Decimal else float(mean)
    variance = sum(((Fraction(value) - mean) ** 2 for value in values), Fraction(0)) / len(values)
    return math.sqrt(variance)


def percentiles(node: Any, values: list[Any]) -> list[Any]:
    """`$percentile`."""
    values = sorted(values)
    if not values:
        return [None] * len(node["p"])
    if node["method"] == "discrete":
        return [values[max(math.ceil(p * len(values)), 1) - 1] for p in node["p"]]
    found = []
    for p in node["p"]:
        place = p * (len(values) - 1)
        low, high = float(values[math.floor(place)]), float(values[math.ceil(place)])
        found.append(low + (high - low) * (place - math.floor(place)))
    return found


class Reference:
    """The documents as they go through the stages, always in their order. `identity` orders what is equal."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = sorted(({**row, "__": (str(row["id"]),)} for row in rows), key=lambda row: row["__"])

    def run(self, stages: Stages) -> list[Row]:
        """What comes out."""
        for stage in stages:
            ((name, given),) = stage.items()
            getattr(self, name[1:])(given)
        return [{key: value for key, value in row.items() if key != "__"} for row in self.rows]

    def match(self, given: dict[str, Any]) -> None:
        ((path, condition),) = given.items()
        ((operator, bound),) = condition.items()

        def holds(row: Row) -> bool:
            value = field(row, path)
            return value is not None and {"$gt": value > bound, "$lte": value <= bound, "$ne": value != bound}[operator]

        self.rows = [row for row in self.rows if holds(row)]

    def group(self, given: dict[str, Any]) -> None:
        groups: dict[str, tuple[Any, list[Row]]] = {}
        for row in self.rows:
            key = evaluate(given["_id"], row) if given["_id"] is not None else None
            groups.setdefault(repr(key), (key, []))[1].append(row)
        self.rows = []
        for key, members in groups.values():
            made = {name: accumulated(asked, members) for name, asked in given.items() if name != "_id"}
            leaves = tuple(key_of(value) for value in key.values()) if isinstance(key, dict) else (key_of(key),)
            self.rows.append({"_id": key, **made, "__": leaves})
        self.rows.sort(key=lambda row: row["__"])

    def addFields(self, given: dict[str, Any]) -> None:  # noqa: N802 - the stage's name
        self.rows = [{**row, **{name: evaluate(node, row) for name, node in given.items()}} for row in self.rows]

    def project(self, given: dict[str, Any]) -> None:
        made = []
        for row in self.rows:
            kept = {"_id": row["_id"]} if "_id" in row else {}
            made.append(
                {**kept, **{name: row[name] if node == 1 else evaluate(node, row) for name, node in given.items()}, "__": row["__"]}
            )
        self.rows = made

    def unwind(self, given: str) -> None:
        name = given[1:]
        self.rows = [{**row, name: item, "__": (*row["__"], place)} for row in self.rows for place, item in enumerate(row[name] or [])]

    def sort(self, given: dict[str, int]) -> None:
        self.rows.sort(key=lambda row: row["__"])
        for path, direction in reversed(list(given.items())):
            self.rows.sort(key=lambda row: key_of(field(row, path)), reverse=direction == -1)

    def limit(self, given: int) -> None:
        self.rows = self.rows[:given]

    def skip(self, given: int) -> None:
        self.rows = self.rows[given:]


def shown(value: Any) -> Any:
    """A value as JSON shows it."""
    if isinstance(value, dict):
        return {key: shown(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shown(inner) for inner in value]
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    return value.isoformat() if isinstance(value, dt.date) else str(value) if type(value).__name__ == "UUID" else value


def same(expected: Any, found: Any, slack: float) -> bool:
    """Whether a value that was read from JSON, its fractions as decimals, is the expected one: floats nearly, all else exactly."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and expected.keys() == found.keys() and all(same(expected[k], found[k], slack) for k in expected)
    if isinstance(expected, list):
        return (
            isinstance(found, list)
            and len(expected) == len(found)
            and all(same(one, other, slack) for one, other in zip(expected, found, strict=True))
        )
    if isinstance(expected, float):
        return found is not None and math.isclose(expected, float(found), rel_tol=1e-9, abs_tol=slack)
    if isinstance(expected, bool) or expected is None or isinstance(expected, str):
        return type(found) is type(expected) and found == expected
    return not isinstance(found, bool | str) and found is not None and Decimal(expected) == Decimal(found)


def read(text: str) -> Any:
    """JSON whose fractions are exact."""
    return json.loads(text, parse_float=Decimal)


# --- random pipelines ----------------------------------------------------------------------------------------------------

whole = st.one_of(
    st.just("$number"),
    st.builds(lambda n: {"$mod": ["$number", n]}, st.integers(2, 9)),
    st.builds(lambda n: {"$add": ["$number", n]}, st.integers(-9, 9)),
    st.just({"$abs": "$number"}),
    st.just({"$multiply": ["$number", "$number"]}),
)
exact = st.one_of(
    st.just("$total"),
    st.builds(lambda n: {"$multiply": ["$total", n]}, st.sampled_from([2, 1.25, -0.5])),
    st.builds(lambda n: {"$divide": ["$total", n]}, st.sampled_from([3, 7, 0.25])),
    # Of a square, a decimal has more digits than SQLite's 64 bits hold, which only PostgreSQL answers.
    st.builds(lambda n: {"$subtract": ["$total", n]}, st.sampled_from(["$number", {"$mod": ["$number", 7]}])),
    st.builds(lambda n: {"$round": ["$total", n]}, st.integers(0, 2)),
    st.sampled_from([{"$floor": "$total"}, {"$ceil": "$total"}, {"$abs": "$total"}, {"$ifNull": ["$total", 0]}]),
)
floating = st.one_of(
    st.just("$rate"),
    st.builds(lambda n: {"$divide": ["$number", n]}, st.sampled_from([4, 3])),
    st.builds(lambda n: {"$multiply": ["$rate", n]}, st.sampled_from([0.5, 2])),
    st.just({"$round": ["$rate", 1]}),
)
texts = st.one_of(
    st.sampled_from(["$client_id", "$status", "$kind"]),
    st.just({"$concat": ["$client_id", "/", "$kind"]}),
    st.just({"$cond": [{"$gt": ["$number", 0]}, "more", "less"]}),
    st.just({"$ifNull": ["$kind", "none"]}),
)
moments = st.builds(
    lambda unit, zone: {"$dateTrunc": {"date": "$created_at", "unit": unit, "timezone": zone}},
    st.sampled_from(["hour", "day", "month", "year"]),
    st.sampled_from(ZONES),
)
grouped_by = st.one_of(texts, whole, st.sampled_from(["$paid", "$due"]), moments)
keys = st.one_of(
    st.none(),
    grouped_by,
    st.builds(lambda a, b: {"a": a, "b": b}, grouped_by, texts),
)
numbers = st.one_of(whole, exact, floating)
accumulators = st.one_of(
    st.builds(lambda name, node: {name: node}, st.sampled_from(["$sum", "$avg", "$stdDevPop"]), st.one_of(whole, exact, floating)),
    st.builds(
        lambda name, node: {name: node},
        st.sampled_from(["$min", "$max", "$first", "$last", "$push", "$countDistinct"]),
        st.one_of(numbers, texts, moments, st.sampled_from(["$due", "$paid"])),
    ),
    st.builds(lambda node: {"$addToSet": node}, st.one_of(whole, texts, exact, st.just("$due"))),
    st.builds(
        lambda node, p, method: {"$percentile": {"input": node, "p": p, "method": method}},
        numbers,
        st.lists(st.sampled_from([0, 0.25, 0.5, 0.9, 0.95, 1]), min_size=1, max_size=3),
        st.sampled_from(["discrete", "continuous"]),
    ),
    st.just({"$count": {}}),
)
before = st.lists(
    st.one_of(
        st.builds(lambda n: {"$match": {"number": {"$gt": n}}}, st.integers(-5, 5)),
        st.builds(lambda text: {"$match": {"client_id": {"$ne": text}}}, st.sampled_from(["one", "none"])),
        st.sampled_from([{"$unwind": "$tags"}, {"$unwind": "$scores"}]),
        st.builds(lambda node: {"$addFields": {"extra": node}}, st.one_of(numbers, texts)),
        st.builds(lambda n: {"$limit": n}, st.integers(1, 100)),
        st.builds(lambda n: {"$skip": n}, st.integers(0, 60)),
        st.builds(
            lambda names, directions: {"$sort": dict(zip(names, directions, strict=False))},
            st.lists(st.sampled_from(["number", "total", "status", "kind", "due", "created_at"]), min_size=1, max_size=3, unique=True),
            st.lists(st.sampled_from([1, -1]), min_size=3, max_size=3),
        ),
    ),
    max_size=3,
)


@st.composite
def pipelines(draw: st.DrawFn) -> Stages:
    """A pipeline over invoices: stages before, perhaps a group with stages after it, or a projection."""
    stages: Stages = []
    for stage in draw(before):
        if "$unwind" not in stage or stage not in stages:  # an element that is no array is not unwound again
            stages.append(stage)
    if draw(st.integers(0, 4)) == 0:
        return [*stages, {"$project": {"x": draw(numbers), "y": draw(texts), "z": draw(moments)}}, {"$limit": 500}]
    asked = draw(st.lists(accumulators, min_size=1, max_size=4))
    stages.append({"$group": {"_id": draw(keys), "n": {"$sum": 1}, **{f"x{place}": item for place, item in enumerate(asked)}}})
    after = draw(st.integers(0, 3))
    if after >= 1:
        stages.append({"$match": {"n": {"$gt": draw(st.integers(0, 4))}}})
    if after >= 2:
        stages.append({"$sort": {"n": draw(st.sampled_from([1, -1]))}})
    if after == 3:
        stages.append({"$project": {"n": 1, "twice": {"$multiply": ["$n", 2]}}})
        stages.append({"$limit": draw(st.integers(1, 9))})
    return stages
