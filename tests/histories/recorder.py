"""Clients of random transactions over HTTP, who write down every list that they sent and saw, and how each transaction ended."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.histories.history import Forgotten, Level, Outcome, Read, Step, Transaction, Value, Write
from tests.servers.waiting import wait_until_async

COLLECTION = "/api/db/lists"
TRANSACTION = "/api/db/transaction"
HOT = 6
"""How many documents the clients use at one time; all transactions together use more, so that the lists stay short."""

ALONE_ONE_IN, ASKED_ONE_IN = 8, 10
PATIENCE = 60.0
STATES: dict[str, Outcome] = {"committed": "committed", "rolled_back": "aborted", "failed": "aborted", "expired": "aborted"}


def keys_of(level: Level, number: int) -> list[str]:
    """The documents that a transaction of this number may use."""
    first = number * HOT // 120
    return [f"{level}-{first + place}" for place in range(HOT)]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, or `status` 0 where none came."""

    status: int
    data: Any = None
    details: dict[str, Any] = field(default_factory=dict)
    etag: str = ""


class BrokenError(Exception):
    """The transaction cannot go on, or nobody knows whether its last call was made."""


class Recorder:
    """Runs `size` transactions. `transactions` has those that ended, and `counts` what was answered and how they ended."""

    def __init__(self, url: str, level: Level, size: int, seed: int) -> None:
        self.url = url
        self.level = level
        self.size = size
        self.seed = seed
        self.transactions: list[Transaction] = []
        self.counts: Counter[str] = Counter()
        self.values = itertools.count(1)
        self._numbers = itertools.count(1)
        self._sessions = itertools.count(1)
        self._ids: dict[int, str] = {}
        self._client: httpx2.AsyncClient | None = None

    def run(self, clients: int) -> None:
        """Run them all, in an event loop of its own, and then ask what became of those whose outcome is unknown, and of some others."""
        asyncio.run(self._run(clients))

    async def call(self, method: str, path: str, transaction: str = "", body: object = None, etag: str = "") -> Answer:
        """One call, on whichever kept connection is free, so that calls of one transaction land on several workers."""
        headers = ({"X-Transaction-ID": transaction} if transaction else {}) | ({"If-Match": etag} if etag else {})
        assert self._client is not None
        try:
            answer = await self._client.request(method, path, headers=headers, json=body)
            content = answer.json()
        except httpx2.TransportError:
            self.counts["no answer"] += 1
            return Answer(0)
        error = content.get("error") or {}
        self.counts[f"{answer.status_code} {error.get('code', '')}".strip()] += 1
        return Answer(answer.status_code, content["data"], error.get("details") or {}, answer.headers.get("etag", ""))

    async def _run(self, clients: int) -> None:
        async with httpx2.AsyncClient(base_url=self.url, timeout=30) as self._client:
            async with asyncio.TaskGroup() as group:
                for client in range(clients):
                    group.create_task(self._session(random.Random(f"{self.seed}-{self.level}-{client}")))
            for place, one in enumerate(self.transactions):
                if one.number in self._ids and (one.outcome == "unknown" or one.number % ASKED_ONE_IN == 0):
                    self.transactions[place] = dataclasses.replace(one, told=await self._resolve(self._ids[one.number], chance=None))

    async def _session(self, chance: random.Random) -> None:
        session = next(self._sessions)
        for number in self._numbers:
            if number > self.size:
                return
            if chance.randrange(ALONE_ONE_IN) == 0:
                await self._read_alone(chance, number, session)
                continue
            open_ = _Open(self, chance, number, await self._begin())
            self._ids[number] = open_.id
            outcome, told = await self._perform(open_, chance)
            self.counts[outcome] += 1
            self.transactions.append(Transaction(number, session, open_.steps, outcome, told))
            if outcome == "unknown":
                session = next(self._sessions)  # the commit may still be under way when the next one begins

    async def _begin(self) -> str:
        begun: list[str] = []

        async def begin() -> bool:
            answer = await self.call("POST", f"{TRANSACTION}/begin", body={"isolation": self.level})
            assert answer.status in {0, 201, 503}, answer
            if answer.status == 201:
                begun.append(answer.data["transaction_id"])
            return bool(begun)

        await wait_until_async(begin, PATIENCE, "a transaction")
        return begun[0]

    async def _read_alone(self, chance: random.Random, number: int, session: int) -> None:
        steps: list[Step] = []
        for key in chance.sample(keys_of(self.level, number), 2):
            answer = await self.call("GET", f"{COLLECTION}/{key}")
            if answer.status == 200:
                steps.append(Read(key, tuple(answer.data["items"])))
        self.counts["alone"] += 1
        self.transactions.append(Transaction(number, session, steps, "committed", alone=True))

    async def _perform(self, open_: _Open, chance: random.Random) -> tuple[Outcome, Outcome | None]:
        try:
            await open_.work()
        except BrokenError:
            await self.call("POST", f"{TRANSACTION}/{open_.id}/rollback")
            return "aborted", None
        how = chance.random()
        if how < 0.03:
            self.counts["abandoned"] += 1
            return "aborted", None
        if how < 0.15:
            self.counts["rolled back"] += 1
            await self.call("POST", f"{TRANSACTION}/{open_.id}/rollback")
            return "aborted", None
        answer = await self.call("POST", f"{TRANSACTION}/{open_.id}/commit")
        assert answer.status in {0, 200, 409, 410, 500, 503}, answer
        if answer.status == 200:
            return "committed", None
        if answer.status == 409 or STATES.get(answer.details.get("state", "")) == "aborted":
            return "aborted", None
        return "unknown", await self._resolve(open_.id, chance)

    async def _resolve(self, transaction: str, chance: random.Random | None) -> Outcome:
        """What the service says of a transaction. With `chance`, one that is still open is committed again, or rolled back."""
        found: list[Outcome] = []

        async def known() -> bool:
            answer = await self.call("GET", f"{TRANSACTION}/{transaction}")
            state = answer.data["state"] if answer.status == 200 else ""
            if state in STATES:
                found.append(STATES[state])
            elif state == "started" and chance is not None:
                await self.call("POST", f"{TRANSACTION}/{transaction}/{chance.choice(['commit', 'rollback'])}")
            return bool(found)

        await wait_until_async(known, PATIENCE, "the state of a transaction")
        return found[0]


