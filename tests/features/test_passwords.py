"""Users with passwords: hashed by Portico, held to a policy, and never seen again in any form."""

import json
import re
from pathlib import Path

import httpx2
import psycopg
import pytest
from argon2 import PasswordHasher

from tests.conftest import StartPortico
from tests.servers.portico import PorticoProcess

GOOD = "violet river 42 stones"
OTHER = "seven lamps beside a door"
REFUSED = ("short", "a" * 11, "password1234", "aaaaaaaaaaaaaaaa", "123456789012", "x" * 1025, 123456789012, "a\0" + GOOD)


@pytest.fixture(params=["sqlite", "postgres"])
def served(portico: StartPortico, request: pytest.FixtureRequest) -> PorticoProcess:
    process = portico(request.param)
    process.client.post("/api/db/clients", json={"id": "acme", "name": "Acme"})
    process.client.headers["X-Client-ID"] = "acme"
    return process


def user(name: str, **more: object) -> dict[str, object]:
    return {"username": name, "full_name": "Ann Other", **more}


def ok(response: httpx2.Response) -> dict[str, object]:
    assert response.status_code < 300, response.text
    data: dict[str, object] = response.json()["data"]
    return data


def stored(process: PorticoProcess, statement: str) -> list[tuple[object, ...]]:
    """What the database holds, asked behind Portico's back."""
    configured = process.run("config", "--json").stdout
    if "postgresql" not in configured:
        import sqlite3
        from contextlib import closing

        with closing(sqlite3.connect(next(Path(process.folder).rglob("portico.db")))) as connection:
            return connection.execute(statement.replace("app.", "").replace("portico.", "portico_")).fetchall()
    import yaml

    dsn = yaml.safe_load(process.config_file.read_text())["databases"]["main"]["migration_connection_string"]
    with psycopg.connect(dsn) as connection:
        connection.execute("SET ROLE appowner")
        connection.execute("SELECT set_config('portico.all', 'on', false)")
        return connection.execute(statement.encode()).fetchall()


def hash_of(process: PorticoProcess, name: str) -> str | None:
    ((found,),) = stored(process, f"SELECT password_hash FROM app.users WHERE username = '{name}'")
    assert found is None or isinstance(found, str)
    return found


def opens(process: PorticoProcess, name: str, password: str) -> bool:
    found = hash_of(process, name)
    assert found is not None
    assert found.startswith("$argon2id$")
    return PasswordHasher().verify(found, password)


def test_a_password_is_stored_as_an_argon2id_hash_however_it_is_written(served: PorticoProcess):
    client = served.client
    ann = ok(client.post("/api/db/users", json=user("ann", password=GOOD)))
    assert opens(served, "ann", GOOD)

    ok(client.post("/api/db/users", json=[user("ben", password=GOOD), user("cat"), user("dan", password=OTHER)]))
    assert opens(served, "ben", GOOD)
    assert opens(served, "dan", OTHER)
    assert hash_of(served, "cat") is None

    lines = "\n".join(json.dumps(item) for item in (user("eve", password=GOOD), user("fay")))
    ok(client.post("/api/db/users/import", content=lines, headers={"Content-Type": "application/x-ndjson"}))
    assert opens(served, "eve", GOOD)
    assert hash_of(served, "fay") is None

    ok(client.patch(f"/api/db/users/{ann['user_id']}", json={"password": OTHER}))
    assert opens(served, "ann", OTHER)
    ok(client.put(f"/api/db/users/{ann['user_id']}", json=user("ann", role="admin")))
    assert opens(served, "ann", OTHER)
    ok(client.put(f"/api/db/users/{ann['user_id']}", json=user("ann", password=GOOD)))
    assert opens(served, "ann", GOOD)

    ok(client.patch("/api/db/users?username=in.(cat,fay)", json={"password": OTHER}))
    assert opens(served, "cat", OTHER)
    assert opens(served, "fay", OTHER)
    ok(client.patch(f"/api/db/users/{ann['user_id']}", json={"password": None}))
    assert hash_of(served, "ann") is None


def test_neither_the_password_nor_its_hash_comes_back_or_is_kept_anywhere_else(served: PorticoProcess):
    client = served.client
    made = client.post("/api/db/users", json=user("ann", password=GOOD))
    key = ok(made)["user_id"]
    seen = [made.text]
    seen += [client.patch(f"/api/db/users/{key}", json={"password": OTHER}).text, client.get(f"/api/db/users/{key}").text]
    seen += [client.get("/api/db/users").text, client.get("/api/db/users/export").text]
    seen += [client.get("/api/db/users?select=password").text, client.patch(f"/api/db/users/{key}", json={"password": "short-one"}).text]
    seen += [str(stored(served, "SELECT * FROM portico.audit"))]
    served.stop()
    seen.append(served.log_text())
    for text in seen:
        assert GOOD not in text
        assert OTHER not in text
        assert "short-one" not in text
        assert "argon2" not in text


