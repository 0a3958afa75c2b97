"""Malformed requests: the right status and code on both engines, nothing written, and nothing of the database's own in the answer."""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import StartPortico
from tests.engines.invoices import INVOICES, document
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresServer
from tests.servers.prepared import ENGINES, prepared_database, running

PATH = "/api/db/invoices"
KEY = "00000000-0000-4000-8000-000000000001"
MOST_BODY = 100_000
CONFIG: dict[str, object] = {
    "collections": [INVOICES],
    "http": {"max_body_bytes": MOST_BODY, "max_header_bytes": 20_000},
    "auth": {"required": True},
}
LEAKS = re.compile(
    r"SELECT |INSERT INTO|UPDATE .* SET|sqlite3|asyncpg|psycopg|sqlalchemy|Traceback|\.py\b|syntax error|relation \"|SQLSTATE|violates "
)
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Bad:
    """One malformed request, and how it is answered."""

    status: int
    code: str
    method: str
    path: str
    body: bytes | str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes | None:
        """The body as bytes."""
        return self.body.encode() if isinstance(self.body, str) else self.body


def create(status: int, code: str, body: bytes | str, **headers: str) -> Bad:
    """A malformed create."""
    return Bad(status, code, "POST", PATH, body, JSON | headers)


def listed(status: int, code: str, query: str) -> Bad:
    """A malformed list."""
    return Bad(status, code, "GET", f"{PATH}?{query}")


def asked(status: int, code: str, body: Any) -> Bad:
    """A malformed query in JSON."""
    return Bad(status, code, "POST", f"{PATH}/query", json.dumps(body), JSON)


def value(status: int, code: str, name: str, given_: Any) -> Bad:
    """A create whose one value is wrong."""
    return create(status, code, json.dumps({"client_id": "a", "id": KEY, name: given_}))


