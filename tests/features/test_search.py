"""Search across collections: what is found, in which order, for whom, and shown how."""

import re
from collections.abc import Callable

import httpx2
import pytest
import yaml

from tests.conftest import StartPortico
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresServer
from tests.servers.prepared import over, prepared_database

DECLARED = """
collections:
  - name: notes
    fields:
      - {name: id, type: bigint, required: true, constraints: [primary_key]}
      - {name: client_id, type: string(255), required: true}
      - {name: title, type: string(200), required: true}
      - {name: body, type: text}
      - {name: secret, type: text}
      - {name: status, type: string(20), default_value: open}
    security: {access_control: tenant, tenant_field: client_id}
    search: {fields: [title, body], language: english, weights: {title: 3}}
  - name: vaults
    fields:
      - {name: id, type: bigint, required: true, constraints: [primary_key]}
      - {name: client_id, type: string(255), required: true}
      - {name: label, type: text}
    security: {access_control: tenant, tenant_field: client_id, hidden: [label]}
    search: {fields: [label]}
"""
PAPER = [
    {"name": "id", "type": "bigint", "required": True, "constraints": ["primary_key"]},
    {"name": "text", "type": "text"},
    {"name": "status", "type": "string(20)"},
]
NOTES = [
    (1, "Late fee on the invoice", "The customer paid after the last day."),
    (2, "Invoice of March", "A draft that nobody sent. A fee that came late."),
    (3, "Meeting", "We talked about invoices and <b>about</b> late fees & fines."),
    (4, "Door", "Nothing of that kind; the naïve café owner's door, 100% oak."),
]


@pytest.fixture(params=["sqlite", "postgres"])
def served(portico: StartPortico, request: pytest.FixtureRequest) -> PorticoProcess:
    process = portico(request.param, yaml.safe_load(DECLARED))
    for client in ("acme", "rival"):
        assert process.client.post("/clients", json={"id": client, "name": client}).status_code == 201
    rows = [{"id": number, "title": title, "body": body, "secret": "zebra"} for number, title, body in NOTES]
    assert process.client.post("/api/db/notes", json=rows, headers={"X-Client-ID": "acme"}).status_code == 201
    other = {"id": 9, "title": "Invoice of a rival", "body": "invoice late fee platypus"}
    assert process.client.post("/api/db/notes", json=other, headers={"X-Client-ID": "rival"}).status_code == 201
    return process


@pytest.fixture
def search(served: PorticoProcess) -> Callable[..., httpx2.Response]:
    def ask(q: object, *, client: str = "acme", **more: object) -> httpx2.Response:
        return served.client.post("/api/db/search", json={"q": q, **more}, headers={"X-Client-ID": client})

    return ask


def found(answer: httpx2.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()["data"]]


def test_words_phrases_alternatives_and_exclusions(search: Callable[..., httpx2.Response]) -> None:
    assert sorted(found(search("invoice"))) == ["1", "2", "3"], "the stemmer of English knows the plural"
    assert sorted(found(search('"late fee"'))) == ["1", "3"]
    assert sorted(found(search("invoice -draft"))) == ["1", "3"]
    assert found(search('invoice -draft "late fee" -meeting')) == ["1"]
    assert sorted(found(search("meeting or door"))) == ["3", "4"]
    assert found(search("platypus")) == []
    assert found(search("CAFÉ oak")) == ["4"]
    assert found(search("oak oak or oak")) == ["4"]


def test_the_heavier_field_counts_more(search: Callable[..., httpx2.Response]) -> None:
    answer = search("invoice")
    assert found(answer)[-1] == "3", "it has the word in its body alone"
    scores = [hit["score"] for hit in answer.json()["data"]]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[-1] > 0


def test_highlights_are_safe_to_put_on_a_page(search: Callable[..., httpx2.Response]) -> None:
    (hit,) = search('"late fees"', collections=["notes"], filter={"id": 3}).json()["data"]
    assert re.search("<mark>late(</mark> <mark>| )fees</mark>", hit["highlight"])
    assert "&amp; fines" in hit["highlight"]
    assert "<b>" not in hit["highlight"]
    assert hit["document"]["title"] == "Meeting"


def test_changes_are_found_at_once_and_deleted_documents_never(served: PorticoProcess, search: Callable[..., httpx2.Response]) -> None:
    headers = {"X-Client-ID": "acme"}
    served.client.patch("/api/db/notes/4", json={"body": "a wombat"}, headers=headers)
    assert found(search("wombat")) == ["4"]
    assert found(search("oak")) == []
    served.client.patch("/api/db/notes?id=eq.4", json={"title": "numbat"}, headers=headers)
    assert found(search("numbat")) == ["4"]
    served.client.delete("/api/db/notes/4", headers=headers)
    assert found(search("wombat")) == []
    refused = served.client.post("/api/db/notes", json=[{"id": 20, "title": "quokka"}, {"id": 1, "title": "quokka"}], headers=headers)
    assert refused.status_code == 409
    assert found(search("quokka")) == []


def test_nobody_finds_what_is_another_tenants(search: Callable[..., httpx2.Response]) -> None:
    assert found(search("invoice", client="rival")) == ["9"]
    assert found(search("platypus", client="rival")) == ["9"]
    for tried in (
        "c:rival",
        "t:notes",
        "\x01c:rival",
        "rival",
        "t6E6F7465730",
        "c726976616C0",
        'scope : "c726976616C0"',
        "scope:*",
        "*",
        '" OR "',
    ):
        answer = search(tried)
        assert answer.status_code in {200, 400}, answer.text
        assert "9" not in ([] if answer.status_code == 400 else found(answer)), tried


