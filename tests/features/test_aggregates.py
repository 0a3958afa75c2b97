"""Aggregations through HTTP: answers, permissions, and what an attacker tries with a pipeline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.features.tenants import CONFIG, Tenant, metadata, tenant
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresServer
from tests.servers.prepared import ENGINES, running

Stages = list[dict[str, Any]]


@pytest.fixture(scope="module", params=ENGINES)
def service(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[PorticoProcess]:
    """The service over each engine, which asks for keys."""
    with running(request.param, CONFIG, postgres) as process:
        yield process


def key(service: PorticoProcess, *arguments: str) -> dict[str, str]:
    """The header of a new key."""
    made = service.run("key", "create", *arguments, "--json")
    assert made.returncode == 0, made.stdout + made.stderr
    return {"X-API-Key": json.loads(made.stdout)["key"]}


@pytest.fixture(scope="module")
def tenants(service: PorticoProcess) -> tuple[Tenant, Tenant]:
    """Two tenants with the same kinds of documents."""
    headers = key(service, "--service", "setup", "--clients", "*", "--allow", "*:*")
    for name in ("north", "south"):
        made = service.client.post("/api/db/clients", json={"id": name, "name": f"secret-of-{name}"}, headers=headers)
        assert made.status_code == 201, made.text
    return tenant(service, "north"), tenant(service, "south")


def aggregate(service: PorticoProcess, headers: dict[str, str], collection: str, stages: object) -> httpx2.Response:
    """The answer to a pipeline."""
    return service.client.post(f"/api/db/{collection}/aggregate", json={"pipeline": stages}, headers=headers)


def test_a_pipeline_answers_in_the_envelope(service: PorticoProcess, tenants: tuple[Tenant, Tenant]) -> None:
    stages = [
        {"$match": {"file_size": {"$gt": 0}}},
        {"$group": {"_id": {"kind": "$file_type"}, "n": {"$sum": 1}, "bytes": {"$sum": "$file_size"}}},
        {"$match": {"n": {"$gte": 2}}},
        {"$sort": {"n": -1}},
        {"$limit": 10},
    ]
    for _ in range(2):  # the second finds its plan
        answer = aggregate(service, tenants[0].headers, "document_metadata", stages)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body["success"] is True
        assert body["data"] == [{"_id": {"kind": "t"}, "n": 3, "bytes": 3}]
        assert body["message"] == "1 results"
        assert answer.headers["cache-control"] == "private, no-cache"


def test_a_query_string_groups_by_what_it_selects_beside_aggregates(service: PorticoProcess, tenants: tuple[Tenant, Tenant]) -> None:
    headers = tenants[0].headers

    def listed(query: str) -> httpx2.Response:
        return service.client.get(f"/api/db/document_metadata?{query}", headers=headers)

    answer = listed("select=file_type,n:count(),file_size.sum(),file_size.avg()&filename=neq.shared-0.txt&order=file_type.desc")
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"] == [{"file_type": "t", "n": 2, "sum": 2, "avg": 1}]
    assert listed("select=count(),file_size.sum()&filename=eq.none").json()["data"] == [{"count": 0, "sum": None}]
    assert listed("select=filename,count()&limit=1&offset=1").json()["data"] == [{"filename": "shared-1.txt", "count": 1}]
    assert listed("select=total:file_size.sum()::text").json()["data"] == [{"total": "3"}]
    assert listed("select=filename,count()&order=file_size").status_code == 400
    assert listed("select=count()&count=exact").status_code == 400
    mine = service.client.get("/api/db/conversations?select=conversation_id&limit=1", headers=headers).json()["data"][0]["conversation_id"]
    assert service.client.get(f"/api/db/conversations/{mine}?select=count()", headers=headers).status_code == 400
    reader = key(service, "--service", "reads", "--clients", "north", "--allow", "*:read")
    assert service.client.get("/api/db/document_metadata?select=count()", headers=reader).status_code == 403


def test_without_a_limit_the_answer_ends_after_a_thousand_and_says_so(service: PorticoProcess, tenants: tuple[Tenant, Tenant]) -> None:
    """The tenant's documents times themselves, through an array that is unwound again and again."""
    gathered: Stages = [{"$group": {"_id": None, "x": {"$push": "$filename"}}}]
    for name in "abcdefg":  # 3 ** 7 results
        gathered += [{"$addFields": {name: "$x"}}, {"$unwind": f"${name}"}]
    answer = aggregate(service, tenants[0].headers, "document_metadata", gathered)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["data"]) == 1000
    assert "there are more" in answer.json()["message"]
    limited = aggregate(service, tenants[0].headers, "document_metadata", [*gathered, {"$limit": 2000}])
    assert len(limited.json()["data"]) == 2000


