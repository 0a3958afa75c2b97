"""Clients that send at a steady pace over kept-alive connections, whatever the server does, and time every answer.

A time runs from the moment a request was due, not from the moment it was sent, so that a slow answer is not hidden by
the requests that it held up.
"""

import asyncio
import json
import random
import re
import secrets
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.data import DOCUMENTS, client_of

Request = Callable[[], bytes]


@dataclass(slots=True)
class Times:
    """What a paced run saw: milliseconds of each answer by kind of request, and what went wrong, counted by what it was."""

    ms: dict[str, list[float]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)

    def percentile(self, part: int) -> float:
        """A percentile (1–99) over every kind."""
        every = sorted(time for times in self.ms.values() for time in times)
        return statistics.quantiles(every, n=100)[part - 1] if len(every) > 1 else float("nan")

    @property
    def count(self) -> int:
        """Answers without an error."""
        return sum(map(len, self.ms.values()))


class Mix:
    """Requests to Portico's document paths, drawn at random by weight: `get`, `list`, `create`, `update`."""

    def __init__(self, key: str, weights: dict[str, int]) -> None:
        self._key = key
        self._kinds = [kind for kind, weight in weights.items() for _ in range(weight)]
        self._tag = secrets.token_hex(4)
        self._created = 0

    def draw(self) -> tuple[str, bytes]:
        """A kind of request and its bytes."""
        kind = random.choice(self._kinds)
        number = random.randint(1, DOCUMENTS)
        documents = f"/clients/{client_of(number)}/documents"
        match kind:
            case "get":
                return kind, self._bytes("GET", f"{documents}/{number}")
            case "list":
                return kind, self._bytes("GET", f"{documents}?order=id&limit=50")
            case "update":
                return kind, self._bytes("PATCH", f"{documents}/{number}", {"summary": f"Changed to {secrets.token_hex(8)}."})
            case _:
                self._created += 1
                name = f"upload-{self._tag}-{self._created}.txt"
                body = {"filename": name, "file_size": 50, "file_type": "text/plain", "file_path": "/uploads/new.txt"}
                return kind, self._bytes("POST", documents, body)

    def _bytes(self, method: str, path: str, body: object = None) -> bytes:
        text = b"" if body is None else json.dumps(body).encode()
        kind = "Content-Type: application/json\r\n" if text else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {self._key}\r\n{kind}Content-Length: {len(text)}\r\n\r\n"
        return head.encode() + text


async def send_paced(port: int, mix: Mix, connections: int, per_second: float, seconds: float) -> Times:
    """Open connections, send on each at its own regular moments, and time the answers.

    Args:
        port: of the loopback address.
        mix: what to send.
        connections: how many are open.
        per_second: requests a second on each of them.
        seconds: how long.
    """
    times = Times()
    start = asyncio.get_running_loop().time() + 2 + connections / 2000
    async with asyncio.TaskGroup() as group:
        for number in range(connections):
            first = start + number / connections / per_second
            group.create_task(_one_connection(port, mix, first, per_second, round(per_second * seconds), times))
    return times


async def _one_connection(port: int, mix: Mix, first: float, per_second: float, requests: int, times: Times) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(random.random() * (first - loop.time() - 0.5))  # not all at once
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for number in range(requests):
            due = first + number / per_second
            await asyncio.sleep(due - loop.time())
            kind, request = mix.draw()
            writer.write(request)
            status, body = await _read_answer(reader)
            if 200 <= status < 300:
                times.ms.setdefault(kind, []).append((loop.time() - due) * 1000)
            else:
                times.errors[f"{kind}: {status} {_code(body)}"] += 1
    except (OSError, asyncio.IncompleteReadError) as error:
        times.errors[type(error).__name__] += 1
    finally:
        writer.close()


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
    return int(head[9:12]), await reader.readexactly(int(length or b"0"))


def _code(body: bytes) -> str:
    """The stable code of an error, or how its text begins."""
    found = re.search(rb'"code": ?"(\w+)"', body)
    return (found[1] if found else body[:80]).decode(errors="replace")
