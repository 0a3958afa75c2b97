"""Row filters of a key: which documents a service reaches at all, as the operator wrote it."""

import json
from typing import Literal

import pytest

from tests.conftest import StartPortico


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_a_row_filter_may_look_at_a_field_that_every_caller_is_denied(portico: StartPortico, engine: Literal["sqlite", "postgres"]) -> None:
    process = portico(engine, {"auth": {"required": True}})
    made = process.run("key", "create", "--service", "all", "--clients", "*", "--allow", "*:*", "--json")
    process.client.headers.update({"X-API-Key": json.loads(made.stdout)["key"], "X-Client-ID": "acme"})
    process.client.post("/api/db/clients", json={"id": "acme", "name": "Acme"}).raise_for_status()
    for user in ({"username": "ann", "password": "violet river 42 stones"}, {"username": "ben"}):
        process.client.post("/api/db/users", json={"full_name": "A Name", **user}).raise_for_status()

    of_passwords = ("--row-filter", 'users:{"password_hash": {"$ne": null}}')
    limited = process.run("key", "create", "--service", "few", "--clients", "acme", "--allow", "*:*", *of_passwords, "--json")
    answer = process.client.get("/api/db/users?select=username", headers={"X-API-Key": json.loads(limited.stdout)["key"]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"] == [{"username": "ann"}]
    asked = process.client.get("/api/db/users?password_hash=is.null", headers={"X-API-Key": json.loads(limited.stdout)["key"]})
    assert asked.json()["error"]["code"] == "hidden_field"