def test_permissions_are_those_of_each_collection(service: PorticoProcess, tenants: tuple[Tenant, Tenant]) -> None:
    counted: Stages = [{"$count": "n"}]
    reader = key(service, "--service", "reader", "--clients", "north", "--allow", "*:read")
    assert aggregate(service, reader, "conversations", counted).json()["error"]["code"] == "forbidden"
    narrow = key(service, "--service", "narrow", "--clients", "north", "--allow", "conversations:aggregate")
    assert aggregate(service, narrow, "conversations", counted).json()["data"] == [{"n": 3}]
    looked = aggregate(service, narrow, "conversations", [{"$lookup": {"from": "users"}}])
    assert looked.status_code in {400, 403}, looked.text
    assert looked.json()["data"] is None


def test_row_filters_hold_for_what_is_looked_up_as_well(service: PorticoProcess, tenants: tuple[Tenant, Tenant]) -> None:
    north = tenants[0]
    filters = ("--row-filter", f'users:{{"username": "{north.secret}-0"}}')
    limited = key(service, "--service", "few", "--clients", "north", "--allow", "*:*", *filters)
    assert aggregate(service, limited, "users", [{"$count": "n"}]).json()["data"] == [{"n": 1}]
    relation = next(
        item["name"]
        for item in service.client.get("/api/db/schema/conversations", headers=north.headers).json()["data"]["relations"]
        if item["collection"] == "users"
    )
    for stages in (
        [{"$lookup": {"from": relation, "as": "u"}}, {"$unwind": "$u"}, {"$count": "n"}],
        [{"$lookup": {"from": relation, "as": "u"}}, {"$group": {"_id": None, "n": {"$sum": {"$size": "$u"}}}}, {"$project": {"_id": 0}}],
    ):
        assert aggregate(service, limited, "conversations", stages).json()["data"] == [{"n": 1}], stages


HIDDEN: list[tuple[str, Stages]] = [
    ("grouping", [{"$group": {"_id": "$password_hash"}}]),
    ("a part of a group's key", [{"$group": {"_id": {"a": {"b": "$password_hash"}}}}]),
    ("an accumulator", [{"$group": {"_id": None, "x": {"$max": "$password_hash"}}}]),
    ("$push of an object", [{"$group": {"_id": None, "x": {"$push": {"h": "$password_hash"}}}}]),
    ("$first", [{"$group": {"_id": None, "x": {"$first": "$password_hash"}}}]),
    ("sorting", [{"$sort": {"password_hash": 1}}]),
    ("filtering", [{"$match": {"password_hash": {"$regex": "a"}}}]),
    ("filtering after a sort", [{"$sort": {"username": 1}}, {"$match": {"$or": [{"username": "x"}, {"password_hash": {"$gt": "a"}}]}}]),
    ("filtering after $addFields", [{"$addFields": {"x": 1}}, {"$match": {"password_hash": {"$like": "a%"}}}]),
    ("projecting", [{"$project": {"password_hash": 1}}]),
    ("projecting under another name", [{"$project": {"x": "$password_hash"}}]),
    ("an expression", [{"$addFields": {"x": {"$gt": ["$password_hash", "a"]}}}]),
    ("unwinding", [{"$unwind": "$password_hash"}]),
    ("leaving out, to learn that it is there", [{"$project": {"password_hash": 0}}]),
]


@pytest.mark.parametrize(("what", "stages"), HIDDEN, ids=[what for what, _ in HIDDEN])
def test_a_hidden_field_cannot_be_named(service: PorticoProcess, tenants: tuple[Tenant, Tenant], what: str, stages: Stages) -> None:
    answer = aggregate(service, tenants[0].headers, "users", stages)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "hidden_field"), answer.text


def test_a_hidden_field_is_not_looked_up(service: PorticoProcess, tenants: tuple[Tenant, Tenant]) -> None:
    headers = tenants[0].headers
    schema = service.client.get("/api/db/schema/conversations", headers=headers).json()["data"]
    relation = next(item["name"] for item in schema["relations"] if item["collection"] == "users")
    joined: Stages = [{"$lookup": {"from": relation, "as": "u"}}, {"$unwind": "$u"}]
    assert "password_hash" not in aggregate(service, headers, "conversations", joined).text
    assert "password_hash" not in aggregate(service, headers, "conversations", joined[:1]).text
    for stage in ({"$match": {"u.password_hash": None}}, {"$sort": {"u.password_hash": 1}}, {"$group": {"_id": "$u.password_hash"}}):
        answer = aggregate(service, headers, "conversations", [*joined, stage])
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["code"] == "unknown_field"


def deep(levels: int, inner: object = "$file_size") -> object:
    """An expression of that depth."""
    for _ in range(levels):
        inner = {"$add": [inner, 1]}
    return inner