DEEP = "[" * 65 + "]" * 65
CASES: dict[str, Bad] = {
    "broken JSON": create(400, "invalid_json", '{"client_id": '),
    "an empty body": create(400, "invalid_json", ""),
    "NaN": create(400, "invalid_json", '{"client_id": "a", "rate": NaN}'),
    "Infinity": create(400, "invalid_json", '{"client_id": "a", "rate": -Infinity}'),
    "a lone surrogate": create(400, "invalid_json", '{"client_id": "\\ud800"}'),
    "nesting beyond 64": create(400, "invalid_json", f'{{"client_id": "a", "metadata": {DEEP}}}'),
    "nesting beyond the stack": create(400, "invalid_json", "[" * 40_000),
    "the same key twice": create(400, "invalid_json", '{"client_id": "a", "client_id": "b"}'),
    "invalid UTF-8": create(400, "invalid_json", b'{"client_id": "\xff"}'),
    "an unknown field in a body": value(400, "unknown_field", "colour", 1),
    "a body that is no object": create(422, "wrong_type", "5"),
    "an unknown field": listed(400, "unknown_field", "colour=eq.1"),
    "an unknown operator": listed(400, "unknown_operator", "status=equals.1"),
    "an unknown clause": listed(400, "unknown_parameter", "ordre=status"),
    "an unknown field to sort by": listed(400, "unknown_field", "order=colour"),
    "an unknown field to select": listed(400, "unknown_field", "select=colour"),
    "a tampered cursor": listed(400, "invalid_cursor", "cursor=AAAA"),
    "a cursor that is no base64": listed(400, "invalid_cursor", "cursor=*%00*"),
    "a query string that is not UTF-8": listed(400, "invalid_parameter", "status=eq.%FF"),
    "$where": asked(400, "unknown_operator", {"filter": {"$where": "1"}}),
    "$function": asked(400, "unknown_operator", {"filter": {"status": {"$function": {}}}}),
    "$out": asked(400, "unknown_operator", {"filter": {"$out": "x"}}),
    "an operator object where a value belongs": asked(400, "invalid_request", {"filter": {"status": {"$eq": {"$gt": ""}}}}),
    "an unknown member of a query": asked(400, "unknown_parameter", {"filtre": {}}),
    "no credential": Bad(401, "unauthenticated", "GET", PATH),
    "a forged key": Bad(401, "unauthenticated", "GET", PATH, headers={"X-API-Key": f"ptk_{'a' * 16}_{'b' * 43}"}),
    "a token without an algorithm": Bad(
        401, "unauthenticated", "GET", PATH, headers={"Authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0."}
    ),
    "a hidden field selected": Bad(403, "hidden_field", "GET", "/api/db/users?select=password_hash"),
    "a hidden field filtered by": Bad(403, "hidden_field", "GET", "/api/db/users?password_hash=eq.a"),
    "a hidden field written": Bad(403, "hidden_field", "POST", "/api/db/users", '{"full_name": "a", "password_hash": "x"}', JSON),
    "an unknown collection": Bad(404, "collection_not_found", "GET", "/api/db/nowhere"),
    "a system table of PostgreSQL": Bad(404, "collection_not_found", "GET", "/api/db/pg_catalog.pg_class"),
    "a system table of SQLite": Bad(404, "collection_not_found", "GET", "/api/db/sqlite_master"),
    "a companion table": Bad(404, "collection_not_found", "GET", "/api/db/portico.audit"),
    "an unknown document": Bad(404, "document_not_found", "GET", f"{PATH}/{KEY}"),
    "a key that is none": Bad(404, "document_not_found", "GET", f"{PATH}/5"),
    "a key of too many parts": Bad(404, "document_not_found", "DELETE", f"{PATH}/{KEY},1"),
    "a method of no call": Bad(405, "method_not_allowed", "PUT", PATH),
    "a body that is too large": create(413, "body_too_large", json.dumps({"status": "a" * MOST_BODY})),
    "a gzip bomb": create(413, "body_too_large", gzip.compress(b" " * 20_000_000), **{"Content-Encoding": "gzip"}),
    "gzip that is not": create(400, "invalid_parameter", b"plain", **{"Content-Encoding": "gzip"}),
    "an unknown encoding": create(415, "unsupported_media_type", b"{}", **{"Content-Encoding": "br"}),
    "a body that is not JSON": Bad(415, "unsupported_media_type", "POST", PATH, "<a/>", {"Content-Type": "application/xml"}),
    "headers that are too large": Bad(431, "headers_too_large", "GET", PATH, headers={"X-Filler": "a" * 20_000}),
    "a text for a number": value(422, "wrong_type", "number", "five"),
    "a fraction for a whole number": value(422, "wrong_type", "number", 1.5),
    "a number for a text": value(422, "wrong_type", "status", 5),
    "a boolean for a number": value(422, "wrong_type", "number", True),
    "a text for an array": value(422, "wrong_type", "tags", "a"),
    "a missing value": create(422, "missing_value", f'{{"id": "{KEY}"}}'),
    "null where none may be": create(422, "missing_value", f'{{"id": "{KEY}", "client_id": null}}'),
    "a value that is none of the choices": value(422, "constraint_violated", "kind", "other"),
    "a text that is too long": value(422, "constraint_violated", "status", "a" * 51),
    "U+0000 in a text": value(422, "invalid_value", "status", "a\x00b"),
    "U+0000 inside JSON": value(422, "invalid_value", "metadata", {"a": "\x00"}),
    "U+0000 in a filter": listed(422, "invalid_value", "status=eq.a%00b"),
    "an integer out of range": value(422, "out_of_range", "number", 2**31),
    "a bigint out of range": value(422, "out_of_range", "big", 2**63),
    "a number of many digits": value(422, "out_of_range", "total", 10**20),
    "a float out of range": create(422, "out_of_range", f'{{"id": "{KEY}", "client_id": "a", "rate": 1e999}}'),
    "a limit below zero": listed(422, "out_of_range", "limit=-1"),
    "a limit above the maximum": listed(422, "out_of_range", "limit=1001"),
    "an offset that is too large": listed(422, "out_of_range", "offset=100001"),
    "a day that is none": value(422, "out_of_range", "due", "2023-02-29"),
    "a year that is out of range": value(422, "wrong_type", "created_at", "10000-01-01T00:00:00Z"),
    "a moment before the year 1": value(422, "out_of_range", "created_at", "0001-01-01T00:00:00+10:00"),
    "a huge list of values": asked(422, "out_of_range", {"filter": {"number": {"$in": [0] * 10_001}}}),
    "a catastrophic pattern": listed(422, "invalid_value", f"status=match.{quote('(a+)+$')}"),
    "a pattern outside of the grammar": listed(422, "invalid_value", f"status=match.{quote('(?=a)')}"),
    "a change without a filter": Bad(400, "invalid_parameter", "PATCH", PATH, '{"status": "a"}', JSON),
    "a delete without a filter": Bad(400, "invalid_parameter", "DELETE", PATH),
    "a parameter where none is taken": Bad(400, "unknown_parameter", "POST", f"{PATH}?limit=1", "{}", JSON),
    "a filter that nests too deep": listed(422, "out_of_range", "and=" + "(and" * 30 + "(status.eq.a" + ")" * 31),
}