def test_filters_limits_and_every_collection(served: PorticoProcess, search: Callable[..., httpx2.Response]) -> None:
    headers = {"X-Client-ID": "acme"}
    user = served.client.post("/api/db/users", json={"username": "ann", "full_name": "Ann"}, headers=headers).json()["data"]["user_id"]
    body = {"user_id": user, "project_name": "invoice", "content": "an invoice"}
    document = served.client.post("/api/db/documents", json=body, headers=headers).json()["data"]["document_id"]
    assert set(found(search("invoice"))) == {"1", "2", "3", document}
    assert found(search("invoice", collections=["documents"])) == [document]
    assert found(search("invoice", collections=["notes"], filter={"title": {"$like": "Invoice%"}})) == ["2"]
    assert len(found(search("invoice", limit=2))) == 2
    served.client.delete(f"/api/db/users/{user}", headers=headers)
    assert found(search("invoice", collections=["documents"])) == [], "what a cascade deletes is not found"


BAD: tuple[tuple[object, int], ...] = (
    ({}, 422), ({"q": 1}, 422), ({"q": ""}, 400), ({"q": "-draft"}, 400), ({"q": "x" * 1001}, 400), ({"q": "a", "limit": 0}, 400),
    ({"q": "a", "limit": 101}, 400), ({"q": "a", "limit": "5"}, 422), ({"q": "a", "collections": "notes"}, 422),
    ({"q": "a", "collections": ["nothing"]}, 404), ({"q": "a", "collections": ["clients"]}, 400), ({"q": "a", "collections": []}, 400),
    ({"q": "a", "filter": {"nothing": 1}, "collections": ["notes"]}, 400), ({"q": "a", "more": 1}, 400), ([], 422),
    ({"q": "a", "collections": ["vaults"]}, 403), ({"q": " ".join("abc" for _ in range(40))}, 400), ({"q": "a\u0000b"}, 400),
)  # fmt: skip


def test_bad_searches_are_named(search: Callable[..., httpx2.Response], served: PorticoProcess) -> None:
    for body, status in BAD:
        answer = served.client.post("/api/db/search", json=body)
        assert answer.status_code == status, (body, answer.text)


def test_misspelt_words_are_a_capability(search: Callable[..., httpx2.Response]) -> None:
    answer = search("invioce", collections=["notes"], fuzzy=True)
    assert (answer.status_code, answer.json()["error"]["details"]["capability"]) == (501, "fuzzy_search")


def test_misspelt_words_are_found_where_the_database_has_trigrams(postgres: PostgresServer) -> None:
    content = yaml.safe_load(DECLARED)
    database = prepared_database(postgres, content)
    process = PorticoProcess(content | over(database), warm=True)
    try:
        database.execute("CREATE EXTENSION pg_trgm SCHEMA public")
        assert process.run("init-db").returncode == 0
        process.start()
        for client in ("acme", "rival"):
            rows = [{"id": number + 100 * (client == "rival"), "title": title, "body": body} for number, title, body in NOTES]
            made = process.client.post("/api/db/notes", json=rows, headers={"X-Client-ID": client})
            assert made.status_code == 201, made.text

        def ask(q: str, **more: object) -> list[str]:
            body = {"q": q, "collections": ["notes"], **more}
            return found(process.client.post("/api/db/search", json=body, headers={"X-Client-ID": "acme"}))

        assert ask("invioce") == []
        assert set(ask("invioce", fuzzy=True)) == {"1", "2", "3"}
        assert ask("invioce march", fuzzy=True)[0] == "2"
        assert "2" not in ask("invioce -march", fuzzy=True)
        assert ask("invoice", fuzzy=True)[0] in {"1", "2"}, "what is written right comes first"
    finally:
        process.close()
        database.drop()


def test_search_goes_on_after_migrations(served: PorticoProcess, search: Callable[..., httpx2.Response]) -> None:
    wider = {"name": "status", "type": "string(90)"}
    operations: list[dict[str, object]] = [
        {
            "create_collection": {
                "name": "papers",
                "fields": PAPER,
                "security": {"access_control": "shared"},
                "search": {"fields": ["text"]},
            }
        },
        {"add_field": {"collection": "papers", "field": {"name": "extra", "type": "text"}}},
        {"alter_field": {"collection": "papers", "field": {**wider, "name": "status"}}},
        {"rename_field": {"collection": "papers", "name": "extra", "to": "more"}},
        {"drop_field": {"collection": "papers", "name": "more"}},
    ]
    for number, operation in enumerate(operations):
        body = {"name": f"step {number}", "version": "1", "database": "main", "operations": [operation]}
        answer = served.client.post("/api/db/migrations", json=body)
        assert answer.status_code == 201, answer.text
        made = served.client.post("/api/db/papers", json={"id": number, "text": f"paper wombat{number}", "status": "new"})
        assert made.status_code == 201, made.text
        assert found(search(f"wombat{number}", collections=["papers"])) == [str(number)]
    assert len(found(search("paper", collections=["papers"]))) == len(operations)
