"""Driving every target in turn, round after round, so that a change of the machine's mood meets all of them."""

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.comparisons import Work
from bench.data import TENANTS, document
from bench.load import Load, drive
from bench.processes import BenchError
from bench.stage import Stage
from bench.target import Target

_WARM_UP_SECONDS = 1.0
_BULK = 10_000
_SAME = ("client_id", "filename", "file_size", "file_type", "content_type", "file_path", "summary")


@dataclass(frozen=True, slots=True)
class Measured:
    """What one target did of one work in one round."""

    work: str
    target: str
    round: int
    load: Load


@dataclass(frozen=True, slots=True)
class Failed:
    """A target that cannot do a work as it should; it is left out of the later rounds."""

    work: str
    target: str
    why: str


def measure(stage: Stage, works: Sequence[Work], rounds: int, seconds: float) -> Iterator[Measured | Failed]:
    """Give each target's load of each work, for each round.

    A target that does not start, refuses a request or answers other data than the others has failed.
    """
    failed: set[tuple[Work, str]] = set()
    for number in range(1, rounds + 1):
        for work in works:
            for name in work.targets:
                if (work, name) in failed:
                    continue
                try:
                    target = stage.target(name)
                    if number == 1:
                        _check(target, work)
                    yield Measured(work.name, name, number, _load(stage, target, work, seconds))
                except BenchError as error:
                    failed.add((work, name))
                    yield Failed(work.name, name, f"{error}\n{stage.state(name)}")


def _load(stage: Stage, target: Target, work: Work, seconds: float) -> Load:
    if target.name.endswith("/postgres"):
        stage.database.execute("CHECKPOINT")  # nobody pays for the writes of the one before
    if work.call == "bulk":
        return _create_in_bulk(target, seconds)
    call = target.calls[work.call]
    drive(target.name, target.port, call, work.connections, _WARM_UP_SECONDS)
    return drive(target.name, target.port, call, work.connections, seconds)


def _check(target: Target, work: Work) -> None:
    """See that the target answers the same document as everybody else."""
    kind = work.call.split()[0]
    if kind not in {"get", "list"}:
        return
    wanted = document(4321)
    found = target.documents(work.call, wanted.id)
    if kind == "list":
        first_ids = range(wanted.id % TENANTS, 50 * TENANTS, TENANTS)
        same = [int(str(each["id"])) for each in found] == list(first_ids)
    else:
        same = [each.get(name) for each in found for name in _SAME] == [getattr(wanted, name) for name in _SAME]
    if not same:
        raise BenchError(f"{target.name} answers other data to {target.calls[work.call].path} than it should: {found[:1]}")


def _create_in_bulk(target: Target, seconds: float) -> Load:
    times: list[float] = []
    while sum(times) < seconds or len(times) < 2:
        tag = secrets.token_hex(4)
        rows = [document(number).body() | {"filename": f"upload-{tag}-{number}", "client_id": "client-001"} for number in range(_BULK)]
        for row in rows:
            del row["id"], row["upload_timestamp"]
        started = time.perf_counter()
        status, text = target.ask(target.calls["bulk"], 1, rows)
        times.append(time.perf_counter() - started)
        if status != 201:
            raise BenchError(f"{target.name} answered {status} to a bulk create: {text[:500]!r}")
    middle = sorted(times)[len(times) // 2]
    return Load(_BULK / middle, middle * 1000, max(times) * 1000)
