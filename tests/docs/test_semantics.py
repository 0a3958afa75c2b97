"""What docs/reference/semantics.md says holds on every engine, asked over HTTP."""

from typing import Any

import pytest

from tests.conftest import StartPortico
from tests.servers.portico import PorticoProcess

FIELDS = {
    "id": "integer",
    "text": "text",
    "price": "decimal(12,2)",
    "at": "datetime",
    "inside": "json",
    "tags": "text[]",
    "binary": "binary",
    "uuid": "uuid",
    "flag": "boolean",
    "large": "bigint",
}
THINGS = {
    "name": "things",
    "fields": [{"name": name, "type": kind, "constraints": ["primary_key"] if name == "id" else []} for name, kind in FIELDS.items()],
    "security": {"access_control": "shared"},
    "timestamps": True,
}
FIRST = {
    "id": 1, "text": "Z", "price": 1.5, "at": "2025-01-01T10:00:00+02:00", "inside": {"n": 1, "nothing": None}, "tags": ["a", "b"],
    "binary": "AAE=", "uuid": "01920000000070008000000000ABCDEF", "flag": True, "large": 9223372036854775807,
}  # fmt: skip
OTHERS = [
    {"id": 2, "text": "a", "at": "2025-01-01"},
    {"id": 3, "text": None},
    {"id": 4, "text": "straße ÉCOLE", "inside": {"n": 1.0}},
    {"id": 5, "text": "", "inside": {"n": "1"}},
]
FOUND: list[tuple[str, dict[str, str], list[int]]] = [
    ("null is not equal to a value", {"text": "eq.Z"}, [1]),
    ("nor different from it", {"text": "neq.Z"}, [2, 4, 5]),
    ("unknown stays unknown when it is negated", {"text": "not.eq.Z"}, [2, 4, 5]),
    ("isdistinct takes null for a value", {"text": "isdistinct.Z"}, [2, 3, 4, 5]),
    ("text is ordered by code point, and null is the largest", {"order": "text"}, [5, 1, 2, 4, 3]),
    ("and so first in descending order", {"order": "text.desc"}, [3, 4, 2, 1, 5]),
    ("unless it is said otherwise", {"order": "text.desc.nullslast"}, [4, 2, 1, 5, 3]),
    ("ilike folds single characters", {"text": "ilike.*école"}, [4]),
    ("and no others", {"text": "ilike.STRASSE*"}, []),
    ("patterns match anywhere", {"text": "match.[A-Z]$"}, [1, 4]),
    ("nothing is in an empty list", {"text": "in.()"}, []),
    ("a member that is missing and one that is null are null", {"inside->nothing": "is.null"}, [1, 2, 3, 4, 5]),
    ("numbers inside JSON are equal however they are written", {"inside->n": "eq.1"}, [1, 4]),
    ("and differ from texts, which are unknown", {"inside->n": "neq.2"}, [1, 4]),
    ("a date is midnight in UTC", {"at": "eq.2025-01-01T00:00:00Z"}, [2]),
    ("an offset is converted", {"at": "eq.2025-01-01T08:00:00Z"}, [1]),
    ("a UUID is read in any case and form", {"uuid": "eq.01920000-0000-7000-8000-000000abcdef"}, [1]),
    ("binary is base64 in filters too", {"binary": "eq.AAE="}, [1]),
    ("booleans have words in the query string", {"flag": "eq.yes"}, [1]),
    ("large numbers are exact", {"large": "eq.9223372036854775807"}, [1]),
]
REFUSED: list[tuple[str, str, int, str]] = [
    ("more digits than declared are not rounded", '{"id": 6, "price": 1.234}', 422, "out_of_range"),
    ("bigint has 64 bits", '{"id": 6, "large": 9223372036854775808}', 422, "out_of_range"),
    ("a text has no U+0000", '{"id": 6, "text": "a\\u0000"}', 422, "invalid_value"),
    ("a number is not read from a text", '{"id": "6"}', 422, "wrong_type"),
    ("nor an integer from 2.0", '{"id": 2.0}', 422, "wrong_type"),
    ("duplicate keys are no JSON", '{"id": 6, "id": 7}', 400, "invalid_json"),
    ("nor is NaN", '{"id": 6, "price": NaN}', 400, "invalid_json"),
]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.database)])
def things(request: pytest.FixtureRequest, portico: StartPortico) -> PorticoProcess:
    service = portico(request.param, {"collections": [THINGS]})
    answer = service.client.post("/api/db/things", json=[FIRST, *OTHERS])
    assert answer.status_code == 201, answer.text
    return service


def test_queries_find_what_the_page_says(things: PorticoProcess):
    wrong = []
    for rule, query, ids in FOUND:
        answer = things.client.get("/api/db/things", params={"select": "id", **query}).json()
        if [document["id"] for document in answer["data"] or []] != ids:
            wrong.append((rule, answer))
    assert wrong == []


def test_values_are_refused_as_the_page_says(things: PorticoProcess):
    wrong = []
    for rule, text, status, code in REFUSED:
        answer = things.client.post("/api/db/things", content=text)
        if (answer.status_code, answer.json()["error"]["code"]) != (status, code):
            wrong.append((rule, answer.text))
    assert wrong == []


def test_values_are_answered_as_the_page_says(things: PorticoProcess):
    answer = things.client.get("/api/db/things/1")
    found: dict[str, Any] = answer.json()["data"]
    assert '"price":1.50' in answer.text
    assert found["at"] == "2025-01-01T08:00:00.000000Z"
    assert found["uuid"] == "01920000-0000-7000-8000-000000abcdef"
    assert found["large"] == 9223372036854775807
    assert found["created_at"] == found["updated_at"]


def test_a_replace_keeps_the_key_and_the_time_of_creation_and_empties_the_rest(things: PorticoProcess):
    before = things.client.get("/api/db/things/1").json()["data"]
    after = things.client.put("/api/db/things/1", json={"text": "new"}).json()["data"]
    assert (after["id"], after["created_at"], after["text"]) == (1, before["created_at"], "new")
    assert after["updated_at"] > before["updated_at"]
    assert {after[name] for name in ("price", "at", "inside", "tags", "binary", "uuid", "flag", "large")} == {None}
