"""The first thing a request meets, asked as a server asks it: limits, encodings and correlation ids."""

import gzip
import json
from collections.abc import Sequence
from typing import Any

import pytest

from portico.api.middleware.front import Front
from portico.api.middleware.loopback import is_loopback
from portico.api.render import Message, Receive, Scope, Send
from portico.events import Event, InternalFault, RequestEnded

Headers = Sequence[tuple[bytes, bytes]]
LIMIT = 1000


class Asked:
    """One request to an application behind the front, and what came of it."""

    def __init__(self, answer: Any = None) -> None:
        self.events: list[Event] = []
        self.sent: list[Message] = []
        self.body = b""
        self._answer = answer
        self._front = Front(self._app, emit=self.events.append, max_body_bytes=LIMIT, max_header_bytes=2000)

    async def ask(self, body: bytes = b"", headers: Headers = (), method: str = "POST", path: str = "/x", pieces: int = 1) -> "Asked":
        size = max(1, -(-len(body) // pieces))
        parts = [body[start : start + size] for start in range(0, len(body), size)] or [b""]

        async def receive() -> Message:
            part = parts.pop(0) if parts else b""
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        async def send(message: Message) -> None:
            self.sent.append(dict(message))

        scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": list(headers)}
        await self._front(scope, receive, send)
        return self

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if isinstance(self._answer, Exception):
            raise self._answer
        more = True
        while more:
            message = await receive()
            self.body += message["body"]
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def code(self) -> str:
        return str(json.loads(self.sent[1]["body"])["error"]["code"])

    def header(self, name: bytes) -> bytes | None:
        return dict(self.sent[0]["headers"]).get(name)


async def test_a_well_formed_correlation_id_is_answered_as_it_came() -> None:
    asked = await Asked().ask(headers=[(b"x-correlation-id", b"order-42.a_B")])
    assert asked.header(b"x-correlation-id") == b"order-42.a_B"


@pytest.mark.parametrize("given", [b"", b"a b", b"x" * 129, b"\xff", b"a\tb"])
async def test_another_correlation_id_is_replaced(given: bytes) -> None:
    asked = await Asked().ask(headers=[(b"x-correlation-id", given)])
    made = asked.header(b"x-correlation-id")
    assert made
    assert made != given


async def test_a_gzip_body_arrives_unpacked() -> None:
    packed = gzip.compress(b"a" * 900) + gzip.compress(b"b" * 90)
    asked = await Asked().ask(packed, [(b"content-encoding", b"gzip")], pieces=7)
    assert asked.body == b"a" * 900 + b"b" * 90


async def test_a_gzip_bomb_is_413() -> None:
    asked = await Asked().ask(gzip.compress(b"a" * 5_000_000), [(b"content-encoding", b"gzip")])
    assert (asked.status, asked.code) == (413, "body_too_large")


@pytest.mark.parametrize("body", [b"no gzip at all", gzip.compress(b"a" * 500)[:-12]], ids=["not gzip", "cut short"])
async def test_a_broken_gzip_body_is_400(body: bytes) -> None:
    assert (await Asked().ask(body, [(b"content-encoding", b"gzip")])).status == 400


async def test_an_unknown_encoding_is_415() -> None:
    assert (await Asked().ask(b"x", [(b"content-encoding", b"br")])).status == 415


async def test_a_body_over_the_limit_is_413_whether_its_length_is_announced_or_not() -> None:
    announced = await Asked().ask(b"a" * (LIMIT + 1), [(b"content-length", b"%d" % (LIMIT + 1))])
    counted = await Asked().ask(b"a" * (LIMIT + 1), [(b"transfer-encoding", b"chunked")], pieces=5)
    assert (announced.status, counted.status) == (413, 413)
    assert (await Asked().ask(b"a" * LIMIT, [(b"transfer-encoding", b"chunked")], pieces=5)).status == 200


async def test_headers_over_the_limit_are_431() -> None:
    assert (await Asked().ask(headers=[(b"x-long", b"a" * 2000)])).status == 431


async def test_a_header_that_counts_once_may_not_stand_twice_with_two_values() -> None:
    assert (await Asked().ask(headers=[(b"x-client-id", b"a"), (b"x-client-id", b"b")])).status == 400


async def test_an_unexpected_exception_is_500_without_a_word_of_it() -> None:
    asked = await Asked(ValueError("secret value")).ask()
    assert (asked.status, asked.code) == (500, "internal_error")
    assert b"secret" not in asked.sent[1]["body"]
    assert [type(event) for event in asked.events if isinstance(event, InternalFault)] == [InternalFault]


async def test_a_caller_who_left_is_no_fault() -> None:
    asked = await Asked(ConnectionResetError()).ask()
    assert asked.sent == []
    ended = asked.events[-1]
    assert isinstance(ended, RequestEnded)
    assert (ended.status, ended.error) == (499, "client_gone")


async def test_head_is_answered_like_get_without_a_body() -> None:
    asked = await Asked().ask(method="HEAD")
    assert (asked.status, asked.sent[1]["body"]) == (200, b"")


@pytest.mark.parametrize("host", [b"localhost", b"localhost:8001", b"127.0.0.1:80", b"[::1]:8001", b"api.localhost", b"127.0.0.2", b""])
def test_a_name_of_this_machine_is_loopback(host: bytes) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", [b"evil.example", b"127.evil.example", b"localhost.evil.example:80", b"10.0.0.1", b"[fe80::1]:80"])
def test_another_name_is_not_loopback(host: bytes) -> None:
    assert not is_loopback(host)