REFUSED: list[tuple[str, object, int]] = [
    ("$out", [{"$out": "x"}], 400),
    ("$merge", [{"$merge": {"into": "x"}}], 400),
    ("$where", [{"$match": {"$where": "1"}}], 400),
    ("$function", [{"$project": {"x": {"$function": {"body": "x", "args": [], "lang": "js"}}}}], 400),
    ("$accumulator", [{"$group": {"_id": None, "x": {"$accumulator": {"init": "x"}}}}], 400),
    ("$expr", [{"$match": {"$expr": {"$gt": ["$file_size", 1]}}}], 400),
    ("an unknown stage", [{"$gruop": {"_id": None}}], 400),
    ("an unknown operator", [{"$project": {"x": {"$ad": [1, 2]}}}], 400),
    ("an unknown accumulator", [{"$group": {"_id": None, "x": {"$summ": 1}}}], 400),
    ("a stage of two", [{"$limit": 1, "$skip": 1}], 400),
    ("no stages", {"$limit": 1}, 400),
    ("a thousand stages", [{"$match": {"file_size": 1}}] * 1000, 422),
    ("an expression too deep", [{"$project": {"x": deep(20)}}], 422),
    ("too many expressions", [{"$project": {"x": {"$add": ["$file_size"] * 50}}}] * 12, 422),
    ("JSON too deep", [{"$project": {"x": deep(200)}}], 400),
    ("a huge $in", [{"$match": {"file_size": {"$in": list(range(20_000))}}}], 422),
    ("a thousand conditions", [{"$match": {"$or": [{"file_size": n} for n in range(1000)]}}], 422),
    ("a pattern that is no pattern", [{"$match": {"filename": {"$regex": "(a+)+$("}}}], 422),
    ("$limit of 0", [{"$limit": 0}], 422),
    ("$limit below 0", [{"$limit": -1}], 422),
    ("$limit too large", [{"$limit": 10**9}], 422),
    ("$skip too far", [{"$skip": 10**9}], 422),
    ("$limit of 1.5", [{"$limit": 1.5}], 400),
    ("a sum of text", [{"$group": {"_id": None, "x": {"$sum": "$filename"}}}], 422),
    ("an integer beyond 64 bits", [{"$project": {"x": {"$add": ["$file_size", 2**70]}}}], 422),
    ("an overflow", [{"$project": {"x": {"$multiply": [2**62, 2**62]}}}], 422),
    ("a division by zero", [{"$project": {"x": {"$divide": ["$file_size", 0]}}}], 422),
    ("a huge power by multiplication", [{"$project": {"x": {"$multiply": [10**18] * 50}}}], 422),
    ("a text that each stage doubles", [{"$project": {"x": {"$concat": ["$filename" if n == 0 else "$x"] * 2}}} for n in range(30)], 422),
    (
        "an object that each stage doubles",
        [{"$project": {"x": {"a": "$x" if n else "$filename", "b": "$x" if n else 1}}} for n in range(30)],
        422,
    ),
    (
        "a list that each group doubles",
        [{"$group": {"_id": None, "x": {"$push": {"a": "$x", "b": "$x"} if n else "$filename"}}} for n in range(9)],
        422,
    ),
    ("fifty stages", [{"$addFields": {"x": {"$add": ["$file_size", n]}}} for n in range(50)], 200),
    ("fifty groups", [{"$group": {"_id": "$_id" if n else "$filename", "n": {"$push": {"$ifNull": [None, n]}}}} for n in range(50)], 200),
    ("fifty filters", [{"$sort": {"id": 1}}] + [{"$match": {"file_size": {"$gte": -n}}} for n in range(49)], 200),
    ("the deepest expression", [{"$project": {"x": deep(11)}}], 200),
    ("a name with quotes is a name", [{"$project": {'"; DROP TABLE users; --': "$filename"}}], 200),
    ("a name with a dot", [{"$project": {"a.b": "$filename"}}], 400),
    ("a name with a dollar", [{"$group": {"_id": None, "$x": {"$sum": 1}}}], 400),
    ("an endless name", [{"$count": "x" * 61}], 400),
    ("U+0000 in a value", [{"$match": {"filename": "a\u0000b"}}], 422),
    ("U+0000 in a name", [{"$count": "a\u0000"}], 400),
    ("U+0000 in an expression", [{"$project": {"x": {"$concat": ["$filename", "\u0000"]}}}], 422),
    (
        "a time zone of its own",
        [{"$project": {"x": {"$dateTrunc": {"date": "$upload_timestamp", "unit": "day", "timezone": "'; --"}}}}],
        400,
    ),
    ("a unit of its own", [{"$project": {"x": {"$dateTrunc": {"date": "$upload_timestamp", "unit": "day'"}}}}], 400),
    ("$percentile beyond 1", [{"$group": {"_id": None, "x": {"$percentile": {"input": "$file_size", "p": [2]}}}}], 400),
    ("a relation that is none", [{"$lookup": {"from": "users", "localField": "filename", "foreignField": "username"}}], 400),
    ("a system table", [{"$lookup": {"from": "pg_authid", "as": "x"}}], 400),
    ("an unknown member of the body", None, 400),
]


