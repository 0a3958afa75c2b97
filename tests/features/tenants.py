"""Two tenants behind one service, each with a key of its own, and random calls of one that must show nothing of the other."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.servers.portico import PorticoProcess

NOBODY = "00000000-0000-4000-8000-000000000999"
COLLECTIONS = ("document_metadata", "documents", "conversations", "messages", "users", "clients", "user_identities")
CONFIG: dict[str, object] = {"auth": {"required": True}}


@dataclass
class Tenant:
    """A tenant: its key, a word that all of its texts hold, and the addresses and ids of its documents."""

    name: str
    secret: str
    headers: dict[str, str]
    ids: dict[str, list[str]] = field(default_factory=dict)
    cursor: str = ""

    def knows(self, text: str) -> bool:
        """Whether a text holds anything of this tenant's."""
        return self.secret in text or any(
            key in text for name, keys in self.ids.items() if name != "clients" for key in keys if len(key) > 8
        )


def tenant(service: PorticoProcess, name: str) -> Tenant:
    """Create a tenant's key, and a few documents of every kind."""
    made = service.run("key", "create", "--service", f"service-{name}", "--clients", name, "--allow", "*:*", "--json")
    assert made.returncode == 0, made.stdout + made.stderr
    key = json.loads(made.stdout)["key"]
    one = Tenant(name, f"secret-of-{name}", {"X-API-Key": key})
    for place in range(3):
        user = _made(
            service, one, "users", {"username": f"{one.secret}-{place}", "email": f"{place}@{one.secret}", "full_name": one.secret}
        )
        talk = _made(service, one, "conversations", {"user_id": user, "title": f"{one.secret} {place}"})
        _made(service, one, "messages", {"conversation_id": talk, "role": "user", "content": one.secret})
        _made(service, one, "documents", {"user_id": user, "project_name": one.secret, "content": one.secret})
        _made(service, one, "user_identities", {"user_id": user, "provider": "p", "subject": f"{one.secret}-{place}"})
        _made(service, one, "document_metadata", metadata(one, f"shared-{place}.txt"))
    one.ids["clients"] = [name]
    page = service.client.get("/api/db/document_metadata?limit=1", headers=one.headers).json()["page"]
    one.cursor = page["next_cursor"]
    return one


def metadata(one: Tenant, filename: str) -> dict[str, object]:
    """An entry for a file of a tenant's."""
    return {"filename": filename, "file_size": 1, "file_type": "t", "file_path": "/p", "summary": one.secret}


def _made(service: PorticoProcess, one: Tenant, name: str, body: dict[str, object]) -> str:
    answer = service.client.post(f"/api/db/{name}", json=body, headers=one.headers)
    assert answer.status_code == 201, answer.text
    key = answer.headers["location"].rpartition("/")[2]
    one.ids.setdefault(name, []).append(key)
    return str(key)


