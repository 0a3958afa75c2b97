"""Limits that the operator sets: what is beyond them is refused by name, and changes nothing."""

from typing import Literal

import httpx2
import pytest

from tests.conftest import StartPortico


def created(client: httpx2.Client, name: str, body: dict[str, object]) -> str:
    """The key of a new document."""
    answer = client.post(f"/api/db/{name}", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.headers["location"].rpartition("/")[2])


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_a_delete_touches_no_more_documents_through_its_cascades_than_configured(
    portico: StartPortico, engine: Literal["sqlite", "postgres"]
) -> None:
    client = portico(engine, {"limits": {"delete_cascade_rows": 2}}).client
    client.post("/api/db/clients", json={"id": "acme", "name": "Acme"}).raise_for_status()
    client.headers["X-Client-ID"] = "acme"
    user = created(client, "users", {"username": "ann", "full_name": "Ann Other"})
    talk = created(client, "conversations", {"user_id": user, "title": "A talk"})
    for content in ("one", "two"):
        created(client, "messages", {"conversation_id": talk, "role": "user", "content": content})

    refused = client.delete(f"/api/db/users/{user}")
    assert refused.status_code == 422
    assert refused.json()["error"]["code"] == "too_many_affected"
    assert refused.json()["error"]["details"] == {"max_affected": 2}
    assert client.get(f"/api/db/conversations/{talk}").status_code == 200

    assert client.delete(f"/api/db/conversations/{talk}").status_code == 204
    assert client.delete(f"/api/db/users/{user}").status_code == 204
