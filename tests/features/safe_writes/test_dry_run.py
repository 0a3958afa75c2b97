"""`Prefer: tx=rollback`: a write is run, answered and undone."""

from collections.abc import Callable

from tests.servers.portico import PorticoProcess

Companions = Callable[[], dict[str, int]]
Fresh = Callable[[], str]
DRY = {"Prefer": "tx=rollback"}


def test_a_dry_run_answers_what_the_write_would_and_leaves_nothing(service: PorticoProcess, fresh: Fresh) -> None:
    one, two = fresh(), fresh()
    service.client.post("/api/db/clients", json={"id": one, "name": "A"})
    before = service.client.get("/api/db/clients?order=id").json()["data"]
    operations = [{"op": "insert", "collection": "clients", "document": {"id": two, "name": "B"}}]
    answers = [
        service.client.post("/api/db/clients", json={"id": two, "name": "B"}, headers=DRY),
        service.client.post("/api/db/clients", json=[{"id": two, "name": "B"}], headers=DRY),
        service.client.patch(f"/api/db/clients/{one}", json={"name": "C"}, headers=DRY),
        service.client.put(f"/api/db/clients/{one}", json={"name": "D"}, headers=DRY),
        service.client.patch(f"/api/db/clients?id=eq.{one}", json={"name": "E"}, headers={"Prefer": "return=representation, tx=rollback"}),
        service.client.delete(f"/api/db/clients?id=eq.{one}", headers=DRY),
        service.client.delete(f"/api/db/clients/{one}", headers=DRY),
        service.client.post("/api/db/transaction", json={"operations": operations}, headers=DRY),
        service.client.post(
            f"/clients/{two}/documents", json={"filename": two, "file_size": 1, "file_type": "t", "file_path": "/"}, headers=DRY
        ),
        service.client.post("/events", json={"of": two}, headers=DRY),
        service.client.post("/rest/v1/clients", json={"id": two, "name": "B"}, headers=DRY),
    ]
    assert [answer.status_code for answer in answers] == [201, 201, 200, 200, 200, 200, 204, 200, 201, 201, 201]
    assert {answer.headers.get("preference-applied") for answer in answers} == {"tx=rollback"}
    assert answers[2].json()["data"]["name"] == "C"
    assert answers[4].json()["data"][0]["name"] == "E"
    assert service.client.get("/api/db/clients?order=id").json()["data"] == before
    assert service.client.get(f"/api/db/events/count?data->>of=eq.{two}").json()["data"] == 0


def test_no_companion_row_remains_of_a_dry_run(service: PorticoProcess, companions: Companions, fresh: Fresh) -> None:
    one = fresh()
    service.client.post("/api/db/clients", json={"id": one, "name": "A"}).raise_for_status()
    user = {"client_id": one, "username": one, "email": f"{one}@example.com", "full_name": "U"}
    owner = service.client.post("/api/db/users", json=user).raise_for_status().json()["data"]["user_id"]
    document = {"user_id": owner, "project_name": one, "content": "c"}
    before = companions()
    headers = DRY | {"Idempotency-Key": fresh()}
    assert service.client.post("/api/db/documents", json=document, headers=headers).status_code == 201
    assert service.client.patch(f"/api/db/users/{owner}", json={"full_name": "V"}, headers=headers).status_code == 200
    assert companions() == before
    assert service.client.post("/api/db/documents", json=document).status_code == 201
    after = companions()
    assert (after["audit"], after["versions"]) == (before["audit"] + 1, before["versions"] + 1)


def test_a_dry_run_that_would_fail_is_answered_so(service: PorticoProcess, fresh: Fresh) -> None:
    one = fresh()
    service.client.post("/api/db/clients", json={"id": one, "name": "A"})
    answer = service.client.post("/api/db/clients", json={"id": one, "name": "A"}, headers=DRY)
    assert answer.status_code == 409
    assert "preference-applied" not in answer.headers


def test_a_dry_run_uses_up_no_key(service: PorticoProcess, fresh: Fresh) -> None:
    one, key = fresh(), {"Idempotency-Key": fresh()}
    create = {"id": one, "name": "A"}
    assert service.client.post("/api/db/clients", json=create, headers=DRY | key).status_code == 201
    answer = service.client.post("/api/db/clients", json=create, headers=key)
    assert answer.status_code == 201
    assert "idempotency-replayed" not in answer.headers


def test_a_write_that_is_to_be_committed_may_say_so_and_another_wish_is_refused(service: PorticoProcess, fresh: Fresh) -> None:
    one = fresh()
    assert service.client.post("/api/db/clients", json={"id": one, "name": "A"}, headers={"Prefer": "tx=maybe"}).status_code == 400
    assert service.client.post("/api/db/clients", json={"id": one, "name": "A"}, headers={"Prefer": "tx=commit"}).status_code == 201
    assert service.client.get(f"/api/db/clients/{one}").status_code == 200
