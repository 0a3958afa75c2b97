"""The service keeps to its own OpenAPI document: schemathesis makes calls from it, and every answer is one that it describes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.engines.invoices import INVOICES, document
from tests.features.tenants import tenant
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresServer
from tests.servers.prepared import ENGINES, running

CHECKS = [status_code_conformance, content_type_conformance, response_headers_conformance, response_schema_conformance]
COLLECTIONS = ("invoices", "clients", "document_metadata", "messages", "events")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
"""In this order, so that there are documents to be asked for until the end."""

NDJSON = "application/x-ndjson"
WELL_FORMED, MALFORMED = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
EXAMPLES = {WELL_FORMED: 15, MALFORMED: 4}
SILENT_SECONDS = 0.5


@schemathesis.serializer(NDJSON)
def lines(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """The body of an import as it is sent."""
    return value.encode("utf-8", "replace") if isinstance(value, str) else json.dumps(value).encode()


@dataclass(frozen=True)
class Stored:
    """A document that is there: its collection, the field that is its key, and its key."""

    collection: str
    field: str
    key: str

    def aim(self, case: schemathesis.Case[Any]) -> None:
        """Let a call be for this document, where it is for one, or for some; a created one is new and valid."""
        case.headers.pop("If-Match", None)
        case.headers.pop("X-Transaction-ID", None)
        for name in case.path_parameters:
            case.path_parameters[name] = "acme" if name == "client_id" else self.collection if name == "collection" else self.key
        if case.operation.method in {"patch", "delete"} and not case.path_parameters:
            case.query = {self.field: f"eq.{self.key}"}
        if case.media_type == NDJSON and self.collection == "invoices":
            case.body = json.dumps(document(UUID(self.key).int % 1000 + 1000))


@pytest.fixture(scope="module", params=ENGINES)
def service(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[PorticoProcess]:
    """The service over each engine, with a collection that has a field of every type."""
    with running(request.param, {"collections": [INVOICES]}, postgres) as process:
        yield process


def stored(service: PorticoProcess) -> list[Stored]:
    """A few documents of every collection."""
    service.client.post("/clients", json={"id": "acme", "name": "acme"}).raise_for_status()
    keys = tenant(service, "acme").ids
    made = [service.client.post("/api/db/invoices", json=document(place)).raise_for_status() for place in range(10)]
    keys["invoices"] = [answer.json()["data"]["id"] for answer in made]
    keys["events"] = [service.client.post("/events", json={}).raise_for_status().headers["location"].rpartition("/")[2]]
    described = {one["name"]: one["fields"] for one in service.client.get("/api/db/schema").json()["data"]}
    field = {name: next(one["name"] for one in described[name] if "primary_key" in one["constraints"]) for name in COLLECTIONS}
    return [Stored(name, field[name], key) for name in COLLECTIONS for key in keys[name]]


def collection_of(path: str) -> str | None:
    """The collection that a path is for; None for a call of the service's own."""
    _, *parts = path.split("/")
    if parts[0] in {"clients", "events"}:
        return "document_metadata" if "documents" in parts else parts[0]
    return parts[2] if "db" in parts and parts[2] not in {"schema", "health", "connections", "stats"} else None


def harmless(answer: schemathesis.Response) -> bool:
    """Whether an answer is no fault: nothing of 500 and above, but what the engine cannot do, by its name."""
    if answer.status_code == 501:
        return "capability" in answer.json()["error"]["details"]
    return answer.status_code < 500


def leave_when_silent(answer: requests.Response, *_: object, **__: object) -> None:
    """Read a stream of events, which has no end, until nothing more comes at the moment; other answers are waited for as ever."""
    if answer.headers.get("Content-Type", "").startswith("text/event-stream"):
        answer.raw.connection.sock.settimeout(SILENT_SECONDS)


def try_operation(
    operation: schemathesis.APIOperation[Any, Any, Any, Any],
    mode: schemathesis.GenerationMode,
    there: list[Stored],
    session: requests.Session,
) -> set[int]:
    """Make calls of one operation, and check their answers. Gives the statuses that there were; raises what is wrong with one."""
    statuses = set()

    @settings(
        max_examples=EXAMPLES[mode], phases=[Phase.generate], deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(operation.as_strategy(generation_mode=mode), st.none() | st.sampled_from(there))
    def try_case(case: schemathesis.Case[Any], one: Stored | None) -> None:
        if one is not None:
            one.aim(case)
        answer = case.call(session=session)
        statuses.add(answer.status_code)
        assert harmless(answer), f"{answer.status_code} {answer.text}\n{case!r}"
        case.validate_response(answer, checks=CHECKS)

    try_case()
    return statuses


def test_every_answer_is_one_that_the_document_describes(service: PorticoProcess) -> None:
    there = stored(service)
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    wrong: dict[str, str] = {}
    statuses: set[int] = set()
    with requests.Session() as session:
        session.hooks["response"].append(leave_when_silent)
        for operation in sorted(operations, key=lambda one: METHODS.index(one.method.upper())):
            name = collection_of(operation.path)
            if name is not None and name not in COLLECTIONS:
                continue
            known = [one for one in there if name in {None, one.collection}]
            for mode in (WELL_FORMED, MALFORMED) if operation.body else (WELL_FORMED,):
                try:
                    statuses |= try_operation(operation, mode, known, session)
                except (AssertionError, FailureGroup) as error:
                    wrong[f"{operation.label} {mode}"] = str(error)
    assert not wrong, "\n\n".join(f"{label}\n{text}" for label, text in wrong.items())
    assert {200, 201, 204, 400, 404, 422} <= statuses, "too few kinds of answers were seen for this to mean anything"
