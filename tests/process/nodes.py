"""A service of one or more nodes, as its callers and its operators see it: which worker holds a transaction, and what each call answers."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests.process.workers import workers_of
from tests.servers.portico import PorticoProcess

SECRET = "a secret of the nodes of one cluster, which is long"


def client_body(id: str, name: str = "n") -> dict[str, str]:  # noqa: A002
    return {"id": id, "name": name}


@dataclass
class Nodes:
    """A service of one or more nodes, asked through `url` by a new connection for each call."""

    nodes: list[PorticoProcess]
    url: str
    counted: Counter[str] = field(default_factory=Counter)

    def call(self, method: str, path: str, transaction: str | None = None, **sent: Any) -> httpx2.Response:
        headers = {"Connection": "close"} | ({"X-Transaction-ID": transaction} if transaction else {}) | sent.pop("headers", {})
        answer = httpx2.request(method, f"{self.url}{path}", headers=headers, timeout=30, **sent)
        self.counted[f"{answer.status_code}"] += 1
        return answer

    def begin(self, **body: Any) -> str:
        answer = self.call("POST", "/api/db/transaction/begin", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["data"]["transaction_id"])

    def end(self, transaction: str, what: str) -> httpx2.Response:
        return self.call("POST", f"/api/db/transaction/{transaction}/{what}")

    def state(self, transaction: str) -> dict[str, Any]:
        answer = self.call("GET", f"/api/db/transaction/{transaction}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["data"])

    def holder(self, transaction: str) -> tuple[PorticoProcess, int]:
        """The node and the process that hold a transaction: those that have its worker's socket."""
        worker = worker_of(transaction)
        for node in self.nodes:
            for pid in workers_of(node):
                if f"{worker}.sock" in sockets_of(pid):
                    return node, pid
        raise AssertionError("nobody holds the transaction")


def worker_of(transaction: str) -> str:
    """The worker that an id names."""
    raw = base64.urlsafe_b64decode(transaction[3:] + "=" * (-(len(transaction) - 3) % 4))
    return raw[33:41].hex()


def sockets_of(pid: int) -> set[str]:
    """The names of the Unix sockets that a process listens on."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return {Path(parts[7]).name for parts in lines if len(parts) > 7 and parts[6] in inodes}
