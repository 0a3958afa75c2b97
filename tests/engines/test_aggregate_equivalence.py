"""One meaning: random pipelines over random documents give on every engine what plain Python gives."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from portico.catalog.declare import declare
from portico.query.coerce import json_coercer
from portico.query.json_text import read_json
from tests.engines.invoices import INVOICES, PATH, Document, Services, document, serving
from tests.query.pipelines import BeyondError, Reference, Row, Stages, pipelines, read, same, shown
from tests.servers.postgres import PostgresServer

ROWS = 150
COLLECTION = declare(INVOICES, source="test", database="main")


def invoice(place: int) -> Document:
    """An invoice whose numbers are such that floats have no cancellation to speak of, and times are around changes of clocks."""
    chance = random.Random(place + 1)
    given = document(place) | {"big": None, "metadata": None, "payload": None}
    given["rate"] = None if chance.random() < 0.2 else round(chance.uniform(-5, 1000), chance.choice([0, 1, 2, 5]))
    given["number"] = None if chance.random() < 0.2 else chance.choice([0, 1, -1, 5, -5, 17, 2**31 - 1])
    hours = chance.choice([0, 0, 1, 2, 5, 12, 23])
    day = chance.choice(["2024-03-30", "2024-03-31", "2024-10-26", "2024-10-27", "2024-11-03", "2024-02-29", "1999-12-31"])
    given["created_at"] = None if chance.random() < 0.1 else f"{day}T{hours:02d}:{chance.randrange(60):02d}:30.5Z"
    given["scores"] = None if chance.random() < 0.2 else [chance.randrange(5) for _ in range(chance.randrange(4))]
    return given


def as_row(given: Document) -> Row:
    """A document's values as the reference has them; decimals have the digits of their type."""
    row: Row = {}
    for field in COLLECTION.fields:
        value = given.get(field.name)
        row[field.name] = None if value is None else json_coercer(field.type, field.name)(read_json(json.dumps(value)))
    if row["total"] is not None:
        row["total"] = Decimal(str(row["total"])).quantize(Decimal("0.01"))
    return row


DOCUMENTS = [invoice(place) for place in range(ROWS)]
ROWS_READ = [as_row(item) for item in DOCUMENTS]


@pytest.fixture(scope="module")
def services(postgres: PostgresServer) -> Iterator[Services]:
    """The service over each engine, with the same documents."""
    with serving(postgres, DOCUMENTS) as found:
        yield found


def expected_of(stages: Stages) -> list[Any] | None:
    """What plain Python gives; None where a number does not fit."""
    try:
        return [shown(row) for row in Reference(ROWS_READ).run(stages)]
    except BeyondError:
        return None


@given(pipelines())
@settings(max_examples=120, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_a_pipeline_gives_on_every_engine_what_plain_python_gives(services: Services, stages: Stages) -> None:
    expected = expected_of(stages)
    for engine, service in services.items():
        answer = service.client.post(f"{PATH}/aggregate", json={"pipeline": stages})
        if expected is None:
            assert answer.status_code == 422, f"{engine}: {answer.text}"
            continue
        assert answer.status_code == 200, f"{engine}: {answer.text}"
        found = read(answer.text)["data"]
        assert same(expected, found, 1e-6), f"{engine}: {found} is not {expected}"