@pytest.mark.parametrize(("what", "stages", "status"), REFUSED, ids=[what for what, _, _ in REFUSED])
def test_what_is_malformed_or_too_much_is_refused(
    service: PorticoProcess, tenants: tuple[Tenant, Tenant], what: str, stages: object, status: int
) -> None:
    body = {"pipeline": stages} if stages is not None else {"pipeline": [], "explain": True}
    answer = service.client.post("/api/db/document_metadata/aggregate", json=body, headers=tenants[0].headers)
    assert answer.status_code == status, answer.text
    if status != 200:
        said = answer.json()
        assert said["data"] is None
        assert said["error"]["code"] != "internal_error"
        assert not any(word in answer.text for word in ("SELECT", "sqlite", "asyncpg", "psycopg", "Traceback", "portico_")), answer.text


def test_an_error_names_what_is_unknown_and_what_is_near(service: PorticoProcess, tenants: tuple[Tenant, Tenant]) -> None:
    for stages, name, near in (
        ([{"$gruop": {"_id": None}}], "$gruop", "$group"),
        ([{"$project": {"x": {"$subtrackt": [1, 2]}}}], "$subtrackt", "$subtract"),
        ([{"$group": {"_id": None, "x": {"$summ": 1}}}], "$summ", "$sum"),
        ([{"$group": {"_id": "$file_typ"}}], "file_typ", "file_type"),
    ):
        error = aggregate(service, tenants[0].headers, "document_metadata", stages).json()
        assert name in error["message"]
        assert near in error["error"]["hint"]


EVERYTHING: list[tuple[str, str, Stages]] = [
    ("the documents", "document_metadata", []),
    ("a group of all", "document_metadata", [{"$group": {"_id": "$client_id", "n": {"$sum": 1}, "all": {"$addToSet": "$summary"}}}]),
    ("a filter that names the other", "document_metadata", [{"$match": {"client_id": {"$in": ["north", "south"]}}}]),
    ("an or that is always true", "users", [{"$match": {"$or": [{"username": {"$exists": True}}, {"username": None}]}}]),
    ("messages through their parents", "messages", [{"$group": {"_id": None, "all": {"$push": "$content"}}}]),
    ("related documents", "conversations", [{"$lookup": {"from": "messages"}}]),
    ("related documents in rows", "conversations", [{"$lookup": {"from": "messages"}}, {"$unwind": "$messages"}]),
    ("clients", "clients", [{"$group": {"_id": None, "names": {"$push": "$name"}}}]),
    ("identities", "user_identities", [{"$sort": {"subject": 1}}]),
]


def test_nothing_of_another_tenant_shows(service: PorticoProcess, tenants: tuple[Tenant, Tenant]) -> None:
    for mine, other in (tenants, tenants[::-1]):
        for what, collection, stages in EVERYTHING:
            answer = aggregate(service, mine.headers, collection, stages)
            assert answer.status_code == 200, (what, answer.text)
            assert answer.json()["data"], what
            assert mine.secret in answer.text, what
            assert not other.knows(answer.text), what
            named = aggregate(service, mine.headers | {"X-Client-ID": other.name}, collection, stages)
            assert named.status_code == 403, (what, named.text)
            assert other.secret not in named.text


def test_inside_a_transaction_it_sees_what_the_transaction_wrote(service: PorticoProcess, tenants: tuple[Tenant, Tenant]) -> None:
    headers = tenants[0].headers
    begun = service.client.post("/api/db/transaction/begin", json={}, headers=headers)
    assert begun.status_code == 201, begun.text
    inside = headers | {"X-Transaction-ID": begun.json()["data"]["transaction_id"]}
    made = service.client.post("/api/db/document_metadata", json=metadata(tenants[0], "counted.txt"), headers=inside)
    assert made.status_code == 201, made.text
    stages: Stages = [{"$match": {"filename": "counted.txt"}}, {"$count": "n"}]
    assert aggregate(service, inside, "document_metadata", stages).json()["data"] == [{"n": 1}]
    assert aggregate(service, headers, "document_metadata", stages).json()["data"] == []
    ended = service.client.post(f"/api/db/transaction/{inside['X-Transaction-ID']}/rollback", headers=headers)
    assert ended.status_code == 200, ended.text