def test_the_hash_itself_can_be_neither_read_nor_written_nor_asked_about(served: PorticoProcess):
    client = served.client
    key = ok(client.post("/api/db/users", json=user("ann", password=GOOD)))["user_id"]
    forged = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$aaaa"
    assert client.post("/api/db/users", json=user("ben", password_hash=forged)).status_code == 403
    assert client.patch(f"/api/db/users/{key}", json={"password_hash": forged}).status_code == 403
    assert client.get("/api/db/users?select=password_hash").status_code == 403
    assert client.get("/api/db/users?password_hash=not.is.null").status_code == 403
    assert client.get("/api/db/users?password=eq.x").status_code == 400
    assert opens(served, "ann", GOOD)


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_a_password_that_breaks_the_policy_is_refused_and_nothing_is_written(portico: StartPortico, engine):
    process = portico(engine)
    client = process.client
    for password in REFUSED:
        answer = client.post("/api/db/users", json=user("ann", password=password))
        assert answer.status_code in (400, 422), (password, answer.text)
        assert str(password) not in answer.text
    own_name = client.post("/api/db/users", json=user("annabel.otherwise", password="annabel.otherwise"))
    assert own_name.status_code == 422
    assert own_name.json()["error"]["code"] == "constraint_violated"
    several = client.post("/api/db/users", json=[user("ann", password=GOOD), user("ben", password="password1234")])
    assert several.status_code == 422
    assert several.json()["error"]["details"]["index"] == 1
    imported = "\n".join(json.dumps(item) for item in (user("ann", password=GOOD), user("ben", password="short")))
    answer = client.post("/api/db/users/import", content=imported, headers={"Content-Type": "application/x-ndjson"})
    assert answer.status_code == 422
    assert [line["line"] for line in answer.json()["error"]["details"]["errors"]] == [2]
    assert all(row["username"] == "ada" for row in client.get("/api/db/users").json()["data"])


def test_the_shortest_password_is_a_setting(portico: StartPortico):
    process = portico(config={"auth": {"password_min_length": 20}})
    assert process.client.post("/api/db/users", json=user("ann", password="violet-river-stone")).status_code == 422
    assert process.client.post("/api/db/users", json=user("ann", password=GOOD)).status_code == 201


def test_any_collection_may_have_passwords(portico: StartPortico):
    doors = {
        "name": "doors",
        "fields": [
            {"name": "id", "type": "uuid", "default_value": "uuid7", "constraints": ["primary_key"]},
            {"name": "code_hash", "type": "text"},
        ],
        "security": {"access_control": "shared", "passwords": {"code": "code_hash"}},
    }
    process = portico(config={"collections": [doors]})
    made = process.client.post("/api/db/doors", json={"code": GOOD})
    assert made.status_code == 201
    assert set(made.json()["data"]) == {"id"}
    assert process.client.get("/api/db/doors?select=code_hash").status_code == 403


def test_the_openapi_document_says_that_a_password_is_only_written(portico: StartPortico):
    schemas = portico().client.get("/openapi.json").json()["components"]["schemas"]
    written = [schema["properties"]["password"] for schema in schemas.values() if "password" in schema.get("properties", {})]
    assert written
    assert all(member["writeOnly"] for member in written)
    assert not any("password_hash" in schema.get("properties", {}) for schema in schemas.values())


def test_a_user_has_a_name_by_which_to_find_it(served: PorticoProcess):
    client = served.client
    nobody = client.post("/api/db/users", json={"full_name": "Ann Other"})
    assert nobody.status_code == 422
    assert re.search("username.*email", nobody.json()["message"])
    assert client.post("/api/db/users", json={"full_name": "Ann Other", "email": None}).status_code == 422
    key = ok(client.post("/api/db/users", json={"full_name": "Ann Other", "email": "ann@example.org"}))["user_id"]
    assert client.put(f"/api/db/users/{key}", json={"full_name": "Ann Other"}).status_code == 422
    assert client.patch(f"/api/db/users/{key}", json={"email": None, "username": None}).status_code == 422
    assert client.patch(f"/api/db/users/{key}", json={"email": None, "username": "ann"}).status_code == 200


def test_the_full_name_is_made_of_first_and_last_name_where_it_is_not_given(served: PorticoProcess):
    client = served.client
    both = ok(client.post("/api/db/users", json={"username": "ann", "first_name": "Ann", "last_name": "Other"}))
    assert both["full_name"] == "Ann Other"
    assert ok(client.post("/api/db/users", json={"username": "ben", "last_name": "Bold"}))["full_name"] == "Bold"
    assert ok(client.post("/api/db/users", json=user("cat", first_name="C")))["full_name"] == "Ann Other"
    assert client.post("/api/db/users", json={"username": "dan"}).status_code == 422
    assert client.post("/api/db/users", json={"username": "dan", "first_name": ""}).status_code == 422
    replaced = ok(client.put(f"/api/db/users/{both['user_id']}", json={"username": "ann", "first_name": "Anne", "last_name": "Other"}))
    assert replaced["full_name"] == "Anne Other"
