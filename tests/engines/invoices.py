"""The collection over which engines are compared, and its documents: nulls, mixed case, Unicode, every kind of JSON, times and arrays."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresServer
from tests.servers.prepared import ENGINES, running

Document = dict[str, Any]
Services = dict[str, PorticoProcess]
PATH = "/api/db/invoices"

INVOICES: Document = {
    "name": "invoices",
    "fields": [
        {"name": "id", "type": "uuid", "required": True, "constraints": ["primary_key"]},
        {"name": "client_id", "type": "string(255)", "required": True},
        {"name": "total", "type": "decimal(12,2)"},
        {"name": "status", "type": "string(50)"},
        {"name": "kind", "type": "enum(draft,sent,paid)"},
        {"name": "number", "type": "integer"},
        {"name": "big", "type": "bigint"},
        {"name": "rate", "type": "float"},
        {"name": "paid", "type": "boolean"},
        {"name": "due", "type": "date"},
        {"name": "created_at", "type": "datetime"},
        {"name": "metadata", "type": "json"},
        {"name": "tags", "type": "text[]"},
        {"name": "scores", "type": "integer[]"},
        {"name": "payload", "type": "binary"},
    ],
    "security": {"access_control": "shared"},
}

_TEXTS = [
    "", "a", "b", "ab", "A", "aB", "é", "É", "e\u0301", "a b", "a,b", 'q"q', "back\\slash", "(p)", "{x}", "%", "_", "*", "null", "5",
    "true", "ß", "ẞ", "SS", "σ", "ς", "Σ", "ΟΔΟΣ", "i", "I", "İ", "ı", "k", "\u212a", "ſ", "😀", "a\nb", "\t", " ",
    "ﬀ", "Ǆ", "ǅ", "\uffff", "\U0010ffff",
]  # fmt: skip
_INSIDE: list[object] = [
    5, -3, 2.5, 0, -0.0, 2**53, 2**53 + 1, 1e300, 10**400, 1e-300, "5", "a", "A", "", "true", True, False, None, [], {}, [1, 2], {"b": 1},
    "é", 1.0, "σ", "😀",
]  # fmt: skip


def document(place: int) -> Document:
    """The document of this place; always the same one. Its values are few, so that they are often equal, and often null."""
    chance = random.Random(place)

    def some(*values: object, null: float = 0.2) -> Any:
        return None if chance.random() < null else chance.choice(values)

    return {
        "id": f"{chance.getrandbits(32):08x}-0000-4000-8000-{place:012x}",
        "client_id": chance.choice(["one", "two"]),
        "total": some(0, 1, -1, 2.5, 19.99, -0.01, 9999999999.99, 2),
        "status": some(*_TEXTS),
        "kind": some("draft", "sent", "paid"),
        "number": some(0, 1, -1, 5, -5, 2**31 - 1, -(2**31)),
        "big": some(2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 0, 1),
        "rate": some(0, -0.0, 0.1, -0.5, 2.5, 1e300, -1e300, 5e-324),
        "paid": some(True, False),
        "due": some("0001-01-01", "1999-12-31", "2024-02-29", "9999-12-31"),
        "created_at": some(
            "0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z", "2024-02-29T12:30:00.5Z", "2024-02-29T12:30:00.500001Z",
            "9999-12-31T23:59:59.999999Z",
        ),
        "metadata": _metadata(chance),
        "tags": some([], ["a"], ["a", "b"], ["b", "a"], ["a", "a"], ["", "null"], ["a,b", 'q"q', "{x}"], ["é", "😀"]),
        "scores": some([], [0], [1, 2], [2, 1], [-5, 5], [2**31 - 1]),
        "payload": some("", "AQI=", "/w=="),
    }  # fmt: skip


def _metadata(chance: random.Random) -> object:
    kind = chance.random()
    if kind < 0.1:
        return None
    if kind < 0.2:
        return chance.choice([[], [1, {"n": 5}], "text", 5, True, {}])
    found: Document = {}
    for name in ("n", "lang", "a", "list"):
        if chance.random() < 0.75:
            found[name] = chance.choice(_INSIDE)
    if chance.random() < 0.5:
        found["a"] = {"b": chance.choice(_INSIDE)}
    if chance.random() < 0.5:
        found["list"] = [chance.choice(_INSIDE), chance.choice(_INSIDE)]
    return found


@contextmanager
def serving(server: PostgresServer, documents: Sequence[Document]) -> Iterator[Services]:
    """The service over each engine, with the same documents."""
    with ExitStack() as stack:
        found = {engine: stack.enter_context(running(engine, {"collections": [INVOICES]}, server)) for engine in ENGINES}
        for service in found.values():
            answer = service.client.post(PATH, json=documents)
            assert answer.status_code == 201, answer.text
        yield found
