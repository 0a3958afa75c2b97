"""The median times of single calls on an idle service: what one caller waits for."""

import json
import secrets
import statistics
import time
from collections.abc import Callable
from http.client import HTTPConnection

from bench.comparisons import PORTICO
from bench.data import client_of
from bench.load import drive
from bench.processes import BenchError
from bench.report import Value
from bench.stage import Stage
from bench.target import Target

_WARM_UP, _TIMES = 20, 200


def measure_times(stage: Stage, seconds: float = 3) -> list[Value]:
    """Median milliseconds of each kind of call, on one connection, one after the other."""
    target = stage.target(PORTICO)
    caller = _Caller(target)

    def driven(name: str) -> float:
        drive(target.name, target.port, target.calls[name], 1, 1)
        return drive(target.name, target.port, target.calls[name], 1, seconds).p50_ms

    found = [
        ("read by id", driven("get"), 3.0, "1–3 ms"),
        ("insert", driven("create"), 5.0, "2–5 ms"),
        ("update", _median(caller.update), 5.0, "2–5 ms"),
        ("health check", driven("health"), 3.0, "1–3 ms"),
    ]
    caller.close()
    return [Value("times", f"median: {name}", value, "ms", asked, value <= most) for name, value, most, asked in found]


def _median(once: Callable[[int], float]) -> float:
    times = [once(number + 1) for number in range(_WARM_UP + _TIMES)]
    return 1000 * statistics.median(times[_WARM_UP:])


class _Caller:
    """One kept-alive connection that times what it sends."""

    def __init__(self, target: Target) -> None:
        self._connection = HTTPConnection("127.0.0.1", target.port, timeout=30)
        self._headers = {"X-API-Key": target.keys[0], "Content-Type": "application/json"}

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def update(self, number: int) -> float:
        """Seconds of one change of a document."""
        path = f"/clients/{client_of(number)}/documents/{number}"
        return self._send("PATCH", path, {"summary": f"Changed to {secrets.token_hex(8)}."})[0]

    def _send(self, method: str, path: str, body: object) -> tuple[float, bytes]:
        started = time.perf_counter()
        self._connection.request(method, path, json.dumps(body), self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        taken = time.perf_counter() - started
        if answer.status >= 300:
            raise BenchError(f"portico answered {answer.status} to {method} {path}: {text[:500]!r}")
        return taken, text