@pytest.fixture(scope="module", params=ENGINES)
def service(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[PorticoProcess]:
    """The service over each engine, which asks for a key, with a few documents."""
    with running(request.param, CONFIG, postgres) as process:
        made = process.run("key", "create", "--service", "tests", "--clients", "*", "--allow", "*:*", "--json")
        process.client.headers["X-API-Key"] = json.loads(made.stdout)["key"]
        for place in range(3):
            assert process.client.post(PATH, json=document(place)).status_code == 201
        yield process


def stored(service: PorticoProcess) -> object:
    """What there is to be changed by mistake."""
    return [service.client.get(f"/api/db/{name}").json()["data"] for name in ("invoices", "users", "clients")]


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_refused_with_its_status_and_writes_nothing(service: PorticoProcess, name: str) -> None:
    case = CASES[name]
    before = stored(service)
    with httpx2.Client(base_url=service.url, timeout=20) as anonymous:
        client = anonymous if case.status == 401 else service.client
        answer = client.request(case.method, case.path, content=case.content, headers=case.headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (case.status, case.code), answer.text
    assert not LEAKS.search(answer.text), answer.text
    assert answer.headers["x-correlation-id"] == answer.json()["correlation_id"]
    assert stored(service) == before


QUICK = "CREATE TABLE quick (id integer PRIMARY KEY); INSERT INTO quick VALUES (1);"
SLOW = {
    "sqlite": "CREATE VIEW slow AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 1000000000) SELECT n FROM c",
    "postgres": "CREATE VIEW slow WITH (security_invoker) AS SELECT 1 AS n FROM pg_sleep(30); GRANT SELECT ON quick, slow TO appuser",
}


@pytest.fixture(params=ENGINES)
def slow(request: pytest.FixtureRequest, portico: StartPortico, tmp_path: Path) -> Iterator[PorticoProcess]:
    """The service over a table and a view that takes half a minute or more, for a key whose statements may take a tenth of a second."""
    config: dict[str, object] = {"auth": {"required": True}}
    with ExitStack() as stack:
        if request.param == "sqlite":
            with closing(sqlite3.connect(tmp_path / "slow.db")) as connection:
                connection.executescript(QUICK + SLOW["sqlite"])
            environment = {"DATABASE_URL": f"sqlite:///{tmp_path}/slow.db"}
        else:
            database = prepared_database(request.getfixturevalue("postgres"), config)
            stack.callback(database.drop)
            database.execute("SET search_path = app;" + QUICK + SLOW["postgres"])
            config["databases"] = {"main": {"type": "postgresql", "connection_string": database.dsn(), "discover": ["app"]}}
            environment = {}
        process = portico(config=config, environment=environment, start=False)
        made = process.run("key", "create", "--service", "tests", "--clients", "*", "--allow", "*:*", "--json")
        assert process.run("key", "grant", "--service", "tests", "--statement-timeout", "0.1").returncode == 0
        process.client.headers["X-API-Key"] = json.loads(made.stdout)["key"]
        stack.callback(process.start().kill)
        yield process


def test_a_statement_that_takes_too_long_is_ended_and_its_connection_serves_the_next(slow: PorticoProcess) -> None:
    for _ in range(3):
        answer = slow.client.get("/api/db/slow/count")
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "statement_timeout"), answer.text
        assert not LEAKS.search(answer.text), answer.text
        assert slow.client.get("/api/db/quick").json()["data"] == [{"id": 1}]
    pools = slow.client.get("/api/db/connections").json()["data"]["pools"]
    assert [pool["states"]["active"] for pool in pools.values()] == [0]


pieces = st.sampled_from(
    [
        "status", "number", "metadata", "->", "->>", "=", "&", ".", "eq", "in", "(", ")", ",", "{", "}", "not", "or", "and", "cs", "ov",
        "match", "select", "order", "limit", "offset", "cursor", "null", "nullsfirst", "1", "-1", "a", '"', "\\", "%00", "%FF", "%", "*",
        ":", "::int", "!inner", "any", "'", ";--", "$1", "9" * 30, "1e999", "é", "😀",
    ]
)  # fmt: skip
strings = st.lists(pieces, max_size=12).map("".join)
fuzzing = settings(max_examples=250, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5) | pieces
names = st.sampled_from(
    ["filter", "status", "number", "metadata.a", "tags", "$and", "$or", "$not", "$in", "$eq", "$gt", "$regex", "$elemMatch", "$size",
     "$exists", "$contains", "$where", "limit", "sort", "fields", "cursor", "id", "client_id", "total", "created_at"]
)  # fmt: skip
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=8)


