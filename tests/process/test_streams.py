"""How HTTP/1.1 is spoken on the wire: bodies in pieces, `Expect: 100-continue`, pipelined requests; and imports of many lines."""

import json
import socket
from collections.abc import Iterator

import httpx2
import pytest

from tests.conftest import StartPortico
from tests.process.load import request
from tests.process.workers import rss_of, workers_of

MOST_GROWTH = 24 * 1024 * 1024
LINES = 20_000


def _answers(connection: socket.socket, count: int) -> bytes:
    """What comes until this many answers with status lines were begun and the last one's body is there."""
    received = b""
    while received.count(b"HTTP/1.1 2") < count or not received.endswith(b"}"):
        part = connection.recv(65_536)
        assert part, received
        received += part
    return received


def test_requests_sent_one_after_the_other_without_waiting_are_answered_in_their_order(portico: StartPortico) -> None:
    process = portico()
    with socket.create_connection(("127.0.0.1", process.port), timeout=10) as connection:
        creates = b"".join(request("POST", "/api/db/clients", {"id": f"pipe{n}", "name": "Pipe"}) for n in range(5))
        connection.sendall(creates + request("GET", "/api/db/clients/count?id=like.pipe*"))
        received = _answers(connection, 6)
    places = [received.index(f'"pipe{n}"'.encode()) for n in range(5)]
    assert places == sorted(places)
    assert json.loads(received[received.rindex(b"\r\n\r\n") :])["data"] == 5


def test_a_caller_who_waits_for_100_continue_is_told_to_go_on(portico: StartPortico) -> None:
    process = portico()
    head, _, body = request("POST", "/api/db/clients", {"id": "late", "name": "Late"}, "Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", process.port), timeout=10) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 100")
        connection.sendall(body)
        assert _answers(connection, 1).startswith(b"HTTP/1.1 201")


def test_a_body_in_pieces_of_unknown_length_is_read_to_its_end(portico: StartPortico) -> None:
    process = portico()
    pieces = iter([b'{"id":"pi', b'eces","na', b'me":"Pieces"}'])
    answer = httpx2.post(f"{process.url}/api/db/clients", content=pieces, headers={"Content-Type": "application/json"})
    assert answer.status_code == 201
    assert process.client.get("/api/db/clients/pieces").json()["data"]["name"] == "Pieces"


def _lines(bad: range) -> Iterator[bytes]:
    for number in range(LINES):
        line = {
            "client_id": "demo",
            "filename": f"import-{number}",
            "file_size": "much" if number in bad else number,
            "file_type": "text/plain",
        }
        yield json.dumps(line | {"file_path": f"/files/{number}"}).encode() + b"\n"


@pytest.mark.database
@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_an_import_of_many_lines_takes_little_memory_and_names_the_first_hundred_that_are_wrong(
    portico: StartPortico, over: dict[str, object]
) -> None:
    process = portico(config=over)
    process.client.post("/api/db/clients", json={"id": "demo", "name": "Demo"})
    (worker,) = workers_of(process)
    before = rss_of(worker)
    url, headers = f"{process.url}/api/db/document_metadata/import", {"Content-Type": "application/x-ndjson"}
    refused = httpx2.post(url, content=_lines(range(500, 900)), headers=headers, timeout=60)
    assert refused.status_code == 422
    assert [error["line"] for error in refused.json()["error"]["details"]["errors"]] == list(range(501, 601))
    assert process.client.get("/api/db/document_metadata/count?filename=like.import-*").json()["data"] == 0
    taken = httpx2.post(url, content=_lines(range(0)), headers=headers, timeout=60)
    assert (taken.status_code, taken.json()["data"]) == (201, {"count": LINES})
    with httpx2.stream("GET", f"{process.url}/api/db/document_metadata/export?filename=like.import-*", timeout=60) as answer:
        assert sum(part.count(b"\n") for part in answer.iter_raw()) == LINES
    assert rss_of(worker, "VmHWM") - before < MOST_GROWTH


@pytest.mark.database
@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_while_an_import_runs_others_read_and_when_its_caller_leaves_nothing_is_written(
    portico: StartPortico, over: dict[str, object]
) -> None:
    process = portico(config=over)
    process.client.post("/api/db/clients", json={"id": "demo", "name": "Demo"})
    count = "/api/db/document_metadata/count?filename=like.import-*"
    body = b"".join(_lines(range(0)))
    head = b"POST /api/db/document_metadata/import HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
    with socket.create_connection(("127.0.0.1", process.port), timeout=10) as connection:
        connection.sendall(head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert process.client.get(count).json()["data"] == 0
    made = process.client.post("/api/db/clients", json={"id": "after", "name": "After"})
    assert made.status_code == 201, made.text
    assert process.client.get(count).json()["data"] == 0
