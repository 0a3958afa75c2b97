"""A program under measurement: its process, its port, and how it is asked for each kind of work."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection

from bench.data import client_of
from bench.load import Call
from bench.processes import BenchError
from tests.servers.process import ServerProcess


@dataclass(frozen=True, slots=True)
class Target:
    """A running program.

    Args:
        name: as the report calls it, with the database: `by hand/postgres`.
        process: what runs.
        port: of the loopback address.
        calls: by kind of work: `get`, `list`, `create` and others.
        keys: Portico's keys of two services, the one that `calls` use first.
    """

    name: str
    process: ServerProcess
    port: int
    calls: Mapping[str, Call] = field(repr=False)
    keys: tuple[str, ...] = field(default=(), repr=False)

    def ask(self, call: Call, document_id: int = 1, body: object = None) -> tuple[int, bytes]:
        """Send one request for this document; the status and the body of the answer."""
        path = call.path.format(id=document_id, id15=f"{document_id:015d}", client=client_of(document_id))
        headers = {name: client_of(document_id) if name == "X-Client-ID" else value for name, value in call.headers}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(call.method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def documents(self, work: str, document_id: int) -> list[dict[str, object]]:
        """What the target answers to `get` or `list`, taken out of its envelope.

        Raises:
            BenchError: it did not answer 200.
        """
        status, body = self.ask(self.calls[work], document_id)
        if status != 200:
            raise BenchError(f"{self.name} answered {status} to {self.calls[work].path}: {body[:500]!r}")
        found = json.loads(body)
        if isinstance(found, dict):
            found = found.get("data", found.get("items", found))
        return found if isinstance(found, list) else [found]
