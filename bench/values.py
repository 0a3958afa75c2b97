"""Single values: the start, the idle memory, the export of a million rows, and that the cache spares the database."""

import statistics
import threading
import time
from http.client import HTTPConnection
from types import TracebackType
from typing import Self

from bench.comparisons import BY_HAND, CACHED, PORTICO
from bench.load import Call, drive
from bench.postgres import EXPORTED_CLIENT, EXPORTED_ROWS, load_export
from bench.processes import BenchError, memory, wait_until_answers
from bench.report import Value
from bench.stage import Stage
from bench.target import Target

_MB = 1024 * 1024


def measure_start(stage: Stage) -> list[Value]:
    """Seconds from the start of the program to its first answer, and the memory of all its processes when idle."""
    target = stage.target(PORTICO)
    seconds = []
    for _ in range(3):
        target.process.stop()
        started = time.perf_counter()
        target.process.start()
        wait_until_answers(target.process, target.port, "/clients/client-001/documents/1", {"X-API-Key": target.keys[0]})
        seconds.append(time.perf_counter() - started)
    time.sleep(5)  # what a start leaves to be done later is part of being idle
    idle, middle = memory(target.process) / _MB, statistics.median(seconds)
    return [
        Value("start", "start to first answer", middle, "s", "< 2 s", middle < 2),
        Value("start", "idle memory of all processes, one worker", idle, "MB", "< 180 MB", idle < 180),
    ]


def measure_cached(stage: Stage, seconds: float = 3) -> list[Value]:
    """How many transactions the database saw for each cached read."""
    target = stage.target(CACHED)
    call = target.calls["get of 1000"]
    drive(target.name, target.port, call, 32, 2)
    before = _transactions(stage)
    load = drive(target.name, target.port, call, 32, seconds)
    time.sleep(1.5)  # PostgreSQL tells its statistics once a second
    each = (_transactions(stage) - before) / (load.rate * seconds)
    return [Value("cached", "database transactions for each cached read", each, "", "none of its own", each < 0.01)]


def measure_export(stage: Stage) -> list[Value]:
    """An export of a million rows against `COPY TO` by hand through Starlette, and Portico's largest memory meanwhile."""
    stage.target(PORTICO)
    load_export(stage.database)
    ratios, rates, most = [], [], 0
    for _ in range(3):
        target = stage.target(PORTICO)
        with _MemoryWatch(target) as watch:
            rates.append(_export(target))
        most = max(most, watch.most)
        ratios.append(rates[-1] / _export(stage.target(BY_HAND)))
    ratio, rate, megabytes = statistics.median(ratios), statistics.median(rates), most / _MB
    return [
        Value("export", f"export of {EXPORTED_ROWS:,} rows ÷ COPY TO by hand", ratio, "", "≥ 0.5", ratio >= 0.5),
        Value("export", "rows exported a second", rate, "", "", met=True),
        Value("export", "memory of all processes during the export", megabytes, "MB", "≤ 200 MB", megabytes <= 200),
    ]


def _export(target: Target) -> float:
    """Rows a second of one whole export as NDJSON."""
    call: Call = target.calls["export"]
    headers = {name: EXPORTED_CLIENT if name == "X-Client-ID" else value for name, value in call.headers}
    connection = HTTPConnection("127.0.0.1", target.port, timeout=300)
    lines = 0
    started = time.perf_counter()
    try:
        connection.request("GET", call.path, headers=headers)
        answer = connection.getresponse()
        while chunk := answer.read(1 << 18):
            lines += chunk.count(b"\n")
    finally:
        connection.close()
    if answer.status != 200 or lines != EXPORTED_ROWS:
        raise BenchError(f"{target.name} answered {answer.status} and {lines} lines to an export of {EXPORTED_ROWS} rows")
    return EXPORTED_ROWS / (time.perf_counter() - started)


def _transactions(stage: Stage) -> int:
    found = stage.database.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
    return int(str(found[0][0]))


class _MemoryWatch:
    """The largest memory of a target's processes while the block runs, looked at ten times a second."""

    def __init__(self, target: Target) -> None:
        self.most = 0
        self._target = target
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self.most = max(self.most, memory(self._target.process))
