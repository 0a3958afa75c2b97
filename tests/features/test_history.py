"""Versions of documents: kept with each change, shown to whom the document is shown, and set back to."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from tests.conftest import StartPortico
from tests.servers.portico import PorticoProcess

NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(params=["sqlite", "postgres"])
def served(portico: StartPortico, request: pytest.FixtureRequest) -> PorticoProcess:
    return portico(request.param)


def ok(answer: httpx2.Response, status: int = 200) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    data: dict[str, object] = answer.json()["data"]
    return data


@pytest.fixture
def user(served: PorticoProcess) -> Callable[[str], dict[str, str]]:
    """Make a tenant with a user, and give the headers that act for both."""

    def make(client: str) -> dict[str, str]:
        ok(served.client.post("/api/db/clients", json={"id": client, "name": client}), 201)
        body = {"username": f"{client}-ann", "full_name": "Ann Other"}
        made = ok(served.client.post("/api/db/users", json=body, headers={"X-Client-ID": client}), 201)
        return {"X-Client-ID": client, "X-User-ID": str(made["user_id"])}

    return make


def document(served: PorticoProcess, headers: dict[str, str], **more: object) -> str:
    body = {"user_id": headers["X-User-ID"], "project_name": "door", "content": "one", **more}
    return f"/api/db/documents/{ok(served.client.post('/api/db/documents', json=body, headers=headers), 201)['document_id']}"


def versions(served: PorticoProcess, path: str, headers: dict[str, str]) -> list[tuple[int, str, str | None]]:
    found = served.client.get(f"{path}/history", headers=headers)
    assert found.status_code == 200, found.text
    return [(item["version"], item["operation"], (item["document"] or {}).get("content")) for item in found.json()["data"]]


def test_each_change_is_kept_with_who_and_what(served: PorticoProcess, user: Callable[[str], dict[str, str]]) -> None:
    mine = user("acme")
    path = document(served, mine)
    ok(served.client.patch(path, json={"content": "two"}, headers={**mine, "X-Correlation-ID": "second"}))
    ok(served.client.patch("/api/db/documents?content=eq.two", json={"content": "three"}, headers=mine))
    assert served.client.delete(path, headers=mine).status_code == 204
    assert versions(served, path, mine) == [(4, "delete", None), (3, "update", "three"), (2, "update", "two"), (1, "create", "one")]
    second = ok(served.client.get(f"{path}/history/2", headers=mine))
    assert (second["service"], second["client_id"], second["user_id"]) == ("dev", "acme", mine["X-User-ID"])
    assert second["correlation_id"] == "second"
    kept = second["document"]
    assert isinstance(kept, dict)
    assert list(kept)[:4] == ["document_id", "user_id", "project_name", "content"]


def test_a_restore_makes_a_new_version_of_an_old_one(served: PorticoProcess, user: Callable[[str], dict[str, str]]) -> None:
    mine = user("acme")
    path = document(served, mine)
    first = ok(served.client.get(path, headers=mine))
    exact = '{"content": "two", "metadata": {"n": 12345678901234567890.5}}'
    ok(served.client.patch(path, content=exact, headers={**mine, "Content-Type": "application/json"}))
    restored = ok(served.client.post(f"{path}/restore", json={"version": 1}, headers=mine))
    assert {**restored, "updated_at": None} == {**first, "updated_at": None}
    ok(served.client.post(f"{path}/restore", json={"version": 2}, headers=mine))
    assert '"n":12345678901234567890.5' in served.client.get(path, headers=mine).text.replace(" ", "")
    assert [number for number, _, _ in versions(served, path, mine)] == [4, 3, 2, 1]


def test_a_deleted_document_comes_back_by_a_restore(served: PorticoProcess, user: Callable[[str], dict[str, str]]) -> None:
    mine = user("acme")
    path = document(served, mine)
    served.client.delete(path, headers=mine)
    assert served.client.post(f"{path}/restore", json={"version": 2}, headers=mine).status_code == 400
    assert ok(served.client.post(f"{path}/restore", json={"version": 1}, headers=mine), 201)["content"] == "one"
    assert ok(served.client.get(path, headers=mine))["content"] == "one"
    assert versions(served, path, mine)[0] == (3, "create", "one")


def test_a_stale_restore_is_refused(served: PorticoProcess, user: Callable[[str], dict[str, str]]) -> None:
    mine = user("acme")
    path = document(served, mine)
    tag = served.client.get(path, headers=mine).headers["etag"]
    ok(served.client.patch(path, json={"content": "two"}, headers=mine))
    stale = served.client.post(f"{path}/restore", json={"version": 1}, headers={**mine, "If-Match": tag})
    assert stale.status_code == 412
    assert len(versions(served, path, mine)) == 2


def test_history_is_scoped_like_its_document(served: PorticoProcess, user: Callable[[str], dict[str, str]]) -> None:
    mine, other = user("acme"), user("rival")
    path, gone = document(served, mine), document(served, mine)
    served.client.delete(gone, headers=mine)
    same_client = {"X-Client-ID": "acme"}
    another_user = {"X-Client-ID": "acme", "X-User-ID": NOBODY}
    for place in (path, gone):
        assert versions(served, place, same_client)
        for headers in (other, {"X-Client-ID": "rival"}, another_user):
            for call in ("history", "history/1"):
                assert served.client.get(f"{place}/{call}", headers=headers).status_code == 404
            assert served.client.post(f"{place}/restore", json={"version": 1}, headers=headers).status_code == 404


def test_documents_that_a_cascade_deletes_keep_their_versions(served: PorticoProcess, user: Callable[[str], dict[str, str]]) -> None:
    mine = user("acme")
    path = document(served, mine)
    assert served.client.delete(f"/api/db/users/{mine['X-User-ID']}", headers={"X-Client-ID": "acme"}).status_code == 204
    assert versions(served, path, {"X-Client-ID": "acme"}) == [(2, "delete", None), (1, "create", "one")]


def test_pages_of_versions_follow_each_other(served: PorticoProcess, user: Callable[[str], dict[str, str]]) -> None:
    mine = user("acme")
    path = document(served, mine)
    for number in range(4):
        ok(served.client.patch(path, json={"content": str(number)}, headers=mine))
    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        more = f"&cursor={cursor}" if cursor else ""
        page = served.client.get(f"{path}/history?limit=2{more}", headers=mine).json()
        seen += [item["version"] for item in page["data"]]
        cursor = page["page"]["next_cursor"]
    assert seen == [5, 4, 3, 2, 1]


def test_writers_at_once_number_their_versions_without_a_gap(served: PorticoProcess, user: Callable[[str], dict[str, str]]) -> None:
    mine = user("acme")
    path = document(served, mine)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda n: served.client.patch(path, json={"content": str(n)}, headers=mine).status_code, range(48)))
    assert answers == [200] * 48
    assert [number for number, _, _ in versions(served, path, mine)] == list(range(49, 0, -1))


def test_bad_questions_are_named(served: PorticoProcess, user: Callable[[str], dict[str, str]]) -> None:
    mine = user("acme")
    path = document(served, mine)
    asked = {
        "/0": 404,
        "/x": 400,
        "/99": 404,
        "?limit=x": 400,
        "?limit=0": 200,
        "?limit=1001": 422,
        "?n=1": 400,
        "?cursor=-1": 400,
        "/1/2": 404,
    }
    for call, status in asked.items():
        answer = served.client.get(f"{path}/history{call}", headers=mine)
        assert answer.status_code == status, answer.text
    bodies: tuple[object, ...] = ({}, {"version": "1"}, {"version": True}, {"version": 1, "more": 1}, [])
    for body in bodies:
        refused = served.client.post(f"{path}/restore", json=body, headers=mine)
        assert refused.status_code in {400, 422}, refused.text


def test_a_collection_without_versions_says_so(served: PorticoProcess, user: Callable[[str], dict[str, str]]) -> None:
    mine = user("acme")
    answer = served.client.get(f"/api/db/users/{mine['X-User-ID']}/history", headers=mine)
    assert (answer.status_code, answer.json()["error"]["details"]["capability"]) == (501, "versions")
