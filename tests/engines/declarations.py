"""Collections that the compliance suite declares: one with a field of each type, and a small family of tenants, owners and parents."""

from __future__ import annotations

from typing import Any

from portico.model.scope import Scope

Document = dict[str, Any]


def _field(name: str, kind: str, *constraints: str, required: bool = False, **more: object) -> Document:
    return {"name": name, "type": kind, "required": required, "constraints": list(constraints), **more}


THINGS: Document = {
    "name": "things",
    "fields": [
        _field("id", "integer", "primary_key", required=True),
        _field("text", "text"),
        _field("number", "integer"),
        _field("big", "bigint"),
        _field("ratio", "float"),
        _field("price", "decimal(12,2)"),
        _field("flag", "boolean"),
        _field("ref", "uuid"),
        _field("day", "date"),
        _field("moment", "datetime"),
        _field("data", "json"),
        _field("raw", "binary"),
        _field("kind", "enum(a,b,c)"),
        _field("tags", "string[]"),
    ],
    "security": {"access_control": "shared"},
}

ROWS: tuple[Document, ...] = (
    {
        "id": 1, "text": "alpha", "number": 1, "big": 9007199254740993, "ratio": 0.1, "price": 1, "flag": True,
        "ref": "00000000-0000-4000-8000-000000000001", "day": "2024-01-01", "moment": "2024-01-01T00:00:00Z",
        "data": {"lang": "en", "n": 1, "list": [1, 2, {"deep": "x"}], "on": True}, "raw": "AQI=", "kind": "a", "tags": ["x", "y"],
    },
    {
        "id": 2, "text": "Beta_100%", "number": 2, "big": -9007199254740993, "ratio": 2.5, "price": 2, "flag": False,
        "ref": "00000000-0000-4000-8000-000000000002", "day": "2024-02-29", "moment": "2024-02-29T12:30:00.5Z",
        "data": {"lang": "de", "n": 2.5, "list": [], "on": False, "0": "zero"}, "raw": "", "kind": "b", "tags": ["y"],
    },
    {
        "id": 3, "text": "ÄGYPTEN\nnext", "number": 3, "big": 3, "ratio": 1e300, "price": 3, "flag": None,
        "ref": "00000000-0000-4000-8000-000000000003", "day": "1999-12-31", "moment": "1999-12-31T23:59:59.999999Z",
        "data": {"lang": None, "n": "1", "list": [{"k": 1}, {"k": 2, "v": "b"}]}, "raw": "/w==", "kind": "c", "tags": [],
    },
    {
        "id": 4, "text": None, "number": None, "big": None, "ratio": None, "price": None, "flag": None, "ref": None, "day": None,
        "moment": None, "data": None, "raw": None, "kind": None, "tags": None,
    },
)  # fmt: skip

CLIENTS: Document = {
    "name": "clients",
    "fields": [_field("id", "string(255)", "primary_key", required=True), _field("name", "string(255)", required=True)],
    "security": {"access_control": "tenant", "tenant_field": "id"},
}
USERS: Document = {
    "name": "users",
    "fields": [
        _field("user_id", "uuid", "primary_key", required=True),
        _field("client_id", "string(255)", "references:clients.id"),
        _field("email", "string(255)", "unique"),
        _field("password_hash", "string(255)"),
    ],
    "relations": [{"name": "conversations", "collection": "conversations", "local": "user_id", "foreign": "user_id"}],
    "security": {"access_control": "tenant", "tenant_field": "client_id", "hidden": ["password_hash"]},
    "audit": True,
}
CONVERSATIONS: Document = {
    "name": "conversations",
    "fields": [
        _field("conversation_id", "uuid", "primary_key", required=True),
        _field("user_id", "uuid", "references:users.user_id:cascade", required=True),
        _field("title", "string(500)", required=True),
    ],
    "relations": [
        {"name": "messages", "collection": "messages", "local": "conversation_id", "foreign": "conversation_id"},
        {"name": "user", "collection": "users", "local": "user_id", "foreign": "user_id", "many": False},
    ],
    "security": {"access_control": "owner", "owner_field": "user_id"},
    "audit": True,
    "versioned": True,
}
MESSAGES: Document = {
    "name": "messages",
    "fields": [
        _field("message_id", "integer", "primary_key", required=True),
        _field("conversation_id", "uuid", "references:conversations.conversation_id:cascade", required=True),
        _field("content", "text", required=True),
        _field("size", "integer", "min:0"),
        _field("reply_to", "integer", "references:messages.message_id:set_null"),
    ],
    "relations": [
        {"name": "conversation", "collection": "conversations", "local": "conversation_id", "foreign": "conversation_id", "many": False}
    ],
    "security": {"access_control": "relation", "relation": "conversation"},
    "audit": True,
}
FAMILY = (CLIENTS, USERS, CONVERSATIONS, MESSAGES)

ANN, BEN, EVE = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 3))
OF_ANN, OF_BEN, OF_EVE = (f"00000000-0000-4000-8000-0000000000{number}" for number in (11, 12, 13))
HOME, AWAY = Scope(clients=("home",)), Scope(clients=("away",))
ODD = Scope(clients=("a,b",))
BOTH = Scope(clients=("home", "away"))
NOBODY = Scope()
OF_ANN_ALONE = Scope(clients=("home",), users=(ANN,))
