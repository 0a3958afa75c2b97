"""Driving a target with wrk: requests a second, median and 99th percentile, and no error accepted."""

import json
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.data import DOCUMENTS
from bench.processes import BenchError
from tests.servers.install import Program, get_program

_WRK = Program("wrk", "wrk")
_SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True, slots=True)
class Call:
    """How one target is asked for one kind of work.

    Args:
        method: `GET`, or `POST` to create a document.
        path: with `{id}`, `{id15}` (padded to 15 digits) and `{client}` where the random document's go.
        headers: what every request carries; `X-Client-ID` is replaced by the random document's tenant, `Idempotency-Key` by a new one.
        documents: how many documents the random one is chosen from.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    documents: int = DOCUMENTS


@dataclass(frozen=True, slots=True)
class Load:
    """What one run measured: requests a second, and milliseconds of a request."""

    rate: float
    p50_ms: float
    p99_ms: float


def drive(name: str, port: int, call: Call, connections: int, seconds: float) -> Load:
    """Drive a target for some seconds over kept-alive connections.

    Raises:
        ServerMissingError: wrk is missing and cannot be installed.
        BenchError: a request was refused, or a connection broke.
    """
    headers = [f"{header}: {value}" for header, value in call.headers]
    url = f"http://127.0.0.1:{port}/"
    argv = [str(get_program(_WRK)), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", str(_SCRIPT), url]
    arguments = [call.method, call.path, str(call.documents), secrets.token_hex(4)]
    done = subprocess.run([*argv, "--", *arguments, *headers], capture_output=True, text=True, check=False)
    results = [line.removeprefix("RESULT ") for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not results:
        raise BenchError(f"wrk failed on {name}:\n{(done.stdout + done.stderr)[-2000:]}")
    found = json.loads(results[0])
    if found["refused"] or found["broken"] or not found["requests"]:
        raise BenchError(
            f"{name} was asked {call.method} {call.path}: of {found['requests']} requests "
            f"{found['refused']} were refused and {found['broken']} broke"
        )
    return Load(found["requests"] / (found["duration_us"] / 1e6), found["p50_us"] / 1000, found["p99_us"] / 1000)
