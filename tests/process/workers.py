"""The worker processes of a running service, seen from outside."""

import re
from pathlib import Path

from tests.servers.portico import PorticoProcess
from tests.servers.process import descendants


def workers_of(process: PorticoProcess) -> list[int]:
    """The process ids of the workers."""
    return [pid for pid in descendants(process.process.pid) if is_alive(pid)]


def rss_of(pid: int, kind: str = "VmRSS") -> int:
    """The bytes of memory that a process holds, or held at most (`kind="VmHWM"`)."""
    found = re.search(rf"^{kind}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and is not collected yet does not."""
    return _state(pid) not in {"Z", ""}
