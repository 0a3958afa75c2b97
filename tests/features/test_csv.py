"""Export and import as CSV, imports that upsert, and what is said of lines that cannot be imported."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import httpx2
import pytest

from tests.features.test_upserts import CONFIG, DOCUMENTS, IGNORE, MERGE, USERS, entry, key
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresServer
from tests.servers.prepared import ENGINES, running


@pytest.fixture(scope="module", params=ENGINES)
def service(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[PorticoProcess]:
    """The service over each engine."""
    with running(request.param, CONFIG, postgres) as process:
        process.client.headers.update({"X-API-Key": key(process, "*:*"), "X-Client-ID": "north"})
        process.client.post("/api/db/clients", json={"id": "north", "name": "north"}).raise_for_status()
        yield process


def load(service: PorticoProcess, path: str, text: str | bytes, headers: dict[str, str] | None = None) -> httpx2.Response:
    """An import of CSV."""
    return service.client.post(path, content=text, headers={"Content-Type": "text/csv; charset=utf-8"} | (headers or {}))


def test_documents_are_exported_and_imported_again(service: PorticoProcess) -> None:
    head = "filename,file_size,file_type,file_path,summary\r\n"
    text = head + 'out-1,1,t,/p,"a ""quoted"", text\r\nof two lines"\r\nout-2,2,t,/p,""\r\nout-3,3,t,/p,\r\n'
    made = load(service, DOCUMENTS + "/import", "\ufeff" + text)
    assert (made.status_code, made.json()["data"]) == (201, {"count": 3}), made.text
    rows = service.client.get(DOCUMENTS + "?filename=like.out-*&order=filename").json()["data"]
    assert [row["summary"] for row in rows] == ['a "quoted", text\r\nof two lines', "", None]
    query = "/export?filename=like.out-*&order=filename&select=filename,file_size,file_type,file_path,summary"
    for answer in (
        service.client.get(DOCUMENTS + query + "&format=csv"),
        service.client.get(DOCUMENTS + query, headers={"Accept": "text/csv"}),
    ):
        assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
        assert answer.text == text
    assert service.client.get(DOCUMENTS + query + "&format=ndjson", headers={"Accept": "text/csv"}).text.startswith("{")


def test_an_export_of_nothing_is_its_header(service: PorticoProcess) -> None:
    answer = service.client.get(DOCUMENTS + "/export?format=csv&filename=eq.none&select=id,name:filename")
    assert (answer.status_code, answer.text) == (200, "id,name\r\n")
    assert service.client.get(DOCUMENTS + "/export?format=xml").status_code == 400
    assert service.client.get(DOCUMENTS + "/export?format=csv&select=none").status_code == 400


def test_values_are_read_by_the_types_of_their_fields(service: PorticoProcess) -> None:
    head = "username,full_name,preferences,is_active,last_login\n"
    made = load(service, USERS + "/import", head + 'typed,A,"{""k"":[1,2.50]}",T,2024-01-01T00:00:00Z\n')
    assert made.status_code == 201, made.text
    row = service.client.get(USERS + "?username=eq.typed").json()["data"][0]
    assert (row["preferences"], row["is_active"], row["last_login"]) == ({"k": [1, 2.5]}, True, "2024-01-01T00:00:00.000000Z")


def test_a_packed_import_is_refused_before_it_is_read(service: PorticoProcess) -> None:
    text = gzip.compress(b"filename,file_size,file_type,file_path\nzipped,1,t,/p\n")
    refused = load(service, DOCUMENTS + "/import", text, {"Content-Encoding": "gzip"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (415, "unsupported_media_type"), refused.text


def test_an_import_upserts_and_says_what_became_of_its_lines(service: PorticoProcess) -> None:
    path = DOCUMENTS + "/import?on_conflict=client_id,filename"
    head = "filename,file_size,file_type,file_path\n"
    load(service, DOCUMENTS + "/import", head + "up-1,1,t,/p\n").raise_for_status()
    text = head + "up-1,2,t,/p\nup-2,2,t,/p\nup-1,3,t,/p\n"
    merged = load(service, path, text, MERGE)
    assert (merged.status_code, merged.json()["data"]) == (201, {"count": 3, "created": 1, "merged": 2, "ignored": 0}), merged.text
    assert service.client.get(DOCUMENTS + "?filename=eq.up-1").json()["data"][0]["file_size"] == 3
    ignored = load(service, path, text, IGNORE)
    assert (ignored.status_code, ignored.json()["data"]) == (200, {"count": 0, "created": 0, "merged": 0, "ignored": 3})
    lines = '{"filename":"up-2","file_size":9,"file_type":"t","file_path":"/p"}\n'
    ndjson = service.client.post(path, content=lines, headers=MERGE | {"Content-Type": "application/x-ndjson"})
    assert (ndjson.status_code, ndjson.json()["data"]["merged"]) == (200, 1)


HEAD = "filename,file_size,file_type,file_path"
WRONG = [
    ("", 400, "invalid_parameter"),
    (HEAD + ",unknown\n", 400, "unknown_field"),
    (HEAD + ",\n", 400, "unknown_field"),
    (HEAD + ",filename\n", 400, "invalid_parameter"),
    ('filename,"file_size\n', 400, "invalid_parameter"),
    (HEAD + "\nw,1,t\n", 422, "invalid_value"),
    (HEAD + "\nw,one,t,/p\n", 422, "invalid_value"),
    (HEAD + '\nw,1,"t"x,/p\n', 422, "invalid_value"),
]


@pytest.mark.parametrize(("text", "status", "code"), WRONG)
def test_what_is_no_csv_of_the_collection_is_refused(service: PorticoProcess, text: str, status: int, code: str) -> None:
    answer = load(service, DOCUMENTS + "/import", text)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert service.client.get(DOCUMENTS + "?filename=eq.w").json()["data"] == []


def test_a_header_is_told_the_name_that_was_likely_meant(service: PorticoProcess) -> None:
    assert load(service, DOCUMENTS + "/import", "filname\n").json()["error"]["hint"] == "Did you mean 'filename'?"


def test_the_first_hundred_lines_that_the_database_refuses_are_named_and_nothing_is_written(service: PorticoProcess) -> None:
    taken = [entry(f"taken-{number}") for number in range(120)]
    service.client.post(DOCUMENTS, json=taken).raise_for_status()
    names = [name for number in range(120) for name in (f"fresh-{number}", f"taken-{number}")]
    text = HEAD + "\n" + "".join(f"{name},1,t,/p\n" for name in names)
    answer = load(service, DOCUMENTS + "/import", text)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "duplicate")
    errors = answer.json()["error"]["details"]["errors"]
    assert [error["line"] for error in errors] == [3 + 2 * place for place in range(100)]
    assert {error["code"] for error in errors} == {"duplicate"}
    assert service.client.get(DOCUMENTS + "?filename=like.fresh-*").json()["data"] == []
