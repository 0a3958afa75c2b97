"""Two promises under a steady pace: a thousand open connections stay quick, and a hot client does not starve another."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from bench.comparisons import PORTICO
from bench.load import drive
from bench.paced import Mix, Times, send_paced
from bench.processes import BenchError
from bench.report import Value
from bench.stage import Stage

_CONNECTIONS = 1000
_MIXED = {"get": 7, "list": 1, "create": 1, "update": 1}
_QUIET_RATE = 50.0


def measure_connections(stage: Stage, seconds: float = 60) -> list[Value]:
    """1,000 open connections, one request a second on each, reads and writes mixed, for a minute."""
    target = stage.target(PORTICO)
    times = asyncio.run(send_paced(target.port, Mix(target.keys[0], _MIXED), _CONNECTIONS, 1, seconds))
    wanted = round(_CONNECTIONS * seconds)
    label = f"{_CONNECTIONS:,} connections, one request a second each, mixed"
    p95, missing = times.percentile(95), wanted - times.count
    if missing:
        print(f"  {missing} of {wanted} requests were not answered well: {dict(times.errors)}")
    return [
        Value("connections", f"{label}: p95", p95, "ms", "< 100 ms", p95 < 100),
        Value("connections", f"{label}: errors or no answer", missing, "", "0", missing == 0),
    ]


def measure_fairness(stage: Stage, seconds: float = 15) -> list[Value]:
    """A service's p99 at 50 requests a second, alone and beside another service at full speed."""
    target = stage.target(PORTICO)
    quiet = Mix(target.keys[1], {"get": 1})

    def paced() -> Times:
        times = asyncio.run(send_paced(target.port, quiet, 5, _QUIET_RATE / 5, seconds))
        if times.errors:
            raise BenchError(f"the quiet service met errors: {dict(times.errors)}")
        return times

    paced()  # warm
    alone = paced().percentile(99)
    with ThreadPoolExecutor(1) as pool:
        hot = pool.submit(drive, target.name, target.port, target.calls["get"], 32, seconds + 3)
        beside = paced().percentile(99)
        rate = hot.result().rate
    times = beside / alone
    return [
        Value("fairness", "a quiet service's p99 alone", alone, "ms", "", True),
        Value("fairness", f"its p99 beside a service at full speed ({rate:,.0f} a second)", beside, "ms", "", True),
        Value("fairness", "the second over the first", times, "", "≤ 5", times <= 5),
    ]
