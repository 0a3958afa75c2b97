"""Includes mean one thing: random ones over random documents give what plain Python finds, on every engine, in every scope."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.features.shop import ACME, CONFIG, PRODUCTS_SOLD, ZETA, Document, Shop
from tests.servers.postgres import PostgresServer
from tests.servers.prepared import ENGINES, running

Rows = Mapping[str, list[Document]]

# What each collection relates to: how a query names it, the other collection, how it joins, whether to many, and a join collection.
RELATIONS: dict[str, list[tuple[str, str, str, str, bool, tuple[str, str, str] | None]]] = {
    "customers": [
        ("orders!customer_id", "orders", "id", "customer_id", True, None),
        ("orders!billing_id", "orders", "id", "billing_id", True, None),
        ("customers_referred_by", "customers", "id", "referred_by", True, None),
    ],
    "orders": [
        ("customer", "customers", "customer_id", "id", False, None),
        ("billing_id", "customers", "billing_id", "id", False, None),
        ("order_lines", "order_lines", "id", "order_id", True, None),
        ("labels", "labels", "id", "id", True, ("order_labels", "order_id", "label_id")),
    ],
    "order_lines": [("order", "orders", "order_id", "id", False, None), ("product", "products", "product_id", "id", False, None)],
    "products": [("order_lines", "order_lines", "id", "product_id", True, None)],
    "labels": [("orders", "orders", "id", "id", True, ("order_labels", "label_id", "order_id"))],
}
FIELDS = {
    "customers": ["id", "name", "referred_by"],
    "orders": ["id", "note", "margin", "placed_at"],
    "order_lines": ["id", "total", "data"],
    "products": ["id", "name", "sold"],
    "labels": ["id", "name"],
}
NUMBERS = {"customers": "id", "orders": "margin", "order_lines": "total", "products": "id", "labels": "id"}
GROUPS = {"customers": "referred_by", "orders": "note", "order_lines": "total", "products": "sold", "labels": "name"}
SORTED = {"customers": "name", "orders": "note", "order_lines": "total", "products": "name", "labels": "name"}


def _merged(tenant: str) -> dict[str, list[Document]]:
    """The documents that a tenant's key reaches; None for every tenant's."""
    owned = {"acme": ACME, "zeta": ZETA}
    chosen = list(owned.values()) if tenant == "all" else [owned[tenant]]
    found = {name: [row for part in chosen for row in part.get(name, [])] for name in FIELDS}
    joins = [row for part in chosen for row in part.get("order_labels", [])]
    return {**found, "products": PRODUCTS_SOLD, "order_labels": _joined(tenant, joins)}


def _joined(tenant: str, joins: list[Document]) -> list[Document]:
    """A join belongs to whose order it is of, whoever made it."""
    if tenant == "all":
        return joins
    orders = {row["id"] for row in {"acme": ACME, "zeta": ZETA}[tenant]["orders"]}
    return [row for part in (ACME, ZETA) for row in part["order_labels"] if row["order_id"] in orders]


VISIBLE = {tenant: _merged(tenant) for tenant in ("acme", "zeta", "all")}


class Wish:
    """One level of a query, as it is wished for."""

    def __init__(self, collection: str) -> None:
        self.collection = collection
        self.fields: list[str] = []
        self.least: int | None = None
        self.descending: bool | None = None
        self.limit: int | None = None
        self.offset = 0
        self.embeds: list[tuple[str, int, str, Wish]] = []
        self.prefix = ""
        self.sums: list[str] = []

    def __repr__(self) -> str:
        return f"{self.select()} {self.parameters('')}"

    def select(self) -> str:
        """What the query string selects."""
        if self.sums:
            return ",".join([*self.fields, *(SUMS[name].format(NUMBERS[self.collection]) for name in self.sums)])
        parts = [f"{self.prefix}{name}:{name}" if self.prefix else name for name in self.fields]
        for alias, place, how, wish in self.embeds:
            inner = "!inner" if how == "inner" else ""
            spread = "..." if wish.prefix else ""
            parts.append(f"{spread}{alias}:{RELATIONS[self.collection][place][0]}{inner}({wish.select()})")
        return ",".join(parts)

    def parameters(self, path: str) -> list[str]:
        """The other parameters, of this level and those below."""
        found = []
        if self.least is not None:
            found.append(f"{path}id=gte.{self.least}")
        if self.descending is not None:
            direction = "desc.nullslast" if self.descending else "asc.nullsfirst"
            found.append(f"{path}order={SORTED[self.collection]}.{direction}")
        if self.limit is not None:
            found.append(f"{path}limit={self.limit}")
        if self.offset:
            found.append(f"{path}offset={self.offset}")
        for alias, _, how, wish in self.embeds:
            found += wish.parameters(f"{path}{alias}.")
            if how in {"any", "none"}:
                found.append(f"{path}{alias}={'not.' if how == 'any' else ''}is.null")
        return found


SUMS = {"n": "n:count()", "adds": "adds:{}.sum()", "least": "least:{}.min()", "most": "most:{}.max()", "there": "there:{}.count()"}


@st.composite
def wishes(draw: st.DrawFn, collection: str | None = None, depth: int = 0, prefix: str = "") -> Wish:
    """A level with includes of its own, no deeper than is allowed; with a `prefix` it is spread, under names of its own."""
    wish = Wish(collection or draw(st.sampled_from(sorted(RELATIONS))))
    if depth and not prefix and draw(st.integers(0, 3)) == 0:
        wish.sums = draw(st.lists(st.sampled_from(sorted(SUMS)), min_size=1, unique=True))
        wish.fields = draw(st.sampled_from([[], [GROUPS[wish.collection]]]))
        wish.least = draw(st.none() | st.sampled_from([0, 2, 11, 102]))
        return wish
    wish.prefix = prefix
    wish.fields = draw(st.lists(st.sampled_from(FIELDS[wish.collection]), min_size=1, unique=True))
    wish.least = draw(st.none() | st.sampled_from([0, 2, 8, 11, 12, 21, 60, 102]))
    wish.descending = draw(st.none() | st.booleans())
    wish.limit = draw(st.none() | st.integers(0, 3))
    wish.offset = draw(st.sampled_from([0, 0, 0, 1]))
    for number in range(draw(st.integers(0, 2)) if depth < 4 else 0):
        place = draw(st.integers(0, len(RELATIONS[wish.collection]) - 1))
        how = draw(st.sampled_from(["plain", "plain", "plain", "inner", "any", "none"]))
        lifted = f"{prefix}s{depth}{number}_" if draw(st.integers(0, 2)) == 0 else ""
        below = draw(wishes(RELATIONS[wish.collection][place][1], depth + 1, lifted))
        if not RELATIONS[wish.collection][place][4]:
            below.limit, below.offset = None, 0
        wish.embeds.append((f"{prefix}e{number}", place, how, below))
    return wish


def related(wish: Wish, place: int, below: Wish, row: Document, rows: Rows) -> list[Document]:
    """The documents that an include leads to, filtered as it asks, neither sorted nor cut."""
    _, name, local, foreign, _, join = RELATIONS[wish.collection][place]
    if join is None:
        found = [item for item in rows[name] if row.get(local) is not None and item.get(foreign) == row[local]]
    else:
        through, this, that = join
        wanted = {item[that] for item in rows[through] if item[this] == row[local]}
        found = [item for item in rows[name] if item[foreign] in wanted]
    return [item for item in found if matches(below, item, rows)]


def matches(wish: Wish, row: Document, rows: Rows) -> bool:
    """Whether a document is among what a level asks for."""
    if wish.least is not None and row["id"] < wish.least:
        return False
    return all(how == "plain" or bool(related(wish, place, below, row, rows)) is (how != "none") for _, place, how, below in wish.embeds)


def answered(wish: Wish, found: list[Document], rows: Rows) -> list[Document]:
    """The documents of a level as they are answered: sorted, cut, with what they include; or its groups."""
    if wish.sums:
        return groups(wish, found)
    ordered = sorted(found, key=lambda item: item["id"])
    if wish.descending is not None:
        name = SORTED[wish.collection]
        ordered.sort(key=lambda item: _key(item, name), reverse=wish.descending)
    cut = ordered[wish.offset :][: wish.limit] if wish.limit is not None else ordered[wish.offset :]
    return [document(wish, row, rows) for row in cut]


def _key(item: Document, name: str) -> tuple[bool, Any]:
    """Without a value a document comes first in the one direction, and last in the other, which keeps the order of equal ones."""
    value = item.get(name)
    return (value is not None, value if value is not None else "")


def groups(wish: Wish, found: list[Document]) -> list[Document]:
    """The groups of documents by the fields that are selected, in the order of these; of no fields there is one."""
    by: dict[Any, list[Document]] = {} if wish.fields else {None: []}
    for row in found:
        by.setdefault(row.get(wish.fields[0]) if wish.fields else None, []).append(row)
    answer: list[Document] = []
    for value in sorted(by, key=lambda item: (item is None, item if item is not None else 0)):
        numbers = [row[NUMBERS[wish.collection]] for row in by[value] if row.get(NUMBERS[wish.collection]) is not None]
        results = {
            "n": len(by[value]),
            "there": len(numbers),
            "adds": sum(numbers) if numbers else None,
            "least": min(numbers, default=None),
            "most": max(numbers, default=None),
        }
        answer.append(dict.fromkeys(wish.fields, value) | {name: results[name] for name in wish.sums})
    return answer


def document(wish: Wish, row: Document, rows: Rows) -> Document:
    """One document as a level answers it."""
    shown = {wish.prefix + name: row.get(name) for name in wish.fields}
    for alias, place, _, below in wish.embeds:
        many = RELATIONS[wish.collection][place][4]
        found = answered(below, related(wish, place, below, row, rows), rows)
        if not below.prefix:
            shown[alias] = found if many else (found[0] if found else groups(below, [])[0] if below.sums and not below.fields else None)
        else:
            for name in members(below):
                shown[name] = [item[name] for item in found] if many else (found[0][name] if found else None)
    return shown


def members(wish: Wish) -> list[str]:
    """The names of what a level answers."""
    names = [wish.prefix + name for name in wish.fields]
    for alias, _, _, below in wish.embeds:
        names += members(below) if below.prefix else [alias]
    return names


@pytest.fixture(scope="module")
def shops(postgres: PostgresServer) -> Iterator[dict[str, Shop]]:
    """The shop over each engine."""
    with ExitStack() as stack:
        yield {engine: Shop(stack.enter_context(running(engine, CONFIG, postgres))) for engine in ENGINES}


@given(wishes(), st.sampled_from(["acme", "zeta", "all"]))
@settings(max_examples=200, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_random_includes_give_the_documents_that_plain_python_finds(shops: dict[str, Shop], wish: Wish, tenant: str) -> None:
    rows = VISIBLE[tenant]
    expected = answered(wish, [row for row in rows[wish.collection] if matches(wish, row, rows)], rows)
    path = f"{wish.collection}?" + "&".join([f"select={wish.select()}", *wish.parameters("")])
    for engine, shop in shops.items():
        answer = shop.get(path, shop.callers[tenant])
        assert answer.status_code == 200, (engine, path, answer.text)
        assert json.loads(answer.text, parse_float=Decimal)["data"] == json.loads(json.dumps(expected), parse_float=Decimal), (engine, path)