@dataclass
class Calls:
    """Random calls of one tenant, some of them at the other's documents."""

    service: PorticoProcess
    mine: Tenant
    other: Tenant
    chance: random.Random

    def one(self) -> httpx2.Response:
        """Make one call."""
        kinds = (self._get, self._list, self._count, self._query, self._export, self._create, self._refer, self._change, self._delete,
                 self._delete_where, self._update_where, self._cursor, self._headers, self._path, self._import, self._unique)  # fmt: skip
        return self.chance.choice(kinds)()

    def _send(self, method: str, path: str, *, content: Any = None, headers: dict[str, str] | None = None) -> httpx2.Response:
        given = self.mine.headers | (headers or {})
        if content is None:
            return self.service.client.request(method, path, headers=given)
        if isinstance(content, str):
            return self.service.client.request(method, path, content=content, headers=given | {"Content-Type": "application/x-ndjson"})
        return self.service.client.request(method, path, json=content, headers=given)

    def _collection(self) -> str:
        return self.chance.choice(COLLECTIONS)

    def _foreign(self) -> tuple[str, str]:
        name = self._collection()
        return name, self.chance.choice(self.other.ids[name])

    def _hidden(self, answer: httpx2.Response) -> httpx2.Response:
        assert answer.status_code == 404, (answer.request.method, answer.request.url, answer.text)
        return answer

    def _get(self) -> httpx2.Response:
        name, key = self._foreign()
        return self._hidden(self._send("GET", f"/api/db/{name}/{key}"))

    def _list(self) -> httpx2.Response:
        name, key = self._foreign()
        field_ = {"users": "user_id", "clients": "id", "documents": "document_id", "conversations": "conversation_id"}.get(name)
        text = f"?{field_}=eq.{key}" if field_ and self.chance.random() < 0.5 else self.chance.choice(["", "?limit=1000", "?count=exact"])
        return self._send("GET", f"/api/db/{name}{text}")

    def _count(self) -> httpx2.Response:
        name = self._collection()
        answer = self._send("GET", f"/api/db/{name}/count")
        listed = self._send("GET", f"/api/db/{name}?limit=1000")
        assert answer.json()["data"] == len(listed.json()["data"]), name
        return answer

    def _query(self) -> httpx2.Response:
        body = {"filter": {"$or": [{"summary": self.other.secret}, {"id": {"$gt": 0}}]}, "limit": 1000, "count": "exact"}
        return self._send("POST", "/api/db/document_metadata/query", content=body)

    def _export(self) -> httpx2.Response:
        return self._send("GET", f"/api/db/{self._collection()}/export")

    def _create(self) -> httpx2.Response:
        body = metadata(self.mine, f"{self.chance.random()}.txt") | {"client_id": self.other.name}
        answer = self._send("POST", "/api/db/document_metadata", content=body)
        assert answer.status_code == 403, answer.text
        return self._send("POST", "/api/db/document_metadata", content=metadata(self.mine, f"{self.chance.random()}.txt"))

    def _refer(self) -> httpx2.Response:
        """A reference to the other's user or conversation is refused exactly as one to nobody's."""
        theirs = self.chance.choice(self.other.ids["users"])
        talk = self.chance.choice(self.other.ids["conversations"])
        references: list[tuple[str, dict[str, object], str]] = [
            ("document_metadata", {**metadata(self.mine, f"{self.chance.random()}.txt"), "uploaded_by": theirs}, "uploaded_by"),
            ("documents", {"user_id": theirs, "project_name": "p", "content": "c"}, "user_id"),
            ("conversations", {"user_id": theirs, "title": "t"}, "user_id"),
            ("messages", {"conversation_id": talk, "role": "user", "content": "c"}, "conversation_id"),
        ]
        name, body, key = self.chance.choice(references)
        answers = [self._send("POST", f"/api/db/{name}", content=body | {key: value}) for value in (body[key], NOBODY)]
        own = self.chance.choice(self.mine.ids[name])
        answers += [self._send("PATCH", f"/api/db/{name}/{own}", content={key: value}) for value in (body[key], NOBODY)]
        for refused, missing in (answers[:2], answers[2:]):
            assert refused.status_code == missing.status_code == 422, (refused.text, missing.text)
            assert refused.json()["error"] == missing.json()["error"]
            assert refused.json()["message"] == missing.json()["message"]
        return answers[0]

    def _change(self) -> httpx2.Response:
        name, key = self._foreign()
        text = {"users": "full_name", "clients": "name", "documents": "content", "conversations": "title", "messages": "content"}
        body = {text.get(name, "email" if name == "user_identities" else "summary"): "changed"}
        headers = self.chance.choice([{}, {"If-Match": '"0"'}])
        return self._hidden(self._send("PATCH", f"/api/db/{name}/{key}", content=body, headers=headers))

    def _delete(self) -> httpx2.Response:
        name, key = self._foreign()
        return self._hidden(self._send("DELETE", f"/api/db/{name}/{key}"))

    def _delete_where(self) -> httpx2.Response:
        answer = self._send("DELETE", f"/api/db/document_metadata?summary=eq.{self.other.secret}")
        assert answer.json()["data"] == {"count": 0}, answer.text
        return answer

    def _update_where(self) -> httpx2.Response:
        answer = self._send("PATCH", f"/api/db/users?full_name=eq.{self.other.secret}", content={"organization": "changed"})
        assert answer.json()["data"] == {"count": 0}, answer.text
        return answer

    def _cursor(self) -> httpx2.Response:
        return self._send("GET", f"/api/db/document_metadata?limit=1000&cursor={self.other.cursor}")

    def _headers(self) -> httpx2.Response:
        answer = self._send("GET", f"/api/db/{self._collection()}", headers={"X-Client-ID": self.other.name})
        assert answer.status_code == 403, answer.text
        user = self.chance.choice(self.other.ids["users"])
        return self._send("GET", "/api/db/documents", headers={"X-Client-ID": self.mine.name, "X-User-ID": user})

    def _path(self) -> httpx2.Response:
        key = self.chance.choice(self.other.ids["document_metadata"])
        answer = self._send("GET", f"/clients/{self.other.name}/documents/{key}")
        assert answer.status_code == 403, answer.text
        return self._hidden(self._send("GET", f"/clients/{self.mine.name}/documents/{key}"))

    def _import(self) -> httpx2.Response:
        line = json.dumps(metadata(self.mine, f"{self.chance.random()}.txt") | {"client_id": self.other.name})
        answer = self._send("POST", "/api/db/document_metadata/import", content=line + "\n")
        assert answer.status_code in {403, 422}, answer.text
        return answer

    def _unique(self) -> httpx2.Response:
        """A unique value or key that the other holds is the same conflict as one's own."""
        answers = []
        for one in (self.other, self.mine):
            body = {"username": f"{one.secret}-0", "full_name": "x"}
            answers.append(self._send("POST", "/api/db/users", content=body))
        assert answers[0].status_code == answers[1].status_code == 409, [answer.text for answer in answers]
        assert answers[0].json()["error"] == answers[1].json()["error"]
        taken = self.chance.choice(self.other.ids["users"])
        answer = self._send("POST", "/api/db/users", content={"user_id": taken, "username": f"{self.chance.random()}", "full_name": "x"})
        assert answer.status_code == 409, answer.text
        assert not self.other.knows(answer.text.replace(taken, ""))
        return answers[0]
