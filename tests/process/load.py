"""Callers that write without a pause, each on a connection of its own, and remember what became of every request."""

import asyncio
import contextlib
import itertools
import json
from collections import Counter
from dataclasses import dataclass, field

from tests.servers.waiting import wait_until_async

TOGETHER = 5
ACCEPTED_WITHIN = 1.0
"""Seconds without an accepted connection after which the service is taken for gone."""


@dataclass(slots=True)
class Sent:
    """One request that was sent: the documents that it creates (none: an update), and its answer's status (None: it got none)."""

    kind: str
    ids: tuple[str, ...]
    status: int | None = None


@dataclass(slots=True)
class Load:
    """What callers sent. `refused` counts connections that nobody accepted; a request that was never sent is not in `sent`."""

    port: int
    prefix: str
    sent: list[Sent] = field(default_factory=list)
    refused: int = 0
    ended: bool = False

    async def run(self, callers: int, *, keep_alive: bool = True) -> None:
        """Send until `ended` is set or nobody accepts connections any more."""
        numbers = itertools.count()
        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(self._caller(numbers, keep_alive=keep_alive))

    @property
    def statuses(self) -> Counter[int | None]:
        """How many requests ended with each status."""
        return Counter(sent.status for sent in self.sent)

    def created(self, status: int | None) -> list[Sent]:
        """The creates that were answered so."""
        return [sent for sent in self.sent if sent.ids and sent.status == status]

    async def answered(self, count: int, within: float = 20.0) -> None:
        """Wait until this many more requests got an answer."""
        wanted = self._done() + count

        async def enough() -> bool:
            return self._done() >= wanted

        await wait_until_async(enough, within, f"{count} answers")

    def _done(self) -> int:
        return sum(1 for sent in self.sent if sent.status is not None)

    async def _caller(self, numbers: "itertools.count[int]", *, keep_alive: bool) -> None:
        last = ""
        while not self.ended:
            connection = await self._connected()
            if connection is None:
                return
            reader, writer = connection
            open_ = True
            while open_ and not self.ended:
                sent, request = self._draw(next(numbers), last, keep_alive=keep_alive)
                self.sent.append(sent)
                try:
                    writer.write(request)
                    sent.status, open_ = await read_answer(reader)
                except (OSError, asyncio.IncompleteReadError):
                    open_ = False
                if sent.status == 201:
                    last = sent.ids[-1]
            writer.close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A new connection; None where nobody has accepted one for a while."""
        made: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

        async def accepted() -> bool:
            try:
                made.append(await asyncio.open_connection("127.0.0.1", self.port))
            except OSError:
                self.refused += 1
            return bool(made)

        with contextlib.suppress(TimeoutError):
            await wait_until_async(accepted, ACCEPTED_WITHIN, "a connection")
        return made[0] if made else None

    def _draw(self, number: int, last: str, *, keep_alive: bool) -> tuple[Sent, bytes]:
        kind = ("all", "one", "update")[number % 3] if last else "one"
        ids = tuple(f"{self.prefix}-{number}-{place}" for place in range(TOGETHER if kind == "all" else 1))
        close = "" if keep_alive else "Connection: close\r\n"
        if kind == "update":
            return Sent(kind, ()), request("PATCH", f"/api/db/clients/{last}", {"name": f"Changed {number}"}, close)
        documents: list[object] = [{"id": each, "name": f"Client {each}"} for each in ids]
        return Sent(kind, ids), request("POST", "/api/db/clients", documents if kind == "all" else documents[0], close)


def request(method: str, path: str, body: object = None, headers: str = "") -> bytes:
    """The bytes of a request with a JSON body."""
    text = b"" if body is None else json.dumps(body).encode()
    kind = "Content-Type: application/json\r\n" if text else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}{kind}Content-Length: {len(text)}\r\n\r\n"
    return head.encode() + text


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """The status of a whole answer, and whether the connection stays open. Raises IncompleteReadError for a part of one."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or b"0"))
    return int(head[9:12]), b"connection: close" not in head