def harmless(answer: Any) -> None:
    """No answer is a fault, and none shows what is behind Portico."""
    assert answer.status_code < 500 or answer.status_code == 501, answer.text
    if answer.status_code >= 400:
        assert not LEAKS.search(answer.text), answer.text


@given(strings)
@fuzzing
def test_no_query_string_makes_a_fault(service: PorticoProcess, text: str) -> None:
    harmless(service.client.get(f"{PATH}?{quote(text, safe='%&=().,:!*{}[]')}"))


@given(values)
@fuzzing
def test_no_body_of_a_query_makes_a_fault(service: PorticoProcess, body: object) -> None:
    harmless(service.client.post(f"{PATH}/query", json=body))


@given(st.dictionaries(names, values, max_size=4) | values, st.sampled_from(["POST", "PATCH", "PUT"]))
@fuzzing
def test_no_body_of_a_write_makes_a_fault_and_a_refused_one_writes_nothing(service: PorticoProcess, body: object, method: str) -> None:
    before = service.client.get(f"{PATH}/count").json()["data"]
    address = PATH if method == "POST" else f"{PATH}/{document(0)['id']}"
    answer = service.client.request(method, address, json=body)
    harmless(answer)
    after = service.client.get(f"{PATH}/count").json()["data"]
    assert after == before if answer.status_code != 201 else after >= before


@given(st.binary(max_size=60))
@settings(fuzzing, max_examples=100)
def test_no_bytes_in_a_body_make_a_fault(service: PorticoProcess, body: bytes) -> None:
    harmless(service.client.post(PATH, content=body, headers=JSON))


headers = st.sampled_from(
    [
        "X-Client-ID",
        "X-User-ID",
        "If-Match",
        "If-None-Match",
        "Prefer",
        "Accept",
        "Content-Type",
        "Content-Encoding",
        "X-Correlation-ID",
        "Range",
    ]
)
printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20).map(str.strip)


@given(st.dictionaries(headers, printable, max_size=3), st.sampled_from(["GET", "POST", "PATCH", "DELETE", "PUT", "OPTIONS"]))
@settings(fuzzing, max_examples=150)
def test_no_headers_make_a_fault(service: PorticoProcess, given_: dict[str, str], method: str) -> None:
    answer = service.client.request(method, f"{PATH}/{KEY}", headers=given_, content=b"{}" if method in {"POST", "PATCH", "PUT"} else None)
    assert answer.status_code < 500, answer.text
