"""Pages by cursor: every document that stays comes exactly once, whatever is written meanwhile."""

import asyncio
import json
import random
from typing import Any

import pytest

from portico.model.page import Page
from tests.engines.declarations import THINGS, Document
from tests.engines.harness import Harness, OpenHarness

ORDERS = [
    "number",
    "number.desc",
    "number.asc.nullsfirst",
    "number.desc.nullslast",
    "price.desc,text",
    "flag,number.desc,text.nullsfirst",
    "moment.desc,ratio",
    "day,ref.desc",
    "data->n,text",
    "data->>lang.desc",
    "kind.desc.nullslast,id.desc",
    "big,raw",
]


def made(key: int, chance: random.Random) -> Document:
    """A document whose values are few, so that they are often equal, and often null."""

    def some(*values: object) -> object:
        return chance.choice([*values, None])

    return {
        "id": key,
        "text": some("a", "b", "ä", ""),
        "number": some(1, 2, -3),
        "big": some(2**62, -(2**62)),
        "ratio": some(0.1, -1e300),
        "price": some(1, 2),
        "flag": some(True, False),
        "ref": some("00000000-0000-4000-8000-000000000001", "ffffffff-0000-4000-8000-000000000001"),
        "day": some("2024-01-01", "1999-12-31"),
        "moment": some("2024-01-01T00:00:00Z", "2024-01-01T00:00:00.000001Z"),
        "data": some({"n": 1, "lang": "en"}, {"n": "1", "lang": None}, {"n": [1]}),
        "raw": some("AQI=", ""),
        "kind": some("a", "b"),
    }


async def every_page(harness: Harness, query: str) -> list[dict[str, Any]]:
    """The documents of all pages, one after the other."""
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page: Page = await harness.page("things", query, cursor)
        found += json.loads(page.body)
        cursor = page.last
        if cursor is None:
            return found


@pytest.mark.parametrize("order", ORDERS)
async def test_pages_follow_each_other_without_a_gap_or_a_repetition(open_harness: OpenHarness, order: str) -> None:
    harness = await open_harness(THINGS)
    chance = random.Random(order)
    await harness.create_all("things", [made(key, chance) for key in range(60)])
    whole = await harness.documents("things", f"order={order}&limit=100")
    assert await every_page(harness, f"order={order}&limit=7") == whole
    assert len(whole) == 60


async def test_every_document_that_stays_comes_exactly_once_while_others_come_and_go(open_harness: OpenHarness) -> None:
    harness = await open_harness(THINGS)
    chance = random.Random(1)
    staying = list(range(0, 200, 2))
    await harness.create_all("things", [made(key, chance) for key in range(200)])
    done = asyncio.Event()

    async def disturb() -> None:
        for key in range(1, 200, 2):
            await harness.delete("things", key)
            await harness.create("things", made(1000 + key, chance))
        done.set()

    writing = asyncio.ensure_future(disturb())
    for _ in range(3):
        found = [document["id"] for document in await every_page(harness, "order=number,text.desc&limit=9")]
        assert sorted(key for key in found if key in staying) == staying
        assert len(found) == len(set(found))
    await writing
    assert done.is_set()