class _Open:
    """One transaction that is open, and its steps so far."""

    def __init__(self, recorder: Recorder, chance: random.Random, number: int, id: str) -> None:  # noqa: A002
        self.id = id
        self.steps: list[Step] = []
        self._recorder = recorder
        self._chance = chance
        self._keys = keys_of(recorder.level, number)
        self._known: dict[str, tuple[Value, str]] = {}

    async def work(self) -> None:
        """Read and write; sometimes set a savepoint, and sometimes go back to it. Raises BrokenError."""
        await self._some(self._chance.randint(1, 3))
        if self._chance.random() < 0.25:
            saved = len(self.steps)
            await self._control("savepoint", {"name": "here"})
            await self._some(self._chance.randint(1, 2))
            if self._chance.random() < 0.6:
                await self._control("rollback", {"to": "here"})
                self._undo(saved)
            await self._some(1)

    async def _some(self, count: int) -> None:
        for _ in range(count):
            key, what = self._chance.choice(self._keys), self._chance.random()
            if what < 0.4:
                await self._read(key)
            elif what < 0.9:
                await self._append(key, held=self._chance.random() < 0.3)
            else:
                await self._write(key, (next(self._recorder.values),))

    async def _read(self, key: str) -> None:
        answer = await self._recorder.call("GET", f"{COLLECTION}/{key}", self.id)
        if answer.status != 200:
            raise BrokenError
        value = tuple(answer.data["items"])
        self._known[key] = value, answer.etag
        self.steps.append(Read(key, value))

    async def _append(self, key: str, *, held: bool) -> None:
        if key not in self._known:
            await self._read(key)
        value, etag = self._known[key]
        await self._write(key, (*value, next(self._recorder.values)), etag if held else "")

    async def _write(self, key: str, value: Value, etag: str = "") -> None:
        answer = await self._recorder.call("PATCH", f"{COLLECTION}/{key}", self.id, {"items": value}, etag)
        self.steps.append(Write(key, value, held=bool(etag), refused=answer.status != 200))
        if answer.status == 200:
            self.steps.append(Read(key, tuple(answer.data["items"])))
            self._known[key] = value, answer.etag
        elif answer.status == 412:
            self._known.pop(key, None)
        else:
            raise BrokenError

    async def _control(self, what: str, body: dict[str, str]) -> None:
        if (await self._recorder.call("POST", f"{TRANSACTION}/{self.id}/{what}", body=body)).status != 200:
            raise BrokenError

    def _undo(self, saved: int) -> None:
        """What came after the savepoint is undone; its documents are read again before they are appended to."""
        keys = frozenset(step.key for step in self.steps[saved:] if isinstance(step, Write))
        self.steps[saved:] = [dataclasses.replace(step, undone=True) if isinstance(step, Write) else step for step in self.steps[saved:]]
        self.steps.append(Forgotten(keys))
        self._known = {key: known for key, known in self._known.items() if key not in keys}
