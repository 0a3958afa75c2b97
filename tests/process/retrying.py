"""Callers that send every write with an idempotency key, again and again until it is answered, over connections that break."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.process.load import request
from tests.servers.cutting_proxy import LARGEST, read_message
from tests.servers.waiting import wait_until_async

Kind = Literal["one", "array", "batch", "change"]
KINDS: tuple[Kind, ...] = ("one", "array", "batch", "change", "one")
CREATES: dict[Kind, int] = {"one": 1, "array": 2, "batch": 2, "change": 0}
"""How many documents a write of each kind creates. A change changes one."""

PREFIX = "write-"
"""What a write stores begins with it, and ends with its number."""

ATTEMPT_SECONDS = 30.0


@dataclass(slots=True)
class Retrying:
    """`size` writes of documents of `user`. `kinds` has those that were answered,
    `sendings` all that was sent.

    `outcomes` counts what came back: a status, or "lost"; `replayed` the answers that were replays.
    """

    port: int
    size: int
    user: str
    kinds: dict[int, Kind] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    sendings: int = 0
    replayed: int = 0

    async def run(self, callers: int) -> None:
        """Send every write until it is answered. Raises AssertionError for an answer that is neither success nor a reason to wait."""
        numbers = iter(range(self.size))
        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(self._caller(numbers))

    async def written(self, count: int, within: float) -> None:
        """Wait until this many writes were answered."""

        async def enough() -> bool:
            return len(self.kinds) >= count

        await wait_until_async(enough, within, f"{count} writes")

    async def _caller(self, numbers: Iterator[int]) -> None:
        last: object = None
        for number in numbers:
            kind = KINDS[number % len(KINDS)] if last is not None else "one"
            data = await self._until_answered(number, _sent(kind, number, last, self.user))
            self.kinds[number] = kind
            if kind != "change":
                last = (data[0] if isinstance(data, list) else data)["document_id"]

    async def _until_answered(self, number: int, sent: bytes) -> Any:
        answers: list[Any] = []

        async def answered() -> bool:
            self.sendings += 1
            status, body = await self._attempt(sent)
            self.outcomes[status] += 1
            if status.startswith("2"):
                answers.append(json.loads(body)["data"])
                return True
            waits = status in {"lost", "503"} or (status == "409" and json.loads(body)["error"]["code"] == "in_flight")
            assert waits, f"write {number} was answered {status}: {body!r}"
            return False

        await wait_until_async(answered, ATTEMPT_SECONDS * 4, f"an answer to write {number}")
        return answers[0]

    async def _attempt(self, sent: bytes) -> tuple[str, bytes]:
        """Send once, on a connection of its own; the status is "lost" where no whole answer came."""
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=LARGEST)
                writer.write(sent)
                head, _, body = (await read_message(reader)).partition(b"\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError):
            return "lost", b""
        finally:
            if writer is not None:
                writer.transport.abort()
        self.replayed += b"idempotency-replayed: true" in head.lower()
        return head[9:12].decode(), body


def _sent(kind: Kind, number: int, last: object, user: str) -> bytes:
    headers = f"Idempotency-Key: write-{number}\r\nConnection: close\r\n"
    document = {"user_id": user, "project_name": f"{PREFIX}{number}", "content": "new"}
    match kind:
        case "one":
            return request("POST", "/api/db/documents", document, headers)
        case "array":
            return request("POST", "/api/db/documents", [document, document], headers)
        case "batch":
            operations = [{"op": "insert", "collection": "documents", "document": document} for _ in range(2)]
            return request("POST", "/api/db/transaction", {"operations": operations}, headers)
        case "change":
            return request("PATCH", f"/api/db/documents/{last}", {"content": f"{PREFIX}{number}"}, headers)
