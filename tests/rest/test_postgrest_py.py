"""The official Python client, sync and async, with no change but the URL: each method of its builders, found by introspection."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from postgrest import (
    APIError,
    AsyncFilterRequestBuilder,
    AsyncPostgrestClient,
    AsyncQueryRequestBuilder,
    AsyncRequestBuilder,
    AsyncRPCFilterRequestBuilder,
    AsyncSelectRequestBuilder,
    SyncFilterRequestBuilder,
    SyncPostgrestClient,
    SyncQueryRequestBuilder,
    SyncRequestBuilder,
    SyncRPCFilterRequestBuilder,
    SyncSelectRequestBuilder,
)

from tests.rest.cases import CHANGES, FILTERS, REQUESTS, SELECTS, Case
from tests.servers.portico import PorticoProcess

ALL = {**FILTERS, **SELECTS, **REQUESTS, **CHANGES}
IN_EVERY_CASE = {"execute", "from_", "request"}
"""What every case uses."""
TESTED_APART = {"auth", "aclose", "from_table", "schema", "table"}
"""Methods of the client itself, which have a test of their own below."""
BUILDERS = [
    SyncPostgrestClient, SyncRequestBuilder, SyncQueryRequestBuilder, SyncFilterRequestBuilder, SyncSelectRequestBuilder,
    SyncRPCFilterRequestBuilder, AsyncPostgrestClient, AsyncRequestBuilder, AsyncQueryRequestBuilder, AsyncFilterRequestBuilder,
    AsyncSelectRequestBuilder, AsyncRPCFilterRequestBuilder,
]  # fmt: skip


@pytest.mark.parametrize("builder", BUILDERS, ids=lambda kind: kind.__name__)
def test_every_method_of_a_builder_has_a_case_or_a_test(builder: type) -> None:
    members = [(name, member) for name, member in inspect.getmembers(builder) if not name.startswith("_")]
    offered = {name for name, member in members if callable(member) or isinstance(member, property)}
    assert offered - set(ALL) - IN_EVERY_CASE - TESTED_APART == set()


@pytest.fixture
def sync_client(library: PorticoProcess) -> Iterator[SyncPostgrestClient]:
    with SyncPostgrestClient(f"{library.url}/rest/v1") as client:
        yield client


def named() -> list[Any]:
    return [pytest.param(case, id=f"{name}-{place}") for name, cases in ALL.items() for place, case in enumerate(cases)]


@pytest.mark.parametrize("flavour", ["sync", "async"])
@pytest.mark.parametrize("case", named())
async def test_a_method_of_the_client_does_what_it_says(library: PorticoProcess, engine: str, case: Case, flavour: str) -> None:
    refused = dict(case.lacks).get(engine)
    if refused is not None:
        with pytest.raises(APIError) as error:
            await _answered(library.url, case, flavour)
        assert error.value.code == refused, error.value
        return
    answer = await _answered(library.url, case, flavour)
    if callable(case.answer):
        assert case.answer(answer), answer
    else:
        assert answer.data == case.answer


async def _answered(url: str, case: Case, flavour: str) -> Any:
    if flavour == "sync":
        with SyncPostgrestClient(f"{url}/rest/v1") as client:
            return case.build(client).execute()
    async with AsyncPostgrestClient(f"{url}/rest/v1") as other:
        return await case.build(other).execute()


def test_the_client_itself_names_tables_and_schemas(library: PorticoProcess, sync_client: SyncPostgrestClient, engine: str) -> None:
    assert sync_client.table("books").select("id").eq("id", 1).execute().data == [{"id": 1}]
    with pytest.deprecated_call():
        assert sync_client.from_table("books").select("id").eq("id", 1).execute().data == [{"id": 1}]
    other = sync_client.schema("annex")
    if engine == "postgres":
        assert other.from_("maps").select("name").execute().data == [{"name": "Atlas"}]
    else:
        with pytest.raises(APIError) as refused:
            other.from_("maps").select("name").execute()
        assert refused.value.code == "PGRST106"
