"""The first thing a request meets: its correlation id, its limits, its errors' answers, and the events of its start and end.

These are one class because each layer of its own costs every request a frame and a wrapped `send`.
"""

from __future__ import annotations

from collections.abc import Awaitable
from time import perf_counter

from portico.api.middleware import correlation
from portico.api.middleware.bodies import limit_body
from portico.api.middleware.faults import CLIENT_GONE, GONE, answer, translate
from portico.api.render import App, Message, Receive, Scope, Send
from portico.errors import HeadersTooLarge, InvalidParameter
from portico.events import Emit, RequestEnded, RequestStarted

_SINGLE = frozenset({
    b"authorization", b"x-api-key", b"apikey", b"x-client-id", b"x-user-id", b"x-correlation-id", b"content-length", b"content-type",
    b"content-encoding", b"host", b"idempotency-key", b"x-transaction-id",
})  # fmt: skip
"""Headers that a request may carry once: of two values nobody could say which one counts."""


class Front:
    """Wraps the application.

    For each request, ``scope["state"]`` gets ``correlation_id`` (str) and ``headers`` (a dict of bytes, names in lower case). Who
    answers may put ``service``, ``client_id`` and ``route`` (the path's template) there for the events.

    Args:
        app: what answers.
        emit: where events go.
        max_body_bytes, max_header_bytes: the limits of `Http`.
    """

    def __init__(self, app: App, *, emit: Emit, max_body_bytes: int, max_header_bytes: int) -> None:
        self._app = app
        self._emit = emit
        self._max_body_bytes = max_body_bytes
        self._max_header_bytes = max_header_bytes
        self._ids = correlation.CorrelationIds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other kinds of connection pass."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        listed = scope["headers"]
        headers: dict[bytes, bytes] = dict(listed)
        correlation_id = self._ids.choose(headers.get(correlation.HEADER))
        correlation.current.set(correlation_id)
        state = scope.setdefault("state", {})
        state["correlation_id"] = correlation_id
        state["headers"] = headers
        method = scope["method"]
        answered = _Answer(send, correlation_id, bodiless=method == "HEAD")
        if method == "HEAD":
            # Every path that can be read can be asked for its headers alone.
            scope["method"] = "GET"
        failed: str | None = None
        self._emit(RequestStarted(method, scope["path"], correlation_id))
        try:
            if len(headers) != len(listed):
                _merge_repeated(headers, listed)
            self._check(scope, headers)
            bounded = limit_body(receive, headers, scope["path"], self._max_body_bytes)
            await self._app(scope, bounded, answered)
        except GONE:
            failed = "client_gone"
        except Exception as error:  # noqa: BLE001 - whatever it was, the caller gets an answer
            if answered.status:
                # Half an answer is out: only a broken connection tells the caller so.
                failed = translate(error, correlation_id, self._emit).code
                raise ConnectionAbortedError("the answer was cut short") from None
            reported = translate(error, correlation_id, self._emit)
            failed = reported.code
            await answer(answered, reported, correlation_id)
        finally:
            self._emit(
                RequestEnded(
                    method, _route(scope, state), answered.status or CLIENT_GONE, perf_counter() - began, correlation_id,
                    state.get("service"), state.get("client_id"), failed,
                )
            )  # fmt: skip

    def _check(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        size = len(b"".join(headers)) + len(b"".join(headers.values())) + len(scope["raw_path"]) + len(scope["query_string"])
        if size > self._max_header_bytes:
            raise HeadersTooLarge(
                f"The request line and headers are longer than {self._max_header_bytes} bytes.",
                hint="Send long filters in the body of …/query.",
                details={"limit": self._max_header_bytes},
            )


class _Answer:
    """The `send` of one request: adds the correlation id, and knows the status once the answer began (0 before)."""

    __slots__ = ("_bodiless", "_header", "_send", "status")

    def __init__(self, send: Send, correlation_id: str, *, bodiless: bool) -> None:
        self._send = send
        self._header = (correlation.HEADER, correlation_id.encode("ascii"))
        self._bodiless = bodiless
        self.status = 0

    def __call__(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), self._header]
        elif self._bodiless and message.get("body"):
            message["body"] = b""
        return self._send(message)


def _route(scope: Scope, state: dict[str, object]) -> str:
    named = state.get("route")
    if named is not None:
        return str(named)
    matched = getattr(scope.get("route"), "path", None)
    return "unmatched" if matched is None else str(matched)


def _merge_repeated(headers: dict[bytes, bytes], listed: list[tuple[bytes, bytes]]) -> None:
    """Join the values of repeated headers, as RFC 9110 (5.3) allows. Raises InvalidParameter for those that stand alone."""
    seen: dict[bytes, list[bytes]] = {}
    for name, value in listed:
        seen.setdefault(name, []).append(value)
    for name, values in seen.items():
        if len(values) > 1:
            if name in _SINGLE and len(set(values)) > 1:
                raise InvalidParameter(f"The header {name.decode('latin-1')} is there twice, with different values.")
            headers[name] = values[0] if name in _SINGLE else (b"; " if name == b"cookie" else b", ").join(values)
