"""PostgREST's contract as `contract.py` lists it, on each engine; what differs is documented."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.rest.conftest import Wire
from tests.rest.contract import READS, WRITES, Case
from tests.servers.portico import PorticoProcess

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "postgrest.md"


@pytest.fixture(scope="module")
def unchanged(served: tuple[str, PorticoProcess, Callable[[], None]]) -> Iterator[Wire]:
    """A client of the library that nobody changes."""
    served[2]()
    with httpx2.Client(base_url=served[1].url + "/rest/v1", timeout=20) as client:
        yield client


@pytest.mark.parametrize("case", READS, ids=lambda case: case.feature)
def test_a_read_is_answered_as_documented(engine: str, unchanged: Wire, case: Case):
    check(engine, unchanged, case)


@pytest.mark.parametrize("case", WRITES, ids=lambda case: case.feature)
def test_a_write_is_answered_as_documented(engine: str, rest: Wire, case: Case):
    check(engine, rest, case)


@pytest.mark.parametrize("case", [case for case in (*READS, *WRITES) if case.differs], ids=lambda case: case.feature)
def test_what_differs_is_documented(case: Case):
    differences = PAGE.read_text().partition("## What differs")[2]
    assert case.differs in differences


def check(engine: str, wire: Wire, case: Case) -> None:
    method, _, path = case.call.partition(" ")
    headers = case.headers | {name: value for name, value in (("Prefer", case.prefer), ("Accept", case.accept)) if value}
    answer = wire.request(method, path, headers=headers, json=case.body)
    lacks = case.sqlite if engine == "sqlite" else None
    status, expected = lacks or (case.status, case.answer)
    assert answer.status_code == status, answer.text
    if not isinstance(expected, str) or (status < 400 and "json" in answer.headers.get("content-type", "") and answer.content):
        assert answer.json() == expected
    elif status < 400 or not expected:
        assert answer.text == expected
    else:
        assert answer.json().keys() == {"code", "message", "details", "hint"}
        assert answer.json()["code"] == expected, answer.text
    if lacks is None:
        assert {name: answer.headers.get(name) for name in case.told} == case.told
